"""The best n columns of each row, exactly: a float32 scan selects candidates, whose float64 scores are ranked.

Legend:

    P   factors of the rows           Q   factors of the columns
    c   scores of the columns, such as biases; −∞ excludes a column
    S   a tile of P Qᵀ in float32, computed by BLAS; C is c in its precision and scale
    r   bound of |S + C − exact score| for a row and all columns

A column among the best n has a score in S + C within 2 r of the n-th best, so only such columns are scored again in
float64, with a fixed order of summation. The result is that of scoring every pair in float64: it does not depend on
BLAS, blocks of rows, the order of the scan or threads. If scores are equal, the lower column comes first.

The partial sorts of libraries are not used, because they read and write the scores several times. Here scores are
read once, while their tile is in the cache.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from halfstep._support.jit import inner, kernel

Floats = NDArray[np.floating]
Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
Ints = NDArray[np.integer]

SCANNED = 64  # scores compared at once, without branches, so that the loop is vectorized
NO_COLUMN = -1  # padding of short lists
TOO_MANY = -1  # more candidates than fit


class FactorArrays(NamedTuple):
    """P, Q and c, from which exact scores are computed."""

    P: Floats
    Q: Floats
    c: Float64Array


class ColumnLists(NamedTuple):
    """Columns of each row u in ascending order: ``columns[indptr[u]:indptr[u + 1]]``."""

    indptr: Ints
    columns: Ints


class Candidates(NamedTuple):
    """The candidates of some rows while tiles are scanned.

    Attributes
    ----------
    heap : ndarray of shape (n_rows, n)
        The highest scores so far.
    columns, scores : ndarray of shape (n_rows, room)
        Columns whose scores were close to the lowest of these, or above it; and their scores.
    found : ndarray of shape (n_rows,)
        Number of candidates, or `TOO_MANY`.
    next_skip : ndarray of shape (n_rows,)
        Position of the next column that is excluded for the row.
    """

    heap: Float32Array
    columns: Ints
    scores: Float32Array
    found: Ints
    next_skip: Ints


class TopN(NamedTuple):
    """The best columns of each row, and their scores."""

    columns: Ints
    scores: Float64Array


@inner
def exact_score(u: int, i: int, factors: FactorArrays) -> np.float64:
    """Return c[i] + Σ_a P[u, a] · Q[i, a] in float64."""
    P, Q, c = factors
    total = np.float64(c[i])
    for a in range(P.shape[1]):
        total += np.float64(P[u, a]) * np.float64(Q[i, a])
    return total


@inner
def sift_down(heap: Float32Array, value: float) -> None:
    """Replace the smallest value of the heap."""
    j, n = 0, len(heap)
    while True:
        child = 2 * j + 1
        if child >= n:
            break
        if child + 1 < n and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= value:
            break
        heap[j] = heap[child]
        j = child
    heap[j] = value


@kernel
def write_top_n(u: int, columns: Ints, factors: FactorArrays, best: Ints, scores: Float64Array) -> None:
    """Rank the given columns, which are in ascending order, by exact scores, and write as many as fit."""
    exact = np.empty(len(columns), np.float64)
    for j in range(len(columns)):
        exact[j] = -exact_score(u, columns[j], factors)
    order = np.argsort(exact, kind="mergesort")  # stable: the lower column comes first
    listed = min(len(columns), len(best))
    for j in range(listed):
        best[j] = columns[order[j]]
        scores[j] = -exact[order[j]]
    best[listed:] = NO_COLUMN
    scores[listed:] = np.nan


@kernel
def scan_tile(
    rows: Ints, begin: int, S: Float32Array, C: Float32Array, r: Float64Array, skip: ColumnLists, scan: Candidates
) -> None:
    """Add the columns of a tile to the candidates of some rows of `scan`, `r` and `skip`, the rows 0 … of S.

    S holds the columns from `begin` on, and is overwritten; tiles are in ascending order. `skip` lists the columns
    that are excluded for each row. C is empty if it is 0.
    """
    indptr, skipped = skip
    heap, candidates, candidate_scores, found, next_skip = scan
    width = S.shape[1]
    for p in range(len(rows)):
        j = rows[p]
        row, best = S[p], heap[j]
        for i in range(width if len(C) > 0 else 0):
            row[i] += C[begin + i]
        while next_skip[j] < indptr[j + 1] and skipped[next_skip[j]] < begin + width:
            row[skipped[next_skip[j]] - begin] = -np.inf
            next_skip[j] += 1
        slack = np.float32(2.0 * r[j])
        least = best[0] - slack
        for start in range(0, width, SCANNED):
            stop = min(start + SCANNED, width)
            above = np.int32(0)
            for i in range(start, stop):
                above += np.int32(row[np.uintp(i)] >= least)  # unsigned: never negative
            if above == 0:
                continue
            for i in range(start, stop):
                if row[i] >= least and row[i] > -np.inf and found[j] != TOO_MANY:
                    if found[j] == candidates.shape[1]:
                        found[j] = drop_below(candidates[j], candidate_scores[j], found[j], least)
                    if found[j] == candidates.shape[1]:
                        found[j] = TOO_MANY
                    else:
                        candidates[j, found[j]] = begin + i
                        candidate_scores[j, found[j]] = row[i]
                        found[j] += 1
                        if row[i] > best[0]:
                            sift_down(best, row[i])
                            least = best[0] - slack


@inner
def drop_below(candidates: Ints, candidate_scores: Float32Array, found: int, least: float) -> int:
    """Drop the candidates below `least`; return the number of the others."""
    count = 0
    for p in range(found):
        if candidate_scores[p] >= least:
            candidates[count], candidate_scores[count] = candidates[p], candidate_scores[p]
            count += 1
    return count


@kernel
def rank_candidates(
    first: int,
    last: int,
    order: Ints,
    r: Float64Array,
    skip: ColumnLists,
    scan: Candidates,
    factors: FactorArrays,
    best: TopN,
) -> None:
    """Write the best columns of the rows first … last − 1 after all tiles are scanned.

    Candidates are positions in `order`, or columns if it is empty.
    """
    indptr, skipped = skip
    heap, candidates, candidate_scores, found, _ = scan
    c, listed, scores = factors.c, best.columns, best.scores
    for u in range(first, last):
        j = u - first
        if found[j] == TOO_MANY:  # too many scores are nearly equal, so all columns are ranked
            columns = np.empty(len(c), candidates.dtype)
            count, p = 0, indptr[u]
            for i in range(len(c)):
                if p < indptr[u + 1] and skipped[p] == i:
                    p += 1
                elif c[i] > -np.inf:
                    columns[count] = i
                    count += 1
            write_top_n(u, columns[:count], factors, listed[u], scores[u])
        else:
            least = heap[j, 0] - np.float32(2.0 * r[j])
            left = drop_below(candidates[j], candidate_scores[j], found[j], least)
            columns = candidates[j, :left].copy()
            if len(order) > 0:
                for p in range(left):
                    columns[p] = order[columns[p]]
                columns.sort()
            write_top_n(u, columns, factors, listed[u], scores[u])


@kernel
def rank_lists(first: int, last: int, lists: ColumnLists, factors: FactorArrays, best: TopN) -> None:
    """Write the best of the listed columns of the rows first … last − 1."""
    indptr, columns = lists
    listed, scores = best
    for u in range(first, last):
        write_top_n(u, columns[indptr[u] : indptr[u + 1]], factors, listed[u], scores[u])
