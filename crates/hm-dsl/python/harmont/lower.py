"""From chains of steps to the plan: nodes and edges in petgraph's serde form."""
from __future__ import annotations

from .names import name_steps
from .shells import DEFAULT
from .step import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Mapping, Optional, Sequence

_DEFAULT_ENV = {"DEBIAN_FRONTEND": "noninteractive", "TERM": "dumb"}


def lower(leaves: Sequence[Step], env: Mapping[str, str], shell: Optional[str] = None) -> dict[str, Any]:
    """Return the graph of everything that ``leaves`` need, in the order in which they need it. ``shell`` runs the commands of
    steps that name none."""
    order = _Order()
    for leaf in leaves:
        if leaf.is_wait:
            order.barrier()
        else:
            order.add(leaf)
    keys = name_steps(order.steps)
    nodes = [
        {"step": _wire(step, key, shell or DEFAULT), "env": {**_DEFAULT_ENV, **env, **(step.env or {})}}
        for step, key in zip(order.steps, keys)
    ]
    return {"nodes": nodes, "node_holes": [], "edge_property": "directed", "edges": order.edges}


class _Order:
    """Steps in the order of their emission, split into stages by barriers.

    A barrier becomes edges from each leaf of the stage before it to each root of the stage behind it. The
    other pairs follow from these, so the order is that of the full product of the two stages.
    """

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.edges: list[list[Any]] = []
        self._index: dict[int, int] = {}
        self._before: list[int] = []
        self._stage_start = 0
        self._has_child: set[int] = set()

    def barrier(self) -> None:
        """End the stage. A barrier behind nothing changes nothing."""
        stage = range(self._stage_start, len(self.steps))
        if stage:
            self._before = [index for index in stage if index not in self._has_child]
            self._has_child = set()
            self._stage_start = len(self.steps)

    def add(self, leaf: Step) -> None:
        """Emit the chain that ends in ``leaf``, its root first, without what is there already."""
        chain = []
        step: Optional[Step] = leaf
        while step is not None and id(step) not in self._index:
            if step.cmd is not None:
                chain.append(step)
            step = step.parent
        parent = None if step is None else self._index[id(step)]
        for one in reversed(chain):
            index = self._index[id(one)] = len(self.steps)
            self.steps.append(one)
            if parent is not None:
                self.edges.append([parent, index, "builds_in"])
                self._has_child.add(parent)
            if parent is None or parent < self._stage_start:
                self.edges += [[before, index, "depends_on"] for before in self._before if before != parent]
            parent = index


def _wire(step: Step, key: str, shell: str) -> dict[str, Any]:
    out: dict[str, Any] = {"key": key, "cmd": step.cmd}
    fields = {
        "shell": step.shell or shell,
        "label": step.label,
        "cache": None if step.cache is None else step.cache.to_dict(),
        "timeout_seconds": step.timeout_seconds,
        "grace_seconds": step.grace_seconds,
        "runner": step.runner,
        "runner_args": step.runner_args,
        "image": step.image or _root_image(step),
        "retries": step.retries,
        "soft_fail": step.soft_fail,
        "git": step.git,
        "network": step.network,
        "limits": step.limits,
        "services": step.services,
        "secrets": step.secrets,
        "artifacts": step.artifacts,
        "caches": step.caches,
    }
    out.update((name, value) for name, value in fields.items() if value is not None)
    return out


def _root_image(step: Step) -> Optional[str]:
    above = step.parent
    while above is not None and above.cmd is None:
        if above.image is not None:
            return above.image
        above = above.parent
    return None
