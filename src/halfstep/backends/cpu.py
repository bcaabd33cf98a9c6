"""Half-steps on the cores of one machine.

The rows of a half-step are cut into chunks of nearly equal work, by the data alone and never by the number of
threads. Threads take the next chunk as they get free. A long row (an item that everybody has) is cut into segments,
which are summed apart and added up in order, so that it cannot hold up the half-step. Each row's arithmetic is thus
the same whoever does it, and so are the bits of the result.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from types import TracebackType
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from threadpoolctl import ThreadpoolController

from halfstep.backends.protocol import Factors
from halfstep.errors import NumericalError, ParameterError
from halfstep.kernels._vector import padded_width
from halfstep.kernels.cholesky import SOLVED, solve_rows, sum_right_hand_sides, sum_segment, workspace
from halfstep.kernels.loss import row_losses
from halfstep.objective import Side

Task = Callable[[], None]
Finish = Callable[[int, int], None]

CHUNKS = 64  # at most about so many per half-step: enough to balance, few enough to cost nothing
LEAST_WORK = 1_500_000  # multiply-adds that make a chunk worth its own task (some 50 to 100 µs)
LEAST_SEGMENT = 4096  # observations below which a row is never cut
ROWS_AT_ONCE = 4096  # in products that BLAS does

NOT_DEFINITE = (
    "is not positive definite to working precision ({dtype}): raise the regularization (of biases too), lower the "
    "rank, sum in double precision, or look for extreme weights and targets"
)


class CPU:
    """Run half-steps on a pool of threads.

    Parameters
    ----------
    threads : int, optional
        How many; all cores that this process may use by default. Results do not depend on it.
    """

    def __init__(self, threads: int | None = None) -> None:
        if threads is None:
            threads = available_cores()
        if threads < 1:
            raise ParameterError(f"threads={threads}: give 1 or more, or None for all cores")
        self.threads = threads
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> Self:
        if self.threads > 1:  # the calling thread works too
            self._pool = ThreadPoolExecutor(self.threads - 1, thread_name_prefix="halfstep")
        OneBlasThread.enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        OneBlasThread.leave()
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def load(self, side: Side) -> LoadedSide:
        """Plan the work on one orientation of the objective; see `halfstep.backends.protocol.Backend`."""
        return LoadedSide.plan(side)

    def half_step(self, loaded: LoadedSide, Y: Factors, X: Factors) -> None:
        """Solve every row of X while Y is held fixed; see `halfstep.backends.protocol.Backend`."""
        self._half_step(loaded, *fixed_side(loaded.side, Y), X, None)

    def half_step_and_loss(self, loaded: LoadedSide, Y: Factors, X: Factors) -> tuple[float, float]:
        """Do the same, and return the data terms; see `halfstep.backends.protocol.Backend`."""
        side = loaded.side
        features, offsets = fixed_side(side, Y)
        loss = Loss(side, features, offsets)
        self._half_step(loaded, features, offsets, X, loss)
        observed = float(loss.observed.sum())
        if len(side.row_missing) == 0:
            return observed, 0.0
        # Σ_all s m (x·y)² = ⟨Σ s x xᵀ, Σ m y yᵀ⟩, less the cells that are not missing.
        rows = self._gram(side.row_missing.astype(np.float64), side.rank, X.astype(np.float64))
        columns = self._gram(side.column_missing.astype(np.float64), side.rank, loss.features)
        return observed, float((rows * columns).sum() - loss.as_missing.sum())

    def _half_step(
        self, loaded: LoadedSide, features: Factors, offsets: Factors, X: Factors, loss: Loss | None
    ) -> None:
        side = loaded.side
        assert X.shape[1] == features.shape[1] == padded_width(side.unknowns), "factors not made by empty_factors"
        solved = X if X.dtype == features.dtype else np.zeros(X.shape, features.dtype)
        G = self._gram(side.column_missing, side.rank, features)

        def finish(first: int, last: int) -> None:
            """Store what was solved, and look at it while it is at hand."""
            X[first:last] = solved[first:last]
            if loss is not None:
                loss.add(first, last, X)

        if loaded.has_one_matrix:
            self._solve_with_one_matrix(loaded, G, features, solved, finish)
        else:
            self._solve_each(loaded, G, features, offsets, solved, finish)

    def _solve_each(
        self, loaded: LoadedSide, G: Factors, Y: Factors, offsets: Factors, X: Factors, finish: Finish
    ) -> None:
        side = loaded.side
        k, biases, s, m = side.rank, side.biases, side.row_missing, side.column_missing
        sums = np.empty((len(loaded.segments), *workspace(side.unknowns, side.weights)[0].shape), Y.dtype)
        failed: list[int] = []

        def solve(first: int, last: int, rows: NDArray[np.intp], summed: Factors) -> None:
            status = solve_rows(
                rows, side.indptr, side.indices, side.targets, side.weights, s, m, G,
                side.regularization, side.bias_ratio, k, biases, offsets, summed, Y, X,
            )  # fmt: skip
            if status != SOLVED:
                failed.append(status)
            finish(first, last)

        def sum_part(number: int, row: int, begin: int, end: int) -> None:
            s_u = float(s[row]) if len(s) else 0.0
            sum_segment(
                begin, end, side.indices, side.targets, side.weights, s_u, m, k, biases, offsets, Y, sums[number]
            )

        self._run(
            [partial(sum_part, number, *segment) for number, segment in enumerate(loaded.segments)]
            + [partial(solve, first, last, rows, sums[:0]) for (first, last), rows in loaded.chunks]
        )
        totals = np.zeros((len(loaded.long_rows), *sums.shape[1:]), Y.dtype)
        for (row, _, _), part in zip(loaded.segments, sums, strict=True):
            totals[np.searchsorted(loaded.long_rows, row)] += part
        self._run(
            [
                partial(solve, row, row + 1, loaded.long_rows[n : n + 1], totals[n : n + 1])
                for n, row in enumerate(loaded.long_rows.tolist())
            ]
        )
        if failed:
            raise NumericalError(f"its system {NOT_DEFINITE.format(dtype=Y.dtype)}", row=min(failed))

    def _solve_with_one_matrix(self, loaded: LoadedSide, G: Factors, Y: Factors, X: Factors, finish: Finish) -> None:
        side = loaded.side
        A = side.row_missing[0] * G
        A[np.diag_indices_from(A)] += side.regularization[0]
        try:
            factor, _ = cho_factor(A, lower=True, check_finite=False)
        except LinAlgError:
            factor = np.zeros_like(A)
        if not (np.diag(factor) ** 2 > len(A) * np.finfo(A.dtype).eps * np.diag(A)).all():  # as in solve_lanes
            raise NumericalError(f"the matrix that all rows share {NOT_DEFINITE.format(dtype=A.dtype)}")

        def solve(first: int, last: int) -> None:
            B = np.empty((last - first, Y.shape[1]), Y.dtype)
            sum_right_hand_sides(first, last, side.indptr, side.indices, side.targets, side.weights, side.rank, Y, B)
            X[first:last, : side.rank] = cho_solve((factor, True), B[:, : side.rank].T, check_finite=False).T
            finish(first, last)

        self._run([partial(solve, first, last) for first, last in loaded.light_ranges])

    def _gram(self, m: Factors, k: int, Y: Factors) -> Factors:
        """G = Σ_i m_i y_i y_iᵀ; empty where missing cells have no weight."""
        if len(m) == 0:
            return np.empty((0, 0), Y.dtype)
        starts = range(0, len(Y), ROWS_AT_ONCE)
        parts = np.empty((len(starts), k, k), Y.dtype)

        def product(number: int, start: int) -> None:
            y = Y[start : start + ROWS_AT_ONCE, :k]
            np.matmul((y * m[start : start + ROWS_AT_ONCE, None]).T, y, out=parts[number])

        self._run([partial(product, number, start) for number, start in enumerate(starts)])
        total: Factors = parts.sum(axis=0)
        return total

    def _run(self, tasks: Sequence[Task]) -> None:
        """Run all tasks, in this thread and the pool's. After an error or Ctrl-C no further task is begun."""
        waiting = deque(tasks)

        def work() -> None:
            while waiting:
                try:
                    task = waiting.popleft()
                except IndexError:  # another thread took the last one
                    return
                try:
                    with np.errstate(over="ignore", invalid="ignore"):
                        task()
                except BaseException:
                    waiting.clear()
                    raise

        helpers = min(self.threads, len(tasks)) - 1
        if self._pool is None or helpers < 1:
            work()
            return
        futures = [self._pool.submit(work) for _ in range(helpers)]
        try:
            work()
        finally:  # nobody may still write when the caller goes on
            errors = [future.exception() for future in futures]
        for error in filter(None, errors):
            raise error


class Loss:
    """The data terms of the objective, row by row, in double precision whatever the systems are solved in.

    Attributes
    ----------
    features, offsets : ndarray
        The fixed side, as in `fixed_side`.
    observed, as_missing : ndarray of shape (n_rows,)
        The loss of each row's observed cells, and what they would count if they were missing.
    """

    def __init__(self, side: Side, features: Factors, offsets: Factors) -> None:
        self.side = side
        self.features, self.offsets = (array.astype(np.float64, copy=False) for array in (features, offsets))
        n = len(side.indptr) - 1
        self.observed, self.as_missing = np.zeros(n), np.zeros(n)

    def add(self, first: int, last: int, X: Factors) -> None:
        """Score the rows first … last − 1 of X."""
        side = self.side
        row_losses(
            first, last, side.indptr, side.indices, side.targets, side.weights, side.row_missing, side.column_missing,
            side.rank, side.biases, self.offsets, X[first:last].astype(np.float64), self.features,
            self.observed, self.as_missing,
        )  # fmt: skip


@dataclass(frozen=True)
class LoadedSide:
    """One orientation of the objective with its work cut up.

    Attributes
    ----------
    side : Side
    has_one_matrix : bool
    light_ranges : list of (first, last)
        Rows in pieces of equal work, where the work is linear in the rank.
    chunks : list of ((first, last), ndarray)
        Rows in pieces of equal work for `solve_rows`, and those of them that are not long.
    long_rows : ndarray
    segments : list of (row, begin, end)
        The long rows' observations, cut up, in order.
    """

    side: Side
    has_one_matrix: bool
    light_ranges: list[tuple[int, int]]
    chunks: list[tuple[tuple[int, int], NDArray[np.intp]]]
    long_rows: NDArray[np.intp]
    segments: list[tuple[int, int, int]]

    @classmethod
    def plan(cls, side: Side) -> Self:
        """Cut the work of a half-step into pieces that depend on nothing but the data."""
        counts = np.diff(side.indptr)
        k = side.unknowns
        work = counts * float(k * k) + k**3 / 3  # in multiply-adds
        light_work = 4.0 * (counts * float(k) + k * k)  # bound by loads, which take about four times as long
        longest = max(LEAST_SEGMENT, int(side.indptr[-1]) // CHUNKS)
        is_long = counts > longest
        rows = np.arange(len(counts))
        long_rows = rows[is_long]
        segments = [
            (int(row), int(begin), int(min(begin + longest, side.indptr[row + 1])))
            for row in long_rows
            for begin in range(int(side.indptr[row]), int(side.indptr[row + 1]), longest)
        ]
        chunks = [((first, last), rows[first:last][~is_long[first:last]]) for first, last in cut(work)]
        return cls(side, side.has_one_matrix, cut(light_work), chunks, long_rows, segments)


def fixed_side(side: Side, Y: Factors) -> tuple[Factors, Factors]:
    """Features [y | 1] and offsets of the side that is held fixed, in the precision of the systems."""
    dtype = side.weights.dtype
    if not side.biases:
        return Y.astype(dtype, copy=False), np.zeros(len(Y), dtype)
    features = Y.astype(dtype, copy=True)
    offsets = features[:, side.rank].copy()
    features[:, side.rank] = 1.0
    return features, offsets


def cut(work: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Cut ``range(len(work))`` into consecutive ranges of about equal work."""
    total = np.cumsum(work)
    piece = max(LEAST_WORK, total[-1] / CHUNKS)
    ends = np.searchsorted(total, np.arange(piece, total[-1], piece)) + 1
    bounds = np.unique(np.concatenate([[0], ends, [len(work)]]))
    return [(int(first), int(last)) for first, last in pairwise(bounds)]


def available_cores() -> int:
    """Cores that this process may use, which can be fewer than the machine has."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1


class OneBlasThread:
    """Hold BLAS to one thread while any backend is at work, and set it back after the last."""

    _lock: ClassVar[threading.Lock] = threading.Lock()
    _users: ClassVar[int] = 0
    _limiter: ClassVar[Any] = None

    @classmethod
    def enter(cls) -> None:
        with cls._lock:
            if cls._users == 0:
                cls._limiter = ThreadpoolController().limit(limits=1, user_api="blas")
            cls._users += 1

    @classmethod
    def leave(cls) -> None:
        with cls._lock:
            cls._users -= 1
            if cls._users == 0:
                cls._limiter.restore_original_limits()
                cls._limiter = None
