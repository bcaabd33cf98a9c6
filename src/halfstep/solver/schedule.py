"""How the work of a half-step is cut up: by the data alone, never by the number of threads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from halfstep._support.lazy import cached_property
from halfstep.objective.problem import HalfProblem, is_constant
from halfstep.solver.arguments import cells_of
from halfstep.solver.kernels.arguments import Cells
from halfstep.solver.kernels.small_systems import sums_shape

CHUNKS = 64  # at most about so many per half-step: enough to balance, few enough to cost nothing
LEAST_WORK = 4_000_000  # multiply-adds that make a chunk worth its own task (some 100 µs)
SIDE_BY_SIDE = 32  # unknowns up to which systems are solved side by side, in the lanes of vectors
ROWS_PER_UNKNOWN = 1.0  # that pay for a basis
LEAST_SEGMENT = 4096  # observations below which a row is never cut


@dataclass(frozen=True)
class HalfStepPlan:
    """One orientation of the objective with its work cut up.

    Attributes
    ----------
    problem : HalfProblem
    has_one_matrix : bool
    shares_diagonal : bool
        Whether all rows have the same s and λ.
    column_missing : ndarray
        m; of one element where all are equal.
    is_blocked : bool
        Whether rows are solved one at a time by ``kernels/exact.py``, rather than side by side.
    light_ranges : list of (first, last)
        Rows in pieces of equal work, where the work is linear in the rank.
    chunks : list of ((first, last), ndarray)
        Rows in pieces of equal work for `solve_rows`, and those of them that are not long.
    long_rows : ndarray
    segments : list of (row, begin, end)
        The long rows' observations, cut up, in order.
    sums_shape : (rows, columns)
        What the sum of a segment takes.
    """

    problem: HalfProblem
    has_one_matrix: bool
    shares_diagonal: bool
    column_missing: NDArray[np.floating]
    is_blocked: bool
    light_ranges: list[tuple[int, int]]
    chunks: list[tuple[tuple[int, int], NDArray[np.intp]]]
    long_rows: NDArray[np.intp]
    segments: list[tuple[int, int, int]]
    sums_shape: tuple[int, ...]

    @classmethod
    def of(cls, problem: HalfProblem) -> Self:
        """Cut the work of a half-step into pieces that depend on nothing but the data."""
        counts = np.diff(problem.indptr)
        k = problem.unknowns
        # In multiply-adds. Reading an observation and setting up a row take their time too, as measured at low ranks.
        work = counts * (k * k + 40.0) + k**3 / 3 + 3000.0
        light_work = counts * (4.0 * k + 40.0) + 500.0
        longest = max(LEAST_SEGMENT, int(problem.indptr[-1]) // CHUNKS)
        is_long = counts > longest
        rows = np.arange(len(counts))
        long_rows = rows[is_long]
        segments = [
            (int(row), int(begin), int(min(begin + longest, problem.indptr[row + 1])))
            for row in long_rows
            for begin in range(int(problem.indptr[row]), int(problem.indptr[row + 1]), longest)
        ]
        short_rows = rows[~is_long] if len(long_rows) else rows  # chunks are parts of it
        chunks = [
            ((first, last), short_rows[slice(*np.searchsorted(short_rows, (first, last)))])
            for first, last in cut(work)
        ]
        # Where missing cells weigh, a basis has to be found first, which some rows have to pay for.
        is_blocked = k > SIDE_BY_SIDE
        is_blocked &= len(problem.row_missing) == 0 or len(counts) >= ROWS_PER_UNKNOWN * k
        m = problem.column_missing[:1] if is_constant(problem.column_missing) else problem.column_missing
        shares_diagonal = is_constant(problem.row_missing) and is_constant(problem.regularization)
        return cls(
            problem,
            problem.has_one_matrix,
            shares_diagonal,
            m,
            is_blocked,
            cut(light_work),
            chunks,
            long_rows,
            segments,
            sums_shape(k),
        )

    def with_targets(self, targets: NDArray[np.floating]) -> Self:
        """Return the same plan for other targets, of shape (n_cells,)."""
        return replace(self, problem=self.problem.with_targets(targets))

    @cached_property
    def cells(self) -> Cells:
        """The observed cells as kernels take them."""
        return cells_of(self.problem)

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
        """The square root of the number of observations of each row."""
        roots: NDArray[np.float64] = np.sqrt(np.diff(self.problem.indptr))
        return roots

    def astype(self, dtype: DTypeLike) -> Self:
        """Return the same plan for another precision."""
        return replace(self, problem=self.problem.astype(dtype), column_missing=self.column_missing.astype(dtype))


def cut(work: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Cut ``range(len(work))`` into consecutive ranges of about equal work, the last of them smaller.

    Whoever takes the last piece keeps the others waiting for it.
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
