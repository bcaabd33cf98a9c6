"""Interactions of a sparse matrix of users × items."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from halfstep.data import Interactions, Vocabulary
from halfstep.errors import DataError


def test_from_sparse_with_ids() -> None:
    matrix = sp.csr_array(np.array([[0, 2], [0, 0]]))
    items = Vocabulary(["b", "a"])
    data = Interactions.from_sparse(matrix, users=["eve", "adam"], items=items)
    assert list(data.users) == ["eve", "adam"]
    assert data.items is items
    assert (data.user_ids.tolist(), data.item_ids.tolist()) == (["eve"], ["a"])
    with pytest.raises(DataError, match="users has 1 ids, but the matrix has 2 rows: give one id for each"):
        Interactions.from_sparse(matrix, users=["eve"])
    with pytest.raises(DataError, match="items has 3 ids, but the matrix has 2 columns"):
        Interactions.from_sparse(matrix, items=[1, 2, 3])


def test_bad_sparse_matrices() -> None:
    twice = sp.coo_array((np.ones(3), ([0, 1, 1], [0, 1, 1])), shape=(2, 2))
    with pytest.raises(
        DataError, match=r"stores user 1 \(row 1\), item 1 \(column 1\) more than once .* call its sum_"
    ):
        Interactions.from_sparse(twice)
    with pytest.raises(DataError, match="the matrix has no stored value: store at least one"):
        Interactions.from_sparse(sp.csr_array((3, 4)))
    with pytest.raises(DataError, match=r"at user 0 \(row 0\), item 1 \(column 1\) is nan, not a finite"):
        Interactions.from_sparse(sp.csr_array(np.array([[1, np.nan]])))


def test_a_value_that_is_not_finite_names_ids() -> None:
    matrix = sp.csr_array(np.array([[0, 0], [1, np.nan]]))
    with pytest.raises(DataError, match=r"the value at user 'b' \(row 1\), item 'y' \(column 1\) is nan"):
        Interactions.from_sparse(matrix, users=["a", "b"], items=["x", "y"])


def test_duplicates_name_user_and_item() -> None:
    twice = sp.coo_array(([1.0, 2.0], ([1, 1], [0, 0])), shape=(2, 1))
    with pytest.raises(DataError, match=r"stores user 'b' \(row 1\), item 'x' \(column 0\) more than once"):
        Interactions.from_sparse(twice, users=["a", "b"], items=["x"])
