"""Positions, counts and orientations of interactions."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from halfstep.data import Interactions, Vocabulary
from halfstep.errors import DataError


def test_positions_outside_of_the_vocabulary_never_become_interactions() -> None:
    ids = Vocabulary([1, 2])
    good, values = np.array([0, 1], np.int32), np.ones(2)
    for bad in ([0, 2], [-1, 0]):
        with pytest.raises(DataError, match="the item positions are not int32 numbers from 0 to 1"):
            Interactions(
                users=ids, items=ids, user_positions=good, item_positions=np.array(bad, np.int32), values=values
            )
    with pytest.raises(DataError, match="the user positions are not int32"):
        Interactions(users=ids, items=ids, user_positions=good.astype(np.int64), item_positions=good, values=values)
    with pytest.raises(DataError, match="3 values for 2 interactions"):
        Interactions(users=ids, items=ids, user_positions=good, item_positions=good, values=np.ones(3))


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 4)), min_size=1, max_size=40))
def test_orientations_have_all_cells_sorted(pairs: list[tuple[int, int]]) -> None:
    data = Interactions.from_arrays(*zip(*dict.fromkeys(pairs), strict=True))
    sides = (data.user_positions, data.item_positions)
    for pattern, (rows, columns), n_rows in (
        (data.by_user, sides, data.n_users),
        (data.by_item, sides[::-1], data.n_items),
    ):
        assert (pattern.indptr.dtype, pattern.indices.dtype, pattern.order.dtype) == (np.int64, np.int32, np.int32)
        assert pattern.order.tolist() == np.lexsort((columns, rows)).tolist()
        assert pattern.indices.tolist() == columns[pattern.order].tolist()
        assert np.diff(pattern.indptr).tolist() == np.bincount(rows, minlength=n_rows).tolist()
        assert pattern.indptr[0] == 0


def test_orientations_and_counts_are_cached() -> None:
    data = Interactions.from_arrays(["eve", "adam", "eve", "cain"], [20, 10, 10, 30], [5.0, 0.0, -3.5, 1.0])
    assert data.by_user is data.by_user
    assert data.by_item is data.by_item
    assert data.user_counts is data.user_counts


def test_counts_do_not_depend_on_values() -> None:
    data = Interactions.from_arrays(["eve", "adam", "eve", "cain"], [20, 10, 10, 30], [5.0, 0.0, -3.5, 1.0])
    assert data.user_counts.tolist() == [1, 1, 2]
    assert data.item_counts.tolist() == [2, 1, 1]
    assert data.item_counts.dtype == np.int64
