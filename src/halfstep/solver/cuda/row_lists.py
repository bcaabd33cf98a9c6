"""The rows that kernels solve, in the order of their launches; long ones are divided into parts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

PART_LENGTH = 2048  # observed cells that one block sums
MOST_PARTS = 8192  # approximate maximum per launch, which bounds the memory of their sums
Ints = NDArray[np.integer]


class Parts(NamedTuple):
    """Parts of rows.

    Attributes
    ----------
    rows : ndarray of int32
    starts, stops : ndarray of int64
        Their observed cells.
    """

    rows: Ints
    starts: Ints
    stops: Ints


class RowLists(NamedTuple):
    """Rows in decreasing order of length, so that the longest do not start last.

    Attributes
    ----------
    rows : ndarray of int32
    starts, stops : ndarray of int64
        Their observed cells, none for rows that are divided into parts.
    first_parts, part_counts : ndarray of int32
        Their parts, in `parts`.
    parts : Parts
    """

    rows: Ints
    starts: Ints
    stops: Ints
    first_parts: Ints
    part_counts: Ints
    parts: Parts

    @classmethod
    def of(cls, indptr: NDArray[np.int64], rows: Ints) -> RowLists:
        """List some rows of a half-problem."""
        counts = indptr[rows + 1] - indptr[rows]
        order = np.argsort(-counts, kind="stable")
        rows, counts = rows[order], counts[order]
        longest = max(PART_LENGTH, int(counts.sum()) // MOST_PARTS)
        part_counts = np.where(counts > longest, -(-counts // longest), 0)
        is_long = part_counts > 0
        starts, stops = indptr[rows], indptr[rows + 1]
        return cls(
            rows.astype(np.int32),
            starts,
            np.where(is_long, starts, stops),
            (np.cumsum(part_counts) - part_counts).astype(np.int32),
            part_counts.astype(np.int32),
            divide(indptr, longest, rows[is_long]),
        )


def divide(indptr: NDArray[np.int64], longest: int, rows: Ints | None = None) -> Parts:
    """Divide rows, or some of them, into parts with at most so many observed cells; empty rows have none."""
    rows = np.arange(len(indptr) - 1) if rows is None else rows
    part_counts = -(-(indptr[rows + 1] - indptr[rows]) // longest)
    first = np.repeat(np.cumsum(part_counts) - part_counts, part_counts)
    starts = np.repeat(indptr[rows], part_counts) + (np.arange(len(first)) - first) * longest
    stops = np.minimum(starts + longest, np.repeat(indptr[rows + 1], part_counts))
    return Parts(np.repeat(rows, part_counts).astype(np.int32), starts, stops)
