"""The values of parameters that are not set: the same through every door, in the units of the data, and good ones."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import halfstep as hs
from halfstep.errors import ModelFileError, NotFittedError, ParameterError, PoorFitWarning
from halfstep.evaluation.tuning.space import Space, default_start
from halfstep.models.default_regularization import HeldOut, highest_useful, lowest_near, row_counts, unit_of_targets
from halfstep.objective.regularization import RowRegularization
from halfstep.solver.cpu_session import CPUBackend

PLAYS = Path(__file__).parents[2] / "examples" / "plays.csv"


def rated(strength: float, n_users: int = 600, n_items: int = 300, seed: int = 0) -> hs.Interactions:
    """Ratings made of biases, noise with a deviation of 1, and two factors of some strength."""
    rng = np.random.default_rng(seed)
    cells = rng.choice(n_users * n_items, 20 * n_users, replace=False)
    u, i = np.divmod(cells, n_items)
    P, Q = rng.normal(size=(n_users, 2)), rng.normal(size=(n_items, 2))
    values = 3.5 + 0.4 * rng.normal(size=n_users)[u] + 0.5 * rng.normal(size=n_items)[i] + rng.normal(size=len(u))
    return hs.Interactions.from_arrays(u, i, values + strength * np.einsum("nk,nk->n", P[u], Q[i]))


@pytest.fixture(scope="module")
def plays() -> hs.Interactions:
    return hs.read_interactions(
        PLAYS, user="listener", item="artist", value="plays", timestamp="time", duplicates="sum"
    )


@pytest.fixture(scope="module")
def clicks() -> hs.Interactions:
    rng = np.random.default_rng(1)
    u, i = np.divmod(rng.choice(80 * 60, 900, replace=False), 60)
    return hs.Interactions.from_arrays(u, i)


def rmse(model: Any, test: hs.Interactions) -> float:
    return hs.metrics.rmse(test.values, model.predict(test))


class TestEvents:
    def test_the_weight_of_missing_cells_is_found_by_the_fit(self, clicks: hs.Interactions) -> None:
        model = hs.ALS(hs.Implicit(), random_state=0).fit(clicks)
        n_cells = len(np.unique(clicks.user_positions)) * len(np.unique(clicks.item_positions))
        assert model.objective_.missing_weight == pytest.approx(min(1.0, 8 * 900 / n_cells))
        assert model.objective == hs.Implicit()
        assert model.item_factors_.shape == (60, 64)
        assert (model.regularization_.users, model.regularization_.items) == (2.7, 2.7)
        assert (model.regularization_.exponent, model.regularization_.counts) == (0.3, "observed")
        assert (model.rank, model.regularization) == (None, None)

    def test_what_is_set_stays(self, clicks: hs.Interactions) -> None:
        model = hs.ALS(
            hs.Implicit(missing_weight=0.5), rank=3, regularization=hs.Regularization(1.0, 2.0, 0.0, 3.0, "cells")
        ).fit(clicks)
        assert model.objective_ is model.objective
        found = model.regularization_
        assert (found.users, found.items, found.exponent, found.bias_ratio) == (1.0, 2.0, 0.0, 3.0)
        assert found.counts == "cells"

    def test_a_multiple_of_all_weights_changes_nothing(self, clicks: hs.Interactions) -> None:
        weights = np.random.default_rng(0).uniform(1, 2, len(clicks))
        one, many = (
            hs.ALS(hs.Implicit(), rank=8, dtype="float64", random_state=0).fit(clicks.with_weights(factor * weights))
            for factor in (1.0, 64.0)
        )
        np.testing.assert_allclose(many.item_factors_, one.item_factors_, rtol=1e-6, atol=1e-9)

    def test_rows_without_observations_change_nothing(self, clicks: hs.Interactions) -> None:
        wider = hs.Interactions.from_arrays(
            np.append(clicks.user_ids, 1000), np.append(clicks.item_ids, 1000)
        ).subset(np.arange(len(clicks)))
        a, b = (hs.ALS(hs.Implicit(), random_state=0).fit(data) for data in (clicks, wider))
        assert a.objective_ == b.objective_

    @pytest.mark.parametrize("exponent", [0.3, *(pytest.param(each, marks=pytest.mark.slow) for each in (0.0, 1.0))])
    def test_factors_vanish_at_the_largest_singular_value(self, clicks: hs.Interactions, exponent: float) -> None:
        data = clicks.with_weights(np.random.default_rng(0).uniform(1, 2, len(clicks)))
        cost = hs.Implicit(target=0.5).cost(data)
        W = np.zeros((data.n_users, data.n_items))
        counts = data.user_counts[data.user_positions] * data.item_counts[data.item_positions].astype(float)
        W[data.user_positions, data.item_positions] = cost.weights * 0.5 * counts ** (-exponent / 2)
        largest = np.linalg.norm(W, 2)
        assert (
            0.95 * largest
            < highest_useful(
                data, cost, row_counts(data, cost, RowRegularization(1.0, 1.0, counts="observed")), exponent
            )
            / 0.75
            <= largest * (1 + 1e-12)
        )
        objective = hs.Implicit(target=0.5)
        options = {
            "rank": 2,
            "iterations": 300,
            "random_state": 0,
        }
        below, above = (hs.Regularization(share * largest, exponent=exponent) for share in (0.97, 1.03))
        assert hs.ALS(objective, regularization=below, **options).fit(data).user_factors_.any()
        with pytest.warns(PoorFitWarning):
            hs.ALS(objective, regularization=above, **options).fit(data)

    def test_the_first_rows_that_somebody_types_in_have_factors(self) -> None:
        data = hs.Interactions.from_arrays(["ann", "ann", "bob"], ["tea", "milk", "tea"])
        model = hs.ALS(hs.Implicit(), random_state=0).fit(data)
        assert 0 < model.regularization_.users < 2.7
        assert model.predict(["bob"], ["tea"])[0] > 0.1
        assert model.recommend("bob", 1)["bob"][0][0] == "milk"

    def test_beats_popularity_on_plays(self, plays: hs.Interactions) -> None:
        train, test = hs.split_by_time(plays, 0.2)
        report = hs.evaluate(hs.ALS(hs.Implicit(), random_state=0).fit(train), test, "ndcg", 10)
        assert report["ALS", "ndcg@10"] > report["Popularity", "ndcg@10"] + 0.1

    def test_fold_in_and_updates_use_the_weight_that_was_found(self, clicks: hs.Interactions) -> None:
        model = hs.ALS(hs.Implicit(), random_state=0).fit(clicks)
        fixed = hs.ALS(model.objective_, random_state=0).fit(clicks)
        np.testing.assert_array_equal(fixed.item_factors_, model.item_factors_)
        history = {"eve": [3, 4, 5]}
        np.testing.assert_array_equal(fixed.fold_in(history).user_factors_, model.fold_in(history).user_factors_)
        new = hs.Interactions.from_arrays([0], [7])
        np.testing.assert_array_equal(fixed.partial_fit(new).user_factors_, model.partial_fit(new).user_factors_)
        assert model.objective_ == fixed.objective

    def test_files_hold_what_was_found(self, clicks: hs.Interactions, tmp_path: Path) -> None:
        model = hs.ALS(hs.Implicit(), random_state=0).fit(clicks)
        model.save(tmp_path / "m")
        loaded = hs.load(tmp_path / "m")
        assert loaded.objective == hs.Implicit()
        assert (loaded.objective_, loaded.regularization_) == (model.objective_, model.regularization_)
        history = {"eve": [3, 4, 5]}
        np.testing.assert_array_equal(loaded.fold_in(history).user_factors_, model.fold_in(history).user_factors_)

    @pytest.mark.parametrize(
        ("name", "numbers"),
        [
            ("regularization", np.array([1.0, 1.0, np.nan, 1.0])),
            ("regularization", np.array([1.0, 1.0])),
            ("regularization", np.array([1.0, 1.0, 0.5, -1.0])),
            ("missing_weight", np.array([-1.0])),
            ("missing_weight", np.array([np.inf])),
            ("missing_weight", np.array([1], dtype=np.int64)),
        ],
    )
    def test_forged_numbers_are_refused(
        self, clicks: hs.Interactions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, numbers: Any
    ) -> None:
        model = hs.ALS(hs.Implicit(), rank=2, random_state=0).fit(clicks)
        genuine = hs.ALS._to_arrays
        monkeypatch.setattr(hs.ALS, "_to_arrays", lambda model: genuine(model) | {name: numbers})
        model.save(tmp_path / "m")
        with pytest.raises(ModelFileError, match=rf"(its |more\.){name} (is not|has numbers that are not finite)"):
            hs.load(tmp_path / "m")

    def test_unfitted_models_have_none(self) -> None:
        for name in ("objective_", "regularization_"):
            with pytest.raises(NotFittedError, match=f"has no '{name}' yet"):
                getattr(hs.ALS(), name)


class TestValues:
    def test_factors_pay_where_there_is_structure_and_do_no_harm_elsewhere(self) -> None:
        chosen = []
        for strength in (0.0, 0.7):
            train, test = hs.split_random(rated(strength), 0.2, random_state=0)
            model = hs.ALS(random_state=0).fit(train)
            assert rmse(model, test) < rmse(hs.UserItemBias().fit(train), test)
            chosen.append(model.regularization_.users / train.values.std())
        np.testing.assert_allclose(chosen, (1.8, 1.1), rtol=1e-6)

    def test_the_scale_of_the_values_does_not_matter(self) -> None:
        data = rated(0.7)
        models = [
            hs.ALS(random_state=0).fit(data.with_values(scale * data.values + shift))
            for scale, shift in ((1.0, 0.0), (25.0, 0.0), (0.01, -3.0))
        ]
        predicted = [model.predict(data) for model in models]
        np.testing.assert_allclose(predicted[1] / 25, predicted[0], atol=1e-3)
        np.testing.assert_allclose((predicted[2] + 3) / 0.01, predicted[0], atol=1e-3)
        assert models[1].regularization_.users == pytest.approx(25 * models[0].regularization_.users)
        assert models[1].regularization_.bias_ratio == pytest.approx(models[0].regularization_.bias_ratio / 25)

    def test_strong_structure_asks_for_less(self) -> None:
        rng = np.random.default_rng(0)
        P, Q = rng.normal(size=(100, 3)), rng.normal(size=(80, 3))
        u, i = np.divmod(np.arange(8000), 80)
        data = hs.Interactions.from_arrays(u, i, (P @ Q.T).ravel() + 0.1 * rng.normal(size=8000))
        train, test = hs.split_random(data, 0.2, random_state=0)
        model = hs.ALS(random_state=0).fit(train)
        assert model.regularization_.users < 0.2 * train.values.std()
        assert rmse(model, test) < 0.15

    def test_models_are_scored_on_cells_that_they_have_not_seen(self) -> None:
        data = rated(0.7)
        cost = hs.Explicit().cost(data)
        errors = []
        for threads in (1, 2):
            backend = CPUBackend(threads)
            held_out = HeldOut(data, cost, 16, backend)
            errors.append([held_out.error(RowRegularization(each, each, 0.5)) for each in (1.5, 20.0, 1.5)])
        assert errors[0] == errors[1]
        assert errors[0][0] == errors[0][2] < errors[0][1]
        assert len(held_out._train) + len(held_out._users) == len(data)
        assert len(held_out._users) / len(data) == pytest.approx(0.1, abs=0.01)
        unseen = set(zip(held_out._users.tolist(), held_out._items.tolist(), strict=True))
        seen = set(zip(held_out._train.user_positions.tolist(), held_out._train.item_positions.tolist(), strict=True))
        assert not unseen & seen

    def test_the_order_of_rows_does_not_matter(self) -> None:
        data = rated(0.3, 150)
        shuffled = data.subset(np.random.default_rng(0).permutation(len(data)))
        a, b = (hs.ALS(random_state=0).fit(each) for each in (data, shuffled))
        assert a.regularization_.users == pytest.approx(b.regularization_.users, rel=1e-12)

    @pytest.mark.parametrize("lowest", range(5))
    @pytest.mark.parametrize("start", range(5))
    def test_goes_downhill(self, start: int, lowest: int) -> None:
        asked = []

        def error(n: int) -> float:
            asked.append(n)
            return abs(n - lowest)

        assert lowest_near(error, start, 5) == lowest
        assert len(asked) == len(set(asked)) <= abs(start - lowest) + 3

    def test_few_cells_or_weighted_missing_cells_are_not_held_out(self) -> None:
        data = rated(0.7)
        few = data.subset(np.arange(150))
        assert hs.ALS(random_state=0).fit(few).regularization_.users == pytest.approx(1.8 * few.values.std())
        model = hs.ALS(hs.Explicit(missing_weight=0.1)).fit(data)
        assert model.regularization_.users == pytest.approx(1.1 * data.values.std())

    @pytest.mark.parametrize("most", [1, 6000])
    def test_some_users_of_many_are_enough(self, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
        data = rated(0.7)
        monkeypatch.setattr("halfstep.models.default_regularization.MOST", most)
        cost = hs.Explicit().cost(data)
        held_out = HeldOut(data, cost, 4, CPUBackend(1))
        assert most <= len(held_out._train) + len(held_out._users) < most + data.user_counts.max()
        assert hs.ALS(rank=4).fit(data).regularization_.users > 0

    @pytest.mark.parametrize("objective", [hs.Explicit(), hs.Implicit()], ids=repr)
    @pytest.mark.parametrize("counts", ["observed", "cells", "positive"])
    def test_rows_of_the_mean_count_have_the_same_regularization(
        self, objective: Any, counts: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("halfstep.models.default_regularization.FEWEST", 1 << 30)
        u, i = np.divmod(np.arange(600), 20)
        data = hs.Interactions.from_arrays(u[::2], (i * 7 % 20)[::2], np.random.default_rng(0).uniform(1, 2, 300))
        products = []
        for exponent in (0.0, 0.4, 1.0):
            model = hs.ALS(objective, rank=2, regularization=hs.Regularization(exponent=exponent, counts=counts)).fit(
                data
            )
            users, items = (
                c.mean() for c in row_counts(data, objective.cost(data), RowRegularization(1.0, 1.0, counts=counts))
            )
            fitted = model.regularization_
            products.append(fitted.users * fitted.items * (users * items) ** exponent)
        np.testing.assert_allclose(products, products[0])

    def test_units(self) -> None:
        data = hs.Interactions.from_arrays([1, 1, 2], [1, 2, 1], [1.0, 3.0, 5.0], weights=[1.0, 0.0, 1.0])
        biased, plain = hs.Explicit().cost(data), hs.Explicit(biases=False).cost(data)
        assert unit_of_targets(biased, is_centered=True) == pytest.approx(2.0)
        assert unit_of_targets(plain, is_centered=True) == pytest.approx(2.0)
        assert unit_of_targets(plain, is_centered=False) == pytest.approx(np.sqrt(13.0))
        for value, unit in ((7.0, 0.07), (0.0, 1.0), (1e-200, 1.0), (1e200, 1.0)):
            constant = hs.Explicit(biases=False).cost(data.with_values(np.full(3, value)))
            assert unit_of_targets(constant, is_centered=True) == pytest.approx(unit)

    def test_rank_0_fits_biases_alone(self, tmp_path: Path) -> None:
        data = rated(0.0)
        model = hs.ALS(rank=0, regularization=hs.Regularization(1.0, exponent=0.0, bias_ratio=5.0)).fit(data)
        twin = hs.UserItemBias(user_regularization=5.0, item_regularization=5.0, iterations=100).fit(data)
        np.testing.assert_allclose(model.predict(data), twin.predict(data), atol=1e-4)
        assert model.user_factors_.shape == (600, 0)
        model.save(tmp_path / "m")
        loaded = hs.load(tmp_path / "m")
        np.testing.assert_array_equal(loaded.predict(data), model.predict(data))
        bias = float(model.fold_in({"eve": {1: 5.0}}).user_biases_[0])
        assert bias == pytest.approx(
            (5.0 - model.mean_ - model.item_biases_[model.items_.position(1, name="id")]) / 6
        )
        with pytest.raises(ParameterError, match="rank=0: give an integer of at least 1"):
            hs.ALS(hs.Implicit(), rank=0)

    @pytest.mark.slow
    def test_constant_values_fit_and_warn(self) -> None:
        data = hs.Interactions.from_arrays([1, 1, 2], [1, 2, 1], [4.0, 4.0, 4.0])
        makers: list[Callable[..., Any]] = [
            hs.ALS,
            lambda **seed: hs.ALS(hs.Explicit(biases=False), **seed),
            lambda **seed: hs.BayesianALS(iterations=2000, **seed),  # the error of its means is then about 1%
            hs.SGD,
        ]
        for make in makers:
            with pytest.warns(PoorFitWarning, match=r"the same target.*use ALS\(Implicit\(\)\) for clicks"):
                np.testing.assert_allclose(make(random_state=0).fit(data).predict(data), 4.0, rtol=0.05)
        with pytest.warns(PoorFitWarning, match="the same target"):
            hs.ALS().fit(hs.Interactions.from_arrays([1, 1, 2], [1, 2, 1]))


class TestDoors:
    """The command line is compared in test_cli_models.py."""

    @pytest.mark.parametrize("objective", [hs.Implicit(), hs.Implicit(observed_weight=3.0)], ids=repr)
    def test_a_search_begins_at_the_defaults(self, clicks: hs.Interactions, objective: hs.Implicit) -> None:
        estimator = hs.ALS(objective, iterations=2)
        model = hs.ALS(objective).fit(clicks)
        space = Space.of(hs.default_space(estimator, clicks), estimator)
        start = space.values(space.point(default_start(estimator, clicks)))
        assert start["regularization"] == pytest.approx(model.regularization_.users)
        assert start["regularization.exponent"] == model.regularization_.exponent
        assert start["rank"] == model.item_factors_.shape[1]
        assert start["objective.missing_weight"] == pytest.approx(model.objective_.missing_weight)
        tuning = hs.tune(estimator, clicks, n_trials=1, refit=False)
        assert tuning.trials[0].parameters == start

    def test_files_of_versions_without_such_defaults(
        self, clicks: hs.Interactions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model = hs.ALS(
            hs.Implicit(missing_weight=0.5),
            rank=2,
            regularization=hs.Regularization(2.0, exponent=0.5, bias_ratio=1.0),
            random_state=0,
        )
        model.fit(clicks)
        genuine = hs.ALS._to_arrays
        without = {"regularization", "missing_weight"}
        monkeypatch.setattr(
            hs.ALS, "_to_arrays", lambda model: {n: a for n, a in genuine(model).items() if n not in without}
        )
        model.save(tmp_path / "m")
        assert hs.load(tmp_path / "m").regularization_ == model.regularization_
        hs.ALS(hs.Implicit(), random_state=0).fit(clicks).save(tmp_path / "m")
        with pytest.raises(ModelFileError, match="does not contain its regularization"):
            hs.load(tmp_path / "m")


class TestWarnings:
    def test_factors_that_vanish(self, clicks: hs.Interactions) -> None:
        with pytest.warns(
            PoorFitWarning, match=r"all factors are nearly 0 .*: lower the regularization, which is 300"
        ):
            hs.ALS(hs.Implicit(), regularization=300.0, random_state=0).fit(clicks)
        with pytest.warns(PoorFitWarning, match="all factors are nearly 0"):
            hs.ALS(hs.Explicit(), regularization=300.0, random_state=0).fit(rated(0.0, 50))

    @pytest.mark.parametrize(
        ("objective", "sign", "regularization", "remedy"),
        [
            (
                hs.Explicit(biases=False, nonnegative=True),
                -1,
                0.1,
                "nonnegative factors cannot fit targets below 0, and no target is above 0: set nonnegative=False, or "
                "give values above 0$",
            ),
            (
                hs.Explicit(nonnegative=True),
                1,
                300.0,
                "lower the regularization, which is 300, or set nonnegative=False: nonnegative factors cannot fit "
                "targets below 0, which are values minus the mean and biases$",
            ),
            (hs.Implicit(nonnegative=True), 1, 300.0, "lower the regularization, which is 300$"),
            (
                hs.Implicit(target=hs.weights.preference(above=99.0)),
                1,
                0.1,
                "all targets are 0: give other values, or an .*",
            ),
        ],
    )
    def test_the_cause_of_factors_that_vanish(
        self, objective: Any, sign: int, regularization: float, remedy: str
    ) -> None:
        data = rated(0.0, 50)
        data = data.with_values(sign * np.abs(data.values))
        with pytest.warns(PoorFitWarning, match=f"all factors are nearly 0 .*personalized: {remedy}"):
            hs.ALS(objective, rank=2, regularization=regularization, random_state=0).fit(data)

    def test_a_default_without_factors_is_no_fault(self) -> None:
        """Biases are all that such ratings have."""
        data = rated(0.0, 100)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            hs.ALS(random_state=0).fit(data.with_values(np.round(data.values)))

    def test_weights_that_few_cells_have(self, clicks: hs.Interactions) -> None:
        counts = np.exp(2.0 * np.random.default_rng(0).normal(size=len(clicks)))
        data = clicks.with_values(counts)
        with pytest.warns(PoorFitWarning, match=r"10% of the observed cells have \d\d% of the total weight"):
            hs.ALS(hs.Implicit(observed_weight=hs.weights.confidence(40.0)), rank=2, random_state=0).fit(data)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            hs.ALS(hs.Implicit(observed_weight=hs.weights.log_confidence(1.0, 1.0)), rank=2, random_state=0).fit(data)
            hs.ALS(hs.Implicit(), rank=2, random_state=0).fit(data)

    def test_trials_of_a_search_do_not_warn(self, clicks: hs.Interactions) -> None:
        estimator = hs.ALS(hs.Implicit(), rank=2, iterations=3)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = hs.tune(
                estimator, clicks, {"regularization": [300.0, 2.0]}, split=2, metric=at_lambda, direction="minimize"
            )
        assert found.best_parameters == {"regularization": 2.0}


def at_lambda(model: hs.ALS, test: hs.Interactions) -> float:
    return model.regularization_.users


def test_parameters_that_are_set_after_a_fit_are_those_of_the_next(clicks: hs.Interactions, tmp_path: Path) -> None:
    model = hs.ALS(hs.Implicit(), random_state=0).fit(clicks)
    used, history = model.objective_, {"eve": [3, 4, 5]}
    expected = model.fold_in(history).user_factors_
    model.save(tmp_path / "m")
    for each in (model, hs.load(tmp_path / "m")):
        each.set_params(objective__missing_weight=0.5, regularization=1.5)
        assert each.objective_ == used
        np.testing.assert_array_equal(each.fold_in(history).user_factors_, expected)
    assert model.fit(clicks).objective_ == hs.Implicit(missing_weight=0.5)


def test_an_objective_that_a_file_cannot_hold_is_given_again(clicks: hs.Interactions, tmp_path: Path) -> None:
    model = hs.ALS(hs.Implicit(observed_weight=lambda cells: np.full(len(cells.values), 2.0)), random_state=0)
    model.fit(clicks).save(tmp_path / "m")
    loaded = hs.load(tmp_path / "m")
    loaded.objective = hs.Implicit(observed_weight=2.0)
    assert loaded.objective_.missing_weight == model.objective_.missing_weight
    history = {"eve": [3, 4, 5]}
    np.testing.assert_array_equal(loaded.fold_in(history).user_factors_, model.fold_in(history).user_factors_)
