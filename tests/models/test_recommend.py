"""`recommend`, `similar_items` and `similar_users`: what is listed, what is not, and how it is shown."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import halfstep as hs
import reference
from halfstep.errors import DataError, ParameterError, UnknownIdError
from halfstep.solver import top_n
from thorough import examples


@pytest.fixture(scope="module")
def ratings() -> hs.Interactions:
    return hs.datasets.movielens_100k()


@pytest.fixture(scope="module")
def model(ratings: hs.Interactions) -> hs.ALS:
    return hs.ALS(hs.Implicit(), rank=8, iterations=3, random_state=0).fit(ratings)


@pytest.fixture(scope="module")
def small() -> hs.ALS:
    users = ["ann", "ann", "bob", "bob", "cat", "cat", "cat"]
    items = ["tea", "milk", "tea", "rum", "milk", "rum", "gin"]
    data = hs.Interactions.from_arrays(users, items, [5, 3, 4, 1, 2, 5, 4])
    return hs.ALS(hs.Explicit(biases=True), rank=2, random_state=0).fit(data)


def test_every_user_of_movielens(model: hs.ALS, ratings: hs.Interactions) -> None:
    """No item that was seen, none twice, none missing: against the twin, all 943 users."""
    n = 25
    lists = model.recommend(n=n)
    allowed = ratings.to_sparse().toarray() == 0
    expected = model.user_factors_.astype(float) @ model.item_factors_.astype(float).T
    for u in range(ratings.n_users):
        found = lists.item_positions[u]
        assert len(set(found.tolist())) == n
        assert allowed[u, found].all()
        left_out = np.setdiff1d(np.flatnonzero(allowed[u]), found)
        assert expected[u, found].min() >= expected[u, left_out].max() - 1e-12
        assert (np.diff(lists.scores[u]) <= 0).all()


def test_lists_are_short_where_the_catalog_is(model: hs.ALS, ratings: hs.Interactions) -> None:
    lists = model.recommend(n=5000)
    np.testing.assert_array_equal(lists.counts, ratings.n_items - ratings.user_counts)
    assert lists.item_positions.shape == (943, 1682)
    assert (lists.item_positions[np.isnan(lists.scores)] == -1).all()


def test_scores_are_those_of_predict(small: hs.ALS) -> None:
    lists = small.recommend(n=4, exclude_seen=False)
    for user, entries in lists:
        items, scores = zip(*entries, strict=True)
        np.testing.assert_allclose(scores, small.predict(user, list(items)), rtol=1e-12)


@examples(40)
@given(seed=st.integers(0, 2**32 - 1), mapped=st.booleans(), restricted=st.sampled_from(["no", "all", "each"]))
def test_lists_to_exclude_and_to_choose_from(seed: int, mapped: bool, restricted: str) -> None:
    rng = np.random.default_rng(seed)
    observed = rng.random((6, 15)) < 0.3
    observed[:, 0] = True
    users, items = np.nonzero(observed)
    model = hs.ALS(hs.Explicit(biases=True), rank=3, iterations=2, random_state=0).fit(
        hs.Interactions.from_arrays(users, items, rng.integers(1, 6, len(users)))
    )
    n_items = len(model.items_)
    seen = np.zeros((6, n_items), bool)
    seen[users, model.items_.positions(items)] = True
    ids = model.items_.ids
    banned = [set(rng.choice(ids, 3).tolist()) for _ in range(6)]
    wanted = [set(rng.choice(ids, 7).tolist()) | {999} for _ in range(6)]  # 999 is unknown, and passed over
    exclude = dict(enumerate(map(list, banned))) if mapped else list(banned[0])
    candidates = {"no": None, "all": list(wanted[0]), "each": dict(enumerate(map(list, wanted)))}[restricted]
    if not mapped:
        banned = [banned[0]] * 6
    if restricted != "each":
        wanted = [wanted[0] if restricted == "all" else set(ids.tolist())] * 6
    allowed = np.array([[i in wanted[u] - banned[u] for i in ids.tolist()] for u in range(6)]) & ~seen
    found = model.recommend(n=5, exclude=exclude, candidates=candidates)
    expected = reference.best(model.user_factors_, model.item_factors_, model.item_biases_, 5, allowed)
    assert [[i for i in row if i >= 0] for row in found.item_positions.tolist()] == expected


def test_items_that_nobody_has_wait_until_they_are_named(ratings: hs.Interactions) -> None:
    few = ratings.subset(np.arange(2000))
    model = hs.UserItemBias().fit(few)
    unseen = set(model.items_.ids[few.item_counts == 0].tolist())
    assert unseen
    assert not unseen & set(model.recommend(1, n=2000).item_ids[0].tolist())
    one = min(unseen)
    assert model.recommend(1, candidates=[one])[1][0][0] == one
    assert model.recommend(1, candidates={1: [one]})[1][0][0] == one


def test_a_user_that_is_unknown(small: hs.ALS, model: hs.ALS) -> None:
    best = small.recommend("dan", n=4)
    assert best.item_ids[0].tolist() == [small.items_[k] for k in np.argsort(-small.item_biases_)]
    # Without biases, nothing tells the items apart but how many have them.
    popular = hs.Popularity().fit(model.interactions_)
    for options in ({}, {"exclude": [50]}, {"candidates": [1, 2, 50]}, {"candidates": {10**6: [3, 1, 2]}}):
        strange, known = (each.recommend([10**6, 1], n=5, **options) for each in (model, popular))
        np.testing.assert_array_equal(strange.positions[0], known.positions[0])
        assert set(strange.scores[0][strange.positions[0] >= 0]) == {0.0}
        np.testing.assert_array_equal(strange.positions[1], model.recommend(1, n=5, **options).positions[0])
    with pytest.raises(UnknownIdError, match="dan"):
        small.recommend(["ann", "dan"], unknown="raise")


def test_baselines_recommend(ratings: hs.Interactions) -> None:
    popular = hs.Popularity().fit(ratings).recommend([1, 10**6], n=3)
    assert popular[10**6][0] == (50, 583.0)  # Star Wars
    assert not set(popular.item_ids[0].tolist()) & set(ratings.item_ids[ratings.user_ids == 1].tolist())


@pytest.mark.parametrize("bad", [{"n": 0}, {"n": 2.5}, {"unknown": "drop"}])
def test_bad_parameters(small: hs.ALS, bad: dict[str, object]) -> None:
    with pytest.raises(ParameterError, match=next(iter(bad))):
        small.recommend(**bad)


def test_a_model_that_has_forgotten_its_data_says_so(small: hs.ALS) -> None:
    import copy

    bare = copy.copy(small)
    bare._factorization = replace(bare._fitted, data=None)
    with pytest.raises(DataError, match="exclude_seen=False"):
        bare.recommend()
    assert bare.recommend("ann", exclude_seen=False).counts.tolist() == [4]


@pytest.mark.parametrize("metric", ["cosine", "dot"])
def test_similar_items_equal_their_twin(model: hs.ALS, metric: str) -> None:
    found = model.similar_items([50, 1], n=30, metric=metric)
    Q = model.item_factors_.astype(float)
    if metric == "cosine":
        Q = Q / np.linalg.norm(Q, axis=1, keepdims=True)
    for row, item in enumerate([50, 1]):
        k = model.items_.position(item)
        products = Q @ Q[k]
        assert k not in found.positions[row]
        np.testing.assert_allclose(found.scores[row], np.sort(np.delete(products, k))[::-1][:30], rtol=1e-5)
        np.testing.assert_allclose(found.scores[row], products[found.positions[row]], rtol=1e-5)


def test_nothing_is_similar_to_what_nobody_has(ratings: hs.Interactions) -> None:
    model = hs.ALS(hs.Implicit(), rank=3, iterations=2, random_state=0).fit(ratings.subset(np.arange(2000)))
    unseen = model.items_.ids[model.interactions_.item_counts == 0]
    assert model.similar_items(unseen[:2]).counts.tolist() == [0, 0]
    everything = model.similar_items(50, n=2000)
    assert not set(unseen.tolist()) & set(everything.ids[0].tolist())
    with pytest.raises(UnknownIdError, match="99999"):
        model.similar_items([50, 99999])
    with pytest.raises(ParameterError, match="metric='euclid'"):
        model.similar_users(metric="euclid")


def test_similar_users(small: hs.ALS) -> None:
    found = small.similar_users("ann", n=10)
    assert set(found.ids[0].tolist()) - {None} == {"bob", "cat"}


def test_frames_come_back_in_the_callers_kind() -> None:
    columns = {"user": ["ann", "ann", "bob"], "item": ["tea", "rum", "tea"]}
    for library, kind in ((pd, pd.DataFrame), (pl, pl.DataFrame)):
        frame = library.DataFrame(columns)
        model = hs.ALS(hs.Implicit(), rank=2, random_state=0).fit(frame)
        table = model.recommend(n=2).to_frame()
        assert isinstance(table, kind)
        assert list(table.columns) == ["user", "item", "rank", "score"]
        assert table["user"].to_list() == ["bob"]
        assert table["item"].to_list() == ["rum"]
        assert table["rank"].to_list() == [1]
    assert model.recommend().to_frame("pyarrow").column_names == ["user", "item", "rank", "score"]
    with pytest.raises(ParameterError, match="excel"):
        model.recommend().to_frame("excel")


def test_ids_that_a_library_cannot_hold_become_strings() -> None:
    ids = [UUID(int=k) for k in range(3)]
    model = hs.Popularity().fit(hs.Interactions.from_arrays(ids[:2], ids[1:]))
    assert model.recommend().to_frame("polars")["user"].to_list() == [str(ids[0]), str(ids[1])]
    assert model.recommend().to_frame("pandas")["user"].to_list() == ids[:2]


@pytest.mark.parametrize(
    "ids", [["a", 1, 2, "b"], [2**70, 1, 2, 3], [True, "a", 2, 3], [1, 2.5, 3, 4], [1, 2, 3, 4]], ids=str
)
@pytest.mark.parametrize("kind", ["polars", "pyarrow", "pandas"])
def test_ids_of_any_mix_go_into_any_dataframe(ids: list[object], kind: str) -> None:
    model = hs.Popularity().fit(hs.Interactions.from_arrays(ids[:2], ids[2:]))
    table = model.recommend(ids[:2]).to_frame(kind)
    users = np.asarray(table["user"]).tolist()
    assert users in (ids[:2], [str(each) for each in ids[:2]])


@pytest.mark.parametrize("threads", [0, -1])
def test_threads_have_to_be_some(small: hs.ALS, threads: int) -> None:
    for ask in (
        small.recommend,
        small.similar_items,
        lambda threads: small.recommend(candidates={}, threads=threads),
    ):
        with pytest.raises(ParameterError, match=f"threads={threads}: give an integer from 1"):
            ask(threads=threads)


def test_a_missing_id_is_no_stranger(small: hs.ALS) -> None:
    for missing in (None, float("nan")):
        with pytest.raises(DataError, match="a missing id"):
            small.recommend(["ann", missing])
        with pytest.raises(DataError, match="a missing id"):
            small.predict(["ann"], [missing])


def test_scalars_of_numpy_are_ids(model: hs.ALS) -> None:
    assert model.recommend(np.array(3)).user_ids.tolist() == [3]
    assert model.predict(np.array(3), np.array(4)).tolist() == model.predict([3], [4]).tolist()


def test_a_model_without_users_predicts_the_baseline(model: hs.ALS) -> None:
    assert model.fold_in({}).predict([1], [1]).tolist() == [0.0]


@pytest.mark.usefixtures("titles")
def test_a_table_reads_well(model: hs.ALS, small: hs.ALS) -> None:
    text = repr(model.recommend(n=7))
    assert text.startswith("Recommendations for 943 users, up to 7 each\n1: ")
    assert text.endswith("\n…")
    assert "Empire Strikes Back" in text
    assert repr(small.recommend("ann", exclude=["gin", "rum"])).endswith("'ann': nothing")
    with pytest.raises(UnknownIdError, match="'zoe' is not among the 1 users"):
        small.recommend("ann")["zoe"]


@pytest.mark.parametrize("query", [1, 1.0, np.int64(1), np.float32(1)])
def test_a_list_is_found_by_its_id(query: Any) -> None:
    model = hs.Popularity().fit(hs.Interactions.from_arrays([1, 2, 2], [5, 6, 7]))
    assert model.recommend([2, 1], n=1)[query] == [(6, 1.0)]


@pytest.mark.parametrize("query", [True, np.True_, "1", b"1", None, [1], float("nan"), slice(1), 7])
def test_a_list_is_not_found_by_another_id(query: Any) -> None:
    model = hs.Popularity().fit(hs.Interactions.from_arrays([1, 2, 2], [5, 6, 7]))
    for lists in (model.recommend([2, 1]), model.similar_users([2, 1])):
        with pytest.raises(UnknownIdError, match="is not among the 2 users of this table"):
            lists[query]


@pytest.mark.usefixtures("titles")
def test_titles_come_along(model: hs.ALS) -> None:
    table = model.similar_items([50], n=2).to_frame("polars")
    assert table.columns == ["item", "similar_item", "rank", "similarity", "title"]
    assert table["title"].null_count() == 0


def test_the_threads_of_the_model_are_used_unless_others_are_given(
    ratings: hs.Interactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int | None] = []
    monkeypatch.setattr(top_n, "threads_to_use", lambda threads: asked.append(threads) or 1)
    test, train = ratings.subset(np.arange(10)), ratings.subset(np.arange(10, len(ratings)))
    model = hs.ALS(rank=2, iterations=1, threads=3, random_state=0).fit(train)
    for each, expected in ((model, 3), (hs.Popularity().fit(train), None)):
        each.recommend()
        each.recommend(1, candidates=[1])
        each.similar_items()
        each.similar_users()
        assert set(asked) == {expected}
        asked.clear()
        for evaluate in (hs.evaluate, partial(hs.evaluate_stream, update=False)):
            evaluate(each, test, "ndcg")
            assert expected in asked
            assert set(asked) <= {expected, None}  # that of a baseline
            asked.clear()
    model.recommend(threads=2)
    model.similar_items(threads=2)
    assert set(asked) == {2}
