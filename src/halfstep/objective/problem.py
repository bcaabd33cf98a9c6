"""Half-problems: the objective as the half-step of the users or of the items solves it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from halfstep._support.blocks import all_equal, blocks
from halfstep.data import Interactions, Orientation
from halfstep.objective.cost import Cost
from halfstep.objective.regularization import RowRegularization, counted_cells

FEW = 1000  # length of the prefix compared first; arrays that are not constant usually differ within it
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class HalfProblem:
    """One orientation of the objective, as arrays: all inputs of a half-step except the factors.

    Rows are solved while columns are held fixed; in the other half-problem they are swapped. Floating-point arrays
    have the precision of the systems.

    Attributes
    ----------
    indptr, indices : ndarray
        Observed cells by row, as in a CSR matrix.
    targets, weights : ndarray of shape (n_cells,) or (1,)
        t − μ and w, in the order of `indices`; a single element if all are equal.
    row_missing, column_missing : ndarray
        s and m; both empty if missing cells have no weight.
    regularization : ndarray of shape (n_rows,)
        λ_u.
    bias_ratio : float
        ρ.
    rank : int
    biases : bool
    gram : ndarray of shape (rank, rank), optional
        G = Σ_i m_i q_i q_iᵀ if it is known, which may include other columns than those here.
    nonnegative : bool
        Whether the factors, but not the biases, are at least 0; the arrays are then in float64.
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
    gram: NDArray[np.floating] | None = None
    nonnegative: bool = False

    @property
    def unknowns(self) -> int:
        """The number of unknowns of each row: its factors and, with biases, its bias."""
        return self.rank + self.biases

    def with_targets(self, targets: NDArray[np.floating]) -> HalfProblem:
        """Return the same problem with other targets t − μ of shape (n_cells,)."""
        return replace(self, targets=targets)

    def take(self, rows: NDArray[np.integer], dtype: DTypeLike | None = None) -> HalfProblem:
        """Return the problem of some rows, in another precision if one is given."""
        lengths = np.diff(self.indptr)[rows]
        indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        cells = np.arange(indptr[-1]) + np.repeat(self.indptr[rows] - indptr[:-1], lengths)
        dtype = self.weights.dtype if dtype is None else dtype
        return replace(
            self,
            indptr=indptr,
            indices=self.indices[cells],
            targets=(self.targets[cells] if len(self.targets) > 1 else self.targets).astype(dtype),
            weights=(self.weights[cells] if len(self.weights) > 1 else self.weights).astype(dtype),
            row_missing=(self.row_missing[rows] if len(self.row_missing) else self.row_missing).astype(dtype),
            column_missing=self.column_missing.astype(dtype),
            regularization=self.regularization[rows].astype(dtype),
        )

    def of_range(self, first: int, last: int) -> HalfProblem:
        """Return the problem of rows ``first:last``, whose arrays of cells are views."""
        start, stop = (int(cell) for cell in self.indptr[[first, last]])
        return replace(
            self,
            indptr=self.indptr[first : last + 1] - start,
            indices=self.indices[start:stop],
            targets=self.targets[start:stop] if len(self.targets) > 1 else self.targets,
            weights=self.weights[start:stop] if len(self.weights) > 1 else self.weights,
            row_missing=self.row_missing[first:last] if len(self.row_missing) else self.row_missing,
            regularization=self.regularization[first:last],
        )

    def astype(self, dtype: DTypeLike) -> HalfProblem:
        """Return the same problem in another precision."""
        targets, weights, s, m, reg = (
            array.astype(dtype)
            for array in (self.targets, self.weights, self.row_missing, self.column_missing, self.regularization)
        )
        return replace(self, targets=targets, weights=weights, row_missing=s, column_missing=m, regularization=reg)

    @property
    def has_one_matrix(self) -> bool:
        """Whether A is the same for all rows, so that it is factored once.

        This is so if s and λ are, and observed cells have the weights of missing ones: Σ_Ω (w − s m) y yᵀ is 0.
        """
        if self.biases or self.nonnegative or len(self.row_missing) == 0:
            return False
        if not (all_equal(self.row_missing) and all_equal(self.regularization)):
            return False
        weights = np.broadcast_to(self.weights, len(self.indices))
        return all(
            np.array_equal(weights[cells], self.row_missing[0] * self.column_missing[self.indices[cells]])
            for cells in (slice(FEW), *blocks(len(self.indices)))
        )


@dataclass(frozen=True)
class Prior:
    """A normal prior of the rows, which adds (x_u − x̄_u)ᵀ (Λ + λ_u D) (x_u − x̄_u) to the objective.

    Attributes
    ----------
    means : ndarray of shape (n_rows, unknowns) or (1, unknowns)
        x̄_u; a single row if it is the same for all.
    precision : ndarray of shape (unknowns, unknowns)
        Λ, in units of the weights: Λ / τ for a sampler whose observations have the precision τ w.
    noise : ndarray of shape (n_rows, unknowns), optional
        ε ~ N(0, I/τ), with which rows are sampled from N(x_u, (τ A_u)⁻¹) for the solution x_u and its matrix A_u. By
        default, rows are solved.
    """

    means: Floats
    precision: Floats
    noise: NDArray[np.floating] | None = None

    @classmethod
    def around(cls, means: Floats) -> Self:
        """Return the prior with these means of shape (n_rows, unknowns), and Λ = 0."""
        return cls(means, np.zeros((means.shape[1], means.shape[1])))

    @property
    def has_only_means(self) -> bool:
        """Whether Λ is 0 and rows are not sampled."""
        return self.noise is None and not self.precision.any()

    def take(self, rows: NDArray[np.integer]) -> Self:
        """Return the prior of some rows."""
        means = self.means if len(self.means) == 1 else self.means[rows]
        return replace(self, means=means, noise=None if self.noise is None else self.noise[rows])


def half_problems(
    data: Interactions, cost: Cost, *, rank: int, regularization: RowRegularization, dtype: DTypeLike
) -> tuple[HalfProblem, HalfProblem]:
    """Return the half-problems of users and of items."""
    return (
        user_problem(data, cost, rank=rank, regularization=regularization, dtype=dtype),
        item_problem(data, cost, rank=rank, regularization=regularization, dtype=dtype),
    )


def user_problem(
    data: Interactions, cost: Cost, *, rank: int, regularization: RowRegularization, dtype: DTypeLike
) -> HalfProblem:
    """Return the half-problem that solves users."""
    s, m = cost.user_missing, cost.item_missing
    counted = counted_cells(data.user_counts, data.user_positions, data.values, regularization.counts)
    return _half_problem(data.by_user, counted, cost, s, m, rank, regularization, regularization.users, dtype)


def item_problem(
    data: Interactions, cost: Cost, *, rank: int, regularization: RowRegularization, dtype: DTypeLike
) -> HalfProblem:
    """Return the half-problem that solves items."""
    s, m = cost.item_missing, cost.user_missing
    counted = counted_cells(data.item_counts, data.item_positions, data.values, regularization.counts)
    return _half_problem(data.by_item, counted, cost, s, m, rank, regularization, regularization.items, dtype)


def _half_problem(
    orientation: Orientation,
    counted: Floats,
    cost: Cost,
    s: Floats | None,
    m: Floats | None,
    rank: int,
    regularization: RowRegularization,
    reg: float,
    dtype: DTypeLike,
) -> HalfProblem:
    if s is not None and m is not None and all_equal(s) and all_equal(m):
        s, m = folded(s, m)
    with np.errstate(over="ignore"):  # the objective is then not finite, which is an error
        targets, weights = cost.of_rows(orientation, dtype)
    return problem_of_rows(
        (orientation.indptr, orientation.indices, targets, weights),
        counted,
        None if s is None or m is None else (s, m, float(m.sum())),
        rank=rank,
        reg=reg,
        regularization=regularization,
        biases=cost.biases,
        nonnegative=cost.nonnegative,
        dtype=dtype,
    )


def folded(s: Floats, m: Floats) -> tuple[Floats, Floats]:
    """Fold a constant s·m into the weights of rows, so that transposed data give the same bits."""
    return s * m[0], np.ones_like(m)


def problem_of_rows(
    cells: tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.floating], NDArray[np.floating]],
    counted: Floats,
    missing: tuple[Floats, Floats, float] | None,
    *,
    rank: int,
    reg: float,
    regularization: RowRegularization,
    biases: bool,
    nonnegative: bool,
    dtype: DTypeLike,
) -> HalfProblem:
    """Return the half-problem of all rows of a side, or of some.

    Parameters
    ----------
    cells : tuple of (indptr, indices, targets, weights)
        As in `HalfProblem`.
    counted : ndarray of shape (n_rows,)
        The number of observed cells of each row that λ_u depends on.
    missing : tuple of (s, m, sum of m), or None
        s of these rows and m of all columns.
    reg : float
        λ of the side.
    dtype : dtype
        The data type of the systems.
    """
    indptr, indices, targets, weights = cells
    none = np.empty(0, dtype)
    s, m, total = missing or (None, None, 0.0)
    with np.errstate(over="ignore"):
        row_reg = regularization.of_counts(reg, counted, None if s is None else s * total).astype(dtype)
    return HalfProblem(
        indptr=indptr,
        indices=indices,
        targets=targets.astype(dtype, copy=False),
        weights=weights.astype(dtype, copy=False),
        row_missing=none if s is None else s.astype(dtype),
        column_missing=none if m is None else m.astype(dtype),
        regularization=row_reg,
        bias_ratio=float(regularization.bias_ratio),  # kernels are compiled for each type of argument
        rank=int(rank),
        biases=bool(biases),
        nonnegative=bool(nonnegative),
    )
