"""An order of columns in which a scan for the best ones of a row can stop early."""

from __future__ import annotations

from typing import NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from halfstep.data import IndexLists

Floats = NDArray[np.floating]
Array = TypeVar("Array", bound=NDArray[np.floating])

LEAST_LENGTH = 1e-140


class ScanOrder(NamedTuple):
    """Columns by descending upper bound of their scores.

    By the Cauchy-Schwarz inequality, the score p·q + c of a column is at most ‖p‖ ‖q‖ + c. Once this is below the
    n-th best score for all remaining columns, the list of the row is complete [1]_.

    Attributes
    ----------
    columns : ndarray of shape (n_columns,), or (0,)
        The columns in this order; empty if they keep their order.
    positions : ndarray of shape (n_columns,), or (0,)
        The position of each column.
    lengths, offsets : ndarray of shape (n_columns,), or (0,)
        The largest ‖q‖ and the largest c of the columns from each position on.

    References
    ----------
    .. [1] C. Teflioudi, R. Gemulla, O. Mykytiuk, "LEMP: fast retrieval of large entries in a matrix product", SIGMOD
       2015.
    """

    columns: NDArray[np.int32]
    positions: NDArray[np.int64]
    lengths: NDArray[np.float64]
    offsets: NDArray[np.float64]

    @classmethod
    def unsorted(cls) -> Self:
        """Keep columns in the given order."""
        return cls(np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0), np.empty(0))

    @classmethod
    def of(cls, Q: Floats, c: NDArray[np.float64], lengths: NDArray[np.float64]) -> Self:
        """Sort columns by the bound for a row of mean length, given the lengths of all rows."""
        of_columns = row_lengths(Q)
        columns = np.argsort(-(c + lengths.mean() * of_columns), kind="stable").astype(np.int32)
        positions = np.empty(len(columns), np.int64)
        positions[columns] = np.arange(len(columns))
        return cls(columns, positions, _largest_from(of_columns[columns]), _largest_from(c[columns]))

    def taken(self, array: Array) -> Array:
        """Return the rows of an array in this order."""
        return array[self.columns] if len(self.columns) else array  # type: ignore[return-value]

    def bounds(self, lengths: NDArray[np.float64], position: int) -> NDArray[np.float64]:
        """Return upper bounds of the scores from a position on, for rows of these lengths."""
        bounds: NDArray[np.float64] = lengths * self.lengths[position] + self.offsets[position]
        return bounds

    def lists(self, lists: IndexLists, first: int, last: int) -> IndexLists:
        """Return the positions in this order of the listed columns of rows ``first:last``."""
        indptr = lists.indptr[first : last + 1]
        if len(self.columns) == 0:
            return IndexLists(indptr, lists.indices)
        before = np.repeat(np.arange(last - first) * len(self.columns), np.diff(indptr))
        positions = np.sort(before + self.positions[lists.indices[indptr[0] : indptr[-1]]]) - before
        return IndexLists(indptr - indptr[0], positions.astype(lists.indices.dtype))


def row_lengths(F: Floats) -> NDArray[np.float64]:
    """Return the Euclidean norms of rows."""
    lengths: NDArray[np.float64] = np.sqrt(np.einsum("ij,ij->i", F, F, dtype=np.float64))
    lost = (lengths < LEAST_LENGTH) | (lengths == np.inf)  # because squares underflow or overflow
    if F.dtype == np.float64 and lost.any():
        rows = F[lost]
        scales = np.abs(rows).max(axis=1, initial=0.0)
        scales[scales == 0.0] = 1.0
        rows /= scales[:, np.newaxis]
        lengths[lost] = scales * np.sqrt(np.einsum("ij,ij->i", rows, rows))
    return lengths


def _largest_from(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the largest value from each position on."""
    largest: NDArray[np.float64] = np.maximum.accumulate(values[::-1])[::-1]
    return largest
