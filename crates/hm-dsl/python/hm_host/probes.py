"""Watches questions about paths, for which Python has no audit event."""
from __future__ import annotations

import os
import stat
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from .notes import Notes

_ASKS_FOR_KIND = frozenset(
    (
        "exists",
        "lexists",
        "isfile",
        "isdir",
        "islink",
        "ismount",
        "is_file",
        "is_dir",
        "is_symlink",
        "is_mount",
        "realpath",
        "_joinrealpath",
        "resolve",
        "samefile",
        "_digest_one",
    )
)
_WATCHED = ("stat", "lstat", "access", "readlink")


class _Probe:
    """Stands in for a function of ``os``. An object, because a Python function in a class would be bound."""

    def __init__(self, notes: Notes, function: Callable[..., Any]) -> None:
        self._notes = notes
        self._function = function
        self.__name__ = function.__name__
        self.__doc__ = function.__doc__

    def __call__(self, path: Any, *args: Any, **options: Any) -> Any:
        if options.get("dir_fd") is not None:
            self._notes.refuse("it looks at files through a directory's descriptor")
        try:
            result = self._function(path, *args, **options)
        except OSError:
            self._notes.probe(path, whole=False)
            raise
        self._notes.probe(path, whole=_asks_for_all(result))
        return result

    def __hash__(self) -> int:
        return hash(self._function)

    def __eq__(self, other: object) -> bool:
        return other is self or other == self._function


def install(notes: Notes) -> None:
    """Put the probes into ``os``."""
    for name in _WATCHED:
        setattr(os, name, _Probe(notes, getattr(os, name)))


def _asks_for_all(result: object) -> bool:
    """Whether a file's size and times were asked for, and not only whether it is there."""
    if not isinstance(result, os.stat_result) or stat.S_ISDIR(result.st_mode):
        return False
    frame = sys._getframe(2)
    for _ in range(2):
        if frame is None:
            break
        if frame.f_code.co_name in _ASKS_FOR_KIND:
            return False
        frame = frame.f_back  # type: ignore[assignment]
    return True
