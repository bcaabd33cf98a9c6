"""Ordered probit model of ordinal ratings (Albert & Chib 1993).

A rating in category r = 1 … K has a latent target t between two thresholds:

    t_ui ~ N(score_ui, 1),   r_ui = r  if  c_{r−1} < t_ui ≤ c_r,   c_0 = −∞, c_K = ∞.

Given the latent targets, users and items are sampled as for any targets with noise precision 1. Given the scores,
thresholds are sampled with the latent targets integrated out (Cowles 1996), because given the latent targets they
would mix slowly; then the latent targets are sampled given the thresholds.

All thresholds are sampled, and so is the prior mean of the biases. Their common level is identified by the priors
alone, and predictions do not depend on it. The prior of the thresholds is that of the order statistics of N(0, 1), so
that at a score of 0 the probabilities of the categories are uniform on the simplex.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from halfstep._support.blocks import is_repeated
from halfstep.data import Interactions, Orientation
from halfstep.errors import DataError
from halfstep.models.bayesian.samples import Samples
from halfstep.objective.cost import Cost
from halfstep.objective.problem import HalfProblem
from halfstep.solver.kernels.ordered_probit import (
    N_SUMS,
    LatentArrays,
    mean_probabilities,
    sample_latent_targets,
    score_cells,
    sum_likelihoods,
)
from halfstep.solver.layout import Factors
from halfstep.solver.schedule import HalfStepPlan
from halfstep.solver.threads import Run

Floats = NDArray[np.float64]

MAX_CATEGORIES = 100
CELLS_PER_TASK = 8192
PAIRS_PER_TASK = 4096
DEGREES_OF_FREEDOM = 5  # of the t proposals, whose tails are heavier than those of the target density
VALUE, SLOPE_LOWER, CURVATURE_LOWER, SLOPE_UPPER, CURVATURE_UPPER = range(N_SUMS)  # columns of the kernel's sums


@dataclass(frozen=True)
class Ratings:
    """Ratings as categories.

    Attributes
    ----------
    categories : ndarray of shape (n_categories,)
        Values of the categories, ascending.
    codes : ndarray of uint8 of shape (n_ratings,)
        Position of each rating in `categories`.
    """

    categories: Floats
    codes: NDArray[np.uint8]

    @classmethod
    def of(cls, data: Interactions, categories: Floats | None = None) -> Self:
        """Encode the values of interactions, by their distinct values or by given categories."""
        if categories is None:
            categories = np.unique(data.values)
            if len(categories) > MAX_CATEGORIES:
                raise DataError(
                    f"there are {len(categories):,} distinct values, such as {categories[0]:g}, {categories[1]:g}: "
                    f"ordinal=True takes at most {MAX_CATEGORIES} categories; set ordinal=False, or round the values"
                )
        codes = np.minimum(np.searchsorted(categories, data.values), len(categories) - 1)
        unknown = np.flatnonzero(categories[codes] != data.values)
        if len(unknown):
            n = int(unknown[0])
            raise DataError(
                f"user {data.users[data.user_positions[n]]!r} has rated item {data.items[data.item_positions[n]]!r} "
                f"with {data.values[n]:g}: give one of the ratings that the model was fitted on, "
                f"{', '.join(f'{value:g}' for value in categories)}"
            )
        return cls(categories, codes.astype(np.uint8))


def latent_cost(given: Cost) -> Cost:
    """Return the objective of latent targets, which are initially 0; thresholds take the place of their mean μ.

    Raises
    ------
    DataError
        If observations are weighted.
    """
    refuse_weights(given.weights)
    return replace(given, targets=np.zeros(len(given.targets)), mean=0.0)


def refuse_weights(weights: NDArray[np.floating]) -> None:
    """Raise DataError unless all weights are 1."""
    uneven = np.flatnonzero((weights[:1] if is_repeated(weights) else weights) != 1.0)
    if len(uneven):
        raise DataError(
            f"a rating has the weight {weights[uneven[0]]:g}: ordinal=True does not support weights, because all "
            "latent targets have the same noise; leave the weights out"
        )


class LatentTargets:
    """Sampler of thresholds and of the latent targets of a half-problem.

    Parameters
    ----------
    run : callable
        Function that runs tasks.
    problem : HalfProblem
        Its targets are ignored.
    codes : ndarray of uint8 of shape (n_cells,)
        Categories of the observed cells.
    transposed_positions : ndarray of shape (n_cells,), optional
        Positions of the cells in the transposed half-problem, if that needs the targets, too.
    streams : ndarray of int of shape (n_cells,), optional
        Index of the random number of each cell, by default its position.

    Attributes
    ----------
    targets : pair of ndarray of shape (n_cells,)
        Latent targets in the order of the problem and of the transposed problem (empty without
        `transposed_positions`); overwritten by `sample`.
    """

    def __init__(
        self,
        run: Run,
        problem: HalfProblem,
        codes: NDArray[np.uint8],
        *,
        transposed_positions: NDArray[np.integer] | None = None,
        streams: NDArray[np.integer] | None = None,
    ) -> None:
        self._run, self._plan, self.codes = run, HalfStepPlan.of(problem), codes
        self._scores = np.empty(len(codes))
        none: NDArray[np.integer] = np.empty(0, np.int64)
        positions = none if transposed_positions is None else transposed_positions
        dtype = problem.targets.dtype
        self.targets = np.zeros(len(codes), dtype), np.zeros(len(positions), dtype)
        self._latent = LatentArrays(
            self.targets[0],
            transposed_targets=self.targets[1],
            transposed_positions=positions,
            streams=none if streams is None else streams,
        )
        self._chunks = [
            (start, min(start + CELLS_PER_TASK, len(codes))) for start in range(0, len(codes), CELLS_PER_TASK)
        ]

    def update_scores(self, X: Factors, Y: Factors) -> None:
        """Compute the scores that later samples are conditioned on."""
        side = self._plan.problem

        def score(first: int, last: int) -> None:
            score_cells(first, last, self._plan.cells, side.rank, side.biases, X, Y, self._scores)

        self._run([partial(score, first, last) for first, last in self._plan.light_ranges])

    def sample(self, thresholds: Floats, key: np.uint64) -> None:
        """Sample the latent targets given scores and thresholds."""
        bounds = _bounds(thresholds)

        def sample(first: int, last: int) -> None:
            sample_latent_targets(first, last, self._scores, self.codes, bounds, key, self._latent)

        self._run([partial(sample, first, last) for first, last in self._chunks])

    def sample_thresholds(self, thresholds: Floats, rng: np.random.Generator) -> Floats:
        """Sample the thresholds given the scores, with the latent targets integrated out.

        Given its neighbors, a threshold has a log-concave density. Alternating between even and odd thresholds, each
        takes a Metropolis–Hastings step: the proposal is a t distribution located by a Newton step and scaled by the
        curvature, so that no step size has to be tuned.
        """
        with np.errstate(all="ignore"):  # proposals with an infinite or undefined density are rejected
            sums = self._sums(thresholds)
            for start in range(min(2, len(thresholds))):
                thresholds, sums = self._step(thresholds, sums, np.arange(start, len(thresholds), 2), rng)
        return thresholds

    def _step(
        self, thresholds: Floats, sums: Floats, some: NDArray[np.intp], rng: np.random.Generator
    ) -> tuple[Floats, Floats]:
        """Sample some thresholds, of which no two are neighbors; return all thresholds and their sums."""
        bounds, before = _bounds(thresholds), thresholds[some]
        value, center, scale = _proposal(before, sums[some], sums[some + 1])
        after = center + scale * rng.standard_t(DEGREES_OF_FREEDOM, len(some))
        log_uniform = np.log(rng.random(len(some)))
        is_ordered = (after > bounds[some]) & (after < bounds[some + 2])
        after = np.where(is_ordered, after, before)
        proposed = thresholds.copy()
        proposed[some] = after
        new_sums = self._sums(proposed)
        new_value, new_center, new_scale = _proposal(after, new_sums[some], new_sums[some + 1])
        ratio = new_value - value + _log_t(before, new_center, new_scale) - _log_t(after, center, scale)
        accepted = some[is_ordered & (log_uniform < ratio)]
        thresholds, sums = thresholds.copy(), sums.copy()
        thresholds[accepted] = proposed[accepted]
        for changed in (accepted, accepted + 1):
            sums[changed] = new_sums[changed]
        return thresholds, sums

    def _sums(self, thresholds: Floats) -> Floats:
        """Return the log-likelihood of each category, with its derivatives, of shape (n_categories, N_SUMS)."""
        bounds, parts = _bounds(thresholds), np.empty((len(self._chunks), len(thresholds) + 1, N_SUMS))

        def add(number: int, first: int, last: int) -> None:
            sum_likelihoods(first, last, self._scores, self.codes, bounds, parts[number])

        self._run([partial(add, number, *chunk) for number, chunk in enumerate(self._chunks)])
        total: Floats = parts.sum(axis=0)
        return total


def positions_in_transpose(by_user: Orientation, by_item: Orientation) -> NDArray[np.int64]:
    """Return the position in `by_item` of each interaction in `by_user`."""
    inverse = np.empty(len(by_item.order), np.int64)
    inverse[by_item.order] = np.arange(len(inverse))
    positions: NDArray[np.int64] = inverse[by_user.order]
    return positions


def initial_thresholds(codes: NDArray[np.uint8], n_categories: int) -> Floats:
    """Return initial thresholds: their estimate from the counts of the categories if all scores are 0."""
    counts = 1.0 + np.bincount(codes, minlength=n_categories)
    thresholds: Floats = ndtri(np.cumsum(counts)[:-1] / counts.sum())
    return thresholds


def probabilities(samples: Samples, u: NDArray[np.integer], i: NDArray[np.integer], run: Run) -> NDArray[np.float64]:
    """Return the posterior predictive probabilities of the categories, of shape (n_pairs, n_categories).

    The prior variance of users and items without observations is added to that of the noise.
    """
    out = np.empty((len(u), samples.thresholds.shape[1] + 1))
    u, i = np.array(u, np.int64), np.array(i, np.int64)
    users, items = samples.users.kernel_arrays, samples.items.kernel_arrays
    variances, thresholds = samples.variance_arrays, np.array(samples.thresholds)

    def find(first: int) -> None:
        some = slice(first, first + PAIRS_PER_TASK)
        mean_probabilities(u[some], i[some], users, items, variances, thresholds, out[some])

    run([partial(find, first) for first in range(0, len(u), PAIRS_PER_TASK)])
    return out


def category_quantiles(category_probabilities: Floats, categories: Floats, probability: float) -> Floats:
    """Return the quantile of each pair's distribution over the categories."""
    is_below = np.cumsum(category_probabilities[:, :-1], axis=1) < probability
    quantiles: Floats = categories[is_below.sum(axis=1)]
    return quantiles


def _bounds(thresholds: Floats) -> Floats:
    return np.concatenate([[-np.inf], thresholds, [np.inf]])


def _proposal(thresholds: Floats, below: Floats, above: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the log density of each threshold, and the location and scale of its proposal.

    The density is the likelihood of the categories below and above, with these sums, times the prior N(0, 1).
    """
    value = below[:, VALUE] + above[:, VALUE] - 0.5 * thresholds**2
    slope = below[:, SLOPE_UPPER] + above[:, SLOPE_LOWER] - thresholds
    curvature = below[:, CURVATURE_UPPER] + above[:, CURVATURE_LOWER] - 1.0
    return value, thresholds - slope / curvature, (-curvature) ** -0.5


def _log_t(x: Floats, center: Floats, scale: Floats) -> Floats:
    """Return the log density of the t proposals, up to a constant."""
    z = (x - center) / scale
    density: Floats = -np.log(scale) - 0.5 * (DEGREES_OF_FREEDOM + 1) * np.log1p(z**2 / DEGREES_OF_FREEDOM)
    return density
