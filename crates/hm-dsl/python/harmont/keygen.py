"""The keys of cached steps.

A key stands for everything that the author's policy watches, and for the whole chain up to the step: its
commands, environments and images. hm adds to it what only a run knows, such as the digest of an image.
"""
from __future__ import annotations

import os
import time

from .hashes import hasher
from .text import to_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Mapping, Optional


class Context:
    """What keys are made from besides the plan: a time, a directory and an environment.

    ``window`` is the span of time in which the same keys come out, in seconds since 1970.
    """

    __slots__ = ("now", "root", "env", "window")

    def __init__(
        self,
        now: Optional[int] = None,
        root: Optional[str] = None,
        env: Optional[Mapping[str, str]] = None,
    ) -> None:
        self.now = int(time.time()) if now is None else int(now)
        self.root = os.getcwd() if root is None else os.fspath(root)
        self.env: Mapping[str, str] = os.environ if env is None else env
        self.window = [0, 2**63 - 1]

    def bucket(self, duration: int) -> int:
        """Return which window of ``duration`` it is, counted from 1970."""
        count = self.now // duration
        self.window[0] = max(self.window[0], count * duration)
        self.window[1] = min(self.window[1], (count + 1) * duration)
        return count


def resolve_keys(plan: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Return ``plan`` with a key in every policy that wants one."""
    graph = plan["graph"]
    if not any("cache" in node["step"] for node in graph["nodes"]):
        return dict(plan)
    parents = {edge[1]: edge[0] for edge in graph["edges"] if edge[2] == "builds_in"}
    chains: list[str] = []
    nodes = []
    for index, node in enumerate(graph["nodes"]):
        step = node["step"]
        above = chains[parents[index]] if index in parents else ""
        policy = step.get("cache")
        watched = None if policy is None else _watched(policy, context)
        chain = _digest([above, step["cmd"], step.get("image"), node["env"], watched])
        chains.append(chain)
        if watched is not None:
            node = {**node, "step": {**step, "cache": {**policy, "key": chain}}}
        nodes.append(node)
    return {**plan, "graph": {**graph, "nodes": nodes}}


def _watched(policy: Mapping[str, Any], context: Context) -> Optional[list[Any]]:
    """Return what a policy watches as it is now; ``None`` for a policy without a key."""
    kind = policy["policy"]
    if kind == "ttl":
        duration = policy["duration_seconds"]
        return [kind, duration, context.bucket(duration), _values(policy, context)]
    if kind == "on_change":
        from .digest import digest_paths

        return [kind, digest_paths(context.root, policy["paths"])]
    if kind == "forever":
        return [kind, _values(policy, context)]
    if kind == "compose":
        parts = [_watched(part, context) for part in policy["sub_policies"]]
        return None if all(part is None for part in parts) else [kind, parts]
    return None


def _values(policy: Mapping[str, Any], context: Context) -> dict[str, Optional[str]]:
    return {name: context.env.get(name) for name in sorted(policy["env_keys"])}


def _digest(value: Any) -> str:
    return hasher(to_json(value, sort=True).encode()).hexdigest()
