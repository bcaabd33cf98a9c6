"""The half-step by conjugate gradients on a device."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from halfstep.objective.problem import HalfProblem
from halfstep.solver.cuda.device import Device
from halfstep.solver.cuda.fixed_side import FixedSide
from halfstep.solver.exact_rows import least_curvature, solved_exactly
from halfstep.solver.precision import SAMPLED
from halfstep.solver.schedule import HalfStepPlan
from halfstep.solvers import ConjugateGradient

THREADS = 128  # of a block
FOURS_PER_LANE = 4  # at most, until a group is a warp; with more, few registers remain for other blocks
LEAST_LANES, WARP = 4, 32
BLOCKS_PER_PROCESSOR = 32


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
    device : Device
    problem : HalfProblem
        A range of rows, with arrays of the device.
    fixed : FixedSide
    first : int
        The first row of the range.
    X : array of the device, of shape (n_rows, width)
        Rows [factors | bias | 0 …] in the precision of the problem.
    rows : ndarray
        Their positions in the range.
    steps : int
    """
    if len(rows) == 0:
        return rows
    chosen, basis = device.asarray(rows.astype(np.int32)), fixed.any_basis
    if basis is None:
        return _solve(device, problem, chosen, X[:0, 0], fixed.Y, X, steps)
    in_basis = device.xp.matmul(X, basis.into)
    unsolved = _solve(device, basis.problem(problem, first), chosen, basis.g, basis.Y, in_basis, steps)
    X[chosen] = device.xp.matmul(in_basis[chosen], basis.back)
    return unsolved


def constants(
    rank: int, width: int, dtype: np.dtype[Any], *, biases: bool, missing: bool, diagonal: bool
) -> dict[str, int | str]:
    """Return the constants with which the kernel is compiled.

    Parameters
    ----------
    rank, width : int
    dtype : dtype
    biases, missing, diagonal : bool
        Whether rows have biases, missing cells have weight, and the diagonal of G is given.
    """
    fours, limits = -(-width // 4), np.finfo(dtype)
    lanes = LEAST_LANES
    while lanes < WARP and fours > FOURS_PER_LANE * lanes:
        lanes *= 2
    return {
        "REAL": "float" if dtype == np.float32 else "double",
        "SQUARED_EPSILON": f"((REAL){float(limits.eps) ** 2!r})",
        "TINY": f"((REAL){float(limits.tiny)!r})",
        "RANK": rank,
        "WIDTH": width,
        "LANES": lanes,
        "CG_THREADS": THREADS,
        "BIASES": int(biases),
        "MISSING": int(missing),
        "DIAGONAL": int(diagonal),
    }


def _solve(device: Device, problem: HalfProblem, rows: Any, g: Any, Y: Any, X: Any, steps: int) -> NDArray[np.intp]:
    """Take steps for some rows of X; return those that could not be solved."""
    missing, dtype = len(problem.row_missing) > 0, np.dtype(X.dtype)
    given = constants(problem.rank, X.shape[1], dtype, biases=problem.biases, missing=missing, diagonal=len(g) > 0)
    unsolved = device.xp.zeros(len(X), np.int32)
    device.kernel("cg", "conjugate_gradients", **given)(
        min(len(rows), BLOCKS_PER_PROCESSOR * device.processors),
        THREADS,
        rows,
        np.int32(len(rows)),
        problem.indptr,
        problem.indices,
        *_stepped(problem.targets),
        *_stepped(problem.weights),
        *_stepped(problem.row_missing),
        *_stepped(problem.column_missing),
        g,
        problem.regularization,
        dtype.type(problem.bias_ratio),
        Y,
        X,
        np.int32(steps),
        unsolved,
    )
    return np.flatnonzero(device.asnumpy(unsolved))


def _stepped(array: Any) -> tuple[Any, np.int32]:
    """Return an array and the distance of its elements, 0 if there is one for all."""
    return array, np.int32(len(array) > 1)
