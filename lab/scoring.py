"""Scores of fitted models, with bootstrap intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

import halfstep as hs
from lab.data import SCALE

Floats = NDArray[np.float64]
Metric = Literal["rmse", "sign_accuracy"]

RESAMPLES = 1_000
LEVEL = 0.95


class Predictor(Protocol):
    """A fitted model."""

    def predict(self, users: NDArray[np.generic], items: NDArray[np.generic]) -> Floats:
        """Predict the values of pairs of ids."""
        ...


def predict(model: Predictor, data: hs.Interactions) -> Floats:
    """Return the prediction for each interaction."""
    return model.predict(data.user_ids, data.item_ids)


def clipped(model: Predictor, data: hs.Interactions) -> Floats:
    """Return predictions clipped to the scale of the ratings."""
    return np.clip(predict(model, data), *SCALE)


def rmse(model: Predictor, data: hs.Interactions) -> float:
    """Return the root mean squared error."""
    return hs.metrics.rmse(data.values, predict(model, data))


def sign_accuracy(model: Predictor, data: hs.Interactions) -> float:
    """Return the fraction of correct signs; predictions that are 0 up to rounding errors count as +1.

    The mean of an item with as many +1 as −1 may be ±1e-17.
    """
    return hs.metrics.sign_accuracy(data.values, np.round(predict(model, data), 12))


SCORE = {"rmse": rmse, "sign_accuracy": sign_accuracy}
IS_ERROR = {"rmse": True, "sign_accuracy": False}  # whether lower is better


@dataclass(frozen=True)
class Estimate:
    """A score or a difference of scores, with a bootstrap interval over users."""

    value: float
    low: float
    high: float

    @property
    def includes_zero(self) -> bool:
        """Whether the interval of a difference includes 0."""
        return self.low <= 0.0 <= self.high


def estimate(model: Predictor, data: hs.Interactions, metric: Metric) -> Estimate:
    """Score a model, with a bootstrap interval.

    Users are resampled, not ratings, because errors of the ratings of a user are correlated. The resamples are the
    same for all models.
    """
    return _with_interval(SCORE[metric](model, data), _resampled(model, data, metric))


def difference(a: Predictor, b: Predictor, data: hs.Interactions, metric: Metric) -> Estimate:
    """Compare two models by the paired bootstrap: the score of the first minus that of the second."""
    value = SCORE[metric](a, data) - SCORE[metric](b, data)
    return _with_interval(value, _resampled(a, data, metric) - _resampled(b, data, metric))


def _resampled(model: Predictor, data: hs.Interactions, metric: Metric) -> Floats:
    predictions = predict(model, data)
    if metric == "rmse":
        losses = (data.values - predictions) ** 2
    else:
        losses = ((data.values >= 0) == (np.round(predictions, 12) >= 0)).astype(np.float64)
    tested = np.flatnonzero(data.user_counts)
    sums = np.bincount(data.user_positions, weights=losses, minlength=data.n_users)[tested]
    counts = data.user_counts[tested]
    sample = np.random.default_rng(0).integers(len(tested), size=(RESAMPLES, len(tested)))
    means: Floats = sums[sample].sum(axis=1) / counts[sample].sum(axis=1)
    return np.sqrt(means) if metric == "rmse" else means


def _with_interval(value: float, resampled: Floats) -> Estimate:
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(value, float(low), float(high))
