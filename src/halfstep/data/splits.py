"""Splits into training and test sets: by time, per user, at random, by held-out users, and in folds.

Training and test sets share the vocabularies of the data, except for held-out users. Interactions keep their order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from halfstep._support.checks import as_generator, check_choice, check_flag, check_integer
from halfstep.data import Interactions, Vocabulary, as_interactions
from halfstep.data.columns import as_timestamps
from halfstep.errors import DataError, ParameterError

Split = tuple[Interactions, Interactions]
Order = Literal["random", "time"]


def split_by_time(
    data: Interactions,
    test_fraction: float | None = None,
    *,
    at: float | str | date | np.datetime64 | None = None,
    min_train_ratings: int = 0,
    drop_unseen_items: bool = False,
) -> Split:
    """Split by time: train on earlier interactions, and test on later ones.

    The boundary is set by exactly one of `test_fraction` and `at`.

    Parameters
    ----------
    data : Interactions, or any data that `fit` accepts
        With timestamps.
    test_fraction : float, optional
        The fraction of interactions in the test set, above 0 and below 1. Interactions with equal timestamps at the
        boundary are ordered as given.
    at : number, datetime, date or ISO 8601 str, optional
        The start of the test set: a number if the timestamps are numbers, otherwise a time, in UTC unless it has a
        time zone.
    min_train_ratings, drop_unseen_items
        Filters of the test set; see `keep_known`.

    Returns
    -------
    train, test : Interactions

    Raises
    ------
    ParameterError
        If not exactly one of `test_fraction` and `at` is given, or if it is invalid.
    DataError
        If there are no timestamps, or if a set would be empty before `keep_known`.
    """
    data = as_interactions(data)
    timestamps = _timestamps(data)
    if (test_fraction is None) == (at is None):
        raise ParameterError("set exactly one of test_fraction=... and at=...")
    if at is not None:
        is_test = timestamps >= _time_like(timestamps, at)
    else:
        latest = np.argsort(timestamps, kind="stable")[len(data) - _test_size(data, test_fraction) :]
        is_test = _mask(len(data), latest)
    train, test = _train_and_test(data, is_test)
    test = keep_known(test, train, min_train_ratings=min_train_ratings, drop_unseen_items=drop_unseen_items)
    return train, test


def split_leave_last_out(data: Interactions, *, n: int = 1, min_train_ratings: int = 1) -> Split:
    """Test on the last interactions of each user, and train on the earlier ones.

    Parameters
    ----------
    data : Interactions, or any data that `fit` accepts
        With timestamps. Interactions with equal timestamps are ordered as given.
    n : int
        Number of test interactions of each user.
    min_train_ratings : int
        Minimum number of training interactions of a user with test interactions, at least 1. All interactions of
        other users are in the training set.

    Returns
    -------
    train, test : Interactions

    Raises
    ------
    ParameterError
        If `n` or `min_train_ratings` is below 1.
    DataError
        If there are no timestamps, or if no user has enough interactions.
    """
    data = as_interactions(data)
    check_integer("n", n, minimum=1)
    check_integer("min_train_ratings", min_train_ratings, minimum=1)
    sizes = np.where(data.user_counts >= n + min_train_ratings, n, 0)
    return _train_and_test(data, _last_of_each(data, sizes, _timestamps(data)))


def split_fraction_per_user(
    data: Interactions,
    test_fraction: float = 0.2,
    *,
    order: Order = "random",
    min_train_ratings: int = 1,
    random_state: int | np.random.Generator | None = None,
) -> Split:
    """Test on a fraction of the interactions of each user, and train on the others.

    The protocol of NGCF and LightGCN (He et al. 2020), with a fraction of 0.2 and the order "random".

    Parameters
    ----------
    data : Interactions, or any data that `fit` accepts
        With timestamps if ``order="time"``. Interactions with equal timestamps are ordered as given.
    test_fraction : float
        The fraction of the interactions of each user, above 0 and below 1; their number is rounded half to even.
    order : {"random", "time"}
        Whether to test on random interactions or on the latest.
    min_train_ratings : int
        Minimum number of training interactions of each user, at least 1.
    random_state : int, numpy.random.Generator or None
        With an int, the split is reproducible. It has no effect with ``order="time"``.

    Returns
    -------
    train, test : Interactions

    Raises
    ------
    ParameterError
        If a parameter is invalid.
    DataError
        If there are no timestamps and ``order="time"``, or if no user has enough interactions.
    """
    data = as_interactions(data)
    fraction = _checked_fraction("test_fraction", test_fraction)
    check_integer("min_train_ratings", min_train_ratings, minimum=1)
    keys = _order_of(data, order, as_generator(random_state))
    sizes = np.minimum(_share(data.user_counts, fraction), data.user_counts - min_train_ratings)
    return _train_and_test(data, _last_of_each(data, sizes, keys))


def split_held_out_users(
    data: Interactions,
    user_fraction: float = 0.1,
    test_fraction: float = 0.2,
    *,
    order: Order = "random",
    drop_unseen_items: bool = False,
    random_state: int | np.random.Generator | None = None,
) -> tuple[Interactions, Interactions, Interactions]:
    """Hold out random users, for strong generalization (Marlin 2004; Liang et al. 2018).

    Train on all other users, fold in the held-out users from a part of their interactions (their histories), and
    test on the rest::

        train, histories, test = hs.split_held_out_users(data)
        folded = hs.ALS(hs.Implicit()).fit(train).fold_in(histories)
        hs.evaluate(folded, test)

    Parameters
    ----------
    data : Interactions, or any data that `fit` accepts
        With timestamps if ``order="time"``.
    user_fraction : float
        The fraction of users to hold out, above 0 and below 1, among those with at least two interactions.
    test_fraction : float
        The fraction of the interactions of each held-out user in the test set, above 0 and below 1; their number is
        rounded, but at least one and not all.
    order : {"random", "time"}
        Whether the test set has random interactions of held-out users or the latest.
    drop_unseen_items : bool
        Whether to drop test interactions of items without training interactions.
    random_state : int, numpy.random.Generator or None
        With an int, the split is reproducible.

    Returns
    -------
    train, histories, test : Interactions
        All share the vocabulary of items. Histories and test share a vocabulary of held-out users; the training set
        has one of all other users.

    Raises
    ------
    ParameterError
        If a parameter is invalid.
    DataError
        If there are no timestamps and ``order="time"``, or if no users or all users would be held out.
    """
    data = as_interactions(data)
    of_users = _checked_fraction("user_fraction", user_fraction)
    of_interactions = _checked_fraction("test_fraction", test_fraction)
    check_flag("drop_unseen_items", drop_unseen_items)
    rng = as_generator(random_state)
    counts = data.user_counts
    eligible = np.flatnonzero(counts >= 2)
    n_held_out = round(of_users * len(eligible))
    if n_held_out in (0, np.count_nonzero(counts)):
        raise DataError(
            f"user_fraction={user_fraction:g} of {len(eligible):,} users with at least two interactions holds out "
            f"{n_held_out:,} of {np.count_nonzero(counts):,} users in total: hold out at least one, and not all"
        )
    held_out = _mask(data.n_users, rng.permutation(eligible)[:n_held_out])
    sizes = np.where(held_out, np.clip(_share(counts, of_interactions), 1, counts - 1), 0)
    is_test = _last_of_each(data, sizes, _order_of(data, order, rng))
    of_held_out = held_out[data.user_positions]
    train = _of_some_users(data.subset(~of_held_out), ~held_out)
    histories, test = (_of_some_users(data.subset(of_held_out & part), held_out) for part in (~is_test, is_test))
    if drop_unseen_items:
        test = test.subset(train.item_counts[test.item_positions] > 0)
    return train, histories, test


def split_random(
    data: Interactions, test_fraction: float = 0.2, *, random_state: int | np.random.Generator | None = None
) -> Split:
    """Test on random interactions.

    The training set has interactions later than those of the test set, unlike in production; use `split_by_time` for
    realistic estimates.

    Parameters
    ----------
    data : Interactions, or any data that `fit` accepts
    test_fraction : float
        The fraction of interactions in the test set, above 0 and below 1.
    random_state : int, numpy.random.Generator or None
        With an int, the split is reproducible.

    Returns
    -------
    train, test : Interactions

    Raises
    ------
    ParameterError
        If `test_fraction` or `random_state` is invalid.
    DataError
        If a set would be empty.
    """
    data = as_interactions(data)
    size = _test_size(data, test_fraction)
    rows = as_generator(random_state).permutation(len(data))[:size]
    return _train_and_test(data, _mask(len(data), rows))


def k_folds(
    data: Interactions, n_folds: int = 5, *, random_state: int | np.random.Generator | None = None
) -> Iterator[Split]:
    """Split randomly into folds of nearly equal size, and test on each in turn.

    Parameters
    ----------
    data : Interactions, or any data that `fit` accepts
    n_folds : int
        From 2 to the number of interactions.
    random_state : int, numpy.random.Generator or None
        With an int, the folds are reproducible.

    Returns
    -------
    iterator over (train, test)
        A pair for each fold; every interaction is in one test set.

    Raises
    ------
    ParameterError
        If `n_folds` or `random_state` is invalid; raised by the call, not by the first iteration.
    """
    data = as_interactions(data)
    check_integer("n_folds", n_folds, minimum=2)
    if n_folds > len(data):
        raise ParameterError(f"n_folds={n_folds} exceeds the {len(data)} interactions: lower it")
    folds = np.array_split(as_generator(random_state).permutation(len(data)), n_folds)
    return (_train_and_test(data, _mask(len(data), fold)) for fold in folds)


def time_folds(
    data: Interactions,
    n_folds: int = 3,
    *,
    test_fraction: float = 0.1,
    min_train_ratings: int = 0,
    drop_unseen_items: bool = False,
) -> Iterator[Split]:
    """Split the latest interactions into consecutive folds, and train for each on all earlier interactions.

    Of N interactions in time order, fold k = 1 … n tests on those from N·(1 − (n − k + 1)·f) to N·(1 − (n − k)·f),
    where f is `test_fraction`: with three folds of a tenth, the training sets are the first 70%, 80% and 90% of the
    data. Training interactions are never later than test interactions.

    Parameters
    ----------
    data : Interactions, or any data that `fit` accepts
        With timestamps. Interactions with equal timestamps are ordered as given.
    n_folds : int
        At least 1.
    test_fraction : float
        The fraction of all interactions in the test set of each fold; ``n_folds * test_fraction`` must be below 1.
    min_train_ratings, drop_unseen_items
        Filters of the test set; see `keep_known`.

    Returns
    -------
    iterator over (train, test)
        A pair for each fold, starting with the latest fold, which has the largest training set.

    Raises
    ------
    ParameterError
        If `n_folds` or `test_fraction` is invalid; raised by the call, not by the first iteration.
    DataError
        If there are no timestamps, or if test or training sets would be empty.
    """
    data = as_interactions(data)
    check_integer("n_folds", n_folds, minimum=1)
    check_integer("min_train_ratings", min_train_ratings, minimum=0)
    check_flag("drop_unseen_items", drop_unseen_items)
    size = _test_size(data, test_fraction)
    if n_folds * test_fraction >= 1:
        raise ParameterError(
            f"n_folds={n_folds} of test_fraction={test_fraction:g} leave no training interactions: lower one of them"
        )
    if size == 0 or n_folds * size >= len(data):
        raise DataError(
            f"{n_folds} folds of {test_fraction:g} of {len(data):,} interactions leave a set empty: change n_folds "
            "or test_fraction"
        )
    order = np.argsort(_timestamps(data), kind="stable")

    def folds() -> Iterator[Split]:
        for later in range(n_folds):
            end = len(data) - later * size
            train, test = (data.subset(np.sort(rows)) for rows in (order[: end - size], order[end - size : end]))
            yield (
                train,
                keep_known(test, train, min_train_ratings=min_train_ratings, drop_unseen_items=drop_unseen_items),
            )

    return folds()


def keep_known(
    test: Interactions,
    train: Interactions,
    *,
    min_train_ratings: int = 0,
    drop_unseen_items: bool = False,
) -> Interactions:
    """Keep the test interactions whose user, and optionally item, has training interactions.

    Parameters
    ----------
    test, train : Interactions
        Sets of one split.
    min_train_ratings : int
        Minimum number of training interactions of the user of a test interaction.
    drop_unseen_items : bool
        Whether to drop test interactions of items without training interactions.

    Returns
    -------
    Interactions
        The remaining interactions of `test`, possibly none.

    Raises
    ------
    DataError
        If the sets do not share their vocabularies.
    ParameterError
        If `min_train_ratings` is not an integer of at least 0.
    """
    check_integer("min_train_ratings", min_train_ratings, minimum=0)
    check_flag("drop_unseen_items", drop_unseen_items)
    for name, data in (("test", test), ("train", train)):
        if not isinstance(data, Interactions):
            raise DataError(f"{name} is a {type(data).__name__}: give the Interactions of one split")
    if test.users != train.users or test.items != train.items:
        raise DataError("test and train do not share their vocabularies: create both by one split")
    known = train.user_counts[test.user_positions] >= min_train_ratings
    if drop_unseen_items:
        known &= train.item_counts[test.item_positions] > 0
    return test.subset(known)


def _timestamps(data: Interactions) -> NDArray[Any]:
    if data.timestamps is None:
        raise DataError(
            "the interactions have no timestamps to split by: set timestamp=... to their column "
            "when creating the interactions, or use split_random"
        )
    return data.timestamps


def _train_and_test(data: Interactions, is_test: NDArray[np.bool_]) -> Split:
    n_test = int(np.count_nonzero(is_test))
    if n_test in (0, len(data)):
        name = "test" if n_test == 0 else "training"
        raise DataError(f"the {name} set of the split has none of the {len(data):,} interactions")
    return data.subset(~is_test), data.subset(is_test)


def _mask(length: int, rows: NDArray[np.integer]) -> NDArray[np.bool_]:
    mask = np.zeros(length, dtype=bool)
    mask[rows] = True
    return mask


def _test_size(data: Interactions, test_fraction: Any) -> int:
    return round(_checked_fraction("test_fraction", test_fraction) * len(data))


def _checked_fraction(name: str, fraction: Any) -> float:
    if not isinstance(fraction, float | int | np.floating) or not 0 < fraction < 1:
        raise ParameterError(f"{name} must be a number above 0 and below 1, not {fraction!r}")
    return float(fraction)


def _share(counts: NDArray[np.int64], fraction: float) -> NDArray[np.int64]:
    """Return a fraction of each count, rounded."""
    shares: NDArray[np.int64] = np.rint(fraction * counts).astype(np.int64)
    return shares


def _order_of(data: Interactions, order: Order, rng: np.random.Generator) -> NDArray[Any]:
    """Return a sort key for each interaction; the last ones are in the test set."""
    check_choice("order", order, ("random", "time"))
    return _timestamps(data) if order == "time" else rng.permutation(len(data))


def _last_of_each(data: Interactions, sizes: NDArray[np.integer], keys: NDArray[Any]) -> NDArray[np.bool_]:
    """Return a mask of the last interactions of each user in the stable order of the keys."""
    order = np.lexsort((keys, data.user_positions))
    users = data.user_positions[order]
    is_last = np.arange(len(data)) >= np.cumsum(data.user_counts)[users] - sizes[users]
    return _mask(len(data), order[is_last])


def _of_some_users(data: Interactions, users: NDArray[np.bool_]) -> Interactions:
    """Return interactions with a vocabulary of some users, which must include all their users."""
    numbers = (np.cumsum(users) - 1).astype(np.int32)
    return replace(
        data,
        users=Vocabulary.of_distinct(data.users.ids[users]),
        user_positions=numbers[data.user_positions],
    )


def _time_like(timestamps: NDArray[Any], at: Any) -> Any:
    """Convert `at` to the type of the timestamps; numbers and datetimes cannot be compared."""
    try:
        time = as_timestamps([at])
    except DataError:
        raise ParameterError(f"at must be a time or a finite number, not {at!r}") from None
    if (time.dtype.kind == "M") != (timestamps.dtype.kind == "M"):
        kind = "datetimes" if timestamps.dtype.kind == "M" else "numbers"
        raise ParameterError(f"at={at!r}, but the timestamps are {kind}: give one of these")
    return time[0]
