"""Splits into training and test sets: by time, per user, at random, by held-out users, and in folds.

Training and test sets share the vocabularies of the data, except for held-out users. Interactions keep their order.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import numpy as np

from halfstep._support.checks import as_generator, check_flag, check_integer
from halfstep.data import Interactions, as_interactions
from halfstep.data.split_parts import (
    Order,
    Split,
    checked_fraction,
    last_of_each,
    mask_of,
    order_of,
    share_of,
    size_of_test_set,
    time_like,
    timestamps_of,
    train_and_test,
    with_some_users,
)
from halfstep.errors import DataError, ParameterError


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
    timestamps = timestamps_of(data)
    if (test_fraction is None) == (at is None):
        raise ParameterError("set exactly one of test_fraction=... and at=...")
    if at is not None:
        is_test = timestamps >= time_like(timestamps, at)
    else:
        latest = np.argsort(timestamps, kind="stable")[len(data) - size_of_test_set(data, test_fraction) :]
        is_test = mask_of(len(data), latest)
    train, test = train_and_test(data, is_test, "test_fraction" if at is None else "at")
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
    return train_and_test(data, last_of_each(data, sizes, timestamps_of(data)), "n or min_train_ratings")


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
    fraction = checked_fraction("test_fraction", test_fraction)
    check_integer("min_train_ratings", min_train_ratings, minimum=1)
    keys = order_of(data, order, as_generator(random_state))
    sizes = np.minimum(share_of(data.user_counts, fraction), data.user_counts - min_train_ratings)
    return train_and_test(data, last_of_each(data, sizes, keys), "test_fraction or min_train_ratings")


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
    of_users = checked_fraction("user_fraction", user_fraction)
    of_interactions = checked_fraction("test_fraction", test_fraction)
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
    held_out = mask_of(data.n_users, rng.permutation(eligible)[:n_held_out])
    sizes = np.where(held_out, np.clip(share_of(counts, of_interactions), 1, counts - 1), 0)
    is_test = last_of_each(data, sizes, order_of(data, order, rng))
    of_held_out = held_out[data.user_positions]
    train = with_some_users(data.subset(~of_held_out), ~held_out)
    histories, test = (with_some_users(data.subset(of_held_out & part), held_out) for part in (~is_test, is_test))
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
    size = size_of_test_set(data, test_fraction)
    rows = as_generator(random_state).permutation(len(data))[:size]
    return train_and_test(data, mask_of(len(data), rows), "test_fraction")


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
    return (train_and_test(data, mask_of(len(data), fold), "n_folds") for fold in folds)


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
    size = size_of_test_set(data, test_fraction)
    if n_folds * test_fraction >= 1:
        raise ParameterError(
            f"n_folds={n_folds} of test_fraction={test_fraction:g} leave no training interactions: lower one of them"
        )
    if size == 0 or n_folds * size >= len(data):
        raise DataError(
            f"n_folds={n_folds} of test_fraction={test_fraction:g} of {len(data):,} interactions leave a set empty: "
            "change one of them"
        )
    order = np.argsort(timestamps_of(data), kind="stable")

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
    test: Interactions, train: Interactions, *, min_train_ratings: int = 0, drop_unseen_items: bool = False
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
            raise DataError(f"{name} is of type {type(data).__name__}: give the Interactions of one split")
    if test.users != train.users or test.items != train.items:
        raise DataError("test and train do not share their vocabularies: create both by one split")
    known = train.user_counts[test.user_positions] >= min_train_ratings
    if drop_unseen_items:
        known &= train.item_counts[test.item_positions] > 0
    return test.subset(known)
