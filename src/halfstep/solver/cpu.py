"""Half-steps on the cores of one machine.

Threads take the chunks of a `HalfStepPlan` in turn. The segments of its long rows are summed separately and added in
order. The plan depends only on the data, so that the result does not depend on the number of threads, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import numpy as np
from numpy.typing import DTypeLike, NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from halfstep.errors import NumericalError
from halfstep.objective.problem import HalfProblem, Prior
from halfstep.solver.arguments import base_of, fixed_of, prior_of
from halfstep.solver.basis import Basis, is_well_conditioned
from halfstep.solver.gram import ROWS_PER_PRODUCT, gramian
from halfstep.solver.kernels._vector import padded_width
from halfstep.solver.kernels.argument_groups import Base, Fixed
from halfstep.solver.kernels.nonnegative import solve_nonnegative_rows
from halfstep.solver.kernels.observations import UNSOLVED
from halfstep.solver.kernels.row_losses import regularization_term
from halfstep.solver.kernels.small_systems import SOLVED, solve_rows, sum_right_hand_sides, sum_segment
from halfstep.solver.layout import Factors, aligned_zeros
from halfstep.solver.loss import Loss
from halfstep.solver.precision import diagonal_of, least_curvature, needs_float64, not_definite, solved_exactly
from halfstep.solver.rows_in_basis import RowsInBasis
from halfstep.solver.schedule import HalfStepPlan
from halfstep.solver.threads import OneBlasThread, Team, threads_to_use, working
from halfstep.solvers import Cholesky, Solver

T = TypeVar("T")
OnSolved = Callable[[int, int], None]
Chunks = list[tuple[tuple[int, int], NDArray[np.intp]]]

EXACT = Cholesky()


class CPU:
    """Run half-steps on several threads.

    Parameters
    ----------
    threads : int, optional
        All cores that are available to the process by default. Does not change the result.
    """

    def __init__(self, threads: int | None = None) -> None:
        self.threads = threads_to_use(threads)
        self._team = Team(helpers=0)
        self._working = working()
        self._limits_blas = False
        self._scratch: dict[tuple[str, tuple[int, ...], np.dtype[Any]], Factors] = {}
        self._derived: dict[str, tuple[NDArray[Any], Any]] | None = None

    def __enter__(self) -> Self:
        self._working.__enter__()
        try:
            self._team = Team(helpers=self.threads - 1)
        except BaseException:
            self._working.__exit__()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._team.close()
            if self._limits_blas:
                OneBlasThread.leave()
                self._limits_blas = False
            self._scratch.clear()
        finally:
            self._working.__exit__()

    def plan(self, problem: HalfProblem) -> HalfStepPlan:
        """Divide the work of a half-step, and limit BLAS to one thread if the half-step calls it."""
        plan = HalfStepPlan.of(problem)
        in_parts = plan.solves_single_rows or (plan.has_one_matrix and len(plan.light_ranges) > 1)
        if len(problem.row_missing) > 0 and (problem.gram is None or in_parts):
            self.limit_blas()
        return plan

    def limit_blas(self) -> None:
        """Limit BLAS to one thread until this object is closed, for calls between half-steps."""
        if not self._limits_blas:
            OneBlasThread.enter()
            self._limits_blas = True

    def run(self, tasks: Sequence[Callable[[], None]]) -> None:
        """Run tasks on the threads; their results must not depend on the thread."""
        self._team.run(tasks)

    @contextmanager
    def same_fixed_factors(self) -> Iterator[None]:
        """Let several half-steps with the same fixed factors share what is derived from them."""
        self._derived = {}
        try:
            yield
        finally:
            self._derived = None

    def half_step(
        self, plan: HalfStepPlan, Y: Factors, X: Factors, *, solver: Solver = EXACT, prior: Prior | None = None
    ) -> None:
        """Solve every row of X while Y is held fixed.

        With a prior, rows without observations are set to its means, and rows are sampled if it has noise.
        Approximate solvers start from X, and support only priors with Λ = 0 and without noise.

        Raises
        ------
        NumericalError
            If a system is not positive definite, with the position of the first such row.
        """
        self._half_step(plan, *self._fixed(plan.problem, Y), X, solver, None, prior)

    def half_step_and_loss(
        self, plan: HalfStepPlan, Y: Factors, X: Factors, *, solver: Solver = EXACT, prior: Prior | None = None
    ) -> tuple[float, float]:
        """Solve every row of X, and return the terms of observed and of missing cells afterwards.

        This is one call, because the observed cells of each row are in the cache after it was solved.
        """
        Y, offsets = self._fixed(plan.problem, Y)
        loss = self._loss(plan, Y, offsets, X, prior)
        G = self._half_step(plan, Y, offsets, X, solver, loss, prior)
        return loss.terms(X, G, self.run)

    def loss(self, plan: HalfStepPlan, Y: Factors, X: Factors) -> tuple[float, float]:
        """Return the terms of observed and of missing cells in float64, for any factors."""
        Y, offsets = self._fixed(plan.problem, Y)
        return self._loss(plan, Y, offsets, X).float64_terms(X, self.run)

    def regularization_term(self, plan: HalfStepPlan, X: Factors, *, prior: Prior | None = None) -> float:
        """Return the regularization term, Σ_u λ_u (‖x_u‖² + ρ b_u²).

        With a prior it is that of x_u − x̄_u, without the precision of the prior.
        """
        problem = plan.problem
        if prior is not None:
            X = X[:, : problem.unknowns] - prior.means
        return regularization_term(problem.regularization, problem.bias_ratio, problem.rank, problem.biases, X)

    def _half_step(
        self,
        plan: HalfStepPlan,
        Y: Factors,
        offsets: Factors,
        X: Factors,
        solver: Solver,
        loss: Loss | None,
        prior: Prior | None,
    ) -> NDArray[np.float64]:
        """Solve every row, and return G."""
        problem = plan.problem
        in_basis = plan.solves_single_rows or not isinstance(solver, Cholesky)
        if prior is not None and not prior.has_only_means:
            assert isinstance(solver, Cholesky), "approximate solvers only support priors with Λ = 0"
            in_basis = False
        assert X.shape[1] == Y.shape[1] == padded_width(problem.unknowns), "allocate factors by empty_factors"
        if problem.gram is None:
            G = gramian(problem.column_missing, problem.rank, Y, self.run)
        else:
            G = problem.gram.astype(np.float64)
        if needs_float64(plan, G):
            plan, (Y, offsets) = plan.astype(np.float64), self._in_float64(Y, offsets)
            problem = plan.problem
            G = gramian(problem.column_missing, problem.rank, Y, self.run)
        base = base_of(problem, G.astype(Y.dtype))
        fixed = fixed_of(problem, Y, offsets)

        def on_solved(first: int, last: int) -> None:
            if loss is not None:
                loss.add(first, last, X, base)  # while these rows are in the cache
            plan.release(first, last)

        if plan.has_one_matrix and prior is None and not problem.nonnegative:
            self._solve_with_one_matrix(plan, base.G, Y, X, on_solved)
        elif in_basis and not problem.nonnegative:
            if problem.biases:
                Y[:, problem.rank] = 0.0  # these kernels solve biases separately
            unsolved = self._solve_in_basis(plan, base, fixed, X, solver, loss, prior)
            if problem.biases:
                Y[:, problem.rank] = 1.0
            self._solve_each(plan, [], base, fixed, X, on_solved, prior)  # the long rows
            if len(unsolved):
                self._solve_in_float64(problem, unsolved, base, fixed, X, on_solved, prior)
        else:
            self._solve_each(plan, plan.chunks, base, fixed, X, on_solved, prior)
        return G

    def _fixed(self, problem: HalfProblem, Y: Factors) -> tuple[Factors, Factors]:
        """Return rows [y | 1] and offsets of the fixed side, in the precision of the systems."""
        return self._once(f"rows in {problem.weights.dtype}", np.empty(0), lambda: self._derived_rows(problem, Y))

    def _derived_rows(self, problem: HalfProblem, Y: Factors) -> tuple[Factors, Factors]:
        dtype = problem.weights.dtype
        offsets = self._empty("offsets" if problem.biases else "no offsets", (len(Y),), dtype)
        if Y.dtype == dtype and not problem.biases:
            return Y, offsets
        rows = self._empty("Y", Y.shape, dtype)
        rows[...] = Y
        if problem.biases:
            offsets[...] = rows[:, problem.rank]
            rows[:, problem.rank] = 1.0
        return rows, offsets

    def _in_float64(self, Y: Factors, offsets: Factors) -> tuple[Factors, Factors]:
        exact = self._empty("Y", Y.shape), self._empty("offsets", offsets.shape)
        exact[0][...], exact[1][...] = Y, offsets
        return exact

    def _empty(self, name: str, shape: tuple[int, ...], dtype: DTypeLike = np.float64) -> Factors:
        """Return an array with zeros as padding, which is reused in the next half-step.

        Mapping new memory takes longer than a small half-step.
        """
        rows, *width = shape
        key = (name, tuple(width), np.dtype(dtype))  # one array for both sides
        if key not in self._scratch or len(self._scratch[key]) < rows:
            self._scratch.pop(key, None)
            self._scratch[key] = aligned_zeros(shape, dtype)
        return self._scratch[key][:rows]

    def _loss(self, plan: HalfStepPlan, Y: Factors, offsets: Factors, X: Factors, prior: Prior | None = None) -> Loss:
        def derive() -> tuple[Factors, Factors]:
            return np.asarray(Y, np.float64), np.asarray(offsets, np.float64)

        def in_float64() -> tuple[Factors, Factors]:
            return self._once("rows for losses", np.empty(0), derive)

        return Loss(plan, in_float64, self._losses(X, 2), self._sums_of_squares(X), prior)

    def _once(self, name: str, given: NDArray[Any], derive: Callable[[], T]) -> T:
        """Derive something from the fixed factors and another array, or reuse it if both are the same as before."""
        if self._derived is None:
            return derive()
        if name not in self._derived or not np.array_equal(self._derived[name][0], given):
            self._derived[name] = given, derive()
        derived: T = self._derived[name][1]
        return derived

    def _losses(self, X: Factors, terms: int) -> NDArray[np.float64]:
        """Return the array in which kernels report unsolved rows and, if it has two columns, their losses."""
        return cast("NDArray[np.float64]", self._empty("losses", (len(X), terms)))

    def _sums_of_squares(self, X: Factors) -> NDArray[np.float64]:
        """Return the array in which `solve_rows` reports sums for the loss."""
        return cast("NDArray[np.float64]", self._empty("sums of squares", (len(X), 2)))

    def _solve_each(
        self,
        plan: HalfStepPlan,
        chunks: Chunks,
        base: Base,
        fixed: Fixed,
        X: Factors,
        on_solved: OnSolved,
        prior: Prior | None = None,
    ) -> None:
        """Solve the rows of some chunks, and all long rows, with the kernels for small systems."""
        cells, sums_of_squares, given = plan.cells, self._sums_of_squares(X), prior_of(prior, fixed.Y.dtype)
        sums = np.empty((len(plan.segments), *plan.sums_shape), fixed.Y.dtype)
        failed: list[NDArray[np.intp]] = []

        def solve(first: int, last: int, rows: NDArray[np.intp], summed: Factors) -> None:
            if plan.problem.nonnegative:
                status = solve_nonnegative_rows(rows, cells, base, fixed, summed, X, sums_of_squares)
            else:
                status = solve_rows(rows, cells, base, fixed, given, summed, X, sums_of_squares)
            if status == SOLVED:
                on_solved(first, last)
            else:
                failed.append(rows)

        self._team.run(
            [
                partial(sum_segment, *segment, cells, base, fixed, part)
                for segment, part in zip(plan.segments, sums, strict=True)
            ]
            + [partial(solve, first, last, rows, sums[:0]) for (first, last), rows in chunks]
        )
        if plan.segments:
            totals = np.zeros((len(plan.long_rows), *plan.sums_shape), sums.dtype)
            for (row, _, _), part in zip(plan.segments, sums, strict=True):
                totals[np.searchsorted(plan.long_rows, row)] += part
            self._team.run(
                [
                    partial(solve, row, row + 1, plan.long_rows[n : n + 1], totals[n : n + 1])
                    for n, row in enumerate(plan.long_rows.tolist())
                ]
            )
        if failed:
            self._solve_in_float64(plan.problem, np.sort(np.concatenate(failed)), base, fixed, X, on_solved, prior)

    def _solve_in_basis(
        self,
        plan: HalfStepPlan,
        base: Base,
        fixed: Fixed,
        X: Factors,
        solver: Solver,
        loss: Loss | None,
        prior: Prior | None,
    ) -> NDArray[np.intp]:
        """Solve all rows except long ones in a `Basis`; return the rows that could not be solved.

        Rows with few observations are solved exactly, which takes less time than steps.
        """
        basis = Basis.of(plan, base.G, self._eigenvectors) if len(base.G) > 0 else None
        base, fixed = self._to_basis(plan, base, fixed, basis)
        losses = self._losses(X, 1) if loss is None else loss.losses
        counts = np.diff(plan.cells.indptr)
        floor, is_singular = least_curvature(base.reg, base.s, base.G, fixed.k)
        is_exact = solved_exactly(plan, counts, floor, fixed.Y[:, : fixed.k], solver)
        systems = RowsInBasis(plan, prior, base, fixed, basis, solver, is_exact, losses, loss)
        self._team.run([partial(systems.solve, first, last, rows, X) for (first, last), rows in plan.chunks])
        is_unsolved = (losses[:, 0] == UNSOLVED) | (is_singular & (counts > 0))
        is_unsolved[plan.long_rows] = False
        if prior is not None:
            empty = np.flatnonzero(counts == 0)
            X[empty, : plan.problem.unknowns] = prior.take(empty).means
            if loss is not None:
                loss.all_cells[empty] = np.nan
        if loss is not None:
            loss.all_cells[is_unsolved] = np.nan
        return np.flatnonzero(is_unsolved)

    def _to_basis(self, plan: HalfStepPlan, base: Base, fixed: Fixed, basis: Basis | None) -> tuple[Base, Fixed]:
        """Return the kernel arguments in the unknowns of a basis, or without one; G is diagonal, or empty."""
        Y, m, k, biases = fixed.Y, plan.column_missing, fixed.k, fixed.biases
        if basis is None:
            base = Base(base.s, np.empty(0, Y.dtype), base.reg, base.bias_ratio)
        else:
            base, Y = Base(base.s, basis.g, basis.reg, basis.bias_ratio), self._times(Y, basis.V)
        return base, Fixed(Y, fixed.o if biases else fixed.o[:1], m, k, biases)

    def _solve_in_float64(
        self,
        problem: HalfProblem,
        rows: NDArray[np.intp],
        base: Base,
        fixed: Fixed,
        X: Factors,
        on_solved: OnSolved,
        prior: Prior | None = None,
    ) -> None:
        """Solve rows that lose precision in float32, or have negative weights w − s m.

        Raises
        ------
        NumericalError
            With the first row that cannot be solved in float64 either.
        """
        exact = problem.take(rows, np.float64)
        plan = HalfStepPlan.of(exact)
        solved, sums_of_squares = np.zeros((len(rows), X.shape[1])), np.zeros((len(rows), 2))
        base = base_of(exact, base.G.astype(np.float64))
        fixed = fixed_of(exact, *self._in_float64(fixed.Y, fixed.o))
        given = prior_of(None if prior is None else prior.take(rows), np.float64)
        none = np.empty((0, *plan.sums_shape))
        failed: list[int] = []

        def solve(first: int, last: int) -> None:
            each = np.arange(first, last)
            if problem.nonnegative:
                status = solve_nonnegative_rows(each, plan.cells, base, fixed, none, solved, sums_of_squares)
            else:
                status = solve_rows(each, plan.cells, base, fixed, given, none, solved, sums_of_squares)
            if status != SOLVED:
                failed.append(status)

        self._team.run([partial(solve, first, last) for (first, last), _ in plan.chunks])
        if failed:
            row = min(failed)
            if prior is not None and prior.noise is not None:
                raise NumericalError(
                    "the posterior precision of {row} is not positive definite in float64: check the data for "
                    "extreme values or weights",
                    row=int(rows[row]),
                )
            raise not_definite(problem, diagonal_of(exact, row, fixed.Y, base.G), int(rows[row]))
        with np.errstate(over="ignore"):  # the loss is checked for overflow
            X[rows] = solved
        self._sums_of_squares(X)[rows] = sums_of_squares
        for row in rows.tolist():
            on_solved(row, row + 1)

    def _eigenvectors(self, G: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return self._once("eigenvectors", G, lambda: np.linalg.eigh(G))

    def _times(self, Y: Factors, V: Factors) -> Factors:
        """Return Y V."""
        return self._once(f"in a basis in {Y.dtype}", V, lambda: self._product(Y, V))

    def _product(self, Y: Factors, V: Factors) -> Factors:
        """Return Y V, in batches of rows."""
        product = self._empty("in the basis", Y.shape, Y.dtype)

        def multiply(start: int) -> None:
            stop = start + ROWS_PER_PRODUCT
            np.matmul(Y[start:stop, : len(V)], V, out=product[start:stop, : len(V)])

        self._team.run([partial(multiply, start) for start in range(0, len(Y), ROWS_PER_PRODUCT)])
        return product

    def _solve_with_one_matrix(
        self, plan: HalfStepPlan, G: Factors, Y: Factors, X: Factors, on_solved: OnSolved
    ) -> None:
        problem = plan.problem
        A = problem.row_missing[0] * G.astype(np.float64)
        A[np.diag_indices_from(A)] += problem.regularization[0]
        try:
            factor, _ = cho_factor(A, lower=True, check_finite=False)
        except LinAlgError:
            factor = np.zeros_like(A)
        if not is_well_conditioned(factor, A, A.dtype):
            raise not_definite(problem, np.diag(A))

        def solve(first: int, last: int) -> None:
            B = np.empty((last - first, Y.shape[1]), Y.dtype)
            sum_right_hand_sides(first, last, plan.cells, problem.rank, Y, B)
            with np.errstate(over="ignore"):  # the loss is checked for overflow
                X[first:last, : problem.rank] = cho_solve(
                    (factor, True), B[:, : problem.rank].T, check_finite=False
                ).T
            on_solved(first, last)

        self._team.run([partial(solve, first, last) for first, last in plan.light_ranges])
