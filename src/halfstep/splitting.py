"""Train and test: by time, the last or a fraction of each user, at random, held-out users, in folds.

Both sides share the vocabularies of the whole, except that held-out users are in a vocabulary of their own, and keep
its entries in the order given.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from halfstep.errors import DataError, ParameterError
from halfstep.interactions import Interactions, Vocabulary, as_interactions
from halfstep.interactions.columns import as_timestamps
from halfstep.parameters import as_generator, check_choice, check_flag, check_integer

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
    """Train on the past, test on the future.

    Exactly one of `test_fraction` and `at` says where the future begins.

    Parameters
    ----------
    data : Interactions, or what `fit` takes
        With timestamps.
    test_fraction : float, optional
        The share of all entries, above 0 and below 1, that are latest. Entries of one instant at the boundary
        go to either side by the order given, the earlier ones into training.
    at : number, datetime, date or ISO 8601 str, optional
        The first instant of the test side: a number where the timestamps are numbers, else an instant, in UTC
        unless it has a time zone.
    min_train_ratings, drop_unseen_items
        Which test entries to keep; see `keep_known`.

    Returns
    -------
    train, test : Interactions

    Raises
    ------
    ParameterError
        If not exactly one of `test_fraction` and `at` is given, or if it makes no sense.
    DataError
        If there are no timestamps, or if a side would be empty before `keep_known`.
    """
    data = as_interactions(data)
    timestamps = _timestamps(data)
    if (test_fraction is None) == (at is None):
        raise ParameterError("say exactly one of test_fraction=... and at=...")
    if at is not None:
        is_test = timestamps >= _instant_like(timestamps, at)
    else:
        latest = np.argsort(timestamps, kind="stable")[len(data) - _test_size(data, test_fraction) :]
        is_test = _mark(len(data), latest)
    train, test = _both_sides(data, is_test)
    test = keep_known(test, train, min_train_ratings=min_train_ratings, drop_unseen_items=drop_unseen_items)
    return train, test


def split_leave_last_out(data: Interactions, *, n: int = 1, min_train_ratings: int = 1) -> Split:
    """Test on the last entries of each user, train on those before.

    Parameters
    ----------
    data : Interactions, or what `fit` takes
        With timestamps; entries of one instant count as later the later they are given.
    n : int
        How many entries of each user to test on.
    min_train_ratings : int
        How many entries a user must have left in training, at least 1; users with fewer than `n` more stay in
        training altogether.

    Returns
    -------
    train, test : Interactions

    Raises
    ------
    ParameterError
        If `n` or `min_train_ratings` is below 1.
    DataError
        If there are no timestamps, or if no user has enough entries.
    """
    data = as_interactions(data)
    check_integer("n", n, minimum=1)
    check_integer("min_train_ratings", min_train_ratings, minimum=1)
    sizes = np.where(data.user_counts >= n + min_train_ratings, n, 0)
    return _both_sides(data, _last_of_each(data, sizes, _timestamps(data)))


def split_fraction_per_user(
    data: Interactions,
    test_fraction: float = 0.2,
    *,
    order: Order = "random",
    min_train_ratings: int = 1,
    random_state: int | np.random.Generator | None = None,
) -> Split:
    """Test on a fraction of each user's entries, train on the others.

    The protocol of NGCF and LightGCN (He et al. 2020), with a fraction of 0.2 and the order "random".

    Parameters
    ----------
    data : Interactions, or what `fit` takes
        With timestamps if ``order="time"``; entries of one instant count as later the later they are given.
    test_fraction : float
        The share of each user's entries, above 0 and below 1, rounded to whole entries, halves to even numbers.
    order : {"random", "time"}
        Which entries to test on: random ones, or the latest.
    min_train_ratings : int
        How many entries each user keeps in training, at least 1; users with no more stay there altogether.
    random_state : int, numpy.random.Generator or None
        The same int gives the same split; None another one each time. It has no effect with ``order="time"``.

    Returns
    -------
    train, test : Interactions

    Raises
    ------
    ParameterError
        If a parameter makes no sense.
    DataError
        If there are no timestamps and ``order="time"``, or if no user has enough entries.
    """
    data = as_interactions(data)
    fraction = _checked_fraction("test_fraction", test_fraction)
    check_integer("min_train_ratings", min_train_ratings, minimum=1)
    keys = _order_of(data, order, as_generator(random_state))
    sizes = np.minimum(_share(data.user_counts, fraction), data.user_counts - min_train_ratings)
    return _both_sides(data, _last_of_each(data, sizes, keys))


def split_held_out_users(
    data: Interactions,
    user_fraction: float = 0.1,
    test_fraction: float = 0.2,
    *,
    order: Order = "random",
    drop_unseen_items: bool = False,
    random_state: int | np.random.Generator | None = None,
) -> tuple[Interactions, Interactions, Interactions]:
    """Hold out random users with all their entries: strong generalization (Marlin 2004; Liang et al. 2018).

    Train on all other users, fold the held-out ones in from a part of their entries, their histories, and test on the
    rest::

        train, histories, test = hs.split_held_out_users(data)
        folded = hs.ALS(hs.Implicit()).fit(train).fold_in(histories)
        hs.evaluate(folded, test)

    Parameters
    ----------
    data : Interactions, or what `fit` takes
        With timestamps if ``order="time"``.
    user_fraction : float
        The share of users to hold out, above 0 and below 1, of those with at least two entries.
    test_fraction : float
        The share of each held-out user's entries to test on, above 0 and below 1, rounded to whole entries, but at
        least one and not all.
    order : {"random", "time"}
        Which entries of a held-out user to test on: random ones, or the latest.
    drop_unseen_items : bool
        Whether to drop test entries whose item has no training entry.
    random_state : int, numpy.random.Generator or None
        The same int gives the same split; None another one each time.

    Returns
    -------
    train, histories, test : Interactions
        All share the vocabulary of items. Histories and test share that of the held-out users; training has one of
        all others.

    Raises
    ------
    ParameterError
        If a parameter makes no sense.
    DataError
        If there are no timestamps and ``order="time"``, or if no user would be held out, or none trained on.
    """
    data = as_interactions(data)
    of_users = _checked_fraction("user_fraction", user_fraction)
    of_entries = _checked_fraction("test_fraction", test_fraction)
    check_flag("drop_unseen_items", drop_unseen_items)
    rng = as_generator(random_state)
    counts = data.user_counts
    eligible = np.flatnonzero(counts >= 2)
    n_held_out = round(of_users * len(eligible))
    if n_held_out in (0, np.count_nonzero(counts)):
        raise DataError(
            f"user_fraction={user_fraction:g} of {len(eligible):,} users with at least two entries holds out "
            f"{n_held_out:,}, of {np.count_nonzero(counts):,} users in all: hold out at least one, and not all"
        )
    held_out = _mark(data.n_users, rng.permutation(eligible)[:n_held_out])
    sizes = np.where(held_out, np.clip(_share(counts, of_entries), 1, counts - 1), 0)
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
    """Test on entries drawn at random, each as likely as any other.

    A model tested so has seen the future; `split_by_time` says what it would be worth in use.

    Parameters
    ----------
    data : Interactions, or what `fit` takes
    test_fraction : float
        The share of all entries, above 0 and below 1.
    random_state : int, numpy.random.Generator or None
        The same int gives the same split; None another one each time.

    Returns
    -------
    train, test : Interactions

    Raises
    ------
    ParameterError
        If `test_fraction` or `random_state` makes no sense.
    DataError
        If a side would be empty.
    """
    data = as_interactions(data)
    size = _test_size(data, test_fraction)
    drawn = as_generator(random_state).permutation(len(data))[:size]
    return _both_sides(data, _mark(len(data), drawn))


def k_folds(
    data: Interactions, n_folds: int = 5, *, random_state: int | np.random.Generator | None = None
) -> Iterator[Split]:
    """Cut the entries at random into folds of nearly one size, and test on each in turn.

    Parameters
    ----------
    data : Interactions, or what `fit` takes
    n_folds : int
        From 2 to the number of entries.
    random_state : int, numpy.random.Generator or None
        The same int gives the same folds; None others each time.

    Returns
    -------
    iterator over (train, test)
        One pair for each fold; every entry is on the test side once.

    Raises
    ------
    ParameterError
        At once, not at the first fold, if `n_folds` or `random_state` makes no sense.
    """
    data = as_interactions(data)
    check_integer("n_folds", n_folds, minimum=2)
    if n_folds > len(data):
        raise ParameterError(f"n_folds is {n_folds}, but there are only {len(data)} entries: ask for fewer")
    folds = np.array_split(as_generator(random_state).permutation(len(data)), n_folds)
    return (_both_sides(data, _mark(len(data), fold)) for fold in folds)


def time_folds(
    data: Interactions,
    n_folds: int = 3,
    *,
    test_fraction: float = 0.1,
    min_train_ratings: int = 0,
    drop_unseen_items: bool = False,
) -> Iterator[Split]:
    """Cut the latest entries into folds one after the other, and train for each on all that came before it.

    Of entries in the order of time, fold k = 1 … n tests on those from N·(1 − (n − k + 1)·f) up to N·(1 − (n − k)·f),
    where f is `test_fraction`: with three folds of a tenth, training ends at 70, 80 and 90% of the data. No model
    sees the future, and together the folds hold up to n times as many test entries as one split of that size.

    Parameters
    ----------
    data : Interactions, or what `fit` takes
        With timestamps; entries of one instant count as later the later they are given.
    n_folds : int
        At least 1.
    test_fraction : float
        The share of all entries that each fold tests on; ``n_folds * test_fraction`` must leave a share to train on.
    min_train_ratings, drop_unseen_items
        Which test entries to keep; see `keep_known`.

    Returns
    -------
    iterator over (train, test)
        One pair for each fold, the latest first: it has the most to learn from, and is most like what comes next.

    Raises
    ------
    ParameterError
        At once, not at the first fold, if `n_folds` or `test_fraction` makes no sense.
    DataError
        If there are no timestamps, or if the folds would be empty or leave nothing to train on.
    """
    data = as_interactions(data)
    check_integer("n_folds", n_folds, minimum=1)
    check_integer("min_train_ratings", min_train_ratings, minimum=0)
    check_flag("drop_unseen_items", drop_unseen_items)
    size = _test_size(data, test_fraction)
    if n_folds * test_fraction >= 1:
        raise ParameterError(
            f"n_folds={n_folds} of test_fraction={test_fraction:g} leave nothing to train on: lower one of them"
        )
    if size == 0 or n_folds * size >= len(data):
        raise DataError(
            f"{n_folds} folds of {test_fraction:g} of {len(data):,} entries are too small to test on: ask for fewer, "
            "or larger ones"
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
    """Keep the test entries whose user, and maybe item, the training side knows something of.

    Parameters
    ----------
    test, train : Interactions
        Two sides of one split.
    min_train_ratings : int
        How many training entries the user of a test entry must have.
    drop_unseen_items : bool
        Whether to drop test entries whose item has no training entry.

    Returns
    -------
    Interactions
        Some entries of `test`, and there may be none.

    Raises
    ------
    DataError
        If the two do not share their vocabularies.
    ParameterError
        If `min_train_ratings` is no integer, or negative.
    """
    check_integer("min_train_ratings", min_train_ratings, minimum=0)
    check_flag("drop_unseen_items", drop_unseen_items)
    for name, side in (("test", test), ("train", train)):
        if not isinstance(side, Interactions):
            raise DataError(f"{name} is a {type(side).__name__}: give Interactions, both sides of one split")
    if test.users != train.users or test.items != train.items:
        raise DataError("test and train do not share their users and items: make both by one split")
    known = train.user_counts[test.user_positions] >= min_train_ratings
    if drop_unseen_items:
        known &= train.item_counts[test.item_positions] > 0
    return test.subset(known)


def _timestamps(data: Interactions) -> NDArray[Any]:
    if data.timestamps is None:
        raise DataError(
            "the interactions have no timestamps to split by: name their column by timestamp=... "
            "when making them, or use split_random"
        )
    return data.timestamps


def _both_sides(data: Interactions, is_test: NDArray[np.bool_]) -> Split:
    n_test = int(np.count_nonzero(is_test))
    if n_test in (0, len(data)):
        side = "test" if n_test == 0 else "training"
        raise DataError(f"the split leaves none of the {len(data):,} entries on the {side} side")
    return data.subset(~is_test), data.subset(is_test)


def _mark(length: int, rows: NDArray[np.integer]) -> NDArray[np.bool_]:
    marks = np.zeros(length, dtype=bool)
    marks[rows] = True
    return marks


def _test_size(data: Interactions, test_fraction: Any) -> int:
    """Round the test side's share to whole entries."""
    return round(_checked_fraction("test_fraction", test_fraction) * len(data))


def _checked_fraction(name: str, fraction: Any) -> float:
    if not isinstance(fraction, float | int | np.floating) or not 0 < fraction < 1:
        raise ParameterError(f"{name} must be a number above 0 and below 1, not {fraction!r}")
    return float(fraction)


def _share(counts: NDArray[np.int64], fraction: float) -> NDArray[np.int64]:
    """Round a share of each count to a whole number."""
    shares: NDArray[np.int64] = np.rint(fraction * counts).astype(np.int64)
    return shares


def _order_of(data: Interactions, order: Order, rng: np.random.Generator) -> NDArray[Any]:
    """Return a key for each entry by which the last ones are tested on."""
    check_choice("order", order, ("random", "time"))
    return _timestamps(data) if order == "time" else rng.permutation(len(data))


def _last_of_each(data: Interactions, sizes: NDArray[np.integer], keys: NDArray[Any]) -> NDArray[np.bool_]:
    """Mark the last entries of each user in the order of the keys, equal ones as given."""
    order = np.lexsort((keys, data.user_positions))
    users = data.user_positions[order]
    is_last = np.arange(len(data)) >= np.cumsum(data.user_counts)[users] - sizes[users]
    return _mark(len(data), order[is_last])


def _of_some_users(entries: Interactions, users: NDArray[np.bool_]) -> Interactions:
    """Return entries with a vocabulary of some users, who have all of them."""
    numbers = (np.cumsum(users) - 1).astype(np.int32)
    return replace(
        entries,
        users=Vocabulary.of_distinct(entries.users.ids[users]),
        user_positions=numbers[entries.user_positions],
    )


def _instant_like(timestamps: NDArray[Any], at: Any) -> Any:
    """Read `at` as an instant of the timestamps' kind; nobody can compare 881250949 with a date."""
    try:
        instant = as_timestamps([at])
    except DataError:
        raise ParameterError(f"at must be an instant or a finite number, not {at!r}") from None
    if (instant.dtype.kind == "M") != (timestamps.dtype.kind == "M"):
        kind = "datetimes" if timestamps.dtype.kind == "M" else "numbers"
        raise ParameterError(f"at is {at!r}, but the timestamps are {kind}: give one of these")
    return instant[0]
