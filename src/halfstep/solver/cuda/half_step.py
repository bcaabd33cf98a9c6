"""Half-steps of one side on a device."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from halfstep.errors import ParameterError
from halfstep.objective.problem import HalfProblem
from halfstep.solver.cuda.cg import Division, take_steps
from halfstep.solver.cuda.device import Device
from halfstep.solver.cuda.dual import solve_in_dual
from halfstep.solver.cuda.exact import solve_rows
from halfstep.solver.cuda.fixed_side import FixedSide, RowsInBasis
from halfstep.solver.cuda.gram import gramian
from halfstep.solver.cuda.layout import SHAPES, Layout
from halfstep.solver.cuda.loss import data_terms, regularization_term
from halfstep.solver.cuda.row_lists import is_dual, part_length, ranges_of_rows
from halfstep.solver.cuda.rows import DeviceRows, ExactRows
from halfstep.solver.precision import diagonal_of, needs_float64, not_definite
from halfstep.solver.schedule import HalfStepPlan
from halfstep.solvers import Cholesky, ConjugateGradient, Solver

LARGEST_RANK = 512  # for which all kernels fit the shared memory


class DeviceHalfStep:
    """Half-steps of one side, with its observed cells on the device.

    Parameters
    ----------
    cells_at_once : int, optional
        The number of observed cells that fit the device. By default, all do, and stay there; otherwise they are
        copied in ranges of rows for each half-step, which does not change the result.
    """

    def __init__(self, device: Device, problem: HalfProblem, cells_at_once: int | None = None) -> None:
        if problem.rank > LARGEST_RANK:
            raise ParameterError(f"rank={problem.rank} is not supported on a GPU: set {LARGEST_RANK} or less")
        self._device, self._plan, self.problem = device, HalfStepPlan.of(problem), problem
        self.layout = Layout.of(problem)
        n_cells, in_dual = len(problem.indices), is_dual(problem, SHAPES[-1].size)
        self._ranges = [
            DeviceRows(
                device,
                problem.of_range(first, last),
                in_dual[first:last],
                part_length(problem),
                is_resident=cells_at_once is None,
            )
            for first, last in ranges_of_rows(problem.indptr, cells_at_once or n_cells)
        ]
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
        fixed, division = FixedSide(self._device, self._plan, G, Y), None
        if isinstance(solver, ConjugateGradient) and not self._plan.has_one_matrix:
            plan = self._plan if self.problem.weights.dtype == Y.dtype else self._plan.astype(Y.dtype)
            division = Division.of(self._device, plan, fixed, solver.steps)
        in_float64 = [np.empty(0, np.intp) if division is None else division.in_float64]
        in_basis = RowsInBasis(self._device, fixed, X, is_start=division is not None)
        status = self._device.xp.zeros(len(X), np.uint8)
        first = 0
        for rows in self._ranges:
            last = first + len(rows.problem.regularization)
            problem, exact = rows.arrays(Y.dtype), rows.exact
            if division is not None and isinstance(solver, ConjugateGradient):
                by_steps = in_range(division.by_steps, first, last)
                some = in_basis.factors[first:last]
                unsolved = take_steps(self._device, problem, fixed, first, some, by_steps, solver.steps)
                in_basis.add(first + by_steps)
                in_float64.append(first + unsolved)
                exact = rows.listed(in_range(division.exact, first, last))
            if len(exact.rows) > 0:
                self._solve_exactly(rows, exact, problem, fixed, first, X[first:last], in_basis, status[first:last])
            if len(rows.empty) > 0:
                X[first:last][rows.empty] = 0.0
            first = last
        in_basis.transform_back()
        return np.union1d(np.concatenate(in_float64), np.flatnonzero(self._device.asnumpy(status)))

    def _solve_exactly(
        self,
        rows: DeviceRows,
        exact: ExactRows,
        problem: HalfProblem,
        fixed: FixedSide,
        first: int,
        X: Any,
        in_basis: RowsInBasis,
        status: Any,
    ) -> None:
        """Solve some rows of a range, in the primal or in the dual."""
        device, basis, last = self._device, fixed.common_basis, first + len(X)
        if basis is not None:
            problem, some = basis.problem(problem, first), in_basis.factors[first:last]
            solve_rows(device, exact.primal, problem, np.empty((0, 0)), basis.Y, some, status)
            solve_in_dual(device, exact.dual, problem, basis.g, basis.Y, some, status)
            in_basis.add(first + exact.rows)
            return
        solve_rows(device, exact.primal, problem, fixed.G, fixed.Y, X, status)
        if len(fixed.G) == 0:
            solve_in_dual(device, exact.dual, problem, X[:0, 0], fixed.Y, X, status)
        elif exact.dual:
            basis = fixed.basis  # computed on this machine while the device solves the other rows
            in_dual = exact.rows[rows.is_dual[exact.rows]]
            if basis is None:
                solve_rows(device, rows.in_primal(in_dual), problem, fixed.G, fixed.Y, X, status)
                return
            some = in_basis.factors[first:last]
            solve_in_dual(device, exact.dual, basis.problem(problem, first), basis.g, basis.Y, some, status)
            in_basis.add(first + in_dual)

    def data_terms(self, Y: Any, X: Any) -> tuple[float, float]:
        """Return the terms of observed and of missing cells."""
        return data_terms(self._device, self.problem, self._ranges, Y, X)

    def regularization_term(self, X: Any) -> float:
        """Return the regularization term, Σ_u λ_u (‖x_u‖² + ρ b_u²)."""
        return regularization_term(self._device, self.problem, self._reg, X)

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
        rows = DeviceRows(device, problem, np.zeros(len(unsolved), bool), part_length(problem))
        fixed = Y.astype(np.float64)
        solved = device.xp.zeros((len(unsolved), self.layout.width), np.float64)
        status = device.xp.zeros(len(unsolved), np.uint8)
        solve_rows(device, rows.exact.primal, rows.arrays(fixed.dtype), G, fixed, solved, status)
        failed = np.flatnonzero(device.asnumpy(status))
        if len(failed) > 0:
            row, fixed = int(failed[0]), device.asnumpy(fixed)
            if problem.biases:
                fixed[:, problem.rank] = 1.0
            raise not_definite(self.problem, diagonal_of(problem, row, fixed, G), int(unsolved[row]))
        X[device.asarray(unsolved)] = solved.astype(X.dtype)


def in_range(rows: NDArray[np.intp], first: int, last: int) -> NDArray[np.intp]:
    """Return the positions in a range of those rows that are in it."""
    return rows[(rows >= first) & (rows < last)] - first


def check_solver(solver: Solver) -> None:
    """Check that half-steps on a device support a solver."""
    if not isinstance(solver, (Cholesky, ConjugateGradient)):
        raise ParameterError(f"solver={solver!r} is not supported on a GPU: use Cholesky() or ConjugateGradient()")
