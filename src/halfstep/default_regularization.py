"""Default regularization: λ and ρ in the units of the data, with λ validated on held-out cells."""

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
FEWEST, MOST = 200, 1_000_000  # cells, for validation
SMALLEST = 1e-18  # unit of targets
HIGHEST_RANK, ITERATIONS = 8, 6


def mean_weight(cost: Cost) -> float:
    """Return the mean weight of observed cells; 1 if all are 0."""
    return float(cost.weights.mean()) or 1.0


def unit_of_targets(cost: Cost, *, is_centered: bool) -> float:
    """Return the weighted root mean square of the targets, or their standard deviation if `is_centered`.

    A standard deviation of 0 is replaced by the root mean square, and values whose squares underflow or overflow in
    float32 by 1.
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
    """Return three quarters of a λ at which all factors are 0; infinity if they are 0 for any λ.

    At 0, the objective decreases in the direction of the largest singular value σ of W_ui = w_ui t_ui (c_u
    c_i)^(−ν/2) if λ < σ, for any weights of missing cells. ‖Wᵀx‖ / ‖x‖ is a lower bound of σ, and a tight one for x_u
    = c_u^((1−ν)/2), because popular items have most of the observed cells.
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
    """Return the regularization with which a small model predicts held-out cells best.

    A random but reproducible tenth of the cells is held out. Large data are subsampled by users.

    Parameters
    ----------
    data : Interactions
    cost : Cost
        The terms of the objective for these data.
    rank : int
        The rank of the final model; the small model has a rank of at most `HIGHEST_RANK`.
    candidates : sequence of Regularization
        In ascending order. The first one is returned if missing cells have weights, because predictions then do not
        estimate values alone; the second one if there are too few data to hold out.
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
    items = rng.normal(0.0, scale, (data.n_items, rank))  # users are solved first, and do not need initial factors
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
    """Return the rows of random users, with at most `MOST` interactions in total; all rows if there are fewer."""
    if len(data) <= MOST:
        return np.arange(len(data))
    users = rng.permutation(data.n_users)
    is_chosen = np.zeros(data.n_users, dtype=bool)
    is_chosen[users[np.cumsum(data.user_counts[users]) <= MOST]] = True
    return np.flatnonzero(is_chosen[data.user_positions])


def _cost_of(cost: Cost, rows: NDArray[np.intp]) -> Cost:
    return replace(cost, targets=cost.targets[rows], weights=cost.weights[rows])
