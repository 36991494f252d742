"""Cache policies: when a step's snapshot may stand in for running it."""
from __future__ import annotations

from .duration import seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import timedelta
    from typing import Any, Iterable


class CachePolicy:
    """The base of all policies. Use the functions below to make one."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the policy's form in the plan, without its key."""
        raise NotImplementedError("hm: use hm.ttl(), hm.on_change(), hm.forever(), hm.compose() or hm.auto()")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.to_dict()})"


class CacheNone(CachePolicy):
    """The step always runs."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """See the base."""
        return {"policy": "none"}


class CacheAuto(CachePolicy):
    """Cached until anything that the step can see changes."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """See the base."""
        return {"policy": "auto"}


class CacheTTL(CachePolicy):
    """Cached until the running window of ``duration`` ends."""

    __slots__ = ("duration", "env_keys")

    def __init__(self, duration: timedelta, env_keys: Iterable[str] = ()) -> None:
        self.duration = seconds(duration, "ttl duration")
        self.env_keys = _names(env_keys)

    def to_dict(self) -> dict[str, Any]:
        """See the base."""
        return {"policy": "ttl", "duration_seconds": self.duration, "env_keys": list(self.env_keys)}


class CacheOnChange(CachePolicy):
    """Cached until a file below one of the paths changes."""

    __slots__ = ("paths",)

    def __init__(self, paths: Iterable[str]) -> None:
        self.paths = tuple(str(path) for path in paths)
        for path in self.paths:
            if not path or path.startswith("/") or ".." in path.split("/"):
                raise ValueError(
                    f"hm: on_change path {path!r} must be below the repository's root, and relative to it"
                )

    def to_dict(self) -> dict[str, Any]:
        """See the base."""
        return {"policy": "on_change", "paths": list(self.paths)}


class CacheForever(CachePolicy):
    """Cached until the command, what it builds on or one of these variables changes."""

    __slots__ = ("env_keys",)

    def __init__(self, env_keys: Iterable[str] = ()) -> None:
        self.env_keys = _names(env_keys)

    def to_dict(self) -> dict[str, Any]:
        """See the base."""
        return {"policy": "forever", "env_keys": list(self.env_keys)}


class CacheCompose(CachePolicy):
    """Cached as long as it is under every one of these policies."""

    __slots__ = ("policies",)

    def __init__(self, policies: Iterable[CachePolicy]) -> None:
        self.policies = tuple(policies)
        for policy in self.policies:
            if not isinstance(policy, CachePolicy):
                raise TypeError(f"hm: compose() takes cache policies, not {type(policy).__name__}")

    def to_dict(self) -> dict[str, Any]:
        """See the base."""
        return {"policy": "compose", "sub_policies": [policy.to_dict() for policy in self.policies]}


def ttl(duration: timedelta, env_keys: Iterable[str] = ()) -> CacheTTL:
    """Reuse a snapshot until the running window ends. ``timedelta(days=1)`` ends at midnight UTC."""
    return CacheTTL(duration, env_keys)


def on_change(*paths: str) -> CacheOnChange:
    """Reuse a snapshot until one of these files changes.

    A directory stands for all files below it. ``*``, ``?`` and ``[...]`` match within one name, ``**``
    matches any number of directories. A file that is missing counts as missing.
    """
    return CacheOnChange(paths)


def forever(env_keys: Iterable[str] = ()) -> CacheForever:
    """Reuse a snapshot for good. The values of ``env_keys`` are part of its key."""
    return CacheForever(env_keys)


def compose(*policies: CachePolicy) -> CacheCompose:
    """Reuse a snapshot as long as every one of these policies would."""
    return CacheCompose(policies)


def auto() -> CacheAuto:
    """Reuse a snapshot until anything changes that the step can see.

    That is: what it builds on, its command, its environment, its image, and the source tree.
    """
    return CacheAuto()


def _names(env_keys: Iterable[str]) -> tuple[str, ...]:
    if isinstance(env_keys, str):
        raise TypeError(f'hm: env_keys must be a list of names\n  → env_keys=("{env_keys}",)')
    return tuple(str(name) for name in env_keys)
