"""The best n columns of each row, exactly: a fast scan in single precision finds few candidates, doubles decide.

Legend:

    P   rows that ask            one row each
    Q   columns that compete     one row each
    c   columns' own scores      their biases; −∞ bars a column
    S   a tile of P Qᵀ           in single precision, made by BLAS; C is c in its precision and scale
    r   the row's error          |S + C − exact score| is at most that, for any column

A column that is among the best n has a score in S + C within 2 r of the n-th best there, so only such columns are
scored again, in double precision and one fixed order of sums. The result is that of scoring every pair in doubles: it
depends neither on BLAS, nor on how rows are cut into blocks, nor on threads. Of equal scores, the lower column comes
first.

Why it is written out: a library's partial sort of every row reads and writes the scores several times; the scan here
reads them once, a tile at a time that the caches hold, and touches next to nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from halfstep._support.jit import inner, kernel

Floats = NDArray[np.floating]
Singles = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.integer]

SCANNED = 64  # scores compared at once: their comparisons need no order, which is what vector units need
NOWHERE = -1  # fills lists that are short
TOO_MANY = -1  # candidates for the room there is


class Factors(NamedTuple):
    """What exact scores are made of: P, Q and c."""

    P: Floats
    Q: Floats
    c: Doubles


class Listed(NamedTuple):
    """Columns that are listed for each row u, ascending: ``columns[indptr[u]:indptr[u + 1]]``."""

    indptr: Ints
    columns: Ints


class Near(NamedTuple):
    """What is kept of some rows while tiles are scanned.

    Attributes
    ----------
    heap : ndarray of shape (n_rows, n)
        The highest scores so far.
    columns, scores : ndarray of shape (n_rows, room)
        Columns that were close to the lowest of these, or above it, when they were seen; and their scores.
    found : ndarray of shape (n_rows,)
        How many, or `TOO_MANY`.
    next_skip : ndarray of shape (n_rows,)
        Which of the columns that the row skips is the next one.
    """

    heap: Singles
    columns: Ints
    scores: Singles
    found: Ints
    next_skip: Ints


class Best(NamedTuple):
    """The columns that are listed for each row, and their scores."""

    columns: Ints
    scores: Doubles


@inner
def exact_score(u: int, i: int, factors: Factors) -> np.float64:
    """c[i] + Σ_a P[u, a] · Q[i, a] in double precision."""
    P, Q, c = factors
    total = np.float64(c[i])
    for a in range(P.shape[1]):
        total += np.float64(P[u, a]) * np.float64(Q[i, a])
    return total


@inner
def sift_down(heap: Singles, value: float) -> None:
    """Put a value in the place of the smallest of the heap."""
    place, n = 0, len(heap)
    while True:
        child = 2 * place + 1
        if child >= n:
            break
        if child + 1 < n and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= value:
            break
        heap[place] = heap[child]
        place = child
    heap[place] = value


@kernel
def write_best(u: int, columns: Ints, factors: Factors, best: Ints, scores: Doubles) -> None:
    """Rank the given columns, which ascend, by their exact scores, and write as many as there is room for."""
    exact = np.empty(len(columns), np.float64)
    for place in range(len(columns)):
        exact[place] = -exact_score(u, columns[place], factors)
    order = np.argsort(exact, kind="mergesort")  # stable: the lower column comes first
    listed = min(len(columns), len(best))
    for place in range(listed):
        best[place] = columns[order[place]]
        scores[place] = -exact[order[place]]
    best[listed:] = NOWHERE
    scores[listed:] = np.nan


@kernel
def scan_tile(
    first: int, last: int, begin: int, S: Singles, C: Singles, r: Doubles, skip: Listed, kept: Near
) -> None:
    """Note which columns may be among the best of the rows first … last − 1, which are 0 … of S and of what is kept.

    S holds the columns from `begin` on, and is overwritten; tiles come in the order of the columns. `skip` has the
    columns that each row skips. C is empty where it is 0.
    """
    indptr, skipped = skip
    heap, near, near_scores, found, next_skip = kept
    width = S.shape[1]
    for u in range(first, last):
        place = u - first
        row, best = S[place], heap[place]
        for i in range(width if len(C) > 0 else 0):
            row[i] += C[begin + i]
        while next_skip[place] < indptr[u + 1] and skipped[next_skip[place]] < begin + width:
            row[skipped[next_skip[place]] - begin] = -np.inf
            next_skip[place] += 1
        slack = np.float32(2.0 * r[u])
        least = best[0] - slack
        for start in range(0, width, SCANNED):
            stop = min(start + SCANNED, width)
            above = np.int32(0)
            for i in range(start, stop):
                above += np.int32(row[np.uintp(i)] >= least)  # unsigned: no place is counted from the end
            if above == 0:
                continue
            for i in range(start, stop):
                if row[i] >= least and row[i] > -np.inf and found[place] != TOO_MANY:
                    if found[place] == near.shape[1]:
                        found[place] = keep_near(near[place], near_scores[place], found[place], least)
                    if found[place] == near.shape[1]:
                        found[place] = TOO_MANY
                    else:
                        near[place, found[place]] = begin + i
                        near_scores[place, found[place]] = row[i]
                        found[place] += 1
                        if row[i] > best[0]:
                            sift_down(best, row[i])
                            least = best[0] - slack


@inner
def keep_near(near: Ints, near_scores: Singles, found: int, least: float) -> int:
    """Drop the columns that are no longer close enough; return how many are left."""
    kept = 0
    for p in range(found):
        if near_scores[p] >= least:
            near[kept], near_scores[kept] = near[p], near_scores[p]
            kept += 1
    return kept


@kernel
def best_of_near(first: int, last: int, r: Doubles, skip: Listed, kept: Near, factors: Factors, best: Best) -> None:
    """Write the best columns of the rows first … last − 1 once all tiles are scanned."""
    indptr, skipped = skip
    heap, near, near_scores, found, _ = kept
    c, listed, scores = factors.c, best.columns, best.scores
    for u in range(first, last):
        place = u - first
        if found[place] == TOO_MANY:  # next to equal scores, more than there was room for: all columns are ranked
            columns = np.empty(len(c), near.dtype)
            count, p = 0, indptr[u]
            for i in range(len(c)):
                if p < indptr[u + 1] and skipped[p] == i:
                    p += 1
                elif c[i] > -np.inf:
                    columns[count] = i
                    count += 1
            write_best(u, columns[:count], factors, listed[u], scores[u])
        else:
            least = heap[place, 0] - np.float32(2.0 * r[u])
            left = keep_near(near[place], near_scores[place], found[place], least)
            write_best(u, near[place, :left], factors, listed[u], scores[u])


@kernel
def best_of_lists(first: int, last: int, lists: Listed, factors: Factors, best: Best) -> None:
    """Write the best of the columns that each of the rows first … last − 1 lists."""
    indptr, columns = lists
    listed, scores = best
    for u in range(first, last):
        write_best(u, columns[indptr[u] : indptr[u + 1]], factors, listed[u], scores[u])
