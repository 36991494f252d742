"""The pipeline language of hm: ``import harmont as hm`` in a repository's ``.hm/*.py``.

The package is part of the ``hm`` binary; there is nothing to install. It keeps to the documented surface of the
PyPI package of the same name, and adds ``auto()`` and the keyword arguments listed in the language's page.
It imports as little of the standard library as it can: its start is a part of every changed ``hm run``.
"""
from __future__ import annotations

from .barrier import group, wait
from .cache import (
    CacheAuto,
    CacheCompose,
    CacheForever,
    CacheNone,
    CacheOnChange,
    CachePolicy,
    CacheTTL,
    auto,
    compose,
    forever,
    on_change,
    ttl,
)
from .context import branch, commit, tag
from .json_emit import pipeline_to_json
from .needs import artifacts, cache_dir, health, secret, service
from .options import limits
from .pipelines import pipeline
from .registry import dump_registry_json
from .step import Step, scratch, sh, timeout
from .targets import BaseImage, Target, clear_target_cache, target
from .triggers import pr, pull_request, push
from .types import Pipeline

__all__ = [
    "BaseImage",
    "CacheAuto",
    "CacheCompose",
    "CacheForever",
    "CacheNone",
    "CacheOnChange",
    "CachePolicy",
    "CacheTTL",
    "Pipeline",
    "Step",
    "Target",
    "artifacts",
    "auto",
    "branch",
    "cache_dir",
    "clear_target_cache",
    "commit",
    "compose",
    "dump_registry_json",
    "forever",
    "group",
    "health",
    "limits",
    "on_change",
    "pipeline",
    "pipeline_to_json",
    "pr",
    "pull_request",
    "push",
    "scratch",
    "secret",
    "service",
    "sh",
    "tag",
    "target",
    "timeout",
    "ttl",
    "wait",
]
