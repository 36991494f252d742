"""Checks of what authors pass in."""
from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Mapping, Optional


_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%+=:,./-_")


def quote(word: str) -> str:
    """Return ``word`` so that the shell takes it as it stands."""
    return word if _PLAIN.issuperset(word) else "'" + word.replace("'", "'\"'\"'") + "'"


def check_text(what: str, value: object) -> None:
    """Refuse anything but text that is not blank."""
    if not isinstance(value, str):
        raise TypeError(f"hm: {what} must be text, not {type(value).__name__}")
    if not value.strip():
        raise ValueError(f"hm: {what} must not be empty")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"hm: {what} has a character that cannot be written as UTF-8: {value!r}") from None


def check_env(env: Optional[Mapping[str, str]]) -> Optional[dict[str, str]]:
    """Return a copy of ``env`` when it maps names to text."""
    if env is None:
        return None
    if not hasattr(env, "items"):
        raise TypeError(f"hm: env must map names to text, not {type(env).__name__}")
    for name, value in env.items():
        if not isinstance(name, str) or not name or "=" in name or "\0" in name:
            raise ValueError(f"hm: {name!r} cannot be the name of a variable")
        if not isinstance(value, str):
            raise TypeError(
                f"hm: env[{name!r}] must be text, not {type(value).__name__}\n  → write {name}={str(value)!r}"
            )
        if "\0" in value:
            raise ValueError(f"hm: env[{name!r}] has a NUL character")
    return dict(env)
