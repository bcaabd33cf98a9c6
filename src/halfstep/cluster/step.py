"""A half-step of one block of rows, as a worker computes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from halfstep.errors import DataError, NumericalError
from halfstep.objective.problem import HalfProblem
from halfstep.solver.cpu import CPU
from halfstep.solver.gram import gramian
from halfstep.solver.kernels._vector import padded_width
from halfstep.solver.kernels.argument_groups import Fixed
from halfstep.solver.kernels.products import add_products
from halfstep.solver.layout import Factors, empty_factors
from halfstep.solver.schedule import HalfStepPlan
from halfstep.solver.session import Side
from halfstep.solvers import Cholesky, Solver

LONG = 8  # rows with an 8th of the cells of a block are divided between threads, with slower kernels


class FactorsAt(NamedTuple):
    """A reference to the factors F of a side: a version of them, or F + β (F − F') with an earlier version F'.

    Attributes
    ----------
    version : int
    previous : int or None
        The version of F'.
    beta : float
    """

    version: int
    previous: int | None = None
    beta: float = 0.0

    @property
    def versions(self) -> tuple[int, ...]:
        """All versions that are needed."""
        return (self.version,) if self.previous is None else (self.version, self.previous)

    def of(self, factors: Mapping[int, Factors]) -> Factors:
        """Return these factors, given all versions that are needed."""
        if self.previous is None:
            return factors[self.version]
        return extrapolated(factors[self.version], factors[self.previous], self.beta)


class Step(NamedTuple):
    """The computation of workers for each block of a side.

    Attributes
    ----------
    side : Side
    rows : FactorsAt
        The factors of this side, from which approximate solvers start.
    fixed : FactorsAt or None
        The factors of the other side; None if neither `solver` nor `is_loss` is set.
    gram : ndarray of shape (rank, rank), or None
        G of the other side; None without weights of missing cells.
    solver : Solver or None
        None leaves the rows unchanged.
    is_loss : bool
        Whether to return the terms of the cells.
    out : int or None
        The version under which to keep the rows; None if they are unchanged.
    ahead : tuple of (int, float), or None
        A version F' and β, to also return the Gramian of F + β (F − F') for the new rows F.
    """

    side: Side
    rows: FactorsAt
    fixed: FactorsAt | None = None
    gram: NDArray[np.float64] | None = None
    solver: Solver | None = None
    is_loss: bool = False
    out: int | None = None
    ahead: tuple[int, float] | None = None

    @property
    def own_versions(self) -> tuple[int, ...]:
        """The versions of the rows of the block that are needed, without repeats."""
        return tuple(dict.fromkeys((*self.rows.versions, *(() if self.ahead is None else self.ahead[:1]))))


class Failure(NamedTuple):
    """A `NumericalError`; errors lose their attributes when they are sent from workers to the driver."""

    message: str
    row: int | None
    regularization: float | None

    @property
    def error(self) -> NumericalError:
        """The error."""
        return NumericalError(self.message, row=self.row, regularization=self.regularization)


class BlockTerms(NamedTuple):
    """Terms of one block, which the driver adds in the order of blocks.

    Attributes
    ----------
    gram, ahead_gram : ndarray of shape (rank, rank) or (0, 0)
        The Gramians of the new rows, and of these extrapolated.
    regularization : float
    observed, missing : float
        The terms of cells if the step asked for them.
    failure : Failure or None
    """

    gram: NDArray[np.float64]
    ahead_gram: NDArray[np.float64]
    regularization: float = 0.0
    observed: float = 0.0
    missing: float = 0.0
    failure: Failure | None = None


class BlockSolver:
    """The rows of a block, and their problem.

    Parameters
    ----------
    problem : HalfProblem
        The problem of these rows, without `HalfProblem.gram`.
    gram_weights : ndarray of shape (n_rows,) or (0,)
        The weights of missing cells in the Gramian of these rows.
    first : int
        The position of the first row.
    n_columns : int
        The number of rows of the other side.
    """

    def __init__(self, problem: HalfProblem, gram_weights: Factors, first: int, n_columns: int) -> None:
        self._plan = HalfStepPlan.of(problem, LONG)
        self._gram_weights, self._first, self._n_columns = gram_weights, first, n_columns

    def __len__(self) -> int:
        return len(self._plan.problem.regularization)

    def run(
        self, cpu: CPU, step: Step, fixed: Factors | None, own: Mapping[int, Factors], out: Factors | None = None
    ) -> tuple[Factors, BlockTerms]:
        """Compute a step on an open `CPU`.

        Parameters
        ----------
        fixed : ndarray, or None
            All factors of the other side.
        own : mapping from int to ndarray
            The versions of the rows of this block that `Step.own_versions` lists.
        out : ndarray, optional
            Zeros, to which the rows are written.

        Returns
        -------
        X : ndarray
            The rows; undefined after a failure.
        """
        plan, none = self._plan, np.empty((0, 0))
        problem = plan.problem
        if len(problem.row_missing) > 0:
            cpu.limit_blas()
            if step.gram is not None:
                plan = plan.with_gram(step.gram)
        start = step.rows.of(own)
        self._check(fixed, start)
        X = empty_factors(len(start), problem.unknowns, start.dtype) if out is None else out
        if problem.nonnegative or not isinstance(step.solver, Cholesky):
            X[...] = start
        observed = missing = 0.0
        try:
            if step.solver is not None and step.is_loss:
                observed, missing = cpu.half_step_and_loss(plan, _given(fixed), X, solver=step.solver)
            elif step.solver is not None:
                cpu.half_step(plan, _given(fixed), X, solver=step.solver)
            elif step.is_loss:
                observed, missing = cpu.loss(plan, _given(fixed), X)
        except NumericalError as error:
            row = None if error.row is None else self._first + error.row
            return X, BlockTerms(none, none, failure=Failure(error.message, row, error.regularization))
        gram = gramian(self._gram_weights, problem.rank, X, cpu.run)
        ahead_gram = none
        if step.ahead is not None:
            version, beta = step.ahead
            ahead_gram = gramian(self._gram_weights, problem.rank, extrapolated(X, own[version], beta), cpu.run)
        return X, BlockTerms(gram, ahead_gram, cpu.regularization_term(plan, X), observed, missing)

    def products(self, X: Factors, P: Factors, *, has_sides: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the parts of these rows in the systems of all columns; see `halfstep.solver.kernels.products`.

        Parameters
        ----------
        X : ndarray
            The rows of this block.
        P : ndarray of shape (n_columns, width)
            A direction for each column, in the layout of factors.
        has_sides : bool
            Whether to also return the right-hand sides.
        """
        self._check(P, X)
        problem = self._plan.problem
        k, n_columns, dtype = problem.rank, len(P), problem.weights.dtype
        rows, offsets = X.astype(dtype), np.zeros(1, dtype)
        if problem.biases:
            offsets = rows[:, k].copy()
            rows[:, k] = 1.0
        m = self._plan.column_missing
        fixed = Fixed(rows, offsets, m, k, problem.biases)
        products = np.zeros((n_columns, problem.unknowns))
        sides = np.zeros((n_columns if has_sides else 0, problem.unknowns + 1))
        add_products(self._plan.cells, problem.row_missing, fixed, P.astype(dtype), products, sides)
        return products, sides

    def _check(self, fixed: Factors | None, rows: Factors) -> None:
        """Check the shapes of factors, which kernels rely on."""
        n_rows, width = len(self), padded_width(self._plan.problem.unknowns)
        if rows.shape != (n_rows, width) or (fixed is not None and fixed.shape != (self._n_columns, width)):
            shapes = rows.shape if fixed is None else (rows.shape, fixed.shape)
            raise DataError(f"factors of shapes {shapes} do not match the table: use a new working folder")


def extrapolated(factors: Factors, previous: Factors, beta: float) -> Factors:
    """Return F + β (F − F')."""
    ahead: Factors = np.subtract(factors, previous)
    ahead *= beta
    ahead += factors
    return ahead


def _given(fixed: Factors | None) -> Factors:
    assert fixed is not None, "this step needs the factors of the other side"
    return fixed
