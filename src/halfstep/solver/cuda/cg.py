"""The half-step by conjugate gradients on a device."""

from __future__ import annotations

from typing import Any, NamedTuple

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


class OtherRows(NamedTuple):
    """Rows that conjugate gradients do not solve.

    Attributes
    ----------
    exact : ndarray
        Rows for which an exact solution takes less time, or is more precise.
    in_float64 : ndarray
        Rows whose systems lose precision or are not positive definite.
    """

    exact: NDArray[np.intp]
    in_float64: NDArray[np.intp]


def take_steps(
    device: Device, plan: HalfStepPlan, problem: HalfProblem, fixed: FixedSide, first: int, X: Any, steps: int
) -> OtherRows:
    """Take some steps for each row of X, and return the rows for which none were taken.

    These are the rows that the CPU solves exactly, too.

    Parameters
    ----------
    device : Device
    plan : HalfStepPlan
        Of a range of rows.
    problem : HalfProblem
        That of the plan, with arrays of the device.
    fixed : FixedSide
    first : int
        The first row of the range.
    X : array of the device, of shape (n_rows, width)
        Rows [factors | bias | 0 …] in the precision of the problem.
    steps : int
    """
    k, counts, basis = problem.rank, np.diff(plan.problem.indptr), fixed.any_basis
    if basis is None:
        Y, g, in_basis = fixed.Y, X[:0, 0], X
        none = np.empty(0, X.dtype)
        floor, is_singular = least_curvature(plan.problem.regularization, none, none, k)
    else:
        rows_of_range = slice(first, first + len(X))
        problem, Y, g = basis.problem(problem, first), basis.Y, basis.g
        in_basis = device.xp.matmul(X, basis.into)
        floor, is_singular = basis.floor[rows_of_range], basis.is_singular[rows_of_range]
    sample = device.asnumpy(device.xp.ascontiguousarray(Y[:: max(1, len(Y) // SAMPLED), :k]))
    is_exact = solved_exactly(plan, counts, floor, sample, ConjugateGradient(steps=steps))
    is_exact[plan.long_rows] = True
    is_observed = counts > 0
    rows = plan.longest_first[(is_observed & ~is_exact & ~is_singular)[plan.longest_first]]
    is_unsolved = is_singular & is_observed
    if len(rows) > 0:
        chosen = device.asarray(rows.astype(np.int32))
        is_unsolved[rows] = _solve(device, problem, chosen, g, Y, in_basis, steps)[rows]
        if basis is not None:
            X[chosen] = device.xp.matmul(in_basis[chosen], basis.back)
    return OtherRows(np.flatnonzero(is_exact & is_observed & ~is_unsolved), np.flatnonzero(is_unsolved))


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


def _solve(device: Device, problem: HalfProblem, rows: Any, g: Any, Y: Any, X: Any, steps: int) -> NDArray[np.bool_]:
    """Take steps for some rows of X; return a mask of the rows of X that could not be solved."""
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
    mask: NDArray[np.bool_] = device.asnumpy(unsolved) != 0
    return mask


def _stepped(array: Any) -> tuple[Any, np.int32]:
    """Return an array and the distance of its elements, 0 if there is one for all."""
    return array, np.int32(len(array) > 1)
