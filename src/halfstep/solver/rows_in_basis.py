"""Rows of a half-step at higher ranks, solved one at a time in the variables of a `Basis`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from halfstep.objective.problem import Prior
from halfstep.solver.basis import Basis
from halfstep.solver.kernels.argument_groups import Base, Fixed
from halfstep.solver.kernels.cg import solve_by_conjugate_gradients
from halfstep.solver.kernels.exact import solve_large_systems
from halfstep.solver.kernels.subspace import solve_by_blocks
from halfstep.solver.layout import Factors
from halfstep.solver.loss import Loss
from halfstep.solver.schedule import HalfStepPlan
from halfstep.solvers import ConjugateGradient, Solver, Subspace


@dataclass(frozen=True)
class RowsInBasis:
    """The systems of all rows in the variables of a basis.

    Attributes
    ----------
    plan : HalfStepPlan
    prior : Prior or None
        With means only.
    base, fixed : Base, Fixed
        In these variables; G is diagonal, or empty.
    basis : Basis or None
        None if missing cells have no weight; the common part of all systems is then diagonal already.
    solver : Solver
    is_exact : ndarray of bool
        Whether each row is solved exactly; with approximate solvers, only some are.
    losses : ndarray of shape (n_rows, 1 or 2)
        In which kernels report rows that they could not solve and, if it has two columns, losses.
    loss : Loss or None
        None if it is not computed.
    """

    plan: HalfStepPlan
    prior: Prior | None
    base: Base
    fixed: Fixed
    basis: Basis | None
    solver: Solver
    is_exact: NDArray[np.bool_]
    losses: NDArray[np.float64]
    loss: Loss | None

    def solve(self, first: int, last: int, rows: NDArray[np.intp], X: Factors) -> None:
        """Solve the given rows of X, which are between `first` and `last`."""
        k, unknowns = self.fixed.k, self.fixed.k + self.fixed.biases
        solved = np.empty((last - first, unknowns), self.fixed.Y.dtype)
        exact, others = rows[self.is_exact[rows]], rows[~self.is_exact[rows]]
        given = self.plan.cells, self.base, self.fixed, self._pull(first, last), first, solved, self.losses
        if len(exact) > 0:
            solve_large_systems(exact, *given)
        if len(others) > 0:  # only these have a start, whose change of variables takes time
            solved[others - first] = self._in_basis(X[others, :unknowns].astype(solved.dtype))
            if isinstance(self.solver, ConjugateGradient):
                solve_by_conjugate_gradients(others, *given, int(self.solver.steps))
            elif isinstance(self.solver, Subspace):
                solve_by_blocks(others, *given, int(self.solver.block_size))
        chosen: slice | NDArray[np.intp] = slice(first, last)
        if len(rows) < last - first:
            chosen, solved = rows, solved[rows - first]
        with np.errstate(over="ignore"):  # the loss is checked for overflow
            if self.basis is None:
                X[chosen, :k] = solved[:, :k]
            elif isinstance(chosen, slice) and X.dtype == solved.dtype:
                np.matmul(solved[:, :k], self.basis.V.T, out=X[chosen, :k])
            else:
                X[chosen, :k] = solved[:, :k] @ self.basis.V.T
            X[chosen, k:unknowns] = solved[:, k:]
            if self.loss is not None and len(self.base.G) > 0:
                self.loss.all_cells[chosen] = np.square(solved[:, :k]) @ self.base.G
        self.plan.release(first, last)

    def _pull(self, first: int, last: int) -> Factors:
        """Return Λ x̄ of the rows first … last − 1, in the variables of the basis."""
        dtype, k, problem = self.fixed.Y.dtype, self.fixed.k, self.plan.problem
        if self.prior is None:
            return np.empty((0, 0), dtype)
        means = self.prior.means if len(self.prior.means) == 1 else self.prior.means[first:last]
        pull = (problem.regularization[first:last, None] * means).astype(dtype)
        pull[:, k:] *= problem.bias_ratio
        if self.basis is not None:
            pull[:, :k] = pull[:, :k] @ self.basis.V
        return pull

    def _in_basis(self, X: Factors) -> Factors:
        if self.basis is not None:
            k = self.fixed.k
            X[:, :k] = X[:, :k] @ self.basis.inverse.T
        return X
