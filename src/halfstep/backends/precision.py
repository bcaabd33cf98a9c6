"""Which systems lose precision, and the regularization that would do."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cholesky

from halfstep.backends.chunks import LoadedSide
from halfstep.backends.protocol import Factors
from halfstep.errors import NumericalError
from halfstep.sides import Side

Floats = NDArray[np.float64]

LEAST_PIVOT = 1e-3  # relative to its diagonal entry: float32 then keeps four digits, and fits of real data have 0.1
SAMPLED = 1024  # columns whose lengths stand for all
MARGIN = 16.0  # times the rounding error that λ has to exceed for conjugate gradients to be used
ENOUGH = 1e-9  # λ relative to the largest diagonal entry that is suggested: far from where float64 fails
EXTREME = 1e6  # λ that is not suggested: values or weights are to blame
ROUNDING = 1e-10  # relative to the terms of a difference, far above float64's rounding error
IMPRECISE = 1e-4  # a difference of less than this share of its terms is summed again in float64


def needs_float64(loaded: LoadedSide, G: Floats) -> bool:
    """Whether float32 systems, all of which contain s_u (G + λ_u / s_u I), are too ill-conditioned.

    Where G has no full rank, as with fewer columns than factors, λ alone is left in some directions: below the
    rounding error of G, the curvature there is noise, and may be negative.
    """
    if len(G) == 0 or loaded.side.weights.dtype == np.float64 or not np.isfinite(G).all():
        return False
    A = G.copy()
    A[np.diag_indices_from(A)] += loaded.least_ridge
    try:
        L = cholesky(A, lower=True, check_finite=False)
    except LinAlgError:
        return True
    return bool((np.diag(L) ** 2 <= LEAST_PIVOT * np.diag(A)).any())


def ill_conditioned_rows(loaded: LoadedSide, floor: NDArray[np.floating], Y: Factors) -> NDArray[np.bool_]:
    """Mark the rows for which conjugate gradients would add noise to the solution.

    In directions where a row's observations say nothing, the curvature is as low as `floor`, and what moves the
    solution is the rounding error of the observations' sum, over that. The exact solution has no such part.
    """
    sample = Y[:: max(1, len(Y) // SAMPLED)].astype(np.float64)
    longest = float(np.einsum("ij,ij->i", sample, sample).max(initial=0.0))
    error = MARGIN * float(np.finfo(floor.dtype).eps) * loaded.mean_weight * longest
    with np.errstate(over="ignore"):
        marks: NDArray[np.bool_] = floor.astype(np.float64) < error * loaded.root_counts
    return marks


def diagonal_of(side: Side, row: int, Y: Factors, G: Factors) -> Floats:
    """Return about the diagonal of one row's system: that of its observations and missing cells."""
    cells = slice(side.indptr[row], side.indptr[row + 1])
    weights = np.broadcast_to(side.weights, side.indices.shape)[cells]
    with np.errstate(over="ignore"):
        diagonal: Floats = weights @ Y[side.indices[cells], : side.unknowns].astype(np.float64) ** 2
        if len(G) > 0:
            diagonal[: side.rank] += float(side.row_missing[row]) * np.diag(G)
    return diagonal


def not_definite(side: Side, diagonal: Floats, row: int | None = None) -> NumericalError:
    """Return the error of a system with this diagonal, which cannot be solved in float64.

    It names a λ that would do. As λ_u is at least λ where a row has observations, the λ_u that is needed is enough.
    """
    what = "its system" if row is not None else "the system that all rows share"
    ridge = float(side.regularization[row or 0])
    needed = enough(side, diagonal, ridge)
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


def below_zero(side: Side, missing: float, diagonal: Floats) -> NumericalError:
    """Return the error of an objective that is below 0, which rounding of systems with this diagonal makes of it."""
    needed = enough(side, diagonal, float(side.regularization.max()))
    remedy = "look for extreme values or weights" if needed is None else f"set regularization={needed:.0e} or more"
    return NumericalError(
        f"the squared error of the missing cells is {missing:.3g}, below 0, for float64 sums of factors as large as "
        f"these lose precision: {remedy}",
        regularization=needed,
    )


def enough(side: Side, diagonal: Floats, ridge: float) -> float | None:
    """Return a power of ten as λ, with which systems like one of this diagonal can be solved; None if it is extreme.

    The smaller the one side's factors are, the larger will be the other's: those whose products are the targets.
    """
    largest = float(diagonal.max(initial=0.0))
    targets, weights = (array.astype(np.float64) for array in (side.targets, side.weights))
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        squares = float(np.sum(np.broadcast_to(weights * targets**2, side.indices.shape)))
        needed = max(ENOUGH * largest, ENOUGH * squares / largest if largest else 0.0, 10.0 * ridge)
    return float(10.0 ** math.ceil(math.log10(needed))) if 0.0 < needed < EXTREME else None
