"""How sure a mean over users is: the percentile bootstrap (Efron 1979), with users drawn, not single events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from halfstep._support.checks import check_number
from halfstep.errors import ParameterError

RESAMPLES = (
    1000  # the ends of a 95% interval are then the 25th and the 975th; the error of each is some 5% of its width
)
DRAWS_AT_ONCE = 1 << 22  # numbers of users drawn together


@dataclass(frozen=True, eq=False)
class Mean:
    """Σ_u sums_u / Σ_u counts_u, or the square root of it: a mean that can be taken again over other users.

    A user's count is the number of values that it contributes: 1 for a metric per user, 0 where the metric has no
    meaning for it, and its number of ratings or events where these are what is averaged.

    Attributes
    ----------
    sums, counts : ndarray of shape (n_users,)
    root : bool
        Whether the mean is of squares.
    """

    sums: NDArray[np.float64]
    counts: NDArray[np.float64]
    root: bool = False

    @classmethod
    def of_values(cls, values: NDArray[np.float64]) -> Self:
        """Average one value per user; NaN where there is none."""
        missing = np.isnan(values)
        return cls(np.where(missing, 0.0, values), np.where(missing, 0.0, 1.0))

    @classmethod
    def of_groups(
        cls, values: NDArray[np.float64], groups: NDArray[np.integer], n_groups: int, *, root: bool = False
    ) -> Self:
        """Average any number of values per user, whose number `groups` says."""
        sums = np.bincount(groups, weights=values, minlength=n_groups).astype(np.float64, copy=False)
        return cls(sums, np.bincount(groups, minlength=n_groups).astype(np.float64), root)

    @property
    def value(self) -> float:
        """The mean; NaN if nothing contributes to it."""
        return float(self._of(self.sums.sum(), self.counts.sum()))

    @property
    def per_user(self) -> NDArray[np.float64]:
        """The same for each user alone, of shape (n_users,); NaN where a user does not contribute."""
        return self._of(self.sums, self.counts)

    def _of(self, sums: NDArray[np.float64] | float, counts: NDArray[np.float64] | float) -> NDArray[np.float64]:
        with np.errstate(invalid="ignore"):
            mean = np.asarray(sums) / np.asarray(counts)  # 0 / 0 is NaN
        return np.asarray(np.sqrt(mean) if self.root else mean, dtype=np.float64)


def resample(means: Sequence[Mean], resamples: int, seed: int) -> NDArray[np.float64]:
    """Take the means again over users that are drawn with replacement, the same for all of them.

    Parameters
    ----------
    means : sequence of Mean
        Over the same users.
    resamples : int
    seed : int

    Returns
    -------
    ndarray of shape (resamples, n_means)
    """
    n_users = len(means[0].sums)
    table = np.column_stack([each.sums for each in means] + [each.counts for each in means])
    rng = np.random.default_rng(seed)
    totals = np.empty((resamples, table.shape[1]))
    together = max(1, DRAWS_AT_ONCE // max(n_users, 1))
    for start in range(0, resamples, together):
        rows = min(together, resamples - start)
        # how often each user is drawn, the multinomial counts of each resample in a row
        drawn = rng.integers(0, n_users, (rows, n_users)) + n_users * np.arange(rows)[:, None]
        times = np.bincount(drawn.ravel(), minlength=rows * n_users).reshape(rows, n_users)
        totals[start : start + rows] = times.astype(np.float64) @ table
    return np.column_stack([each._of(totals[:, k], totals[:, len(means) + k]) for k, each in enumerate(means)])


def intervals(estimates: NDArray[np.float64], confidence: float) -> NDArray[np.float64]:
    """Give the lower and the upper percentile of each column, of shape (n_columns, 2); NaN if none was measured."""
    tail = (1 - confidence) / 2
    ends = np.full((estimates.shape[1], 2), np.nan)
    for column, values in enumerate(estimates.T):
        measured = values[~np.isnan(values)]
        if len(measured):
            ends[column] = np.quantile(measured, [tail, 1 - tail])
    return ends


def check_confidence(confidence: float) -> None:
    """Refuse all but numbers between 0 and 1."""
    check_number("confidence", confidence, positive=True)
    if confidence >= 1:
        raise ParameterError(f"confidence={confidence!r}: give a share below 1, such as 0.95")
