"""Detection of ill-conditioned systems, and the regularization with which they can be solved."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cholesky

from halfstep.errors import NumericalError
from halfstep.objective.problem import HalfProblem
from halfstep.solver.layout import Factors
from halfstep.solver.schedule import HalfStepPlan

Floats = NDArray[np.float64]

LEAST_PIVOT = 1e-2  # relative to the diagonal; fits of real data have 0.1, and float32 loses three digits at 1e-3
SAMPLED = 1024  # columns from which the largest length is estimated
MARGIN = 16.0  # conjugate gradients are used if λ exceeds the rounding error by this factor
ENOUGH = 1e-9  # the suggested λ relative to the largest diagonal entry, far above where float64 fails
EXTREME = 1e6  # λ from which on none is suggested, since values or weights are the cause
ROUNDING = 1e-10  # relative to the terms of a difference, far above float64's rounding error
IMPRECISE = 1e-4  # a difference of less than this share of its terms is summed again in float64


def needs_float64(plan: HalfStepPlan, G: Floats) -> bool:
    """Whether float32 systems, which all contain s_u (G + λ_u / s_u I), are too ill-conditioned.

    If G is rank-deficient, as with fewer columns than factors, the curvature in some directions is λ only. Below the
    rounding error of G it is noise, and may be negative.
    """
    if len(G) == 0 or plan.problem.weights.dtype == np.float64 or not np.isfinite(G).all():
        return False
    A = G.copy()
    A[np.diag_indices_from(A)] += plan.least_regularization
    try:
        L = cholesky(A, lower=True, check_finite=False)
    except LinAlgError:
        return True
    return bool((np.diag(L) ** 2 <= LEAST_PIVOT * np.diag(A)).any())


def ill_conditioned_rows(plan: HalfStepPlan, floor: NDArray[np.floating], Y: Factors) -> NDArray[np.bool_]:
    """Return a mask of the rows for which conjugate gradients would add noise to the solution.

    In directions that are orthogonal to a row's observations, the curvature can be as small as `floor`, and the
    solution moves by the rounding error of the sum over observations, divided by it. The exact solution does not.
    """
    sample = Y[:: max(1, len(Y) // SAMPLED)].astype(np.float64)
    longest = float(np.einsum("ij,ij->i", sample, sample).max(initial=0.0))
    error = MARGIN * float(np.finfo(floor.dtype).eps) * plan.mean_weight * longest
    with np.errstate(over="ignore"):
        marks: NDArray[np.bool_] = floor.astype(np.float64) < error * plan.root_counts
    return marks


def diagonal_of(problem: HalfProblem, row: int, Y: Factors, G: Factors) -> Floats:
    """Return the diagonal of one row's system without regularization."""
    cells = slice(problem.indptr[row], problem.indptr[row + 1])
    weights = np.broadcast_to(problem.weights, problem.indices.shape)[cells]
    with np.errstate(over="ignore"):
        diagonal: Floats = weights @ Y[problem.indices[cells], : problem.unknowns].astype(np.float64) ** 2
        if len(G) > 0:
            diagonal[: problem.rank] += float(problem.row_missing[row]) * np.diag(G)
    return diagonal


def not_definite(problem: HalfProblem, diagonal: Floats, row: int | None = None) -> NumericalError:
    """Return the error about a system with this diagonal, which cannot be solved in float64.

    It names a sufficient λ: since λ_u ≥ λ for rows with observations, the λ_u that is needed is one.
    """
    what = "its system" if row is not None else "the system that all rows share"
    ridge = float(problem.regularization[row or 0])
    needed = enough(problem, diagonal, ridge)
    if needed is None:
        return NumericalError(
            f"{what} is not positive definite in float64: look for extreme values, weights or regularization", row=row
        )
    return NumericalError(
        f"{what} is not positive definite in float64 with λ={ridge:.3g}: set regularization={needed:.0e} or more, or "
        "a lower rank",
        row=row,
        regularization=needed,
    )


def below_zero(problem: HalfProblem, missing: float, diagonal: Floats) -> NumericalError:
    """Return the error about an objective that is below 0, because of rounding in systems with this diagonal."""
    needed = enough(problem, diagonal, float(problem.regularization.max()))
    remedy = "look for extreme values or weights" if needed is None else f"set regularization={needed:.0e} or more"
    return NumericalError(
        f"the squared error of the missing cells is {missing:.3g}, below 0, since float64 sums of such large factors "
        f"lose precision: {remedy}",
        regularization=needed,
    )


def enough(problem: HalfProblem, diagonal: Floats, ridge: float) -> float | None:
    """Return a power of ten as λ for which systems with this diagonal can be solved; None if it is extreme.

    The smaller the factors of one side, the larger are those of the other, since their products are the targets.
    """
    largest = float(diagonal.max(initial=0.0))
    targets, weights = (array.astype(np.float64) for array in (problem.targets, problem.weights))
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        squares = float(np.sum(np.broadcast_to(weights * targets**2, problem.indices.shape)))
        needed = max(ENOUGH * largest, ENOUGH * squares / largest if largest else 0.0, 10.0 * ridge)
    return float(10.0 ** math.ceil(math.log10(needed))) if 0.0 < needed < EXTREME else None
