"""Records everything that a plan was made from, so that it need not be made again until that changes."""
from __future__ import annotations

import os
import sys

from . import calls, environment, probes
from .events import READS_NOTHING, reason_of
from .notes import Notes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Sequence


class Recorder:
    """Watches the author's files while they run.

    Python's audit events tell of opened files, listed directories, processes and sockets. What they do not tell
    of (``os.stat``, the environment, the clock) is watched by other means; see the modules beside this one.
    """

    def __init__(self, own: Sequence[str]) -> None:
        self._notes = Notes(own)

    def start(self) -> None:
        """Begin. There is no way to take an audit hook out again, so it is told to rest instead."""
        self._notes.active = True
        probes.install(self._notes)
        environment.install(self._notes)
        sys.addaudithook(self._on_event)
        calls.install(self._notes)

    def stop_watching_calls(self) -> None:
        """Stop looking at each call: from here on only our own code runs."""
        calls.remove()

    def stop(self) -> dict[str, Any]:
        """End, and return what was recorded."""
        self.stop_watching_calls()
        for module in list(sys.modules.values()):
            file = getattr(module, "__file__", None)
            if isinstance(file, str):
                self._notes.open(file)
        self._notes.active = False
        return self._notes.record()

    def _on_event(self, event: str, args: tuple[Any, ...]) -> None:
        notes = self._notes
        if not notes.active or event in READS_NOTHING:
            return
        if event == "open":
            path, _mode, flags = args
            writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)
            if writes and path != os.devnull:
                notes.refuse(f"it writes {path!r}")
            elif path is not None:
                notes.open(path)
        elif event in ("os.listdir", "os.scandir"):
            path = "." if args[0] is None else args[0]
            if isinstance(path, int):
                notes.refuse("it lists a directory by descriptor")
            else:
                notes.list(path)
        else:
            reason = reason_of(event, args)
            if reason is not None:
                notes.refuse(reason)
