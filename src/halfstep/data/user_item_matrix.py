"""Interactions in a SciPy sparse matrix of users × items: the ids of its rows and columns, and its stored values."""

from __future__ import annotations

from typing import Any

import numpy as np

from halfstep.data.duplicates import find_repeat
from halfstep.data.sparse import Stored, is_sparse, stored_values
from halfstep.data.tables import type_and_shape
from halfstep.data.vocabulary import Vocabulary
from halfstep.errors import DataError


def check_is_user_item_matrix(given: Any) -> None:
    """Check that an object is a sparse matrix of two dimensions."""
    if not is_sparse(given):
        raise DataError(
            f"from_sparse takes a two-dimensional SciPy sparse matrix, not {type_and_shape(given)}: "
            "convert a dense one with scipy.sparse.csr_array, which stores the values that are not 0"
        )
    if len(given.shape) != 2:
        raise DataError(
            f"from_sparse takes a two-dimensional SciPy sparse matrix, not {type_and_shape(given)}: give the row of "
            "a single user as matrix.reshape(1, -1)"
        )


def read_user_item_matrix(matrix: Any, users: Any, items: Any) -> tuple[Vocabulary, Vocabulary, Stored]:
    """Check a sparse matrix, and return the ids of rows and columns, and its stored values, whose cells are distinct.

    Parameters
    ----------
    matrix : scipy.sparse matrix or array of shape (n_users, n_items)
        A one-dimensional array is the row of a single user.
    users, items : Vocabulary or array-like of ids, optional
        The ids of all rows and columns; by default 0 to n − 1.
    """
    shape = matrix.shape if len(matrix.shape) != 1 else (1, *matrix.shape)
    user_ids = None if users is None else _vocabulary_of(users, shape[0], "rows", "users")
    item_ids = None if items is None else _vocabulary_of(items, shape[1], "columns", "items")

    def cell(row: int, column: int) -> str:
        user = row if user_ids is None else user_ids[row]
        item = column if item_ids is None else item_ids[column]
        return f"user {user!r} (row {row}), item {item!r} (column {column})"

    stored = stored_values(matrix, "the matrix", cell)
    repeat = find_repeat(stored.rows, stored.columns)
    if repeat is not None:
        name = cell(int(stored.rows[repeat.row]), int(stored.columns[repeat.row]))
        raise DataError(
            f"the matrix stores {name} more than once ({repeat.counted}): call its sum_duplicates() first"
        )
    user_ids, item_ids = (
        Vocabulary(np.arange(length)) if ids is None else ids
        for ids, length in zip((user_ids, item_ids), shape, strict=True)
    )
    return user_ids, item_ids, stored


def _vocabulary_of(ids: Any, length: int, axis: str, name: str) -> Vocabulary:
    if not isinstance(ids, Vocabulary):
        ids = Vocabulary(ids, name=f"{name.removesuffix('s')} id")
    vocabulary: Vocabulary = ids
    if len(vocabulary) != length:
        raise DataError(
            f"{name} has {len(vocabulary):,} ids, but the matrix has {length:,} {axis}: give one id for each"
        )
    return vocabulary
