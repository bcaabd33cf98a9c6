"""Stochastic gradient descent on a biased factorisation: one pass over all ratings, one rating at a time.

Legend: entry n is in row ``rows[n]`` = u and column ``columns[n]`` = i; ``targets[n]`` is what is left of its
rating once the mean is taken off. ``P``, ``Q`` are the factors of rows and columns, ``row_biases`` and
``column_biases`` their biases; all four are updated in place.

Written out because every step needs the outcome of the one before: nothing here is a matrix product. Plain
two-dimensional indexing is what the compiler vectorises best: a flat view of the factors took three times as
long, unsigned indices and a buffer for the row's factors gained nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from halfstep._support.jit import kernel


@kernel
def sgd_epoch(
    rows: NDArray[np.int32],
    columns: NDArray[np.int32],
    targets: NDArray[np.float64],
    row_biases: NDArray[np.float64],
    column_biases: NDArray[np.float64],
    P: NDArray[np.float64],
    Q: NDArray[np.float64],
    learning_rate: float,
    regularization: float,
) -> float:
    """Visit the entries in order; return the sum of the squared errors, each taken just before its step.

    With e = t − b_u − b_i − p·q, learning rate γ and regularisation λ, a step is

        b ← b + γ(e − λ b),    p ← p + γ(e q − λ p),    q ← q + γ(e p − λ q)

    where the last two both read the old p and q. Entries of one row are best visited one after the other: its
    factors then stay in the cache.
    """
    rank = P.shape[1]
    shrink = 1.0 - learning_rate * regularization
    squared_error = 0.0
    for n in range(len(targets)):
        u, i = rows[n], columns[n]
        product = 0.0
        for f in range(rank):
            product += P[u, f] * Q[i, f]
        error = targets[n] - row_biases[u] - column_biases[i] - product
        squared_error += error * error
        step = learning_rate * error
        row_biases[u] = shrink * row_biases[u] + step
        column_biases[i] = shrink * column_biases[i] + step
        for f in range(rank):
            p, q = P[u, f], Q[i, f]
            P[u, f] = shrink * p + step * q
            Q[i, f] = shrink * q + step * p
    return squared_error
