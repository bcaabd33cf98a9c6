"""The rows that kernels solve, in the order of their launches; long ones are divided into parts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from halfstep.objective.problem import HalfProblem
from halfstep.solver.cuda.layout import Layout
from halfstep.solver.kernels.exact import DUAL_BELOW, SMALLEST_RATIO

PART_LENGTH = 2048  # observed cells that one block sums, at least
MOST_PARTS = 8192  # approximate maximum, which bounds the memory of their sums
LEAST_DUAL_RANK = 16  # below, the dual saves no time
CELLS_AT_ONCE = 1 << 24  # observed cells whose weights are compared at once
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
    def of(cls, indptr: NDArray[np.int64], rows: Ints, longest: int) -> RowLists:
        """List some rows of a half-problem; those with more than `longest` observed cells are divided."""
        counts = indptr[rows + 1] - indptr[rows]
        order = np.argsort(-counts, kind="stable")
        rows, counts = rows[order], counts[order]
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


def part_length(problem: HalfProblem) -> int:
    """Return the largest number of observed cells that one block sums."""
    n_cells = len(problem.indices)
    return n_cells if Layout.of(problem).is_large else max(PART_LENGTH, n_cells // MOST_PARTS)


def divide(indptr: NDArray[np.int64], longest: int, rows: Ints | None = None) -> Parts:
    """Divide rows, or some of them, into parts with at most `longest` observed cells; empty rows have none."""
    rows = np.arange(len(indptr) - 1) if rows is None else rows
    part_counts = -(-(indptr[rows + 1] - indptr[rows]) // longest)
    first = np.repeat(np.cumsum(part_counts) - part_counts, part_counts)
    starts = np.repeat(indptr[rows], part_counts) + (np.arange(len(first)) - first) * longest
    stops = np.minimum(starts + longest, np.repeat(indptr[rows + 1], part_counts))
    return Parts(np.repeat(rows, part_counts).astype(np.int32), starts, stops)


def whole(indptr: NDArray[np.int64], rows: Ints) -> Parts:
    """Return some rows as one part each."""
    return Parts(rows.astype(np.int32), indptr[rows], indptr[rows + 1])


def is_dual(problem: HalfProblem, largest: int) -> NDArray[np.bool_]:
    """Return a mask of the rows that are solved in the dual, which have at most `largest` observed cells.

    The dual is divided by the roots of the weights w − s m, and by λ if missing cells have no weight.
    """
    counts, s = np.diff(problem.indptr), problem.row_missing
    mask: NDArray[np.bool_] = (counts > 0) & (counts <= min(largest, DUAL_BELOW * problem.rank))
    if problem.rank < LEAST_DUAL_RANK:
        mask[:] = False
    if len(s) == 0:
        return mask & (problem.regularization > 0)
    if mask.sum() < problem.rank:  # the basis takes more time
        mask[:] = False
    for first, last in ranges_of_rows(problem.indptr, CELLS_AT_ONCE):
        mask[first:last] &= _has_large_weights(problem.of_range(first, last), np.flatnonzero(mask[first:last]))
    return mask


def _has_large_weights(problem: HalfProblem, rows: Ints) -> NDArray[np.bool_]:
    """Return a mask of all rows, which marks those of the given rows whose w − s m are all large enough."""
    counts, large = np.diff(problem.indptr), np.zeros(len(problem.regularization), bool)
    if len(rows) > 0:
        first = np.concatenate([[0], np.cumsum(counts[rows])])[:-1]
        cells = np.repeat(problem.indptr[rows] - first, counts[rows]) + np.arange(counts[rows].sum())
        weights = problem.weights[cells] if len(problem.weights) > 1 else problem.weights
        missing = np.repeat(problem.row_missing[rows], counts[rows]) * problem.column_missing[problem.indices[cells]]
        large[rows] = np.minimum.reduceat(weights - missing - SMALLEST_RATIO * weights, first) >= 0.0
    return large


def ranges_of_rows(indptr: NDArray[np.int64], n_cells: int) -> list[tuple[int, int]]:
    """Divide rows into ranges of a single row, or with at most `n_cells` observed cells."""
    ranges, first, n_rows = [], 0, len(indptr) - 1
    while first < n_rows:
        last = int(np.searchsorted(indptr, indptr[first] + n_cells, side="right")) - 1
        ranges.append((first, min(max(last, first + 1), n_rows)))
        first = ranges[-1][1]
    return ranges
