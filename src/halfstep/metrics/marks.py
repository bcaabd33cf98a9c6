"""Ranking metrics on positions: the one fast path, which the functions on ids and `halfstep.evaluate` share.

Legend: a row is a user; ``marks[u, p]`` says whether place p of user u's list (the best is 0) holds a relevant item;
``relevant[u]`` counts the relevant items R_u of user u; n is how many places count. Lists may be shorter than n: the
places that lack count as misses. Where R_u = 0 nothing can be measured, and the value is NaN.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Marks = NDArray[np.bool_]
Counts = NDArray[np.int64]
Values = NDArray[np.float64]


def mark(listed: NDArray[np.integer], rows: NDArray[np.integer], codes: NDArray[np.integer], n_codes: int) -> Marks:
    """Mark the places that hold something relevant.

    Parameters
    ----------
    listed : ndarray of shape (n_rows, width)
        The code of the item in each place; −1 where a list is short.
    rows, codes : ndarray of shape (n_relevant,)
        Row and code of each relevant item; a code of −1 stands for an item that no list can hold.
    n_codes : int
        Codes are below this.
    """
    known = codes >= 0
    wanted = np.sort(rows[known].astype(np.int64) * n_codes + codes[known])
    if len(wanted) == 0:
        return np.zeros(listed.shape, dtype=bool)
    keys = np.arange(len(listed), dtype=np.int64)[:, None] * n_codes + listed
    places = np.minimum(np.searchsorted(wanted, keys), len(wanted) - 1)
    found: Marks = (wanted[places] == keys) & (listed >= 0)
    return found


def measure(name: str, marks: Marks, relevant: Counts, n: int) -> Values:
    """Give the metric of that name, one of `MEASURES`, for each row; NaN where nothing is relevant."""
    values = MEASURES[name](marks[:, :n], np.maximum(relevant, 1), n)
    values[relevant == 0] = np.nan
    return values


def _found(marks: Marks) -> Counts:
    return np.asarray(np.count_nonzero(marks, axis=1), dtype=np.int64)


def _precision(marks: Marks, relevant: Counts, n: int) -> Values:
    precisions: Values = _found(marks) / n
    return precisions


def _recall(marks: Marks, relevant: Counts, n: int) -> Values:
    return _found(marks) / relevant


def _attainable_recall(marks: Marks, relevant: Counts, n: int) -> Values:
    return _found(marks) / np.minimum(relevant, n)


def _hit_rate(marks: Marks, relevant: Counts, n: int) -> Values:
    return (_found(marks) > 0).astype(np.float64)


def _ndcg(marks: Marks, relevant: Counts, n: int) -> Values:
    # Both sums are taken from the left, so that rounding cannot lift a list above the ideal one.
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
    """Give −log2(c_i / U) bits for each item that c_i of U users have; where none has it, as if one had."""
    bits: Values = np.log2(max(n_users, 1) / np.maximum(item_counts, 1))
    return bits


def mean_over_list(listed: NDArray[np.integer], of_code: Values) -> Values:
    """Average over the items in each row's list; NaN for an empty list."""
    there = listed >= 0
    summed = np.where(there, of_code[listed], 0.0).sum(axis=1)
    length = there.sum(axis=1)
    mean: Values = np.divide(summed, length, out=np.full(len(listed), np.nan), where=length > 0)
    return mean
