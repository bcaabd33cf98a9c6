"""The best columns of rows whose scores are all given."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from halfstep.solver.top_n import Ranked


def best_of_scores(S: NDArray[np.float64], n: int) -> Ranked:
    """Rank the columns of each row of S; −∞ excludes a column.

    Parameters
    ----------
    S : ndarray of shape (n_rows, n_columns)
    n : int
        The length of the lists, at most n_columns.

    Returns
    -------
    best, scores : ndarray of shape (n_rows, n)
        As in `halfstep.solver.top_n.best_columns`.
    """
    best, scores = np.full((len(S), n), -1, np.int64), np.full((len(S), n), np.nan)
    if n == 0 or len(S) == 0:
        return best, scores
    least = np.partition(S, S.shape[1] - n, axis=1)[:, S.shape[1] - n]  # the n-th best
    for row, (values, bound) in enumerate(zip(S, least, strict=True)):
        columns = np.flatnonzero((values >= bound) & (values > -np.inf))
        order = np.argsort(-values[columns], kind="stable")[:n]  # stable: the lower column comes first
        best[row, : len(order)] = columns[order]
        scores[row, : len(order)] = values[columns[order]]
    return best, scores
