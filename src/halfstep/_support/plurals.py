"""Numbers with nouns."""

from __future__ import annotations


def with_count(count: int, noun: str) -> str:
    """Return a number with a noun, in the plural unless the number is 1.

    Examples
    --------
    >>> with_count(1, "user"), with_count(1200, "item")
    ('1 user', '1,200 items')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
