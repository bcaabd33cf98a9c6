"""Lists of indices, compared to Python's sets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import halfstep as hs
from halfstep.data import IndexLists
from halfstep.errors import DataError

sets = st.lists(st.sets(st.integers(0, 8)), min_size=1, max_size=6)


def build(rows: list[set[int]]) -> IndexLists:
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    return IndexLists(indptr, np.array([i for row in rows for i in sorted(row)], dtype=np.int32))


def as_lists(lists: IndexLists) -> list[list[int]]:
    return [lists.indices[a:b].tolist() for a, b in zip(lists.indptr[:-1], lists.indptr[1:], strict=True)]


@given(here=sets, there=sets)
def test_set_operations(here: list[set[int]], there: list[set[int]]) -> None:
    n = min(len(here), len(there))
    a, b = build(here[:n]), build(there[:n])
    assert as_lists(a.joined_with(b)) == [sorted(x | y) for x, y in zip(here, there, strict=False)]
    assert as_lists(a.without(b)) == [sorted(x - y) for x, y in zip(here, there, strict=False)]
    columns = np.array([1, 4, 5, 8])
    kept = [[columns.tolist().index(i) for i in sorted(x & {1, 4, 5, 8})] for x in here[:n]]
    assert as_lists(a.within(columns, 9)) == kept


def test_rows_of_orientation() -> None:
    data = hs.Interactions.from_arrays([0, 0, 1, 2, 2], [3, 1, 0, 2, 3])
    pattern = data.by_user
    assert as_lists(IndexLists.of_rows(pattern, np.array([2, -1, 0, 2]))) == [[2, 3], [], [1, 3], [2, 3]]
    assert as_lists(IndexLists.of_rows(pattern, np.arange(3))) == [[1, 3], [0], [2, 3]]
    assert as_lists(IndexLists.of_rows(pattern, np.array([-1]))) == [[]]


def test_unknown_items_are_skipped() -> None:
    users, items = hs.Vocabulary(["ann"]), hs.Vocabulary(["tea", "milk", "rum"])
    lists = IndexLists.of_mapping({"ann": ["rum", "gin", "tea", "rum"]}, ["bob", "ann"], users, items, name="exclude")
    assert as_lists(lists) == [[], [0, 2]]


@pytest.mark.parametrize("wrong", ["tea", 5])
def test_error_for_single_id(wrong: object) -> None:
    users, items = hs.Vocabulary(["ann"]), hs.Vocabulary(["tea"])
    with pytest.raises(DataError, match=f"exclude has {wrong!r} for user 'ann': give a list of item ids"):
        IndexLists.of_mapping({"ann": wrong}, ["ann"], users, items, name="exclude")
