"""Targets: building blocks that pipelines share, each made once per plan."""
from __future__ import annotations

from .step import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Optional

_MISSING = object()
_TARGETS: dict[str, Callable[[], Any]] = {}
_MADE: dict[str, Any] = {}


class Target:
    """``Target[Step]`` marks a parameter that is filled with the target of its name."""

    def __class_getitem__(cls, _item: object) -> type[Target]:
        return cls


class BaseImage:
    """``Annotated[Step, BaseImage("debian:12")]`` marks a parameter that is filled with a root of that image."""

    __slots__ = ("image",)

    def __init__(self, image: str) -> None:
        if not isinstance(image, str) or not image:
            raise TypeError("hm: BaseImage needs the name of an image")
        self.image = image


def target(*, name: Optional[str] = None) -> Callable[[Callable[..., Any]], Callable[[], Any]]:
    """Register a function as a building block. Its parameters are filled with the targets of their names."""

    def decorate(function: Callable[..., Any]) -> Callable[[], Any]:
        known_as = name or function.__name__
        if known_as in _TARGETS:
            raise ValueError(f'hm: there are two targets {known_as!r}\n  → pass name="..." to one of them')

        def make() -> Any:
            if known_as not in _MADE:
                _MADE[known_as] = _MISSING
                try:
                    _MADE[known_as] = call(function)
                except BaseException:
                    del _MADE[known_as]
                    raise
            if _MADE[known_as] is _MISSING:
                raise ValueError(f"hm: target {known_as!r} needs itself to be made")
            return _MADE[known_as]

        make.__name__ = function.__name__
        make.__doc__ = function.__doc__
        _TARGETS[known_as] = make
        return make

    if callable(name):
        raise TypeError("hm: write @hm.target() with parentheses")
    return decorate


def clear_target_memo() -> None:
    """Forget what targets returned."""
    _MADE.clear()


def clear_target_cache() -> None:
    """Forget all targets."""
    _TARGETS.clear()
    _MADE.clear()


def call(function: Callable[..., Any]) -> Any:
    """Call ``function`` with its parameters filled."""
    code = getattr(function, "__code__", None)
    if code is None:
        return function()
    count = code.co_argcount
    names = code.co_varnames[: count + code.co_kwonlyargcount]
    defaulted = set(names[count - len(function.__defaults__ or ()) : count]) | set(function.__kwdefaults__ or ())
    filled = {}
    for param in names:
        value = _fill(function, param)
        if value is not _MISSING:
            filled[param] = value
        elif param not in defaulted:
            known = ", ".join(sorted(_TARGETS)) or "none"
            raise TypeError(
                f"hm: {function.__name__}() has a parameter {param!r}, and no target has that name\n"
                f"  → targets are: {known}"
            )
    return function(**filled)


def _fill(function: Callable[..., Any], param: str) -> Any:
    note = getattr(function, "__annotations__", {}).get(param)
    if isinstance(note, str) and "BaseImage" in note:
        note = eval(note, function.__globals__)  # noqa: S307 - the author's own annotation
    for mark in getattr(note, "__metadata__", ()):
        if isinstance(mark, BaseImage):
            return Step(image=mark.image)
    return _TARGETS[param]() if param in _TARGETS else _MISSING
