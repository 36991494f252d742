"""Which of Python's audit events keep a plan from being cached."""
from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

READS_NOTHING = frozenset(
    ("import", "compile", "exec", "object.__getattr__", "object.__setattr__", "sys._getframe", "marshal.loads")
)

_STARTS = ("subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "pty.", "os.startfile")
_TALKS = ("socket.connect", "socket.bind", "socket.send", "socket.getaddr", "socket.gethost", "socket.getname")
_CHANGES = (
    "os.chmod",
    "os.chown",
    "os.link",
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.symlink",
    "os.truncate",
    "os.utime",
    "shutil.",
)
_OTHER = {"sqlite3.connect": "opens a database", "ctypes.dlopen": "loads a library through ctypes"}


def reason_of(event: str, args: tuple[Any, ...]) -> Optional[str]:
    """Return why a plan that caused this event cannot be cached; ``None`` when it can."""
    if event.startswith(_STARTS):
        return f"it starts a process ({_first(args)})"
    if event.startswith(_TALKS) or event == "urllib.Request":
        return "it uses the network"
    if event.startswith(_CHANGES):
        return f"it changes files ({_first(args)})"
    return f"it {_OTHER[event]}" if event in _OTHER else None


def _first(args: tuple[Any, ...]) -> str:
    first = args[0] if args else ""
    if isinstance(first, bytes):
        first = first.decode("utf-8", "replace")
    return str(first)[:80]
