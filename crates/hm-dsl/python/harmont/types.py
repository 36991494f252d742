"""Names for the types of the language, for annotations."""
from __future__ import annotations

from .cache import CachePolicy
from .step import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Sequence, Union

    Pipeline = Union[Step, Sequence[Step]]
else:
    Pipeline = Step  # What a pipeline's function returns. Nothing looks at it while the file runs.

__all__ = ["CachePolicy", "Pipeline", "Step"]
