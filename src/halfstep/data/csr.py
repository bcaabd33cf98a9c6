"""The pattern of observed cells in compressed rows: what a half-step runs over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csc_array


@dataclass(frozen=True, eq=False)
class Orientation:
    """The pattern of observed cells, seen from one side, in compressed rows.

    Attributes
    ----------
    indptr : ndarray of shape (n_rows + 1,), int64
        Row k's entries are stored at ``indptr[k]:indptr[k + 1]``.
    indices : ndarray of shape (n_entries,), int32
        The column of each stored entry, ascending within a row.
    order : ndarray of shape (n_entries,), int32, or int64 from 2³¹ entries on
        The entry that is stored in each place: ``values[order]`` are the values row by row.
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    order: NDArray[np.integer]

    @classmethod
    def of_entries(cls, rows: NDArray[np.int32], columns: NDArray[np.int32], n_rows: int, n_columns: int) -> Self:
        """Sort entries by row, then column: two passes of counting sort, the lesser key first."""
        one_a_row = np.arange(len(rows) + 1, dtype=_index_type(len(rows)))
        by_column = _turned(one_a_row, columns, rows, n_columns)  # its data are rows, its indices the entries
        del one_a_row
        return cls._of(_turned(by_column.indptr, by_column.data, by_column.indices, n_rows))

    def turned(self, n_columns: int) -> Self:
        """See the same pattern from the other side: one more pass."""
        starts = self.indptr.astype(_index_type(len(self.indices)))
        return self._of(_turned(starts, self.indices, self.order, n_columns))

    @classmethod
    def _of(cls, pattern: csc_array[Any]) -> Self:
        indptr, indices = pattern.indptr.astype(np.int64), pattern.indices.astype(np.int32, copy=False)
        return cls(indptr, indices, pattern.data)


def _turned(
    indptr: NDArray[np.integer], indices: NDArray[np.integer], data: NDArray[Any], n_columns: int
) -> csc_array[Any]:
    """Turn compressed rows to compressed columns: SciPy's counting sort is stable, and carries the data along."""
    from scipy.sparse import csr_array

    return csr_array((data, indices, indptr), shape=(len(indptr) - 1, n_columns)).tocsc()


def _index_type(n_entries: int) -> type[np.signedinteger]:
    """32 bits where they suffice: SciPy sorts in twice the memory as soon as one array has 64."""
    return np.int32 if n_entries < 2**31 else np.int64
