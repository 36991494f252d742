"""Installed packages, made known when the first import needs them.

Python starts without them, because reading their ``.pth`` files can take longer than all else.
"""
from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Optional, Sequence


class _Late:
    """The finder that is asked last, once all others have failed."""

    done = False

    @classmethod
    def find_spec(
        cls, name: str, path: Optional[Sequence[str]] = None, target: Optional[ModuleType] = None
    ) -> Optional[ModuleSpec]:
        """Make the installed packages known, and look again."""
        if cls.done or path is not None:
            return None
        cls.done = True
        import site

        site.main()
        for finder in sys.meta_path:
            spec = None if finder is cls else finder.find_spec(name, None, target)
            if spec is not None:
                return spec
        return None


def install() -> None:
    """Ask for installed packages once everything else has failed."""
    sys.meta_path.append(_Late)
