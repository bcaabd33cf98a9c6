"""Stochastic gradient descent on a biased factorization.

Legend: rating n is in row ``rows[n]`` = u and column ``columns[n]`` = i; ``targets[n]`` is the rating minus the mean.
``P``, ``Q`` are the factors of rows and columns, ``row_biases`` and ``column_biases`` their biases; all four are
updated in place.

NumPy is not used, because each step depends on the previous one. Plain two-dimensional indexing vectorizes best: a
flat view of the factors took three times as long.
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
    """Run an epoch; return the sum of squared errors, each computed just before its step.

    With e = t − b_u − b_i − p·q, learning rate γ and regularization λ, a step is

        b ← b + γ(e − λ b),    p ← p + γ(e q − λ p),    q ← q + γ(e p − λ q)

    where the last two both use the old p and q. Ratings should be grouped by row, so that its factors stay in cache.
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
