"""Gibbs sampler of a factorization.

A sweep samples, each given all others, the hyperparameters of the users (x̄ and Λ, and β with side information), the
users, the hyperparameters of the items, the items, and the noise precision τ. Users and items are sampled by
half-steps with a prior and noise. Each row's system is divided by τ, so that the weights need not change:

    A_u / τ = Λ/τ + Σ w y yᵀ,   b_u / τ = Λ x̄/τ + Σ w (t − o) y,   x_u = A_u⁻¹ b_u + L⁻ᵀ z / √τ   with L Lᵀ = A_u / τ

After the burn-in, samples are overrelaxed (Adler 1981): with the mean m of a row's conditional distribution, the next
sample is

    x' = m + a (x − m) + √(1 − a²) L⁻ᵀ z / √τ = (1 − a) (m + √((1 + a) / (1 − a)) L⁻ᵀ z / √τ) + a x

which has the same distribution for any |a| < 1. For a < 0, successive samples are on opposite sides of the mean, so
that means over the samples have a smaller Monte Carlo error than with a = 0. The closer a is to −1, the more slowly
chains converge that have not converged during the burn-in.

For ordinal ratings, a sweep first samples the thresholds and the latent targets (`ordinal`).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from halfstep.data import Interactions
from halfstep.data.named_rows import naming_the_row
from halfstep.models.bayesian.feature_regression import SampledRegression
from halfstep.models.bayesian.hyperpriors import (
    Hyperparameters,
    Moments,
    NormalWishart,
    RandomStreams,
    sample_noise_precision,
)
from halfstep.models.bayesian.ordinal import LatentTargets, Ratings, initial_thresholds, positions_in_transpose
from halfstep.models.bayesian.samples import Samples, SideSamples
from halfstep.objective.problem import HalfProblem, Prior
from halfstep.solver.cpu import CPU
from halfstep.solver.layout import Factors, aligned_zeros, empty_factors
from halfstep.solver.session import PriorSession, Side
from halfstep.solvers import Cholesky

if TYPE_CHECKING:
    from halfstep.data.side_information import Sparse

SOLVER = Cholesky()
OVERRELAXATION = -0.5  # a
ROWS_PER_TASK = 8192

# Purposes of random streams; renumbering them would change the samples of a seed
USERS, ITEMS, HYPERPARAMETERS, FOLD_IN, USER_COEFFICIENTS, ITEM_COEFFICIENTS = range(6)
LATENT_TARGETS = 7

# Sweeps over latent targets and users in `fold_in`, for the first sample and for each later one, which starts from
# the state of the previous sample
FIRST_SWEEPS, LATER_SWEEPS = 20, 5


class State(NamedTuple):
    """State of the chain after a sweep.

    Attributes
    ----------
    P, Q : ndarray
        Users and items in the solver's row layout; overwritten by the next sweep.
    users, items : Hyperparameters
    noise : float
        τ.
    loss : float
        Σ w (t − score)².
    thresholds : ndarray of shape (n_categories − 1,) or None
        Thresholds of ordinal ratings.
    """

    P: Factors
    Q: Factors
    users: Hyperparameters
    items: Hyperparameters
    noise: float
    loss: float
    thresholds: NDArray[np.float64] | None = None


class Chain:
    """Markov chain of the Gibbs sampler.

    Parameters
    ----------
    session : PriorSession
        An open session for `problems`, with the initial factors.
    problems : pair of HalfProblem
        The objective without regularization.
    data : Interactions
        The interactions; used for ids in error messages, and for the order of ordinal ratings.
    hyperprior : NormalWishart
        Hyperprior of both sides.
    target_scale : float
        Standard deviation of the targets.
    features : pair of sparse arrays or None
        Side information of the users and of the items, with one row for each.
    ratings : Ratings, optional
        Ordinal ratings, of weight 1. The targets of both half-problems are then overwritten.

    Attributes
    ----------
    state : State
    regressions : pair of SampledRegression or None
        Regressions of the users and of the items on their features.
    """

    def __init__(
        self,
        session: PriorSession,
        problems: tuple[HalfProblem, HalfProblem],
        *,
        data: Interactions,
        hyperprior: NormalWishart,
        target_scale: float,
        random_streams: RandomStreams,
        features: tuple[Sparse | None, Sparse | None] = (None, None),
        ratings: Ratings | None = None,
    ) -> None:
        session.limit_blas()
        self._session, self._hyperprior, self._target_scale = session, hyperprior, target_scale
        self._random_streams, self._data = random_streams, data
        by_user = problems[USERS]
        self._has_observations = [np.diff(each.indptr) > 0 for each in problems]
        weights = by_user.weights
        self._count = len(by_user.indices) if len(weights) == 1 else int(np.count_nonzero(weights))
        dtype = weights.dtype
        self.regressions = [
            None if F is None else SampledRegression(F, observed, by_user.unknowns, session.run, dtype)
            for F, observed in zip(features, self._has_observations, strict=True)
        ]
        P, Q = (session.rows(side) for side in Side)
        self._noise = [np.empty((len(F), by_user.unknowns), dtype) for F in (P, Q)]
        expected = hyperprior.expected
        self.state = State(P, Q, expected, expected, 1.0 / target_scale**2, np.inf)
        self._relaxation = 0.0  # a
        self._sweeps = 0
        self._latent_targets: LatentTargets | None = None
        if ratings is not None:
            self._latent_targets = LatentTargets(
                session.run,
                by_user,
                ratings.codes[data.by_user.order],
                transposed_positions=positions_in_transpose(data.by_user, data.by_item),
            )
            thresholds = initial_thresholds(ratings.codes, len(ratings.categories))
            self.state = self.state._replace(noise=1.0, thresholds=thresholds)

    def solve(self) -> None:
        """Run an iteration of ALS, with the hyperparameters held fixed."""
        state = self.state
        self._half_step(Side.USERS, self._prior(USERS, state.users, state.noise))
        self._half_step(Side.ITEMS, self._prior(ITEMS, state.items, state.noise))
        self.state = self._state(state.users, state.items, state.noise, state.thresholds)

    def sweep(self, *, overrelaxed: bool = False) -> State:
        """Sample all parameters once."""
        self._sweeps += 1
        self._relaxation = OVERRELAXATION if overrelaxed else 0.0
        state, rng = self.state, self._random_streams.generator(self._sweeps, HYPERPARAMETERS)
        thresholds, a = self._sample_ordinal(), self._relaxation
        scale = ((1 + a) / (1 - a) / state.noise) ** 0.5
        self._session.run(
            [
                task
                for side in (USERS, ITEMS)
                for task in self._random_streams.normal_tasks(self._noise[side], scale, self._sweeps, side)
            ]
        )
        users = self._sample_hyperparameters(USERS, rng)
        self._half_step(Side.USERS, self._prior(USERS, users, state.noise, self._noise[USERS]))
        items = self._sample_hyperparameters(ITEMS, rng)
        self._half_step(Side.ITEMS, self._prior(ITEMS, items, state.noise, self._noise[ITEMS]))
        after = self._state(users, items, 1.0, thresholds)
        if self._latent_targets is None:
            after = after._replace(noise=sample_noise_precision(after.loss, self._count, self._target_scale, rng))
        self.state = after
        return after

    def _state(
        self, users: Hyperparameters, items: Hyperparameters, noise: float, thresholds: NDArray[np.float64] | None
    ) -> State:
        P, Q = (self._session.rows(side) for side in Side)
        return State(P, Q, users, items, noise, self._session.terms().observed, thresholds)

    def _sample_hyperparameters(self, side: int, rng: np.random.Generator) -> Hyperparameters:
        """Sample x̄ and Λ of a side, and β if it has features."""
        regression, F = self.regressions[side], self._session.rows(Side(side))
        if regression is None:
            return self._hyperprior.sample(self.moments(side), rng)
        noise = [np.empty(shape) for shape in regression.noise_shapes]
        purpose = USER_COEFFICIENTS if side == USERS else ITEM_COEFFICIENTS
        self._session.run(
            [
                task
                for number, out in enumerate(noise)
                for task in self._random_streams.normal_tasks(out, 1.0, self._sweeps, purpose, number)
            ]
        )
        given = regression.given(F, (noise[0], noise[1]))
        hyper = self._hyperprior.sample(given.moments, rng)
        regression.sample(given, hyper, rng)
        return hyper

    def _prior(
        self, side: int, hyper: Hyperparameters, noise: float, row_noise: NDArray[np.floating] | None = None
    ) -> Prior:
        regression = self.regressions[side]
        means = hyper.mean[None, :]
        return Prior(means if regression is None else means + regression.fitted, hyper.precision / noise, row_noise)

    def _sample_ordinal(self) -> NDArray[np.float64] | None:
        """Sample the latent targets of ordinal ratings, and return the sampled thresholds."""
        state, latent = self.state, self._latent_targets
        if latent is None or state.thresholds is None:
            return None
        rng = self._random_streams.generator(self._sweeps, LATENT_TARGETS)
        latent.update_scores(state.P, state.Q)
        thresholds = latent.sample_thresholds(state.thresholds, rng)
        latent.sample(thresholds, rng.integers(2**64, dtype=np.uint64))
        for side in Side:
            self._session.set_targets(side, latent.targets[side])
        return thresholds

    def _half_step(self, side: Side, prior: Prior) -> None:
        a = 0.0 if prior.noise is None else self._relaxation
        before = self._session.rows(side).copy() if a else None
        self._session.set_prior(side, prior)
        with naming_the_row(*(("user", self._data.users) if side is Side.USERS else ("item", self._data.items))):
            self._session.half_step(side, SOLVER)
        if before is not None:
            X, observed = self._session.rows(side), self._has_observations[side][:, None]
            self._session.set_rows(side, np.where(observed, (1 - a) * X + a * before, X))

    def moments(self, side: int) -> Moments:
        """Return the sufficient statistics of the rows with observations, summed in float64."""
        F, mask = self._session.rows(Side(side)), self._has_observations[side]
        count, unknowns = int(np.count_nonzero(mask)), len(self._hyperprior.scale)
        starts = range(0, len(F), ROWS_PER_TASK)
        sums = aligned_zeros((len(starts), unknowns, unknowns + 1), np.float64)

        def add(number: int, start: int) -> None:
            some = slice(start, start + ROWS_PER_TASK)
            rows = F[some, :unknowns]
            rows = (rows if count == len(F) else rows[mask[some]]).astype(np.float64)
            sums[number, :, :unknowns] = rows.T @ rows
            sums[number, :, unknowns] = np.ones(len(rows)) @ rows

        self._session.run([partial(add, number, start) for number, start in enumerate(starts)])
        total = sums.sum(axis=0)
        return Moments(count, count, total[:, unknowns], total[:, :unknowns])


def fold_in(
    backend: CPU,
    side: HalfProblem,
    samples: Samples,
    is_new: NDArray[np.bool_],
    features: Sparse | None = None,
    codes: NDArray[np.uint8] | None = None,
) -> SideSamples:
    """Sample users given the items and hyperparameters of each posterior sample.

    Within a sample all users share the same noise, and all latent targets of an item the same random number, so that
    the result for a user does not depend on the others.

    Parameters
    ----------
    side : HalfProblem
        Half-problem of the users, without regularization.
    is_new : ndarray of bool of shape (n_rows,)
        True for rows without observations.
    features : sparse array, optional
        Side information of these users.
    codes : ndarray of uint8 of shape (n_cells,), optional
        Categories of ordinal ratings, in the order of `side`. Users and latent targets are then sampled in turn, a
        few times for each posterior sample.
    """
    k, unknowns, n_rows = side.rank, side.unknowns, len(side.indptr) - 1
    folded = SideSamples.empty(n_rows, len(samples), k, is_new)
    if n_rows == 0:
        return folded
    columns, positions = np.unique(side.indices, return_inverse=True)
    problem = replace(side, indices=positions.astype(np.int32))
    plan = backend.plan(problem)
    latent = None if codes is None else LatentTargets(backend.run, problem, codes, streams=side.indices)
    X, Y = (empty_factors(n, unknowns, np.float32) for n in (n_rows, len(columns)))
    random_streams = RandomStreams(0)
    for number, noise in enumerate(samples.noise.tolist()):
        Y[:, :k] = samples.items.factors[columns, number]
        if side.biases:
            Y[:, k] = samples.items.biases[columns, number]
        hyper = samples.users.hyperparameters(number, unknowns)
        means = samples.prior_means(number, features)[:, :unknowns]
        rng = random_streams.generator(number, FOLD_IN)
        if latent is not None and number == 0:
            X[:, :unknowns] = means
        for _ in range(1 if latent is None else LATER_SWEEPS if number else FIRST_SWEEPS):
            z = rng.standard_normal(unknowns) * noise**-0.5
            if latent is not None:
                latent.update_scores(X, Y)
                latent.sample(samples.thresholds[number], rng.integers(2**64, dtype=np.uint64))
                plan = plan.with_targets(latent.targets[USERS])
            backend.half_step(plan, Y, X, prior=Prior(means, hyper.precision / noise, np.tile(z, (n_rows, 1))))
        folded.write(number, X, hyper)
    return folded
