"""The half-step by blocks of unknowns, from the previous solution of each row (iALS++, Rendle et al. 2021).

Legend as in ``exact.py``: X is solved, Y fixed, b is a right-hand side, g the diagonal of G, reg is λ_u, and

    B   a block of a row's unknowns, solved exactly while the others are held fixed
    xy  x·y of the row's observed cells, updated after each block

For each block, with e = x·y before it:

    (D_B + Σ q y_B y_Bᵀ) δ = Σ (r − q e) y_B + (Λ x̄)_B − D_B x_B,      x_B += δ

where Λ x̄ is 0 without a prior.

A block of size B costs n B² / 2, and a row K / B times that: linear in K. Because G is diagonal here, missing cells
do not couple the blocks. The objective decreases in each block.

References
----------
S. Rendle et al., "iALS++: speeding up matrix factorization with subspace optimization", arXiv:2110.14044.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from halfstep._support.jit import inner, kernel
from halfstep.solver.kernels._panels import PANEL, dot_listed, gather_panel
from halfstep.solver.kernels.argument_groups import Base, CellArrays, Fixed
from halfstep.solver.kernels.dense import add_products, copy, factor, padded, solve_upper, unfold
from halfstep.solver.kernels.exact import CELLS_PER_PRODUCT
from halfstep.solver.kernels.observations import (
    UNSOLVED,
    RowCells,
    cell,
    longest_row,
    prepare_row,
    read_pull,
    score,
)

Floats = NDArray[np.floating]
Float64Array = NDArray[np.float64]
Ints = NDArray[np.integer]


class BlockBuffers(NamedTuple):
    """Buffers for one row, and for one of its blocks.

    Attributes
    ----------
    row_cells : RowCells
        The observed cells.
    root, residual : ndarray
        √q, and (r − q x·y) / √q.
    xy, e : ndarray
        x·y, and its change by a block.
    d, scale, x, pull : ndarray
        D, D^-½, the row's factors, and Λ x̄.
    Z, U, b, v, inverse : ndarray
        The system of a block, as in ``exact.py``.
    """

    row_cells: RowCells
    root: Floats
    residual: Floats
    xy: Floats
    e: Floats
    d: Floats
    scale: Floats
    x: Floats
    pull: Floats
    Z: Floats
    U: Floats
    b: Floats
    v: Floats
    inverse: Floats


@kernel
def solve_by_blocks(
    rows: Ints,
    cells: CellArrays,
    base: Base,
    fixed: Fixed,
    pull: Floats,
    first: int,
    X: Floats,
    losses: Float64Array,
    block_size: int,
) -> None:
    """Solve each block of unknowns once, from X[u − first]; otherwise as `solve_large_systems`.

    The block size is a multiple of `WIDE_PADDING`.
    """
    indptr, indices, weights = cells.indptr, cells.indices, cells.weights
    k, Y, scored = fixed.k, fixed.Y, losses.shape[1] > 1
    width, n, dtype = padded(k), longest_row(rows, indptr) + PANEL, Y.dtype
    r, xy, e = np.empty(n, dtype), np.empty(n, dtype), np.empty(n, dtype)
    root, residual = np.empty(n, dtype), np.empty(n, dtype)
    d, scale, x, own = np.ones(width, dtype), np.zeros(width, dtype), np.zeros(width, dtype), np.zeros(width, dtype)
    Z, U = np.zeros((CELLS_PER_PRODUCT, block_size), dtype), np.zeros((block_size, block_size), dtype)
    b, v, inverse = np.empty(block_size, dtype), np.empty(block_size, dtype), np.empty(block_size, dtype)
    row_cells = RowCells(np.empty(n, np.intp), np.empty(n, dtype), r)
    buffers = BlockBuffers(row_cells, root, residual, xy, e, d, scale, x, own, Z, U, b, v, inverse)
    for row in range(len(rows)):
        u = rows[row]
        begin, end = indptr[u], indptr[u + 1]
        losses[u] = 0.0
        if begin == end:
            X[u - first] = 0.0
            continue
        if not prepare_row(u, cells, base, fixed, row_cells, d) >= 0.0:
            losses[u, 0] = UNSOLVED
            continue
        load_row(end - begin, k, X[u - first], Y, buffers)
        bias: Any = Y.dtype.type(0)
        bias_pull = read_pull(u - first, pull, fixed, own)
        if fixed.biases:
            bias = solve_bias(begin, end, weights, base.reg[u] * base.bias_ratio, bias_pull, r, xy)
        is_definite = True
        for c in range(0, width, block_size):
            is_definite = solve_block(c, end - begin, indices, Y, buffers) and is_definite
        if not is_definite:
            losses[u, 0] = UNSOLVED
            continue
        copy(x, k, X[u - first])
        if fixed.biases:
            X[u - first, k] = bias
        if scored:
            score(begin, end, cells, fixed, bias, xy, losses[u])


@inner
def load_row(n: int, k: int, before: Floats, Y: Floats, buffers: BlockBuffers) -> None:
    """Copy a row's previous factors, and compute x·y of its n observed cells."""
    at, q, _ = buffers.row_cells
    d, scale, x = buffers.d, buffers.scale, buffers.x
    x[:] = 0.0
    for c in range(k):
        scale[c] = 1.0 / np.sqrt(d[c])
        x[c] = before[c]
    for p in range(0, n, PANEL):
        dot_listed(Y, at, p, 0, x, buffers.xy, len(x))
    for p in range(-(-n // PANEL) * PANEL):
        buffers.root[p] = np.sqrt(q[p])
        buffers.residual[p] = 0.0  # including the padding of the last panel


@inner
def solve_block(c: int, n: int, indices: Ints, Y: Floats, buffers: BlockBuffers) -> bool:
    """Solve a row's block of unknowns from c on; return whether its system was positive definite."""
    (at, q, r), root, residual, xy, e, d, scale, x, pull, Z, U, b, v, inverse = buffers
    size = min(len(b), len(x) - c)
    b[:] = 0.0
    for start in range(0, n, CELLS_PER_PRODUCT):
        stop = min(start + CELLS_PER_PRODUCT, n)
        for number in range(stop - start):
            here = np.uintp(start + number)  # unsigned: never negative
            residual[here] = (r[here] - q[here] * xy[here]) / root[here]
        for p in range(start, stop, PANEL):
            gather_panel(Y, at, p, c, root, scale, residual, Z, p - start, b, size)
        add_products(U, start == 0, Z, stop - start, size, Y, indices, 0, 0)
    unfold(U, size)
    for a in range(size):
        here = np.uintp(c + a)
        b[a] += scale[here] * (pull[here] - d[here] * x[here])
    is_definite = factor(U, size, inverse, b, v)
    solve_upper(U, size, inverse, v)
    for a in range(size):
        here = np.uintp(c + a)
        v[a] *= scale[here]
        x[here] += v[a]
    for p in range(0, n, PANEL):
        dot_listed(Y, at, p, c, v, e, size)
    for p in range(n):
        xy[p] += e[p]
    return bool(is_definite)


@inner
def solve_bias(
    begin: int, end: int, weights: Floats, reg: float, bias_pull: float, r: Floats, xy: Floats
) -> np.floating:
    """Return the optimal bias for the current factors; r = w (t − o) becomes w (t − o − b)."""
    total, rhs = np.float64(0.0), np.float64(bias_pull)
    for p in range(end - begin):
        total += cell(weights, begin + p)
        rhs += r[p] - cell(weights, begin + p) * xy[p]
    bias = r.dtype.type(rhs / (total + reg))
    for p in range(end - begin):
        r[p] -= cell(weights, begin + p) * bias
    return bias
