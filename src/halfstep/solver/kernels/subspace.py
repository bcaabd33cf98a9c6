"""The half-step by blocks of unknowns, from where each row was before (iALS++, Rendle et al. 2021).

Legend as in ``exact.py``, and

    B   a block of a row's unknowns, solved exactly while its other unknowns stay as they are
    xy  x·y of the row's observations, kept up to date

For one block after the other, with e = x·y before it:

    (D_B + Σ q y_B y_Bᵀ) δ = Σ (r − q e) y_B − D_B x_B,      x_B += δ

A block of size B costs n B² / 2, a row K / B times that: linear in K. As G is diagonal here, blocks meet in the
row's observations alone, and what missing cells add needs no sum over blocks. The objective falls with every block.

Why it is written out: as ``exact.py``, whose inner loops these are.

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
from halfstep.solver.kernels.arguments import Base, Cells, Fixed
from halfstep.solver.kernels.dense import add_products, copy, factor, padded, solve_second, unfold
from halfstep.solver.kernels.exact import GATHERED
from halfstep.solver.kernels.observations import (
    LEFT,
    Listed,
    cell,
    longest_of,
    score,
    set_up_row,
)

Floats = NDArray[np.floating]
Doubles = NDArray[np.float64]
Ints = NDArray[np.integer]


class Row(NamedTuple):
    """Room for one row, and for one of its blocks.

    Attributes
    ----------
    listed : Listed
        The row's observations.
    root, pull : ndarray
        √q, and (r − q x·y) / √q.
    xy, e : ndarray
        x·y, and what a block adds to it.
    d, scale, x : ndarray
        D, D^-½, and the row's factors.
    Z, U, b, v, inverse : ndarray
        A block's system, as in ``exact.py``.
    """

    listed: Listed
    root: Floats
    pull: Floats
    xy: Floats
    e: Floats
    d: Floats
    scale: Floats
    x: Floats
    Z: Floats
    U: Floats
    b: Floats
    v: Floats
    inverse: Floats


@kernel
def solve_by_blocks(
    rows: Ints, cells: Cells, base: Base, fixed: Fixed, first: int, X: Floats, block_size: int, losses: Doubles
) -> None:
    """Solve each block of the given rows' unknowns once, from X[u − first] on; otherwise as `solve_blocked`.

    The block size is a multiple of `WIDE_PADDING`.
    """
    indptr, indices, weights = cells.indptr, cells.indices, cells.weights
    k, Y, scored = fixed.k, fixed.Y, losses.shape[1] > 1
    width, n, dtype = padded(k), longest_of(rows, indptr) + PANEL, Y.dtype
    r, xy, e = np.empty(n, dtype), np.empty(n, dtype), np.empty(n, dtype)
    root, pull = np.empty(n, dtype), np.empty(n, dtype)
    d, scale, x = np.ones(width, dtype), np.zeros(width, dtype), np.zeros(width, dtype)
    Z, U = np.zeros((GATHERED, block_size), dtype), np.zeros((block_size, block_size), dtype)
    b, v, inverse = np.empty(block_size, dtype), np.empty(block_size, dtype), np.empty(block_size, dtype)
    listed = Listed(np.empty(n, np.intp), np.empty(n, dtype), r)
    room = Row(listed, root, pull, xy, e, d, scale, x, Z, U, b, v, inverse)
    for row in range(len(rows)):
        u = rows[row]
        begin, end = indptr[u], indptr[u + 1]
        losses[u] = 0.0
        if begin == end:
            X[u - first] = 0.0
            continue
        if not set_up_row(u, cells, base, fixed, listed, d) >= 0.0:
            losses[u, 0] = LEFT
            continue
        set_out(end - begin, k, X[u - first], Y, room)
        bias: Any = Y.dtype.type(0)
        if fixed.biases:
            bias = solve_bias(begin, end, weights, base.reg[u] * base.bias_ratio, r, xy)
        sound = True
        for c in range(0, width, block_size):
            sound = solve_block(c, end - begin, indices, Y, room) and sound
        if not sound:
            losses[u, 0] = LEFT
            continue
        copy(x, k, X[u - first])
        if fixed.biases:
            X[u - first, k] = bias
        if scored:
            score(begin, end, cells, fixed, bias, xy, losses[u])


@inner
def set_out(n: int, k: int, before: Floats, Y: Floats, row: Row) -> None:
    """Take a row's factors as they were before, and x·y of its n observations."""
    at, q, _ = row.listed
    d, scale, x = row.d, row.scale, row.x
    x[:] = 0.0
    for c in range(k):
        scale[c] = 1.0 / np.sqrt(d[c])
        x[c] = before[c]
    for p in range(0, n, PANEL):
        dot_listed(Y, at, p, 0, x, row.xy, len(x))
    for p in range(-(-n // PANEL) * PANEL):
        row.root[p] = np.sqrt(q[p])
        row.pull[p] = 0.0  # also of what fills the last panel


@inner
def solve_block(c: int, n: int, indices: Ints, Y: Floats, row: Row) -> bool:
    """Solve a row's block of unknowns from c on; return whether its system was positive definite."""
    (at, q, r), root, pull, xy, e, d, scale, x, Z, U, b, v, inverse = row
    among = min(len(b), len(x) - c)
    b[:] = 0.0
    for start in range(0, n, GATHERED):
        stop = min(start + GATHERED, n)
        for number in range(stop - start):
            here = np.uintp(start + number)  # unsigned: no place is counted from the end
            pull[here] = (r[here] - q[here] * xy[here]) / root[here]
        for p in range(start, stop, PANEL):
            gather_panel(Y, at, p, c, root, scale, pull, Z, p - start, b, among)
        add_products(U, start == 0, Z, stop - start, among, Y, indices, 0, 0)
    unfold(U, among)
    for a in range(among):
        here = np.uintp(c + a)
        b[a] -= d[here] * scale[here] * x[here]
    sound = factor(U, among, inverse, b, v)
    solve_second(U, among, inverse, v)
    for a in range(among):
        here = np.uintp(c + a)
        v[a] *= scale[here]
        x[here] += v[a]
    for p in range(0, n, PANEL):
        dot_listed(Y, at, p, c, v, e, among)
    for p in range(n):
        xy[p] += e[p]
    return bool(sound)


@inner
def solve_bias(begin: int, end: int, weights: Floats, reg: float, r: Floats, xy: Floats) -> np.floating:
    """The best bias for a row's factors as they are; r, which is w (t − o), becomes w (t − o − b)."""
    total = pull = np.float64(0.0)
    for p in range(end - begin):
        total += cell(weights, begin + p)
        pull += r[p] - cell(weights, begin + p) * xy[p]
    bias = r.dtype.type(pull / (total + reg))
    for p in range(end - begin):
        r[p] -= cell(weights, begin + p) * bias
    return bias
