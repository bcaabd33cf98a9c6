"""Metrics of ranked lists.

They take the recommended ids of each user, the best first, and the relevant ids of each user. In the formulas,
rel_u(p) is 1 if position p = 1, 2, … of user u's list has a relevant item and 0 otherwise, and R_u is the number of
relevant items. Metrics are averaged over the users with R_u > 0. Missing positions of short lists are misses.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from halfstep._support.checks import check_choice, check_flag, check_integer
from halfstep._support.integer_sets import distinct
from halfstep._support.plurals import with_count
from halfstep.data import Interactions, Vocabulary, as_interactions
from halfstep.data.duplicates import find_repeat
from halfstep.data.id_columns import as_ids
from halfstep.data.recommendations import Recommendations
from halfstep.errors import DataError
from halfstep.metrics.marks import mark, mean_over_list, measure, self_information

RankedLists: TypeAlias = Sequence[Iterable[Any]] | NDArray[Any] | Recommendations
Result: TypeAlias = float | NDArray[np.float64]


def precision(
    recommended: RankedLists, relevant: RankedLists, n: int | None = None, *, per_user: bool = False
) -> Result:
    """Compute the precision, the proportion of relevant items in the top n: (1/n) Σ_{p≤n} rel_u(p).

    The divisor is n even for shorter lists. The maximum for a user with R_u < n is R_u / n.

    Parameters
    ----------
    recommended : sequence of n_users sequences of ids, array of shape (n_users, width), or Recommendations
        The ranked list of each user, the best first. Short rows of an array are padded with −1 (if it has integers),
        None or NaN.
    relevant : sequence of n_users collections of ids
        The relevant items of each user; an array is padded in the same way.
    n : int, optional
        The cutoff; by default the length of the longest list.
    per_user : bool
        Return the value of each user instead of the mean.

    Returns
    -------
    float or ndarray of shape (n_users,)
        Between 0 and 1. Values of users without relevant items are NaN.

    Raises
    ------
    DataError
        If a list has repeated ids, a recommended id is of another type than the relevant ids, the numbers of users
        differ, or no user has a relevant item.
    ParameterError
        If n is less than 1.
    """
    return _of_lists("precision", recommended, relevant, n, per_user)


def recall(
    recommended: RankedLists,
    relevant: RankedLists,
    n: int | None = None,
    *,
    denominator: Literal["relevant", "attainable"] = "relevant",
    per_user: bool = False,
) -> Result:
    """Compute the recall, the proportion of relevant items that are in the top n: (1/D_u) Σ_{p≤n} rel_u(p).

    There are two conventions. D_u = R_u is that of information retrieval, and of NGCF and LightGCN (He et al. 2020).
    D_u = min(n, R_u), the maximum number of hits, is that of Mult-VAE (Liang et al. 2018, "Variational autoencoders
    for collaborative filtering"). `halfstep.evaluate` calls them "recall" and "attainable_recall".

    Parameters
    ----------
    recommended, relevant, n, per_user
        As in `precision`.
    denominator : {"relevant", "attainable"}
        D_u: R_u or min(n, R_u).

    Returns
    -------
    float or ndarray of shape (n_users,)
        Between 0 and 1. Values of users without relevant items are NaN.

    Raises
    ------
    DataError, ParameterError
        As `precision`.
    """
    return _of_lists(_convention("recall", denominator), recommended, relevant, n, per_user)


def hit_rate(
    recommended: RankedLists, relevant: RankedLists, n: int | None = None, *, per_user: bool = False
) -> Result:
    """Compute the hit rate, the proportion of users with a relevant item in the top n: max_{p≤n} rel_u(p).

    See `precision` for parameters, return values and errors.
    """
    return _of_lists("hit_rate", recommended, relevant, n, per_user)


def ndcg(recommended: RankedLists, relevant: RankedLists, n: int | None = None, *, per_user: bool = False) -> Result:
    """Compute the normalized discounted cumulative gain: Σ_{p≤n} rel_u(p) / log2(p + 1), divided by its maximum.

    Gains are binary. The ideal list starts with all relevant items: the maximum is Σ_{p≤min(n, R_u)} 1 / log2(p + 1),
    as in LightGCN and Mult-VAE (Järvelin and Kekäläinen 2002, with the usual shift by one).

    See `precision` for parameters, return values and errors.
    """
    return _of_lists("ndcg", recommended, relevant, n, per_user)


def average_precision(
    recommended: RankedLists,
    relevant: RankedLists,
    n: int | None = None,
    *,
    denominator: Literal["relevant", "attainable"] = "relevant",
    per_user: bool = False,
) -> Result:
    """Compute the average precision: (1/D_u) Σ_{p≤n} rel_u(p) · (1/p) Σ_{q≤p} rel_u(q).

    It is the mean of the precision at the position of each relevant item, and its mean over users is called MAP.
    D_u = R_u is the convention of trec_eval; with D_u = min(n, R_u), a list of n relevant items has the value 1.

    Parameters
    ----------
    recommended, relevant, n, per_user
        As in `precision`.
    denominator : {"relevant", "attainable"}
        D_u: R_u or min(n, R_u).

    Returns
    -------
    float or ndarray of shape (n_users,)
        Between 0 and 1. Values of users without relevant items are NaN.

    Raises
    ------
    DataError, ParameterError
        As `precision`.
    """
    return _of_lists(_convention("average_precision", denominator), recommended, relevant, n, per_user)


def reciprocal_rank(
    recommended: RankedLists, relevant: RankedLists, n: int | None = None, *, per_user: bool = False
) -> Result:
    """Compute the reciprocal rank of the first relevant item: 1 / min{p ≤ n : rel_u(p) = 1}, or 0 without any.

    The mean over users is called MRR. See `precision` for parameters, return values and errors.
    """
    return _of_lists("reciprocal_rank", recommended, relevant, n, per_user)


def coverage(recommended: RankedLists, catalog: Collection[Any], n: int | None = None) -> float:
    """Compute the coverage, the proportion of items in the top n of any user: |∪_u {top n of u}| / |catalog|.

    Parameters
    ----------
    recommended, n
        As in `precision`.
    catalog : collection of ids
        All items that could be recommended, such as ``model.items_``; repeated ids count once.

    Returns
    -------
    float
        Between 0 and 1.

    Raises
    ------
    DataError
        If the catalog is empty or lacks a recommended id, or if a list has repeated ids.
    """
    lists = _read("recommended", recommended)
    vocabulary = catalog if isinstance(catalog, Vocabulary) else Vocabulary.encode(catalog, name="item")[0]
    if len(vocabulary) == 0:
        raise DataError("the catalog is empty: give the ids of all items that could be recommended")
    codes = vocabulary.positions(lists.ids, "mark", name="id in recommended")
    if len(codes) and codes.min() < 0:
        unknown = int(np.argmax(codes < 0))
        raise DataError(
            f"recommended[{lists.rows[unknown]}] lists {lists[unknown]!r}, which is not in the catalog of "
            f"{len(vocabulary):,} ids: give the ids of all items that could be recommended"
        )
    listed = lists.as_table(codes)[:, : _cutoff(n, lists)]
    return len(np.unique(listed[listed >= 0])) / len(vocabulary)


def novelty(
    recommended: RankedLists, interactions: Interactions, n: int | None = None, *, per_user: bool = False
) -> Result:
    """Compute the novelty, the mean self-information of the items i in the top n, in bits: −log2(c_i / U).

    U is the number of users in `interactions`, and c_i is the number of users with item i, or 1 if there are none
    (Zhou et al. 2010, "Solving the apparent diversity–accuracy dilemma of recommender systems").

    Parameters
    ----------
    recommended, n, per_user
        As in `precision`.
    interactions : Interactions
        Usually the interactions that the model was fitted on.

    Returns
    -------
    float or ndarray of shape (n_users,)
        At least 0, in bits. The mean is over users whose list is not empty; values of other users are NaN.

    Raises
    ------
    DataError
        If all lists are empty, a list has repeated ids, or an id is of another type than the interactions' ids.
    """
    lists, interactions = _read("recommended", recommended), as_interactions(interactions)
    known = interactions.items.positions(lists.ids, "mark", name="item id in recommended")
    codes = np.where(known < 0, interactions.n_items, known)  # items without users share one code
    bits = self_information(np.append(interactions.item_counts, 0), interactions.n_users)
    values = mean_over_list(lists.as_table(codes)[:, : _cutoff(n, lists)], bits)
    return _averaged(values, per_user, "all lists are empty: nothing is recommended")


@dataclass(frozen=True, eq=False)
class _ListedIds:
    """The concatenated ids of lists, with the row and the position of each."""

    ids: NDArray[Any]
    rows: NDArray[np.int64]
    positions: NDArray[np.int64]
    n_rows: int
    width: int

    def __getitem__(self, k: int) -> Any:
        return self.ids[k : k + 1].tolist()[0]

    def as_table(self, codes: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return the codes of the ids with a row for each list, padded with −1."""
        listed = np.full((self.n_rows, self.width), -1, dtype=np.int64)
        listed[self.rows, self.positions] = codes
        return listed


def _of_lists(name: str, recommended: RankedLists, relevant: RankedLists, n: int | None, per_user: bool) -> Result:
    lists, wanted = _read("recommended", recommended), _read("relevant", relevant, ordered=False)
    if lists.n_rows != wanted.n_rows:
        raise DataError(
            f"recommended has {with_count(lists.n_rows, 'list')} and relevant has {wanted.n_rows:,}: give one of "
            "each for every user, possibly empty"
        )
    n = _cutoff(n, lists)
    vocabulary, codes = Vocabulary.encode(wanted.ids)
    listed = lists.as_table(vocabulary.positions(lists.ids, "mark", name="id in recommended"))
    keys = distinct(wanted.rows * len(vocabulary) + codes)  # a repeated id is one relevant item
    rows, codes = np.divmod(keys, max(len(vocabulary), 1))
    marks = mark(listed, rows, codes, len(vocabulary))
    values = measure(name, marks, np.bincount(rows, minlength=lists.n_rows).astype(np.int64), n)
    return _averaged(values, per_user, "no user has a relevant item")


def _averaged(values: NDArray[np.float64], per_user: bool, cause: str) -> Result:
    check_flag("per_user", per_user)
    if per_user:
        return values
    measured = values[~np.isnan(values)]
    if len(measured) == 0:
        raise DataError(f"there is no data to score: {cause}")
    return float(measured.mean())


def _convention(name: str, denominator: str) -> str:
    check_choice("denominator", denominator, ("relevant", "attainable"))
    return name if denominator == "relevant" else f"attainable_{name}"


def _cutoff(n: int | None, lists: _ListedIds) -> int:
    if n is None:
        return max(lists.width, 1)
    check_integer("n", n, minimum=1)
    return int(n)


def _read(name: str, lists: Any, *, ordered: bool = True) -> _ListedIds:
    """Convert lists of ids, which must be distinct in ordered lists."""
    if isinstance(lists, Recommendations):
        lists = lists.item_ids
    array = np.asarray(lists) if hasattr(lists, "__array__") else None
    if array is not None and array.ndim == 2:
        listed = _of_array(array)
    else:
        listed = _of_sequences(name, lists if array is None else array.tolist(), ordered)
    if ordered and len(listed.ids):
        _, codes = Vocabulary.encode(listed.ids, name=f"id in {name}")
        repeat = find_repeat(listed.rows.astype(np.int32), codes)
        if repeat is not None:
            first, second = sorted(listed.positions[[repeat.earlier, repeat.row]] + 1)
            raise DataError(
                f"{name}[{listed.rows[repeat.row]}] lists {listed[repeat.row]!r} at positions {first} and {second}: "
                "list every item once"
            )
    return listed


def _of_array(array: NDArray[Any]) -> _ListedIds:
    if array.dtype.kind in "iu":
        is_id = array != -1
    elif array.dtype.kind == "f":
        is_id = ~np.isnan(array)
    else:
        is_id = np.array([[not _is_padding(each) for each in row] for row in array.tolist()], bool).reshape(
            array.shape
        )
    rows, positions = np.nonzero(is_id)
    return _ListedIds(as_ids(array[is_id], "id"), rows, positions, len(array), array.shape[1])


def _of_sequences(name: str, lists: Any, ordered: bool) -> _ListedIds:
    if isinstance(lists, str | bytes) or not isinstance(lists, Iterable):
        raise DataError(f"{name} is {lists!r}: give a list of ids for each user")
    rows: list[list[Any]] = []
    for number, each in enumerate(lists):
        if isinstance(each, str | bytes) or not isinstance(each, Iterable):
            raise DataError(f"{name}[{number}] is {each!r}: give a list of ids for each user, even for a single id")
        if ordered and isinstance(each, set | frozenset) and len(each) > 1:
            raise DataError(
                f"{name}[{number}] is of type {type(each).__name__}, which has no order: give a ranked list"
            )
        rows.append(each.tolist() if isinstance(each, np.ndarray) else list(each))
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    ids = [each for row in rows for each in row]
    is_id = np.array([not _is_padding(each) for each in ids], dtype=bool)
    starts = np.cumsum(lengths) - lengths
    row_of = np.repeat(np.arange(len(rows)), lengths)
    position_of = np.arange(len(ids)) - np.repeat(starts, lengths)
    kept = [each for each, keep in zip(ids, is_id, strict=True) if keep]
    width = int(lengths.max(initial=0))
    return _ListedIds(as_ids(kept, "id"), row_of[is_id], position_of[is_id], len(rows), width)


def _is_padding(item: Any) -> bool:
    return item is None or (isinstance(item, float) and item != item)
