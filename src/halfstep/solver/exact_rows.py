"""Rows that approximate solvers solve exactly, because it takes less time or is more precise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from halfstep.solver.layout import Factors
from halfstep.solver.precision import ill_conditioned_rows
from halfstep.solver.schedule import HalfStepPlan
from halfstep.solvers import ConjugateGradient, Solver, Subspace


def fewest_approximate(solver: Solver) -> int:
    """Return the number of observed cells from which an approximate solution takes less time."""
    if isinstance(solver, ConjugateGradient):
        return 4 * solver.steps
    return solver.block_size if isinstance(solver, Subspace) else 0


def solved_exactly(
    plan: HalfStepPlan, counts: NDArray[np.intp], floor: NDArray[np.floating], Y: Factors, solver: Solver
) -> NDArray[np.bool_]:
    """Return a mask of the rows that an approximate solver solves exactly."""
    is_exact = counts < fewest_approximate(solver)
    if isinstance(solver, ConjugateGradient):
        is_exact |= ill_conditioned_rows(plan, floor, Y)
    return is_exact
