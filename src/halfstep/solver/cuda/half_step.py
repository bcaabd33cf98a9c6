"""Half-steps of one side on a device."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from halfstep.errors import ParameterError
from halfstep.objective.problem import HalfProblem
from halfstep.solver.cuda.cg import take_steps
from halfstep.solver.cuda.device import Device
from halfstep.solver.cuda.exact import solve_rows
from halfstep.solver.cuda.gram import gramian
from halfstep.solver.cuda.layout import Layout
from halfstep.solver.cuda.loss import data_terms, penalty
from halfstep.solver.cuda.rows import DeviceRows
from halfstep.solver.precision import diagonal_of, needs_float64, not_definite
from halfstep.solver.schedule import HalfStepPlan
from halfstep.solvers import Cholesky, ConjugateGradient, Solver


class DeviceHalfStep:
    """Half-steps of one side, with its observed cells on the device.

    Parameters
    ----------
    device : Device
    problem : HalfProblem
    """

    def __init__(self, device: Device, problem: HalfProblem) -> None:
        self._device, self._plan, self.problem = device, HalfStepPlan.of(problem), problem
        self.layout = Layout.of(problem)
        self._ranges = [DeviceRows(device, problem)]
        self._m, self._reg = (device.asarray(each) for each in (problem.column_missing, problem.regularization))

    def solve(self, Y: Any, X: Any, solver: Solver) -> None:
        """Solve every row of X while Y is held fixed.

        Raises
        ------
        NumericalError
            If a system is not positive definite, with the position of the first such row.
        """
        check_solver(solver)
        G = self._gramian(Y)
        solved = X
        if needs_float64(self._plan, G):
            Y, solved = Y.astype(np.float64), X.astype(np.float64)
            G = self._gramian(Y)
        unsolved = self._solve(G, Y, solved, solver)
        if len(unsolved) > 0:
            self._solve_in_float64(unsolved, G, Y, solved)
        if solved is not X:
            X[...] = solved

    def _solve(self, G: NDArray[np.float64], Y: Any, X: Any, solver: Solver) -> NDArray[np.intp]:
        """Solve every row of X except some that lose precision, which are returned."""
        status = self._device.xp.zeros(len(X), np.uint8)
        in_float64 = [np.empty(0, np.intp)]
        first = 0
        for rows in self._ranges:
            last = first + len(rows.problem.regularization)
            problem, some, lists = rows.arrays(Y.dtype), X[first:last], rows.lists
            if isinstance(solver, ConjugateGradient) and not rows.plan.has_one_matrix:
                plan = rows.plan if rows.problem.weights.dtype == Y.dtype else rows.plan.astype(Y.dtype)
                others = take_steps(self._device, plan, problem, G, Y, some, solver.steps)
                lists = rows.listed(others.exact)
                in_float64.append(first + others.in_float64)
            solve_rows(self._device, lists, problem, G, Y, some, status[first:last])
            some[rows.empty] = 0.0
            first = last
        return np.union1d(np.concatenate(in_float64), np.flatnonzero(self._device.asnumpy(status)))

    def data_terms(self, Y: Any, X: Any) -> tuple[float, float]:
        """Return the terms of observed and of missing cells."""
        return data_terms(self._device, self.problem, self._ranges, Y, X)

    def penalty(self, X: Any) -> float:
        """Return the regularization term, Σ_u λ_u (‖x_u‖² + ρ b_u²)."""
        return penalty(self._device, self.problem, self._reg, X)

    def _gramian(self, Y: Any) -> NDArray[np.float64]:
        if self.problem.gram is not None:
            return self.problem.gram.astype(np.float64)
        return gramian(self._device, self._m, self.problem.rank, Y)

    def _solve_in_float64(self, unsolved: NDArray[np.intp], G: NDArray[np.float64], Y: Any, X: Any) -> None:
        """Solve rows that lose precision in float32.

        Raises
        ------
        NumericalError
            With the first row that cannot be solved in float64 either.
        """
        device, problem = self._device, self.problem.take(unsolved, np.float64)
        rows, fixed = DeviceRows(device, problem), Y.astype(np.float64)
        solved = device.xp.zeros((len(unsolved), self.layout.width), np.float64)
        status = device.xp.zeros(len(unsolved), np.uint8)
        solve_rows(device, rows.lists, rows.arrays(np.float64), G, fixed, solved, status)
        failed = np.flatnonzero(device.asnumpy(status))
        if len(failed) > 0:
            row, fixed = int(failed[0]), device.asnumpy(fixed)
            if problem.biases:
                fixed[:, problem.rank] = 1.0
            raise not_definite(self.problem, diagonal_of(problem, row, fixed, G), int(unsolved[row]))
        X[device.asarray(unsolved)] = solved.astype(X.dtype)


def check_solver(solver: Solver) -> None:
    """Check that half-steps on a device support a solver."""
    if not isinstance(solver, (Cholesky, ConjugateGradient)):
        raise ParameterError(f"solver={solver!r} is not supported on a GPU: use Cholesky() or ConjugateGradient()")
