"""Half-steps on the cores of one machine.

The rows of a half-step are cut into chunks of nearly equal work, by the data alone and never by the number of
threads. Threads take the next chunk as they get free. A long row (an item that everybody has) is cut into segments,
which are summed apart and added up in order, so that it cannot hold up the half-step. Each row's arithmetic is thus
the same whoever does it, and so are the bits of the result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self, cast

import numpy as np
from numpy.typing import DTypeLike, NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from halfstep._support.lazy import cached_property
from halfstep.errors import NumericalError
from halfstep.objective.problem import HalfProblem, Prior
from halfstep.solver.arguments import base_of, fixed_of, prior_of
from halfstep.solver.basis import Basis, is_well_conditioned
from halfstep.solver.kernels._vector import padded_width
from halfstep.solver.kernels.arguments import Base, Fixed
from halfstep.solver.kernels.cg import approach_rows
from halfstep.solver.kernels.exact import solve_blocked
from halfstep.solver.kernels.loss import penalty, row_losses, solved_row_losses
from halfstep.solver.kernels.observations import LEFT
from halfstep.solver.kernels.small_systems import SOLVED, solve_rows, sum_right_hand_sides, sum_segment
from halfstep.solver.kernels.subspace import solve_by_blocks
from halfstep.solver.layout import Factors, aligned_zeros
from halfstep.solver.precision import (
    IMPRECISE,
    ROUNDING,
    below_zero,
    diagonal_of,
    ill_conditioned_rows,
    needs_float64,
    not_definite,
)
from halfstep.solver.schedule import HalfStepPlan
from halfstep.solver.threads import OneBlasThread, Team, threads_to_use, working
from halfstep.solvers import Cholesky, ConjugateGradient, Solver, Subspace

Finish = Callable[[int, int], None]
Chunks = list[tuple[tuple[int, int], NDArray[np.intp]]]

EXACT = Cholesky()
ROWS_AT_ONCE = 1024  # in products that BLAS does: few enough for their sums to keep their digits in singles
SHARES = 16  # of the rows, at most, each of which is summed by itself


class CPU:
    """Run half-steps on several threads.

    Parameters
    ----------
    threads : int, optional
        How many; all cores that this process may use by default. Results do not depend on it.
    """

    def __init__(self, threads: int | None = None) -> None:
        self.threads = threads_to_use(threads)
        self._team = Team(helpers=0)
        self._working = working()
        self._holds_blas = False
        self._scratch: dict[tuple[str, tuple[int, ...], np.dtype[Any]], Factors] = {}

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
            if self._holds_blas:
                OneBlasThread.leave()
                self._holds_blas = False
            self._scratch.clear()
        finally:
            self._working.__exit__()

    def plan(self, problem: HalfProblem) -> HalfStepPlan:
        """Plan the work on one orientation of the objective."""
        plan = HalfStepPlan.of(problem)
        in_parts = plan.is_blocked or (plan.has_one_matrix and len(plan.light_ranges) > 1)
        if len(problem.row_missing) > 0 and (
            problem.gram is None or in_parts
        ):  # nothing else in half-steps needs BLAS
            self.hold_blas()
        return plan

    def hold_blas(self) -> None:
        """Hold BLAS to one thread, for whoever calls it between half-steps, until this backend is left."""
        if not self._holds_blas:
            OneBlasThread.enter()
            self._holds_blas = True

    def run(self, tasks: Sequence[Callable[[], None]]) -> None:
        """Run tasks that are not half-steps on the same threads; what they do must not depend on who does it."""
        self._team.run(tasks)

    def half_step(
        self, plan: HalfStepPlan, Y: Factors, X: Factors, *, solver: Solver = EXACT, prior: Prior | None = None
    ) -> None:
        """Solve every row of X while Y is held fixed.

        With a prior, which only exact solvers support, rows without observations are its means, and rows are sampled
        if it has noise. Approximate solvers start from X.

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

        This is one call, because each row and its observations are in the cache just after it was solved.
        """
        problem = plan.problem
        features, offsets = self._fixed(problem, Y)
        loss = Loss(plan, features, offsets, self._losses(X, 2), self._squares(X), prior)
        G = self._half_step(plan, features, offsets, X, solver, loss, prior)
        observed = float(loss.losses[:, 0].sum())
        if len(problem.row_missing) == 0:
            return observed, 0.0
        # Σ_all s m (x·y)² = ⟨Σ s x xᵀ, Σ m y yᵀ⟩, less the cells that are not missing.
        of_rows = self.gram(problem.row_missing, problem.rank, X)
        missing = float((of_rows * G).sum() - problem.row_missing.astype(np.float64) @ loss.losses[:, 1])
        if missing < IMPRECISE * float((np.abs(of_rows) * np.abs(G)).sum()):
            return self._exact_loss(plan, loss, X)
        return observed, missing

    def loss(self, plan: HalfStepPlan, Y: Factors, X: Factors) -> tuple[float, float]:
        """Return the terms of observed and of missing cells in float64, for any factors."""
        features, offsets = self._fixed(plan.problem, Y)
        return self._exact_loss(plan, Loss(plan, features, offsets, self._losses(X, 2), self._squares(X)), X)

    def _exact_loss(self, plan: HalfStepPlan, loss: Loss, X: Factors) -> tuple[float, float]:
        """Return the data terms in float64, for a term of missing cells that is a difference of similar numbers."""
        problem, s = plan.problem, plan.problem.row_missing.astype(np.float64)
        self._team.run([partial(loss.sum_observed, first, last, X) for first, last in plan.light_ranges])
        if len(s) == 0:
            return float(loss.losses[:, 0].sum()), 0.0
        of_rows, G = self.gram(s, problem.rank, X), self.gram(loss.fixed.m, problem.rank, loss.fixed.Y)
        missing = float((of_rows * G).sum() - s @ loss.losses[:, 1])
        if missing < -ROUNDING * float((np.abs(of_rows) * np.abs(G)).sum()):
            raise below_zero(problem, missing, np.diag(G) * s.max())
        return float(loss.losses[:, 0].sum()), max(missing, 0.0)

    def penalty(self, plan: HalfStepPlan, X: Factors, *, prior: Prior | None = None) -> float:
        """Return the term of the regularization, Σ_u λ_u (‖x_u‖² + ρ b_u²).

        With a prior it is that of x_u − x̄_u; the precision of the prior is left out.
        """
        problem = plan.problem
        if prior is not None:
            X = X[:, : problem.unknowns] - prior.means
        return penalty(problem.regularization, problem.bias_ratio, problem.rank, problem.biases, X)

    def _half_step(
        self,
        plan: HalfStepPlan,
        features: Factors,
        offsets: Factors,
        X: Factors,
        solver: Solver,
        loss: Loss | None,
        prior: Prior | None,
    ) -> NDArray[np.float64]:
        """Solve every row, and return G."""
        problem = plan.problem
        assert prior is None or isinstance(solver, Cholesky), "only exact solvers support priors"
        assert X.shape[1] == features.shape[1] == padded_width(problem.unknowns), "factors not made by empty_factors"
        if problem.gram is None:
            summed = self.gram(problem.column_missing, problem.rank, features)
        else:
            summed = problem.gram.astype(np.float64)
        if needs_float64(plan, summed):
            plan, (features, offsets) = plan.astype(np.float64), self._in_float64(features, offsets)
            problem, summed = plan.problem, self.gram(plan.problem.column_missing, plan.problem.rank, features)
        base = base_of(problem, summed.astype(features.dtype))
        fixed = fixed_of(problem, features, offsets)

        def finish(first: int, last: int) -> None:
            if loss is not None:
                loss.add(first, last, X, base)  # while these rows are at hand

        if prior is not None:  # kernels for small systems alone support priors
            self._solve_each(plan, plan.chunks, base, fixed, X, finish, prior)
        elif plan.has_one_matrix:
            self._solve_with_one_matrix(plan, base.G, features, X, finish)
        elif plan.is_blocked or not isinstance(solver, Cholesky):
            if problem.biases:
                features[:, problem.rank] = 0.0  # these kernels store biases separately
            left = self._solve_blocked(plan, base, fixed, X, solver, loss)
            if problem.biases:
                features[:, problem.rank] = 1.0
            self._solve_each(plan, [], base, fixed, X, finish)  # the long rows
            if len(left):
                self._solve_in_float64(problem, left, base, fixed, X, finish)
        else:
            self._solve_each(plan, plan.chunks, base, fixed, X, finish)
        return summed

    def _fixed(self, problem: HalfProblem, Y: Factors) -> tuple[Factors, Factors]:
        """Features [y | 1] and offsets of the fixed side, in the precision of the systems."""
        dtype = problem.weights.dtype
        offsets = self._empty("offsets" if problem.biases else "no offsets", (len(Y),), dtype)
        if Y.dtype == dtype and not problem.biases:
            return Y, offsets
        features = self._empty("features", Y.shape, dtype)
        features[...] = Y
        if problem.biases:
            offsets[...] = features[:, problem.rank]
            features[:, problem.rank] = 1.0
        return features, offsets

    def _in_float64(self, features: Factors, offsets: Factors) -> tuple[Factors, Factors]:
        exact = self._empty("features", features.shape), self._empty("offsets", offsets.shape)
        exact[0][...], exact[1][...] = features, offsets
        return exact

    def _empty(self, name: str, shape: tuple[int, ...], dtype: DTypeLike = np.float64) -> Factors:
        """An array whose padding is zeros, and which is handed out again at the next half-step.

        Fresh memory would have to be mapped page by page each time, which takes longer than small half-steps do.
        """
        rows, *width = shape
        key = (name, tuple(width), np.dtype(dtype))  # both sides take turns in one
        if key not in self._scratch or len(self._scratch[key]) < rows:
            self._scratch.pop(key, None)
            self._scratch[key] = aligned_zeros(shape, dtype)
        return self._scratch[key][:rows]

    def _losses(self, X: Factors, terms: int) -> NDArray[np.float64]:
        """What kernels leave of the rows they solve: two terms of the loss, or only whether they could be."""
        return cast("NDArray[np.float64]", self._empty("losses", (len(X), terms)))

    def _squares(self, X: Factors) -> NDArray[np.float64]:
        """What `solve_rows` leaves of the rows' targets, for the loss to be taken from."""
        return cast("NDArray[np.float64]", self._empty("squares", (len(X), 2)))

    def _solve_each(
        self,
        plan: HalfStepPlan,
        chunks: Chunks,
        base: Base,
        fixed: Fixed,
        X: Factors,
        finish: Finish,
        prior: Prior | None = None,
    ) -> None:
        """Solve the rows in some chunks, and all long rows."""
        cells, squares, given = plan.cells, self._squares(X), prior_of(prior, fixed.Y.dtype)
        sums = np.empty((len(plan.segments), *plan.sums_shape), fixed.Y.dtype)
        failed: list[NDArray[np.intp]] = []

        def solve(first: int, last: int, rows: NDArray[np.intp], summed: Factors) -> None:
            status = solve_rows(rows, cells, base, fixed, given, summed, X, squares)
            if status == SOLVED:
                finish(first, last)
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
            self._solve_in_float64(plan.problem, np.sort(np.concatenate(failed)), base, fixed, X, finish, prior)

    def _solve_blocked(
        self, plan: HalfStepPlan, base: Base, fixed: Fixed, X: Factors, solver: Solver, loss: Loss | None
    ) -> NDArray[np.intp]:
        """Solve all rows but the long ones, in the `Basis`; return those that this way cannot do.

        Rows of few observations are solved exactly in any case, being cheaper so.
        """
        cells, k, unknowns, dtype = plan.cells, fixed.k, plan.problem.unknowns, fixed.Y.dtype
        basis = Basis.of(plan, base.G) if len(base.G) > 0 else None
        base, fixed = self._in_basis(plan, base, fixed, basis)
        losses = self._losses(X, 1 if loss is None else 2)  # kernels score what they solve where there are two
        counts = np.diff(cells.indptr)
        floor, largest = base.reg, np.zeros_like(base.reg)
        if len(base.G) > 0:
            floor, largest = base.reg + base.s * base.G.min(), base.s * base.G.max()
        # the basis is rounded to float64, so that their curvature is noise
        is_singular = floor <= k * np.finfo(np.float64).eps * largest
        is_exact = solved_exactly(plan, counts, floor, fixed.Y[:, :k], solver)

        def solve(first: int, last: int, rows: NDArray[np.intp]) -> None:
            if isinstance(solver, Cholesky):
                solved = np.empty((last - first, unknowns), dtype)
                solve_blocked(rows, cells, base, fixed, first, solved, losses)
            else:
                solved = X[first:last, :unknowns].astype(dtype)
                if basis is not None:
                    solved[:, :k] = solved[:, :k] @ basis.inverse.T
                exactly, others = rows[is_exact[rows]], rows[~is_exact[rows]]
                if len(exactly) > 0:
                    solve_blocked(exactly, cells, base, fixed, first, solved, losses)
                if isinstance(solver, ConjugateGradient):
                    approach_rows(others, cells, base, fixed, first, solved, int(solver.steps), losses)
                elif isinstance(solver, Subspace):
                    solve_by_blocks(others, cells, base, fixed, first, solved, int(solver.block_size), losses)
            if basis is not None:
                solved[:, :k] = solved[:, :k] @ basis.V.T
            if len(rows) == last - first:
                X[first:last, :unknowns] = solved
            else:
                X[rows, :unknowns] = solved[rows - first]

        self._team.run([partial(solve, first, last, rows) for (first, last), rows in plan.chunks])
        is_left = (losses[:, 0] == LEFT) | (is_singular & (counts > 0))
        is_left[plan.long_rows] = False
        return np.flatnonzero(is_left)

    def _in_basis(self, plan: HalfStepPlan, base: Base, fixed: Fixed, basis: Basis | None) -> tuple[Base, Fixed]:
        """Return what kernels take in the unknowns of a basis, if there is one; G is a diagonal, or empty."""
        Y, m, k, biases = fixed.Y, plan.column_missing, fixed.k, fixed.biases
        if basis is None:
            base = Base(base.s, np.empty(0, Y.dtype), base.reg, base.bias_ratio)
        else:
            base, Y = Base(base.s, basis.g, basis.ridge, basis.bias_ratio), self._times(Y, basis.V)
        return base, Fixed(Y, fixed.o if biases else fixed.o[:1], m, k, biases)

    def _solve_in_float64(
        self,
        problem: HalfProblem,
        rows: NDArray[np.intp],
        base: Base,
        fixed: Fixed,
        X: Factors,
        finish: Finish,
        prior: Prior | None = None,
    ) -> None:
        """Solve some rows that lose precision in float32, or whose weights w − s m are not positive.

        Raises
        ------
        NumericalError
            Naming the first row that cannot be solved in float64 either.
        """
        exact = problem.take(rows, np.float64)
        plan, solved, squares = HalfStepPlan.of(exact), np.zeros((len(rows), X.shape[1])), np.zeros((len(rows), 2))
        base = base_of(exact, base.G.astype(np.float64))
        fixed = fixed_of(exact, *self._in_float64(fixed.Y, fixed.o))
        given = prior_of(None if prior is None else prior.take(rows), np.float64)
        none = np.empty((0, *plan.sums_shape))
        failed: list[int] = []

        def solve(first: int, last: int) -> None:
            status = solve_rows(np.arange(first, last), plan.cells, base, fixed, given, none, solved, squares)
            if status != SOLVED:
                failed.append(status)

        self._team.run([partial(solve, first, last) for (first, last), _ in plan.chunks])
        if failed:
            row = min(failed)
            if prior is not None and prior.noise is not None:
                raise NumericalError(
                    "its posterior is not positive definite in float64: look for extreme values or weights",
                    row=int(rows[row]),
                )
            raise not_definite(problem, diagonal_of(exact, row, fixed.Y, base.G), int(rows[row]))
        with np.errstate(over="ignore"):  # the loss finds what is not finite
            X[rows] = solved
        self._squares(X)[rows] = squares
        for row in rows.tolist():
            finish(row, row + 1)

    def _times(self, Y: Factors, V: Factors) -> Factors:
        """Return Y V, multiplied some rows at a time."""
        product = self._empty("in the basis", Y.shape, Y.dtype)

        def multiply(start: int) -> None:
            stop = start + ROWS_AT_ONCE
            np.matmul(Y[start:stop, : len(V)], V, out=product[start:stop, : len(V)])

        self._team.run([partial(multiply, start) for start in range(0, len(Y), ROWS_AT_ONCE)])
        return product

    def _solve_with_one_matrix(self, plan: HalfStepPlan, G: Factors, Y: Factors, X: Factors, finish: Finish) -> None:
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
            with np.errstate(over="ignore"):  # the loss finds what is not finite
                X[first:last, : problem.rank] = cho_solve(
                    (factor, True), B[:, : problem.rank].T, check_finite=False
                ).T
            finish(first, last)

        self._team.run([partial(solve, first, last) for first, last in plan.light_ranges])

    def gram(self, m: Factors, k: int, Y: Factors) -> NDArray[np.float64]:
        """Return G = Σ_i m_i y_i y_iᵀ of the first k columns, multiplied in the precision of m, summed in float64.

        Empty if m is. With several threads, call `hold_blas` first.
        """
        if len(m) == 0:
            return np.empty((0, 0))
        all_alike = bool((m == 1.0).all())
        share = max(-(-len(Y) // SHARES), ROWS_AT_ONCE)
        shares = -(-len(Y) // share)
        sums = np.zeros((shares, k, k))

        def add_share(number: int) -> None:
            last = min((number + 1) * share, len(Y))
            for start in range(number * share, last, ROWS_AT_ONCE):
                some = slice(start, min(start + ROWS_AT_ONCE, last))
                with np.errstate(over="ignore", invalid="ignore"):
                    y = Y[some, :k].astype(m.dtype, copy=False)
                    if not all_alike:
                        y = y * np.sqrt(m[some, None])
                    sums[number] += y.T @ y

        self._team.run([partial(add_share, number) for number in range(shares)])
        with np.errstate(invalid="ignore"):
            return cast("NDArray[np.float64]", sums.sum(axis=0))


def fewest_approximate(solver: Solver) -> int:
    """Return the number of observed cells from which on an approximate solution of a row takes less time."""
    if isinstance(solver, ConjugateGradient):
        return 4 * solver.steps
    return solver.block_size if isinstance(solver, Subspace) else 0


def solved_exactly(
    plan: HalfStepPlan, counts: NDArray[np.intp], floor: NDArray[np.floating], Y: Factors, solver: Solver
) -> NDArray[np.bool_]:
    """Return a mask of the rows that are solved exactly by a solver that is not exact."""
    is_exact = counts < fewest_approximate(solver)
    if isinstance(solver, ConjugateGradient):
        is_exact |= ill_conditioned_rows(plan, floor, Y)
    return is_exact


class Loss:
    """The data terms of the objective, row by row, in double precision whatever the systems are solved in.

    Attributes
    ----------
    fixed : Fixed
        The fixed side, with a missing weight of each column.
    losses : ndarray of shape (n_rows, 2)
        Of each row: the loss of its observed cells, and Σ m_i (p·q_i)² over them, what they would count if missing.
    squares : ndarray of shape (n_rows, 2)
        Of each row that was solved: its targets' squares, and what is left of them.
    """

    def __init__(
        self,
        plan: HalfStepPlan,
        features: Factors,
        offsets: Factors,
        losses: NDArray[np.float64],
        squares: NDArray[np.float64],
        prior: Prior | None = None,
    ) -> None:
        problem = plan.problem
        self.problem, self.losses, self.squares = problem, losses, squares
        self._cells, self._prior = plan.cells, prior_of(prior, np.float64)
        self._features, self._offsets = features, offsets
        # Five digits are enough for those who draw, to whom alone singles are told by solving.
        is_drawn = prior is not None and prior.noise is not None
        self.is_left_by_solving = len(problem.row_missing) == 0 and (problem.weights.dtype == np.float64 or is_drawn)

    @cached_property  # kernels that score what they solve need none of these
    def fixed(self) -> Fixed:
        problem, dtype = self.problem, np.float64
        m = problem.column_missing.astype(dtype) if len(problem.column_missing) else np.zeros(len(self._offsets))
        return Fixed(
            np.asarray(self._features, dtype), np.asarray(self._offsets, dtype), m, problem.rank, problem.biases
        )

    def add(self, first: int, last: int, X: Factors, base: Base) -> None:
        """Score the rows first … last − 1 of X, which were just solved."""
        if self.is_left_by_solving:
            given = self._cells, base, self.fixed, self._prior
            solved_row_losses(first, last, *given, X, self.squares, self.losses)
        else:
            self.sum_observed(first, last, X)

    def sum_observed(self, first: int, last: int, X: Factors) -> None:
        """Sum the losses of the rows first … last − 1 of X in float64."""
        row_losses(first, last, self._cells, self.fixed, X[first:last].astype(np.float64), self.losses)
