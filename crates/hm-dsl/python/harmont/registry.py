"""The pipelines that the author's files registered, and what they render to."""
from __future__ import annotations

from .keygen import Context, resolve_keys
from .pipelines import REGISTERED, build
from .targets import call, clear_target_memo
from .text import to_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from typing import Any, Mapping, Optional, Union


def plans() -> list[dict[str, Any]]:
    """Return the envelope's entry of every registered pipeline, without cache keys."""
    clear_target_memo()
    return [
        {
            "slug": known.slug,
            "name": known.name,
            "allow_manual": known.allow_manual,
            "triggers": [trigger.to_dict() for trigger in known.triggers],
            "definition": build(known.leaves(call(known.function)), known.env, known.timeout, known.default_image, known.shell),
        }
        for known in REGISTERED.values()
    ]


def with_keys(entries: list[dict[str, Any]], context: Context) -> list[dict[str, Any]]:
    """Return ``entries`` with the cache keys in their plans."""
    return [{**entry, "definition": resolve_keys(entry["definition"], context)} for entry in entries]


def dump_registry_json(
    *,
    pipeline_org: Optional[str] = None,
    now: Optional[int] = None,
    base_path: Optional[Union[str, os.PathLike[str]]] = None,
    env: Optional[Mapping[str, str]] = None,
) -> str:
    """Return the envelope of all registered pipelines as JSON."""
    del pipeline_org
    context = Context(now, None if base_path is None else str(base_path), env)
    return to_json({"schema_version": "1", "pipelines": with_keys(plans(), context)})
