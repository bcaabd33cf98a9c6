"""The half-step by blocks of unknowns, from where each row was before (iALS++, Rendle et al. 2021).

Legend as in ``blocked.py``, and

    B   a block of `BLOCK` unknowns of a row, solved exactly while its other unknowns stay as they are
    xy  x·y of the row's observations, kept up to date

For one block after the other, with e = x·y before it:

    (D_B + Σ q y_B y_Bᵀ) δ = Σ (r − q e) y_B − D_B x_B,      x_B += δ

Each block costs n `BLOCK`² / 2, a row K / `BLOCK` times that: linear in K. As G is diagonal here, blocks meet in the
row's observations alone, and what missing cells add needs no sum over blocks. The objective falls with every block.

Why it is written out: as ``blocked.py``, whose inner loops these are.

References
----------
S. Rendle et al., "iALS++: speeding up matrix factorization with subspace optimization", arXiv:2110.14044.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from halfstep._support.jit import inner, kernel
from halfstep.solver.kernels._panels import PANEL, dot_listed, gather_panel
from halfstep.solver.kernels.dense import add_products, copy, factor, padded, solve_second, unfold
from halfstep.solver.kernels.exact import GATHERED
from halfstep.solver.kernels.observations import (
    LEFT,
    cell,
    diagonal_of,
    is_positive,
    list_observations,
    longest_of,
    score,
)

Floats = NDArray[np.floating]
Doubles = NDArray[np.float64]
Ints = NDArray[np.integer]

BLOCK = 64  # unknowns that are solved for at once


@kernel
def solve_by_blocks(
    rows: Ints, indptr: Ints, indices: Ints, targets: Floats, weights: Floats, s: Floats, m: Floats, g: Floats,
    ridge: Floats, bias_ratio: float, k: int, biases: bool, o: Floats, Y: Floats, first: int, X: Floats,
    scored: bool, losses: Doubles,
) -> None:  # fmt: skip
    """Solve each block of the given rows' unknowns once, from X[u − first] on; otherwise as `solve_blocked`."""
    width = padded(k)
    room = longest_of(rows, indptr) + PANEL
    at = np.empty(room, np.intp)
    q, r, root = np.empty(room, Y.dtype), np.empty(room, Y.dtype), np.empty(room, Y.dtype)
    xy, e, pull = np.empty(room, Y.dtype), np.empty(room, Y.dtype), np.empty(room, Y.dtype)
    Z, U = np.zeros((GATHERED, BLOCK), Y.dtype), np.zeros((BLOCK, BLOCK), Y.dtype)
    d, scale, x = np.ones(width, Y.dtype), np.zeros(width, Y.dtype), np.zeros(width, Y.dtype)
    b, v, inverse = np.empty(BLOCK, Y.dtype), np.empty(BLOCK, Y.dtype), np.empty(BLOCK, Y.dtype)
    nothing = Y.dtype.type(0)
    for row in range(len(rows)):
        u = rows[row]
        begin, end = indptr[u], indptr[u + 1]
        n = end - begin
        losses[u] = 0.0
        if n == 0:
            X[u - first] = 0.0
            continue
        s_u: Any = s[u] if len(m) > 0 else nothing
        least = list_observations(begin, end, indices, targets, weights, s_u, m, o, at, q, r)
        diagonal_of(ridge[u], k, s_u, g, d)
        if not (is_positive(d, k) and least >= 0.0):
            losses[u, 0] = LEFT
            continue
        sound = True
        x[:] = 0.0
        for c in range(k):
            scale[c] = 1.0 / np.sqrt(d[c])
            x[c] = X[u - first, c]
        for p in range(0, n, PANEL):
            dot_listed(Y, at, p, 0, x, xy, width)
        for p in range(-(-n // PANEL) * PANEL):
            root[p] = np.sqrt(q[p])
            pull[p] = 0.0  # also of what fills the last panel
        bias: Any = nothing
        if biases:
            bias = solve_bias(begin, end, weights, ridge[u] * bias_ratio, r, xy)
        for c in range(0, width, BLOCK):
            among = min(BLOCK, width - c)
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
            sound = factor(U, among, inverse, b, v) and sound
            solve_second(U, among, inverse, v)
            for a in range(among):
                here = np.uintp(c + a)
                v[a] *= scale[here]
                x[here] += v[a]
            for p in range(0, n, PANEL):
                dot_listed(Y, at, p, c, v, e, among)
            for p in range(n):
                xy[p] += e[p]
        if not sound:
            losses[u, 0] = LEFT
            continue
        copy(x, k, X[u - first])
        if biases:
            X[u - first, k] = bias
        if scored:
            score(begin, end, indices, targets, weights, m, o, bias, xy, losses[u])


@inner
def solve_bias(begin: int, end: int, weights: Floats, ridge: float, r: Floats, xy: Floats) -> np.floating:
    """The best bias for a row's factors as they are; r, which is w (t − o), becomes w (t − o − b)."""
    total = pull = np.float64(0.0)
    for p in range(end - begin):
        total += cell(weights, begin + p)
        pull += r[p] - cell(weights, begin + p) * xy[p]
    bias = r.dtype.type(pull / (total + ridge))
    for p in range(end - begin):
        r[p] -= cell(weights, begin + p) * bias
    return bias
