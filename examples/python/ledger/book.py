"""Entries and balances, in cents."""

from collections import defaultdict
from dataclasses import dataclass


class UnbalancedEntry(ValueError):
    """An entry whose amounts do not add up to nothing."""


@dataclass(frozen=True)
class Entry:
    """What happened: the account and how many cents it gains, for each account concerned."""

    text: str
    amounts: tuple

    def __post_init__(self):
        total = sum(cents for _, cents in self.amounts)
        if total != 0:
            raise UnbalancedEntry(f"{self.text}: off by {total} cents")


class Book:
    """Entries in the order in which they were made."""

    def __init__(self):
        self.entries = []

    def enter(self, text, **amounts):
        """Add an entry, such as ``enter("rent", cash=-50000, rent=50000)``."""
        self.entries.append(Entry(text, tuple(amounts.items())))

    def balances(self):
        """Return the balance of each account that has one, by name."""
        balances = defaultdict(int)
        for entry in self.entries:
            for account, cents in entry.amounts:
                balances[account] += cents
        return {account: cents for account, cents in sorted(balances.items()) if cents}
