"""Ordinal ratings in a sampler: an ordered probit (Albert & Chib 1993).

A rating says which of some categories r = 1 … K it is, in their order, and nothing of how far apart these are. Where
its latent target t lies between cuts says which:

    t_ui ~ N(score_ui, 1),   r_ui = r  where  c_{r−1} < t_ui ≤ c_r,   c_0 = −∞, c_K = ∞.

Given the latent targets, users and items are drawn as for any targets whose noise has the precision 1. Given the
scores, cuts and latent targets are drawn together: the cuts whatever the latent targets are (Cowles 1996), for
between those of many ratings they could hardly move, and the latent targets given the cuts.

All cuts are drawn, and what biases are drawn around is free: the level of both is told by their priors, and by
nothing else, nor does it matter to any prediction. A priori cuts are so many draws from N(0, 1), in order; then all
ways for a score of 0 to fall into the categories are equally likely, for Φ makes uniform draws of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from halfstep.data import Interactions, Orientation
from halfstep.errors import DataError
from halfstep.models.bayesian.samples import Samples
from halfstep.objective.objective import Cost, is_repeated
from halfstep.objective.problem import HalfProblem
from halfstep.solver.kernels.ordinal import (
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

MOST_CATEGORIES = 100
CELLS_AT_ONCE = 8192  # by one task; sums of so many are added up in order
PAIRS_AT_ONCE = 4096
FREEDOM = 5  # degrees of freedom of what cuts are proposed from: a t distribution, with wider tails than it meets
VALUE, BY_LOWER, TWICE_BY_LOWER, BY_UPPER, TWICE_BY_UPPER = range(N_SUMS)  # as kernels sum them


@dataclass(frozen=True)
class Ratings:
    """Entries as categories.

    Attributes
    ----------
    categories : ndarray of shape (n_categories,)
        Their values, ascending.
    numbers : ndarray of uint8 of shape (n_entries,)
        Which of them each entry is.
    """

    categories: Floats
    numbers: NDArray[np.uint8]

    @classmethod
    def of(cls, data: Interactions, categories: Floats | None = None) -> Self:
        """Take the distinct values of interactions, or categories that are known.

        Raises
        ------
        DataError
            If values are too many to be categories, or one is none of those that are known.
        """
        if categories is None:
            categories = np.unique(data.values)
            if len(categories) > MOST_CATEGORIES:
                raise DataError(
                    f"there are {len(categories):,} distinct values, such as {categories[0]:g}, {categories[1]:g}: "
                    f"ordinal=True takes ratings of at most {MOST_CATEGORIES} categories; leave it off, or round them"
                )
        numbers = np.minimum(np.searchsorted(categories, data.values), len(categories) - 1)
        foreign = np.flatnonzero(categories[numbers] != data.values)
        if len(foreign):
            n = int(foreign[0])
            raise DataError(
                f"user {data.users[data.user_positions[n]]!r} has rated item {data.items[data.item_positions[n]]!r} "
                f"with {data.values[n]:g}: give one of the ratings that the model was fitted on, "
                f"{', '.join(f'{value:g}' for value in categories)}"
            )
        return cls(categories, numbers.astype(np.uint8))


def latent_cost(given: Cost) -> Cost:
    """The objective of latent targets, all 0 until they are drawn: around no mean, for cuts move instead.

    Raises
    ------
    DataError
        If observations are weighted.
    """
    refuse_weights(given.weights)
    return replace(given, targets=np.zeros(len(given.targets)), mean=0.0)


def refuse_weights(weights: NDArray[np.floating]) -> None:
    """Raise DataError unless all are 1."""
    uneven = np.flatnonzero((weights[:1] if is_repeated(weights) else weights) != 1.0)
    if len(uneven):
        raise DataError(
            f"an entry has the weight {weights[uneven[0]]:g}: with ordinal=True each counts once, for all latent "
            "targets have the same noise; leave the weights out"
        )


class Latents:
    """The latent targets of a half-problem.

    Parameters
    ----------
    run : callable
        Runs tasks.
    problem : HalfProblem
        Its targets are not used.
    numbers : ndarray of uint8 of shape (n_cells,)
        The categories of the observations, in the order of the problem.
    opposite_places : ndarray of shape (n_cells,), optional
        The positions of the observations in the problem of the other side, if that needs the targets, too.
    streams : ndarray of int of shape (n_cells,), optional
        Which random number each observation gets; by default its own.

    Attributes
    ----------
    targets : pair of ndarray of shape (n_cells,)
        The latent targets in the order of the problem, and in that of the other side (empty without
        `opposite_places`); overwritten by each draw.
    """

    def __init__(
        self,
        run: Run,
        problem: HalfProblem,
        numbers: NDArray[np.uint8],
        *,
        opposite_places: NDArray[np.integer] | None = None,
        streams: NDArray[np.integer] | None = None,
    ) -> None:
        self._run, self._plan, self.numbers = run, HalfStepPlan.of(problem), numbers
        self._scores = np.empty(len(numbers))
        none: NDArray[np.integer] = np.empty(0, np.int64)
        places = none if opposite_places is None else opposite_places
        dtype = problem.targets.dtype
        self.targets = np.zeros(len(numbers), dtype), np.zeros(len(places), dtype)
        self._latent = LatentArrays(
            self.targets[0],
            transposed_targets=self.targets[1],
            transposed_positions=places,
            streams=none if streams is None else streams,
        )
        self._pieces = [
            (start, min(start + CELLS_AT_ONCE, len(numbers))) for start in range(0, len(numbers), CELLS_AT_ONCE)
        ]

    def score(self, X: Factors, Y: Factors) -> None:
        """Take the scores that all draws go by, until they are taken again."""
        side = self._plan.problem

        def score(first: int, last: int) -> None:
            score_cells(first, last, self._plan.cells, side.rank, side.biases, X, Y, self._scores)

        self._run([partial(score, first, last) for first, last in self._plan.light_ranges])

    def draw(self, cuts: Floats, key: np.uint64) -> None:
        """Draw the latent targets given scores and cuts."""
        bounds = _bounds(cuts)

        def draw(first: int, last: int) -> None:
            sample_latent_targets(first, last, self._scores, self.numbers, bounds, key, self._latent)

        self._run([partial(draw, first, last) for first, last in self._pieces])

    def drawn_cuts(self, cuts: Floats, rng: np.random.Generator) -> Floats:
        """Draw the cuts given the scores, whatever the latent targets are: every other one, then those between.

        Between its neighbours a cut has a log-concave density, which a step of Metropolis and Hastings follows: from
        a t distribution around where a step of Newton's method leads, as wide as the curvature there says. So no
        width is to be set or to be found in the burn-in.
        """
        with np.errstate(all="ignore"):  # what cannot be told from 0 or ∞ is refused
            sums = self._sums(cuts)
            for start in range(min(2, len(cuts))):
                cuts, sums = self._step(cuts, sums, np.arange(start, len(cuts), 2), rng)
        return cuts

    def _step(
        self, cuts: Floats, sums: Floats, some: NDArray[np.intp], rng: np.random.Generator
    ) -> tuple[Floats, Floats]:
        """Draw some cuts, no two of which are neighbours; and return the sums at all cuts as they are then."""
        bounds, before = _bounds(cuts), cuts[some]
        value, center, spread = _proposal(before, sums[some], sums[some + 1])
        after = center + spread * rng.standard_t(FREEDOM, len(some))
        chance = np.log(rng.random(len(some)))
        is_allowed = (after > bounds[some]) & (after < bounds[some + 2])
        after = np.where(is_allowed, after, before)
        proposed = cuts.copy()
        proposed[some] = after
        new_sums = self._sums(proposed)
        new_value, new_center, new_spread = _proposal(after, new_sums[some], new_sums[some + 1])
        ratio = new_value - value + _log_t(before, new_center, new_spread) - _log_t(after, center, spread)
        taken = some[is_allowed & (chance < ratio)]
        cuts, sums = cuts.copy(), sums.copy()
        cuts[taken] = proposed[taken]
        for touched in (taken, taken + 1):
            sums[touched] = new_sums[touched]
        return cuts, sums

    def _sums(self, cuts: Floats) -> Floats:
        """What each category says of its bounds, of shape (n_categories, N_SUMS)."""
        bounds, parts = _bounds(cuts), np.empty((len(self._pieces), len(cuts) + 1, N_SUMS))

        def add(number: int, first: int, last: int) -> None:
            sum_likelihoods(first, last, self._scores, self.numbers, bounds, parts[number])

        self._run([partial(add, number, *piece) for number, piece in enumerate(self._pieces)])
        total: Floats = parts.sum(axis=0)
        return total


def opposite_places(by_user: Orientation, by_item: Orientation) -> NDArray[np.int64]:
    """Where each entry of the one order is in the other."""
    places = np.empty(len(by_item.order), np.int64)
    places[by_item.order] = np.arange(len(places))
    found: NDArray[np.int64] = places[by_user.order]
    return found


def first_cuts(numbers: NDArray[np.uint8], n_categories: int) -> Floats:
    """The cuts that a chain starts from: where they are expected to be if all scores are 0."""
    counts = 1.0 + np.bincount(numbers, minlength=n_categories)
    cuts: Floats = ndtri(np.cumsum(counts)[:-1] / counts.sum())
    return cuts


def probabilities(samples: Samples, u: NDArray[np.integer], i: NDArray[np.integer], run: Run) -> NDArray[np.float64]:
    """The probability of each category for pairs of positions, of shape (n_pairs, n_categories).

    The mean over all samples; what is not known of a user or an item without observations adds to the noise.
    """
    out = np.empty((len(u), samples.cuts.shape[1] + 1))
    u, i = np.array(u, np.int64), np.array(i, np.int64)
    users, items, spread, cuts = samples.users.sampled, samples.items.sampled, samples.spread, np.array(samples.cuts)

    def find(first: int) -> None:
        some = slice(first, first + PAIRS_AT_ONCE)
        mean_probabilities(u[some], i[some], users, items, spread, cuts, out[some])

    run([partial(find, first) for first in range(0, len(u), PAIRS_AT_ONCE)])
    return out


def category_quantiles(shares: Floats, categories: Floats, share: float) -> Floats:
    """The least category up to which a pair has the share, for the probabilities of each."""
    reached = np.cumsum(shares[:, :-1], axis=1) < share
    found: Floats = categories[reached.sum(axis=1)]
    return found


def _bounds(cuts: Floats) -> Floats:
    return np.concatenate([[-np.inf], cuts, [np.inf]])


def _proposal(cuts: Floats, below: Floats, above: Floats) -> tuple[Floats, Floats, Floats]:
    """The logarithm of each cut's density, and the center and width of what is proposed from there.

    Given are the sums of the categories that it has below and above; a priori it is from N(0, 1).
    """
    value = below[:, VALUE] + above[:, VALUE] - 0.5 * cuts**2
    slope = below[:, BY_UPPER] + above[:, BY_LOWER] - cuts
    curvature = below[:, TWICE_BY_UPPER] + above[:, TWICE_BY_LOWER] - 1.0
    return value, cuts - slope / curvature, (-curvature) ** -0.5


def _log_t(x: Floats, center: Floats, spread: Floats) -> Floats:
    """The logarithm of the density that cuts are proposed from, but for a constant."""
    z = (x - center) / spread
    density: Floats = -np.log(spread) - 0.5 * (FREEDOM + 1) * np.log1p(z**2 / FREEDOM)
    return density
