"""The best columns of many rows, in blocks, without storing all scores."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from halfstep._support.memory import check_memory
from halfstep.data import IndexLists
from halfstep.errors import DataError
from halfstep.solver.kernels.top_columns import (
    Candidates,
    ColumnLists,
    FactorArrays,
    TopN,
    rank_candidates,
    rank_lists,
    scan_tile,
)
from halfstep.solver.scan_order import ScanOrder, row_lengths
from halfstep.solver.threads import OneBlasThread, Task, Team, threads_to_use, working

Floats = NDArray[np.floating]
Array = TypeVar("Array", bound=NDArray[Any])
Ranked = tuple[NDArray[np.int64], NDArray[np.float64]]

ROWS_PER_BLOCK = 256  # enough for the full speed of a matrix product
FEW_ROWS = 32  # up to which columns times rows is faster than rows times columns, although the product is transposed
COLUMNS_AT_ONCE = 1024  # so that a tile of scores fits the cache
SORTED_FROM_ROWS, SORTED_FROM_TILES = 256, 3  # from which sorting the columns saves time
FEWER_ROWS = 0.75  # finished rows are omitted from products if at most this share of rows is unfinished
CANDIDATES_PER_ENTRY, LEAST_CANDIDATES = 4, 512  # of a list of n entries
LISTS_AT_ONCE = 1024
MAX_MEMORY = 1 << 28  # bytes for blocks of scores of all threads; one row at a time is always possible
FLOAT32_EPSILON = float(np.finfo(np.float32).eps)
TINY = float(np.finfo(np.float32).tiny)
MODERATE = 1e-9, 1e9  # sizes of factors that need no scaling in float32


def best_columns(
    P: Floats, Q: Floats, c: NDArray[np.float64], n: int, *, skip: IndexLists, threads: int | None = None
) -> Ranked:
    """Rank all columns for each row by P Qᵀ + c.

    Parameters
    ----------
    P : ndarray of shape (n_rows, rank)
    Q : ndarray of shape (n_columns, rank)
    c : ndarray of shape (n_columns,)
        −∞ excludes a column from all lists.
    n : int
        The length of the lists, at most n_columns; 0 gives empty lists.
    skip : IndexLists
        Columns that are excluded for each row.
    threads : int, optional
        All cores by default. Does not change the result.

    Returns
    -------
    best : ndarray of shape (n_rows, n)
        Columns by descending score, then ascending column; −1 if a list is short.
    scores : ndarray of shape (n_rows, n)
        In float64; NaN if a list is short.

    Raises
    ------
    DataError
        If shapes do not match.
    """
    skip = checked(P, Q, c, skip)
    best, scores = _empty_lists(len(P), n)
    if n == 0:
        return best, scores
    P, Q, threads = _read_only(P), _read_only(Q), threads_to_use(threads)
    room = min(len(Q), CANDIDATES_PER_ENTRY * n + LEAST_CANDIDATES)
    per_row = 4 * min(COLUMNS_AT_ONCE, len(Q)) + 12 * room
    rows = max(1, min(MAX_MEMORY // (threads * per_row), ROWS_PER_BLOCK, len(P)))
    columns = min(len(Q), COLUMNS_AT_ONCE * (ROWS_PER_BLOCK // rows))
    lengths, largest = row_lengths(P), max(float(Q.max(initial=0.0)), -float(Q.min(initial=0.0)))
    p_scale, q_scale, r = scales_and_errors(lengths, largest, c, Q.shape[1])
    is_sorted = len(P) >= SORTED_FROM_ROWS and len(Q) >= SORTED_FROM_TILES * columns
    order = ScanOrder.of(Q, c, lengths) if is_sorted else ScanOrder.unsorted()
    fast_Q = _float32(order.taken(Q), q_scale)
    C = _float32(order.taken(c), p_scale * q_scale) if c.any() else np.empty(0, np.float32)
    skipped, factors, ranked = _column_lists(skip), FactorArrays(P, Q, c), TopN(best, scores)

    def rank(first: int, last: int) -> None:
        n_rows, own = last - first, _column_lists(order.lists(skip, first, last))
        candidates = Candidates(
            heap=np.full((n_rows, n), -np.inf, np.float32),
            columns=np.empty((n_rows, room), np.int32),
            scores=np.empty((n_rows, room), np.float32),
            found=np.zeros(n_rows, np.int64),
            next_skip=own.indptr[:-1].copy(),
        )
        scanned = np.arange(n_rows)
        fast_P, tile = _float32(P[first:last], p_scale), np.empty(n_rows * columns, np.float32)
        transposed = np.empty(columns * min(n_rows, FEW_ROWS), np.float32)
        for begin in range(0, len(Q), columns):
            if begin > 0 and is_sorted:
                bounds = order.bounds(lengths[first:last][scanned], begin) / p_scale / q_scale
                is_open = bounds >= candidates.heap[scanned, 0] - 4.0 * r[first:last][scanned]
                if not is_open.any():
                    break
                if is_open.sum() <= FEWER_ROWS * len(scanned):
                    scanned, fast_P = scanned[is_open], fast_P[is_open]
            some = fast_Q[begin : begin + columns]
            S = tile[: len(scanned) * len(some)].reshape(len(scanned), len(some))
            if 1 < len(scanned) <= FEW_ROWS:
                S[:] = np.matmul(some, fast_P.T, out=transposed[: S.size].reshape(S.shape[::-1])).T
            else:
                np.matmul(fast_P, some.T, out=S)
            scan_tile(scanned, begin, S, C, r[first:last], own, candidates)
        rank_candidates(first, last, order.columns, r[first:last], skipped, candidates, factors, ranked)

    _run(rank, len(P), rows, threads)
    return best, scores


def best_of_given(
    P: Floats, Q: Floats, c: NDArray[np.float64], n: int, *, given: IndexLists, threads: int | None = None
) -> Ranked:
    """Rank the given columns of each row, otherwise as `best_columns`."""
    given = checked(P, Q, c, given)
    best, scores = _empty_lists(len(P), n)
    lists = _column_lists(given)
    factors, ranked = FactorArrays(_read_only(P), _read_only(Q), c), TopN(best, scores)

    def rank(first: int, last: int) -> None:
        rank_lists(first, last, lists, factors, ranked)

    _run(rank, len(P), LISTS_AT_ONCE, threads_to_use(threads))
    return best, scores


def _empty_lists(rows: int, n: int) -> Ranked:
    """Allocate columns and scores."""
    check_memory(16 * rows * n, f"n={n} for {rows:,} lists", "lower n, or rank fewer rows at a time")
    return np.empty((rows, n), np.int64), np.empty((rows, n))


def checked(P: Floats, Q: Floats, c: NDArray[np.float64], lists: IndexLists) -> IndexLists:
    """Check that kernels read only within bounds, and return the lists without repeated columns."""
    if P.shape[1] != Q.shape[1] or c.shape != (len(Q),):
        raise DataError(
            f"factors of shapes {P.shape} and {Q.shape}, and {len(c):,} column scores: give factors of the same rank "
            "and one score for each column"
        )
    return lists.checked(len(P), len(Q))


def _column_lists(lists: IndexLists) -> ColumnLists:
    return ColumnLists(_read_only(lists.indptr), _read_only(lists.indices))


def _read_only(F: Array) -> Array:
    """Return a read-only view, like the factors of a loaded model, so that kernels are compiled for one type."""
    view = F.view()
    view.flags.writeable = False
    return view


def scales_and_errors(
    lengths: NDArray[np.float64], largest: float, c: NDArray[np.float64], rank: int
) -> tuple[float, float, NDArray[np.float64]]:
    """Return scales of P and Q for scores in float32, and bounds of the errors of these scores for each row.

    Parameters
    ----------
    lengths : ndarray of shape (n_rows,)
        The Euclidean norms of the rows of P.
    largest : float
        The largest absolute value in Q.
    c : ndarray of shape (n_columns,)
    """
    longest, offset = np.sqrt(rank) * largest, np.abs(c[np.isfinite(c)]).max(initial=0.0)
    q_scale = _scale(longest)
    p_scale = _scale(max(lengths.max(initial=0.0), offset / q_scale))
    # The error of a float32 sum of rank + 1 products of rounded factors, which underflow below TINY
    size = (lengths / p_scale) * (longest / q_scale) + offset / p_scale / q_scale
    r = (rank + 5) * (FLOAT32_EPSILON * size + TINY)
    return p_scale, q_scale, r


def _scale(largest: float) -> float:
    """Return a power of two, whose division is exact, that prevents overflow and underflow of float32 products."""
    return 1.0 if MODERATE[0] < largest < MODERATE[1] or largest == 0 else float(2.0 ** np.floor(np.log2(largest)))


def _float32(F: Floats, scale: float) -> NDArray[np.float32]:
    """Convert to float32 in C order, without a copy if possible."""
    return np.ascontiguousarray(F if scale == 1 else F / np.float64(scale), dtype=np.float32)


def _run(rank: Callable[[int, int], None], n_rows: int, rows: int, threads: int) -> None:
    tasks: list[Task] = [partial(rank, start, min(start + rows, n_rows)) for start in range(0, n_rows, rows)]
    if len(tasks) == 1:  # few rows, for which BLAS may use all cores
        with working():
            tasks[0]()
        return
    with working(), OneBlasThread(), Team(min(threads, len(tasks)) - 1) as team:
        team.run(tasks)
