"""The half-step by conjugate gradients, from the previous solution of each row.

Legend as in ``exact.py``: X is solved, Y fixed, A x = b are the systems, g is the diagonal of G, reg is λ_u, and

    v   current solution          q   residual b − A v; b includes Λ x̄ of a prior
    p   search direction          e   p·y of the observed cells; x·y is xy

The matrix A = D + Σ (w − s m) y yᵀ is never formed: a step needs only A p, two products with the observed cells, or
2 n K multiply-adds instead of the n K² / 2 of forming A. The preconditioner is D (Jacobi), which includes all of G
and λ, because G is diagonal here.

A row's solution changes little between iterations, so that a few steps from the previous one leave a small error. The
objective decreases in each step, and the iterations converge to the optimum of the exact half-steps. The bias is
stored separately, because missing cells are predicted without it.

Observed cells are read in place: a contiguous copy takes as long to write as it saves, since the cache holds them
after the first step. Solvers of libraries are not used, because they call a function for each product and row.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from halfstep._support.jit import inner, kernel
from halfstep.solver.kernels._panels import PANEL, add_normal
from halfstep.solver.kernels._tiles import prefetch_row
from halfstep.solver.kernels.argument_groups import Base, CellArrays, Fixed
from halfstep.solver.kernels.dense import copy, padded
from halfstep.solver.kernels.observations import (
    UNSOLVED,
    RowCells,
    cell,
    longest_row,
    prepare_row,
    read_pull,
    score,
)

AHEAD = 16  # observed cells that are prefetched ahead of the current one
NEXT = 64  # observed cells of the next row that are prefetched
CACHED_BYTES = 1 << 18  # of observed cells that stay in the cache between steps

Floats = NDArray[np.floating]
Float64Array = NDArray[np.float64]
Ints = NDArray[np.integer]


class RowBuffers(NamedTuple):
    """Buffers for one row.

    Attributes
    ----------
    row_cells : RowCells
        The observed cells; r is replaced by the factors of their rows of Y.
    xy, e : ndarray
        x·y and p·y of the observed cells.
    d, inverse : ndarray
        D, and D⁻¹.
    pull : ndarray
        Λ x̄ of a prior, or 0.
    v, q, p, Ap : ndarray
    """

    row_cells: RowCells
    xy: Floats
    e: Floats
    d: Floats
    inverse: Floats
    pull: Floats
    v: Floats
    q: Floats
    p: Floats
    Ap: Floats


@inner
def prefetch_cells(begin: int, end: int, indices: Ints, Y: Floats) -> None:
    """Prefetch the rows of Y of the first `PANEL` of the observed cells begin … end − 1."""
    for p in range(begin, min(begin + PANEL, end)):
        prefetch_row(Y, np.intp(indices[p]), Y.shape[1])


@inner
def initial_residual(
    begin: int,
    end: int,
    cells: CellArrays,
    fixed: Fixed,
    reg: float,
    bias_pull: float,
    bias: Any,
    buffers: RowBuffers,
) -> tuple[float, float, float]:
    """Compute q and the first p from the previous solution.

    Return q of the bias, the inverse of its diagonal element of A (both 0 without biases), and qᵀ p of all unknowns.
    """
    _, indices, _, weights = cells
    at, w, r = buffers.row_cells
    v, q, p, xy = buffers.v, buffers.q, buffers.p, buffers.xy
    n, width = end - begin, len(q)
    q_bias = inverse_bias = 0.0
    if fixed.biases:
        total: Any = r.dtype.type(0)
        for j in range(n):
            total += cell(weights, begin + j)
            r[j] -= cell(weights, begin + j) * bias
        inverse_bias = 1 / (total + reg)
    q[:] = 0.0
    for j in range(0, n, PANEL):
        prefetch_cells(begin + j + AHEAD, end, indices, fixed.Y)
        add_normal(fixed.Y, at, j, w, r, v, xy, q, width)
    if fixed.biases:
        q_bias = bias_pull - reg * bias
        for j in range(n):
            q_bias += r[j] - cell(weights, begin + j) * xy[j]
    squared_norm = q_bias * (q_bias * inverse_bias)
    for c in range(width):
        q[c] += buffers.pull[c] - buffers.d[c] * v[c]
        p[c] = q[c] * buffers.inverse[c]
        squared_norm += q[c] * p[c]
    return q_bias, inverse_bias, squared_norm


@inner
def multiply(
    begin: int, end: int, cells: CellArrays, fixed: Fixed, reg: float, step: int, p_bias: float, buffers: RowBuffers
) -> tuple[float, float]:
    """Compute A p for a bias of `p_bias` in p; return A p of the bias, and pᵀ A p of all unknowns."""
    _, indices, _, weights = cells
    at, w, r = buffers.row_cells
    p, Ap, e = buffers.p, buffers.Ap, buffers.e
    n, width = end - begin, len(p)
    is_long = n * width * p.itemsize > CACHED_BYTES
    Ap[:] = 0.0
    for j in range(n if fixed.biases or step == 0 else 0):
        r[j] = -cell(weights, begin + j) * p_bias
    for j in range(0, n, PANEL):
        if is_long:
            prefetch_cells(begin + j + AHEAD, end, indices, fixed.Y)
        elif step == 0 and j < NEXT:
            prefetch_cells(end + j, min(end + NEXT, len(indices)), indices, fixed.Y)
        add_normal(fixed.Y, at, j, w, r, p, e, Ap, width)
    Ap_bias = pAp = 0.0
    if fixed.biases:
        Ap_bias = reg * p_bias
        for j in range(n):
            Ap_bias += cell(weights, begin + j) * (e[j] + p_bias)
        pAp = p_bias * Ap_bias
    for c in range(width):
        Ap[c] = buffers.d[c] * p[c] - Ap[c]
        pAp += p[c] * Ap[c]
    return Ap_bias, pAp


@inner
def solve_row(
    begin: int,
    end: int,
    cells: CellArrays,
    fixed: Fixed,
    reg: float,
    bias_pull: float,
    steps: int,
    x: Floats,
    buffers: RowBuffers,
) -> tuple[float, bool]:
    """Take some steps from x to v; return the bias, and whether A was positive definite in all steps."""
    _, xy, e, d, inverse, _, v, q, p, Ap = buffers
    n, width = end - begin, len(v)
    eps, tiny = np.finfo(v.dtype).eps, np.finfo(v.dtype).tiny
    for c in range(fixed.k):
        inverse[c] = 1.0 / d[c]
        v[c] = x[c]
    bias: Any = x[fixed.k] if fixed.biases else v.dtype.type(0)
    q_bias, inverse_bias, squared_norm = initial_residual(begin, end, cells, fixed, reg, bias_pull, bias, buffers)
    p_bias = q_bias * inverse_bias
    smallest = max(squared_norm * eps * eps, tiny)  # below this, steps are rounding errors
    for step in range(steps):
        if not squared_norm > smallest:
            break
        Ap_bias, pAp = multiply(begin, end, cells, fixed, reg, step, p_bias, buffers)
        if not pAp > 0.0:  # the curvature is below the rounding error of A
            return bias, False
        step_length = squared_norm / pAp
        for j in range(n):
            xy[j] += step_length * e[j]
        bias += step_length * p_bias
        q_bias -= step_length * Ap_bias
        previous, squared_norm = squared_norm, q_bias * q_bias * inverse_bias
        for c in range(width):
            v[c] += step_length * p[c]
            q[c] -= step_length * Ap[c]
            squared_norm += q[c] * q[c] * inverse[c]
        for c in range(width):
            p[c] = q[c] * inverse[c] + squared_norm / previous * p[c]
        p_bias = q_bias * inverse_bias + squared_norm / previous * p_bias
    return bias, True


@kernel
def solve_by_conjugate_gradients(
    rows: Ints,
    cells: CellArrays,
    base: Base,
    fixed: Fixed,
    pull: Floats,
    first: int,
    X: Floats,
    losses: Float64Array,
    steps: int,
) -> None:
    """Take some steps for the given rows, from X[u − first]; otherwise as `solve_large_systems`."""
    indptr, k, scored, dtype = cells.indptr, fixed.k, losses.shape[1] > 1, fixed.Y.dtype
    width, room = padded(k), longest_row(rows, indptr) + PANEL
    row_cells = RowCells(np.empty(room, np.intp), np.empty(room, dtype), np.empty(room, dtype))
    xy, e, d, v = np.empty(room, dtype), np.empty(room, dtype), np.ones(width, dtype), np.zeros(width, dtype)
    inverse, own, q = np.ones(width, dtype), np.zeros(width, dtype), np.zeros(width, dtype)
    buffers = RowBuffers(row_cells, xy, e, d, inverse, own, v, q, np.zeros(width, dtype), np.zeros(width, dtype))
    for row in range(len(rows)):
        u = rows[row]
        begin, end = indptr[u], indptr[u + 1]
        x = X[u - first]
        losses[u] = 0.0
        if begin == end:
            x[:] = 0.0
            continue
        if not prepare_row(u, cells, base, fixed, row_cells, d) >= 0.0:
            losses[u, 0] = UNSOLVED
            continue
        reg, bias_pull = base.reg[u] * base.bias_ratio, read_pull(u - first, pull, fixed, own)
        bias, is_definite = solve_row(begin, end, cells, fixed, reg, bias_pull, steps, x, buffers)
        if not is_definite:
            losses[u, 0] = UNSOLVED
            continue
        copy(v, k, x)
        if fixed.biases:
            x[k] = bias
        if scored:
            score(begin, end, cells, fixed, bias, xy, losses[u])
