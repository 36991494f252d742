"""What the author's files read while they ran."""
from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional, Sequence

_STDLIB = os.path.dirname(os.path.abspath(os.__file__)) + os.sep


class Notes:
    """What the author's files read, as those that watch tell it. Nothing is noted while it is not ``active``."""

    def __init__(self, own: Sequence[str]) -> None:
        self.active = False
        self.opened: set[str] = set()
        self.listed: set[str] = set()
        self.probed: set[str] = set()
        self.stated: set[str] = set()
        self.variables: set[str] = set()
        self.whole_environment = False
        self.uncacheable: Optional[str] = None
        self._skip = tuple(directory + os.sep for directory in own)

    def record(self) -> dict[str, Any]:
        """All of it, in a fixed order."""
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
        if self.active and self.uncacheable is None:
            self.uncacheable = reason

    def open(self, path: object) -> None:
        """A file was opened to be read, or somebody tried to."""
        self._note(self.opened, path)

    def list(self, path: object) -> None:
        """A directory was listed."""
        self._note(self.listed, path)

    def probe(self, path: object, whole: bool) -> None:
        """Somebody asked whether a path is there, or, with ``whole``, for its size and times."""
        self._note(self.stated if whole else self.probed, path)

    def variable(self, name: Optional[str]) -> None:
        """A variable was read; ``None`` for all of them."""
        if not self.active:
            return
        if name is None:
            self.whole_environment = True
        else:
            self.variables.add(name)

    def _note(self, into: set[str], path: object) -> None:
        if not self.active or isinstance(path, int):
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
