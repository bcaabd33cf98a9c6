"""Confidence intervals of means over users by the percentile bootstrap (Efron 1979), which resamples users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from halfstep._support.checks import check_integer, check_number
from halfstep.errors import ParameterError

RESAMPLES = 1000  # the error of each bound of a 95% interval is about 5% of its width
SAMPLES_AT_ONCE = 1 << 22  # users


@dataclass(frozen=True, eq=False)
class Mean:
    """A mean Σ_u sums_u / Σ_u counts_u, or its square root, which can be resampled over users.

    The count of a user is the number of its values: 1 for a metric per user, 0 if the metric is not defined for it,
    and the number of its ratings or events for means over these.

    Attributes
    ----------
    sums, counts : ndarray of shape (n_users,)
    root : bool
        Whether to take the square root.
    """

    sums: NDArray[np.float64]
    counts: NDArray[np.float64]
    root: bool = False

    @classmethod
    def of_values(cls, values: NDArray[np.float64]) -> Self:
        """Return the mean of one value per user; NaN values are ignored."""
        missing = np.isnan(values)
        return cls(np.where(missing, 0.0, values), np.where(missing, 0.0, 1.0))

    @classmethod
    def of_groups(
        cls, values: NDArray[np.float64], groups: NDArray[np.integer], n_groups: int, *, root: bool = False
    ) -> Self:
        """Return the mean of values of several users, given by `groups`."""
        sums = np.bincount(groups, weights=values, minlength=n_groups).astype(np.float64, copy=False)
        return cls(sums, np.bincount(groups, minlength=n_groups).astype(np.float64), root)

    @property
    def value(self) -> float:
        """The mean; NaN if there are no values."""
        return float(self._of(self.sums.sum(), self.counts.sum()))

    @property
    def per_user(self) -> NDArray[np.float64]:
        """The mean of each user, of shape (n_users,); NaN for users without values."""
        return self._of(self.sums, self.counts)

    def _of(self, sums: NDArray[np.float64] | float, counts: NDArray[np.float64] | float) -> NDArray[np.float64]:
        with np.errstate(invalid="ignore"):
            mean = np.asarray(sums) / np.asarray(counts)  # 0 / 0 is NaN
        return np.asarray(np.sqrt(mean) if self.root else mean, dtype=np.float64)


def resample(means: Sequence[Mean], resamples: int, seed: int) -> NDArray[np.float64]:
    """Compute means over users sampled with replacement, the same for all, of shape (resamples, n_means)."""
    n_users = len(means[0].sums)
    table = np.column_stack([each.sums for each in means] + [each.counts for each in means])
    rng = np.random.default_rng(seed)
    totals = np.empty((resamples, table.shape[1]))
    together = max(1, SAMPLES_AT_ONCE // max(n_users, 1))
    for start in range(0, resamples, together):
        rows = min(together, resamples - start)
        # the number of times that each user is sampled, with a row for each resample
        sampled = rng.integers(0, n_users, (rows, n_users)) + n_users * np.arange(rows)[:, None]
        times = np.bincount(sampled.ravel(), minlength=rows * n_users).reshape(rows, n_users)
        totals[start : start + rows] = times.astype(np.float64) @ table
    return np.column_stack([each._of(totals[:, k], totals[:, len(means) + k]) for k, each in enumerate(means)])


def intervals(estimates: NDArray[np.float64], confidence: float) -> NDArray[np.float64]:
    """Return the bounds of the interval of each column, of shape (n_columns, 2); NaN values are ignored."""
    tail = (1 - confidence) / 2
    bounds = np.full((estimates.shape[1], 2), np.nan)
    for column, values in enumerate(estimates.T):
        measured = values[~np.isnan(values)]
        if len(measured):
            bounds[column] = np.quantile(measured, [tail, 1 - tail])
    return bounds


def check_bootstrap(confidence: float, resamples: int) -> None:
    """Check that a confidence level is between 0 and 1, and that there are resamples."""
    check_number("confidence", confidence, positive=True)
    if confidence >= 1:
        raise ParameterError(f"confidence={confidence!r}: give a number below 1, such as 0.95")
    check_integer("resamples", resamples, minimum=1)
