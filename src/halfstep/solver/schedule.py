"""The division of a half-step into tasks, which depends only on the data and not on the number of threads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from halfstep._support.blocks import all_equal
from halfstep._support.disk_arrays import MappedArray
from halfstep._support.lazy import cached_property
from halfstep.objective.problem import HalfProblem
from halfstep.solver.arguments import cell_arrays_of
from halfstep.solver.kernels.argument_groups import CellArrays
from halfstep.solver.kernels.small_systems import sums_shape

CHUNKS = 64  # approximate maximum per half-step: enough for balance, at negligible overhead
LEAST_WORK = 4_000_000  # multiply-adds of a chunk (about 100 µs)
LANE_UNKNOWNS = 32  # largest number of unknowns solved one system per vector lane
ROWS_PER_UNKNOWN = 1.0  # minimum ratio of rows to unknowns at which computing a basis saves time
LEAST_SEGMENT = 4096  # observed cells of a segment


@dataclass(frozen=True)
class HalfStepPlan:
    """A half-problem with its work divided into tasks.

    Attributes
    ----------
    problem : HalfProblem
    has_one_matrix : bool
    shares_diagonal : bool
        Whether all rows have the same s and λ.
    column_missing : ndarray
        m; a single element if all are equal.
    solves_single_rows : bool
        Whether rows are solved one at a time (``kernels/exact.py``) instead of one per lane.
    light_ranges : list of (first, last)
        Ranges of rows of about equal work, for work that is linear in the rank.
    chunks : list of ((first, last), ndarray)
        Ranges of rows of about equal work for `solve_rows`, and the rows in them that are not long.
    long_rows : ndarray
    segments : list of (row, begin, end)
        The observed cells of long rows, divided into segments.
    sums_shape : (rows, columns)
        The shape of the sums of a segment.
    """

    problem: HalfProblem
    has_one_matrix: bool
    shares_diagonal: bool
    column_missing: NDArray[np.floating]
    solves_single_rows: bool
    light_ranges: list[tuple[int, int]]
    chunks: list[tuple[tuple[int, int], NDArray[np.intp]]]
    long_rows: NDArray[np.intp]
    segments: list[tuple[int, int, int]]
    sums_shape: tuple[int, ...]

    @classmethod
    def of(cls, problem: HalfProblem, pieces: int = CHUNKS) -> Self:
        """Divide the work of a half-step; rows with more than 1 / `pieces` of all observed cells are long."""
        counts = np.diff(problem.indptr)
        k = problem.unknowns
        # In multiply-adds; the constants are the measured time of reading a cell and of preparing a row.
        work = counts * (k * k + 40.0) + k**3 / 3 + 3000.0
        light_work = counts * (4.0 * k + 40.0) + 500.0
        longest = max(LEAST_SEGMENT, int(problem.indptr[-1]) // pieces)
        is_long = counts > longest
        rows = np.arange(len(counts))
        long_rows = rows[is_long]
        segments = [
            (int(row), int(begin), int(min(begin + longest, problem.indptr[row + 1])))
            for row in long_rows
            for begin in range(int(problem.indptr[row]), int(problem.indptr[row + 1]), longest)
        ]
        short_rows = rows[~is_long] if len(long_rows) else rows  # chunks are views of it
        chunks = [
            ((first, last), short_rows[slice(*np.searchsorted(short_rows, (first, last)))])
            for first, last in cut(work)
        ]
        # With weights of missing cells, the basis takes time to compute.
        solves_single_rows = k > LANE_UNKNOWNS
        solves_single_rows &= len(problem.row_missing) == 0 or len(counts) >= ROWS_PER_UNKNOWN * k
        m = problem.column_missing[:1] if all_equal(problem.column_missing) else problem.column_missing
        shares_diagonal = all_equal(problem.row_missing) and all_equal(problem.regularization)
        return cls(
            problem,
            problem.has_one_matrix,
            shares_diagonal,
            m,
            solves_single_rows,
            cut(light_work),
            chunks,
            long_rows,
            segments,
            sums_shape(k),
        )

    def with_targets(self, targets: NDArray[np.floating]) -> Self:
        """Return the same plan for other targets of shape (n_cells,)."""
        return replace(self, problem=self.problem.with_targets(targets))

    def with_gram(self, gram: NDArray[np.floating]) -> Self:
        """Return the same plan for a known Gramian of the fixed side."""
        return replace(self, problem=replace(self.problem, gram=gram))

    @cached_property
    def cells(self) -> CellArrays:
        """The observed cells, as kernels take them."""
        return cell_arrays_of(self.problem)

    @cached_property
    def _mapped(self) -> list[MappedArray]:
        """The arrays of the observed cells that are in mapped files."""
        arrays = (self.problem.indices, self.problem.targets, self.problem.weights)
        found = [MappedArray.of(array) for array in arrays if len(array) == len(self.problem.indices)]
        return [each for each in found if each is not None]

    def release(self, first: int, last: int) -> None:
        """Drop the observed cells of the rows first … last − 1 from memory, if they are in mapped files."""
        for each in self._mapped:
            each.drop(int(self.problem.indptr[first]), int(self.problem.indptr[last]))

    @cached_property
    def least_regularization(self) -> float:
        """The smallest λ_u / s_u of rows whose missing cells have weight."""
        s = self.problem.row_missing.astype(np.float64)
        return float((self.problem.regularization[s > 0] / s[s > 0]).min(initial=np.finfo(np.float64).max))

    @cached_property
    def mean_weight(self) -> float:
        """The mean of w."""
        return float(self.problem.weights.mean(dtype=np.float64)) if len(self.problem.weights) else 0.0

    @cached_property
    def root_counts(self) -> NDArray[np.float64]:
        """The square root of the number of observed cells of each row."""
        roots: NDArray[np.float64] = np.sqrt(np.diff(self.problem.indptr))
        return roots

    @cached_property
    def longest_first(self) -> NDArray[np.intp]:
        """All rows, those with the most observed cells first."""
        order: NDArray[np.intp] = np.argsort(-np.diff(self.problem.indptr), kind="stable")
        return order

    def astype(self, dtype: DTypeLike) -> Self:
        """Return the same plan in another precision."""
        return replace(self, problem=self.problem.astype(dtype), column_missing=self.column_missing.astype(dtype))


def cut(work: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Divide ``range(len(work))`` into consecutive ranges of about equal work.

    The last ranges are smaller, so that threads finish at about the same time.
    """
    if len(work) == 1:
        return [(0, 1)]
    total = np.cumsum(work)
    piece = max(LEAST_WORK, total[-1] / CHUNKS)
    tail = max(0.0, total[-1] - 2 * piece)
    targets = np.concatenate([np.arange(piece, tail, piece), np.arange(tail, total[-1], piece / 3)])
    ends = np.minimum(np.searchsorted(total, targets) + 1, len(work))  # rounding may put a target past the total
    bounds = np.unique(np.concatenate([[0], ends, [len(work)]]))
    return [(int(first), int(last)) for first, last in pairwise(bounds)]
