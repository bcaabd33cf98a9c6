"""The terms of the objective: losses of observed cells, and regularization.

Legend as in ``small_systems.py``: X is solved, Y fixed, A, b, c and G form the systems, and reg is λ_u. Missing cells
are not visited: their loss is that of all cells, Σ_u s_u x_uᵀ G x_u, minus what the observed cells would add as
missing ones, which is summed here. For a row that was just solved exactly, the loss follows from the corner of its
factorization.

NumPy is not used, because it would store an array of all predictions. Here each observed cell is read at most once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from halfstep._support.jit import inner, kernel
from halfstep.solver.kernels._llvm import VECTOR_BYTES
from halfstep.solver.kernels._vector import ROW_PADDING, dot_rows, sum_squares
from halfstep.solver.kernels.argument_groups import Base, CellArrays, Fixed, PriorArrays
from halfstep.solver.kernels.observations import cell

Floats = NDArray[np.floating]
Float64Array = NDArray[np.float64]
Ints = NDArray[np.integer]

CANCELLED = 1e-4  # relative size of a difference below which a float64 loss is summed instead
CANCELLED_IN_FLOAT32 = 1e-2


@kernel
def row_losses(first: int, last: int, cells: CellArrays, fixed: Fixed, X: Float64Array, losses: Float64Array) -> None:
    """Write Σ_Ω w (t − o_i − x·y)² and Σ_Ω m_i (p·q)² to losses[u] for u = first … last − 1; X holds only these rows.

    The bias b_u in x is multiplied by a 1 in y; missing cells are predicted without it. `fixed` is in float64, and m
    has an element for each column.
    """
    indptr, indices, targets, weights = cells
    Y, o, m, k, biases = fixed
    K = k + 1 if biases else k
    vectors = -(-K * X.itemsize // VECTOR_BYTES)
    width = -(-K // ROW_PADDING) * ROW_PADDING
    for u in range(first, last):
        x, begin, end = u - first, indptr[u], indptr[u + 1]
        b = X[x, k] if biases else 0.0
        if vectors == 1:
            sum_squares(X, x, cells, fixed, b, begin, end, losses[u], 1)
        elif vectors == 2:
            sum_squares(X, x, cells, fixed, b, begin, end, losses[u], 2)
        elif vectors == 3:
            sum_squares(X, x, cells, fixed, b, begin, end, losses[u], 3)
        else:
            losses[u] = 0.0
            for p in range(begin, end):
                i = np.intp(indices[p])
                xy = dot_rows(X, x, Y, i, width)
                losses[u, 0] += cell(weights, p) * (cell(targets, p) - o[i] - xy) ** 2
                losses[u, 1] += m[i] * (xy - b) ** 2


@kernel
def solved_row_losses(
    first: int,
    last: int,
    cells: CellArrays,
    base: Base,
    fixed: Fixed,
    prior: PriorArrays,
    X: Floats,
    sums_of_squares: Float64Array,
    losses: Float64Array,
) -> None:
    """Write the losses of rows that `solve_rows` just solved without missing cells.

    Σ_Ω w (t − o_i − x·y)² = (c − bᵀ A⁻¹ b) − (x − x̄)ᵀ Λ_u (x − x̄), with ‖ε‖² in the parentheses. If this is nearly
    0 compared with c, cancellation makes it imprecise, and the row is summed.
    """
    reg, mean = base.reg, prior.mean
    cancelled = CANCELLED if cells.weights.itemsize == 8 else CANCELLED_IN_FLOAT32
    for u in range(first, last):
        if len(mean) > 0:
            left = sums_of_squares[u, 1] - prior_regularization_term(u, base, fixed, prior, X)
        else:
            left = sums_of_squares[u, 1] - regularization_term(
                reg[u : u + 1], base.bias_ratio, fixed.k, fixed.biases, X[u : u + 1]
            )
        if left < cancelled * sums_of_squares[u, 0]:
            row = X[u : u + 1].astype(np.float64)
            row_losses(u, u + 1, cells, fixed, row, losses)
        else:
            losses[u, 0] = left
            losses[u, 1] = 0.0


@kernel
def regularization_term(reg: Floats, bias_ratio: float, k: int, biases: bool, X: Floats) -> float:
    """Return Σ_u λ_u (‖x_u‖² + ρ b_u²) in float64, without storing squares."""
    total = 0.0
    for u in range(len(X)):
        squares = 0.0
        for a in range(k):
            squares += np.float64(X[u, a]) * X[u, a]
        if biases:
            squares += bias_ratio * np.float64(X[u, k]) * X[u, k]
        total += reg[u] * squares
    return total


@inner
def prior_regularization_term(u: int, base: Base, fixed: Fixed, prior: PriorArrays, X: Floats) -> float:
    """Return (x − x̄)ᵀ (Λ + λ_u D) (x − x̄) of row u of X in float64."""
    mean, precision, _ = prior
    own, reg, k = u if len(mean) > 1 else 0, base.reg[u], fixed.k
    K = k + 1 if fixed.biases else k
    total = 0.0
    for a in range(K):
        pull = 0.0
        for c in range(a):
            pull += np.float64(precision[a, c]) * (np.float64(X[u, c]) - mean[own, c])
        away = np.float64(X[u, a]) - mean[own, a]
        diagonal = precision[a, a] + (reg if a < k else base.bias_ratio * reg)
        total += away * (2.0 * pull + diagonal * away)
    return total
