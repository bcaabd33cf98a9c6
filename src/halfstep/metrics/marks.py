"""Ranking metrics on masks of relevant items, for the functions on ids and `halfstep.evaluate`.

Legend: a row is a user; ``marks[u, p]`` is True if position p of user u's list, from 0, has a relevant item;
``relevant[u]`` is the number of relevant items R_u; n is the cutoff. Missing positions of short lists are misses.
Metrics are NaN for R_u = 0.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Marks = NDArray[np.bool_]
Counts = NDArray[np.int64]
Values = NDArray[np.float64]


def mark(listed: NDArray[np.integer], rows: NDArray[np.integer], codes: NDArray[np.integer], n_codes: int) -> Marks:
    """Return a mask of the positions that have a relevant item.

    Parameters
    ----------
    listed : ndarray of shape (n_rows, width)
        The codes of the items in each list, padded with −1.
    rows, codes : ndarray of shape (n_relevant,)
        Row and code of each relevant item; −1 for items that cannot be listed.
    n_codes : int
        The number of codes.
    """
    known = codes >= 0
    wanted = np.sort(rows[known].astype(np.int64) * n_codes + codes[known])
    if len(wanted) == 0:
        return np.zeros(listed.shape, dtype=bool)
    keys = np.arange(len(listed), dtype=np.int64)[:, None] * n_codes + listed
    nearest = wanted[np.minimum(np.searchsorted(wanted, keys), len(wanted) - 1)]
    marks: Marks = (nearest == keys) & (listed >= 0)
    return marks


def measure(name: str, marks: Marks, relevant: Counts, n: int) -> Values:
    """Return the metric with a name in `MEASURES` for each row; NaN for rows without relevant items."""
    values = MEASURES[name](marks[:, :n], np.maximum(relevant, 1), n)
    values[relevant == 0] = np.nan
    return values


def _hits(marks: Marks) -> Counts:
    return np.asarray(np.count_nonzero(marks, axis=1), dtype=np.int64)


def _precision(marks: Marks, relevant: Counts, n: int) -> Values:
    precisions: Values = _hits(marks) / n
    return precisions


def _recall(marks: Marks, relevant: Counts, n: int) -> Values:
    return _hits(marks) / relevant


def _attainable_recall(marks: Marks, relevant: Counts, n: int) -> Values:
    return _hits(marks) / np.minimum(relevant, n)


def _hit_rate(marks: Marks, relevant: Counts, n: int) -> Values:
    return (_hits(marks) > 0).astype(np.float64)


def _ndcg(marks: Marks, relevant: Counts, n: int) -> Values:
    # both sums are cumulative, so that rounding cannot lift a list above the ideal one
    longest = max(marks.shape[1], int(np.minimum(relevant, n).max(initial=1)))
    discounts = 1.0 / np.log2(np.arange(2, longest + 2))
    ideal = np.cumsum(discounts)[np.minimum(relevant, n) - 1]
    gained: Values = _summed(marks * discounts[: marks.shape[1]]) / ideal
    return gained


def _average_precision(marks: Marks, relevant: Counts, n: int) -> Values:
    return _summed_precision(marks) / relevant


def _attainable_average_precision(marks: Marks, relevant: Counts, n: int) -> Values:
    return _summed_precision(marks) / np.minimum(relevant, n)


def _reciprocal_rank(marks: Marks, relevant: Counts, n: int) -> Values:
    if marks.shape[1] == 0:
        return np.zeros(len(marks))
    reciprocals: Values = 1.0 / (1 + marks.argmax(axis=1))
    return np.where(marks.any(axis=1), reciprocals, 0.0)


def _summed_precision(marks: Marks) -> Values:
    precisions: Values = np.cumsum(marks, axis=1) / np.arange(1, marks.shape[1] + 1)
    return _summed(marks * precisions)


def _summed(terms: Values) -> Values:
    sums: Values = np.cumsum(terms, axis=1)[:, -1] if terms.shape[1] else np.zeros(len(terms))
    return sums


MEASURES: dict[str, Callable[[Marks, Counts, int], Values]] = {
    "precision": _precision,
    "recall": _recall,
    "attainable_recall": _attainable_recall,
    "hit_rate": _hit_rate,
    "ndcg": _ndcg,
    "average_precision": _average_precision,
    "attainable_average_precision": _attainable_average_precision,
    "reciprocal_rank": _reciprocal_rank,
}


def self_information(item_counts: NDArray[np.integer], n_users: int) -> Values:
    """Return −log2(max(c_i, 1) / U) bits for each item, which c_i of U users have."""
    bits: Values = np.log2(max(n_users, 1) / np.maximum(item_counts, 1))
    return bits


def mean_over_list(listed: NDArray[np.integer], of_code: Values) -> Values:
    """Return the mean over the items in each list; NaN for an empty list."""
    is_item = listed >= 0
    summed = np.where(is_item, of_code[listed], 0.0).sum(axis=1)
    length = is_item.sum(axis=1)
    mean: Values = np.divide(summed, length, out=np.full(len(listed), np.nan), where=length > 0)
    return mean
