"""Watches which variables are read."""
from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterator

    from .notes import Notes


def install(notes: Notes) -> None:
    """Make ``os.environ`` tell. It stays the same object: others may hold it already."""

    class _Watched(os._Environ):  # type: ignore[type-arg]
        def __getitem__(self, key: Any) -> Any:
            notes.variable(os.fsdecode(key) if isinstance(key, (str, bytes)) else None)
            return super().__getitem__(key)

        def __iter__(self) -> Iterator[Any]:
            notes.variable(None)
            return super().__iter__()

        def __len__(self) -> int:
            notes.variable(None)
            return super().__len__()

    os.environ.__class__ = _Watched
    environb = getattr(os, "environb", None)
    if environb is not None:
        environb.__class__ = _Watched
