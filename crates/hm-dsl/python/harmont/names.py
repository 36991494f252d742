"""The names of steps: what people type after ``hm shell``."""
from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Sequence

    from .step import Step

_WORD = re.compile(r"[a-z0-9]+")
_MAX = 32


def name_steps(steps: Sequence[Step]) -> list[str]:
    """Return one unique key per step: the author's own, else words of its label or command."""
    taken: set[str] = set()
    for step in steps:
        key = step.key_override
        if key is not None:
            if key in taken:
                raise ValueError(f"hm: two steps have the key {key!r}\n  → give one of them another key")
            taken.add(key)
    return [_derive(step, taken) if step.key_override is None else step.key_override for step in steps]


def slug(text: str) -> str:
    """Return the first words of ``text`` joined by hyphens, 32 characters at most."""
    out = ""
    for word in _WORD.findall(text.lower()):
        longer = f"{out}-{word}" if out else word[:_MAX]
        if len(longer) > _MAX:
            break
        out = longer
    return out or "step"


def _derive(step: Step, taken: set[str]) -> str:
    base = slug(step.name_source)
    key, count = base, 1
    while key in taken:
        count += 1
        key = f"{base}-{count}"
    taken.add(key)
    return key
