"""What stands between steps, and around them."""
from __future__ import annotations

from .step import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Sequence


def wait(*, continue_on_failure: bool = False) -> Step:
    """Return a barrier: what the pipeline lists after it starts once everything before it has passed.

    ``continue_on_failure`` is accepted and, as in the PyPI package, has no form in the plan: a step behind
    the barrier is still skipped after a failure.
    """
    return Step(is_wait=True, continue_on_failure=bool(continue_on_failure))


def group(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Return ``steps`` as a tuple, which pipelines and targets may return."""
    if isinstance(steps, Step):
        raise TypeError("hm: group() takes one list of steps\n  → hm.group([a, b])")
    return tuple(steps)
