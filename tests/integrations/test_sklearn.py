"""The regressor of scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.utils.estimator_checks import check_estimator

import halfstep as hs
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


def test_errors_name_the_remedy(ratings: tuple[pd.DataFrame, np.ndarray]) -> None:
    X, y = ratings
    with pytest.raises(ValueError, match="X has 3 columns: give two, the ids of users and of items"):
        PairRegressor().fit(X.assign(when=0), y)
    with pytest.raises(NotFittedError):
        PairRegressor().predict(X)


class OfAnyColumns(PairRegressor):
    """Makes ids of the columns of numbers in the checks of scikit-learn."""

    def _ids(self, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        numbers = np.floor(4 * pairs.astype(float))
        return numbers[:, 0].astype(int), numbers[:, -1].astype(int)

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
