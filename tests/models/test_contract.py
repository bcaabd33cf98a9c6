"""What every estimator of the library does alike, whatever it minimizes."""

from __future__ import annotations

import copy
import functools
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from sklearn.base import clone

import halfstep as hs
from halfstep.cli.model_options import CLASSES
from halfstep.errors import DataError, NotFittedError, NumericalError, ParameterError, UnknownIdError
from halfstep.models.pretrained import PretrainedFactors
from shell import fitted as fitted_by_command

ALS = {"rank": 3, "regularization": 0.5, "iterations": 3, "random_state": 0}
BAYESIAN = {"rank": 2, "iterations": 4, "burn_in": 1, "random_state": 0}
ESTIMATORS: dict[str, Any] = {
    "ALS explicit": hs.ALS(**ALS),
    "ALS implicit": hs.ALS(hs.Implicit(), **ALS),
    "ALS with implicit features": hs.ALS(implicit_features=True, **ALS),
    "BayesianALS": hs.BayesianALS(**BAYESIAN),
    "BayesianALS ordinal": hs.BayesianALS(ordinal=True, **BAYESIAN),
    "BayesianALS with implicit features": hs.BayesianALS(implicit_features=True, **BAYESIAN),
    "SGD": hs.SGD(rank=2, iterations=3, random_state=0),
    "GlobalMean": hs.GlobalMean(),
    "ItemBias": hs.ItemBias(regularization=2.0),
    "UserItemBias": hs.UserItemBias(iterations=3),
    "Popularity": hs.Popularity(),
    "EASE": hs.EASE(regularization=3.0),
    "ItemKNN": hs.ItemKNN(neighbors=4, shrinkage=1.0),
}
KINDS = {type(estimator).__name__: type(estimator) for estimator in ESTIMATORS.values()}


def names_with(parameter: str) -> list[str]:
    """Return the names of the estimators that have a parameter."""
    return [name for name, each in ESTIMATORS.items() if parameter in each.get_params(deep=False)]


def made(name: str, **changes: Any) -> Any:
    """Return an unfitted estimator, which no other test has."""
    return clone(ESTIMATORS[name]).set_params(**changes)


def ratings(n_users: int, n_items: int, share: float) -> hs.Interactions:
    """Ratings from 1 to 5 of which the first user and the first item have all; ids are integers, in their order."""
    rng = np.random.default_rng(0)
    observed = rng.random((n_users, n_items)) < share
    observed[0], observed[:, 0] = True, True
    users, items = np.nonzero(observed)
    scores = 3 + rng.normal(size=n_users)[users] + rng.normal(size=n_items)[items] + 0.5 * rng.normal(size=len(users))
    return hs.Interactions.from_arrays(users, items, scores.round().clip(1, 5))


NUMBERED = ratings(14, 11, 0.5)
LARGE = ratings(4500, 60, 0.04)  # enough for several threads; the first item is cut into segments


def named(data: hs.Interactions) -> hs.Interactions:
    """Return the same with strings as ids, and a user and an item of whom there is nothing."""
    users = [f"u{user}" for user in data.user_ids] + ["idle"]
    items = [f"i{item}" for item in data.item_ids] + ["unsold"]
    return hs.Interactions.from_arrays(users, items, np.append(data.values, 1.0)).subset(np.arange(len(data)))


DATA = named(NUMBERED)
EXTREME = DATA.with_values(DATA.values * 3e307)  # whose sum is infinite
PRETRAINED = hs.persistence.from_arrays(
    np.random.default_rng(1).normal(size=(DATA.n_users, 2)),
    np.random.default_rng(2).normal(size=(DATA.n_items, 2)),
    users=DATA.users,
    items=DATA.items,
    interactions=DATA,
)
EVENT = hs.Interactions.from_arrays(["u1", "new"], ["i2", "i3"], [5.0, 1.0])
LATER = hs.Interactions.from_arrays(["u2", "new"], ["i4", "i1"], [1.0, 4.0])


class Untouchable:
    """Data that cannot be looked at."""

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(f"the data were read before the parameters were checked: {name}")


COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
}

METHODS: dict[str, Callable[[Any], Any]] = {
    "predict": lambda model: model.predict(["u1"], ["i1"]),
    "predict_proba": lambda model: model.predict_proba(["u1"], ["i1"]),
    "recommend": lambda model: model.recommend(["u1"]),
    "similar_items": lambda model: model.similar_items(["i1"]),
    "similar_users": lambda model: model.similar_users(["u1"]),
    "fold_in": lambda model: model.fold_in({"new": {"i1": 2.0}}),
    "explain": lambda model: model.explain("u1", "i1"),
    "as_saved": lambda model: model.as_saved(),
    "remove_users": lambda model: model.remove_users(["u1"]),
    "of_users": lambda model: model.of_users(DATA),
    "save": lambda model: model.save("never-written"),
    "export_vectors": lambda model: model.export_vectors("never-written"),
}
ALWAYS = {"fit", "partial_fit", "memory_of_fit", "get_params", "set_params"}  # methods that an unfitted estimator has

ANOTHER_TYPE: dict[str, Callable[[Any], Any]] = {  # methods with an id of a type that the data do not have
    "predict a user": lambda model: model.predict([1], ["i1"]),
    "predict an item": lambda model: model.predict(["u1"], [1]),
    "recommend": lambda model: model.recommend([1]),
    "recommend candidates": lambda model: model.recommend(["u1"], candidates=[1]),
    "recommend without": lambda model: model.recommend(["u1"], exclude=[1]),
    "similar_items": lambda model: model.similar_items([1]),
    "similar_users": lambda model: model.similar_users([1]),
    "fold_in": lambda model: model.fold_in({"new": {1: 2.0}}),
    "explain": lambda model: model.explain("u1", 1),
    "partial_fit": lambda model: model.partial_fit(NUMBERED),
    "remove_users": lambda model: model.remove_users([1]),
}


def supports_updates(model: Any) -> bool:
    """Whether a model supports incremental updates."""
    return hasattr(model, "partial_fit") and not model.implicit_features


def methods_of(thing: Any) -> set[str]:
    return {name for name in dir(type(thing)) if not name.startswith("_") and callable(getattr(type(thing), name))}


@functools.cache
def shared(name: str) -> Any:
    """Return a fitted model, which no test changes."""
    return PRETRAINED if name == "PretrainedFactors" else made(name).fit(DATA)


def outputs(model: Any) -> dict[str, Any]:
    """Return what a model says of everything it knows, as lists that compare."""
    return {
        "model": repr(model),
        "predictions": model.predict(
            np.repeat(model.users_.ids, len(model.items_)), np.tile(model.items_.ids, len(model.users_))
        ).tolist(),
        "recommendations": model.recommend(n=4).to_frame("pandas").to_dict("list"),
        "similar items": model.similar_items(n=3).to_frame("pandas").to_dict("list"),
        "parameters": model.get_params(deep=False).keys(),
    }


def same_bits(model: Any, other: Any) -> bool:
    names = ("user_factors_", "item_factors_", "user_biases_", "item_biases_")
    return all(np.array_equal(getattr(model, name), getattr(other, name)) for name in names)


@pytest.fixture(params=ESTIMATORS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=[*ESTIMATORS, "PretrainedFactors"])
def model(request: pytest.FixtureRequest) -> Any:
    """A fitted model of each kind, which no test changes."""
    return shared(request.param)


def test_every_class_of_models_is_tested() -> None:
    assert {PretrainedFactors, *KINDS.values()} == set(hs.persistence.MODELS.values())


class TestParameters:
    def test_round_trip_through_get_params_and_set_params(self, name: str) -> None:
        estimator, other = made(name), type(made(name))()
        assert other.set_params(**estimator.get_params()) is other
        assert other.get_params().keys() == estimator.get_params().keys()
        assert repr(other) == repr(estimator)

    def test_of_unknown_names_are_named(self, name: str) -> None:
        estimator = made(name)
        with pytest.raises(ParameterError, match="parameter 'colour'"):
            estimator.set_params(colour=1)
        with pytest.raises(AttributeError, match="no parameter 'colour'"):
            estimator.colour = 1
        with pytest.raises(TypeError, match="colour"):
            type(estimator)(colour=1)

    @pytest.mark.parametrize(
        ("name", "parameter"), [(name, part) for name, each in ESTIMATORS.items() for part in each.get_params(False)]
    )
    def test_of_wrong_values_are_named_before_data_are_read(self, name: str, parameter: str) -> None:
        estimator, wrong = made(name), object()
        with pytest.raises(ParameterError, match=parameter) as by_constructor:
            type(estimator)(**{**estimator.get_params(deep=False), parameter: wrong})
        estimator.set_params(**{parameter: wrong})
        with pytest.raises(ParameterError) as by_fit:
            estimator.fit(Untouchable())
        assert str(by_fit.value) == str(by_constructor.value)

    def test_clone_to_an_equal_unfitted_estimator(self, name: str) -> None:
        estimator = made(name).fit(DATA)
        cloned = clone(estimator)
        assert type(cloned) is type(estimator)
        assert repr(cloned) == repr(made(name))
        assert same_bits(cloned.fit(DATA), estimator)

    def test_repr_shows_what_differs_from_the_defaults_and_evaluates_back(self, name: str) -> None:
        estimator = made(name)
        assert repr(type(estimator)()) == f"{type(estimator).__name__}()"
        again = eval(repr(estimator), dict(vars(hs)))
        assert type(again) is type(estimator)
        assert same_bits(again.fit(DATA), estimator.fit(DATA))
        assert repr(estimator).startswith(f"<{again.__class__.__name__}(")
        assert "fitted: 15 users, 12 items" in repr(estimator)


class TestFit:
    def test_returns_the_estimator(self, name: str) -> None:
        estimator = made(name)
        assert estimator.fit(DATA) is estimator

    def test_again_starts_from_scratch(self, name: str) -> None:
        twice = made(name).fit(NUMBERED).fit(DATA)
        assert outputs(twice) == outputs(made(name).fit(DATA))

    def test_that_fails_leaves_the_former_model(self, name: str) -> None:
        estimator = made(name).fit(DATA)
        before = outputs(estimator)
        with pytest.raises(DataError, match="the data have no interactions: give at least one"):
            estimator.fit(NUMBERED.subset([]))
        assert outputs(estimator) == before

    @pytest.mark.parametrize(
        "name", [name for name in ESTIMATORS if name not in ("ALS implicit", "Popularity", "EASE", "ItemKNN")]
    )  # which do not use values
    def test_of_values_that_overflow_is_an_error_and_leaves_the_former_model(self, name: str) -> None:
        estimator = made(name).fit(DATA)
        before = outputs(estimator)
        with pytest.raises(NumericalError, match="check the data for extreme values"):
            estimator.fit(EXTREME)
        assert outputs(estimator) == before

    @pytest.mark.parametrize("data", ["ratings.csv", 3, None, [1, 2], np.ones((3, 3))], ids=repr)
    def test_of_data_of_another_type_is_an_error(self, name: str, data: Any) -> None:
        with pytest.raises(DataError, match="is not supported"):
            made(name).fit(data)

    def test_takes_no_target(self, name: str) -> None:
        assert same_bits(made(name).fit(DATA, None), made(name).fit(DATA, y=None))
        with pytest.raises(
            ParameterError, match=r"y is of type ndarray: omit it, .* column of the data, as in Inter"
        ):
            made(name).fit(Untouchable(), np.ones(7))

    def test_of_interactions_matrices_and_dataframes_is_the_same(self, name: str) -> None:
        columns = {"user": NUMBERED.user_ids, "item": NUMBERED.item_ids, "value": NUMBERED.values}
        matrix = sparse.coo_array((columns["value"], (columns["user"], columns["item"])))
        expected = made(name).fit(NUMBERED)
        for data in (matrix, matrix.tocsr(), matrix.tocsc(), pd.DataFrame(columns), pl.DataFrame(columns)):
            other = made(name).fit(data)
            assert same_bits(other, expected)
            np.testing.assert_array_equal(other.predict(NUMBERED), expected.predict(NUMBERED))

    @pytest.mark.parametrize("name", names_with("random_state"))
    def test_is_determined_by_the_seed(self, name: str) -> None:
        first, again, generator, other = (
            made(name, random_state=seed).fit(DATA) for seed in (5, 5, np.random.default_rng(5), 6)
        )
        assert same_bits(first, again)
        assert same_bits(first, generator)
        assert not np.array_equal(first.predict(DATA), other.predict(DATA))

    @pytest.mark.parametrize("name", names_with("progress"))
    def test_shows_progress_only_on_request(self, name: str, capsys: pytest.CaptureFixture[str]) -> None:
        made(name).fit(DATA)  # not in a terminal
        made(name, progress=False).fit(DATA)
        assert capsys.readouterr().err == ""
        made(name, progress=True).fit(DATA)
        assert type(made(name)).__name__ in capsys.readouterr().err

    @pytest.mark.parametrize("name", names_with("callbacks"))
    def test_calls_back_after_each_iteration_until_told_to_stop(self, name: str) -> None:
        seen: list[float] = []

        def watch(model: Any) -> bool:
            seen.append(model.predict("u1", "i1")[0])
            return len(seen) == 2

        stopped = made(name, callbacks=[watch], iterations=9).fit(DATA)
        assert len(stopped.history_) == len(set(seen)) == 2


class TestNotFitted:
    def test_every_method_is_tested(self) -> None:
        assert METHODS.keys() | ALWAYS == set().union(*map(methods_of, ESTIMATORS.values()))

    def test_methods_say_to_fit_first(self, name: str) -> None:
        estimator = made(name)
        for method in methods_of(estimator) - ALWAYS:
            with pytest.raises(NotFittedError, match=rf"call {type(estimator).__name__}\.fit\(data\) first"):
                METHODS[method](estimator)

    def test_fitted_attributes_say_to_fit_first(self, name: str) -> None:
        estimator, fitted = made(name), made(name).fit(DATA)
        for attribute in [each for each in dir(fitted) if each.endswith("_") and not each.startswith("_")]:
            with pytest.raises(NotFittedError, match=rf"no {attribute!r} yet: call {type(estimator).__name__}"):
                getattr(estimator, attribute)

    def test_pretrained_factors_cannot_be_fitted(self) -> None:
        with pytest.raises(ParameterError, match="has factors but no objective, so it cannot be fitted"):
            copy.copy(PRETRAINED).fit(DATA)


class TestModels:
    @pytest.mark.parametrize("way", COPIES)
    def test_copies_say_the_same(self, model: Any, way: str) -> None:
        assert outputs(COPIES[way](model)) == outputs(model)

    @pytest.mark.parametrize("way", COPIES)
    def test_copies_part_on_an_update_of_either(self, name: str, way: str) -> None:
        model = made(name).fit(DATA)
        if supports_updates(model):
            model.partial_fit(EVENT)  # later updates write in place
        before = outputs(model)
        for updated, kept in ((COPIES[way](model), model), (model, COPIES[way](model))):
            if supports_updates(updated):
                updated.partial_fit(LATER)
            else:
                updated.fit(NUMBERED)
            assert outputs(kept) == before
            assert outputs(updated) != before

    def test_files_say_the_same(self, model: Any, tmp_path: Path) -> None:
        model.save(tmp_path / "model")
        loaded = hs.load(tmp_path / "model")
        assert type(loaded) is type(model)
        assert outputs(loaded) == outputs(model)
        assert loaded.interactions_.users == model.interactions_.users

    def test_unknown_ids_have_the_baseline_or_raise(self, model: Any) -> None:
        users, items = ["u1", "?", "?"], ["?", "i1", "?"]
        scores = model.predict(users, items)
        assert np.isfinite(scores).all()
        np.testing.assert_array_equal(scores, model.predict(["u1", "!", "!"], ["!", "i1", "!"]))
        assert len(model.recommend(["?"], n=3).item_ids[0]) == 3
        for user, item in zip(users, items, strict=True):
            with pytest.raises(UnknownIdError, match=r"unknown (user|item) id '\?'"):
                model.predict(user, item, unknown="raise")
        with pytest.raises(UnknownIdError, match=r"unknown user id '\?'"):
            model.recommend(["?"], unknown="raise")

    def test_ids_of_another_type_are_an_error_with_both_types(self, model: Any) -> None:
        for method, call in ANOTHER_TYPE.items():
            name = method.partition(" ")[0]
            if not hasattr(model, name) or (name in ("partial_fit", "remove_users") and not supports_updates(model)):
                continue
            with pytest.raises(DataError, match=r"is an integer, but the known (user|item) ids are strings"):
                call(model)

    def test_users_and_items_without_interactions_are_predicted_and_not_recommended(self, model: Any) -> None:
        assert "idle" in model.users_
        assert "unsold" in model.items_
        assert np.isfinite(model.predict("idle", model.items_.ids)).all()
        assert np.isfinite(model.predict(model.users_.ids, "unsold")).all()
        lists = model.recommend(n=len(model.items_), exclude_seen=False)
        if not isinstance(model, PretrainedFactors):  # whose factors say something of every item
            assert "unsold" not in lists.to_frame("pandas")["item"].tolist()
        assert (lists.counts >= len(model.items_) - 1).all()

    def test_bits_do_not_depend_on_the_number_of_threads(self, name: str) -> None:
        models, lists = [], []
        for threads in (1, 2, 3):
            options = {"threads": threads} if name in names_with("threads") else {}
            models.append(made(name, **options).fit(LARGE))
            lists.append(models[-1].recommend(n=4, threads=threads))
        for model, recommended in zip(models[1:], lists[1:], strict=True):
            assert same_bits(model, models[0])
            np.testing.assert_array_equal(recommended.item_ids, lists[0].item_ids)
            np.testing.assert_array_equal(recommended.scores, lists[0].scores)

    def test_evaluation_leaves_the_model_as_it_is(self, model: Any) -> None:
        before = outputs(model)
        hs.evaluate(model, DATA, "hit_rate", n=2, exclude_seen=False, resamples=2)
        assert outputs(model) == before


class TestDefaults:
    """They are those of the class through every door."""

    @pytest.mark.parametrize("kind", KINDS)
    def test_of_the_command_line(self, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        table = tmp_path / "ratings.csv"
        columns = {"user": DATA.user_ids, "item": DATA.item_ids, "value": DATA.values}
        pd.DataFrame(columns).to_csv(table, index=False)
        (name,) = (name for name, each in CLASSES.items() if each is KINDS[kind])
        model = hs.load(fitted_by_command(table, "--model-type", name, to=tmp_path / "model"))
        default = KINDS[kind]()
        if hasattr(default, "random_state"):
            default.random_state = 0  # a command gives the same model each time
        assert repr(clone(model)) == repr(default)

    @pytest.mark.parametrize("name", names_with("regularization"))
    def test_of_a_search(self, name: str) -> None:
        estimator = made(name)
        space = {"regularization": [estimator.regularization]}
        folds = [hs.split_random(DATA, random_state=0)]
        tuning = hs.tune(estimator, DATA, space, split=folds, refit=True, progress=False)
        for untouched in (estimator, tuning.untuned):
            assert repr(untouched) == repr(made(name))
        assert outputs(tuning.model) == outputs(made(name).fit(DATA))

    @pytest.mark.parametrize("kind", KINDS)
    def test_of_files(self, kind: str, tmp_path: Path) -> None:
        model = KINDS[kind]().fit(DATA)
        model.save(tmp_path / "model")
        assert repr(clone(hs.load(tmp_path / "model"))) == repr(KINDS[kind]()) == f"{kind}()"
