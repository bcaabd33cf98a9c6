"""The objectives `Explicit` and `Implicit`, which turn interactions into the arrays of `halfstep.objective`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from halfstep._support.blocks import blocks, is_repeated, total
from halfstep._support.checks import check_flag, check_number
from halfstep._support.short_repr import short_repr
from halfstep.data import Interactions, Vocabulary
from halfstep.errors import DataError, NumericalError, ParameterError
from halfstep.objective.cost import Cost, parts_of, stored_cost
from halfstep.objective.defaults import EVENTS, MISSING_RATIO, VALUES, Defaults
from halfstep.weights import Cells, MissingWeight, ObservedWeight, Target, counts_events, uses_values

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Statistics:
    """Statistics of the training data, which also apply to rows that are added later.

    Attributes
    ----------
    mean : float
        μ.
    item_counts : ndarray of shape (n_items,)
        Popularity.
    users : Vocabulary
        The users of the training data, to which the positions in weights refer.
    """

    mean: float
    item_counts: NDArray[np.int64]
    users: Vocabulary

    def locate(self, data: Interactions) -> tuple[Cells, NDArray[np.intp]]:
        """Return the cells of later rows, and the positions of their users; new users follow the known ones."""
        known = self.users.shared(data.users)
        positions = np.where(known >= 0, known, len(self.users) + np.cumsum(known < 0) - 1)
        counts = np.zeros(max(len(self.users), int(positions.max(initial=-1)) + 1), np.int64)
        counts[positions] = data.user_counts
        cells = replace(
            cells_of(data), users=positions[data.user_positions], user_counts=counts, item_counts=self.item_counts
        )
        return cells, positions


@dataclass(frozen=True)
class ObservedTotals:
    """Totals of observed cells, on which the default weight of missing cells depends.

    Attributes
    ----------
    n_cells : float
        The number of all cells of users and items with observations.
    n_observed : int
    weight : float
        The sum of w.
    """

    n_cells: float = 0.0
    n_observed: int = 0
    weight: float = 0.0

    @classmethod
    def of(cls, cells: Cells, weights: Floats) -> Self:
        """Return the totals of some cells with these weights, with `n_cells` of all cells."""
        n_cells = float(np.count_nonzero(cells.user_counts)) * float(np.count_nonzero(cells.item_counts))
        weight = 0.0
        for block in blocks(len(weights)):
            weight += float(weights[block].sum())
        return cls(n_cells, len(weights), weight)

    def __add__(self, other: ObservedTotals) -> ObservedTotals:
        """Return the totals of the cells of both."""
        return ObservedTotals(other.n_cells, self.n_observed + other.n_observed, self.weight + other.weight)

    @property
    def default_missing_weight(self) -> float:
        """The weight with which missing cells have `MISSING_RATIO` times the total weight of observed cells."""
        if self.n_cells == 0:
            return 0.0
        return min(MISSING_RATIO * self.weight / self.n_cells, self.weight / self.n_observed)


class Objective(ABC):
    """Base class of objectives of `halfstep.ALS`, without regularization: `Explicit`, `Implicit`, and subclasses."""

    biases: bool = False
    """Whether b_u and b_i are fitted."""
    nonnegative: bool = False
    """Whether all factors are at least 0."""
    defaults: ClassVar[Defaults] = VALUES
    """Default values of the parameters of `halfstep.ALS`."""

    def default_missing_weight(self, cost: Cost) -> float | None:
        """Return the weight of missing cells for the training data; None if the objective sets it."""
        return None

    def with_missing_weight(self, weight: float | None) -> Self:
        """Return the objective with this weight of missing cells, unless it sets one."""
        return self

    @property
    def uses_values(self) -> bool:
        """Whether targets or weights depend on the values of interactions. Subclasses may return False."""
        return True

    @property
    def counts_events(self) -> bool:
        """Whether an interaction without a value is one event, with a value of 1."""
        return False

    def predicts_values(self, cells: Cells) -> bool:
        """Whether the target of each cell is its value, so that predictions can be compared with values."""
        return np.array_equal(self.targets(cells), cells.values)

    def predicts_signs(self, cells: Cells) -> bool:
        """Whether the target of each cell has the sign of its value, 0 counting as positive."""
        return np.array_equal(np.asarray(self.targets(cells)) >= 0, cells.values >= 0)

    @abstractmethod
    def targets(self, cells: Cells) -> Floats:
        """Return t of each observed cell, before μ is subtracted."""

    @abstractmethod
    def weights(self, cells: Cells) -> Floats:
        """Return w of each observed cell."""

    @abstractmethod
    def missing(self, cells: Cells) -> tuple[Floats, Floats] | None:
        """Return s of each user and m of each item; None if missing cells have no weight."""

    def cost(self, data: Interactions, statistics: Statistics | None = None) -> Cost:
        """Return the arrays of the objective for given interactions.

        Parameters
        ----------
        data : Interactions
        statistics : Statistics, optional
            The statistics of the training data if `data` are later interactions. By default, those of `data`.
        """
        if data.stored is not None and statistics is None:
            return self._stored_cost(data)
        cells, positions = (cells_of(data), None) if statistics is None else statistics.locate(data)
        targets, weights = self.of_cells(
            cells, lambda n: (data.users[data.user_positions[n]], data.items[data.item_positions[n]])
        )
        mean = 0.0
        if self.biases:
            mean = weighted_mean(targets, weights) if statistics is None else statistics.mean
        s, m = self.missing_factors(cells) or (None, None)
        if s is not None and positions is not None:
            s = s[positions]
        targets = targets - mean if mean else targets
        return Cost(targets, weights, s, m, mean, self.biases, nonnegative=self.nonnegative)

    def _stored_cost(self, data: Interactions) -> Cost:
        """Return the arrays of the objective for interactions on disk, computed in blocks."""
        resolved = self.with_missing_weight_for(parts_of(data))

        def evaluate(cells: Cells) -> tuple[Floats, Floats]:
            return resolved.of_cells(cells, lambda n: (data.users[cells.users[n]], data.items[cells.items[n]]))

        missing = resolved.missing_factors(cells_of(data))
        return stored_cost(data, evaluate, missing, weighted_mean, biases=self.biases, nonnegative=self.nonnegative)

    def with_missing_weight_for(self, parts: Iterable[Cells]) -> Self:
        """Return the objective with a weight of missing cells that depends on all cells, given in parts."""
        totals = ObservedTotals()
        for cells in parts:
            if (more := self.observed_totals(cells)) is None:
                return self
            totals = totals + more
        return self.with_missing_weight(totals.default_missing_weight)

    def observed_totals(self, cells: Cells) -> ObservedTotals | None:
        """Return the totals that the weight of missing cells depends on; None if it does not depend on the data."""
        return None

    def missing_factors(self, cells: Cells) -> tuple[Floats, Floats] | None:
        """Return the validated result of `missing`.

        Raises
        ------
        DataError
            If the shapes are not (n_users,) and (n_items,), or a number is negative or not finite.
        """
        given: Any = self.missing(cells)
        if given is None:
            return None
        shapes = [np.shape(factor) for factor in given] if isinstance(given, tuple) else [np.shape(given)]
        if shapes != [cells.user_counts.shape, cells.item_counts.shape]:
            raise DataError(
                f"{self!r} returned {type(given).__name__} of shapes {shapes} as weight of missing cells: return a "
                f"pair of arrays, of {len(cells.user_counts)} users and {len(cells.item_counts)} items"
            )
        s, m = (np.asarray(factor, dtype=np.float64) for factor in given)
        for factor in (s, m):
            if not (np.isfinite(factor).all() and (factor >= 0).all()):
                raise DataError(
                    f"{self!r} returned a weight of missing cells that is negative or not finite: return finite "
                    "numbers of at least 0"
                )
        return s, m

    def of_cells(self, cells: Cells, ids_of: Callable[[int], tuple[Any, Any]]) -> tuple[Floats, Floats]:
        """Return the validated targets and weights of cells; `ids_of` returns the ids of a cell for errors.

        Raises
        ------
        DataError
            If the shapes are not (n_cells,), a number is not finite, or a weight is negative.
        """
        found = []
        given: Any
        for what, given in (("target", self.targets(cells)), ("weight", self.weights(cells))):
            numbers = np.asarray(np.nan if isinstance(given, tuple) else given, dtype=np.float64)
            if numbers.shape != cells.values.shape:
                raise DataError(
                    f"{self!r} returned {type(given).__name__} of shape {np.shape(numbers)} as {what}s of "
                    f"{len(cells.values)} observed cells: return one number for each cell"
                )
            some = numbers[:1] if is_repeated(numbers) else numbers
            bad = np.flatnonzero(~np.isfinite(some) | ((some < 0) & (what == "weight")))
            if len(bad):
                user, item = ids_of(int(bad[0]))
                raise DataError(
                    f"{self!r} returned the {what} {numbers[bad[0]]} for user {user!r}, item {item!r} "
                    f"(value {cells.values[bad[0]]}): return finite numbers"
                    + (" of at least 0" if what == "weight" else "")
                )
            found.append(numbers)
        return found[0], found[1]


@dataclass(frozen=True, repr=False, kw_only=True)
class Explicit(Objective):
    """The objective for explicit feedback, which predicts values such as ratings, scores or ±1.

    Parameters
    ----------
    weight : float or callable, optional
        w, the weight of an observed cell: a number, a function of `halfstep.weights`, or any function from
        `halfstep.weights.Cells` to an array. By default, the weights of the interactions, or 1 if they have none.
    missing_weight : float or callable
        s·m, the weight of a missing cell, in which p_u·q_i is shrunk towards 0. With 1, ``weight=1`` and
        ``biases=False``, a missing cell is an observation of 0.
    biases : bool
        Whether to fit b_u and b_i jointly with the factors, and to center values by their weighted mean μ. In missing
        cells, p_u·q_i is shrunk towards 0, and thus predictions towards μ + b_u + b_i.
    nonnegative : bool
        Whether all factors are at least 0 (`ALS` only); biases can have any sign.
    """

    weight: ObservedWeight | None = None
    missing_weight: MissingWeight = 0.0
    biases: bool = True
    nonnegative: bool = False

    def __post_init__(self) -> None:
        _check_weight("weight", self.weight, optional=True)
        _check_weight("missing_weight", self.missing_weight)
        check_flag("biases", self.biases)
        check_flag("nonnegative", self.nonnegative)

    def __repr__(self) -> str:
        return short_repr(self)

    def targets(self, cells: Cells) -> Floats:
        return cells.values

    def weights(self, cells: Cells) -> Floats:
        return _observed_weights(self.weight, cells)

    def missing(self, cells: Cells) -> tuple[Floats, Floats] | None:
        return _missing_weights(self.missing_weight, cells)


@dataclass(frozen=True, repr=False, kw_only=True)
class Implicit(Objective):
    """The objective for implicit feedback, which predicts whether an interaction occurs: clicks, plays, purchases.

    Values may determine the weight (`halfstep.weights.confidence`) or, less commonly, the target.

    Parameters
    ----------
    observed_weight : float or callable, optional
        w, the weight of an observed cell, as in `Explicit`.
    missing_weight : float or callable, optional
        s·m, the weight of a missing cell, whose score is shrunk towards 0. By default, the total weight of missing
        cells is 8 times that of observed cells, but the weight of a missing cell is at most the mean weight of
        observed cells.
    target : float or callable
        t, the target score of an observed cell: a number, `halfstep.weights.preference`, or any function from
        `halfstep.weights.Cells` to an array.
    all_cells : bool
        Whether the loss of missing cells is also part of the loss of observed cells, as in iALS (Rendle et al. 2022):

            w (t − x)² + s m x² = (w + s m) (t w / (w + s m) − x)² + constant
    nonnegative : bool
        Whether all factors are at least 0.

    Notes
    -----
    An interaction without a value is one event, with a value of 1. If only the weight depends on values, as with
    `halfstep.weights.confidence`, a model that was fitted on values accepts histories without values in `fold_in`,
    and with ``duplicates="sum"`` interactions without values in `partial_fit`, each of which is one more event. If
    the target depends on values, such interactions are an error, unless the target is a `halfstep.weights.preference`
    with a threshold below 1, or a function with an attribute ``uses_values`` that is False.
    """

    observed_weight: ObservedWeight | None = None
    missing_weight: MissingWeight | None = None
    target: Target = 1.0
    all_cells: bool = False
    nonnegative: bool = False

    defaults: ClassVar[Defaults] = EVENTS

    def __post_init__(self) -> None:
        _check_weight("observed_weight", self.observed_weight, optional=True)
        _check_weight("missing_weight", self.missing_weight, optional=True)
        _check_weight("target", self.target)
        check_flag("all_cells", self.all_cells)
        check_flag("nonnegative", self.nonnegative)

    def __repr__(self) -> str:
        return short_repr(self)

    def observed_totals(self, cells: Cells) -> ObservedTotals | None:
        if self.missing_weight is not None:
            return None
        return ObservedTotals.of(cells, _observed_weights(self.observed_weight, cells))

    @property
    def uses_values(self) -> bool:
        return uses_values(self.observed_weight) or uses_values(self.target)

    @property
    def counts_events(self) -> bool:
        return counts_events(self.target)

    def default_missing_weight(self, cost: Cost) -> float | None:
        if self.missing_weight is not None:
            return None
        s, m = cost.user_missing, cost.item_missing
        return 0.0 if s is None or m is None else float(s[0] * m[0])

    def with_missing_weight(self, weight: float | None) -> Self:
        return self if self.missing_weight is not None else replace(self, missing_weight=weight)

    def targets(self, cells: Cells) -> Floats:
        targets = self.target(cells) if callable(self.target) else repeated(self.target, len(cells.values))
        if not self.all_cells:
            return targets
        return combined(_shared_target, targets, _observed_weights(self.observed_weight, cells), self.weights(cells))

    def weights(self, cells: Cells) -> Floats:
        w = _observed_weights(self.observed_weight, cells)
        return combined(np.add, w, self._missing_weight_of(cells)) if self.all_cells else w

    def missing(self, cells: Cells) -> tuple[Floats, Floats] | None:
        if callable(self.missing_weight):
            return self.missing_weight(cells)
        s, m = np.full(len(cells.user_counts), self._one_missing_weight(cells)), np.ones(len(cells.item_counts))
        return (s, m) if s.any() else None

    def _one_missing_weight(self, cells: Cells) -> float:
        """Return the weight of missing cells if it is the same for all."""
        if self.missing_weight is None:
            return ObservedTotals.of(cells, _observed_weights(self.observed_weight, cells)).default_missing_weight
        assert not callable(self.missing_weight)
        return float(self.missing_weight)

    def _missing_weight_of(self, cells: Cells) -> Floats:
        """Return the weight that each observed cell would have if it were missing."""
        if not callable(self.missing_weight):
            return repeated(self._one_missing_weight(cells), len(cells.values))
        s, m = self.missing_factors(cells) or (None, None)
        return repeated(0.0, len(cells.values)) if s is None or m is None else s[cells.users] * m[cells.items]


def repeated(number: float, count: int) -> Floats:
    """Return an array that repeats a number for each cell, in constant memory."""
    return np.broadcast_to(np.float64(number), (count,))


def combined(function: Callable[..., Floats], *numbers: Floats) -> Floats:
    """Apply a function to arrays over cells; only once if all arrays are repeated."""
    if all(map(is_repeated, numbers)):
        return repeated(function(*(each[:1] for each in numbers)).item(), len(numbers[0]))
    return function(*numbers)


def cells_of(data: Interactions) -> Cells:
    """Return the observed cells of interactions, which weights are computed from."""
    return Cells(
        data.user_positions, data.item_positions, data.values, data.weights, data.user_counts, data.item_counts
    )


def _check_weight(
    name: str, weight: ObservedWeight | MissingWeight | Target | None, *, optional: bool = False
) -> None:
    if isinstance(weight, type):
        raise ParameterError(f"{name}={weight.__name__}: give its parameters, as in {weight.__name__}(...)")
    if not callable(weight) and not (optional and weight is None):
        check_number(name, weight)


def weighted_mean(values: Floats, weights: Floats) -> float:
    """Return the mean of values; a `NumericalError` if it overflows."""
    sum_of_weights = total(weights)
    if sum_of_weights <= 0:
        raise DataError("all observed weights are 0: give at least one positive weight")
    with np.errstate(over="ignore", invalid="ignore"):
        mean = sum(float((values[block] * weights[block]).sum()) for block in blocks(len(values))) / sum_of_weights
    if not np.isfinite(mean):
        raise NumericalError(f"the mean of the values is {mean}: check the data for extreme values or weights")
    return mean


def _observed_weights(weight: ObservedWeight | None, cells: Cells) -> Floats:
    if weight is None:
        return repeated(1.0, len(cells.values)) if cells.weights is None else cells.weights
    return weight(cells) if callable(weight) else repeated(weight, len(cells.values))


def _shared_target(t: Floats, w: Floats, total: Floats) -> Floats:
    """Return t w / total, and t where the total is 0."""
    targets: Floats = t * np.divide(w, total, out=np.ones_like(w), where=total > 0)
    return targets


def _missing_weights(missing: MissingWeight, cells: Cells) -> tuple[Floats, Floats] | None:
    """Return s and m."""
    if callable(missing):
        return missing(cells)
    s, m = np.full(len(cells.user_counts), float(missing)), np.ones(len(cells.item_counts))
    return (s, m) if missing > 0 else None
