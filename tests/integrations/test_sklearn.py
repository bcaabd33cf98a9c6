"""The regressor of scikit-learn."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.utils import check_array
from sklearn.utils.estimator_checks import check_estimator

import halfstep as hs
from halfstep.errors import DataError, ParameterError
from halfstep.integrations.sklearn import PairRegressor


@pytest.fixture(scope="module")
def ratings() -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(0)
    P, Q = rng.normal(size=(30, 2)), rng.normal(size=(40, 2))
    users, items = np.nonzero(rng.random((30, 40)) < 0.5)
    order = rng.permutation(len(users))
    users, items = users[order], items[order]
    X = pd.DataFrame({"who": [f"u{user}" for user in users], "what": items})
    return X, 3 + (P[users] * Q[items]).sum(axis=1)


def test_the_fit_is_that_of_the_model(ratings: tuple[pd.DataFrame, np.ndarray]) -> None:
    X, y = ratings
    model = hs.ALS(hs.Explicit(), rank=2, random_state=0)
    fitted = PairRegressor(model).fit(X, y)
    expected = model.fit(hs.Interactions.from_arrays(X["who"], X["what"], y))
    np.testing.assert_array_equal(fitted.predict(X), expected.predict(X["who"], X["what"]))
    of_array = PairRegressor(model).fit(X.to_numpy(), y.tolist())
    np.testing.assert_array_equal(of_array.predict(X.to_numpy()), fitted.predict(X))
    assert fitted.feature_names_in_.tolist() == ["who", "what"]
    assert fitted.n_features_in_ == 2


def test_cross_validation_finds_the_rank(ratings: tuple[pd.DataFrame, np.ndarray]) -> None:
    X, y = ratings
    scores = cross_val_score(
        PairRegressor(hs.ALS(hs.Explicit(), rank=2, regularization=1, random_state=0)), X, y, cv=3
    )
    assert scores.min() > 0.5
    search = GridSearchCV(
        PairRegressor(hs.ALS(hs.Explicit(), regularization=1, random_state=0)),
        {"model__rank": [1, 2], "model__objective__biases": [True, False]},
        cv=3,
        scoring="neg_root_mean_squared_error",
    ).fit(X, y)
    assert search.best_params_["model__rank"] == 2
    assert search.best_estimator_.model_.item_factors_.shape == (40, 2)


def test_the_default_model_is_explicit_and_parameters_stay(ratings: tuple[pd.DataFrame, np.ndarray]) -> None:
    X, y = ratings
    regressor = PairRegressor().fit(X, y)
    assert regressor.model is None
    assert regressor.model_.objective_ == hs.Explicit()
    assert clone(PairRegressor(hs.ALS(rank=3))).model.rank == 3


def test_repeated_pairs_have_the_mean_value() -> None:
    regressor = PairRegressor(hs.GlobalMean()).fit([["a", "x"], ["a", "x"], ["b", "x"]], [1.0, 3.0, 5.0])
    assert regressor.predict([["a", "x"]]) == pytest.approx(3.5)


LARGE = 2**63 + 1
DAYS = [dt.date(2026, 1, 1), dt.date(2026, 1, 2)]
BIASES = hs.UserItemBias()


@pytest.mark.parametrize(
    ("X", "users", "items"),
    [
        (pd.DataFrame({"u": np.array([LARGE, LARGE + 1], np.uint64), "i": [-1, 2]}), [LARGE, LARGE + 1], [-1, 2]),
        (pa.table({"u": pa.array([LARGE, LARGE + 1], pa.uint64()), "i": [-1, 2]}), [LARGE, LARGE + 1], [-1, 2]),
        (pd.DataFrame({"u": [7, 8], "i": np.array(DAYS, "datetime64[s]")}), [7, 8], None),
        (pd.DataFrame({"u": [7, 8], "i": DAYS}), [7, 8], DAYS),
        (pa.table({"u": ["7", "8"], "i": DAYS}), ["7", "8"], DAYS),
        (pd.DataFrame({"u": pd.Categorical(["b", "a"]), "i": [True, False]}), ["a", "b"], [False, True]),
        (pd.DataFrame({"u": pd.array([2**60 + 1, 2], "Int64"), "i": [0.5, 1.5]}), [2, 2**60 + 1], [0.5, 1.5]),
        ([["ann", 2**60 + 1], ["bob", 2]], ["ann", "bob"], [2, 2**60 + 1]),
        (np.array([["ann", 1], ["bob", 2]], dtype=object), ["ann", "bob"], [1, 2]),
        (np.array([["ann", 1], ["bob", 2]]), ["ann", "bob"], ["1", "2"]),
        (np.array([[2**60 + 1, 5], [2, 6]]), [2, 2**60 + 1], [5, 6]),
        ([(("a", 1), ("x", 1)), [("b", 2), ("y", 2)]], [("a", 1), ("b", 2)], [("x", 1), ("y", 2)]),
    ],
)
def test_ids_keep_their_types(X: Any, users: list[Any], items: list[Any] | None) -> None:
    regressor = PairRegressor(BIASES).fit(X, [1.0, 5.0])
    assert regressor.model_.users_.ids.tolist() == users
    assert items is None or regressor.model_.items_.ids.tolist() == items
    low, high = regressor.predict(X)
    assert low < 3 < high


def test_ids_of_another_type_are_errors() -> None:
    regressor = PairRegressor(BIASES).fit([["ann", 1], ["bob", 2]], [1.0, 5.0])
    with pytest.raises(DataError, match=r"item id .*'1'.* is a string.* integers"):
        regressor.predict(np.array([["ann", "1"]]))
    with pytest.raises(DataError, match=r"user id in row 1 .* is nan: a missing id"):
        regressor.predict(np.array([["ann", 1], [float("nan"), 2]], dtype=object))


@pytest.mark.parametrize("model", [hs.Popularity(), hs.EASE(), hs.ALS(hs.Implicit(), rank=1)], ids=repr)
def test_models_that_do_not_predict_values_are_errors(model: Any) -> None:
    with pytest.raises(
        ParameterError, match=r"^model=.* does not predict values: give a model that does, such as ALS"
    ):
        PairRegressor(model).fit([["a", 1], ["b", 2]], [1.0, 5.0])


@pytest.mark.parametrize("model", ["ALS", hs.ALS, 3])
def test_what_is_no_model_is_an_error(model: Any) -> None:
    with pytest.raises(ParameterError, match=r"^model=.*: give a model of halfstep, such as ALS\(\)"):
        PairRegressor(model).fit([["a", 1], ["b", 2]], [1.0, 5.0])


def test_errors_name_the_remedy(ratings: tuple[pd.DataFrame, np.ndarray]) -> None:
    X, y = ratings
    with pytest.raises(ValueError, match="X has 3 columns: give two, the ids of users and of items"):
        PairRegressor().fit(X.assign(when=0), y)
    with pytest.raises(NotFittedError):
        PairRegressor().predict(X)


class OfAnyColumns(PairRegressor):
    """Makes ids of the columns of numbers in the checks of scikit-learn."""

    def _columns(self, X: Any) -> list[np.ndarray]:
        numbers = np.floor(4 * check_array(X, estimator=self).astype(float))
        return [numbers[:, 0].astype(int), numbers[:, -1].astype(int)]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True  # these values do not depend on ids
        return tags


def test_checks_of_scikit_learn() -> None:
    results: list[dict[str, Any]] = check_estimator(
        OfAnyColumns(hs.ALS(hs.Explicit(), random_state=0)), on_fail=None, on_skip=None
    )
    failed = {each["check_name"]: each["exception"] for each in results if each["status"] == "failed"}
    assert not failed, failed
    assert sum(each["status"] == "passed" for each in results) > 40
