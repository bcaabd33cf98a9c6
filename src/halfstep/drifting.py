"""Fitting biases that drift: each block in closed form, given all the rest.

Without the drift, the rest of the model is what it is elsewhere: half-steps for targets
t − b_{i,bin} − a_u dev_u. And given the rest, with the residuals e = t − score − drift,

    b_{i,bin} ← (Σ w e + b_{i,bin} Σ w) / (Σ w + λ_{i,bin}),      over the observations of i in the bin
    a_u ← (Σ w dev e + a_u Σ w dev²) / (Σ w dev² + λ_u),          over those of u,

each the minimum of the objective over all bins, or all trends. So the objective never rises. A sampler draws them
instead, with τ w for w and a precision of their own for λ, from normal distributions around the same quotients.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from halfstep.backends.chunks import LoadedSide
from halfstep.backends.cpu import CPU
from halfstep.backends.protocol import Factors, empty_factors
from halfstep.conditionals import draw_noise_precision
from halfstep.drift import Drift, FittedDrift
from halfstep.interactions import Interactions
from halfstep.kernels.drift import pull_bins, pull_trends, without_drift
from halfstep.rows import solve_rows
from halfstep.sides import Regularization, Side

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _Cells:
    """The observations in the order of one side.

    Attributes
    ----------
    loaded : LoadedSide
        Whose targets are written to.
    given : ndarray of shape (n_cells,)
        The targets with all that drifts.
    bins : ndarray of shape (n_cells,)
    deviations : ndarray of shape (n_cells,) or (1,)
        Of one element, 0, where users have no trend.
    """

    loaded: LoadedSide
    given: NDArray[np.floating]
    bins: NDArray[np.int32]
    deviations: NDArray[np.floating]

    @property
    def weights(self) -> Floats:
        """Weights of the observations, in double precision."""
        return np.broadcast_to(self.loaded.side.weights.astype(np.float64), self.given.shape)

    def run(self, backend: CPU, task: Callable[[int, int], None]) -> None:
        """Run a task on all rows, some at a time."""
        backend.run([partial(task, first, last) for first, last in self.loaded.light_ranges])


class DriftSteps:
    """The drift's part of a fit.

    Parameters
    ----------
    backend : CPU
    by_user, by_item : LoadedSide
        With a target for each observation; they are overwritten from here.
    data : Interactions
    drift : Drift
    regularization : Regularization
        Whose exponent and counts scale λ.

    Attributes
    ----------
    start : FittedDrift
        All 0.
    """

    def __init__(
        self,
        backend: CPU,
        by_user: LoadedSide,
        by_item: LoadedSide,
        data: Interactions,
        drift: Drift,
        regularization: Regularization,
    ) -> None:
        self.start = FittedDrift.begin(drift, data)
        self._backend, self._has_trends, self._has_bins = backend, bool(drift.user_trend), len(self.start.edges) > 0
        assert data.timestamps is not None
        t = self.start.times(data.timestamps)
        bins, dtype = self.start.bins(t), by_user.side.weights.dtype
        d = self.start.deviations(data.user_positions, t) if drift.user_trend else np.zeros(1)
        self._users, self._items = (
            _Cells(
                loaded,
                loaded.side.targets.copy(),
                bins[orientation.order],
                (d[orientation.order] if drift.user_trend else d).astype(dtype),
            )
            for loaded, orientation in ((by_user, data.by_user), (by_item, data.by_item))
        )
        self._aimed: FittedDrift | None = self.start
        self._weigh(data, drift, regularization)

    def _weigh(self, data: Interactions, drift: Drift, regularization: Regularization) -> None:
        """Sum what each bin and each trend weighs, Σ w and Σ w dev², and scale λ by how often each occurs."""
        users, items = self._users, self._items
        shape = self.start.item_biases.shape
        n_bins = shape[0] * shape[1]
        places = np.repeat(np.arange(shape[0]), data.item_counts) * shape[1] + items.bins
        counted = data.values[data.by_item.order] > 0 if regularization.counts == "positive" else None
        of_trends, of_bins = drift.strengths
        self._bin_weights = _summed(places, items.weights, n_bins).reshape(shape)
        self._bin_ridge = regularization.of_rows(of_bins, _summed(places, counted, n_bins), None).reshape(shape)
        rows = np.repeat(np.arange(data.n_users), data.user_counts)
        self._trend_weights = _summed(rows, users.weights * users.deviations.astype(np.float64) ** 2, data.n_users)
        self._trend_ridge = trend_ridge(of_trends, data, regularization)

    def improved(self, P: Factors, Q: Factors, drift: FittedDrift) -> FittedDrift:
        """Take both steps from where a fit is: first the items' bins, then the users' trends."""
        if self._has_bins:
            pulls = self._bin_pulls(P, Q, drift)
            drift = replace(drift, item_biases=_solved(pulls, self._bin_weights, self._bin_ridge))
        if self._has_trends:
            pulls = self._trend_pulls(P, Q, drift)
            drift = replace(drift, trends=_solved(pulls, self._trend_weights, self._trend_ridge))
        return drift

    def drawn(
        self, P: Factors, Q: Factors, drift: FittedDrift, noise: float, unit: float, rng: np.random.Generator
    ) -> FittedDrift:
        """Draw both blocks, given all the rest of a sampler's state.

        What they are drawn around is 0, with a precision that is drawn before, given what they are: of the bins one,
        of the trends another, both a priori as that of the noise. In an item's bin without observations there is
        nothing that a draw could be told by, and it stays at 0.

        Parameters
        ----------
        P, Q : ndarray
        drift : FittedDrift
            As it is.
        noise : float
            τ.
        unit : float
            The targets' standard deviation.
        rng : numpy.random.Generator
        """
        if self._has_bins:
            pulls = self._bin_pulls(P, Q, drift)
            drift = replace(drift, item_biases=_drawn(pulls, self._bin_weights, drift.item_biases, noise, unit, rng))
        if self._has_trends:
            pulls = self._trend_pulls(P, Q, drift)
            drift = replace(drift, trends=_drawn(pulls, self._trend_weights, drift.trends, noise, unit, rng))
        return drift

    def _bin_pulls(self, P: Factors, Q: Factors, drift: FittedDrift) -> Floats:
        """Σ w (e + b_{i,bin}) of each item and bin."""
        self.aim(drift)
        pulls = np.empty(drift.item_biases.shape)
        cells, side = self._items, self._items.loaded.side

        def pull(first: int, last: int) -> None:
            pull_bins(
                first, last, side.indptr, side.indices, side.targets, side.weights, cells.bins, side.rank, Q, P, pulls
            )

        cells.run(self._backend, pull)
        return pulls + drift.item_biases * self._bin_weights

    def _trend_pulls(self, P: Factors, Q: Factors, drift: FittedDrift) -> Floats:
        """Σ w dev (e + a_u dev) of each user."""
        self.aim(drift)
        pulls = trend_pulls(self._backend, self._users.loaded, self._users.deviations, P, Q)
        return pulls + drift.trends * self._trend_weights

    def aim(self, drift: FittedDrift) -> None:
        """Take a drift off the targets of both sides."""
        if drift is self._aimed:
            return
        self._aimed = None  # should Ctrl-C come in between
        for cells, by_user in ((self._users, True), (self._items, False)):
            self._take_off(cells, by_user, drift)
        self._aimed = drift

    def _take_off(self, cells: _Cells, by_user: bool, drift: FittedDrift) -> None:
        side = cells.loaded.side

        def take_off(first: int, last: int) -> None:
            without_drift(
                first, last, side.indptr, side.indices, cells.given, cells.bins, cells.deviations,
                drift.item_biases, drift.trends, by_user, side.targets,
            )  # fmt: skip

        cells.run(self._backend, take_off)

    def penalty(self, drift: FittedDrift) -> float:
        """Σ_u λ_u a_u² + Σ_ib λ_ib b_ib²."""
        of_trends = float(self._trend_ridge @ drift.trends**2)
        return of_trends + float((self._bin_ridge * drift.item_biases**2).sum())

    def solve_users(self, Q: Factors, drift: FittedDrift, threads: int | None) -> tuple[Factors, FittedDrift]:
        """Solve the users and their trends together for items as they are."""
        self.aim(replace(drift, trends=np.zeros_like(drift.trends)))
        side = self._users.loaded.side
        k = side.rank
        solved = solve_with_trends(
            side, self._users.deviations if self._has_trends else None, self._trend_ridge, Q[:, :k], Q[:, k],
            threads=threads,
        )  # fmt: skip
        return _joined(solved.factors, solved.biases), replace(drift, trends=solved.trends)


class UsersWithTrends(NamedTuple):
    """Users' factors, biases and trends."""

    factors: Factors
    biases: Factors
    trends: Floats


def solve_with_trends(
    side: Side,
    deviations: NDArray[np.floating] | None,
    ridge: Floats,
    factors: Factors,
    biases: Factors,
    *,
    threads: int | None = None,
) -> UsersWithTrends:
    """Solve users' rows together with their trends: the minimum over both, in two half-steps.

    What solves a row is linear in its targets: x_u = x⁰ − a_u x¹, where x⁰ solves it for a trend of 0 and x¹ for the
    deviations in place of what is left of the targets, t − o. With that, the objective has its minimum at

        a_u = Σ w dev (t − o − x⁰·y) / (Σ w dev (dev − x¹·y) + λ_u).

    Parameters
    ----------
    side : Side
        Of users, with biases; the items' drift is off its targets already.
    deviations : ndarray of shape (n_cells,), or None where there are no trends
    ridge : ndarray of shape (n_rows,)
        λ_u of the trends.
    factors, biases : ndarray of shape (n_items, rank) and (n_items,)
    threads : int, optional

    Raises
    ------
    NumericalError
        As `halfstep.rows.solve_rows` does.
    """
    P, b = solve_rows(side, factors, biases, threads=threads)
    if deviations is None or len(P) == 0 or len(deviations) == 0:
        return UsersWithTrends(P, b, np.zeros(len(P)))
    nothing = np.zeros_like(biases)
    moved = replace(side, targets=np.ascontiguousarray(deviations, side.weights.dtype))
    P_moved, b_moved = solve_rows(moved, factors, nothing, threads=threads)
    with CPU(threads) as backend:
        above, below = (
            trend_pulls(backend, LoadedSide.plan(each), moved.targets, _joined(*rows), _joined(factors, offsets))
            for each, rows, offsets in ((side, (P, b), biases), (moved, (P_moved, b_moved), nothing))
        )
    below = np.maximum(below, 0.0)  # as it is, but for rounding
    trends = _solved(above, below, ridge)
    a = trends.astype(P.dtype)
    return UsersWithTrends(P - a[:, None] * P_moved, b - a * b_moved, trends)


def trend_ridge(strength: float, data: Interactions, regularization: Regularization) -> Floats:
    """λ_u of the trends of users."""
    counted = data.user_counts.astype(np.float64)
    if regularization.counts == "positive":
        counted = _summed(data.user_positions, data.values > 0, data.n_users)
    return regularization.of_rows(strength, counted, None)


def trend_pulls(backend: CPU, loaded: LoadedSide, deviations: NDArray[np.floating], X: Factors, Y: Factors) -> Floats:
    """Σ w dev (t − score) of each row of a side."""
    side, pulls = loaded.side, np.empty(len(X))

    def pull(first: int, last: int) -> None:
        pull_trends(
            first, last, side.indptr, side.indices, side.targets, side.weights, deviations, side.rank, X, Y, pulls
        )

    backend.run([partial(pull, first, last) for first, last in loaded.light_ranges])
    return pulls


def _solved(pulls: Floats, weights: Floats, ridge: Floats) -> Floats:
    """Give pulls / (weights + ridge); 0 where there is no weight."""
    solution = np.zeros(pulls.shape)
    np.divide(pulls, weights + ridge, out=solution, where=weights > 0)
    return solution


def _drawn(
    pulls: Floats, weights: Floats, before: Floats, noise: float, unit: float, rng: np.random.Generator
) -> Floats:
    """Draw from N(τ pulls / A, 1 / A) with A = τ weights + γ, and γ before, given what was drawn last.

    Before anything was, there is nothing to say γ, and it is 1 / σ².
    """
    drawn, some = np.zeros(pulls.shape), weights > 0
    count, square = int(np.count_nonzero(some)), float((before**2).sum())
    precision = draw_noise_precision(square, count, unit, rng) if square > 0 else 1.0 / unit**2
    A = noise * weights[some] + precision
    drawn[some] = noise * pulls[some] / A + rng.standard_normal(count) / np.sqrt(A)
    return drawn


def _summed(places: NDArray[np.integer], numbers: NDArray[np.number] | NDArray[np.bool_] | None, n: int) -> Floats:
    """How much falls to each place, or how often it occurs."""
    return np.bincount(places, weights=numbers, minlength=n).astype(np.float64)


def _joined(factors: Factors, biases: Factors) -> Factors:
    """[factors | bias | 0 …], as kernels read them."""
    k = factors.shape[1]
    F = empty_factors(len(factors), k + 1, factors.dtype)
    F[:, :k], F[:, k] = factors, biases
    return F
