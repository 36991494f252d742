"""The step: an immutable link in a chain of commands."""
from __future__ import annotations

from .cache import CachePolicy
from .check import check_env, check_text, quote
from .duration import seconds
from .needs import check_artifacts, check_caches, check_secrets, check_services
from .options import check_limits, check_network, check_retries
from .shells import check_shell, in_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterable, Mapping, Optional, Union

    from .duration import Duration
    from .needs import Artifacts, CacheDir, Secret, Service

_FIELDS = (
    "cmd",
    "parent",
    "is_wait",
    "continue_on_failure",
    "label",
    "cache",
    "env",
    "timeout_seconds",
    "grace_seconds",
    "image",
    "runner",
    "runner_args",
    "key_override",
    "name_source",
    "retries",
    "soft_fail",
    "git",
    "network",
    "limits",
    "services",
    "secrets",
    "artifacts",
    "caches",
    "shell",
)
_KNOWN = frozenset(_FIELDS)
_set = object.__setattr__


class Step:
    """One link of a chain. Make one with ``sh()``, ``scratch()`` or ``wait()``; extend it with ``.sh()``.

    A step never changes: every method returns a new one, so that several chains may grow out of one step.
    """

    __slots__ = _FIELDS

    if TYPE_CHECKING:
        cmd: Optional[str]
        parent: Optional[Step]
        is_wait: Optional[bool]
        continue_on_failure: Optional[bool]
        label: Optional[str]
        cache: Optional[CachePolicy]
        env: Optional[dict[str, str]]
        timeout_seconds: Optional[int]
        grace_seconds: Optional[int]
        image: Optional[str]
        runner: Optional[str]
        runner_args: Optional[dict[str, Any]]
        key_override: Optional[str]
        name_source: str
        retries: Optional[int]
        soft_fail: Optional[bool]
        git: Optional[bool]
        network: Optional[str]
        limits: Optional[dict[str, Any]]
        services: Optional[list[dict[str, Any]]]
        secrets: Optional[list[dict[str, Any]]]
        artifacts: Optional[list[dict[str, Any]]]
        caches: Optional[list[dict[str, Any]]]
        shell: Optional[str]

    def __init__(self, **fields: Any) -> None:
        for field in _FIELDS:
            _set(self, field, fields.get(field))
        if not _KNOWN.issuperset(fields):
            raise TypeError(f"Step() got unexpected keyword arguments: {', '.join(sorted(set(fields) - _KNOWN))}")

    def __setattr__(self, field: str, _value: object) -> None:
        raise AttributeError(f"hm: a step never changes, so {field!r} cannot be set\n  → pass it to .sh()")

    def __repr__(self) -> str:
        given = (f"{f}={getattr(self, f)!r}" for f in _FIELDS if f != "parent" and getattr(self, f) is not None)
        return f"Step({', '.join(given)})"

    def replace(self, **fields: Any) -> Step:
        """Return a copy with these fields."""
        return Step(**{**{field: getattr(self, field) for field in _FIELDS}, **fields})

    def sh(
        self,
        cmd: str,
        *,
        cwd: Optional[str] = None,
        label: Optional[str] = None,
        cache: Optional[CachePolicy] = None,
        env: Optional[Mapping[str, str]] = None,
        image: Optional[str] = None,
        runner: Optional[str] = None,
        runner_args: Optional[Mapping[str, Any]] = None,
        key: Optional[str] = None,
        timeout: Optional[Duration] = None,
        grace: Optional[Duration] = None,
        retries: Optional[int] = None,
        soft_fail: Optional[bool] = None,
        git: Optional[bool] = None,
        network: Optional[str] = None,
        limits: Optional[Mapping[str, Any]] = None,
        services: Optional[Iterable[Service]] = None,
        secrets: Optional[Iterable[Union[str, Secret]]] = None,
        artifacts: Union[Artifacts, Iterable[Union[str, Artifacts]], None] = None,
        caches: Optional[Iterable[Union[str, CacheDir]]] = None,
        shell: Optional[str] = None,
    ) -> Step:
        """Append a command to this chain and return the new step.

        It starts from what this step left behind.

        Args:
            cmd: What the shell runs in the root of the source. Its first failing line fails the step.
            cwd: A directory below the root to run in.
            label: What people see. Defaults to the command.
            cache: When a snapshot may stand in for running the command. Without one it always runs.
            env: Variables on top of the pipeline's.
            image: What the step starts from. Only the first step of a chain has one.
            runner: Which runner executes the step.
            runner_args: What that runner is given.
            key: The step's name on the command line. Derived from label or command when left out.
            timeout: The most that it may take: "30s", seconds, or a timedelta.
            grace: How long it may take to end after SIGTERM, when it is canceled or timed out; "0s" kills it at once.
            retries: How often it is tried again after a failure.
            soft_fail: A failure does not fail the build.
            git: Show the step the repository's ``.git``.
            network: "none" leaves only localhost; "outbound" also connections out.
            limits: ``hm.limits(...)``, or a dict of ``memory`` and ``disk`` (bytes or "512MiB"), ``cpus``, ``pids``.
            services: What runs beside it: ``hm.service(...)``.
            secrets: The secrets that it is given: names, or ``hm.secret(...)``.
            artifacts: The files that are kept: globs, or ``hm.artifacts(...)``.
            caches: The directories that outlive it: paths, or ``hm.cache_dir(...)``.
            shell: What runs ``cmd``: "bash" is ``bash -eo pipefail``, "sh" (the default) ``sh -e``; with options of its own it
                is taken as it stands.
        """
        if self.is_wait:
            raise ValueError(
                "hm: a wait() barrier has no files to build on\n"
                "  → put it between steps instead: hm.pipeline([build, hm.wait(), deploy])"
            )
        check_text("cmd", cmd)
        if "\0" in cmd:
            raise ValueError("hm: cmd has a NUL character, which no shell can run")
        for name, value in (("label", label), ("image", image), ("runner", runner), ("key", key)):
            if value is not None:
                check_text(name, value)
        if cwd is not None:
            if not isinstance(cwd, str) or not cwd:
                raise ValueError(
                    'hm: cwd must be a non-empty path\n  → omit cwd to run in the root, or pass cwd="some/dir"'
                )
        if cache is not None and not isinstance(cache, CachePolicy):
            raise TypeError(
                f"hm: cache must be a policy such as hm.ttl(...) or hm.on_change(...), not {type(cache).__name__}"
            )
        return Step(
            cmd=cmd if cwd is None else in_directory(quote(cwd), cmd),
            name_source=label or cmd,
            parent=self,
            label=label,
            cache=cache,
            env=check_env(env),
            timeout_seconds=None if timeout is None else seconds(timeout, "timeout"),
            grace_seconds=None if grace is None else seconds(grace, "grace", least=0),
            image=image,
            runner=runner,
            runner_args=None if runner_args is None else dict(runner_args),
            key_override=key,
            retries=check_retries(retries),
            soft_fail=bool(soft_fail) or None,
            git=bool(git) or None,
            network=check_network(network),
            limits=check_limits(limits),
            services=check_services(services),
            secrets=check_secrets(secrets, env),
            artifacts=check_artifacts(artifacts),
            caches=check_caches(caches),
            shell=check_shell(shell),
        )

    def fork(self, label: Optional[str] = None) -> Step:
        """Mark a point that several chains grow out of. ``step.fork().sh(...)`` is ``step.sh(...)``."""
        if self.is_wait:
            raise ValueError("hm: a wait() barrier cannot be forked\n  → fork a step instead")
        return Step(parent=self, label=label)


def scratch() -> Step:
    """Return a root without a command: where a chain starts."""
    return Step()


def sh(cmd: str, **options: Any) -> Step:
    """Start a chain with a command. Takes what ``Step.sh`` takes."""
    return scratch().sh(cmd, **options)


def timeout(duration: Duration, step: Step) -> Step:
    """Return ``step`` with a limit on its time: "30s", a number of seconds, or a ``timedelta``."""
    limit = seconds(duration, "timeout duration")
    if not isinstance(step, Step):
        raise TypeError(f"hm: timeout() takes a duration and a step, not {type(step).__name__}")
    if step.cmd is None:
        raise ValueError(
            "hm: timeout() needs a step with a command, not a wait() barrier or a scratch()\n"
            '  → hm.timeout("30s", hm.sh("make test"))'
        )
    return step.replace(timeout_seconds=limit)
