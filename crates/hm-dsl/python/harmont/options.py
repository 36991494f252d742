"""The options of a step that hm has and the PyPI package does not."""
from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Mapping, Optional, Union

_SIZES = {"": 1, "B": 1}
for _power, _letter in enumerate("KMGT", start=1):
    _SIZES[_letter] = _SIZES[f"{_letter}iB"] = 1024**_power
    _SIZES[f"{_letter}B"] = 1000**_power
_LIMITS = ("memory", "cpus", "pids", "disk")


def check_retries(retries: Optional[int]) -> Optional[int]:
    """Return the number of further attempts; ``None`` for none."""
    if retries is None:
        return None
    if isinstance(retries, bool) or not isinstance(retries, int) or not 0 <= retries <= 10:
        raise ValueError(f"hm: retries must be a whole number from 0 to 10, got {retries!r}")
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
            value = parse_bytes(f"limits[{name!r}]", value)
        number = isinstance(value, int) or (name == "cpus" and isinstance(value, float))
        if isinstance(value, bool) or not number or not value > 0:
            raise ValueError(f"hm: limits[{name!r}] must be a positive number, got {value!r}")
        out[name] = value
    return out or None


def limits(
    *,
    memory: Union[int, str, None] = None,
    cpus: Union[int, float, None] = None,
    pids: Optional[int] = None,
    disk: Union[int, str, None] = None,
) -> dict[str, Any]:
    """Describe what a step may use up.

    Args:
        memory: Bytes, or a size such as "2GiB".
        cpus: Cores, such as 1.5.
        pids: Processes and threads at one time.
        disk: Bytes that it may write, or a size.
    """
    given = {"memory": memory, "cpus": cpus, "pids": pids, "disk": disk}
    return check_limits({name: value for name, value in given.items() if value is not None}) or {}


def parse_bytes(what: str, value: object) -> int:
    """Return a size in bytes; ``what`` is named in the error."""
    size = value
    if isinstance(value, str):
        number = value.rstrip("KMGTiB ")
        worth = _SIZES.get(value[len(number) :].strip())
        if worth is None or not number.isdecimal():
            raise ValueError(f'hm: {what} must be bytes or a size such as "512MiB", got {value!r}')
        size = int(number) * worth
    if isinstance(size, bool) or not isinstance(size, int) or not 0 < size < 2**64:
        raise ValueError(f"hm: {what} must be a positive number, got {value!r}")
    return size
