"""What the pipeline file is told about the source. Each is read from a variable, so that a plan is made anew when it changes."""
from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional


def branch() -> Optional[str]:
    """Return the branch: the checked out one, or what ``hm run --branch`` says. ``None`` when there is none."""
    return os.environ.get("HM_BRANCH") or None


def commit() -> Optional[str]:
    """Return the full hash of the commit that is checked out; ``None`` outside of git and before the first commit."""
    return os.environ.get("HM_COMMIT") or None


def tag() -> Optional[str]:
    """Return the tag of the commit that is checked out, the last one by name of several; ``None`` when it has none."""
    return os.environ.get("HM_TAG") or None
