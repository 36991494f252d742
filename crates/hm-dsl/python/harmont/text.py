"""JSON without the ``json`` package, whose import takes as long as the rest of a start of ours."""
from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable


def to_json(value: Any, *, sort: bool = False) -> str:
    """Return ``value`` as ASCII JSON without needless spaces."""
    return _encoder(sort)(value)


def _encoder(sort: bool) -> Callable[[Any], str]:
    try:
        # The C half of the json package. Its Python half only adds the choice of options.
        from _json import encode_basestring_ascii, make_encoder

        encode = make_encoder({}, _refuse, encode_basestring_ascii, None, ":", ",", sort, False, False)
    except (ImportError, TypeError):
        import json

        return json.JSONEncoder(separators=(",", ":"), sort_keys=sort, allow_nan=False, default=_refuse).encode
    return lambda value: "".join(encode(value, 0))


def _refuse(value: object) -> Any:
    raise TypeError(f"hm: a {type(value).__name__} is not JSON serializable: pass text, numbers, lists or dicts")
