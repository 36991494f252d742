"""What starts a pipeline besides a person. ``hm run`` ignores triggers; the cloud reads them."""
from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterable, Optional, Union

    Globs = Optional[Union[str, Iterable[str]]]


class Trigger:
    """A trigger, as it goes into the plan."""

    __slots__ = ("_fields",)

    def __init__(self, event: str, **fields: Optional[list[str]]) -> None:
        self._fields: dict[str, Any] = {"event": event}
        self._fields.update((name, value) for name, value in fields.items() if value is not None)

    def to_dict(self) -> dict[str, Any]:
        """Return the trigger's form in the envelope."""
        return dict(self._fields)

    def __repr__(self) -> str:
        return f"Trigger({self._fields})"


def push(branch: Globs = None, tag: Globs = None) -> Trigger:
    """Start on a push to a branch, or of a tag. Each is a glob or a list of globs."""
    if (branch is None) == (tag is None):
        raise ValueError('hm.push: pass exactly one of branch or tag\n  → hm.push(branch="main")')
    return Trigger("push", branches=_globs(branch), tags=_globs(tag))


def pull_request(branches: Globs = None, types: Optional[Iterable[str]] = None) -> Trigger:
    """Start on a pull request. ``branches`` are globs of the branch that it wants to be merged into."""
    kinds = ["opened", "synchronize", "reopened"] if types is None else _globs(types)
    return Trigger("pull_request", branches=_globs(branches), types=kinds)


pr = pull_request


def _globs(value: Globs) -> Optional[list[str]]:
    if value is None:
        return None
    return [value] if isinstance(value, str) else [str(one) for one in value]
