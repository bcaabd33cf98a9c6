"""How good ranked lists are: one function per metric, the formula in its docstring.

All of them take the recommended ids of each user, the best first, and the relevant ids of each user (which the user
turned out to have). With rel_u(p) = 1 where place p = 1, 2, … of user u's list holds a relevant item and else 0, and
R_u the number of user u's relevant items, each metric is a number per user, and the mean of these over the users with
R_u > 0: a user with nothing to be found says nothing about a model. Places that a short list lacks are misses.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from halfstep._support.checks import check_choice, check_flag, check_integer
from halfstep.data import Interactions, Vocabulary, as_interactions
from halfstep.data.duplicates import find_repeat
from halfstep.data.id_columns import as_ids
from halfstep.data.recommendations import Recommendations
from halfstep.errors import DataError
from halfstep.metrics.marks import mark, mean_over_list, measure, self_information

Lists: TypeAlias = Sequence[Iterable[Any]] | NDArray[Any] | Recommendations
Result: TypeAlias = float | NDArray[np.float64]


def precision(recommended: Lists, relevant: Lists, n: int | None = None, *, per_user: bool = False) -> Result:
    """Share of n places that hold a relevant item: (1/n) Σ_{p≤n} rel_u(p).

    The divisor is n, also where a list is shorter or the catalogue smaller: a short list does not gain, and no value
    exceeds 1. A user with R_u < n relevant items cannot reach more than R_u / n.

    Parameters
    ----------
    recommended : sequence of n_users sequences of ids, array of shape (n_users, width), or Recommendations
        The ranked list of each user, the best first. Short rows of an array are padded with −1 (where it holds
        integers), None or NaN.
    relevant : sequence of n_users collections of ids
        What was to be found for each user; an array is padded in the same way.
    n : int, optional
        How many places count; by default the length of the longest list.
    per_user : bool
        Give the value of each user instead of the mean.

    Returns
    -------
    float or ndarray of shape (n_users,)
        Between 0 and 1. For each user, NaN marks those without relevant items.

    Raises
    ------
    DataError
        If a list holds an id twice, a recommended id is of a type that no relevant id has, the numbers of users
        differ, or no user has a relevant item.
    ParameterError
        If n is less than 1.
    """
    return _of_lists("precision", recommended, relevant, n, per_user)


def recall(
    recommended: Lists,
    relevant: Lists,
    n: int | None = None,
    *,
    denominator: Literal["relevant", "attainable"] = "relevant",
    per_user: bool = False,
) -> Result:
    """Share of the relevant items that are found: (1/D_u) Σ_{p≤n} rel_u(p).

    Two conventions are in use. D_u = R_u is that of information retrieval, and of NGCF and LightGCN (He et al. 2020);
    D_u = min(n, R_u), the maximum number of hits in n positions, is that of Mult-VAE (Liang et al. 2018, "Variational
    autoencoders for collaborative filtering") and of papers that compare with it. `halfstep.evaluate` calls the two
    "recall" and "attainable_recall".

    Parameters
    ----------
    recommended, relevant, n, per_user
        As in `precision`.
    denominator : {"relevant", "attainable"}
        D_u: R_u or min(n, R_u).

    Returns
    -------
    float or ndarray of shape (n_users,)
        Between 0 and 1. For each user, NaN marks those without relevant items.

    Raises
    ------
    DataError, ParameterError
        As `precision`.
    """
    return _of_lists(_convention("recall", denominator), recommended, relevant, n, per_user)


def hit_rate(recommended: Lists, relevant: Lists, n: int | None = None, *, per_user: bool = False) -> Result:
    """Share of the users for whom anything relevant is found: max_{p≤n} rel_u(p).

    Parameters, returns and errors are those of `precision`.
    """
    return _of_lists("hit_rate", recommended, relevant, n, per_user)


def ndcg(recommended: Lists, relevant: Lists, n: int | None = None, *, per_user: bool = False) -> Result:
    """Normalised discounted cumulative gain: Σ_{p≤n} rel_u(p) / log2(p + 1), over the same for the ideal list.

    Gains are binary. The ideal list begins with all relevant items: its value is Σ_{p≤min(n, R_u)} 1 / log2(p + 1)
    (Järvelin and Kekäläinen 2002, with the logarithm's usual shift by one), as in LightGCN and in Mult-VAE.

    Parameters, returns and errors are those of `precision`.
    """
    return _of_lists("ndcg", recommended, relevant, n, per_user)


def average_precision(
    recommended: Lists,
    relevant: Lists,
    n: int | None = None,
    *,
    denominator: Literal["relevant", "attainable"] = "relevant",
    per_user: bool = False,
) -> Result:
    """Mean of the precision at each relevant item's place: (1/D_u) Σ_{p≤n} rel_u(p) · (1/p) Σ_{q≤p} rel_u(q).

    A relevant item that is not among the n contributes 0. D_u = R_u is the convention of trec_eval; with
    D_u = min(n, R_u) a list of n relevant items reaches 1. The mean over users is called MAP.

    Parameters
    ----------
    recommended, relevant, n, per_user
        As in `precision`.
    denominator : {"relevant", "attainable"}
        D_u: R_u or min(n, R_u).

    Returns
    -------
    float or ndarray of shape (n_users,)
        Between 0 and 1. For each user, NaN marks those without relevant items.

    Raises
    ------
    DataError, ParameterError
        As `precision`.
    """
    return _of_lists(_convention("average_precision", denominator), recommended, relevant, n, per_user)


def reciprocal_rank(recommended: Lists, relevant: Lists, n: int | None = None, *, per_user: bool = False) -> Result:
    """One over the place of the first relevant item: 1 / min{p ≤ n : rel_u(p) = 1}; 0 where there is none.

    The mean over users is called MRR. Parameters, returns and errors are those of `precision`.
    """
    return _of_lists("reciprocal_rank", recommended, relevant, n, per_user)


def coverage(recommended: Lists, catalogue: Collection[Any], n: int | None = None) -> float:
    """Share of the catalogue that is recommended to anybody: |∪_u {first n of u's list}| / |catalogue|.

    Parameters
    ----------
    recommended, n
        As in `precision`.
    catalogue : collection of ids
        All that could be recommended, such as ``model.items_``; an id that is there twice counts once.

    Returns
    -------
    float
        Between 0 and 1.

    Raises
    ------
    DataError
        If the catalogue is empty or lacks an id that is recommended, or if a list holds an id twice.
    """
    lists = _read("recommended", recommended)
    vocabulary = catalogue if isinstance(catalogue, Vocabulary) else Vocabulary.encode(catalogue, name="item")[0]
    if len(vocabulary) == 0:
        raise DataError("the catalogue is empty: give the ids of all items that could be recommended")
    codes = vocabulary.positions(lists.ids, "mark", name="id in recommended")
    if len(codes) and codes.min() < 0:
        foreign = int(np.argmax(codes < 0))
        raise DataError(
            f"recommended[{lists.rows[foreign]}] lists {lists[foreign]!r}, which is not in the catalogue of "
            f"{len(vocabulary):,} ids: give the ids of all items that could be recommended"
        )
    listed = lists.laid_out(codes)[:, : _places(n, lists)]
    return len(np.unique(listed[listed >= 0])) / len(vocabulary)


def novelty(
    recommended: Lists, interactions: Interactions, n: int | None = None, *, per_user: bool = False
) -> Result:
    """Mean self-information of what is recommended, in bits: −log2(c_i / U), over the items i of a list.

    U is the number of users in `interactions` and c_i how many of them have item i (Zhou et al. 2010, "Solving the
    apparent diversity–accuracy dilemma of recommender systems"). An item that nobody has counts as if one had it. A
    list of what everybody has is worth 0 bits.

    Parameters
    ----------
    recommended, n, per_user
        As in `precision`.
    interactions : Interactions
        Who has what, usually what the model was fitted on.

    Returns
    -------
    float or ndarray of shape (n_users,)
        At least 0, in bits; the mean is over the users whose list is not empty, and NaN marks the others.

    Raises
    ------
    DataError
        If all lists are empty, a list holds an id twice, or an id is of a type that none of the interactions' has.
    """
    lists, interactions = _read("recommended", recommended), as_interactions(interactions)
    known = interactions.items.positions(lists.ids, "mark", name="item id in recommended")
    codes = np.where(known < 0, interactions.n_items, known)  # all items that nobody has share one code
    bits = self_information(np.append(interactions.item_counts, 0), interactions.n_users)
    values = mean_over_list(lists.laid_out(codes)[:, : _places(n, lists)], bits)
    return _averaged(values, per_user, "all lists are empty: nothing is recommended")


@dataclass(frozen=True, eq=False)
class _Entries:
    """The ids of many lists, one after the other, with the list and the place of each."""

    ids: NDArray[Any]
    rows: NDArray[np.int64]
    places: NDArray[np.int64]
    n_rows: int
    width: int

    def __getitem__(self, entry: int) -> Any:
        return self.ids[entry : entry + 1].tolist()[0]

    def laid_out(self, codes: NDArray[np.integer]) -> NDArray[np.int64]:
        """Put the codes of the ids in a row for each list; −1 where it is short."""
        listed = np.full((self.n_rows, self.width), -1, dtype=np.int64)
        listed[self.rows, self.places] = codes
        return listed


def _of_lists(name: str, recommended: Lists, relevant: Lists, n: int | None, per_user: bool) -> Result:
    lists, found = _read("recommended", recommended), _read("relevant", relevant, ordered=False)
    if lists.n_rows != found.n_rows:
        raise DataError(
            f"recommended has {lists.n_rows:,} lists and relevant has {found.n_rows:,}: give one of each for every "
            "user, an empty one where there is nothing"
        )
    n = _places(n, lists)
    vocabulary, codes = Vocabulary.encode(found.ids)
    listed = lists.laid_out(vocabulary.positions(lists.ids, "mark", name="id in recommended"))
    keys = np.unique(found.rows * len(vocabulary) + codes)  # a repeated id is one relevant item
    rows, wanted = np.divmod(keys, max(len(vocabulary), 1))
    marks = mark(listed, rows, wanted, len(vocabulary))
    values = measure(name, marks, np.bincount(rows, minlength=lists.n_rows).astype(np.int64), n)
    return _averaged(values, per_user, "no user has a relevant item")


def _averaged(values: NDArray[np.float64], per_user: bool, nothing: str) -> Result:
    check_flag("per_user", per_user)
    if per_user:
        return values
    measured = values[~np.isnan(values)]
    if len(measured) == 0:
        raise DataError(f"there is nothing to score: {nothing}")
    return float(measured.mean())


def _convention(name: str, denominator: str) -> str:
    check_choice("denominator", denominator, ("relevant", "attainable"))
    return name if denominator == "relevant" else f"attainable_{name}"


def _places(n: int | None, lists: _Entries) -> int:
    if n is None:
        return max(lists.width, 1)
    check_integer("n", n, minimum=1)
    return int(n)


def _read(name: str, lists: Any, *, ordered: bool = True) -> _Entries:
    """Take apart what the caller gave; the ids of an ordered list must be distinct."""
    if isinstance(lists, Recommendations):
        lists = lists.item_ids
    array = np.asarray(lists) if hasattr(lists, "__array__") else None
    if array is not None and array.ndim == 2:
        entries = _of_array(array)
    else:
        entries = _of_sequences(name, lists if array is None else array.tolist(), ordered)
    if ordered and len(entries.ids):
        _, codes = Vocabulary.encode(entries.ids, name=f"id in {name}")
        repeat = find_repeat(entries.rows.astype(np.int32), codes)
        if repeat is not None:
            row, places = entries.rows[repeat.row], sorted(entries.places[[repeat.earlier, repeat.row]] + 1)
            raise DataError(
                f"{name}[{row}] lists {entries[repeat.row]!r} twice, in places {places[0]} and {places[1]}: "
                "list every item once"
            )
    return entries


def _of_array(array: NDArray[Any]) -> _Entries:
    if array.dtype.kind in "iu":
        there = array != -1
    elif array.dtype.kind == "f":
        there = ~np.isnan(array)
    else:
        there = np.array([[not _is_pad(each) for each in row] for row in array.tolist()], bool).reshape(array.shape)
    rows, places = np.nonzero(there)
    return _Entries(as_ids(array[there], "id"), rows, places, len(array), array.shape[1])


def _of_sequences(name: str, lists: Any, ordered: bool) -> _Entries:
    if isinstance(lists, str | bytes) or not isinstance(lists, Iterable):
        raise DataError(f"{name} is {lists!r}: give a list of ids for each user")
    rows: list[list[Any]] = []
    for number, each in enumerate(lists):
        if isinstance(each, str | bytes) or not isinstance(each, Iterable):
            raise DataError(f"{name}[{number}] is {each!r}: give a list of ids for each user, even for a single id")
        if ordered and isinstance(each, set | frozenset) and len(each) > 1:
            raise DataError(f"{name}[{number}] is a {type(each).__name__}, which has no order: give a ranked list")
        rows.append(each.tolist() if isinstance(each, np.ndarray) else list(each))
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    ids = [each for row in rows for each in row]
    there = np.array([not _is_pad(each) for each in ids], dtype=bool)
    starts = np.cumsum(lengths) - lengths
    row_of = np.repeat(np.arange(len(rows)), lengths)
    place_of = np.arange(len(ids)) - np.repeat(starts, lengths)
    kept = [each for each, stays in zip(ids, there, strict=True) if stays]
    width = int(lengths.max(initial=0))
    return _Entries(as_ids(kept, "id"), row_of[there], place_of[there], len(rows), width)


def _is_pad(entry: Any) -> bool:
    return entry is None or (isinstance(entry, float) and entry != entry)
