"""The plan as JSON text."""
from __future__ import annotations

from .keygen import Context, resolve_keys
from .text import to_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from typing import Any, Mapping, Optional, Union


def pipeline_to_json(
    p: Mapping[str, Any],
    *,
    pipeline_org: Optional[str] = None,
    pipeline_slug: Optional[str] = None,
    now: Optional[int] = None,
    base_path: Optional[Union[str, os.PathLike[str]]] = None,
    env: Optional[Mapping[str, str]] = None,
) -> str:
    """Return the plan that ``pipeline([...])`` made as JSON, with its cache keys.

    ``pipeline_org`` and ``pipeline_slug`` are taken for compatibility. They are not part of a key, so that
    pipelines share the snapshots of the chains that they share.
    """
    del pipeline_org, pipeline_slug
    return to_json(resolve_keys(p, Context(now, None if base_path is None else str(base_path), env)))
