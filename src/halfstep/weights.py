"""How much each cell of the matrix counts: popularity, confidence, rows times columns.

An *observed weight* is a number of at least 0, or a callable from `Cells` to one weight per cell; any function of
that shape will do, as long as a cell's weight depends on nothing but the cell and the counts: when users are folded
in or the model is updated, it is called for some cells only. A function that does not use the values of cells can
have an attribute ``uses_values = False``: then a model that was fitted on values accepts interactions without.
A *missing weight* is a number, the same for every missing cell, or a callable from the `Cells` to factors s (one per
user) and m (one per item) whose products s_u·m_i are the weights. A *target* is a number or a callable like an
observed weight's.

Popularity c_i is the number of *observed* cells of item i, whatever their values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from halfstep.errors import ParameterError
from halfstep.parameters import check_finite, check_number

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Cells:
    """The observed cells that weights are computed for, with the popularity to compute them from.

    Attributes
    ----------
    users, items : ndarray of shape (n_cells,)
        Positions of each cell's user and item.
    values : ndarray of shape (n_cells,)
    weights : ndarray of shape (n_cells,), or None
        The column of per-entry weights, where the interactions came with one.
    user_counts : ndarray of shape (n_users,)
        Observed cells of each user.
    item_counts : ndarray of shape (n_items,)
        Observed cells of each item: its popularity.
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
    """Whether a weight or target depends on values; a function does unless it has ``uses_values = False``."""
    return callable(weight) and bool(getattr(weight, "uses_values", True))


def counts_events(target: Target) -> bool:
    """Whether the target allows that an interaction without a value is one event, with a value of 1."""
    return not uses_values(target) or bool(getattr(target, "counts_events", False))


def per_observation(counts: NDArray[np.int64]) -> Floats:
    """1 / c, and 0 where nothing was observed: an unseen item has no weight, not an infinite one."""
    inverse = np.zeros(len(counts), dtype=np.float64)
    np.divide(1.0, counts, out=inverse, where=counts > 0)
    return inverse


@dataclass(frozen=True)
class linear_popularity:  # noqa: N801 - reads as the function that it stands for
    """WALS, linear: w_ui = w0 + wk / c_i, so that rare items count for more.

    Parameters
    ----------
    w0 : float
        What every observed cell weighs.
    wk : float
        What the observed cells of one item share between them.
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
        """The weight of each item from its popularity; 0 for an unseen item."""
        return np.where(item_counts > 0, self.w0 + self.wk * per_observation(item_counts), 0.0)


@dataclass(frozen=True)
class power_popularity:  # noqa: N801
    """WALS, power: w_ui = w0 + (1 / c_i)^e.

    Parameters
    ----------
    w0 : float
        What every observed cell weighs at least.
    e : float
        How fast the weight falls with popularity: 0 not at all, 1 as `linear_popularity` with ``wk=1``.
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
        """The weight of each item from its popularity; 0 for an unseen item."""
        return np.where(item_counts > 0, self.w0 + per_observation(item_counts) ** self.e, 0.0)


@dataclass(frozen=True)
class confidence:  # noqa: N801
    """Hu, Koren, Volinsky (2008): w_ui = base + alpha · |r_ui|, for values such as counts.

    Where values can be negative, `preference` as the target says which cells are liked.

    Parameters
    ----------
    alpha : float
        How much one unit of the value adds to the weight.
    base : float
        What a cell weighs of which the value is 0. The paper's 1 is the weight of a missing cell.
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
    """Hu, Koren, Volinsky (2008): w_ui = base + alpha · log(1 + r_ui / epsilon), for values of a very wide range.

    Parameters
    ----------
    alpha : float
    epsilon : float
        The value from which the logarithm begins to bend; positive.
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
        return self.base + self.alpha * np.log1p(cells.values / self.epsilon)


@dataclass(frozen=True)
class preference:  # noqa: N801
    """A target rather than a weight: t_ui = 1 for a value above a threshold, and something else for the others.

    Parameters
    ----------
    above : float
        The threshold: 0 for counts that may be negative (Spark, implicit), 3.5 for stars, say.
    otherwise : float
        The target of the other observed cells: 0, or −1 for signed preferences.
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


@dataclass(frozen=True, eq=False)  # arrays have no single answer to ==
class row_column:  # noqa: N801
    """TensorFlow's WALS: w_ui = w0 + R_u · C_i for observed cells; missing ones weigh w0.

    Parameters
    ----------
    w0 : float
        The weight of a missing cell; pass it as `missing_weight` too.
    rows : float or array-like of shape (n_users,)
        R, by the position of the user.
    columns : float or array-like of shape (n_items,)
        C, by the position of the item.
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
        rows = _one_each("rows", self.rows, len(cells.user_counts), "user")
        columns = _one_each("columns", self.columns, len(cells.item_counts), "item")
        weights: Floats = self.w0 + rows[cells.users] * columns[cells.items]
        return weights


@dataclass(frozen=True)
class missing_popularity:  # noqa: N801
    """The eALS of He et al. (2016): a missing cell weighs c0 · f_i^a / Σ_j f_j^a, f its item's share of cells.

    Popular items that a user did not take are more likely to be disliked than unknown. All items' weights add up
    to c0; unseen items weigh nothing.

    Parameters
    ----------
    c0 : float
        The sum of the weights over all items.
    exponent : float
        a: 0 treats all seen items alike, 1 in proportion to popularity.
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
        """Give each item's weight before all are scaled to a sum of c0; a change of one leaves the others."""
        with np.errstate(over="ignore"):
            shares = np.where(item_counts > 0, item_counts.astype(np.float64) ** self.exponent, 0.0)
        if not np.isfinite(shares.sum()):
            raise ParameterError(f"exponent={self.exponent:g} makes the weights of popular items infinite: lower it")
        return shares


def _of_each_cell(of_items: Callable[[NDArray[np.int64]], Floats], cells: Cells) -> Floats:
    """Compute what depends on items' popularity for each cell: by items or by cells, whichever are fewer."""
    if len(cells.items) < len(cells.item_counts):
        return of_items(cells.item_counts[cells.items])
    weights: Floats = of_items(cells.item_counts)[cells.items]
    return weights


def _check_weights(name: str, given: ArrayLike) -> None:
    """Check that a weight is a finite number of at least 0, or an array of such."""
    try:
        array = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.array(np.nan)
    if array.ndim > 1 or isinstance(given, str | bytes | bool) or not (np.isfinite(array) & (array >= 0)).all():
        raise ParameterError(f"{name}={given!r}: give a finite number of at least 0, or an array of such")


def _one_each(name: str, given: ArrayLike, count: int, what: str) -> Floats:
    array = np.asarray(given, dtype=np.float64)
    if array.ndim == 0:
        return np.full(count, float(array))
    if array.shape != (count,):
        raise ParameterError(
            f"{name} has shape {array.shape}: give one number, or one for each of the {count} {what}s"
        )
    return array
