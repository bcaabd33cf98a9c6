"""All estimators follow scikit-learn's rules for parameters, and work with scikit-learn itself."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError as SklearnNotFittedError
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

import halfstep as hs
from halfstep._support.estimator import Estimator
from halfstep.errors import ParameterError

DATA = hs.Interactions.from_arrays(list("aabbcca"), list("xyxyxzz"), [5, 1, 4, 2, 5, 1.0, 2])
FRAME = pd.DataFrame({"user": list("aabbc"), "item": list("xyyzz"), "value": [5, 1, 4, 2.0, 3]})


def callback(model: Any) -> None:
    """Pickles by its name, as it is at the top of a module."""


MODELS: dict[str, Callable[[], Any]] = {
    "ALS": lambda: hs.ALS(
        hs.Implicit(observed_weight=hs.weights.confidence(2.0)),
        rank=2,
        iterations=2,
        random_state=0,
        callbacks=[callback],
    ),
    "ALS, init": lambda: hs.ALS(rank=1, iterations=2, init=(np.ones((3, 1)), np.ones((3, 1)))),
    "BayesianALS": lambda: hs.BayesianALS(rank=2, iterations=3, burn_in=1, random_state=0),
    "SGD": lambda: hs.SGD(rank=2, iterations=2, random_state=0),
    "GlobalMean": hs.GlobalMean,
    "ItemBias": lambda: hs.ItemBias(regularization=2.0),
    "UserItemBias": lambda: hs.UserItemBias(iterations=3),
    "Popularity": hs.Popularity,
}
WAYS_TO_COPY: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
}


@pytest.fixture(params=MODELS)
def make(request: pytest.FixtureRequest) -> Callable[[], Any]:
    return MODELS[request.param]


class TestParameters:
    def test_include_those_of_the_objective(self) -> None:
        model = hs.ALS(hs.Implicit(observed_weight=hs.weights.confidence(40.0), missing_weight=0.5))
        deep = model.get_params()
        assert deep["objective__missing_weight"] == 0.5
        assert deep["objective__observed_weight__alpha"] == 40.0
        assert set(model.get_params(deep=False)) == {name for name in deep if "__" not in name}

    def test_are_set_by_name(self) -> None:
        model = hs.ALS(hs.Implicit(observed_weight=hs.weights.confidence(40.0)), rank=8)
        objective = model.objective
        changed = model.set_params(rank=3, objective__missing_weight=0.5, objective__observed_weight__alpha=2.0)
        assert changed is model
        assert model.rank == 3
        assert model.objective == hs.Implicit(observed_weight=hs.weights.confidence(2.0), missing_weight=0.5)
        assert objective == hs.Implicit(observed_weight=hs.weights.confidence(40.0))  # another model may have it

    def test_of_a_new_objective_are_set_with_it(self) -> None:
        model = hs.ALS().set_params(objective__missing_weight=0.25, objective=hs.Implicit(target=2.0))
        assert model.objective == hs.Implicit(target=2.0, missing_weight=0.25)

    @pytest.mark.parametrize(
        ("params", "message"),
        [
            ({"rnk": 3}, r"ALS has no parameter 'rnk' \(did you mean 'rank'\?\); it has objective, rank,"),
            (
                {"objective__mising_weight": 1.0},
                r"Explicit has no parameter 'mising_weight' of 'objective__mising_weight' "
                r"\(did you mean 'missing_weight'\?\)",
            ),
            ({"rank__x": 1}, r"rank__x: rank=2 has no parameters to set"),
            ({"objective__weight__alpha": 1.0}, r"objective__weight__alpha: weight=None has no parameters to set"),
            ({"user_factors_": np.ones(2)}, "ALS has no parameter 'user_factors_'"),
        ],
    )
    def test_of_unknown_names_are_refused(self, params: dict[str, Any], message: str) -> None:
        model = hs.ALS(rank=2)
        with pytest.raises(ParameterError, match=message):
            model.set_params(iterations=7, **params)
        assert model.iterations == hs.ALS().iterations  # nothing was set

    def test_of_an_objective_are_checked_when_set(self) -> None:
        with pytest.raises(ParameterError, match=r"missing_weight=-1"):
            hs.ALS().set_params(objective__missing_weight=-1)

    def test_of_a_model_to_start_from_are_not_those_of_the_model(self) -> None:
        start = hs.ALS(rank=2, iterations=1).fit(DATA)
        model = hs.BayesianALS(rank=2, init=start)
        assert not any(name.startswith("init__") for name in model.get_params())
        with pytest.raises(ParameterError, match=r"init__rank: init=.* has no parameters to set"):
            model.set_params(init__rank=3)


class TestWrongParameters:
    @pytest.mark.parametrize(
        ("name", "method"),
        [
            ("ALS", "fold_in"),
            ("ALS", "explain"),
            ("ALS", "partial_fit"),
            ("BayesianALS", "fold_in"),
            ("BayesianALS", "explain"),
        ],
    )
    def test_are_found_by_what_solves_rows(self, name: str, method: str) -> None:
        model = MODELS[name]().fit(DATA)
        model.iterations = -1
        arguments = {"fold_in": ({"new": {"x": 1.0}},), "explain": ("a", "x"), "partial_fit": (DATA,)}[method]
        with pytest.raises(ParameterError, match=r"iterations=-1"):
            getattr(model, method)(*arguments)

    @pytest.mark.parametrize(
        ("name", "misspelt", "meant"),
        [
            ("ALS", "rnk", "rank"),
            ("ALS", "regularisation", "regularization"),
            ("BayesianALS", "burnin", "burn_in"),
            ("SGD", "learning_rates", "learning_rate"),
            ("ItemBias", "regularisation", "regularization"),
        ],
    )
    def test_names_cannot_be_set(self, name: str, misspelt: str, meant: str) -> None:
        model = MODELS[name]()
        message = rf"'{name}' object has no parameter '{misspelt}' \(did you mean '{meant}'\?\)"
        with pytest.raises(AttributeError, match=message):
            setattr(model, misspelt, 5)
        assert not hasattr(model, misspelt)

    def test_names_of_others_end_with_an_underscore(self) -> None:
        model = hs.Popularity()
        with pytest.raises(AttributeError, match="the names of other attributes end with an underscore"):
            model.note = "mine"
        model.note_, model._note = "mine", "private"
        assert (model.note_, model._note) == ("mine", "private")


class TestScikitLearn:
    def test_clones_by_its_own_rule(self, make: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
        """Which includes that the constructor stores what it is given."""
        monkeypatch.delattr(Estimator, "__sklearn_clone__")
        model = make()
        cloned = clone(model)
        for name, value in cloned.get_params(deep=False).items():
            assert type(value) is type(getattr(model, name))

    def test_clones_keep_what_a_model_starts_from(self) -> None:
        start = hs.ALS(hs.Explicit(biases=True), rank=2, iterations=2, random_state=0).fit(DATA)
        model = hs.BayesianALS(rank=2, iterations=3, burn_in=1, random_state=0, init=start)
        cloned = clone(model)
        assert cloned.init is not start
        np.testing.assert_array_equal(cloned.fit(DATA).predict(DATA), model.fit(DATA).predict(DATA))

    def test_knows_whether_a_model_is_fitted(self, make: Callable[[], Any]) -> None:
        model = make()
        with pytest.raises(SklearnNotFittedError):
            check_is_fitted(model)
        check_is_fitted(model.fit(DATA))
        check_is_fitted(hs.persistence.from_arrays([[1.0]], [[2.0]]))

    def test_knows_that_a_model_takes_no_target(self, make: Callable[[], Any]) -> None:
        assert not get_tags(make()).target_tags.required

    def test_runs_pipelines(self, make: Callable[[], Any]) -> None:
        steps = [("table", FunctionTransformer(hs.Interactions.from_frame)), ("model", make())]
        pipeline = clone(Pipeline(steps)).fit(FRAME)
        alone = make().fit(hs.Interactions.from_frame(FRAME))
        np.testing.assert_array_equal(pipeline.predict(FRAME), alone.predict(hs.Interactions.from_frame(FRAME)))
        assert type(alone).__name__ in repr(pipeline)
        assert type(alone).__name__ in pipeline._repr_html_()

    def test_sets_parameters_in_pipelines(self) -> None:
        pipeline = Pipeline([("als", hs.ALS(hs.Implicit(), rank=8))])
        pipeline.set_params(als__rank=3, als__objective__missing_weight=0.5)
        assert repr(pipeline["als"]) == "ALS(Implicit(missing_weight=0.5), rank=3)"
        assert pipeline.get_params()["als__objective__missing_weight"] == 0.5

    def test_passes_features_through_pipelines(self) -> None:
        features = pd.DataFrame({"user": list("abc"), "age": [1.0, 2.0, 4.0]})
        pipeline = Pipeline([("als", hs.ALS(rank=2, iterations=2, random_state=0))])
        pipeline.fit(DATA, als__user_features=features)
        alone = hs.ALS(rank=2, iterations=2, random_state=0).fit(DATA, user_features=features)
        np.testing.assert_array_equal(pipeline["als"].user_factors_, alone.user_factors_)


class TestRepr:
    @pytest.mark.parametrize(
        ("thing", "shown"),
        [
            (hs.ALS(hs.Implicit(), rank=8), "ALS(Implicit(), rank=8)"),
            (hs.ALS(), "ALS()"),
            (hs.ALS(rank=hs.ALS().rank, iterations=3), "ALS(iterations=3)"),
            (hs.ALS(regularization=(1.0, 2.0)), "ALS(regularization=(1.0, 2.0))"),
            (hs.ALS(callbacks=(print,)), "ALS(callbacks=(print,))"),
            (hs.ALS(callbacks=[callback] * 5), "ALS(callbacks=[callback, callback, callback, …])"),
            (
                hs.ALS(init=(np.ones((90, 7)), np.ones((80, 7)))),
                "ALS(init=(<array of shape (90, 7)>, <array of shape (80, 7)>))",
            ),
            (hs.BayesianALS(), "BayesianALS()"),
            (hs.BayesianALS(hs.BayesianALS().objective, rank=3), "BayesianALS(rank=3)"),
            (hs.Explicit(weight=2.0, missing_weight=0.5), "Explicit(weight=2.0, missing_weight=0.5)"),
            (hs.SGD(rank=3), "SGD(rank=3)"),
            (hs.UserItemBias(iterations=10, item_regularization=1.0), "UserItemBias(item_regularization=1.0)"),
            (hs.Popularity(), "Popularity()"),
            (hs.Explicit(), "Explicit()"),
            (hs.Implicit(missing_weight=0.1), "Implicit(missing_weight=0.1)"),
            (hs.Implicit(missing_weight=1), "Implicit(missing_weight=1)"),
            (
                hs.Implicit(observed_weight=hs.weights.confidence(40.0)),
                "Implicit(observed_weight=confidence(alpha=40.0, base=1.0))",
            ),
        ],
        ids=lambda each: each if isinstance(each, str) else "",
    )
    def test_shows_what_differs_from_the_defaults(self, thing: Any, shown: str) -> None:
        assert repr(thing) == shown

    def test_never_compares_arrays(self) -> None:
        weight = hs.weights.row_column(1.0, np.ones(3), np.ones(3))
        assert repr(hs.Explicit(weight=weight)).startswith("Explicit(weight=row_column(w0=1.0")

    def test_shows_the_size_once_fitted(self) -> None:
        data = hs.Interactions.from_arrays(np.arange(1500), np.arange(1500) % 40)
        assert repr(hs.Popularity().fit(data)) == "<Popularity(), fitted: 1,500 users, 40 items>"
        als = hs.ALS(hs.Implicit(), rank=2, iterations=1, random_state=0).fit(DATA)
        assert (
            repr(als) == "<ALS(Implicit(), rank=2, iterations=1, random_state=0), fitted: 3 users, 3 items, rank 2>"
        )
        factors = hs.persistence.from_arrays(np.ones((2, 3)), np.ones((4, 3)))
        assert repr(factors) == "<PretrainedFactors(), fitted: 2 users, 4 items, rank 3>"


class TestCopies:
    @pytest.mark.parametrize("way", WAYS_TO_COPY)
    def test_of_unfitted_models(self, make: Callable[[], Any], way: str) -> None:
        model = WAYS_TO_COPY[way](make())
        assert repr(model) == repr(make())
        np.testing.assert_array_equal(model.fit(DATA).predict(DATA), make().fit(DATA).predict(DATA))
