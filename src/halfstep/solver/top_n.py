"""The best columns of many rows, in blocks on the cores of one machine: never rows × columns at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from halfstep._support.memory import check_memory
from halfstep.data import IndexLists
from halfstep.errors import DataError
from halfstep.solver.kernels.top_n import Best, Factors, Listed, Near, best_of_lists, best_of_near, scan_tile
from halfstep.solver.threads import OneBlasThread, Task, Team, threads_to_use, working

Floats = NDArray[np.floating]
Ranked = tuple[NDArray[np.int64], NDArray[np.float64]]

ROWS_AT_ONCE = 256  # enough for a matrix product to run at full speed
COLUMNS_AT_ONCE = 1024  # with these rows, a tile of scores that the caches hold
ROOM_PER_PLACE, LEAST_ROOM = 4, 512  # for candidates
LISTS_AT_ONCE = 1024
MAX_MEMORY = 1 << 28  # bytes for blocks of scores of all threads; one row at a time is always possible
ROUNDING = float(np.finfo(np.float32).eps)
TINY = float(np.finfo(np.float32).tiny)
MODERATE = 1e-9, 1e9  # sizes of factors that need no scaling in single precision


def best_columns(
    P: Floats,
    Q: Floats,
    c: NDArray[np.float64],
    n: int,
    *,
    skip: IndexLists,
    threads: int | None = None,
) -> Ranked:
    """Rank all columns for each row by P Qᵀ + c.

    Parameters
    ----------
    P : ndarray of shape (n_rows, rank)
    Q : ndarray of shape (n_columns, rank)
    c : ndarray of shape (n_columns,)
        −∞ bars a column from all lists.
    n : int
        How many to list, at most n_columns; 0 gives empty lists.
    skip : IndexLists
        Columns that each row leaves out.
    threads : int, optional
        All cores by default. Does not change the result.

    Returns
    -------
    best : ndarray of shape (n_rows, n)
        Columns, the best first and the lower of equals before the higher; −1 where a list is short.
    scores : ndarray of shape (n_rows, n)
        In double precision; NaN where a list is short.

    Raises
    ------
    DataError
        If the arrays do not fit together.
    """
    skip = _checked(P, Q, c, skip)
    best, scores = _empty_lists(len(P), n)
    if n == 0:
        return best, scores
    P, Q, threads = _read_only(P), _read_only(Q), threads_to_use(threads)
    room = min(len(Q), ROOM_PER_PLACE * n + LEAST_ROOM)
    per_row = 4 * min(COLUMNS_AT_ONCE, len(Q)) + 12 * room
    rows = max(1, min(MAX_MEMORY // (threads * per_row), ROWS_AT_ONCE, len(P)))
    columns = min(len(Q), COLUMNS_AT_ONCE * (ROWS_AT_ONCE // rows))
    lengths, longest = _lengths(P), np.sqrt(Q.shape[1]) * max(float(Q.max(initial=0.0)), -float(Q.min(initial=0.0)))
    offset = np.abs(c[np.isfinite(c)]).max(initial=0.0)
    q_scale = _scale(longest)
    p_scale = _scale(max(lengths.max(initial=0.0), offset / q_scale))
    fast_Q, C = _singles(Q, q_scale), _singles(c, p_scale * q_scale) if c.any() else np.empty(0, np.float32)
    # A sum of rank + 1 products, all of whose factors were rounded when they were stored; below TINY, to nothing.
    r = (Q.shape[1] + 5) * (ROUNDING * (lengths * longest + offset) / (p_scale * q_scale) + TINY)
    skipped, factors, ranked = Listed(skip.indptr, skip.indices), Factors(P, Q, c), Best(best, scores)

    def rank(first: int, last: int) -> None:
        at = last - first
        kept = Near(
            heap=np.full((at, n), -np.inf, np.float32),
            columns=np.empty((at, room), np.int32),
            scores=np.empty((at, room), np.float32),
            found=np.zeros(at, np.int64),
            next_skip=skip.indptr[first:last].copy(),
        )
        fast_P, tile = _singles(P[first:last], p_scale), np.empty(at * columns, np.float32)
        for begin in range(0, len(Q), columns):
            some = fast_Q[begin : begin + columns]
            S = tile[: at * len(some)].reshape(at, len(some))
            np.matmul(fast_P, some.T, out=S)
            scan_tile(first, last, begin, S, C, r, skipped, kept)
        best_of_near(first, last, r, skipped, kept, factors, ranked)

    _run(rank, len(P), rows, threads)
    return best, scores


def best_of_given(
    P: Floats, Q: Floats, c: NDArray[np.float64], n: int, *, given: IndexLists, threads: int | None = None
) -> Ranked:
    """Rank the columns that each row lists, otherwise as `best_columns`."""
    given = _checked(P, Q, c, given)
    best, scores = _empty_lists(len(P), n)
    lists = Listed(given.indptr, given.indices)
    factors, ranked = Factors(_read_only(P), _read_only(Q), c), Best(best, scores)

    def rank(first: int, last: int) -> None:
        best_of_lists(first, last, lists, factors, ranked)

    _run(rank, len(P), LISTS_AT_ONCE, threads_to_use(threads))
    return best, scores


def _empty_lists(rows: int, n: int) -> Ranked:
    """Allocate columns and scores."""
    check_memory(16 * rows * n, f"n={n} for {rows:,} lists", "lower n, or ask for some rows at a time")
    return np.empty((rows, n), np.int64), np.empty((rows, n))


def _checked(P: Floats, Q: Floats, c: NDArray[np.float64], lists: IndexLists) -> IndexLists:
    """Check that kernels read nothing out of bounds, and return the lists without repeated columns."""
    if P.shape[1] != Q.shape[1] or c.shape != (len(Q),):
        raise DataError(
            f"factors of shapes {P.shape} and {Q.shape} do not fit each other, or {len(c):,} column scores"
        )
    return lists.checked(len(P), len(Q))


def _read_only(F: Floats) -> Floats:
    """Let nobody write to F, as to the factors of a loaded model: one type, for which kernels are compiled once."""
    view = F.view()
    view.flags.writeable = False
    return view


def _lengths(F: Floats) -> NDArray[np.float64]:
    lengths: NDArray[np.float64] = np.sqrt(np.einsum("ij,ij->i", F, F, dtype=np.float64))
    return lengths


def _scale(largest: float) -> float:
    """A power of two, which changes no digit, that keeps products far from where singles overflow or vanish."""
    return 1.0 if MODERATE[0] < largest < MODERATE[1] or largest == 0 else float(2.0 ** np.floor(np.log2(largest)))


def _singles(F: Floats, scale: float) -> NDArray[np.float32]:
    """Convert to single precision, in C order; no copy of what is so already."""
    return np.ascontiguousarray(F if scale == 1 else F / np.float64(scale), dtype=np.float32)


def _run(rank: Callable[[int, int], None], n_rows: int, rows: int, threads: int) -> None:
    tasks: list[Task] = [partial(rank, start, min(start + rows, n_rows)) for start in range(0, n_rows, rows)]
    if len(tasks) == 1:  # a request for a few rows, which BLAS may have all cores for
        with working():
            tasks[0]()
        return
    with working(), OneBlasThread(), Team(min(threads, len(tasks)) - 1) as team:
        team.run(tasks)
