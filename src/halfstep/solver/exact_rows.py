"""Rows that approximate solvers solve exactly, because it takes less time or is more precise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from halfstep.solver.layout import Factors
from halfstep.solver.precision import ill_conditioned_rows
from halfstep.solver.schedule import HalfStepPlan
from halfstep.solvers import Cholesky, ConjugateGradient, Solver, Subspace

HIGH_RANK = 512  # from which changing the variables of the start, K² operations, takes longer than steps


def fewest_approximate(solver: Solver, k: int) -> int:
    """Return the number of observed cells from which an approximate solution at rank k takes less time."""
    if isinstance(solver, ConjugateGradient):
        return (4 if k < HIGH_RANK else 11) * solver.steps
    return solver.block_size if isinstance(solver, Subspace) else 0


def least_curvature(
    reg: NDArray[np.floating], s: NDArray[np.floating], g: Factors, k: int
) -> tuple[NDArray[np.floating], NDArray[np.bool_]]:
    """Return the smallest elements of s_u g + λ_u in a basis, and a mask of the rows where they are noise.

    Parameters
    ----------
    reg : ndarray of shape (n_rows,)
        λ_u in the basis.
    s : ndarray of shape (n_rows,) or (0,)
    g : ndarray of shape (k,) or (0,)
        The diagonal of G; empty if it is 0 or included in `reg`.
    """
    floor, largest = reg, np.zeros_like(reg)
    if len(g) > 0:
        floor, largest = reg + s * g.min(), s * g.max()
    return floor, floor <= k * np.finfo(np.float64).eps * largest  # below the rounding error of the basis


def solved_exactly(
    plan: HalfStepPlan, counts: NDArray[np.intp], floor: NDArray[np.floating], Y: Factors, solver: Solver
) -> NDArray[np.bool_]:
    """Return a mask of the rows that are solved exactly, which are all if the solver is exact."""
    if isinstance(solver, Cholesky):
        return np.ones(len(counts), np.bool_)
    is_exact = counts < fewest_approximate(solver, Y.shape[1])
    if isinstance(solver, ConjugateGradient):
        is_exact |= ill_conditioned_rows(plan, floor, Y)
    return is_exact
