"""A Gibbs sampler of a factorisation: ALS whose rows are drawn instead of solved, and whose λ are drawn, too.

One sweep draws what the users have in common, the users, what the items have in common, the items, and the noise,
each given all the rest; what rows have in common is x̄ and Λ, and β where features are linked to them. The users and
the items are half-steps with a prior and noise. The precision τ of the noise does not touch the observations: a row's
system is divided by it,

    A_u / τ = Λ/τ + Σ w y yᵀ,   b_u / τ = Λ x̄/τ + Σ w (t − o) y,   x_u = A_u⁻¹ b_u + L⁻ᵀ z / √τ   with L Lᵀ = A_u / τ,

so that weights stay what they are. Ordinal ratings have latent targets, which are drawn first, with the cuts between
them (`ordinal`).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from halfstep.data import Interactions
from halfstep.data.named_rows import naming_the_row
from halfstep.models.bayesian.feature_link import Link
from halfstep.models.bayesian.hyperpriors import Dice, Hyperparameters, Moments, NormalWishart, draw_noise_precision
from halfstep.models.bayesian.ordinal import Latents, Ratings, first_cuts, opposite_places
from halfstep.models.bayesian.samples import Samples, SideSamples
from halfstep.objective.problem import HalfProblem, Prior
from halfstep.solver.cpu import CPU
from halfstep.solver.layout import Factors, aligned_zeros, empty_factors
from halfstep.solver.session import PriorSession, Side
from halfstep.solvers import Cholesky

if TYPE_CHECKING:
    from halfstep.data.side_information import Sparse

EXACT = Cholesky()
ROWS_AT_ONCE = 8192  # whose moments are summed by one task

# What random numbers are for: each has generators of its own. The numbers stay, so that seeds give the same samples.
USERS, ITEMS, HYPERPARAMETERS, FOLDED_IN, USERS_LINK, ITEMS_LINK = range(6)
LATENT = 7

# In a sample's own chain of latent targets and users who are folded in; it goes on from that of the sample before.
FIRST_SWEEPS, SWEEPS = 20, 5


class State(NamedTuple):
    """All that is drawn in a sweep, and the loss that it leaves.

    Attributes
    ----------
    P, Q : ndarray
        Users and items in the layout of the backends; written to by the next sweep.
    users, items : Hyperparameters
        What their rows were drawn around.
    noise : float
        τ.
    loss : float
        Σ w (t − score)².
    cuts : ndarray of shape (n_categories − 1,) or None
        Between the latent targets of ordinal ratings.
    """

    P: Factors
    Q: Factors
    users: Hyperparameters
    items: Hyperparameters
    noise: float
    loss: float
    cuts: NDArray[np.float64] | None = None


class Chain:
    """A sampler at work.

    Parameters
    ----------
    session : PriorSession
        Entered, with the objective without regularization, and the factors that the chain starts from.
    problems : pair of HalfProblem
        The same objective.
    data : Interactions
        Whose ids errors name.
    hyperprior : NormalWishart
        Of either side.
    unit : float
        The targets' standard deviation.
    dice : Dice
    features : pair of sparse arrays, or None
        Of the users and of the items: one row for each. None where nothing is linked.
    ratings : Ratings, optional
        Ordinal ones. Then the targets of both sides are overwritten; weights are 1.

    Attributes
    ----------
    state : State
    links : pair of Link, or None
        What is linked to the users and to the items.
    """

    def __init__(
        self,
        session: PriorSession,
        problems: tuple[HalfProblem, HalfProblem],
        *,
        data: Interactions,
        hyperprior: NormalWishart,
        unit: float,
        dice: Dice,
        features: tuple[Sparse | None, Sparse | None] = (None, None),
        ratings: Ratings | None = None,
    ) -> None:
        session.hold_blas()
        self._session, self._hyperprior, self._unit, self._dice = session, hyperprior, unit, dice
        self._data = data
        by_user = problems[USERS]
        self._has_observations = [np.diff(each.indptr) > 0 for each in problems]
        weights = by_user.weights
        self._count = len(by_user.indices) if len(weights) == 1 else int(np.count_nonzero(weights))
        dtype = weights.dtype
        self.links = [
            None if F is None else Link(F, observed, by_user.unknowns, session.run)
            for F, observed in zip(features, self._has_observations, strict=True)
        ]
        P, Q = (session.rows(side) for side in Side)
        self._noise = [np.empty((len(F), by_user.unknowns), dtype) for F in (P, Q)]
        expected = hyperprior.expected
        self.state = State(P, Q, expected, expected, 1.0 / unit**2, np.inf)
        self._sweeps = 0
        self._latents: Latents | None = None
        if ratings is not None:
            self._latents = Latents(
                session.run, by_user, ratings.numbers[data.by_user.order],
                opposite_places=opposite_places(data.by_user, data.by_item),
            )  # fmt: skip
            cuts = first_cuts(ratings.numbers, len(ratings.categories))
            self.state = self.state._replace(noise=1.0, cuts=cuts)

    def solve(self) -> None:
        """Run an iteration of ALS: users and items are solved, and what they have in common stays as it is."""
        state = self.state
        self._half_step(Side.USERS, self._prior(USERS, state.users, state.noise))
        self._half_step(Side.ITEMS, self._prior(ITEMS, state.items, state.noise))
        self.state = self._state(state.users, state.items, state.noise, state.cuts)

    def sweep(self) -> State:
        """Draw everything once."""
        self._sweeps += 1
        state, rng, dice = self.state, self._dice.generator(self._sweeps, HYPERPARAMETERS), self._dice
        spread, cuts = state.noise**-0.5, self._draw_latents()
        self._session.run(
            [task for side in (USERS, ITEMS) for task in dice.noise(self._noise[side], spread, self._sweeps, side)]
        )
        users = self._draw_hyperparameters(USERS, rng)
        self._half_step(Side.USERS, self._prior(USERS, users, state.noise, self._noise[USERS]))
        items = self._draw_hyperparameters(ITEMS, rng)
        self._half_step(Side.ITEMS, self._prior(ITEMS, items, state.noise, self._noise[ITEMS]))
        after = self._state(users, items, 1.0, cuts)
        if self._latents is None:
            after = after._replace(noise=draw_noise_precision(after.loss, self._count, self._unit, rng))
        self.state = after
        return after

    def _state(
        self, users: Hyperparameters, items: Hyperparameters, noise: float, cuts: NDArray[np.float64] | None
    ) -> State:
        P, Q = (self._session.rows(side) for side in Side)
        return State(P, Q, users, items, noise, self._session.terms().observed, cuts)

    def _draw_hyperparameters(self, side: int, rng: np.random.Generator) -> Hyperparameters:
        """Draw x̄ and Λ of a side; and β, where there is a link."""
        link, F = self.links[side], self._session.rows(Side(side))
        if link is None:
            return self._hyperprior.draw(self.moments(side), rng)
        hyper = self._hyperprior.draw(link.moments(F), rng)
        noise = [np.empty(shape) for shape in link.noise_shapes]
        purpose = USERS_LINK if side == USERS else ITEMS_LINK
        self._session.run(
            [
                task
                for number, out in enumerate(noise)
                for task in self._dice.noise(out, 1.0, self._sweeps, purpose, number)
            ]
        )
        link.draw(F, hyper, (noise[0], noise[1]), rng)
        return hyper

    def _prior(
        self, side: int, hyper: Hyperparameters, noise: float, drawn: NDArray[np.floating] | None = None
    ) -> Prior:
        link = self.links[side]
        means = hyper.mean[None, :]
        return Prior(means if link is None else means + link.fitted, hyper.precision / noise, drawn)

    def _draw_latents(self) -> NDArray[np.float64] | None:
        state = self.state
        if self._latents is None or state.cuts is None:
            return None
        rng = self._dice.generator(self._sweeps, LATENT)
        self._latents.score(state.P, state.Q)
        cuts = self._latents.drawn_cuts(state.cuts, rng)
        self._latents.draw(cuts, rng.integers(2**64, dtype=np.uint64))
        for side in Side:
            self._session.set_targets(side, self._latents.targets[side])
        return cuts

    def _half_step(self, side: Side, prior: Prior) -> None:
        self._session.set_prior(side, prior)
        with naming_the_row(*(("user", self._data.users) if side is Side.USERS else ("item", self._data.items))):
            self._session.half_step(side, EXACT)

    def moments(self, side: int) -> Moments:
        """Sum the rows that have observations, and their squares, in double precision."""
        F, mask = self._session.rows(Side(side)), self._has_observations[side]
        count, unknowns = int(np.count_nonzero(mask)), len(self._hyperprior.scale)
        starts = range(0, len(F), ROWS_AT_ONCE)
        sums = aligned_zeros((len(starts), unknowns, unknowns + 1), np.float64)

        def add(number: int, start: int) -> None:
            some = slice(start, start + ROWS_AT_ONCE)
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
    numbers: NDArray[np.uint8] | None = None,
) -> SideSamples:
    """Draw the rows of a side given the items of each sample, as a sweep does.

    In each sample all rows get the same noise, so that what is drawn of one does not depend on which others there
    are; and so do all latent targets of an item.

    Parameters
    ----------
    backend : CPU
    side : HalfProblem
        Some users' half-step, without regularisation; its targets are overwritten where they are latent.
    samples : Samples
    is_new : ndarray of bool of shape (n_rows,)
        Which rows have no observations.
    features : sparse array, optional
        Of these rows, where users are linked to theirs.
    numbers : ndarray of uint8 of shape (n_cells,), optional
        The categories of ordinal ratings, in the order of `side`. Rows and latent targets are then drawn in turn, a
        few times for each sample.
    """
    k, unknowns, n_rows = side.rank, side.unknowns, len(side.indptr) - 1
    drawn = SideSamples.empty(n_rows, len(samples), k, is_new)
    if n_rows == 0:
        return drawn
    columns, places = np.unique(side.indices, return_inverse=True)
    problem = replace(side, indices=places.astype(np.int32))
    plan = backend.plan(problem)
    latents = None if numbers is None else Latents(backend.run, problem, numbers, streams=side.indices)
    X, Y = (empty_factors(n, unknowns, np.float32) for n in (n_rows, len(columns)))
    dice = Dice(0)
    for number, noise in enumerate(samples.noise.tolist()):
        Y[:, :k] = samples.items.factors[columns, number]
        if side.biases:
            Y[:, k] = samples.items.biases[columns, number]
        hyper = samples.users.hyperparameters(number, unknowns)
        means = samples.linked_means(number, features)[:, :unknowns]
        rng = dice.generator(number, FOLDED_IN)
        if latents is not None and number == 0:
            X[:, :unknowns] = means
        for _ in range(1 if latents is None else SWEEPS if number else FIRST_SWEEPS):
            z = rng.standard_normal(unknowns) * noise**-0.5
            if latents is not None:
                latents.score(X, Y)
                latents.draw(samples.cuts[number], rng.integers(2**64, dtype=np.uint64))
                plan = plan.with_targets(latents.targets[USERS])
            backend.half_step(plan, Y, X, prior=Prior(means, hyper.precision / noise, np.tile(z, (n_rows, 1))))
        drawn.write(number, X, hyper)
    return drawn
