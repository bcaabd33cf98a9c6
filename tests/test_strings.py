"""Strings numbered by the hash table of the kernels, against Python's dictionary."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
from hypothesis import given, settings

from halfstep.interactions.strings import StringNumbers


def add(numbers: StringNumbers, strings: list[str], before: int = 0) -> list[int]:
    """Add strings that lie behind `before` other bytes, as in a slice of a larger buffer."""
    encoded = [string.encode() for string in strings]
    data = np.frombuffer(bytes(before) + b"".join(encoded), np.uint8)
    offsets = np.cumsum([before, *map(len, encoded)]).astype(np.int32)
    found = np.full(len(strings), -7, np.int32)
    numbers.add(data, offsets, found)
    return found.tolist()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.text(max_size=20), max_size=30), max_size=5), st.integers(0, 3))
def test_numbers_are_those_of_a_dictionary(chunks: list[list[str]], before: int) -> None:
    numbers, twin = StringNumbers(), dict[str, int]()
    for chunk in chunks:
        assert add(numbers, chunk, before) == [twin.setdefault(string, len(twin)) for string in chunk]
    assert numbers.strings() == list(twin)


def test_tables_that_grow_keep_all_strings() -> None:
    numbers = StringNumbers()
    strings = [f"{'x' * (k % 50)}{k}" for k in range(30_000)]
    assert add(numbers, strings) == list(range(30_000))
    assert add(numbers, strings[::-1]) == list(range(30_000))[::-1]
    assert numbers.strings() == strings


def test_a_string_that_is_longer_than_the_table_has_room_for() -> None:
    numbers = StringNumbers()
    strings = ["a", "b" * 3_000_000, "", "é"]
    assert add(numbers, strings) == [0, 1, 2, 3]
    assert numbers.strings() == strings
