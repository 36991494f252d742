"""Runs one of the author's files as a module."""
from __future__ import annotations

import os
import sys

_Module = type(sys)


def load(path: str) -> None:
    """Run the file, unless another file has imported it already.

    It is a module by the name of its file, so that the author's files can import one another.
    """
    name = os.path.basename(path)[: -len(".py")]
    known = sys.modules.get(name)
    if known is not None:
        if getattr(known, "__file__", None) == path:
            return
        name = f"_hm_pipelines_{name}"
    with open(path, "rb") as file:
        source = file.read()
    module = _Module(name)
    module.__file__ = path
    sys.modules[name] = module
    exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)  # noqa: S102 - this is its purpose
