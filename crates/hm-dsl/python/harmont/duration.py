"""Durations as authors write them."""
from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import timedelta
    from typing import Union

    Duration = Union[str, int, timedelta]

_TEXT = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_MAX_SECONDS = 2**32 - 1


def seconds(duration: Duration, what: str) -> int:
    """Return ``duration`` in whole seconds; ``what`` is named in the error."""
    found = _count(duration, what)
    if found <= 0:
        raise ValueError(f'hm: {what} must be positive, got {duration!r}\n  → use a value like "30s" or "5m"')
    if found > _MAX_SECONDS:
        raise ValueError(f"hm: {what} is longer than any build lives: {duration!r}")
    return found


def _count(duration: Duration, what: str) -> int:
    if isinstance(duration, bool):
        raise TypeError(_wrong_type(duration, what))
    if isinstance(duration, int):
        return duration
    if isinstance(duration, str):
        match = _TEXT.fullmatch(duration)
        if not duration or match is None:
            raise ValueError(
                f'hm: {what} {duration!r} is not a duration\n  → write "30s", "5m" or "1h30m" (units: h, m, s)'
            )
        hours, minutes, rest = (int(part or 0) for part in match.groups())
        return hours * 3600 + minutes * 60 + rest
    if hasattr(duration, "total_seconds"):
        exact = duration.total_seconds()
        whole = int(exact)
        return whole + 1 if exact > whole else whole
    raise TypeError(_wrong_type(duration, what))


def _wrong_type(value: object, what: str) -> str:
    return f'hm: {what} must be "30s", a number of seconds or a timedelta, not {type(value).__name__}'
