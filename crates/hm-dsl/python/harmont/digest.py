"""The digest of what ``on_change`` watches."""
from __future__ import annotations

import os
import stat

from .hashes import hasher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, Sequence

_HIDDEN = (".git",)
_CHUNK = 1 << 20


def digest_paths(root: str, patterns: Sequence[str]) -> str:
    """Return the digest of all files that ``patterns`` name below ``root``."""
    found: set[str] = set()
    for pattern in patterns:
        found.update(_expand(root, pattern))
    total = hasher("\0".join(sorted(patterns)).encode() + b"\0\0")
    for path in sorted(found):
        total.update(path.encode("utf-8", "surrogateescape") + b"\0" + _digest_one(os.path.join(root, path)))
    return total.hexdigest()


def _expand(root: str, pattern: str) -> Iterator[str]:
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    at = 0
    while at < len(parts) and not any(char in parts[at] for char in "*?["):
        at += 1
    base = "/".join(parts[:at])
    if at == len(parts):
        yield from _named(root, base)
    else:
        inside = _inside(root, os.path.join(root, base))
        yield from _glob(root, base if inside is None else inside, parts[at:])


def _named(root: str, path: str) -> Iterator[str]:
    """Yield what ``path`` names, through links; of a link to a directory, what is in that directory too."""
    parent, name = os.path.split(path)
    if parent:
        inside = _inside(root, os.path.join(root, parent))
        if inside is not None:
            path = _join(inside, name)
    yield from _below(root, path)
    full = os.path.join(root, path)
    if path and os.path.islink(full) and os.path.isdir(full):
        inside = _inside(root, full)
        if inside is not None:
            yield from _below(root, inside)


def _inside(root: str, path: str) -> str | None:
    """Return where ``path`` leads, relative to ``root``; None where that is outside."""
    top = os.path.realpath(root)
    real = os.path.realpath(path)
    if real == top:
        return ""
    return real[len(top) + 1 :] if real.startswith(top + "/") else None


def _glob(root: str, base: str, parts: list[str]) -> Iterator[str]:
    """Yield the files that ``parts`` match below ``base``."""
    if not parts:
        yield from _below(root, base)
        return
    first, rest = parts[0], parts[1:]
    if first == "**":
        if not rest:
            yield from _below(root, base)
            return
        yield from _glob(root, base, rest)
        for name, is_dir in _list(root, base):
            if is_dir:
                yield from _glob(root, _join(base, name), parts)
        return
    from fnmatch import fnmatchcase

    for name, is_dir in _list(root, base):
        # A name that stands there as it is matches, whatever characters are in it.
        if (name == first or fnmatchcase(name, first)) and (is_dir or not rest):
            yield from _glob(root, _join(base, name), rest)


def _below(root: str, path: str) -> Iterator[str]:
    """Yield ``path``, or all files below it when it is a directory."""
    full = os.path.join(root, path)
    if not os.path.isdir(full) or (path and os.path.islink(full)):
        yield path
        return
    for name, is_dir in _list(root, path):
        if is_dir:
            yield from _below(root, _join(path, name))
        else:
            yield _join(path, name)


def _list(root: str, path: str) -> list[tuple[str, bool]]:
    try:
        with os.scandir(os.path.join(root, path)) as entries:
            return sorted(
                (entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries if entry.name not in _HIDDEN
            )
    except OSError:
        return []


def _join(base: str, name: str) -> str:
    return f"{base}/{name}" if base else name


def _digest_one(path: str) -> bytes:
    """Return what stands for one file: a mark for its kind, and the digest of its bytes."""
    try:
        mode = os.lstat(path).st_mode
        mark = b"file"
        if stat.S_ISLNK(mode):
            mark = b"link" + hasher(os.fsencode(os.readlink(path))).digest()
            if not os.path.isfile(path):
                return mark
        elif not stat.S_ISREG(mode):
            return b"other"
        content = hasher()
        with open(path, "rb", buffering=0) as file:
            chunk = file.read(_CHUNK)
            while chunk:
                content.update(chunk)
                chunk = file.read(_CHUNK)
        return mark + content.digest()
    except FileNotFoundError:
        return b"missing"
