"""The best n columns of each row, exactly: a fast scan in single precision finds few candidates, doubles decide.

Legend:

    P   rows that ask            one row each
    Q   columns that compete     one row each
    c   columns' own scores      their biases; −∞ bars a column
    S   a block of P Qᵀ          in single precision, made by BLAS; C is c in its precision and scale
    r   the row's error          |S + C − exact score| is at most that, for any column

A column that is among the best n has a score in S + C within 2 r of the n-th best there, so only such columns are
scored again, in double precision and one fixed order of sums. The result is that of scoring every pair in doubles: it
depends neither on BLAS, nor on how rows are cut into blocks, nor on threads. Of equal scores, the lower column comes
first.

Why it is written out: a library's partial sort of every row reads and writes the block several times; the scan here
reads it once, and touches next to nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from halfstep.kernels._jit import kernel

Floats = NDArray[np.floating]
Singles = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.integer]

SCANNED = 64  # scores compared at once: their comparisons need no order, which is what vector units need
NOWHERE = -1  # fills lists that are short


@kernel
def exact_score(u: int, i: int, P: Floats, Q: Floats, c: Doubles) -> np.float64:
    """c[i] + Σ_a P[u, a] · Q[i, a] in double precision."""
    total = np.float64(c[i])
    for a in range(P.shape[1]):
        total += np.float64(P[u, a]) * np.float64(Q[i, a])
    return total


@kernel
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
def nth_best(row: Singles, heap: Singles) -> np.float32:
    """The ``len(heap)``-th largest entry of a row; −∞ if it has fewer."""
    heap[:] = -np.inf
    for start in range(0, len(row), SCANNED):
        stop = min(start + SCANNED, len(row))
        least, above = heap[0], 0
        for i in range(start, stop):
            above += row[i] > least
        if above > 0:
            for i in range(start, stop):
                if row[i] > heap[0]:
                    sift_down(heap, row[i])
    return np.float32(heap[0])


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
def best_of_block(
    first: int, last: int, S: Singles, C: Singles, r: Doubles, indptr: Ints, skipped: Ints, P: Floats, Q: Floats,
    c: Doubles, best: Ints, scores: Doubles,
) -> None:  # fmt: skip
    """Write the best columns of the rows first … last − 1, which are 0 … of S, without those that each row skips.

    ``skipped[indptr[u]:indptr[u + 1]]`` are the columns that row u skips. S is overwritten. C is empty where it is 0.
    """
    heap = np.empty(min(best.shape[1], S.shape[1]), np.float32)
    columns = np.empty(S.shape[1], np.intp)
    for u in range(first, last):
        row = S[u - first]
        for i in range(len(C)):
            row[i] += C[i]
        for p in range(indptr[u], indptr[u + 1]):
            row[skipped[p]] = -np.inf
        least = np.float32(nth_best(row, heap) - 2.0 * r[u])
        near = 0
        for i in range(len(row)):
            if row[i] >= least and row[i] > -np.inf:
                columns[near] = i
                near += 1
        write_best(u, columns[:near], P, Q, c, best[u], scores[u])


@kernel
def best_of_lists(
    first: int, last: int, indptr: Ints, listed: Ints, P: Floats, Q: Floats, c: Doubles, best: Ints, scores: Doubles
) -> None:  # fmt: skip
    """Write the best of the columns that each of the rows first … last − 1 lists, ascending."""
    for u in range(first, last):
        write_best(u, listed[indptr[u] : indptr[u + 1]], P, Q, c, best[u], scores[u])
