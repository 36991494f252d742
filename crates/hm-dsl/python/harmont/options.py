"""The options of a step that hm has and the PyPI package does not."""
from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Mapping, Optional

_SIZE = re.compile(r"(\d+)\s*([KMGT]?)(i?B)?")
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_LIMITS = ("memory", "cpus", "pids", "disk")


def check_retries(retries: Optional[int]) -> Optional[int]:
    """Return the number of further attempts; ``None`` for none."""
    if retries is None:
        return None
    if isinstance(retries, bool) or not isinstance(retries, int) or not 0 <= retries <= 100:
        raise ValueError(f"hm: retries must be a whole number from 0 to 100, got {retries!r}")
    return retries or None


def check_network(network: Optional[str]) -> Optional[str]:
    """Refuse anything but the two words."""
    if network not in (None, "none", "outbound"):
        raise ValueError(f'hm: network must be "none" or "outbound", got {network!r}')
    return network


def check_limits(limits: Optional[Mapping[str, Any]]) -> Optional[dict[str, Any]]:
    """Return ``limits`` with its sizes in bytes."""
    if limits is None:
        return None
    out: dict[str, Any] = {}
    for name, value in limits.items():
        if name not in _LIMITS:
            raise ValueError(f"hm: there is no limit {name!r}\n  → limits are {', '.join(_LIMITS)}")
        if name in ("memory", "disk"):
            value = _bytes(name, value)
        number = isinstance(value, int) or (name == "cpus" and isinstance(value, float))
        if isinstance(value, bool) or not number or not value > 0:
            raise ValueError(f"hm: limits[{name!r}] must be a positive number, got {value!r}")
        out[name] = value
    return out or None


def _bytes(name: str, value: object) -> object:
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value)
    if match is None:
        raise ValueError(f'hm: limits[{name!r}] must be bytes or a size such as "512MiB", got {value!r}')
    base = 1000 if match.group(3) == "B" and match.group(2) else 1024
    return int(match.group(1)) * base ** _POWERS[match.group(2)]
