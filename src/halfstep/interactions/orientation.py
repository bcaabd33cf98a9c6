"""The pattern of observed cells in compressed rows: what a half-step runs over."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Orientation:
    """The pattern of observed cells, seen from one side, in compressed rows.

    Attributes
    ----------
    indptr : ndarray of shape (n_rows + 1,), int64
        Row k's entries are stored at ``indptr[k]:indptr[k + 1]``.
    indices : ndarray of shape (n_entries,), int32
        The column of each stored entry, ascending within a row.
    order : ndarray of shape (n_entries,), int64
        The entry that is stored in each place: ``values[order]`` are the values row by row.
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    order: NDArray[np.int64]


def orient(
    rows: NDArray[np.int32],
    columns: NDArray[np.int32],
    row_counts: NDArray[np.int64],
    column_counts: NDArray[np.int64],
) -> Orientation:
    """Sort the entries by row, then column: two passes of counting sort, the lesser key first."""
    by_column = _counting_argsort(columns, len(column_counts))
    order = by_column[_counting_argsort(rows[by_column], len(row_counts))]
    indptr = np.concatenate(([0], np.cumsum(row_counts)))
    return Orientation(indptr.astype(np.int64, copy=False), columns[order], order.astype(np.int64, copy=False))


def _counting_argsort(keys: NDArray[np.int32], n_keys: int) -> NDArray[np.integer]:
    """Sort small integers stably in linear time: SciPy transposes a matrix with one entry a row."""
    from scipy.sparse import csr_array

    n = len(keys)
    marks = np.ones(n, dtype=np.int8)
    order: NDArray[np.integer] = csr_array((marks, keys, np.arange(n + 1)), shape=(n, n_keys)).tocsc().indices
    return order
