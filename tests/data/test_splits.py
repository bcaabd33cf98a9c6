"""Training and test sets."""

from __future__ import annotations

import datetime as dt
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from halfstep.data import Interactions
from halfstep.data.splits import (
    k_folds,
    keep_known,
    split_by_time,
    split_fraction_per_user,
    split_held_out_users,
    split_leave_last_out,
    split_random,
    time_folds,
)
from halfstep.errors import DataError, HalfstepError, ParameterError


@st.composite
def timed_interactions(draw: st.DrawFn) -> Interactions:
    pairs = draw(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9)), min_size=2, max_size=40, unique=True))
    times = draw(st.lists(st.integers(0, 8), min_size=len(pairs), max_size=len(pairs)))
    return Interactions.from_arrays(*zip(*pairs, strict=True), np.arange(len(pairs)), times)


def rows(side: Interactions) -> list[int]:
    """Return the row numbers of a set, which are its values."""
    return side.values.astype(int).tolist()


def numbered(users: Any, items: Any, timestamps: Any = None) -> Interactions:
    return Interactions.from_arrays(users, items, np.arange(len(users)), timestamps)


def assert_splits(whole: Interactions, train: Interactions, test: Interactions) -> None:
    assert sorted(rows(train) + rows(test)) == rows(whole)
    for side in (train, test):
        assert side.users is whole.users
        assert side.items is whole.items
        assert rows(side) == sorted(rows(side))  # the order given


# --- by time ----------------------------------------------------------------------------------------


@given(timed_interactions(), st.floats(0.05, 0.95))
def test_test_set_is_latest_fraction(data: Interactions, fraction: float) -> None:
    size = round(fraction * len(data))
    if size in (0, len(data)):
        with pytest.raises(DataError, match=r"the (test|training) set of the split has none of the \d+ interactions"):
            split_by_time(data, fraction)
        return
    train, test = split_by_time(data, test_fraction=fraction)
    assert_splits(data, train, test)
    assert len(test) == size
    # whatever is tested on is later than all of training, or as late and given later
    assert max(zip(train.timestamps, rows(train), strict=True)) < min(zip(test.timestamps, rows(test), strict=True))


def test_ties_at_boundary_keep_order() -> None:
    data = numbered([1, 2, 3, 4, 5], [1] * 5, [7, 7, 9, 7, 7])
    train, test = split_by_time(data, 0.4)
    assert (rows(train), rows(test)) == ([0, 1, 3], [2, 4])


@pytest.mark.parametrize("at", [3, 2.5, np.int64(3)])
def test_at_a_number(at: Any) -> None:
    train, test = split_by_time(numbered([1, 2, 3, 4], [1] * 4, [3, 1, 4, 2]), at=at)
    assert (rows(train), rows(test)) == ([1, 3], [0, 2])


@pytest.mark.parametrize(
    "at",
    [
        "2020-01-02",
        "2020-01-02T01:00+01:00",
        dt.date(2020, 1, 2),
        dt.datetime(2020, 1, 2),
        dt.datetime(2020, 1, 2, tzinfo=dt.UTC),
        np.datetime64("2020-01-02"),
    ],
    ids=str,
)
def test_at_a_time(at: Any) -> None:
    data = numbered([1, 2, 3], [1] * 3, ["2020-01-03", "2020-01-01T23:59:59.999999", "2020-01-02"])
    train, test = split_by_time(data, at=at)
    assert (rows(train), rows(test)) == ([1], [0, 2])


@pytest.mark.parametrize("at", [0, 5])
def test_at_after_all_interactions(at: int) -> None:
    with pytest.raises(DataError, match="set of the split has none of the 2 interactions: change at, or"):
        split_by_time(numbered([1, 2], [1, 1], [1, 4]), at=at)


def test_at_of_the_wrong_kind() -> None:
    numbers = numbered([1, 2], [1, 1], [1, 4])
    dates = numbered([1, 2], [1, 1], ["2020-01-01", "2020-01-02"])
    with pytest.raises(ParameterError, match="at='2020-01-01', but the timestamps are numbers: give a number"):
        split_by_time(numbers, at="2020-01-01")
    with pytest.raises(ParameterError, match="at=3, but the timestamps are datetimes"):
        split_by_time(dates, at=3)
    for at in ("soon", float("nan")):
        with pytest.raises(ParameterError, match=f"at={at!r}: give a time or a finite number"):
            split_by_time(dates, at=at)


def test_exactly_one_of_test_fraction_and_at() -> None:
    data = numbered([1, 2], [1, 1], [1, 4])
    for both in ({}, {"test_fraction": 0.5, "at": 3}):
        with pytest.raises(ParameterError, match=r"set exactly one of test_fraction=\.\.\. and at=\.\.\."):
            split_by_time(data, **both)


def test_filters_of_test_set() -> None:
    #                rows: 0  1  2  3  4  5  6
    data = numbered([1, 1, 2, 1, 2, 2, 3], [1, 2, 1, 3, 2, 3, 1], range(7))
    assert rows(split_by_time(data, at=3)[1]) == [3, 4, 5, 6]
    assert rows(split_by_time(data, at=3, min_train_ratings=1)[1]) == [3, 4, 5]
    assert rows(split_by_time(data, at=3, min_train_ratings=2)[1]) == [3]
    assert rows(split_by_time(data, at=3, drop_unseen_items=True)[1]) == [4, 6]
    train, test = split_by_time(data, at=3, min_train_ratings=2, drop_unseen_items=True)
    assert rows(train) == [0, 1, 2]
    assert rows(test) == []


# --- keep_known -------------------------------------------------------------------------------------


def test_keep_known_error_for_different_vocabularies() -> None:
    data = numbered([1, 2], [1, 1], [1, 4])
    train, test = split_by_time(data, 0.5)
    assert rows(keep_known(test, train)) == [1]
    assert rows(keep_known(test, train, min_train_ratings=1)) == []
    with pytest.raises(DataError, match="do not share their vocabularies: create both by one split"):
        keep_known(numbered([3], [1]), train)
    with pytest.raises(ParameterError, match="min_train_ratings=-1: give an integer of at least 0"):
        keep_known(test, train, min_train_ratings=-1)


# --- leave last out ---------------------------------------------------------------------------------


@given(timed_interactions(), st.integers(1, 3), st.integers(1, 3))
def test_leave_last_out_equals_plain_loop(data: Interactions, n: int, least: int) -> None:
    expected = []
    for user in range(data.n_users):
        user_rows = [row for row in range(len(data)) if data.user_positions[row] == user]
        user_rows.sort(key=lambda row: (data.timestamps[row], row))
        if len(user_rows) >= n + least:
            expected += user_rows[-n:]
    if not expected:
        with pytest.raises(DataError, match=r"the test set of the split has none .*: change n or min_train_ratings"):
            split_leave_last_out(data, n=n, min_train_ratings=least)
        return
    train, test = split_leave_last_out(data, n=n, min_train_ratings=least)
    assert_splits(data, train, test)
    assert rows(test) == sorted(expected)
    assert train.user_counts.min() >= 1


@pytest.mark.parametrize("parameter", [{"n": 0}, {"n": 1.5}, {"min_train_ratings": 0}])
def test_leave_last_out_errors(parameter: dict[str, Any]) -> None:
    (name, value) = next(iter(parameter.items()))
    with pytest.raises(ParameterError, match=f"{name}={value}: give an integer of at least 1"):
        split_leave_last_out(numbered([1, 1], [1, 2], [1, 4]), **parameter)


# --- a fraction of each user ------------------------------------------------------------------------

ORDERS = st.sampled_from(["random", "time"])


@given(timed_interactions(), st.floats(0.01, 0.99), ORDERS, st.integers(1, 3), st.integers(0, 2**32))
def test_fraction_per_user(data: Interactions, fraction: float, order: Any, least: int, seed: int) -> None:
    options: Any = {"order": order, "min_train_ratings": least}
    sizes = [max(min(round(fraction * n), n - least), 0) for n in data.user_counts.tolist()]
    if sum(sizes) == 0:
        with pytest.raises(DataError, match=r"the test set of the split has none .*: change test_fraction or min_"):
            split_fraction_per_user(data, fraction, **options, random_state=seed)
        return
    train, test = split_fraction_per_user(data, fraction, **options, random_state=seed)
    assert_splits(data, train, test)
    assert test.user_counts.tolist() == sizes
    assert train.user_counts.min() >= 1  # no user is lost
    again = split_fraction_per_user(data, fraction, **options, random_state=np.random.default_rng(seed))
    assert rows(again[1]) == rows(test)
    if order == "time":
        for user in range(data.n_users):
            sides = [
                sorted((side.timestamps[k], rows(side)[k]) for k in np.flatnonzero(side.user_positions == user))
                for side in (train, test)
            ]
            assert not sides[1] or sides[0][-1] < sides[1][0]


def test_random_fraction_depends_only_on_seed() -> None:
    data = numbered(np.repeat(range(20), 10), np.tile(range(10), 20))
    splits = [rows(split_fraction_per_user(data, 0.3, random_state=seed)[1]) for seed in (0, 0, 1)]
    assert splits[0] == splits[1] != splits[2]
    times = [split_fraction_per_user(data, 0.3, random_state=0)[1].item_counts for _ in range(2)]
    assert times[0].tolist() == times[1].tolist()
    assert times[0].min() > 0  # of any of the ten places, not the last ones


def test_fraction_by_time() -> None:
    data = numbered([1] * 5 + [2], range(6), [3, 1, 2, 3, 0, 9])
    assert rows(split_fraction_per_user(data, 0.4, order="time")[1]) == [0, 3]
    with pytest.raises(DataError, match="no timestamps to split by"):
        split_fraction_per_user(numbered([1, 1], [1, 2]), 0.5, order="time")


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        ({"test_fraction": 1}, "test_fraction=1: give a number above 0 and below 1"),
        ({"order": "latest"}, "order='latest': give one of 'random', 'time'"),
        ({"min_train_ratings": 0}, "min_train_ratings=0: give an integer of at least 1"),
        ({"random_state": -1}, "random_state=-1: give None"),
    ],
)
def test_fraction_errors(parameter: Any, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        split_fraction_per_user(numbered([1, 1], [1, 2], [1, 4]), **parameter)


# --- held-out users ---------------------------------------------------------------------------------


@given(timed_interactions(), st.floats(0.05, 0.95), st.floats(0.01, 0.99), ORDERS, st.integers(0, 2**32))
def test_held_out_users(data: Interactions, of_users: float, of_entries: float, order: Any, seed: int) -> None:
    eligible = int((data.user_counts >= 2).sum())
    n_held_out = round(of_users * eligible)
    if n_held_out in (0, data.n_users):
        with pytest.raises(DataError, match=f"holds out {n_held_out} of {data.n_users} users"):
            split_held_out_users(data, of_users, of_entries, order=order, random_state=seed)
        return
    train, histories, test = split_held_out_users(data, of_users, of_entries, order=order, random_state=seed)
    assert sorted(rows(train) + rows(histories) + rows(test)) == rows(data)
    for side in (train, histories, test):
        assert rows(side) == sorted(rows(side))
        assert side.items is data.items
        for name in ("user_ids", "item_ids", "timestamps"):
            assert getattr(side, name).tolist() == getattr(data, name)[rows(side)].tolist()
    assert histories.users is not train.users
    assert histories.users == test.users
    assert len(test.users) == n_held_out
    assert sorted([*train.users, *test.users]) == sorted(data.users)  # no user is lost, and none is on both sides
    sizes = histories.user_counts + test.user_counts
    assert test.user_counts.tolist() == [min(max(round(of_entries * n), 1), n - 1) for n in sizes.tolist()]
    assert histories.user_counts.min() >= 1
    again = split_held_out_users(data, of_users, of_entries, order=order, random_state=np.random.default_rng(seed))
    assert [rows(side) for side in again] == [rows(train), rows(histories), rows(test)]
    if order == "time":
        for user in range(n_held_out):
            before = max((histories.timestamps[k], rows(histories)[k]) for k in rows_of_user(histories, user))
            assert before < min((test.timestamps[k], rows(test)[k]) for k in rows_of_user(test, user))


def rows_of_user(side: Interactions, user: int) -> list[int]:
    return np.flatnonzero(side.user_positions == user).tolist()


def test_held_out_users_depend_on_the_seed() -> None:
    data = numbered(np.repeat(range(20), 10), np.tile(range(10), 20))
    users = [[*split_held_out_users(data, 0.5, random_state=seed)[2].users] for seed in (0, 0, 1)]
    assert users[0] == users[1] != users[2]


def test_held_out_users_drop_unseen_items() -> None:
    data = numbered([1, 1, 2, 2, 2], ["a", "b", "a", "b", "only of 2"])
    seeds = [seed for seed in range(40) if 2 in split_held_out_users(data, 0.5, 0.9, random_state=seed)[2].users]
    assert 5 < len(seeds) < 35
    for seed in seeds:
        whole, kept = (
            split_held_out_users(data, 0.5, 0.9, drop_unseen_items=drop, random_state=seed) for drop in (False, True)
        )
        assert [rows(side) for side in kept[:2]] == [rows(side) for side in whole[:2]]
        assert rows(kept[2]) == [row for row in rows(whole[2]) if row != 4]


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        ({"user_fraction": 0}, "user_fraction=0: give a number above 0 and below 1"),
        ({"test_fraction": 1.5}, "test_fraction=1.5: give a number above 0 and below 1"),
        ({"order": None}, "order=None: give one of 'random', 'time'"),
        ({"order": "time"}, "no timestamps to split by"),
        ({"drop_unseen_items": 1}, "drop_unseen_items=1: give True or False"),
        (
            {"user_fraction": 0.1},
            "user_fraction=0.1 of 2 users with at least two interactions holds out 0 of 3 users",
        ),
    ],
)
def test_held_out_users_errors(parameter: Any, message: str) -> None:
    data = numbered([1, 1, 2, 2, 3], [1, 2, 1, 2, 1])
    with pytest.raises(HalfstepError, match=message):
        split_held_out_users(data, **{"user_fraction": 0.5, **parameter})


@pytest.mark.parametrize("split", [split_leave_last_out, lambda data: split_by_time(data, 0.5)])
def test_without_timestamps(split: Any) -> None:
    with pytest.raises(DataError, match=r"no timestamps to split by: set timestamp=\.\.\. to .* or use"):
        split(numbered([1, 1], [1, 2]))


# --- at random --------------------------------------------------------------------------------------


@given(timed_interactions(), st.integers(0, 2**32))
def test_random_splits(data: Interactions, seed: int) -> None:
    train, test = split_random(data, 0.5, random_state=seed)
    assert_splits(data, train, test)
    assert len(test) == round(0.5 * len(data))
    again = split_random(data, 0.5, random_state=np.random.default_rng(seed))
    assert rows(again[1]) == rows(test)


def test_random_split_depends_on_seed() -> None:
    data = numbered(range(100), [1] * 100)
    assert rows(split_random(data, random_state=0)[1]) != rows(split_random(data, random_state=1)[1])
    assert rows(split_random(data)[1]) != rows(split_random(data)[1])
    generator = np.random.default_rng(0)
    assert rows(split_random(data, random_state=generator)[1]) != rows(split_random(data, random_state=generator)[1])
    first, second = (next(k_folds(data, random_state=seed))[1] for seed in (0, 1))
    assert rows(first) != rows(second)


@given(timed_interactions(), st.integers(2, 6), st.integers(0, 9))
def test_folds_partition_interactions(data: Interactions, n_folds: int, seed: int) -> None:
    n_folds = min(n_folds, len(data))
    folds = list(k_folds(data, n_folds, random_state=seed))
    sizes = [len(test) for _, test in folds]
    for train, test in folds:
        assert_splits(data, train, test)
    assert sorted(row for _, test in folds for row in rows(test)) == rows(data)
    assert len(folds) == n_folds
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("fraction", [0, 1, 1.5, -0.1, float("nan"), "0.2", None, True])
def test_bad_fractions(fraction: Any) -> None:
    data = numbered([1, 2], [1, 1], [1, 4])
    with pytest.raises(ParameterError, match=r"test_fraction=.*: give a number above 0 and below 1"):
        split_random(data, fraction)


def test_errors_of_folds_are_raised_by_the_call() -> None:
    data = numbered([1, 2], [1, 1])
    with pytest.raises(ParameterError, match="n_folds=1: give an integer of at least 2"):
        k_folds(data, 1)
    with pytest.raises(ParameterError, match="n_folds=3 exceeds the 2 interactions"):
        k_folds(data, 3)


@pytest.mark.parametrize("random_state", [np.random.RandomState(0), -1, "0", 1.0])
def test_bad_random_states(random_state: Any) -> None:
    data = numbered(range(9), [1] * 9)
    for split in (split_random, k_folds):
        with pytest.raises(ParameterError, match=r"random_state=.*numpy\.random\.default_rng"):
            split(data, random_state=random_state)


@given(st.integers(1, 4), st.sampled_from([0.05, 0.1, 0.2]), st.integers(0, 1000))
def test_time_folds_test_on_later_interactions(n_folds: int, fraction: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(40, 120))
    when = rng.permutation(n)
    data = Interactions.from_arrays(np.arange(n), np.arange(n), timestamps=when)
    folds = list(time_folds(data, n_folds, test_fraction=fraction))
    size = round(fraction * n)
    assert len(folds) == n_folds
    for later, (train, test) in enumerate(folds):
        end = n - later * size  # the latest first
        assert sorted(test.timestamps) == list(range(end - size, end))
        assert sorted(train.timestamps) == list(range(end - size))
        assert train.users == test.users == data.users


def test_time_folds_filter_test_sets() -> None:
    data = Interactions.from_arrays([1, 1, 2, 1, 3, 1], list("abaccd"), timestamps=range(6))
    ((train, test),) = time_folds(data, 1, test_fraction=0.5)
    assert (len(train), len(test)) == (3, 3)
    ((_, test),) = time_folds(data, 1, test_fraction=0.5, min_train_ratings=2)
    assert test.user_ids.tolist() == [1, 1]
    ((_, test),) = time_folds(data, 1, test_fraction=0.5, drop_unseen_items=True)
    assert len(test) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_folds": 0}, "n_folds=0: give an integer of at least 1"),
        ({"n_folds": 5, "test_fraction": 0.2}, "n_folds=5 of test_fraction=0.2 leave no training interactions"),
        ({"test_fraction": 1.0}, "test_fraction=1.0: give a number above 0 and below 1"),
        ({"test_fraction": 0.01}, "n_folds=3 of test_fraction=0.01 of 6 interactions leave a set empty"),
    ],
)
def test_errors_of_time_folds_are_raised_by_the_call(options: Any, message: str) -> None:
    data = Interactions.from_arrays([1, 1, 2, 1, 3, 1], list("abaccd"), timestamps=range(6))
    with pytest.raises(HalfstepError, match=message):
        time_folds(data, **options)
