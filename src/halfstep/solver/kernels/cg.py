"""The half-step by a few steps of conjugate gradients, from where each row was before.

Legend as in ``blocked.py``, and

    v   the row's solution so far            q   b − A v, what is left
    p   the direction of the next step       e   x·y of the row's observations

The matrix A = D + Σ (w − s m) y yᵀ is never made: a step needs A p alone, which is two products with the row's
observations, 2 n K multiply-adds where the factorisation sums n K² / 2. G costs nothing, being diagonal here; and as
the whole of D is at hand, dividing by it (Jacobi's preconditioner) takes account of all that G and λ contribute.

From one iteration to the next a row's solution moves little, so that few steps from the last one leave an error far
below what the next iteration changes. The objective falls with every step: what is approached is what the exact
half-step solves for, and so is the optimum of the alternation.

A bias is one more unknown, which no missing cell is predicted with: it keeps apart, in numbers of its own.

Observations are read where they lie. A copy of them would be contiguous, but takes as long to write as it saves:
after the first step the caches have them.

Why it is written out: libraries take the matrix as a function, and call it per row.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from halfstep._support.jit import inner, kernel
from halfstep.solver.kernels._panels import PANEL, add_normal
from halfstep.solver.kernels._tiles import prefetch_row
from halfstep.solver.kernels.dense import copy, padded
from halfstep.solver.kernels.observations import (
    LEFT,
    cell,
    diagonal_of,
    is_positive,
    list_observations,
    longest_of,
    score,
)

AHEAD = 16  # observations that are on their way from memory while one is read
NEXT = 64  # and of the next row, while this one is solved
CACHED_BYTES = 1 << 18  # of observations that each step finds in the caches still

Floats = NDArray[np.floating]
Doubles = NDArray[np.float64]
Ints = NDArray[np.integer]


@inner
def ask_for(begin: int, end: int, indices: Ints, Y: Floats) -> None:
    """Ask for the first `PANEL` of the observations begin … end − 1 to be brought into the caches."""
    for p in range(begin, min(begin + PANEL, end)):
        prefetch_row(Y, np.intp(indices[p]), Y.shape[1])


@kernel
def approach_rows(
    rows: Ints, indptr: Ints, indices: Ints, targets: Floats, weights: Floats, s: Floats, m: Floats, g: Floats,
    ridge: Floats, bias_ratio: float, k: int, biases: bool, o: Floats, Y: Floats, first: int, X: Floats, steps: int,
    scored: bool, losses: Doubles,
) -> None:  # fmt: skip
    """Take some steps towards the solution of the given rows, from X[u − first]; otherwise as `solve_blocked`.

    One function, long as it is: most rows are short, and handing all its arrays to another for each slows it down.
    """
    width = padded(k)
    room = longest_of(rows, indptr) + PANEL
    at = np.empty(room, np.intp)
    w, r, xy, e = (
        np.empty(room, Y.dtype), np.empty(room, Y.dtype), np.empty(room, Y.dtype), np.empty(room, Y.dtype)
    )  # fmt: skip
    d, inverse = np.ones(width, Y.dtype), np.ones(width, Y.dtype)
    v, q, p, Ap = (
        np.zeros(width, Y.dtype), np.zeros(width, Y.dtype), np.zeros(width, Y.dtype), np.zeros(width, Y.dtype)
    )  # fmt: skip
    nothing = Y.dtype.type(0)
    eps, tiny = np.finfo(Y.dtype).eps, np.finfo(Y.dtype).tiny
    for row in range(len(rows)):
        u = rows[row]
        begin, end = indptr[u], indptr[u + 1]
        n = end - begin
        is_long = n * width * Y.itemsize > CACHED_BYTES
        x = X[u - first]
        losses[u] = 0.0
        if n == 0:
            x[:] = 0.0
            continue
        s_u: Any = s[u] if len(m) > 0 else nothing
        least_weight = list_observations(begin, end, indices, targets, weights, s_u, m, o, at, w, r)
        diagonal_of(ridge[u], k, s_u, g, d)
        if not (is_positive(d, k) and least_weight >= 0.0):
            losses[u, 0] = LEFT
            continue
        for c in range(k):
            inverse[c] = 1.0 / d[c]
            v[c] = x[c]
        bias: Any = x[k] if biases else nothing
        of_bias = toward_bias = left_of_bias = inverse_of_bias = A_bias = nothing
        if biases:
            of_bias = ridge[u] * bias_ratio
            for place in range(n):
                inverse_of_bias += cell(weights, begin + place)
                r[place] -= cell(weights, begin + place) * bias
            inverse_of_bias = 1 / (inverse_of_bias + of_bias)
        q[:] = 0.0
        for place in range(0, n, PANEL):
            ask_for(begin + place + AHEAD, end, indices, Y)
            add_normal(Y, at, place, w, r, v, xy, q, width)
        if biases:
            left_of_bias = -of_bias * bias
            for place in range(n):
                left_of_bias += r[place] - cell(weights, begin + place) * xy[place]
            toward_bias = left_of_bias * inverse_of_bias
        height = left_of_bias * toward_bias
        for c in range(width):
            q[c] -= d[c] * v[c]
            p[c] = q[c] * inverse[c]
            height += q[c] * p[c]
        least = max(height * eps * eps, tiny)  # from where on rounding is all that moves
        is_lost = False
        for step in range(steps):
            if not height > least:
                break
            Ap[:] = 0.0
            for place in range(n if biases or step == 0 else 0):
                r[place] = -cell(weights, begin + place) * toward_bias
            for place in range(0, n, PANEL):
                if is_long:
                    ask_for(begin + place + AHEAD, end, indices, Y)
                elif step == 0 and place < NEXT:
                    ask_for(end + place, min(end + NEXT, len(indices)), indices, Y)
                add_normal(Y, at, place, w, r, p, e, Ap, width)
            pAp = nothing
            if biases:
                A_bias = of_bias * toward_bias
                for place in range(n):
                    A_bias += cell(weights, begin + place) * (e[place] + toward_bias)
                pAp = toward_bias * A_bias
            for c in range(width):
                Ap[c] = d[c] * p[c] - Ap[c]
                pAp += p[c] * Ap[c]
            if not pAp > 0.0:  # the matrix is positive definite: its rounding error is larger than its curvature
                is_lost = True
                break
            length = height / pAp
            for place in range(n):
                xy[place] += length * e[place]
            bias += length * toward_bias
            left_of_bias -= length * A_bias
            before, height = height, left_of_bias * left_of_bias * inverse_of_bias
            for c in range(width):
                v[c] += length * p[c]
                q[c] -= length * Ap[c]
                height += q[c] * q[c] * inverse[c]
            for c in range(width):
                p[c] = q[c] * inverse[c] + height / before * p[c]
            toward_bias = left_of_bias * inverse_of_bias + height / before * toward_bias
        if is_lost:
            losses[u, 0] = LEFT
            continue
        copy(v, k, x)
        if biases:
            x[k] = bias
        if scored:
            score(begin, end, indices, targets, weights, m, o, bias, xy, losses[u])
