"""A regressor of scikit-learn for pairs of a user and an item.

>>> import numpy as np
>>> import halfstep as hs
>>> from halfstep.integrations.sklearn import PairRegressor
>>> X = np.array([["ann", "tea"], ["ann", "milk"], ["bob", "tea"]])
>>> PairRegressor(hs.ALS(hs.Explicit(), rank=2)).fit(X, [5.0, 1.0, 4.0]).predict([["bob", "milk"]]).shape
(1,)
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

try:
    from sklearn.base import BaseEstimator, RegressorMixin, clone
    from sklearn.utils.validation import check_is_fitted, validate_data
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "halfstep.integrations.sklearn requires scikit-learn: run pip install 'scikit-learn>=1.6'", name="sklearn"
    ) from error

from halfstep.data import Interactions
from halfstep.errors import DataError
from halfstep.models.als import ALS
from halfstep.models.factor_model import FactorModel
from halfstep.objective.objective import Explicit


class PairRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]  # without annotations
    """Predict the value of an interaction from its user and its item.

    It works wherever scikit-learn takes a regressor, such as in ``cross_val_score`` or ``GridSearchCV``. Parameters
    of a given model are named, for example, ``model__rank`` or ``model__objective__biases``.

    Parameters
    ----------
    model : FactorModel, optional
        The model to fit, which is cloned first. By default, ``ALS(Explicit())``.

    Attributes
    ----------
    model_ : FactorModel
        The fitted model.
    n_features_in_ : int
        2.
    """

    def __init__(self, model: FactorModel | None = None) -> None:
        self.model = model

    def fit(self, X: Any, y: Any) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : array-like of shape (n_samples, 2)
            Ids of users and of items: a dataframe, an array or a list. Both columns of an array have one type, unless
            its dtype is object. The value of a repeated pair is the mean.
        y : array-like of shape (n_samples,)
            Values.

        Returns
        -------
        self
        """
        pairs, values = validate_data(self, X, y, dtype=None, y_numeric=True)
        users, items = self._ids(pairs)
        data = Interactions.from_arrays(users, items, values, duplicates="mean")
        self.model_ = (ALS(Explicit()) if self.model is None else clone(self.model)).fit(data)
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Return predicted values; for an unknown user or item, the mean plus the bias of the other, if known.

        Parameters
        ----------
        X : array-like of shape (n_samples, 2)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        check_is_fitted(self)
        pairs = validate_data(self, X, dtype=None, reset=False)
        predicted: NDArray[np.float64] = self.model_.predict(*self._ids(pairs))
        return predicted

    def _ids(self, pairs: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        if pairs.shape[1] != 2:
            raise DataError(f"X has {pairs.shape[1]} columns: give two, the ids of users and of items")
        return pairs[:, 0], pairs[:, 1]
