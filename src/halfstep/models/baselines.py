"""Baseline models: means, biases and popularity, as factorizations of rank 0."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from halfstep._support.checks import check_integer, check_number
from halfstep.data import Interactions, interactions_to_fit
from halfstep.errors import NumericalError
from halfstep.models.factor_model import FactorModel
from halfstep.models.factorization import Factorization


class BaselineModel(FactorModel):
    """A factorization of rank 0; subclasses estimate its mean and biases."""

    def fit(self, data: Any, y: None = None) -> Self:
        """Fit the model to observed values.

        Parameters
        ----------
        data : Interactions, scipy.sparse matrix or dataframe
            Input of `as_interactions`; rows of a sparse matrix are users. Weights are ignored.
        y : None
            Ignored, present for compatibility with scikit-learn.

        Returns
        -------
        self
            This model.

        Raises
        ------
        DataError
            If there are no interactions.
        ParameterError
            If a parameter is invalid, or y is not None.
        NumericalError
            If the mean or a bias is not finite.
        """
        self._check_before_fit(y)
        interactions = interactions_to_fit(data)
        with np.errstate(over="ignore", invalid="ignore"):
            mean, user_biases, item_biases = self._estimate(interactions)
        if not all(np.isfinite(part).all() for part in (mean, user_biases, item_biases)):
            raise NumericalError("the mean and the biases are not finite: check the data for extreme values")
        self._set_result(
            Factorization.fitted_now(
                interactions,
                mean=mean,
                user_factors=np.empty((interactions.n_users, 0)),
                item_factors=np.empty((interactions.n_items, 0)),
                user_biases=user_biases,
                item_biases=item_biases,
            )
        )
        return self

    def _estimate(self, data: Interactions) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
        """Return the mean, the user biases and the item biases."""
        raise NotImplementedError

    def of_users(self, histories: Interactions) -> Self:
        """Return a model of other users, with the mean and items of this one.

        Parameters
        ----------
        histories : Interactions
            Interactions of these users with the items of this model.
        """
        self = self._snapshot()
        return self._of_users(histories, np.empty((histories.n_users, 0)), self._biases_of(histories))

    def _biases_of(self, histories: Interactions) -> NDArray[np.float64]:
        """Return the biases of other users."""
        return np.zeros(histories.n_users)


@dataclass(eq=False, repr=False, kw_only=True)
class GlobalMean(BaselineModel):
    """Predict the mean of the observed values for every pair: ŷ_ui = μ.

    `FactorModel` describes the fitted attributes.
    """

    def _estimate(self, data: Interactions) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
        return float(data.values.mean()), np.zeros(data.n_users), np.zeros(data.n_items)


@dataclass(eq=False, repr=False, kw_only=True)
class ItemBias(BaselineModel):
    """Predict the mean value plus an item bias: ŷ_ui = μ + b_i.

    b_i = Σ_u (r_ui − μ) / (λ + n_i) over the n_i observed values of item i: its mean deviation, shrunk towards 0 as
    if λ additional values were equal to μ. Items without values have b_i = 0.

    `FactorModel` describes the fitted attributes.

    Parameters
    ----------
    regularization : float
        λ ≥ 0.
    """

    regularization: float = 0.0

    def _check_parameters(self) -> None:
        check_number("regularization", self.regularization)

    def _estimate(self, data: Interactions) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
        mean = float(data.values.mean())
        item_biases = _shrunk_means(data.values - mean, data.item_positions, data.item_counts, self.regularization)
        return mean, np.zeros(data.n_users), item_biases


@dataclass(eq=False, repr=False, kw_only=True)
class UserItemBias(BaselineModel):
    """Predict the mean value plus a user bias and an item bias: ŷ_ui = μ + b_u + b_i.

    The biases are computed by alternating least squares (Koren 2010, "Factor in the neighbors"). They start at 0, and
    each iteration sets

        b_i = Σ_u (r_ui − μ − b_u) / (λ_i + n_i)    for all items, then
        b_u = Σ_i (r_ui − μ − b_i) / (λ_u + n_u)    for all users,

    over the n_i and n_u observed values, to minimize Σ (r_ui − μ − b_u − b_i)² + λ_u Σ b_u² + λ_i Σ b_i². Users and
    items without values have a bias of 0.

    `FactorModel` describes the fitted attributes.

    Parameters
    ----------
    user_regularization, item_regularization : float
        λ_u ≥ 0 and λ_i ≥ 0.
    iterations : int
        Number of iterations.
    """

    user_regularization: float = 15.0
    item_regularization: float = 10.0
    iterations: int = 10

    def _check_parameters(self) -> None:
        check_number("user_regularization", self.user_regularization)
        check_number("item_regularization", self.item_regularization)
        check_integer("iterations", self.iterations, minimum=1)

    def _estimate(self, data: Interactions) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
        mean = float(data.values.mean())
        deviations = data.values - mean
        users, items = data.user_positions, data.item_positions
        user_biases, item_biases = np.zeros(data.n_users), np.zeros(data.n_items)
        for _ in range(self.iterations):
            item_biases = _shrunk_means(
                deviations - user_biases[users], items, data.item_counts, self.item_regularization
            )
            user_biases = _shrunk_means(
                deviations - item_biases[items], users, data.user_counts, self.user_regularization
            )
        return mean, user_biases, item_biases

    def _biases_of(self, histories: Interactions) -> NDArray[np.float64]:
        residuals = histories.values - self.mean_ - self.item_biases_[histories.item_positions]
        return _shrunk_means(residuals, histories.user_positions, histories.user_counts, self.user_regularization)


@dataclass(eq=False, repr=False, kw_only=True)
class Popularity(BaselineModel):
    """Score an item by its number of interactions, regardless of their values: ŷ_ui = n_i.

    The scores rank items, and do not predict values. `item_biases_` are the counts, and `mean_` is 0; `FactorModel`
    describes the other fitted attributes.
    """

    def _predicts_values(self, data: Interactions) -> bool:
        return False

    def _estimate(self, data: Interactions) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
        return 0.0, np.zeros(data.n_users), data.item_counts.astype(np.float64)


def _shrunk_means(
    residuals: NDArray[np.float64], positions: NDArray[np.int32], counts: NDArray[np.int64], regularization: float
) -> NDArray[np.float64]:
    """Sum the residuals of each position and divide by its count plus λ; 0 for a count of 0."""
    sums = np.bincount(positions, weights=residuals, minlength=len(counts)).astype(np.float64, copy=False)
    means = np.zeros(len(counts))
    np.divide(sums, counts + float(regularization), out=means, where=counts > 0)
    return means
