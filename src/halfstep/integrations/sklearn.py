"""A scikit-learn regressor for pairs of a user and an item.

>>> import numpy as np
>>> import halfstep as hs
>>> from halfstep.integrations.sklearn import PairRegressor
>>> X = np.array([["ann", "tea"], ["ann", "milk"], ["bob", "tea"]])
>>> PairRegressor(hs.ALS(hs.Explicit(), rank=2)).fit(X, [5.0, 1.0, 4.0]).predict([["bob", "milk"]]).shape
(1,)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

try:
    from sklearn.base import BaseEstimator, RegressorMixin, clone
    from sklearn.utils.validation import check_array, check_is_fitted, validate_data
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "halfstep.integrations.sklearn requires scikit-learn: run pip install 'scikit-learn>=1.6'", name="sklearn"
    ) from error

from halfstep.data import Interactions
from halfstep.data.frames import column_names, columns_of
from halfstep.errors import DataError, ParameterError
from halfstep.integrations._models import check_model
from halfstep.models.als import ALS
from halfstep.models.factor_model import FactorModel
from halfstep.objective.objective import Explicit


class PairRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]  # without annotations
    """Predict the value of an interaction from its user and its item.

    It works wherever scikit-learn accepts a regressor, such as in ``cross_val_score`` or ``GridSearchCV``. Parameters
    of a given model are named, for example, ``model__rank`` or ``model__objective__biases``.

    Parameters
    ----------
    model : FactorModel, optional
        The model to fit, which is cloned first. It must predict values, unlike, for example, ``ALS(Implicit())``. By
        default, ``ALS(Explicit())``.

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
            Ids of users and of items: a dataframe, an array or a list of pairs, in which ids keep their types. Both
            columns of an array have one type, unless its dtype is object. Values of repeated pairs are averaged.
        y : array-like of shape (n_samples,)
            Values.

        Returns
        -------
        self

        Raises
        ------
        DataError
            If an id is invalid.
        ParameterError
            If the model is not one of halfstep, or does not predict values.
        """
        model = ALS(Explicit()) if self.model is None else check_model(self.model)
        values = validate_data(self, y=y, y_numeric=True)
        users, items = self._ids(X, reset=True)
        data = Interactions.from_arrays(users, items, values, duplicates="mean")
        fitted: Any = clone(model).fit(data)
        if not fitted._predicts_values(data):
            raise ParameterError(
                f"model={model!r} ranks items, and does not predict values: give a model that does, such as "
                "ALS(Explicit())"
            )
        self.model_ = fitted
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Return predicted values; for an unknown user or item, the mean plus the bias of the other, if known.

        Parameters
        ----------
        X : array-like of shape (n_samples, 2)

        Returns
        -------
        ndarray of shape (n_samples,)

        Raises
        ------
        DataError
            If an id is invalid, or of a different type than those that the model was fitted on.
        """
        check_is_fitted(self)
        predicted: NDArray[np.float64] = self.model_.predict(*self._ids(X, reset=False))
        return predicted

    def _ids(self, X: Any, *, reset: bool) -> tuple[Any, Any]:
        """Return the ids of users and of items; if `reset`, set ``n_features_in_`` and ``feature_names_in_``."""
        columns = self._columns(X)
        validate_data(self, X, reset=reset, skip_check_array=True)
        if len(columns) != 2:
            raise DataError(f"X has {len(columns)} columns: give two, the ids of users and of items")
        return columns[0], columns[1]

    def _columns(self, X: Any) -> Sequence[Any]:
        """Return the columns with their own types, which scikit-learn would convert to a common one."""
        names = column_names(X)
        if names is not None:
            return list(columns_of(X, {name: name for name in names}).values())
        if isinstance(X, list | tuple):
            if X and all(isinstance(row, list | tuple) and len(row) == 2 for row in X):
                return [[row[0] for row in X], [row[1] for row in X]]
            X = np.array(X, dtype=object)
        pairs = check_array(X, dtype=None, ensure_all_finite=False, estimator=self)
        return list(pairs.T)
