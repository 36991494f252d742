"""``pipeline``: a plan from steps, or the registration of a function that returns them."""
from __future__ import annotations

from .check import check_env, check_text
from .duration import seconds
from .lower import lower
from .shells import check_shell
from .step import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Iterable, Mapping, Optional, Sequence

    from .duration import Duration
    from .triggers import Trigger

_SLUG_CHARS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")


class Registered:
    """A registered pipeline."""

    __slots__ = ("slug", "name", "triggers", "allow_manual", "env", "timeout", "default_image", "shell", "function")

    def __init__(self, slug: str, function: Callable[..., Any], **options: Any) -> None:
        self.slug = slug
        self.function = function
        self.name = options["name"] or slug
        self.triggers: list[Trigger] = list(options["triggers"])
        self.allow_manual = bool(options["allow_manual"])
        self.env = check_env(options["env"]) or {}
        self.timeout: Optional[Duration] = options["timeout"]
        self.default_image: Optional[str] = options["default_image"]
        self.shell = check_shell(options["shell"])

    def where(self) -> str:
        """Return the file and line of the function."""
        code = getattr(self.function, "__code__", None)
        return "" if code is None else f" ({code.co_filename}:{code.co_firstlineno})"

    def leaves(self, returned: object) -> list[Step]:
        """Return the steps in what the function returned."""
        steps: list[Step] = []
        if not _collect(returned, steps):
            found = "nothing" if returned is None else f"a {type(returned).__name__}"
            raise TypeError(
                f"hm: pipeline {self.slug!r}{self.where()} returned {found}, and must return steps\n"
                "  → return the last step, or a list of the last step of every branch: return [test, lint]"
            )
        if not any(not step.is_wait for step in steps):
            raise ValueError(f"hm: pipeline {self.slug!r}{self.where()} has no step\n  → return at least one")
        return steps


REGISTERED: dict[str, Registered] = {}


def pipeline(*args: Any, **kwargs: Any) -> Any:
    """Make a plan, or register a function as a pipeline.

    ``pipeline([test, lint], env=None, timeout=None)`` returns the plan of these steps as a ``dict``.

    ``@pipeline("ci", name=None, triggers=(), allow_manual=True, env=None, timeout=None)`` registers a function
    that returns the last step, or a list of the last step of every branch. The slug defaults to the function's
    name. ``default_image`` (ours) is the image of all chains that name none, ``shell`` (ours) what runs the commands of all
    steps that name none.
    """
    first = args[0] if args else None
    if isinstance(first, (list, tuple)):
        return _factory(*args, **kwargs)
    if isinstance(first, Step):
        raise TypeError("hm: pipeline() takes one list of steps\n  → hm.pipeline([step]) or hm.pipeline([a, b])")
    if callable(first):
        return _decorator()(first)
    return _decorator(*args, **kwargs)


def build(
    leaves: Sequence[Step],
    env: Mapping[str, str],
    timeout: Optional[Duration],
    default_image: Optional[str],
    shell: Optional[str] = None,
) -> dict[str, Any]:
    """Return the plan of ``leaves``."""
    plan: dict[str, Any] = {"version": "0"}
    if default_image is not None:
        check_text("default_image", default_image)
        plan["default_image"] = default_image
    if timeout is not None:
        plan["timeout_seconds"] = seconds(timeout, "pipeline timeout")
    plan["graph"] = lower(leaves, env, shell)
    return plan


def _factory(
    leaves: Sequence[Step],
    *,
    env: Optional[Mapping[str, str]] = None,
    timeout: Optional[Duration] = None,
    default_image: Optional[str] = None,
    shell: Optional[str] = None,
) -> dict[str, Any]:
    steps: list[Step] = []
    if not _collect(leaves, steps):
        raise TypeError("hm: pipeline() takes a list of steps, and something in it is none")
    if not steps:
        raise ValueError("hm: a pipeline needs a step\n  → pass the last step of every branch")
    return build(steps, check_env(env) or {}, timeout, default_image, check_shell(shell))


def _decorator(
    slug: Optional[str] = None,
    *,
    name: Optional[str] = None,
    triggers: Iterable[Trigger] = (),
    allow_manual: bool = True,
    env: Optional[Mapping[str, str]] = None,
    timeout: Optional[Duration] = None,
    default_image: Optional[str] = None,
    shell: Optional[str] = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        resolved = function.__name__.replace("_", "-").strip("-").lower() if slug is None else slug
        if not _is_slug(resolved):
            raise ValueError(
                f"hm: {resolved!r} cannot be a pipeline's slug\n"
                "  → use lowercase letters, digits and '-', begin with a letter, 64 characters at most"
            )
        known = Registered(
            resolved,
            function,
            name=name,
            triggers=triggers,
            allow_manual=allow_manual,
            env=env,
            timeout=timeout,
            default_image=default_image,
            shell=shell,
        )
        other = REGISTERED.get(resolved)
        if other is not None:
            raise ValueError(
                f"hm: there are two pipelines with the slug {resolved!r}: this one{known.where()} "
                f"and one{other.where()}\n  → give one of them another slug: @hm.pipeline(\"...\")"
            )
        REGISTERED[resolved] = known
        return function

    return register


def _is_slug(slug: object) -> bool:
    return isinstance(slug, str) and 0 < len(slug) <= 64 and "a" <= slug[0] <= "z" and _SLUG_CHARS.issuperset(slug)


def _collect(value: object, into: list[Step]) -> bool:
    if isinstance(value, Step):
        into.append(value)
        return True
    return isinstance(value, (list, tuple)) and all(_collect(one, into) for one in value)
