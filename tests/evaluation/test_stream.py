"""`evaluate_stream`, compared to a reference that fits again for every event."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import halfstep as hs
from halfstep.errors import DataError, ParameterError
from thorough import examples


class Learning(hs.Popularity):
    """Popularity that is fitted again on all interactions by each update."""

    def partial_fit(self, event):
        assert len(event) == len(event.users) == len(event.items) == 1  # nothing of what comes later
        assert event.timestamps is not None
        old = self.interactions_
        users = [*old.user_ids.tolist(), *event.user_ids.tolist()]
        items = [*old.item_ids.tolist(), *event.item_ids.tolist()]
        return self.fit(hs.Interactions.from_arrays(users, items, np.r_[old.values, event.values]))


@st.composite
def streams(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    def table(users, items, size):
        u, i = np.divmod(rng.permutation(len(users) * len(items))[:size], len(items))
        times = rng.integers(0, 10, len(u))
        return hs.Interactions.from_arrays([users[k] for k in u], [items[k] for k in i], None, times)

    items = [f"i{k:02}" for k in range(12)]
    return table([*"abcdef"], items[:9], draw(st.integers(10, 40))), table(
        [*"defgh"], items, draw(st.integers(1, 30))
    )


def naive(train, stream, n, update):
    """Return the positions in lists of popularity, and the numbers of unknown and skipped events."""
    history = list(zip(train.user_ids.tolist(), train.item_ids.tolist(), strict=True))
    learnt, ranks, unknown, repeats = list(history), [], [0, 0], 0
    for k in np.argsort(stream.timestamps, kind="stable"):
        user, item = stream.user_ids[k], stream.item_ids[k]
        if (user, item) in history:
            repeats += 1
            continue
        known = learnt if update else history
        unknown[0] += user not in {u for u, _ in known}
        unknown[1] += item not in {i for _, i in known}
        seen = {i for u, i in learnt if u == user}
        times = {i: sum(j == i for _, j in known) for i in {i for _, i in known}}
        listed = sorted(set(times) - seen, key=lambda i: (-times[i], i))[:n]
        ranks.append(listed.index(item) + 1 if item in listed else 0)
        learnt.append((user, item))
    return ranks, unknown, repeats


@examples(40)
@given(problem=streams(), n=st.integers(1, 15), update=st.booleans())
def test_positions_equal_reference(problem, n, update):
    train, stream = problem
    model = Learning().fit(train)
    ranks, unknown, repeats = naive(train, stream, n, update)
    assume({*stream.user_ids} & {*train.users} and {*stream.item_ids} & {*train.items})
    if not ranks:
        with pytest.raises(DataError, match="all events of the stream are in the training data"):
            hs.evaluate_stream(model, stream, n=n, update=update)
        return
    result = hs.evaluate_stream(model, stream, ["hit_rate", "ndcg", "reciprocal_rank"], n, update=update, resamples=9)
    assert result.ranks.tolist() == ranks
    assert [result.n_unknown_users, result.n_unknown_items] == unknown
    assert result.n_repeats == repeats
    found = np.array(ranks)
    np.testing.assert_array_equal(result.per_event("hit_rate"), found > 0)
    expected = np.where(found > 0, np.log(2) / np.log(np.maximum(found, 1) + 1), 0)
    np.testing.assert_allclose(result.per_event("ndcg"), expected)
    assert result["ndcg"] == pytest.approx(expected.mean())
    assert result["reciprocal_rank"] == pytest.approx(np.where(found > 0, 1 / np.maximum(found, 1), 0).mean())


def asked_one_by_one(model, stream, n):
    """Return the positions in the lists of a model without updates, one event at a time."""
    had: dict = {}
    ranks = []
    for user, item in zip(stream.user_ids.tolist(), stream.item_ids.tolist(), strict=True):
        listed = model.recommend([user], n, exclude={user: had.setdefault(user, [])}).item_ids[0].tolist()
        ranks.append(listed.index(item) + 1 if item in listed else 0)
        had[user].append(item)
    return ranks


OBJECTIVES = {"implicit": hs.Implicit(missing_weight=0.1), "explicit": hs.Explicit(biases=True)}


@cache
def movielens_one_by_one(name, n):
    """Return a model, a stream, and the positions."""
    train, stream = hs.split_by_time(hs.datasets.movielens_100k(), 0.1)
    stream = replace(stream.subset(np.arange(300)), timestamps=None)
    model = hs.ALS(OBJECTIVES[name], rank=4, iterations=2, random_state=0).fit(train)
    return model, stream, asked_one_by_one(model, stream, n)


@pytest.mark.slow
@pytest.mark.parametrize("at_once", [1, 700, 1 << 20])
@pytest.mark.parametrize("n", [1, 20, 1600, 5000])
def test_lists_before_each_event(monkeypatch, n, at_once):
    monkeypatch.setattr("halfstep.evaluation.stream.POSITIONS_AT_ONCE", at_once)
    for name in OBJECTIVES:
        model, stream, expected = movielens_one_by_one(name, n)
        result = hs.evaluate_stream(model, stream, n=n, update=False, resamples=2)
        assert result.ranks.tolist() == expected


def test_folded_in_users_with_items_unknown_to_histories():
    train = hs.Interactions.from_arrays([1, 1, 2, 2, 3], ["x", "y", "x", "z", "w"])
    model = hs.ALS(hs.Implicit(), rank=2, iterations=3, random_state=0).fit(train)
    folded = model.fold_in({"new": ["x"], "other": ["y"]})
    stream = hs.Interactions.from_arrays(["new", "new", "who", "new"], ["y", "w", "x", "unseen"])
    result = hs.evaluate_stream(folded, stream, n=4, update=False, resamples=2)
    assert result.ranks.tolist() == asked_one_by_one(folded, stream, 4)
    assert (result.n_unknown_users, result.n_unknown_items) == (1, 1)


def test_model_is_unchanged():
    train = hs.Interactions.from_arrays([1, 1, 2], ["x", "y", "x"])
    model = Learning().fit(train)
    hs.evaluate_stream(model, hs.Interactions.from_arrays([2, 3], ["y", "z"], None, [1, 2]))
    assert model.interactions_ is train
    assert model.item_biases_.tolist() == [2, 1]


def test_events_are_sorted_stably_by_time():
    train = hs.Interactions.from_arrays([1, 2], ["x", "y"])
    stream = hs.Interactions.from_arrays([5, 1, 7, 8], ["y", "y", "y", "x"], None, [3, 1, 2, 1])
    result = hs.evaluate_stream(Learning().fit(train), stream)
    assert result.users.tolist() == [1, 8, 7, 5]
    assert result.timestamps.tolist() == [1, 1, 2, 3]
    frozen = hs.evaluate_stream(hs.Popularity().fit(train), replace(stream, timestamps=None), update=False)
    assert frozen.users.tolist() == [5, 1, 7, 8]


def test_several_cutoffs():
    train = hs.Interactions.from_arrays([1, 1, 1, 2, 2, 3, 9], [*"xyzxyxw"])  # x, y, w, z in this order
    stream = hs.Interactions.from_arrays([7, 8, 9], [*"xyz"], None, [1, 2, 3])
    result = hs.evaluate_stream(hs.Popularity().fit(train), stream, n=[1, 2, 50], update=False)
    assert result.ranks.tolist() == [1, 2, 3]
    assert [result[f"hit_rate@{n}"] for n in (1, 2, 50)] == [1 / 3, 2 / 3, 1]


def test_compare_with_and_without_updates():
    ratings = hs.datasets.movielens_100k()
    train, late = hs.split_by_time(ratings, test_fraction=0.1)
    stream = late.subset(np.arange(len(late))[:300])
    model = Learning().fit(train)
    frozen = hs.evaluate_stream(model, stream, update=False)
    again = hs.evaluate_stream(hs.Popularity().fit(train), stream, update=False)
    assert frozen.ranks.tolist() == again.ranks.tolist()
    row = frozen.compared_with(again, "ndcg")
    assert (row.model, row.value, row.low, row.high) == ("Learning − Popularity", 0, 0, 0)
    with pytest.raises(DataError, match="the two evaluations are of different events"):
        frozen.compared_with(hs.evaluate_stream(model, stream.subset([0]), update=False), "ndcg")


def test_compared_events_may_have_other_vocabularies():
    train = hs.Interactions.from_arrays([1, 2, 3], ["x", "y", "z"])
    stream = hs.Interactions.from_arrays([1, 2, 3, 1], ["y", "z", "x", "z"])
    backwards = replace(stream, users=hs.Vocabulary([3, 2, 1]), user_positions=2 - stream.user_positions)
    model = hs.Popularity().fit(train)
    one, two = (hs.evaluate_stream(model, events, n=1, update=False) for events in (stream, backwards))
    assert one["hit_rate"] == 0.75  # only the second is a miss
    assert one.compared_with(two, "hit_rate")[3:] == (0, 0, 0)


def test_intervals_resample_users():
    """Intervals are wide for one user with a hundred hits and one with a hundred misses."""
    train = hs.Interactions.from_arrays(np.repeat([0, 1], 100), np.arange(200))
    hits = hs.Interactions.from_arrays(np.repeat([0, 1], 100), np.r_[np.arange(100, 200), np.arange(1000, 1100)])
    result = hs.evaluate_stream(hs.Popularity().fit(train), hits, n=100, update=False)
    row = result.rows[0]
    assert (row.value, row.low, row.high) == (0.5, 0, 1)


def test_stream_tables_print_and_convert():
    train = pl.DataFrame({"user": [1, 2, 2], "item": ["x", "x", "y"]})
    stream = pl.DataFrame({"user": [1, 2, 3], "item": ["y", "x", "z"], "timestamp": [1, 2, 3]})
    result = hs.evaluate_stream(hs.Popularity().fit(train), stream, n=5, update=False)
    lines = repr(result).splitlines()
    assert lines[0] == ("StreamEvaluation on 2 events; 1 of unknown users; 1 of unknown items; 1 repeat skipped")
    assert lines[1].split() == ["hit_rate@5", "ndcg@5"]
    assert lines[2] == "Popularity  0.5000 (0.0000 to 1.0000)  0.5000 (0.0000 to 1.0000)"
    frame = result.to_frame()
    assert isinstance(frame, pl.DataFrame)
    assert frame.columns == ["user", "item", "timestamp", "rank", "hit_rate@5", "ndcg@5"]
    assert frame["rank"].to_list() == [1, 0]
    shown = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert (shown["n_events"], shown["n_repeats"], shown["rows"][0]["value"]) == (2, 1, 0.5)


def test_errors_of_evaluate_stream():
    model = hs.Popularity().fit(hs.Interactions.from_arrays([1, 2], ["x", "y"]))
    stream = hs.Interactions.from_arrays([1], ["y"])
    with pytest.raises(ParameterError, match="unknown metric 'coverage'"):
        hs.evaluate_stream(model, stream, "coverage", update=False)
    with pytest.raises(ParameterError, match="n=0: give an integer of at least 1"):
        hs.evaluate_stream(model, stream, n=0, update=False)
    with pytest.raises(DataError, match="all events of the stream are in the training data"):
        hs.evaluate_stream(model, hs.Interactions.from_arrays([1], ["x"]), update=False)
    if not hasattr(model, "partial_fit"):
        with pytest.raises(ParameterError, match="Popularity does not support incremental updates: set update=False"):
            hs.evaluate_stream(model, stream)
