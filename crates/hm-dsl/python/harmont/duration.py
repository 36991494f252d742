"""Durations as authors write them."""
from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import timedelta
    from typing import Union

    Duration = Union[str, int, timedelta]

_UNITS = (("h", 3600), ("m", 60), ("s", 1))
_MAX_SECONDS = 2**32 - 1


def seconds(duration: Duration, what: str, least: int = 1) -> int:
    """Return ``duration`` in whole seconds, at least ``least``; ``what`` is named in the error."""
    found = _count(duration, what)
    if found < least:
        positive = "positive" if least else "zero or more"
        raise ValueError(f'hm: {what} must be {positive}, got {duration!r}\n  → use a value like "30s" or "5m"')
    if found > _MAX_SECONDS:
        raise ValueError(f"hm: {what} is longer than any build lives: {duration!r}")
    return found


def exact_seconds(duration: Union[Duration, float], what: str) -> Union[int, float]:
    """Return ``duration`` in seconds, of which it may have a fraction."""
    if hasattr(duration, "total_seconds"):
        duration = duration.total_seconds()
    if not isinstance(duration, float):
        return seconds(duration, what)
    return int(duration) if duration.is_integer() else duration


def _count(duration: Duration, what: str) -> int:
    if isinstance(duration, bool):
        raise TypeError(_wrong_type(duration, what))
    if isinstance(duration, int):
        return duration
    if isinstance(duration, str):
        return _parse(duration, what)
    if hasattr(duration, "total_seconds"):
        exact = duration.total_seconds()
        whole = int(exact)
        return whole + 1 if exact > whole else whole
    raise TypeError(_wrong_type(duration, what))


def _parse(text: str, what: str) -> int:
    total, rest = 0, text
    for unit, worth in _UNITS:
        digits, found, after = rest.partition(unit)
        if found and digits.isdecimal() and digits.isascii():
            total += int(digits) * worth
            rest = after
    if rest or not text:
        raise ValueError(f'hm: {what} {text!r} is not a duration\n  → write "30s", "5m" or "1h30m" (units: h, m, s)')
    return total


def _wrong_type(value: object, what: str) -> str:
    return f'hm: {what} must be "30s", a number of seconds or a timedelta, not {type(value).__name__}'
