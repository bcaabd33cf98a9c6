"""Default regularization: λ in the units of the data, validated on held-out cells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from halfstep._support.blocks import blocks, total
from halfstep.data import Interactions
from halfstep.models.als_loop import TrainingLoop
from halfstep.objective.cost import Cost
from halfstep.objective.defaults import Defaults
from halfstep.objective.problem import half_problems
from halfstep.objective.regularization import RowRegularization, counted_cells
from halfstep.solver.layout import empty_factors
from halfstep.solver.session import Backend
from halfstep.solvers import Cholesky

HELD_OUT = 0.1  # of the cells
FEWEST, MOST = 200, 1_000_000  # cells, for validation
HIGHEST_RANK, ITERATIONS = 16, 6  # of the compared models
SMALLEST = 1e-18  # unit of targets
NEARLY_CONSTANT = 0.01  # ratio of the standard deviation to the root mean square

Floats = NDArray[np.float64]


def default_regularization(
    data: Interactions, cost: Cost, rank: int, given: RowRegularization, defaults: Defaults, backend: Backend
) -> RowRegularization:
    """Return `given` with the default λ for these data.

    Parameters
    ----------
    cost : Cost
        The data terms of the objective for these data.
    given : RowRegularization
        With ν, ρ and the kind of counts; λ is replaced.
    """
    unit = unit_of_targets(cost, is_centered=defaults.is_centered)
    n, c = (data.user_counts, data.item_counts), row_counts(data, cost, given)
    scale = mean_weight(cost) * unit * count_scale(n, c, given.exponent, defaults.regularization_exponent)
    return default_for(
        given,
        defaults,
        scale,
        len(data),
        has_missing=cost.user_missing is not None,
        highest=lambda: highest_useful(data, cost, c, given.exponent),
        held_out=lambda: HeldOut(data, cost, min(rank, HIGHEST_RANK), backend),
    )


def default_for(
    given: RowRegularization,
    defaults: Defaults,
    scale: float,
    n_cells: int,
    *,
    has_missing: bool,
    highest: Callable[[], float],
    held_out: Callable[[], HeldOut],
) -> RowRegularization:
    """Return `given` with the default λ for data with these properties.

    Parameters
    ----------
    scale : float
        The unit of λ.
    n_cells : int
        The number of observed cells.
    has_missing : bool
        Whether missing cells have weight.
    highest, held_out : callable
        Return `highest_useful` and a validation set, if they are needed.
    """

    def times(multiple: float) -> RowRegularization:
        return replace(given, users=multiple * scale, items=multiple * scale)

    if not defaults.ladder:
        number = min(defaults.regularization * scale, highest())
        return replace(given, users=number, items=number)
    if has_missing:  # predictions are not of values alone
        return times(defaults.regularization)
    ladder = defaults.ladder
    start = ladder.index(defaults.regularization)
    if n_cells < FEWEST:
        return times(ladder[start + 1])
    error_of = held_out().error
    return times(ladder[lowest_near(lambda n: error_of(times(ladder[n])), start, len(ladder))])


def mean_weight(cost: Cost) -> float:
    """Return the mean weight of observed cells; 1 if all are 0."""
    return total(cost.weights) / len(cost.weights) or 1.0


def unit_of_targets(cost: Cost, *, is_centered: bool) -> float:
    """Return the weighted root mean square of the targets, or their standard deviation if `is_centered`.

    The standard deviation is at least 1% of the root mean square. Units whose squares underflow or overflow in
    float32 are replaced by 1.
    """
    largest = max((float(np.abs(cost.targets[block]).max()) for block in blocks(len(cost.targets))), default=0.0)
    if not SMALLEST < largest < 1 / SMALLEST:
        return 1.0
    all_zero = not cost.weights.any()
    sums = np.zeros(3)
    for block in blocks(len(cost.targets)):
        targets = cost.targets[block] / largest  # whose squares do not overflow
        weights = np.ones(len(targets)) if all_zero else cost.weights[block]
        sums += weights.sum(), (targets * weights).sum(), (np.square(targets) * weights).sum()
    mean, square = (sums[1:] / sums[0]).tolist()
    return unit_from(largest, mean, square, is_centered=is_centered)


def unit_from(largest: float, mean: float, square: float, *, is_centered: bool) -> float:
    """Return the unit, from the largest absolute target, and the means of targets and squares divided by it."""
    variance = square - mean**2 if is_centered else square
    unit = largest * float(np.sqrt(max(variance, NEARLY_CONSTANT**2 * square)))
    return unit if unit > SMALLEST else 1.0


def row_counts(data: Interactions, cost: Cost, regularization: RowRegularization) -> tuple[Floats, Floats]:
    """Return c of each user and of each item."""
    users = counted_cells(data.user_counts, data.user_positions, data.values, regularization.counts)
    items = counted_cells(data.item_counts, data.item_positions, data.values, regularization.counts)
    s, m = cost.user_missing, cost.item_missing
    if s is None or m is None:
        return users, items
    return regularization.row_counts(users, s * m.sum()), regularization.row_counts(items, m * s.sum())


def count_scale(
    observed: tuple[NDArray[np.int64], NDArray[np.int64]],
    counts: tuple[Floats, Floats],
    exponent: float,
    default_exponent: float,
) -> float:
    """Return the factor of λ such that λ_u of a mean row does not depend on ν and `Regularization.counts`."""
    logarithm = 0.0
    for n, c in zip(observed, counts, strict=True):
        is_seen = n > 0
        mean = float(c[is_seen].mean()) or 1.0
        logarithm += (default_exponent * np.log(n[is_seen].mean()) - exponent * np.log(mean)) / 2
    return float(np.exp(np.clip(logarithm, -500, 500)))


def highest_useful(data: Interactions, cost: Cost, counts: tuple[Floats, Floats], exponent: float) -> float:
    """Return three quarters of a λ at which all factors are 0; infinity if they are 0 for any λ.

    At 0, the objective decreases in the direction of the largest singular value σ of
    W_ui = w_ui t_ui (c_u c_i)^(−ν/2) if λ < σ, for any weights of missing cells. ‖Wᵀx‖ / ‖x‖ is a lower bound of σ,
    and a tight one for x_u = n_u^½ c_u^(−ν/2), because popular items have most of the observed cells.
    """
    users, items = (np.where(c > 0, c, 1.0) ** (-exponent / 2) for c in counts)
    x = np.sqrt(data.user_counts) * users
    sums = useful_sums(cost.weights, cost.targets, x * users, data.user_positions, data.item_positions, data.n_items)
    return highest_from(sums * items, float(np.linalg.norm(x)))


def useful_sums(
    w: Floats, t: Floats, x: Floats, users: NDArray[np.integer], items: NDArray[np.integer], n_items: int
) -> Floats:
    """Return Σ_u w_ui t_ui x_u of each item over some cells."""
    sums = np.zeros(n_items)
    for block in blocks(len(users)):
        np.add.at(sums, items[block].astype(np.intp), w[block] * t[block] * x[users[block]])
    return sums


def highest_from(products: Floats, norm: float) -> float:
    """Return three quarters of ‖Wᵀx‖ / ‖x‖; infinity if it is 0."""
    bound = float(np.linalg.norm(products)) / norm
    return 0.75 * bound if bound > 0 else np.inf


def lowest_near(error: Callable[[int], float], start: int, count: int) -> int:
    """Return a local minimum of the error, by a search upward from `start`, then downward if that fails."""
    best, lowest = start, error(start)
    for step, end in ((1, count), (-1, -1)):
        for n in range(start + step, end, step):
            found = error(n)
            if not found < lowest:
                break
            best, lowest = n, found
        if best != start:
            break
    return best


class HeldOut:
    """A validation set of a tenth of the cells, to score models that are fitted to the other cells.

    The cells are sampled at random with a fixed seed, independently of the order of the interactions. If there are
    many, only those of some users are used.
    """

    def __init__(self, data: Interactions, cost: Cost, rank: int, backend: Backend) -> None:
        rng = np.random.default_rng(0)
        rows = _rows_of_some_users(data, rng)
        is_out = rng.random(len(rows)) < HELD_OUT
        train, test = rows[~is_out], rows[is_out]
        self._train, self._cost, self._test = data.subset(train), cost.subset(train), cost.subset(test)
        self._users, self._items = data.user_positions[test], data.item_positions[test]
        scale = 0.1 * np.sqrt(unit_of_targets(cost, is_centered=True) / max(rank, 1))
        self._start = rng.normal(0.0, scale, (data.n_items, rank))  # users are solved first, so they need no start
        if cost.nonnegative:
            self._start = np.abs(self._start)
        self._rank, self._backend = rank, backend

    def error(self, regularization: RowRegularization) -> float:
        """Return the weighted sum of squared errors on the held-out cells."""
        k, data = self._rank, self._train
        problems = half_problems(data, self._cost, rank=k, regularization=regularization, dtype="float64")
        P, Q = (empty_factors(n, problems[0].unknowns, "float32") for n in (data.n_users, data.n_items))
        Q[:, :k] = self._start
        with self._backend.open(*problems, (P, Q)) as session:
            loop = TrainingLoop(session, Cholesky(extrapolation=0.0), (data.users, data.items), dtype=P.dtype)
            for _ in range(ITERATIONS):
                loop.iterate()
            P, Q = session.factors()
            X, Y = P[self._users].astype(np.float64), Q[self._items].astype(np.float64)
        predicted = np.einsum("nk,nk->n", X[:, :k], Y[:, :k])
        if self._cost.biases:
            predicted += X[:, k] + Y[:, k]
        return float(self._test.weights @ np.square(self._test.targets - predicted))


def _rows_of_some_users(data: Interactions, rng: np.random.Generator) -> NDArray[np.intp]:
    """Return the rows of random users with at least `MOST` interactions, or of all users, sorted by user and item."""
    order, indptr = data.by_user.order, data.by_user.indptr
    if len(data) <= MOST:
        return order.astype(np.intp)
    users = rng.permutation(data.n_users)
    counts = data.user_counts[users]
    is_chosen = np.zeros(data.n_users, dtype=bool)
    is_chosen[users[np.cumsum(counts) - counts < MOST]] = True
    rows = [order[indptr[user] : indptr[user + 1]] for user in np.flatnonzero(is_chosen).tolist()]
    return np.concatenate(rows).astype(np.intp)
