"""What is minimised: `Explicit` and `Implicit` turn interactions into the arrays of the objective

    J =  Σ_(u,i)∈Ω  w_ui · (t_ui − μ − b_u − b_i − p_u·q_i)²
       + Σ_(u,i)∉Ω  s_u · m_i · (p_u·q_i)²
       + Σ_u λ_u (‖p_u‖² + ρ b_u²) + Σ_i λ_i (‖q_i‖² + ρ b_i²)

Ω are the observed cells: those that are stored, whatever their values. Every published variant of ALS is a setting of
these arrays; none has code of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from halfstep.errors import DataError, ParameterError
from halfstep.interactions import Interactions, Orientation
from halfstep.parameters import check_number
from halfstep.weights import Cells, MissingWeight, ObservedWeight

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Cost:
    """The data terms of J for given interactions, cells in input order.

    Attributes
    ----------
    targets : ndarray of shape (n_cells,)
        t − μ.
    weights : ndarray of shape (n_cells,)
        w.
    user_missing, item_missing : ndarray of shape (n_users,) and (n_items,), or None
        s and m; None where missing cells do not count.
    mean : float
        μ.
    biases : bool
        Whether b_u and b_i are fitted.
    """

    targets: Floats
    weights: Floats
    user_missing: Floats | None
    item_missing: Floats | None
    mean: float
    biases: bool


class Objective(Protocol):
    """What `halfstep.ALS` minimises, regularisation aside."""

    def cost(self, data: Interactions) -> Cost:
        """Turn interactions into the arrays of the objective."""
        ...


@dataclass(frozen=True, kw_only=True)
class Explicit:
    """Values are what is to be predicted: ratings, scores, ±1.

    Parameters
    ----------
    weight : float or callable, optional
        w, the weight of an observed cell: a number, one of `halfstep.weights`, or any function from
        `halfstep.weights.Cells` to an array. By default the interactions' own column of weights, or 1 if they have
        none.
    missing_weight : float or callable
        s·m, the weight of a missing cell, whose factors' product p_u·q_i is drawn to 0. With 1 (and ``weight=1``,
        no biases) a missing cell is an observation of 0.
    biases : bool
        Fit b_u and b_i jointly with the factors, around the weighted mean μ of the observed values. Missing cells
        are predicted without them: what is missing is drawn to its baseline.
    """

    weight: ObservedWeight | None = None
    missing_weight: MissingWeight = 0.0
    biases: bool = False

    def __post_init__(self) -> None:
        _check_weight("weight", self.weight)
        _check_weight("missing_weight", self.missing_weight)
        if not isinstance(self.biases, bool | np.bool_):
            raise ParameterError(f"biases={self.biases!r}: give True or False")

    def cost(self, data: Interactions) -> Cost:
        """Turn interactions into the arrays of the objective."""
        cells = _cells(data)
        weights = _observed_weights(self.weight, cells, data)
        mean = _weighted_mean(data.values, weights) if self.biases else 0.0
        s, m = _missing_weights(self.missing_weight, cells)
        return Cost(data.values - mean, weights, s, m, mean, self.biases)


@dataclass(frozen=True, kw_only=True)
class Implicit:
    """That something happened is what is to be predicted: clicks, plays, purchases.

    Values do not enter the target; they may enter the weight (`halfstep.weights.confidence`).

    Parameters
    ----------
    observed_weight : float or callable, optional
        w, the weight of an observed cell, as in `Explicit`.
    missing_weight : float or callable
        s·m, the weight of a missing cell, whose score is drawn to 0.
    target : float
        t, what the score of an observed cell is drawn to.
    """

    observed_weight: ObservedWeight | None = None
    missing_weight: MissingWeight = 1.0
    target: float = 1.0

    def __post_init__(self) -> None:
        _check_weight("observed_weight", self.observed_weight)
        _check_weight("missing_weight", self.missing_weight)
        check_number("target", self.target)

    def cost(self, data: Interactions) -> Cost:
        """Turn interactions into the arrays of the objective."""
        cells = _cells(data)
        s, m = _missing_weights(self.missing_weight, cells)
        targets = np.full(len(data), self.target)
        return Cost(targets, _observed_weights(self.observed_weight, cells, data), s, m, 0.0, biases=False)


@dataclass(frozen=True)
class Side:
    """All that a half-step needs besides the factors: one orientation of the objective.

    Rows are those to be solved, columns those that are held fixed; the other side has them swapped. Floating-point
    arrays are in the precision in which systems are summed and solved.

    Attributes
    ----------
    indptr, indices : ndarray
        Observed cells, row by row, as in a CSR matrix.
    targets, weights : ndarray of shape (n_cells,)
        t − μ and w, in the order of `indices`.
    row_missing, column_missing : ndarray
        s and m; both empty where missing cells do not count.
    regularization : ndarray of shape (n_rows,)
        λ_u.
    bias_ratio : float
        ρ.
    rank : int
    biases : bool
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    targets: NDArray[np.floating]
    weights: NDArray[np.floating]
    row_missing: NDArray[np.floating]
    column_missing: NDArray[np.floating]
    regularization: NDArray[np.floating]
    bias_ratio: float
    rank: int
    biases: bool

    @property
    def unknowns(self) -> int:
        """Numbers to be found for each row: its factors and, with biases, its bias."""
        return self.rank + self.biases

    @property
    def has_one_matrix(self) -> bool:
        """Whether A is the same for all rows: observed and missing cells weigh alike, and so do all rows.

        Then Σ_Ω (w − s m) y yᵀ vanishes, and one factorisation serves every row.
        """
        if self.biases or len(self.row_missing) == 0:
            return False
        if np.ptp(self.row_missing) != 0 or np.ptp(self.regularization) != 0:
            return False
        return bool(np.array_equal(self.weights, self.row_missing[0] * self.column_missing[self.indices]))


def sides(
    data: Interactions,
    cost: Cost,
    *,
    rank: int,
    regularization: float,
    regularization_exponent: float,
    bias_ratio: float,
    dtype: DTypeLike,
) -> tuple[Side, Side]:
    """Both orientations of the objective: the users' half-step and the items'.

    λ_u = regularization · c_u^exponent, where c_u is what row u weighs: its observed cells, plus Σ_i s_u m_i where
    missing cells count (Zhou et al. 2008; Rendle et al. 2022). A row that weighs nothing gets λ_u as if it weighed 1:
    its factors are 0 whatever it is.
    """

    def side(orientation: Orientation, counts: NDArray[np.int64], s: Floats | None, m: Floats | None) -> Side:
        heft = counts.astype(np.float64)
        if s is not None and m is not None:
            if np.ptp(s) == 0 and np.ptp(m) == 0:  # a constant goes to the rows, whichever side they are:
                s, m = s * m[0], np.ones_like(m)  # a matrix and its transpose then give the same bits
            heft += s * m.sum()
        ridge = regularization * np.where(heft > 0, heft, 1.0) ** regularization_exponent
        none = np.empty(0, dtype)
        return Side(
            indptr=orientation.indptr,
            indices=orientation.indices,
            targets=cost.targets[orientation.order].astype(dtype),
            weights=cost.weights[orientation.order].astype(dtype),
            row_missing=none if s is None else s.astype(dtype),
            column_missing=none if m is None else m.astype(dtype),
            regularization=ridge.astype(dtype),
            bias_ratio=float(bias_ratio),  # kernels are compiled for the types that they are called with
            rank=int(rank),
            biases=bool(cost.biases),
        )

    s, m = cost.user_missing, cost.item_missing
    return side(data.by_user, data.user_counts, s, m), side(data.by_item, data.item_counts, m, s)


def _cells(data: Interactions) -> Cells:
    return Cells(
        data.user_positions,
        data.item_positions,
        data.values,
        data.weights,
        data.user_counts,
        data.item_counts,
    )


def _check_weight(name: str, weight: ObservedWeight | MissingWeight | None) -> None:
    if isinstance(weight, type):
        raise ParameterError(f"{name}={weight.__name__}: give it its parameters, as in {weight.__name__}(...)")
    if weight is not None and not callable(weight):
        check_number(name, weight)


def _weighted_mean(values: Floats, weights: Floats) -> float:
    total = weights.sum()
    if total <= 0:
        raise DataError("all observed weights are 0: there is nothing to fit")
    return float(weights @ values / total)


def _observed_weights(weight: ObservedWeight | None, cells: Cells, data: Interactions) -> Floats:
    if weight is None:
        return np.ones(len(cells.values)) if cells.weights is None else cells.weights
    if not callable(weight):
        return np.full(len(cells.values), float(weight))
    given: Any = weight(cells)
    weights = np.asarray(np.nan if isinstance(given, tuple) else given, dtype=np.float64)
    if weights.shape != cells.values.shape:
        raise DataError(
            f"{weight!r} gave {type(given).__name__} of shape {np.shape(weights)} for {len(cells.values)} observed "
            "cells: the weight of observed cells is one number for each"
        )
    bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(bad):
        user, item = data.users[int(cells.users[bad[0]])], data.items[int(cells.items[bad[0]])]
        raise DataError(
            f"{weight!r} gave the weight {weights[bad[0]]} to user {user!r}, item {item!r} "
            f"(value {cells.values[bad[0]]}): weights must be finite and not negative"
        )
    return weights


def _missing_weights(missing: MissingWeight, cells: Cells) -> tuple[Floats | None, Floats | None]:
    """The factors s and m; None, None where missing cells have no weight."""
    n_users, n_items = len(cells.user_counts), len(cells.item_counts)
    if not callable(missing):
        return (np.full(n_users, float(missing)), np.ones(n_items)) if missing > 0 else (None, None)
    given: Any = missing(cells)
    shapes = [np.shape(factor) for factor in given] if isinstance(given, tuple) else [np.shape(given)]
    if shapes != [(n_users,), (n_items,)]:
        raise DataError(
            f"{missing!r} gave {type(given).__name__} of shapes {shapes}: the weight of missing cells is a pair, one "
            f"number for each of {n_users} users and one for each of {n_items} items"
        )
    s, m = (np.asarray(factor, dtype=np.float64) for factor in given)
    for factor in (s, m):
        if not (np.isfinite(factor).all() and (factor >= 0).all()):
            raise DataError(f"{missing!r} gave a factor that is negative or not finite")
    return s, m
