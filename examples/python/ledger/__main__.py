"""Reads lines such as ``rent cash=-500.00 rent=500.00`` and prints the balances."""

import sys
from decimal import Decimal

from . import Book


def main(lines):
    book = Book()
    for line in lines:
        text, *amounts = line.split()
        pairs = (amount.split("=") for amount in amounts)
        book.enter(text, **{account: int(Decimal(value) * 100) for account, value in pairs})
    for account, cents in book.balances().items():
        print(f"{account:<12} {Decimal(cents) / 100:>10.2f}")


if __name__ == "__main__":
    main(line for line in sys.stdin if line.strip())
