"""What observations say of biases that drift, and targets without these biases.

Legend as in ``cholesky.py``; X and Y are [factors | bias | 0 …], both of them. d are the deviations of an
observation's time, one for all where they are equal.

Why they are written out: each reads an observation once and stores nothing but its result, where NumPy would store a
score, a residual and a product of each.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from halfstep.kernels._jit import inner, kernel
from halfstep.kernels._vector import ROW_PADDING, dot_rows
from halfstep.kernels.observations import cell

Floats = NDArray[np.floating]
Doubles = NDArray[np.float64]
Ints = NDArray[np.integer]


@inner
def score_of(X: Floats, x: int, Y: Floats, y: Any, k: int) -> float:
    """b_x + b_y + p·q: in the product of whole rows the biases stand opposite each other."""
    width = -(-(k + 1) // ROW_PADDING) * ROW_PADDING
    b, o = np.float64(X[x, k]), np.float64(Y[y, k])
    return np.float64(dot_rows(X, x, Y, y, width)) + (b + o - b * o)


@kernel
def pull_bins(
    first: int, last: int, indptr: Ints, indices: Ints, targets: Floats, weights: Floats, bins: Ints, k: int,
    X: Floats, Y: Floats, pulls: Doubles,
) -> None:  # fmt: skip
    """Σ w (t − score) over the observations of each row in each bin to pulls[row, bin]."""
    for row in range(first, last):
        pulls[row] = 0.0
        for p in range(indptr[row], indptr[row + 1]):
            error = np.float64(cell(targets, p)) - score_of(X, row, Y, np.intp(indices[p]), k)
            pulls[row, bins[p]] += np.float64(cell(weights, p)) * error


@kernel
def pull_trends(
    first: int, last: int, indptr: Ints, indices: Ints, targets: Floats, weights: Floats, d: Floats, k: int,
    X: Floats, Y: Floats, pulls: Doubles,
) -> None:  # fmt: skip
    """Σ w d (t − score) over the observations of each row to pulls[row]."""
    for row in range(first, last):
        total = 0.0
        for p in range(indptr[row], indptr[row + 1]):
            error = np.float64(cell(targets, p)) - score_of(X, row, Y, np.intp(indices[p]), k)
            total += np.float64(cell(weights, p)) * np.float64(cell(d, p)) * error
        pulls[row] = total


@kernel
def without_drift(
    first: int, last: int, indptr: Ints, indices: Ints, given: Floats, bins: Ints, d: Floats, item_biases: Doubles,
    trends: Doubles, by_user: bool, targets: Floats,
) -> None:  # fmt: skip
    """Write given − b_{i,bin} − a_u d to targets, for rows that are users, or items."""
    for row in range(first, last):
        for p in range(indptr[row], indptr[row + 1]):
            column = np.intp(indices[p])
            u, i = (row, column) if by_user else (column, row)
            targets[p] = np.float64(given[p]) - item_biases[i, bins[p]] - trends[u] * np.float64(cell(d, p))
