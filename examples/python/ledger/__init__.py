"""A tiny double-entry ledger."""

from .book import Book, Entry, UnbalancedEntry

__all__ = ["Book", "Entry", "UnbalancedEntry"]
