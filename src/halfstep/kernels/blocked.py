"""The exact half-step at higher ranks: one system at a time, at nearly the speed of a matrix product.

Legend as in ``cholesky.py``; here G is diagonal, which it is once Y has been rotated into its eigenvectors.

    D   s_u g + Λ            the diagonal that a row's observations are added to
    Z   √(w − s_u m_i) y D^-½  the row's observations, gathered and scaled
    r   w (t − o_i) / √(w − s_u m_i)
    c   Σ w y of the row, what its bias has to do with its factors

With these the system A x = b becomes, for x = D^-½ v,

    (I + Zᵀ Z) v = Zᵀ r                        K unknowns: the primal
    v = Zᵀ a,  (I + Z Zᵀ) a = r                as many as the row has observations: the dual

which are the same v (Woodbury). Most rows of real data are shorter than K, and their dual costs a fraction of their
primal. Both are sums of outer products, and then the factorisation I + … = Uᵀ U, whose rows are found four at a time
from all rows above: nearly all of the arithmetic is in `add_tile`, and all of it on contiguous vectors in the caches.

A bias is one more unknown, which no missing cell is predicted with. It is eliminated last: with B for the factors'
part of the matrix and h = Σ w + ρ λ_u,

    b_u = (Σ w (t − o_i) − cᵀ B⁻¹ Σ w (t − o_i) y) / (h − cᵀ B⁻¹ c)

Scaled so, no pivot is below 1 but for rounding, whatever the weights: rows that lose their digits, or whose weights
w − s_u m_i are not positive, are left for ``cholesky.py``.

Why it is written out: LAPACK's factorisation reaches an eighth of the machine at these sizes, and cannot take its
matrix from rows that lie all over memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from halfstep.kernels._jit import kernel
from halfstep.kernels._llvm import WIDE_BYTES
from halfstep.kernels._panels import PANEL, add_rows, dot_listed, dot_panel
from halfstep.kernels._tiles import (
    PANEL_ROWS,
    TILE_ROWS,
    add_tile,
    factor_panel,
    gather_scaled,
    prefetch_row,
    solve_block,
    subtract_tile,
    transpose_block,
)
from halfstep.kernels._vector import WIDE_PADDING
from halfstep.kernels.observations import (
    LEFT,
    cell,
    copy,
    diagonal_of,
    is_positive,
    list_observations,
    longest_of,
    score,
)

Floats = NDArray[np.floating]
Doubles = NDArray[np.float64]
Ints = NDArray[np.integer]

GATHERED = 64  # observations that are multiplied at once, while the caches hold them
DUAL_BELOW = 0.9  # observations per unknown below which the dual is the cheaper


@kernel
def padded(columns: int) -> int:
    """The next multiple of `WIDE_PADDING`."""
    return -(-columns // WIDE_PADDING) * WIDE_PADDING


@kernel
def add_products(
    A: Floats, is_new: bool, Z: Floats, n: int, rows: int, Y: Floats, indices: Ints, begin: int, end: int
) -> None:
    """A += Σ_p z_p z_pᵀ over the first n rows of Z: the first `rows` rows of A, from the diagonal on; a new one is 0.

    While that is computed, the observations begin … end − 1 are asked for, which will be gathered next.
    """
    lanes = WIDE_BYTES // A.itemsize
    for a in range(0, rows, TILE_ROWS):
        for p in range(begin + (end - begin) * a // rows, begin + (end - begin) * (a + TILE_ROWS) // rows):
            prefetch_row(Y, np.intp(indices[p]), Y.shape[1])
        c = a - a % lanes
        while c < rows:  # four are two and two: a tile of one vector waits for its own sums
            left = (rows - c) // lanes
            if left == 3 or left > 4:
                add_tile(A, is_new, Z, n, a, c, 3)
                c += 3 * lanes
            elif left > 1:
                add_tile(A, is_new, Z, n, a, c, 2)
                c += 2 * lanes
            else:
                add_tile(A, is_new, Z, n, a, c, 1)
                c += lanes


@kernel
def factor(U: Floats, rows: int, inverse: Floats) -> bool:
    """Overwrite I + … with U, from the diagonal on; `inverse` becomes 1 / U_aa. False if a pivot lost its digits."""
    lanes = WIDE_BYTES // U.itemsize
    least = rows * np.finfo(U.dtype).eps
    sound = True
    for a in range(0, rows, PANEL_ROWS):
        before = U[a, a] + U[a + 1, a + 1] + U[a + 2, a + 2] + U[a + 3, a + 3]
        c = a - a % lanes
        while c < rows:
            left = (rows - c) // lanes
            if left == 3 or left > 4:
                subtract_tile(U, a, a, c, 3)
                c += 3 * lanes
            elif left > 1:
                subtract_tile(U, a, a, c, 2)
                c += 2 * lanes
            else:
                subtract_tile(U, a, a, c, 1)
                c += lanes
        factor_panel(U, a, rows, inverse)
        for b in range(a, a + PANEL_ROWS):
            if not inverse[b] * inverse[b] * least * before < 1.0:
                sound = False
    return sound


@kernel
def solve_factored(U: Floats, rows: int, inverse: Floats, b: Floats, v: Floats) -> None:
    """Solve Uᵀ U v = b, a vector of unknowns at a time; b is overwritten."""
    lanes = WIDE_BYTES // U.itemsize
    for a in range(0, rows, lanes):
        solve_block(U, a, inverse, b, v, True)
        for p in range(a, a + lanes):
            b[p] = -v[p]
        for c in range(a + lanes, rows, lanes):
            add_rows(U, a, lanes, b, c, b, 1)
    for a in range(rows - lanes, -1, -lanes):
        dot_panel(U, a, a + lanes, rows, v, v)
        solve_block(U, a, inverse, v, v, False)


@kernel
def add_scaled(Z: Floats, first: int, n: int, f: Floats, width: int, b: Floats) -> None:
    """b[:width] += Σ_p f[first + p] · Z[first + p, :width] over n rows."""
    lanes = WIDE_BYTES // Z.itemsize
    c = 0
    while c + 8 * lanes <= width:
        add_rows(Z, first, n, f, c, b, 8)
        c += 8 * lanes
    while c + 4 * lanes <= width:
        add_rows(Z, first, n, f, c, b, 4)
        c += 4 * lanes
    while c < width:
        add_rows(Z, first, n, f, c, b, 1)
        c += lanes


@kernel
def transpose(Z: Floats, n: int, width: int, T: Floats) -> None:
    """T[:width, :n] = Z[:n, :width]ᵀ; both are whole vectors, rows of Z beyond the last are 0."""
    lanes = WIDE_BYTES // Z.itemsize
    for p in range(0, n, lanes):
        for c in range(0, width, lanes):
            transpose_block(Z, p, c, T)


@kernel
def gather(
    first: int, last: int, at: Ints, q: Floats, r: Floats, ones: Floats, biases: bool, Y: Floats, d: Floats, Z: Floats
) -> None:
    """Gather the observations first … last − 1 of a row into Z, and divide what r and `ones` have of them by √q."""
    for p in range(first, last):
        root = np.sqrt(q[p])
        gather_scaled(Y, at[p], 0, root, d, Z, p - first, Z.shape[1])
        r[p] /= root
        if biases:
            ones[p] /= root


@kernel
def solve_blocked(
    rows: Ints, indptr: Ints, indices: Ints, targets: Floats, weights: Floats, s: Floats, m: Floats, g: Floats,
    ridge: Floats, bias_ratio: float, k: int, biases: bool, o: Floats, Y: Floats, first: int, X: Floats,
    scored: bool, losses: Doubles,
) -> None:  # fmt: skip
    """Solve the given rows: row u into X[u − first].

    If `scored`, ``losses[u]`` becomes Σ w (t − o_i − x·y)² and Σ m_i (p·q)² over its observations; in any case its
    first becomes `LEFT` if the row is left to others. `s`, `m` and `g` are empty where missing cells have no weight.
    """
    width = padded(k)
    room = longest_of(rows, indptr) + width
    at = np.empty(room, np.intp)
    q, r, ones, xy = (
        np.empty(room, Y.dtype), np.empty(room, Y.dtype), np.empty(room, Y.dtype), np.empty(room, Y.dtype)
    )  # fmt: skip
    Z = np.zeros((max(width, GATHERED), width), Y.dtype)
    T, U = np.zeros((width, width), Y.dtype), np.zeros((width, width), Y.dtype)
    d, b, c, v, y = (
        np.zeros(width, Y.dtype), np.empty(width, Y.dtype), np.empty(width, Y.dtype), np.empty(width, Y.dtype),
        np.empty(width, Y.dtype),
    )  # fmt: skip
    z, inverse = np.empty(width, Y.dtype), np.empty(width, Y.dtype)
    for row in range(len(rows)):
        u = rows[row]
        begin, end = indptr[u], indptr[u + 1]
        n = end - begin
        x = X[u - first]
        x[:] = 0.0
        losses[u] = 0.0
        if n == 0:
            continue
        s_u: Any = s[u] if len(m) > 0 else Y.dtype.type(0)
        least = list_observations(begin, end, indices, targets, weights, s_u, m, o, at, q, r)
        diagonal_of(ridge[u], k, s_u, g, d)
        if not (is_positive(d, k) and least > 0.0):
            losses[u, 0] = LEFT
            continue
        for a in range(k):
            d[a] = 1.0 / np.sqrt(d[a])
        if biases:
            for p in range(n):
                ones[p] = cell(weights, begin + p)
        dual = n < DUAL_BELOW * k
        unknowns = padded(n) if dual else width
        b[:unknowns] = 0.0
        c[:unknowns] = 0.0
        if dual:
            gather(0, n, at, q, r, ones, biases, Y, d, Z)
            for p in range(n, unknowns):
                Z[p] = 0.0
            transpose(Z, unknowns, width, T)
            add_products(U, True, T, width, unknowns, Y, indices, end, min(end + GATHERED, len(indices)))
            copy(r, n, b)
            if biases:
                copy(ones, n, c)
        else:
            for start in range(0, n, GATHERED):
                stop = min(start + GATHERED, n)
                gather(start, stop, at, q, r, ones, biases, Y, d, Z)
                ahead = min(begin + stop + GATHERED, len(indices))
                add_products(U, start == 0, Z, stop - start, width, Y, indices, begin + stop, ahead)
                add_scaled(Z, 0, stop - start, r[start:stop], width, b)
                if biases:
                    add_scaled(Z, 0, stop - start, ones[start:stop], width, c)
        for a in range(unknowns):
            U[a, a] += 1.0
        sound = factor(U, unknowns, inverse)
        copy(b, unknowns, z)
        solve_factored(U, unknowns, inverse, z, v)
        bias: Any = Y.dtype.type(0)
        if biases:
            copy(c, unknowns, z)
            solve_factored(U, unknowns, inverse, z, y)
            h = pull = through = by_itself = np.float64(0.0)
            for p in range(begin, end):
                h += cell(weights, p)
                pull += cell(weights, p) * (cell(targets, p) - o[np.intp(indices[p])])
            h += ridge[u] * bias_ratio
            for a in range(unknowns):  # cᵀ B⁻¹ b and cᵀ B⁻¹ c; in the dual Z v = r − a
                through += c[a] * (b[a] - v[a] if dual else v[a])
                by_itself += c[a] * (c[a] - y[a] if dual else y[a])
            pivot = h - by_itself
            sound = sound and pivot > unknowns * np.finfo(Y.dtype).eps * h
            bias = Y.dtype.type((pull - through) / pivot)
            for a in range(unknowns):
                v[a] -= bias * y[a]
            x[k] = bias
        if not sound:
            x[:] = 0.0
            losses[u, 0] = LEFT
            continue
        if dual:
            for p in range(n):  # Z v = Z Zᵀ a
                xy[p] = (r[p] - v[p] - (bias * ones[p] if biases else 0.0)) / np.sqrt(q[p])
            copy(v, n, b)
            v[:] = 0.0
            add_scaled(Z, 0, n, b, width, v)
        for a in range(width):
            v[a] *= d[a]
        copy(v, k, x)
        if scored:
            for p in range(0, 0 if dual else n, PANEL):
                dot_listed(Y, at, p, 0, v, xy, width)
            score(begin, end, indices, targets, weights, m, o, bias, xy, losses[u])
