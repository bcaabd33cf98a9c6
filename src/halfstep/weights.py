"""Weights of observed and missing cells, and targets.

An *observed weight* is a number of at least 0, or a callable from `Cells` to an array with a weight for each cell.
The weight of a cell may depend only on the cell itself and on the counts, because the function is called for a subset
of the cells when users are folded in or the model is updated. If a function does not use the values of cells, it can
have an attribute ``uses_values = False``; a model that was fitted on values then accepts interactions without values.
A *missing weight* is a number, the same for every missing cell, or a callable from `Cells` to arrays s (of users) and
m (of items), whose products s_u·m_i are the weights. A *target* is a number, or a callable like that of an observed
weight.

The popularity c_i of item i is the number of its *observed* cells, regardless of their values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from halfstep._support.checks import check_finite, check_number
from halfstep.errors import ParameterError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Cells:
    """Observed cells, with the counts of users and items.

    Attributes
    ----------
    users, items : ndarray of shape (n_cells,)
        Positions of the user and the item of each cell.
    values : ndarray of shape (n_cells,)
    weights : ndarray of shape (n_cells,), or None
        The weights of the interactions, if they have any.
    user_counts : ndarray of shape (n_users,)
        Number of observed cells of each user.
    item_counts : ndarray of shape (n_items,)
        Number of observed cells of each item, its popularity.
    """

    users: NDArray[np.integer]
    items: NDArray[np.integer]
    values: Floats
    weights: Floats | None
    user_counts: NDArray[np.int64]
    item_counts: NDArray[np.int64]


ObservedWeight = float | Callable[[Cells], Floats]
MissingWeight = float | Callable[[Cells], tuple[Floats, Floats]]
Target = float | Callable[[Cells], Floats]


def uses_values(weight: ObservedWeight | Target | None) -> bool:
    """Whether a weight or target depends on values, as a function does unless it has ``uses_values = False``."""
    return callable(weight) and bool(getattr(weight, "uses_values", True))


def counts_events(target: Target) -> bool:
    """Whether an interaction without a value can be treated as one event, with a value of 1."""
    return not uses_values(target) or bool(getattr(target, "counts_events", False))


def per_observation(counts: NDArray[np.int64]) -> Floats:
    """Return 1 / c, and 0 where c is 0, so that items without observations have no weight."""
    inverse = np.zeros(len(counts), dtype=np.float64)
    np.divide(1.0, counts, out=inverse, where=counts > 0)
    return inverse


@dataclass(frozen=True)
class linear_popularity:  # noqa: N801 - used like a function
    """Linear popularity weights of WALS, w_ui = w0 + wk / c_i, which are larger for rare items.

    Parameters
    ----------
    w0 : float
        The constant part of the weight.
    wk : float
        The total additional weight of each item, divided equally among its observed cells.
    """

    w0: float
    wk: float

    uses_values: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_number("w0", self.w0)
        check_number("wk", self.wk)

    def __call__(self, cells: Cells) -> Floats:
        return _of_each_cell(self.of_items, cells)

    def of_items(self, item_counts: NDArray[np.int64]) -> Floats:
        """Return the weight of each item from its popularity; 0 for items without observations."""
        return np.where(item_counts > 0, self.w0 + self.wk * per_observation(item_counts), 0.0)


@dataclass(frozen=True)
class power_popularity:  # noqa: N801
    """Power popularity weights of WALS, w_ui = w0 + (1 / c_i)^e.

    Parameters
    ----------
    w0 : float
        The minimum weight.
    e : float
        The exponent: with 0 the weight does not depend on popularity, 1 equals `linear_popularity` with ``wk=1``.
    """

    w0: float
    e: float

    uses_values: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_number("w0", self.w0)
        check_number("e", self.e)

    def __call__(self, cells: Cells) -> Floats:
        return _of_each_cell(self.of_items, cells)

    def of_items(self, item_counts: NDArray[np.int64]) -> Floats:
        """Return the weight of each item from its popularity; 0 for items without observations."""
        return np.where(item_counts > 0, self.w0 + per_observation(item_counts) ** self.e, 0.0)


@dataclass(frozen=True)
class confidence:  # noqa: N801
    """Confidence weights of Hu, Koren and Volinsky (2008), w_ui = base + alpha · |r_ui|, for values such as counts.

    If values can be negative, use `preference` as the target.

    Parameters
    ----------
    alpha : float
        The increase of the weight per unit of the value.
    base : float
        The weight of a cell with the value 0. In the paper, it is 1, the weight of a missing cell.
    """

    alpha: float
    base: float = 1.0

    def __post_init__(self) -> None:
        check_number("alpha", self.alpha)
        check_number("base", self.base)

    def __call__(self, cells: Cells) -> Floats:
        return self.base + self.alpha * np.abs(cells.values)


@dataclass(frozen=True)
class log_confidence:  # noqa: N801
    """Logarithmic confidence weights of Hu, Koren and Volinsky (2008), w_ui = base + alpha · log(1 + r_ui / epsilon).

    They suit values that range over several orders of magnitude.

    Parameters
    ----------
    alpha : float
    epsilon : float
        The scale of values, positive: the weight is nearly linear below it and logarithmic above.
    base : float
        As in `confidence`.
    """

    alpha: float
    epsilon: float
    base: float = 1.0

    def __post_init__(self) -> None:
        check_number("alpha", self.alpha)
        check_number("epsilon", self.epsilon, positive=True)
        check_number("base", self.base)

    def __call__(self, cells: Cells) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):  # the objective checks the result
            return self.base + self.alpha * np.log1p(cells.values / self.epsilon)


@dataclass(frozen=True)
class preference:  # noqa: N801
    """A target, not a weight: t_ui = 1 for a value above a threshold, and another constant for other observed cells.

    Parameters
    ----------
    above : float
        The threshold, such as 0 for counts that may be negative (Spark, implicit), or 3.5 for ratings from 1 to 5.
    otherwise : float
        The target of other observed cells, such as 0, or −1 for signed preferences.
    """

    above: float = 0.0
    otherwise: float = 0.0

    def __post_init__(self) -> None:
        check_finite("above", self.above)
        check_finite("otherwise", self.otherwise)

    @property
    def counts_events(self) -> bool:
        """Whether a value of 1, a single event, is above the threshold."""
        return self.above < 1

    def __call__(self, cells: Cells) -> Floats:
        return np.where(cells.values > self.above, 1.0, self.otherwise)


@dataclass(frozen=True, eq=False)  # == of arrays has no truth value
class row_column:  # noqa: N801
    """Weights of TensorFlow's WALS: w_ui = w0 + R_u · C_i for observed cells, and w0 for missing cells.

    Parameters
    ----------
    w0 : float
        The weight of a missing cell; pass it as `missing_weight` as well.
    rows : float or array-like of shape (n_users,)
        R, by position of the user.
    columns : float or array-like of shape (n_items,)
        C, by position of the item.
    """

    w0: float
    rows: ArrayLike
    columns: ArrayLike

    uses_values: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_number("w0", self.w0)
        for name in ("rows", "columns"):
            _check_weights(name, getattr(self, name))

    def __call__(self, cells: Cells) -> Floats:
        rows = _per_row("rows", self.rows, len(cells.user_counts), "user")
        columns = _per_row("columns", self.columns, len(cells.item_counts), "item")
        weights: Floats = self.w0 + rows[cells.users] * columns[cells.items]
        return weights


@dataclass(frozen=True)
class missing_popularity:  # noqa: N801
    """Missing weights of eALS (He et al. 2016), c0 · f_i^a / Σ_j f_j^a, with f_i = c_i / Σ_j c_j.

    If a popular item is missing, the user more likely knows it and is not interested. Items without observations have
    no weight.

    Parameters
    ----------
    c0 : float
        The sum of the weights over all items.
    exponent : float
        a: with 0 the weight does not depend on popularity, with 1 it is proportional to popularity.
    """

    c0: float
    exponent: float

    def __post_init__(self) -> None:
        check_number("c0", self.c0)
        check_number("exponent", self.exponent)

    def __call__(self, cells: Cells) -> tuple[Floats, Floats]:
        shares = self.shares(cells.item_counts)
        return np.ones(len(cells.user_counts)), self.c0 * shares / shares.sum()

    def shares(self, item_counts: NDArray[np.int64]) -> Floats:
        """Return the weight of each item before scaling to a sum of c0, which depends only on its own count."""
        with np.errstate(over="ignore"):
            shares = np.where(item_counts > 0, item_counts.astype(np.float64) ** self.exponent, 0.0)
        if not np.isfinite(shares.sum()):
            raise ParameterError(f"exponent={self.exponent:g} makes the weights of popular items infinite: lower it")
        return shares


def _of_each_cell(of_items: Callable[[NDArray[np.int64]], Floats], cells: Cells) -> Floats:
    """Compute a function of popularity for each cell, evaluated by items or by cells, whichever are fewer."""
    if len(cells.items) < len(cells.item_counts):
        return of_items(cells.item_counts[cells.items])
    weights: Floats = of_items(cells.item_counts)[cells.items]
    return weights


def _check_weights(name: str, given: ArrayLike) -> None:
    """Check that a weight is a finite number of at least 0, or an array of such numbers."""
    try:
        array = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.array(np.nan)
    if array.ndim > 1 or isinstance(given, str | bytes | bool) or not (np.isfinite(array) & (array >= 0)).all():
        raise ParameterError(f"{name}={given!r}: give a finite number of at least 0, or an array of such numbers")


def _per_row(name: str, given: ArrayLike, count: int, what: str) -> Floats:
    array = np.asarray(given, dtype=np.float64)
    if array.ndim == 0:
        return np.full(count, float(array))
    if array.shape != (count,):
        raise ParameterError(
            f"{name} has shape {array.shape}: give one number, or one for each of the {count} {what}s"
        )
    return array
