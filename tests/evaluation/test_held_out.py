"""`evaluate`, compared to a reference that ranks one user at a time, and to published protocols."""

from __future__ import annotations

import copy
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import halfstep as hs
import reference
from halfstep.errors import DataError, ParameterError
from halfstep.evaluation.bootstrap import Mean, resample
from halfstep.metrics.marks import MEASURES
from thorough import examples


@pytest.fixture(scope="module")
def halves() -> tuple[hs.Interactions, hs.Interactions]:
    return hs.split_random(hs.datasets.movielens_100k(), test_fraction=0.3, random_state=0)


@pytest.fixture(scope="module")
def models(halves) -> dict[str, hs.ALS]:
    train, _ = halves
    return {
        "implicit": hs.ALS(hs.Implicit(), rank=8, iterations=3, random_state=0).fit(train),
        "biased": hs.ALS(hs.Explicit(biases=True), rank=4, iterations=3, random_state=0).fit(train),
    }


def ranked(model, user, n, *, seen=(), candidates=None):
    """Return the list of one user: all items with interactions, sorted by score, then position."""
    counts = model.interactions_.item_counts
    catalog = [item for item, count in zip(model.items_, counts.tolist(), strict=True) if count]
    items = [item for item in catalog if item not in seen] if candidates is None else list(candidates)
    scores = model.predict([user], items) if items else np.empty(0)
    order = sorted(range(len(items)), key=lambda k: (-scores[k], model.items_.position(items[k])))
    return [items[k] for k in order[:n]]


def by_user(data, keep=lambda value: True):
    found: dict = {}
    for user, item, value in zip(data.user_ids.tolist(), data.item_ids.tolist(), data.values.tolist(), strict=True):
        if keep(value):
            found.setdefault(user, set()).add(item)
    return found


@st.composite
def problems(draw):
    """Return training and test sets with overlapping vocabularies and repeated interactions."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    def table(users, items, size):
        cells = rng.permutation(len(users) * len(items))[:size]
        u, i = np.divmod(cells, len(items))
        return hs.Interactions.from_arrays(
            [users[k] for k in u], [items[k] for k in i], rng.integers(1, 6, len(cells)).astype(float)
        )

    items = [f"i{k:02}" for k in range(14)]
    train = table([f"u{k}" for k in range(8)], items[:12], draw(st.integers(20, 60)))
    test = table([f"u{k}" for k in range(4, 11)], items[3:], draw(st.integers(1, 40)))
    return train, test


def kind_of_unknown_ids(train, test):
    """Return whether no user or no item of a test set is in the training data."""
    if not {*test.user_ids} & {*train.users}:
        return "user"
    return "" if {*test.item_ids} & {*train.items} else "item"


@examples(25)
@given(problem=problems(), n=st.integers(1, 20), exclude_seen=st.booleans(), threshold=st.sampled_from([None, 3.0]))
def test_ranking_metrics_equal_reference(problem, n, exclude_seen, threshold):
    train, test = problem
    model = hs.ALS(hs.Explicit(biases=True), rank=2, iterations=2, random_state=0).fit(train)
    seen = by_user(train)
    relevant = by_user(test, lambda value: threshold is None or value >= threshold)
    n_repeats = sum(len(items & seen.get(user, set())) for user, items in by_user(test).items())
    if exclude_seen:
        relevant = {user: items - seen.get(user, set()) for user, items in relevant.items()}
    relevant = {user: items for user, items in relevant.items() if items}
    names = [*MEASURES, "coverage", "novelty"]
    options = {"n": n, "exclude_seen": exclude_seen, "relevant_from": threshold, "resamples": 20}
    if unknown := kind_of_unknown_ids(train, test):
        with pytest.raises(DataError, match=f"no {unknown} of the test set is known to the model"):
            hs.evaluate(model, test, names, **options)
        return
    if not relevant:
        nothing = "no user has a relevant item in the test set|interactions of the test set are in the training data"
        with pytest.raises(DataError, match=nothing):
            hs.evaluate(model, test, names, **options)
        return
    result = hs.evaluate(model, test, names, **options)

    assert result.n_scored == len(relevant)
    assert result.n_left_out == len({*train.users, *test.users}) - len(relevant)
    assert result.n_unknown == sum(user not in seen for user in relevant)
    assert result.n_repeats == (n_repeats if exclude_seen else 0)
    assert result.users.tolist() == sorted(by_user(test))
    owners = {item: {u for u, items in seen.items() if item in items} for item in train.items}
    popularity = hs.Popularity().fit(train)
    for name, each in (("ALS", model), ("Popularity", popularity)):
        lists = {u: ranked(each, u, n, seen=seen.get(u, ()) if exclude_seen else ()) for u in relevant}
        for metric in MEASURES:
            twin = getattr(reference, metric)
            expected = [twin(lists[u], relevant[u], n) if u in relevant else np.nan for u in result.users.tolist()]
            np.testing.assert_allclose(result.per_user(name, metric), expected, rtol=1e-12)
            assert result[name, metric] == pytest.approx(np.nanmean(expected))
            assert result[name, f"{metric}@{n}"] <= 1
        listed = {item for row in lists.values() for item in row}
        assert result[name, "coverage"] == len(listed) / len({i for items in seen.values() for i in items})
        bits = [reference.novelty(row, owners, len(train.users), n) for row in lists.values() if row]
        if bits:
            assert result[name, "novelty"] == pytest.approx(np.mean(bits), abs=1e-12)


@examples(25)
@given(problem=problems(), seed=st.integers(0, 2**32 - 1))
def test_only_candidates_are_ranked(problem, seed):
    train, test = problem
    model = hs.ALS(hs.Explicit(biases=True), rank=2, iterations=2, random_state=0).fit(train)
    rng = np.random.default_rng(seed)
    relevant = by_user(test)
    candidates = {u: items | set(rng.choice([*train.items], 3).tolist()) for u, items in relevant.items()}
    assume(not kind_of_unknown_ids(train, test))
    result = hs.evaluate(model, test, ["ndcg", "coverage"], 4, candidates=candidates, resamples=2)
    known = {u: [i for i in items if i in model.items_] for u, items in candidates.items()}
    lists = {u: ranked(model, u, 4, candidates=known[u]) for u in relevant}
    expected = [reference.ndcg(lists[u], relevant[u], 4) for u in result.users.tolist()]
    np.testing.assert_allclose(result.per_user("ALS", "ndcg"), expected, rtol=1e-12)
    assert result.n_repeats == 0
    named = {item for items in known.values() for item in items}
    if named:
        assert result["ALS", "coverage"] == len({i for row in lists.values() for i in row}) / len(named)


def test_rating_metrics_equal_functions(models, halves):
    _, test = halves
    result = hs.evaluate(models, test, ["rmse", "mae", "ndcg"])
    predicted = models["biased"].predict(test)
    assert result["biased", "rmse"] == pytest.approx(hs.metrics.rmse(test.values, predicted))
    assert result["biased", "mae"] == pytest.approx(hs.metrics.mae(test.values, predicted))
    user = result.users[5]
    its = test.user_ids == user
    assert result.per_user("biased", "rmse")[5] == pytest.approx(hs.metrics.rmse(test.values[its], predicted[its]))
    assert np.isnan(result["Popularity", "rmse"])  # counts of users are no ratings
    assert result.n_scored == len(result.users)


def test_training_interactions_are_ignored(models, halves):
    train, test = halves
    part = train.subset(np.arange(5000))
    mixed = hs.Interactions.from_arrays(
        *(np.append(getattr(part, name), getattr(test, name)) for name in ("user_ids", "item_ids", "values"))
    )
    alone, beside = (hs.evaluate(models["biased"], data, ["rmse", "mae"]) for data in (test, mixed))
    assert beside.n_repeats == 5000
    for metric in ("rmse", "mae"):
        assert beside["ALS", metric] == pytest.approx(alone["ALS", metric])
    everything = hs.evaluate(models["biased"], mixed, "rmse", exclude_seen=False)
    assert everything["ALS", "rmse"] == pytest.approx(hs.metrics.rmse(mixed.values, models["biased"].predict(mixed)))
    with pytest.raises(ParameterError, match=r"give a model and a metric, as in evaluation\['ALS', 'ndcg'\]"):
        alone["ALS"]


def test_relevant_from_does_not_affect_rmse(models, halves):
    _, test = halves
    result = hs.evaluate(models["biased"], test, ["rmse", "ndcg"], relevant_from=4)
    assert result["ALS", "rmse"] == pytest.approx(hs.metrics.rmse(test.values, models["biased"].predict(test)))
    assert result.n_scored == len(set(test.user_ids[test.values >= 4].tolist()))


def test_several_models_and_cutoffs(models, halves):
    _, test = halves
    result = hs.evaluate(models, test, ["ndcg", "recall@20", "coverage"], n=[10, 100])
    assert result.models == ["implicit", "biased", "Popularity"]
    labels = ["ndcg@10", "ndcg@100", "recall@20", "coverage@10", "coverage@100"]
    assert [row.label for row in result if row.model == "biased"] == labels
    alone = hs.evaluate(models["implicit"], test, "ndcg", n=100)
    assert alone.find("ALS", "ndcg")[1:] == result.find("implicit", "ndcg@100")[1:]
    for row in result:
        if row.metric == "coverage":
            assert np.isnan([row.low, row.high]).all()
        else:
            assert row.low < row.value < row.high
    with pytest.raises(ParameterError, match="'ndcg' has several cutoffs: give one of ndcg@10, ndcg@100"):
        result["implicit", "ndcg"]
    with pytest.raises(ParameterError, match="there is no model 'ALS': give one of implicit, biased, Popularity"):
        result["ALS", "ndcg@10"]
    with pytest.raises(ParameterError, match=r"'mae' was not computed: give one of ndcg@10"):
        result["biased", "mae"]
    with pytest.raises(
        DataError, match=r"coverage@10 is not a mean over users: use evaluation\['biased', 'coverage@10'\]"
    ):
        result.per_user("biased", "coverage@10")


def test_results_depend_neither_on_blocks_nor_on_threads(models, halves, monkeypatch):
    _, test = halves
    metrics = [*MEASURES, "coverage", "novelty"]
    whole = hs.evaluate(models["implicit"], test, metrics, threads=1)
    monkeypatch.setattr("halfstep.evaluation.held_out.POSITIONS_AT_ONCE", 70)  # seven users at a time
    assert str(hs.evaluate(models["implicit"], test, metrics, threads=2).rows) == str(whole.rows)  # NaN is not NaN


class TestBaselines:
    OF_VALUES = ("GlobalMean", "ItemBias", "UserItemBias")

    def test_depend_on_metrics(self, models, halves):
        train, test = halves
        of_lists = hs.evaluate(models, test, "recall", resamples=2)
        of_values = hs.evaluate(models, test, ["mae", "rmse"], resamples=2)
        both = hs.evaluate(models, test, ["rmse", "recall"], resamples=2)
        assert of_lists.models == [*models, "Popularity"]
        assert of_values.models == [*models, *self.OF_VALUES]
        assert both.models == [*models, "Popularity", *self.OF_VALUES]
        assert both.baselines == ("Popularity", *self.OF_VALUES)
        for name in self.OF_VALUES:
            fitted = getattr(hs, name)().fit(train)
            assert both[name, "rmse"] == pytest.approx(hs.metrics.rmse(test.values, fitted.predict(test)))
            assert of_values[name, "mae"] == pytest.approx(hs.metrics.mae(test.values, fitted.predict(test)))
            assert np.isnan(both[name, "recall"])
            assert both[name, "rmse"] == of_values[name, "rmse"]
        assert both["Popularity", "recall"] == of_lists["Popularity", "recall"]
        assert np.isnan([both["Popularity", "rmse"], both["implicit", "rmse"]]).all()
        assert next(line for line in repr(both).splitlines() if line.startswith("GlobalMean")).endswith("–")

    def test_classes_of_models_are_omitted(self, models, halves):
        train, test = halves
        popularity, bias = hs.Popularity().fit(train), hs.ItemBias(regularization=3.0).fit(train)
        assert hs.evaluate(popularity, test, "recall").models == ["Popularity"]
        assert hs.evaluate({"most seen": popularity} | models, test, "recall").models == ["most seen", *models]
        assert hs.evaluate(bias, test, "rmse").models == ["ItemBias", "GlobalMean", "UserItemBias"]
        with pytest.raises(ParameterError, match="a model is named 'Popularity', but is not an hs"):
            hs.evaluate({"Popularity": models["biased"]}, test)
        assert hs.evaluate({"Popularity": models["biased"]}, test, "rmse").models == ["Popularity", *self.OF_VALUES]

    def test_without(self, models, halves):
        result = hs.evaluate(models, halves[1], ["rmse", "ndcg"], baseline=None, resamples=2)
        assert result.models == [*models]
        assert result.baselines == ()
        assert result.to_dict()["baselines"] == []
        assert hs.evaluate(models, halves[1], "ndcg", baseline={}, resamples=2).models == [*models]

    def test_custom_estimators(self, models, halves):
        train, test = halves
        named = {"shrunk": hs.UserItemBias(user_regularization=99.0), "top": hs.Popularity().fit(test)}
        result = hs.evaluate(models["biased"], test, ["rmse", "recall"], baseline=named, resamples=2)
        assert result.models == ["ALS", "shrunk", "top"]
        shrunk = hs.UserItemBias(user_regularization=99.0).fit(train)
        assert result["shrunk", "rmse"] == pytest.approx(hs.metrics.rmse(test.values, shrunk.predict(test)))
        beside = hs.evaluate({"ALS": models["biased"], "shrunk": shrunk}, test, ["rmse", "recall"], resamples=2)
        assert result["shrunk", "recall"] == beside["shrunk", "recall"]
        assert result["top", "recall"] == beside["Popularity", "recall"]  # fitted again, on the training data
        assert named["top"].interactions_ is test
        assert not named["shrunk"].__sklearn_is_fitted__()

    @pytest.mark.parametrize(
        ("baseline", "message"),
        [
            ("popularity", "baseline='popularity': give 'auto', None, or a mapping from name to estimator"),
            (True, "baseline=True: give"),
            ([hs.Popularity()], r"baseline=\[.*\]: give"),
            ({"a": 3}, "the baseline 'a' is 3: give a name and an estimator"),
            ({"a": hs.Popularity}, "the baseline 'a' is <class .*: give a name and an estimator"),
            ({3: hs.Popularity()}, "the baseline 3 is Popularity.*: give a name and an estimator"),
            ({"biased": hs.Popularity()}, "the baseline 'biased' has the name of a model"),
        ],
    )
    def test_error_for_invalid_baselines(self, models, halves, baseline, message):
        with pytest.raises(ParameterError, match=message):
            hs.evaluate(models, halves[1], baseline=baseline)

    def test_without_values(self):
        train = hs.Interactions.from_arrays([1, 1, 2], ["x", "y", "y"])
        test = hs.Interactions.from_arrays([2], ["x"], [3.0])
        model = hs.ALS(hs.Implicit(), rank=2, iterations=1, random_state=0).fit(train)
        result = hs.evaluate(model, test, ["rmse", "recall"], resamples=2)
        assert result.models == ["ALS", "Popularity"]
        assert np.isnan(result["ALS", "rmse"])


@pytest.fixture(scope="module")
def of_users():
    return hs.split_held_out_users(hs.datasets.movielens_100k(), 0.2, 0.3, random_state=0)


@pytest.fixture(scope="module")
def fitted(of_users):
    return hs.ALS(hs.Explicit(biases=True), rank=4, iterations=3, random_state=0).fit(of_users[0])


@pytest.fixture(scope="module")
def folded(fitted, of_users):
    return fitted.fold_in(of_users[1])


def test_protocols_by_hand():
    """All lists are a, b, c, d, e, without seen items; n is 2.

    User 5 has e and gets a, b; of the test items b, c, d, the list has b in place 2. User 6 has a and gets b, c; the
    only test item c is in place 2. User 7 has b and gets a, c; the test items are these.
    """
    pairs = [(user, item) for user, items in enumerate(["abcde", "abcd", "abc", "ab", "a"]) for item in items]
    train = hs.Interactions.from_arrays(*zip(*pairs, (5, "e"), (6, "a"), (7, "b"), strict=True))
    test = hs.Interactions.from_arrays([5, 5, 5, 6, 7, 7], list("bcdcac"))
    model = hs.Popularity().fit(train)
    assert [row.tolist() for row in model.recommend([5, 6, 7], 2).item_ids] == [["a", "b"], ["b", "c"], ["a", "c"]]
    names = ["recall", "attainable_recall", "ndcg"]
    result = hs.evaluate(model, test, names, 2, resamples=2)
    second, ideal = 1 / np.log2(3), 1 + 1 / np.log2(3)  # the ideal list of two items
    for name, expected in (
        ("recall", [1 / 3, 1, 1]),  # LightGCN: hits / |test items|
        ("attainable_recall", [1 / 2, 1, 1]),  # Mult-VAE: hits / min(n, |test items|)
        ("ndcg", [second / ideal, second, 1]),  # both: the ideal list has min(n, |test items|) items
    ):
        np.testing.assert_allclose(result.per_user("Popularity", name), expected, rtol=1e-12)
        assert result["Popularity", name] == pytest.approx(np.mean(expected))


class TestStrongGeneralization:
    """Users that are folded in from histories, with baselines for the same users."""

    def test_lists_of_folded_in_users(self, of_users, folded):
        train, histories, test = of_users
        result = hs.evaluate(folded, test, ["recall", "novelty", "coverage"], 20)
        assert result.n_scored == len(result.users) == len(test.users)
        assert result.n_left_out == 0
        assert result.unknown_users == 0
        owners = by_user(train)
        owners = {item: {u for u, items in owners.items() if item in items} for item in train.items}
        had, relevant = by_user(histories), by_user(test)
        popular = sorted(train.items, key=lambda item: (-len(owners[item]), train.items.position(item)))
        for name in ("ALS", "Popularity"):
            if name == "ALS":
                lists = {u: row.tolist() for u, row in zip(test.users, folded.recommend(n=20).item_ids, strict=True)}
            else:
                lists = {u: [item for item in popular if item not in had[u]][:20] for u in test.users}
            expected = np.mean([reference.recall(lists[u], relevant[u], 20) for u in test.users])
            assert result[name, "recall"] == pytest.approx(expected)
            bits = [reference.novelty(lists[u], owners, len(train.users), 20) for u in test.users]
            assert result[name, "novelty"] == pytest.approx(np.mean(bits))

    def test_baselines_of_values_are_folded_in(self, of_users, folded):
        train, histories, test = of_users
        result = hs.evaluate(folded, test, "rmse", baseline="auto")
        assert result.models == ["ALS", "GlobalMean", "ItemBias", "UserItemBias"]
        for name in ("GlobalMean", "ItemBias"):  # users are nothing to them
            predicted = getattr(hs, name)().fit(train).predict(test)
            assert result[name, "rmse"] == pytest.approx(hs.metrics.rmse(test.values, predicted))
        model = hs.UserItemBias().fit(train)
        of_items = dict(zip(model.items_, model.item_biases_, strict=True))
        biases = {}
        for user in histories.users:
            its = histories.user_ids == user
            left = histories.values[its] - model.mean_ - np.array([of_items[i] for i in histories.item_ids[its]])
            biases[user] = left.sum() / (15.0 + its.sum())
        predicted = [model.mean_ + biases[u] + of_items[i] for u, i in zip(test.user_ids, test.item_ids, strict=True)]
        assert result["UserItemBias", "rmse"] == pytest.approx(hs.metrics.rmse(test.values, predicted))
        assert result["UserItemBias", "rmse"] < result["ItemBias", "rmse"] < result["GlobalMean", "rmse"]

    def test_custom_estimators_are_folded_in(self, of_users, folded):
        train, histories, test = of_users
        other = hs.ALS(hs.Implicit(), rank=4, iterations=2, random_state=1)
        result = hs.evaluate(folded, test, "recall", baseline={"other": other}, resamples=2)
        alone = hs.evaluate(other.fit(train).fold_in(histories), test, "recall", baseline=None, resamples=2)
        assert result["other", "recall"] == alone["ALS", "recall"]
        with pytest.raises(ParameterError, match="baseline 'sgd' does not support this: SGD has no fold_in"):
            hs.evaluate(folded, test, baseline={"sgd": hs.SGD(rank=1, iterations=1)})

    def test_copies_keep_training_data_of_items(self, of_users, fitted, folded):
        _, histories, test = of_users
        expected = hs.evaluate(folded, test, ["rmse", "novelty"], resamples=2)
        assert len(expected.models) == 5
        once_more = folded.fold_in(histories)
        updated = copy.copy(fitted)
        updated.partial_fit(of_users[0].subset([0]))
        for each in (copy.copy(folded), pickle.loads(pickle.dumps(folded)), once_more):
            assert str(hs.evaluate(each, test, ["rmse", "novelty"], resamples=2).rows) == str(expected.rows)
        later = pickle.loads(pickle.dumps(updated.fold_in(histories)))
        assert hs.evaluate(later, test, "rmse", resamples=2)["ItemBias", "rmse"] == expected["ItemBias", "rmse"]

    def test_loaded_model_adds_only_popularity(self, of_users, folded, tmp_path):
        test = of_users[2]
        folded.save(tmp_path / "folded")
        loaded = hs.load(tmp_path / "folded")
        result = hs.evaluate(loaded, test, ["rmse", "recall", "novelty"], resamples=2)
        assert result.models == ["ALS", "Popularity"]
        before = hs.evaluate(folded, test, ["rmse", "recall", "novelty"], resamples=2)
        for model, metric in (("ALS", "rmse"), ("ALS", "recall"), ("Popularity", "recall")):
            assert result[model, metric] == before[model, metric]
        assert np.isnan(result["ALS", "novelty"])
        with pytest.raises(DataError, match="folded-in model are unknown, and the baseline 'mine'"):
            hs.evaluate(loaded, test, baseline={"mine": hs.ItemBias()})

    def test_error_for_mixed_models(self, of_users, fitted):
        with pytest.raises(DataError, match="no user of the test set is known to the model"):
            hs.evaluate(fitted, of_users[2])


def test_proportions_of_unknown_users_and_items():
    """Users 3 and 4 of four, and items x and y of three, are not in the training data; 5 has no interactions."""
    train = hs.Interactions.from_arrays([1, 1, 2, 3], ["a", "b", "a", "y"])
    train = train.subset([0, 1, 2])
    test = hs.Interactions.from_arrays([1, 2, 3, 4, 5], ["x", "b", "y", "b", "z"]).subset([0, 1, 2, 3])
    result = hs.evaluate(hs.Popularity().fit(train), test, "recall", resamples=2)
    assert (result.unknown_users, result.unknown_items) == (1 / 2, 2 / 3)
    line = "Without training data: 50.0% of the users and 66.7% of the items of the test set"
    assert repr(result).splitlines()[1] == line
    assert result.to_dict()["unknown_items"] == 2 / 3
    assert result.n_unknown == 2


def test_intervals_depend_on_seed(models, halves):
    _, test = halves
    one, same, other = (hs.evaluate(models["biased"], test, "ndcg", random_state=seed).rows[0] for seed in (3, 3, 4))
    assert one == same
    assert (one.low, one.high) != (other.low, other.high)
    assert hs.evaluate(models["biased"], test, "ndcg", random_state=np.random.default_rng(3)).rows[0] == one


def test_bootstrap_samples_users_with_replacement():
    """Every resample is a mean over a sample of three users, and each sample has its expected frequency."""
    values = np.array([0.0, 1.0, 10.0])
    estimates = resample([Mean.of_values(values), Mean.of_values(2 * values)], 20_000, seed=0)
    np.testing.assert_allclose(estimates[:, 1], 2 * estimates[:, 0])  # the same users for all
    sums, times = np.unique(np.round(3 * estimates[:, 0]), return_counts=True)
    expected = {0: 1, 1: 3, 2: 3, 3: 1, 10: 3, 11: 6, 12: 3, 20: 3, 21: 3, 30: 1}  # of 27 draws
    assert sums.tolist() == list(expected)
    np.testing.assert_allclose(times / 20_000, np.array(list(expected.values())) / 27, atol=0.01)


def test_resampling_in_blocks(monkeypatch):
    means = [Mean.of_groups(np.arange(50.0) ** 2, np.arange(50) % 7, 7, root=True)]
    whole = resample(means, 33, seed=1)
    monkeypatch.setattr("halfstep.evaluation.bootstrap.SAMPLES_AT_ONCE", 21)
    np.testing.assert_array_equal(resample(means, 33, seed=1), whole)


def test_coverage_of_intervals():
    """Of 400 intervals of 90% for samples with a mean of 0.3, about 360 contain it."""
    from halfstep.evaluation.bootstrap import intervals

    rng = np.random.default_rng(0)
    held = 0
    for trial in range(400):
        values = (rng.random(80) < 0.3).astype(float)
        low, high = intervals(resample([Mean.of_values(values)], 400, seed=trial), 0.9)[0]
        held += low <= 0.3 <= high
    assert 340 <= held <= 380


def test_difference_is_paired(models, halves):
    _, test = halves
    result = hs.evaluate(models, test, ["ndcg", "coverage"])
    row = result.difference("implicit", "Popularity", "ndcg")
    assert row.model == "implicit − Popularity"
    assert row.value == pytest.approx(result["implicit", "ndcg"] - result["Popularity", "ndcg"])
    assert row.low < row.value < row.high
    one, two = result.find("implicit", "ndcg"), result.find("Popularity", "ndcg")
    assert row.high - row.low < (one.high - one.low) + (two.high - two.low)
    itself = result.difference("implicit", "implicit", "ndcg")
    assert (itself.value, itself.low, itself.high) == (0, 0, 0)
    with pytest.raises(
        DataError, match=r"coverage@10 is not a mean over users.* the values of implicit and Popularity"
    ):
        result.difference("implicit", "Popularity", "coverage")


def test_tables_print_and_convert(models, halves):
    _, test = halves
    result = hs.evaluate(models, test, ["ndcg", "coverage"])
    lines = repr(result).splitlines()
    assert lines[0] == f"Evaluation on {result.n_scored} users, excluding {943 - result.n_scored} without test items"
    assert lines[2].split() == ["ndcg@10", "coverage@10"]
    row = result.find("biased", "ndcg")
    assert f"biased      {row.value:.4f} ({row.low:.4f} to {row.high:.4f})  " in lines[4]
    many = repr(hs.evaluate(models, test, list(MEASURES))).splitlines()
    assert many[2].split() == ["implicit", "biased", "Popularity"]  # metrics go down where they are many
    assert max(map(len, many)) < 118

    wide = hs.evaluate(models, test, ["rmse", "mae", *MEASURES]).__repr__().splitlines()
    headers = [line.split() for line in wide if line.startswith(" ")]
    assert headers == [["implicit", "biased", "Popularity"], ["GlobalMean", "ItemBias", "UserItemBias"]]
    assert [line.split()[0] for line in wide].count("ndcg@10") == 2  # in each of the two parts
    assert max(map(len, wide)) < 118

    frame = result.to_frame("polars")
    assert isinstance(frame, pl.DataFrame)
    assert frame.columns == ["model", "metric", "n", "value", "low", "high"]
    assert frame["value"].to_list() == [row.value for row in result]
    assert isinstance(hs.evaluate(models["biased"], test, "rmse").to_frame("pandas"), pd.DataFrame)
    shown = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert shown["n_scored"] == result.n_scored
    assert shown["rows"][1] == {
        "model": "implicit",
        "metric": "coverage",
        "n": 10,
        "value": result["implicit", "coverage"],
        "low": None,
        "high": None,
    }


def test_to_frame_has_library_of_training_data():
    frame = pl.DataFrame({"user": ["a", "a", "b", "b"], "item": ["x", "y", "x", "z"]})
    model = hs.Popularity().fit(frame)
    assert isinstance(
        hs.evaluate(model, pl.DataFrame({"user": ["a"], "item": ["z"]}), "ndcg").to_frame(), pl.DataFrame
    )


@pytest.mark.parametrize(
    ("metrics", "n", "message"),
    [
        ("ndgc", 10, r"unknown metric 'ndgc' .did you mean 'ndcg'"),
        ([], 10, r"metrics=\[\]: give the name of a metric"),
        ("ndcg", 0, "n=0: give an integer of at least 1"),
        ("ndcg", 2.5, r"n=2.5: give an integer"),
        ("ndcg@x", 10, "metric 'ndcg@x': give a cutoff, such as ndcg@10"),
        ("ndcg@", 10, "metric 'ndcg@': give a cutoff, such as ndcg@10"),
        ("ndcg@00", 10, "metric 'ndcg@00': give a cutoff, such as ndcg@10"),
        (
            "recall@" + "9" * 20,
            10,
            f"metric 'recall@{'9' * 20}': give a cutoff of at most {2**63 - 1}, such as recall@10",
        ),
        ("recall@" + "9" * 5000, 10, "': give a cutoff of at most"),
        ("rmse@10", 10, "remove @10"),
    ],
)
def test_error_for_unknown_metrics(models, halves, metrics, n, message):
    with pytest.raises(ParameterError, match=message):
        hs.evaluate(models, halves[1], metrics, n)


def test_errors_of_evaluate(models, halves):
    train, test = halves
    other = hs.Popularity().fit(test)
    with pytest.raises(DataError, match="'implicit' and 'other' were fitted on different interactions"):
        hs.evaluate(models | {"other": other}, test)
    with pytest.raises(ParameterError, match="model is an empty mapping"):
        hs.evaluate({}, test)
    with pytest.raises(ParameterError, match="the model 'a' is 3: give a fitted model"):
        hs.evaluate({"a": 3}, test)
    with pytest.raises(DataError, match="the test set has no interactions"):
        hs.evaluate(models, test.subset([]))
    with pytest.raises(
        DataError, match="no user has a relevant item in the test set; lower relevant_from, which is 6"
    ):
        hs.evaluate(models, test, relevant_from=6)
    for metric in ("ndcg", "rmse"):
        with pytest.raises(DataError, match="all 70,000 interactions of the test set are in the training data"):
            hs.evaluate(models, train, metric)
    with pytest.raises(ParameterError, match=r"confidence=1\.0: give a number below 1"):
        hs.evaluate(models, test, confidence=1.0)
    with pytest.raises(ParameterError, match="candidates is of type list: give a mapping"):
        hs.evaluate(models, test, candidates=[1, 2])
    user, item = test.users[test.user_positions[0]], test.items[test.item_positions[0]]
    with pytest.raises(DataError, match=rf"item {item} of user {user} is not among the user's 1 candidates: add it"):
        hs.evaluate(models, test, candidates={user: [-5]})


@pytest.mark.slow
def test_popularity_on_the_ncf_protocol_of_movielens_1m():
    """Rendle et al. (2022) and the files of He et al. (2017): HR@10 0.453 and NDCG@10 0.254, each to three digits."""
    folder = Path(os.environ.get("HALFSTEP_DATA", "nowhere")) / "ncf-ml-1m"
    if not folder.exists():
        pytest.skip("HALFSTEP_DATA holds no ncf-ml-1m")
    pairs = pd.read_csv(folder / "ml-1m.train.pairs.tsv", sep="\t", header=None)
    model = hs.Popularity().fit(hs.Interactions.from_arrays(pairs[0], pairs[1]))
    hidden = pd.read_csv(folder / "ml-1m.test.rating", sep="\t", header=None)
    test = hs.Interactions.from_arrays(hidden[0], hidden[1])
    candidates = {}
    for line in (folder / "ml-1m.test.negative").read_text().splitlines():
        pair, *negatives = line.split("\t")
        user, item = map(int, pair.strip("()").split(","))
        candidates[user] = {int(each) for each in negatives} | {item}
    result = hs.evaluate(model, test, ["hit_rate", "ndcg"], candidates=candidates)
    assert result.n_scored == 6040
    assert result["Popularity", "hit_rate"] == pytest.approx(0.453, abs=0.0015)
    assert result["Popularity", "ndcg"] == pytest.approx(0.254, abs=0.0015)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("map", "'average_precision'"),
        ("map@10", "'average_precision@10'"),
        ("MAP@5", "'average_precision@5'"),
        ("mrr", "'reciprocal_rank'"),
        ("hr", "'hit_rate'"),
        ("hr@20", "'hit_rate@20'"),
        ("HitRate", "'hit_rate'"),
        ("auc", "'ndcg' or 'recall'"),
        ("f1@10", "'precision@10' or 'recall@10'"),
        ("NDCG@10", "'ndcg@10'"),
        ("nDCG@k", "'ndcg'"),
        ("ndcg_at_10", "'ndcg@10'"),
        ("ndcg10", "'ndcg@10'"),
        ("Precision at 5", "'precision@5'"),
        ("RMSE", "'rmse'"),
        ("mse@10", "'rmse'"),
        ("averageprecision", "'average_precision'"),
    ],
)
def test_names_of_other_libraries_are_suggested(models, halves, given, meant):
    with pytest.raises(ParameterError) as raised:
        hs.evaluate(models, halves[1], given)
    assert str(raised.value).startswith(f"unknown metric {given!r} (did you mean {meant}?): give one of ")


@pytest.mark.parametrize("given", ["xyz", "", "@", "10", "@10"])
def test_unknown_names_list_all_metrics(models, halves, given):
    with pytest.raises(ParameterError) as raised:
        hs.evaluate(models, halves[1], given)
    assert str(raised.value).startswith(f"unknown metric {given!r}: give one of ")


def test_only_allowed_metrics_are_suggested():
    data = hs.Interactions.from_arrays([1, 2], ["x", "y"], [1.0, 2.0])
    model = hs.Popularity().fit(data)
    with pytest.raises(ParameterError, match=r"unknown metric 'mse': give one of"):
        hs.evaluate_stream(model, data, "mse", update=False)
    with pytest.raises(ParameterError, match=r"unknown metric 'accuracy' \(did you mean 'sign_accuracy' or 'prec"):
        hs.tune(hs.ItemBias(), data, metric="accuracy")
