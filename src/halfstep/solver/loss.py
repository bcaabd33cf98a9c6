"""The data terms of the objective for one half-problem: the losses of observed and of missing cells."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from halfstep._support.lazy import cached_property
from halfstep.objective.problem import Prior
from halfstep.solver.arguments import prior_of
from halfstep.solver.gram import gramian
from halfstep.solver.kernels.argument_groups import Base, Fixed
from halfstep.solver.kernels.row_losses import row_losses, solved_row_losses
from halfstep.solver.layout import Factors
from halfstep.solver.precision import IMPRECISE, ROUNDING, below_zero
from halfstep.solver.schedule import HalfStepPlan
from halfstep.solver.threads import Run


class Loss:
    """The data terms of the objective, computed row by row in float64, regardless of the precision of the systems.

    Parameters
    ----------
    in_float64 : callable
        Returns the rows and the offsets of the fixed side.

    Attributes
    ----------
    fixed : Fixed
        The fixed side, with a missing weight for each column.
    losses : ndarray of shape (n_rows, 2)
        The loss of the observed cells of each row, and Σ m_i (p·q)² over them.
    sums_of_squares : ndarray of shape (n_rows, 2)
        As `solve_rows` writes them.
    all_cells : ndarray of shape (n_rows,)
        Σ_i m_i (p·q)² over all columns, of rows for which solving them computes it; otherwise NaN.
    """

    def __init__(
        self,
        plan: HalfStepPlan,
        in_float64: Callable[[], tuple[Factors, Factors]],
        losses: NDArray[np.float64],
        sums_of_squares: NDArray[np.float64],
        prior: Prior | None = None,
    ) -> None:
        problem = plan.problem
        self._plan, self.losses, self.sums_of_squares = plan, losses, sums_of_squares
        self._prior = prior_of(prior, np.float64)
        self._in_float64 = in_float64
        self.all_cells = np.full(len(losses), np.nan)
        # In float32, the minimum c − bᵀA⁻¹b from the factorization is accurate to five digits, which suffices only
        # for sampling.
        is_sampled = prior is not None and prior.noise is not None
        self.is_known_from_solving = len(problem.row_missing) == 0 and (
            problem.weights.dtype == np.float64 or is_sampled
        )

    @cached_property  # not needed if the kernels that solve rows also compute the loss
    def fixed(self) -> Fixed:
        problem, (Y, offsets) = self._plan.problem, self._in_float64()
        m = problem.column_missing.astype(np.float64) if len(problem.column_missing) else np.zeros(len(offsets))
        return Fixed(Y, offsets, m, problem.rank, problem.biases)

    def add(self, first: int, last: int, X: Factors, base: Base) -> None:
        """Compute the losses of the rows first … last − 1 of X, which were just solved."""
        if self.is_known_from_solving:
            given = self._plan.cells, base, self.fixed, self._prior
            solved_row_losses(first, last, *given, X, self.sums_of_squares, self.losses)
        else:
            self.sum_observed(first, last, X)

    def sum_observed(self, first: int, last: int, X: Factors) -> None:
        """Sum the losses of the rows first … last − 1 of X in float64."""
        row_losses(first, last, self._plan.cells, self.fixed, X[first:last].astype(np.float64), self.losses)

    def terms(self, X: Factors, G: NDArray[np.float64], run: Run) -> tuple[float, float]:
        """Return the terms of observed and of missing cells after the losses of all rows were added."""
        problem, observed = self._plan.problem, float(self.losses[:, 0].sum())
        if len(problem.row_missing) == 0:
            return observed, 0.0
        everything, terms = self._all_cells(X, G, run)
        missing = everything - float(problem.row_missing.astype(np.float64) @ self.losses[:, 1])
        if missing < IMPRECISE * terms:
            return self.float64_terms(X, run)
        return observed, missing

    def _all_cells(self, X: Factors, G: NDArray[np.float64], run: Run) -> tuple[float, float]:
        """Return Σ s m (x·y)² over all cells, and the sum of the absolute values of its terms."""
        s, k = self._plan.problem.row_missing, self._plan.problem.rank
        left = np.flatnonzero(np.isnan(self.all_cells))
        if len(left) == len(X):  # ⟨Σ s x xᵀ, Σ m y yᵀ⟩
            of_rows = gramian(s, k, X, run)
            return float((of_rows * G).sum()), float((np.abs(of_rows) * np.abs(G)).sum())
        some = X[left, :k].astype(np.float64)
        self.all_cells[left] = np.einsum("ua,ua->u", some @ G, some)
        total = float(s.astype(np.float64) @ self.all_cells)
        return total, total

    def float64_terms(self, X: Factors, run: Run) -> tuple[float, float]:
        """Return the terms for any X in float64, in which cancellation in the term of missing cells is tolerable."""
        plan, problem = self._plan, self._plan.problem
        s = problem.row_missing.astype(np.float64)

        def sum_range(first: int, last: int) -> None:
            self.sum_observed(first, last, X)
            plan.release(first, last)

        run([partial(sum_range, first, last) for first, last in plan.light_ranges])
        if len(s) == 0:
            return float(self.losses[:, 0].sum()), 0.0
        of_rows, G = gramian(s, problem.rank, X, run), gramian(self.fixed.m, problem.rank, self.fixed.Y, run)
        missing = float((of_rows * G).sum() - s @ self.losses[:, 1])
        size = float((np.abs(of_rows) * np.abs(G)).sum())
        if problem.biases:  # the product is a difference, x·y + b − b, and imprecise if it is far below b
            b = X[:, problem.rank].astype(np.float64)
            size += ROUNDING * float(self.fixed.m.max() * (s * np.diff(problem.indptr)) @ b**2)
        if missing < -ROUNDING * size:
            raise below_zero(problem, missing, np.diag(G) * s.max())
        return float(self.losses[:, 0].sum()), max(missing, 0.0)
