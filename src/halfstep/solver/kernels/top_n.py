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


@inner
def exact_score(u: int, i: int, P: Floats, Q: Floats, c: Doubles) -> np.float64:
    """c[i] + Σ_a P[u, a] · Q[i, a] in double precision."""
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
def write_best(u: int, columns: Ints, P: Floats, Q: Floats, c: Doubles, best: Ints, scores: Doubles) -> None:
    """Rank the given columns, which ascend, by their exact scores, and write as many as there is room for."""
    exact = np.empty(len(columns), np.float64)
    for place in range(len(columns)):
        exact[place] = -exact_score(u, columns[place], P, Q, c)
    order = np.argsort(exact, kind="mergesort")  # stable: the lower column comes first
    listed = min(len(columns), len(best))
    for place in range(listed):
        best[place] = columns[order[place]]
        scores[place] = -exact[order[place]]
    best[listed:] = NOWHERE
    scores[listed:] = np.nan


@kernel
def scan_tile(
    first: int, last: int, begin: int, S: Singles, C: Singles, r: Doubles, indptr: Ints, skipped: Ints,
    next_skip: Ints, heap: Singles, near: Ints, near_scores: Singles, found: Ints,
) -> None:  # fmt: skip
    """Note which columns may be among the best of the rows first … last − 1, which are 0 … of S, heap, near, found.

    S holds the columns from `begin` on, and is overwritten; tiles come in the order of the columns. A row's heap
    holds the highest scores so far; `near` the columns, and `near_scores` their scores, that were close to the lowest
    of these, or above it, when they were seen; `found` how many, or `TOO_MANY`. ``skipped[indptr[u]:indptr[u + 1]]``
    are the columns that row u skips, of which `next_skip` is the next one. C is empty where it is 0.
    """
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
def best_of_near(
    first: int, last: int, r: Doubles, indptr: Ints, skipped: Ints, heap: Singles, near: Ints, near_scores: Singles,
    found: Ints, P: Floats, Q: Floats, c: Doubles, best: Ints, scores: Doubles,
) -> None:  # fmt: skip
    """Write the best columns of the rows first … last − 1 once all tiles are scanned."""
    for u in range(first, last):
        place = u - first
        if found[place] == TOO_MANY:  # next to equal scores, more than there was room for: all columns are ranked
            columns = np.empty(len(Q), near.dtype)
            count, p = 0, indptr[u]
            for i in range(len(Q)):
                if p < indptr[u + 1] and skipped[p] == i:
                    p += 1
                elif c[i] > -np.inf:
                    columns[count] = i
                    count += 1
            write_best(u, columns[:count], P, Q, c, best[u], scores[u])
        else:
            least = heap[place, 0] - np.float32(2.0 * r[u])
            kept = keep_near(near[place], near_scores[place], found[place], least)
            write_best(u, near[place, :kept], P, Q, c, best[u], scores[u])


@kernel
def best_of_lists(
    first: int, last: int, indptr: Ints, listed: Ints, P: Floats, Q: Floats, c: Doubles, best: Ints, scores: Doubles
) -> None:  # fmt: skip
    """Write the best of the columns that each of the rows first … last − 1 lists, ascending."""
    for u in range(first, last):
        write_best(u, listed[indptr[u] : indptr[u + 1]], P, Q, c, best[u], scores[u])
