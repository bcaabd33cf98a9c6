"""Detection of ill-conditioned systems, rows to solve exactly, and the regularization that systems need."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cholesky

from halfstep.errors import NumericalError
from halfstep.objective.problem import HalfProblem
from halfstep.solver.layout import Factors
from halfstep.solver.schedule import HalfStepPlan
from halfstep.solvers import Cholesky, ConjugateGradient, Solver, Subspace

Floats = NDArray[np.float64]

LEAST_PIVOT = 1e-2  # relative to the diagonal; 0.1 in fits of real data; at 1e-3 float32 has four digits
SAMPLED = 1024  # number of columns sampled to estimate the largest norm
MARGIN = 16.0  # conjugate gradients are used if λ exceeds the rounding error by this factor
ENOUGH = 1e-9  # suggested λ relative to the largest diagonal element, well above the level at which float64 fails
EXTREME = 1e6  # no λ above this is suggested, because values or weights are the cause
ROUNDING = 1e-10  # relative to the terms of a difference, far above float64's rounding error
HIGH_RANK = 512  # from which changing the variables of the start, K² operations, takes longer than steps
IMPRECISE = 1e-4  # relative size of a difference below which it is computed again in float64


def needs_float64(plan: HalfStepPlan, G: Floats) -> bool:
    """Return whether float32 systems, which contain s_u (G + λ_u / s_u I), are too ill-conditioned.

    If G is rank-deficient, as with fewer columns than factors, the curvature in some directions is λ only, which
    rounding errors of G can exceed.
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

    In directions that are orthogonal to a row's observations, the curvature can be as small as `floor`, and the error
    of the solution is the rounding error of the sum over observations divided by it. Exact solutions are not
    affected.
    """
    sample = Y[:: max(1, len(Y) // SAMPLED)].astype(np.float64)
    longest = float(np.einsum("ij,ij->i", sample, sample).max(initial=0.0))
    error = MARGIN * float(np.finfo(floor.dtype).eps) * plan.mean_weight * longest
    with np.errstate(over="ignore"):
        marks: NDArray[np.bool_] = floor.astype(np.float64) < error * plan.root_counts
    return marks


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


def diagonal_of(problem: HalfProblem, row: int, Y: Factors, G: Factors) -> Floats:
    """Return the diagonal of a row's system without regularization."""
    cells = slice(problem.indptr[row], problem.indptr[row + 1])
    weights = np.broadcast_to(problem.weights, problem.indices.shape)[cells]
    with np.errstate(over="ignore"):
        diagonal: Floats = weights @ Y[problem.indices[cells], : problem.unknowns].astype(np.float64) ** 2
        if len(G) > 0:
            diagonal[: problem.rank] += float(problem.row_missing[row]) * np.diag(G)
    return diagonal


def not_definite(problem: HalfProblem, diagonal: Floats, row: int | None = None) -> NumericalError:
    """Return the error for a system with this diagonal that cannot be solved in float64.

    It suggests a sufficient λ: λ_u ≥ λ for rows with observations. A lower rank may suffice as well, unless the
    diagonal is 0, for example because all observed cells have a weight of 0.
    """
    what = "the system of {row}" if row is not None else "the common system of all rows"
    reg = float(problem.regularization[row or 0])
    needed = enough(problem, diagonal, reg)
    if needed is None:
        return NumericalError(
            f"{what} is not positive definite in float64: check the data for extreme values or weights, and the "
            "regularization",
            row=row,
        )
    or_else = ", or a lower rank" if diagonal.any() else ""
    return NumericalError(
        f"{what} is not positive definite in float64 with λ={reg:.3g}: set regularization={needed:.0e} or more"
        f"{or_else}",
        row=row,
        regularization=needed,
    )


def below_zero(problem: HalfProblem, missing: float, diagonal: Floats) -> NumericalError:
    """Return the error for an objective below 0, caused by rounding in systems with this diagonal."""
    needed = enough(problem, diagonal, float(problem.regularization.max()))
    remedy = (
        "check the data for extreme values or weights"
        if needed is None
        else f"set regularization={needed:.0e} or more"
    )
    return NumericalError(
        f"the squared error of the missing cells is {missing:.3g}, below 0, since float64 sums of such large factors "
        f"lose precision: {remedy}",
        regularization=needed,
    )


def enough(problem: HalfProblem, diagonal: Floats, reg: float) -> float | None:
    """Return the power of ten λ at which systems with this diagonal become solvable.

    It is None if it would be unreasonably large.

    The smaller the factors of one side, the larger are those of the other, because their products are the targets. If
    the diagonal is 0, it is that of a row with all observed cells, and factors as large as the root of the targets
    (1, if all of these are 0).
    """
    largest = float(diagonal.max(initial=0.0))
    targets, weights = (array.astype(np.float64) for array in (problem.targets, problem.weights))
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        squares = float(np.sum(np.broadcast_to(weights * targets**2, problem.indices.shape)))
        if largest == 0:
            weight = float(np.sum(np.broadcast_to(weights, problem.indices.shape)))
            largest = math.sqrt((squares or weight) * weight)
        needed = max(ENOUGH * largest, ENOUGH * squares / largest if largest else 0.0, 10.0 * reg)
    return float(10.0 ** math.ceil(math.log10(needed))) if 0.0 < needed < EXTREME else None
