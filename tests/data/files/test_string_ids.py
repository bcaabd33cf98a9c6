"""Strings numbered by a hash table, compared to a dictionary."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from halfstep.data.files.string_ids import LONGEST, StringNumbers
from thorough import examples

TEXTS = st.text(st.sampled_from("ab\n\0é漢😀"), max_size=12) | st.text(max_size=LONGEST + 8)


def add(numbers: StringNumbers, strings: list[str], before: int = 0) -> list[int]:
    """Add strings that lie behind `before` other bytes, as in a slice of a larger buffer."""
    encoded = [string.encode() for string in strings]
    data = np.frombuffer(bytes(before) + b"".join(encoded), np.uint8)
    offsets = np.cumsum([before, *map(len, encoded)]).astype(np.int32)
    found = np.full(len(strings), -7, np.int32)
    numbers.add(data, offsets, found)
    return found.tolist()


def assert_ascending(numbers: StringNumbers, strings: list[str]) -> None:
    """Compare what is numbered with Python's sorting of the strings, given by number."""
    ascending, ranks = numbers.ascending()
    assert ascending == sorted(strings)
    assert [ascending[rank] for rank in ranks.tolist()] == strings


@pytest.mark.slow
@examples(100)
@given(st.lists(st.lists(TEXTS, max_size=30), max_size=5), st.integers(0, 3))
def test_numbers_equal_those_of_dictionary(chunks: list[list[str]], before: int) -> None:
    numbers, twin = StringNumbers(), dict[str, int]()
    for chunk in chunks:
        assert add(numbers, chunk, before) == [twin.setdefault(string, len(twin)) for string in chunk]
    assert_ascending(numbers, list(twin))


def test_tables_that_grow_keep_all_strings() -> None:
    numbers = StringNumbers()
    strings = [f"{'x' * (k % 50)}{k}" for k in range(30_000)]
    assert add(numbers, strings) == list(range(30_000))
    assert add(numbers, strings[::-1]) == list(range(30_000))[::-1]
    assert_ascending(numbers, strings)


def test_string_longer_than_the_table() -> None:
    numbers = StringNumbers()
    strings = ["a", "b" * 3_000_000, "", "é"]
    assert add(numbers, strings) == [0, 1, 2, 3]
    assert_ascending(numbers, strings)


@pytest.mark.parametrize("odd", ["", "\n", "a\0", "x" * LONGEST, "x" * (LONGEST + 1), "é" * 40])
def test_sorted_like_in_python_with_one_unusual_string(odd: str) -> None:
    numbers = StringNumbers()
    strings = [*(f"{k:04d}"[: 1 + k % 4] + "u" for k in range(5000, 0, -1)), odd]
    distinct = list(dict.fromkeys(strings))
    add(numbers, strings)
    assert_ascending(numbers, distinct)


def test_strings_with_common_prefix_are_distinct() -> None:
    numbers = StringNumbers()
    strings = ["a" * k + tail for k in range(30) for tail in ("", "b", "\x01")]
    distinct = list(dict.fromkeys(strings))
    assert add(numbers, strings) == [distinct.index(string) for string in strings]
    assert_ascending(numbers, distinct)


@pytest.mark.parametrize("length", [1, 7, 8, 9, 16, 17, LONGEST])
def test_strings_of_equal_length_are_sorted_like_in_python(length: int) -> None:
    rng = np.random.default_rng(length)
    strings = list(dict.fromkeys("".join(letters) for letters in rng.choice(list("abé漢"), (3000, length))))
    strings = [string for string in strings if len(string.encode()) == 2 * length] or ["a" * length, "b" * length]
    numbers = StringNumbers()
    add(numbers, strings)
    assert_ascending(numbers, strings)


def test_no_strings() -> None:
    assert_ascending(StringNumbers(), [])
