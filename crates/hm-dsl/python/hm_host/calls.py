"""Watches calls that make a plan a matter of luck or of the hour: clocks, random numbers, threads.

They are functions of C without audit events, so this is a profile function that sees each call of one.
"""
from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

    from .notes import Notes

_CLOCK = frozenset(
    ("time", "time_ns", "localtime", "gmtime", "ctime", "strftime", "asctime", "now", "utcnow", "today")
)
_LUCK = frozenset(("urandom", "getrandom", "random", "getrandbits"))
_THREAD = frozenset(("start_new_thread", "start_joinable_thread"))
_NAMES = _CLOCK | _LUCK | _THREAD
_STDLIB = os.path.dirname(os.path.abspath(os.__file__)) + os.sep
_LOGGING = os.path.join(_STDLIB, "logging") + os.sep


def install(notes: Notes) -> None:
    """Begin to watch."""

    def on_call(frame: FrameType, event: str, function: object) -> None:
        if event != "c_call":
            return
        name = getattr(function, "__name__", "")
        if name not in _NAMES:
            return
        owner = getattr(function, "__self__", None)
        home = owner.__module__ if isinstance(owner, type) else getattr(function, "__module__", None)
        home = home or type(owner).__module__
        file = frame.f_code.co_filename
        if file.startswith(_LOGGING) or (file.startswith(_STDLIB) and frame.f_code.co_name == "<module>"):
            return
        if name in _CLOCK and home in ("time", "datetime", "_datetime"):
            notes.refuse(f"it reads the clock ({name})")
        elif name in _LUCK and home in ("posix", "nt", "random", "_random"):
            notes.refuse(f"it uses random numbers ({name})")
        elif name in _THREAD:
            notes.refuse("it starts a thread")

    sys.setprofile(on_call)


def remove() -> None:
    """Stop watching."""
    sys.setprofile(None)
