"""What a step needs beside its command: services, secrets, artifacts, cache directories."""
from __future__ import annotations

from .check import check_env, check_text
from .duration import exact_seconds
from .hashes import hasher
from .options import parse_bytes
from .shells import DEFAULT, check_shell

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Iterable, Mapping, Optional, Union

    from .duration import Duration

_MOST = 32
_DIGITS = frozenset("0123456789")
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") | _DIGITS
_VARIABLE = _LETTERS | {"_"}
_HOST = _LETTERS | {"-"}
_CACHE = _LETTERS | set("-_.")
_SHORTEST, _LONGEST = 0.01, 3600


class Need:
    """The base of what a step may need. Use the functions below to make one."""

    __slots__ = ("_fields",)

    def __init__(self, **fields: Any) -> None:
        self._fields = {name: value for name, value in fields.items() if value is not None}

    def to_dict(self) -> dict[str, Any]:
        """Return its form in the plan."""
        return dict(self._fields)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._fields})"


class Service(Need):
    """A program that runs beside a step."""

    __slots__ = ()


class HealthCheck(Need):
    """How to find out that a service can be used."""

    __slots__ = ()


class Secret(Need):
    """A secret, and how a step is given it."""

    __slots__ = ()


class Artifacts(Need):
    """Files of the workspace that are kept."""

    __slots__ = ()


class CacheDir(Need):
    """A directory that outlives the step."""

    __slots__ = ()


def service(
    name: str,
    *,
    image: Optional[str] = None,
    cmd: Optional[str] = None,
    env: Optional[Mapping[str, str]] = None,
    health: Union[str, HealthCheck, None] = None,
    scope: Optional[str] = None,
    shell: Optional[str] = None,
) -> Service:
    """Describe a program that runs beside a step, reachable at ``localhost`` and by its name.

    Args:
        name: Its host name: letters, digits, ``-`` and ``.``.
        image: What it starts from. Without one, what steps without an image start from.
        cmd: What the shell runs. Without it the image's own command.
        env: Its environment.
        health: A command that exits with 0 once the service can be used, or ``hm.health(...)``.
        scope: "step": one for each attempt of the step. "chain": one for this step and those that build on it.
        shell: What runs ``cmd`` and the health check, as a step's: ``sh -e`` by default.
    """
    _check_host_name(name)
    what = f"service {name!r}"
    for field, value in (("image", image), ("cmd", cmd)):
        if value is not None:
            check_text(f"{field} of {what}", value)
    if image is None and cmd is None:
        raise ValueError(f'hm: {what} has nothing to run\n  → give it an image or a cmd: image="postgres:17"')
    if health is not None and not isinstance(health, HealthCheck):
        health = _health(f"health of {what}", health)
    if scope not in (None, "step", "chain"):
        raise ValueError(f'hm: scope of {what} must be "step" or "chain", got {scope!r}')
    return Service(
        name=name,
        image=image,
        cmd=cmd,
        env=check_env(env) or None,
        health=None if health is None else health.to_dict(),
        scope="chain" if scope == "chain" else None,
        shell=None if cmd is None and health is None else check_shell(shell, f"shell of {what}") or DEFAULT,
    )


def health(
    cmd: str, *, interval: Union[Duration, float, None] = None, timeout: Union[Duration, float, None] = None
) -> HealthCheck:
    """Describe how to find out that a service can be used.

    Args:
        cmd: What the service's shell runs in its own root; it can be used once this exits with 0.
        interval: How long to wait between two tries: "2s", seconds such as 0.2, or a timedelta. One second by default.
        timeout: The most that the service may take. A minute by default.
    """
    return _health("health check", cmd, interval, timeout)


def secret(name: str, *, env: Optional[str] = None, file: Optional[str] = None) -> Secret:
    """Name a secret of the run, which ``hm run --secret NAME`` or the project's file of secrets gives.

    Args:
        name: What the run calls it.
        env: The variable that the step finds it in. Its own name by default.
        file: The file in ``/run/secrets`` that the step finds it in, instead of a variable.
    """
    if not _is_variable(name):
        raise ValueError(f"hm: {name!r} cannot be the name of a secret\n  → use letters, digits and _, as for a variable")
    if env is not None and file is not None:
        raise ValueError(
            f"hm: secret {name!r} is given as a variable or as a file\n"
            f"  → for both: secrets=[hm.secret({name!r}, env={env!r}), hm.secret({name!r}, file={file!r})]"
        )
    if env is not None and not _is_variable(env):
        raise ValueError(f"hm: secret {name!r} cannot be given as the variable {env!r}")
    if file is not None and not _is_file_name(file):
        raise ValueError(
            f"hm: secret {name!r} cannot be given as the file {file!r}\n"
            '  → give a plain name: file="deploy.key" is /run/secrets/deploy.key'
        )
    return Secret(name=name, env=None if env == name else env, file=file)


def artifacts(
    paths: Iterable[str], *, when: Optional[str] = None, max_bytes: Union[int, str, None] = None
) -> Artifacts:
    """Name files that are kept for people.

    Args:
        paths: Globs relative to the source's root. ``*`` stops at ``/``, ``**`` does not. A directory is all in it.
        when: "always", "passed" or "failed": how the step must have ended. Always by default.
        max_bytes: The most that is kept: bytes, or a size such as "100MiB".
    """
    kept = list(_list("paths of artifacts", paths))
    if not kept:
        raise ValueError('hm: artifacts without paths keep nothing\n  → hm.artifacts(["report/**/*.xml"])')
    for path in kept:
        if not isinstance(path, str):
            raise TypeError(f"hm: a path of artifacts must be text, not {type(path).__name__}")
        if not path or path.startswith("/") or ".." in path.split("/") or "\0" in path:
            raise ValueError(f"hm: artifacts path {path!r} must be below the source's root, and relative to it")
    if when not in (None, "always", "passed", "failed"):
        raise ValueError(f'hm: when must be "always", "passed" or "failed", got {when!r}')
    if max_bytes is not None:
        max_bytes = parse_bytes("max_bytes", max_bytes)
    return Artifacts(paths=kept, when=None if when == "always" else when, max_bytes=max_bytes)


def cache_dir(path: str, *, name: Optional[str] = None, keep: Optional[str] = None) -> CacheDir:
    """Name a directory that outlives the step, is shared between runs, and is in no snapshot.

    Args:
        path: Where the step sees it: absolute, ``~/...``, or relative to the source's root.
        name: Steps that give the same name share it. Derived from the path when left out.
        keep: ``"passed"`` (the default) keeps what a step that passed wrote, ``"always"`` what one that failed wrote, too:
            for what is only ever added to, such as a registry of downloads.
    """
    check_text("path of a cache directory", path)
    plain = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in plain or not path.isprintable() or (path.startswith("~") and not path.startswith("~/")):
        raise ValueError(f'hm: {path!r} cannot be a cache directory\n  → write "/a/b", "~/a/b" or "a/b", without ..')
    if plain in ([], ["~"]):
        raise ValueError(f"hm: {path!r} as a whole cannot be a cache directory\n  → name a directory in it")
    if name is None:
        name = _name_of(path, plain)
    elif not isinstance(name, str) or not 0 < len(name) <= 128 or name[0] == "." or not _CACHE.issuperset(name):
        raise ValueError(f"hm: {name!r} cannot be the name of a cache directory\n  → use letters, digits, -, _ and .")
    if keep not in (None, "passed", "always"):
        raise ValueError(f'hm: keep must be "passed" or "always", got {keep!r}')
    return CacheDir(name=name, path=path, keep=None if keep == "passed" else keep)


def check_services(services: Optional[Iterable[Service]]) -> Optional[list[dict[str, Any]]]:
    """Return the services' forms in the plan."""
    wire = _wire("services", services, Service, "hm.service(...)")
    _refuse_twice("two services are called", (one["name"].lower() for one in wire))
    return wire or None


def check_secrets(
    secrets: Optional[Iterable[Union[str, Secret]]], env: Optional[Mapping[str, str]]
) -> Optional[list[dict[str, Any]]]:
    """Return the secrets' forms in the plan. A variable of the step may not be one of them."""
    wire = _wire("secrets", _made("secrets", secrets, secret), Secret, "a name or hm.secret(...)")
    places = [f"file {one['file']}" if "file" in one else one.get("env", one["name"]) for one in wire]
    _refuse_twice("two secrets are given as", places)
    for place in places:
        if place in (env or ()):
            raise ValueError(f"hm: {place!r} is a secret and in env, too\n  → remove it from env")
    return wire or None


def check_artifacts(
    kept: Union[Artifacts, Iterable[Union[str, Artifacts]], None],
) -> Optional[list[dict[str, Any]]]:
    """Return the artifacts' forms in the plan. Bare paths become one entry."""
    if isinstance(kept, Artifacts):
        kept = [kept]
    made = list(_list("artifacts", () if kept is None else kept))
    paths = [one for one in made if isinstance(one, str)]
    made = [one for one in made if not isinstance(one, str)]
    if paths:
        made.insert(0, artifacts(paths))
    return _wire("artifacts", made, Artifacts, "a path or hm.artifacts(...)") or None


def check_caches(caches: Optional[Iterable[Union[str, CacheDir]]]) -> Optional[list[dict[str, Any]]]:
    """Return the cache directories' forms in the plan."""
    wire = _wire("caches", _made("caches", caches, cache_dir), CacheDir, "a path or hm.cache_dir(...)")
    _refuse_twice("two cache directories are called", (one["name"] for one in wire))
    return wire or None


def _health(
    what: str,
    cmd: str,
    interval: Union[Duration, float, None] = None,
    timeout: Union[Duration, float, None] = None,
) -> HealthCheck:
    check_text(what, cmd)
    spans = []
    for name, value in (("interval", interval), ("timeout", timeout)):
        span = None if value is None else exact_seconds(value, f"{name} of a health check")
        if span is not None and not _SHORTEST <= span <= _LONGEST:
            raise ValueError(
                f"hm: {name} of a health check must be from {_SHORTEST} to {_LONGEST} seconds, got {value!r}"
            )
        spans.append(span)
    return HealthCheck(cmd=cmd, interval_seconds=spans[0], timeout_seconds=spans[1])


def _check_host_name(name: object) -> None:
    check_text("name of a service", name)
    labels = str(name).split(".")
    good = all(
        _HOST.issuperset(label) and 0 < len(label) < 64 and label[0] != "-" and label[-1] != "-" for label in labels
    )
    if not good or len(str(name)) > 253 or _DIGITS.issuperset(labels[-1]):
        raise ValueError(
            f"hm: {name!r} cannot be the name of a service, which is its host name\n  → use letters, digits and -"
        )
    if labels[-1].lower() == "localhost":
        raise ValueError(f"hm: a service cannot be called {name!r}: that is the machine itself")


def _is_variable(name: object) -> bool:
    return isinstance(name, str) and 0 < len(name) <= 256 and name[0] not in _DIGITS and _VARIABLE.issuperset(name)


def _is_file_name(name: object) -> bool:
    return isinstance(name, str) and name not in ("", ".", "..") and "/" not in name and name.isprintable()


def _name_of(path: str, parts: list[str]) -> str:
    """Return a name that no other path gets: two paths that shared a directory by accident would spoil it."""
    start = "root" if path.startswith("/") else "workspace"
    if parts[0] == "~":
        start, parts = "home", parts[1:]
    name = "-".join([start, *(part.replace("-", "--") for part in parts)])
    if _CACHE.issuperset(name) and len(name) <= 128:
        return name
    plain = "".join(char if char in _CACHE else "_" for char in name[:100])
    return f"{plain}-{hasher(name.encode()).hexdigest()[:16]}"


def _list(what: str, values: Any) -> Iterable[Any]:
    if isinstance(values, (str, Need)) or not hasattr(values, "__iter__"):
        raise TypeError(f"hm: {what} must be a list, not {type(values).__name__}")
    return values


def _made(what: str, values: Optional[Iterable[Any]], make: Callable[[str], Need]) -> list[Any]:
    return [make(one) if isinstance(one, str) else one for one in _list(what, () if values is None else values)]


def _wire(what: str, values: Optional[Iterable[Any]], kind: type[Need], means: str) -> list[dict[str, Any]]:
    wire = []
    for value in () if values is None else _list(what, values):
        if not isinstance(value, kind):
            raise TypeError(f"hm: {what} must be a list of {means}, not of {type(value).__name__}")
        wire.append(value.to_dict())
    if len(wire) > _MOST:
        raise ValueError(f"hm: a step may have {_MOST} {what} at most, got {len(wire)}")
    return wire


def _refuse_twice(what: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"hm: {what} {name!r}")
        seen.add(name)
