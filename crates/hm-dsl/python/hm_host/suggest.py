"""Finds the word that an author may have meant."""
from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable

_UNEXPECTED = "() got an unexpected keyword argument "


def suggestion(error: BaseException) -> str:
    """Return the lines to add to an error about a name that the language does not have; nothing for any other."""
    if isinstance(error, TypeError) and _UNEXPECTED in str(error):
        function, _, rest = str(error).partition(_UNEXPECTED)
        return _near(rest.split("'")[1] if "'" in rest else rest, _arguments(function.rpartition(".")[2]), "arguments")
    import harmont

    if isinstance(error, AttributeError) and getattr(error, "obj", None) is harmont:
        return _near(str(error.name), harmont.__all__, "")
    return ""


def _arguments(function: str) -> list[str]:
    import harmont
    from harmont import pipelines

    places = (harmont, harmont.Step, pipelines)
    names: list[str] = []
    for place in places:
        code = getattr(getattr(place, function, None), "__code__", None)
        if code is not None:
            names += code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
            names += [name for name in code.co_varnames[: code.co_argcount] if name != "self"]
    return names


def _near(wrong: str, names: Iterable[str], what: str) -> str:
    import difflib

    names = list(names)
    near = difflib.get_close_matches(wrong, names, n=1)
    if near:
        return f"\n  → did you mean {near[0]!r}?"
    return f"\n  → its {what} are {', '.join(names)}" if names and what else ""
