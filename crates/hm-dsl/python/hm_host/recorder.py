"""Records everything that a plan was made from, so that it need not be made again until that changes."""
from __future__ import annotations

import os
import sys

from . import calls, environment, probes
from .events import READS_NOTHING, reason_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional, Sequence

_STDLIB = os.path.dirname(os.path.abspath(os.__file__)) + os.sep


class Recorder:
    """What the author's files read while they ran.

    Python's audit events tell of opened files, listed directories, processes and sockets. What they do not tell
    of (``os.stat``, the environment, the clock) is watched by other means; see the modules beside this one.
    """

    def __init__(self, own: Sequence[str]) -> None:
        self.opened: set[str] = set()
        self.listed: set[str] = set()
        self.probed: set[str] = set()
        self.stated: set[str] = set()
        self.variables: set[str] = set()
        self.whole_environment = False
        self.uncacheable: Optional[str] = None
        self._skip = tuple(directory + os.sep for directory in own)
        self._active = False

    def start(self) -> None:
        """Begin. There is no way to take an audit hook out again, so it is told to rest instead."""
        self._active = True
        probes.install(self)
        environment.install(self)
        sys.addaudithook(self._on_event)
        calls.install(self)

    def stop_watching_calls(self) -> None:
        """Stop looking at each call: from here on only our own code runs."""
        calls.remove()

    def stop(self) -> dict[str, Any]:
        """End, and return what was recorded."""
        self.stop_watching_calls()
        for module in list(sys.modules.values()):
            file = getattr(module, "__file__", None)
            if isinstance(file, str):
                self.open(file)
        self._active = False
        return {
            "opened": sorted(self.opened),
            "listed": sorted(self.listed),
            "probed": sorted(self.probed - self.stated),
            "stated": sorted(self.stated),
            "variables": sorted(self.variables),
            "whole_environment": self.whole_environment,
            "uncacheable": self.uncacheable,
        }

    def refuse(self, reason: str) -> None:
        """The plan depends on something that cannot be checked later. The first reason is kept."""
        if self._active and self.uncacheable is None:
            self.uncacheable = reason

    def open(self, path: object) -> None:
        """A file was opened to be read, or somebody tried to."""
        self._note(self.opened, path)

    def probe(self, path: object, whole: bool) -> None:
        """Somebody asked whether a path is there, or, with ``whole``, for its size and times."""
        self._note(self.stated if whole else self.probed, path)

    def variable(self, name: Optional[str]) -> None:
        """A variable was read; ``None`` for all of them."""
        if not self._active:
            return
        if name is None:
            self.whole_environment = True
        else:
            self.variables.add(name)

    def _note(self, into: set[str], path: object) -> None:
        if not self._active or isinstance(path, int):
            return
        full = os.path.abspath(os.fsdecode(path))  # type: ignore[arg-type]
        if self._stands_for_python(full):
            return
        if full.isascii() or full.encode("utf-8", "replace").decode() == full:
            into.add(full)
        else:
            self.refuse(f"it reads a file whose name is not UTF-8: {full!r}")

    def _stands_for_python(self, path: str) -> bool:
        if path.startswith(self._skip) or path == "/dev/null":
            return True
        return path.startswith(_STDLIB) and "-packages" not in path

    def _on_event(self, event: str, args: tuple[Any, ...]) -> None:
        if not self._active or event in READS_NOTHING:
            return
        if event == "open":
            path, _mode, flags = args
            writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)
            if writes and path != os.devnull:
                self.refuse(f"it writes {path!r}")
            elif path is not None:
                self.open(path)
        elif event in ("os.listdir", "os.scandir"):
            path = "." if args[0] is None else args[0]
            if isinstance(path, int):
                self.refuse("it lists a directory by descriptor")
            else:
                self._note(self.listed, path)
        else:
            reason = reason_of(event, args)
            if reason is not None:
                self.refuse(reason)
