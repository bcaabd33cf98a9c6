"""The terms of the objective that a row's observed cells contribute.

Legend as in ``cholesky.py``, but Y is [y | bias | 0 …] like X. Missing cells are never visited: their loss is that of
all cells, Σ_u s_u x_uᵀ G x_u, less what the observed ones would count if they were missing, summed here on the way.

Why it is written out: it reads each observation once, as cheaply as a half-step gathers it, and nothing is stored.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from halfstep.kernels._jit import kernel
from halfstep.kernels._vector import ROW_PADDING, dot_rows

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]


@kernel
def row_losses(
    first: int, last: int, indptr: Ints, indices: Ints, targets: Floats, weights: Floats, s: Floats, m: Floats,
    k: int, biases: bool, X: Floats, Y: Floats, observed: NDArray[np.float64], as_missing: NDArray[np.float64],
) -> None:  # fmt: skip
    """For the rows first … last − 1: Σ_Ω w (t − b_u − b_i − x·y)² and Σ_Ω s_u m_i (x·y)², in double precision."""
    K = k + 1 if biases else k
    width = -(-K // ROW_PADDING) * ROW_PADDING
    for u in range(first, last):
        loss = 0.0
        cancelled = 0.0
        s_u = s[u] if len(s) > 0 else 0.0
        for p in range(indptr[u], indptr[u + 1]):
            i = np.intp(indices[p])
            product = dot_rows(X, u, Y, i, width)
            residual = np.float64(targets[p])
            if biases:
                b_u, b_i = np.float64(X[u, k]), np.float64(Y[i, k])
                product -= b_u * b_i  # the biases stand in one column, but do not multiply each other
                residual -= b_u + b_i
            residual -= product
            loss += weights[p] * residual * residual
            if len(m) > 0:
                cancelled += s_u * m[i] * product * product
        observed[u] = loss
        as_missing[u] = cancelled
