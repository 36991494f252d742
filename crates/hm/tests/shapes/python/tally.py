"""Counts words."""
import collections
import re


def most_common(text, count):
    """Return the `count` most common words of `text` with how often each is there."""
    return collections.Counter(re.findall(r"\w+", text.lower())).most_common(count)
