"""Says what went wrong in an author's file: the author's lines, none of ours."""
from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Optional

_MAX_FRAMES = 8
_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def describe(error: BaseException, root: str) -> dict[str, Any]:
    """Return what is told to the author: a kind, the place, and the text with its source lines."""
    import linecache

    frames = _frames(error.__traceback__, root)
    if isinstance(error, SyntaxError) and error.filename is not None:
        frames.append((error.filename, error.lineno or 1, ""))
    lines = []
    if len(frames) > _MAX_FRAMES:
        lines.append(f"  ... {len(frames) - _MAX_FRAMES} earlier calls")
    for file, line, function in frames[-_MAX_FRAMES:]:
        lines += _show(file, line, function, root)
    if isinstance(error, SyntaxError) and error.offset and lines:
        source = lines[-1]
        raw = linecache.getline(error.filename or "", error.lineno or 1)
        indent = len(raw) - len(raw.lstrip())
        lines.append(" " * (len(source) - len(source.lstrip()) + max(error.offset - 1 - indent, 0)) + "^")
    lines.append(_message(error))
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        lines.append(f"  while handling {_message(cause)}")
    place = frames[-1] if frames else ("", 0, "")
    return {
        "kind": _kind(error),
        "file": _relative(place[0], root),
        "line": place[1],
        "text": "\n".join(lines).replace(root + os.sep, "").encode("utf-8", "replace").decode(),
    }


def _frames(trace: Optional[TracebackType], root: str) -> list[tuple[str, int, str]]:
    every = []
    while trace is not None:
        code = trace.tb_frame.f_code
        every.append((code.co_filename, trace.tb_lineno, code.co_name))
        trace = trace.tb_next
    outside = [frame for frame in every if not frame[0].startswith((_OURS, "<frozen"))]
    below = root + os.sep
    authors = [frame for frame in outside if frame[0].startswith(below) and "site-packages" not in frame[0]]
    return authors or outside


def _show(file: str, line: int, function: str, root: str) -> list[str]:
    import linecache

    where = f"  {_relative(file, root)}, line {line}"
    if function not in ("", "<module>"):
        where += f", in {function}"
    source = linecache.getline(file, line).strip()
    return [where, f"    {source}"] if source else [where]


def _message(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"sys.exit({error.code!r}) was called: a pipeline file must run to its end"
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    from .suggest import suggestion

    text += suggestion(error)
    if isinstance(error, ModuleNotFoundError):
        text += (
            f"\n  → {sys.executable} does not have it: put {error.name}.py into .hm/, "
            f"or install it for that Python"
        )
    return text


def _kind(error: BaseException) -> str:
    return "interrupted" if isinstance(error, KeyboardInterrupt) else "author"


def _relative(file: str, root: str) -> str:
    return file[len(root) + 1 :] if file.startswith(root + os.sep) else file
