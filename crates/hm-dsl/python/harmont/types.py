"""Names for the types of the language, for annotations."""
from __future__ import annotations

from .cache import CachePolicy
from .step import Step

__all__ = ["CachePolicy", "Step"]
