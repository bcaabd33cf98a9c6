"""The terms of the objective on a device, in float64."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from halfstep.objective.problem import HalfProblem
from halfstep.solver.cuda.device import Device
from halfstep.solver.cuda.gram import gramian
from halfstep.solver.cuda.layout import Layout
from halfstep.solver.cuda.rows import DeviceRows, cell_arguments
from halfstep.solver.precision import IMPRECISE, ROUNDING, below_zero

THREADS = 128
WARPS = THREADS // 32


def data_terms(
    device: Device, problem: HalfProblem, ranges: Sequence[DeviceRows], Y: Any, X: Any
) -> tuple[float, float]:
    """Return the terms of observed and of missing cells.

    Parameters
    ----------
    problem : HalfProblem
        On the host.
    ranges : sequence of DeviceRows
        The rows of the problem.
    Y, X : arrays of the device
        Factors in the precision of the problem.
    """
    sums, first = [], 0
    for rows in ranges:
        last = first + len(rows.problem.regularization)
        sums.append(_sum_losses(device, rows, Y, X[first:last]))
        first = last
    observed, squares = device.asnumpy(device.xp.concatenate(sums, axis=1).sum(axis=1)).tolist()
    if len(problem.row_missing) == 0:
        return observed, 0.0
    # Σ_all s m (x·y)² = ⟨Σ s x xᵀ, Σ m y yᵀ⟩, minus the sum over observed cells
    s, m = (device.asarray(each) for each in (problem.row_missing, problem.column_missing))
    missing, size = _of_all_cells(device, s, m, problem.rank, Y, X)
    if missing - squares < IMPRECISE * size:
        missing, size = _of_all_cells(device, s, m, problem.rank, Y.astype(np.float64), X.astype(np.float64))
        if missing - squares < -ROUNDING * size:
            G = gramian(device, m, problem.rank, Y.astype(np.float64))
            raise below_zero(problem, missing - squares, np.diag(G) * float(problem.row_missing.max()))
    return observed, max(missing - squares, 0.0)


def regularization_term(device: Device, problem: HalfProblem, reg: Any, X: Any) -> float:
    """Return Σ_u λ_u (‖x_u‖² + ρ b_u²), with λ_u on the device."""
    terms = device.xp.empty(len(X), np.float64)
    kernel = device.kernel("loss", "sum_regularization", **_constants(problem, X))
    kernel(-(-len(X) // WARPS), THREADS, np.int32(len(X)), reg, np.float64(problem.bias_ratio), X, terms)
    return float(terms.sum())


def _of_all_cells(device: Device, s: Any, m: Any, k: int, Y: Any, X: Any) -> tuple[float, float]:
    """Return Σ s m (x·y)² over all cells, and the size of its terms."""
    of_rows, G = gramian(device, s, k, X), gramian(device, m, k, Y)
    return float((of_rows * G).sum()), float((np.abs(of_rows) * np.abs(G)).sum())


def _sum_losses(device: Device, rows: DeviceRows, Y: Any, X: Any) -> Any:
    """Return the losses of the observed cells of pieces of rows, and Σ s m (p·q)² over them, as two rows."""
    pieces, problem = rows.pieces, rows.arrays(Y.dtype)
    n_pieces = len(pieces.rows)
    sums = device.xp.empty((2, n_pieces), np.float64)
    if n_pieces > 0:
        device.kernel("loss", "sum_losses", **_constants(problem, X))(
            -(-n_pieces // WARPS), THREADS, np.int32(n_pieces), *pieces, *cell_arguments(problem), Y, X, *sums
        )
    return sums


def _constants(problem: HalfProblem, X: Any) -> dict[str, int | str]:
    return {**Layout.of(problem).constants(X.dtype), "THREADS": THREADS}
