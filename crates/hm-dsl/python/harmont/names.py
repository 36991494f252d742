"""The names of steps: what people type after ``hm shell``."""
from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Sequence

    from .step import Step

_MAX = 32
_KEPT = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")


def name_steps(steps: Sequence[Step]) -> list[str]:
    """Return one unique key per step: the author's own, else words of its label or command."""
    taken: set[str] = set()
    for step in steps:
        key = step.key_override
        if key is not None:
            if key in taken:
                raise ValueError(f"hm: two steps have the key {key!r}\n  → give one of them another key")
            taken.add(key)
    counts: dict[str, int] = {}
    return [_derive(step, taken, counts) if step.key_override is None else step.key_override for step in steps]


def slug(text: str) -> str:
    """Return the first words of ``text`` joined by hyphens, 32 characters at most."""
    out = ""
    kept = "".join(char if char in _KEPT else " " for char in text[:200].lower())
    for word in kept.split():
        longer = f"{out}-{word}" if out else word[:_MAX]
        if len(longer) > _MAX:
            break
        out = longer
    return out or "step"


def _derive(step: Step, taken: set[str], counts: dict[str, int]) -> str:
    base = slug(step.name_source)
    count = counts.get(base, 1)
    key = base if count == 1 else f"{base}-{count}"
    while key in taken:
        count += 1
        key = f"{base}-{count}"
    taken.add(key)
    counts[base] = count
    return key
