"""The half-step by conjugate gradients on a device."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from halfstep.objective.problem import HalfProblem
from halfstep.solver.cuda.device import Device
from halfstep.solver.cuda.fixed_side import FixedSide
from halfstep.solver.cuda.layout import WARP, Layout
from halfstep.solver.cuda.rows import cell_arguments
from halfstep.solver.precision import SAMPLED, least_curvature, solved_exactly
from halfstep.solver.schedule import HalfStepPlan
from halfstep.solvers import ConjugateGradient

THREADS = 128  # of a block
FOURS_PER_LANE = 4  # at most, until a group is a warp; with more, few registers remain for other blocks
LEAST_LANES = 4
MIN_BLOCKS = {4: 5, 8: 3}  # of a multiprocessor, by the size of a number, without spills


class Division(NamedTuple):
    """The rows of a half-problem, except those without observed cells, as the CPU divides them.

    Attributes
    ----------
    by_steps : ndarray
        Rows for which steps are taken, the longest first.
    exact : ndarray
        Rows for which an exact solution takes less time, or is more precise.
    in_float64 : ndarray
        Rows whose systems are singular to working precision.
    """

    by_steps: NDArray[np.intp]
    exact: NDArray[np.intp]
    in_float64: NDArray[np.intp]

    @classmethod
    def of(cls, device: Device, plan: HalfStepPlan, fixed: FixedSide, steps: int) -> Self:
        """Divide the rows of a plan."""
        k, counts, basis = plan.problem.rank, np.diff(plan.problem.indptr), fixed.any_basis
        if basis is None:
            Y, none = fixed.Y, np.empty(0, fixed.Y.dtype)
            floor, is_singular = least_curvature(plan.problem.regularization, none, none, k)
        else:
            Y, floor, is_singular = basis.Y, basis.floor, basis.is_singular
        sample = device.asnumpy(device.xp.ascontiguousarray(Y[:: max(1, len(Y) // SAMPLED), :k]))
        is_exact = solved_exactly(plan, counts, floor, sample, ConjugateGradient(steps=steps))
        is_exact[plan.long_rows] = True
        is_observed, order = counts > 0, plan.longest_first
        return cls(
            order[(is_observed & ~is_exact & ~is_singular)[order]],
            np.flatnonzero(is_observed & is_exact & ~is_singular),
            np.flatnonzero(is_observed & is_singular),
        )


def take_steps(
    device: Device, problem: HalfProblem, fixed: FixedSide, first: int, X: Any, rows: NDArray[np.intp], steps: int
) -> NDArray[np.intp]:
    """Take some steps for some rows of X; return those whose systems are not positive definite.

    Parameters
    ----------
    problem : HalfProblem
        A range of rows, with arrays of the device.
    first : int
        The first row of the range.
    X : array of the device, of shape (n_rows, width)
        Rows [factors | bias | 0 …] in the precision of the problem, in the basis of the fixed side if it has one.
    rows : ndarray
        Their positions in the range.
    """
    if len(rows) == 0:
        return rows
    chosen, basis = device.asarray(rows.astype(np.int32)), fixed.any_basis
    if basis is None:
        return _solve(device, problem, chosen, X[:0, 0], fixed.Y, X, steps)
    return _solve(device, basis.problem(problem, first), chosen, basis.g, basis.Y, X, steps)


def constants(layout: Layout, dtype: DTypeLike, *, diagonal: bool) -> dict[str, int | str]:
    """Return the constants with which the kernel is compiled, with the diagonal of G or without."""
    fours, lanes = layout.width // 4, LEAST_LANES
    while lanes < WARP and fours > FOURS_PER_LANE * lanes:
        lanes *= 2
    return layout.constants(dtype) | {
        "TINY": f"((REAL){float(np.finfo(dtype).tiny)!r})",
        "LANES": lanes,
        "THREADS": THREADS,
        "DIAGONAL": int(diagonal),
        "MIN_BLOCKS": MIN_BLOCKS[np.dtype(dtype).itemsize] - (lanes == WARP),
    }


def _solve(device: Device, problem: HalfProblem, rows: Any, g: Any, Y: Any, X: Any, steps: int) -> NDArray[np.intp]:
    """Take steps for some rows of X; return those that could not be solved."""
    unsolved = device.xp.zeros(len(X), np.int32)
    given = constants(Layout.of(problem), X.dtype, diagonal=len(g) > 0)
    device.kernel("cg", "conjugate_gradients", **given)(
        len(rows),
        THREADS,
        rows,
        problem.indptr,
        *cell_arguments(problem),
        g,
        problem.regularization,
        X.dtype.type(problem.bias_ratio),
        Y,
        X,
        np.int32(steps),
        unsolved,
    )
    return np.flatnonzero(device.asnumpy(unsolved))
