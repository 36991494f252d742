"""Runs the files, and sends what came of them to hm.

The answer is one JSON document on what was standard output when Python started. The author's own output, and
that of anything that the author starts, goes to standard error.
"""
from __future__ import annotations

import os
import sys

sys.dont_write_bytecode = False  # This package lies in hm's own directory: it may keep its bytecode there.

import harmont
from harmont import registry
from harmont import digest as _digest  # noqa: F401 - so that its bytecode is kept, too
from harmont.keygen import Context
from harmont.text import to_json

from . import failure, site_packages
from .load import load
from .recorder import Recorder

sys.dont_write_bytecode = True  # The author's files do not: nothing is written beside them.


def main() -> None:
    """Answer the request in ``sys.argv``: the root, the time, and the files in the order to run them."""
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    root, now, *files = sys.argv[1:]
    sys.argv[1:] = []
    sys.path[0] = os.path.join(root, ".hm")
    document = _answer(root, int(now), files)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass
    answer.write(to_json(document).encode())
    answer.flush()
    os._exit(0)


def _answer(root: str, now: int, files: list[str]) -> dict[str, object]:
    recorder = Recorder([os.path.dirname(os.path.dirname(os.path.abspath(harmont.__file__)))])
    site_packages.install()
    try:
        recorder.start()
        for path in files:
            load(path)
        entries = registry.plans()
        recorder.stop_watching_calls()
        context = Context(now, root, os.environ)
        entries = registry.with_keys(entries, context)
        to_json(entries)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the author is told
        recorder.stop()
        return {"failure": failure.describe(error, root)}
    record = recorder.stop()
    plans = {"pipelines": entries, "window": context.window, "record": record, "python": sys.executable}
    return {"plans": plans}
