"""What a row's observed cells contribute to the objective.

Legend as in ``cholesky.py``. Missing cells are never visited: their loss is that of all cells, Σ_u s_u x_uᵀ G x_u,
less what the observed ones would count if they were missing, summed here on the way.

Why it is written out: it reads each observation once, as cheaply as a half-step gathers it, and nothing is stored.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from halfstep.kernels._jit import kernel
from halfstep.kernels._llvm import VECTOR_BYTES
from halfstep.kernels._vector import ROW_PADDING, dot_rows, sum_squares

Floats = NDArray[np.floating]
Doubles = NDArray[np.float64]
Ints = NDArray[np.integer]


@kernel
def row_losses(
    first: int, last: int, indptr: Ints, indices: Ints, targets: Floats, weights: Floats, s: Floats, m: Floats,
    k: int, biases: bool, o: Doubles, X: Doubles, Y: Doubles, observed: Doubles, as_missing: Doubles,
) -> None:  # fmt: skip
    """For the rows first … last − 1, which are 0 … of X: Σ_Ω w (t − o_i − x·y)² and Σ_Ω s_u m_i (p·q)²."""
    K = k + 1 if biases else k
    vectors = -(-K * X.itemsize // VECTOR_BYTES)
    width = -(-K // ROW_PADDING) * ROW_PADDING
    for u in range(first, last):
        x, begin, end = u - first, indptr[u], indptr[u + 1]
        if vectors == 1:
            loss = sum_squares(X, x, Y, indices, targets, weights, o, begin, end, 1)
        elif vectors == 2:
            loss = sum_squares(X, x, Y, indices, targets, weights, o, begin, end, 2)
        elif vectors == 3:
            loss = sum_squares(X, x, Y, indices, targets, weights, o, begin, end, 3)
        else:
            loss = 0.0
            for p in range(begin, end):
                i = np.intp(indices[p])
                residual = targets[p] - o[i] - dot_rows(X, x, Y, i, width)
                loss += weights[p] * residual * residual
        observed[u] = loss
        cancelled = 0.0
        if len(m) > 0:
            b_u = X[x, k] if biases else 0.0
            for p in range(begin, end):
                i = np.intp(indices[p])
                product = dot_rows(X, x, Y, i, width) - b_u  # missing cells are predicted without biases
                cancelled += s[u] * m[i] * product * product
        as_missing[u] = cancelled


@kernel
def penalty(ridge: Floats, bias_ratio: float, k: int, biases: bool, X: Floats) -> float:
    """Σ_u λ_u (‖x_u‖² + ρ b_u²), in double precision; written out so that no square is stored."""
    total = 0.0
    for u in range(len(X)):
        squares = 0.0
        for a in range(k):
            squares += np.float64(X[u, a]) * X[u, a]
        if biases:
            squares += bias_ratio * np.float64(X[u, k]) * X[u, k]
        total += ridge[u] * squares
    return total
