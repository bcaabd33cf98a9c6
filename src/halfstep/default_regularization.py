"""λ and ρ where they are not set: in the units of the data, and as strong as held-out cells ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from halfstep.alternation import Alternation, Snapshot
from halfstep.backends.cpu import CPU
from halfstep.backends.protocol import empty_factors
from halfstep.interactions import Interactions
from halfstep.objective import Cost
from halfstep.sides import Regularization, sides

HELD_OUT = 0.1  # of the cells
FEWEST, MOST = 200, 1_000_000  # cells; fewer say nothing, and more say no more
SMALLEST = 1e-18  # unit of targets
HIGHEST_RANK, ITERATIONS = 8, 6


def mean_weight(cost: Cost) -> float:
    """Return the mean weight of observed cells; 1 where all are 0."""
    return float(cost.weights.mean()) or 1.0


def unit_of_targets(cost: Cost, *, is_centered: bool) -> float:
    """Return the weighted root mean square of the targets, or their standard deviation if `is_centered`.

    Where that is 0, it is the root mean square, and where that is so small or large that float32 cannot hold its
    square, it is 1.
    """
    largest = float(np.abs(cost.targets).max(initial=0.0))
    if not SMALLEST < largest < 1 / SMALLEST:
        return 1.0
    targets = cost.targets / largest  # whose squares do not overflow
    weights = cost.weights if cost.weights.any() else np.ones(len(targets))
    square = float(np.average(np.square(targets), weights=weights))
    variance = square - float(np.average(targets, weights=weights)) ** 2 if is_centered else square
    if variance <= 1e-12 * square:  # rounding
        variance = square
    return largest * float(np.sqrt(variance))


def highest_useful(data: Interactions, cost: Cost, exponent: float) -> float:
    """Return three quarters of a λ at which all factors vanish, or infinity where they do so at any λ.

    At 0, the objective falls in the direction of the largest singular value σ of W_ui = w_ui t_ui (c_u c_i)^(−ν/2) if
    λ < σ, whatever missing cells weigh. ‖Wᵀx‖ / ‖x‖ is a lower bound of σ, and a close one for x_u = c_u^((1−ν)/2),
    since popular items have most of the observed cells.
    """
    users, items = (np.maximum(counts, 1.0) for counts in (data.user_counts, data.item_counts))
    x = np.where(data.user_counts > 0, users ** ((1 - exponent) / 2), 0.0)
    terms = cost.weights * cost.targets * (x * users ** (-exponent / 2))[data.user_positions]
    sums = np.bincount(data.item_positions, weights=terms, minlength=data.n_items) * items ** (-exponent / 2)
    bound = float(np.linalg.norm(sums) / np.linalg.norm(x))
    return 0.75 * bound if bound > 0 else np.inf


def best_on_held_out(
    data: Interactions, cost: Cost, rank: int, candidates: Sequence[Regularization], backend: CPU
) -> Regularization:
    """Return the regularization with which a small model of nine tenths of the cells predicts the others best.

    Cells are held out at random, always the same ones. Where data are many, those of some users are enough.

    Parameters
    ----------
    data : Interactions
    cost : Cost
        Of these data.
    rank : int
        Of the model that the choice is for; a lower one is enough to tell structure from noise.
    candidates : sequence of Regularization
        In ascending order. The first one is returned where missing cells have weights, as there predictions are not
        of values alone; the second one where the data are too few to hold any out.
    backend : CPU
    """
    if cost.user_missing is not None:
        return candidates[0]
    if len(data) < FEWEST:
        return candidates[1]
    rank, rng = min(rank, HIGHEST_RANK), np.random.default_rng(0)
    rows = _rows_of_some_users(data, rng)
    is_out = rng.random(len(rows)) < HELD_OUT
    train, held_out = rows[~is_out], rows[is_out]
    some, their_cost = data.subset(train), _cost_of(cost, train)
    u, i = data.user_positions[held_out], data.item_positions[held_out]
    test = _cost_of(cost, held_out)
    scale = 0.1 * np.sqrt(unit_of_targets(cost, is_centered=True) / max(rank, 1))
    items = rng.normal(0.0, scale, (data.n_items, rank))  # users are solved first, so that their start does not count
    errors = []
    for candidate in candidates:
        by_user, by_item = sides(some, their_cost, rank=rank, regularization=candidate, dtype="float64")
        P, Q = (empty_factors(n, by_user.unknowns, "float32") for n in (data.n_users, data.n_items))
        Q[:, :rank] = items
        run = Alternation(
            backend, by_user, by_item, Snapshot(P, Q, []), solver="cholesky", extrapolation=0.0, data=some,
            regularization=candidate, features=(None, None), feature_regularization=(1.0, 1.0),
        )  # fmt: skip
        for _ in range(ITERATIONS):
            run.iterate()
        P, Q = run.finished.P[u].astype(np.float64), run.finished.Q[i].astype(np.float64)
        predicted = np.einsum("nk,nk->n", P[:, :rank], Q[:, :rank])
        if cost.biases:
            predicted += P[:, rank] + Q[:, rank]
        errors.append(float(test.weights @ np.square(test.targets - predicted)))
    return candidates[int(np.argmin(errors))]


def _rows_of_some_users(data: Interactions, rng: np.random.Generator) -> NDArray[np.intp]:
    """Return the rows of as many users as have `MOST` interactions, at random; of all, where there are fewer."""
    if len(data) <= MOST:
        return np.arange(len(data))
    users = rng.permutation(data.n_users)
    is_chosen = np.zeros(data.n_users, dtype=bool)
    is_chosen[users[np.cumsum(data.user_counts[users]) <= MOST]] = True
    return np.flatnonzero(is_chosen[data.user_positions])


def _cost_of(cost: Cost, rows: NDArray[np.intp]) -> Cost:
    return replace(cost, targets=cost.targets[rows], weights=cost.weights[rows])
