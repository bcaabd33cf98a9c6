"""The exact half-step at higher ranks: one system at a time, at nearly the speed of a matrix product.

Legend as in ``cholesky.py``; here G is diagonal, which it is once Y has been rotated into its eigenvectors.

    D   s_u g + Λ            the diagonal that a row's observations are added to
    Z   √(w − s_u m_i) y D^-½  the row's observations, gathered and scaled
    r   w (t − o_i) / √(w − s_u m_i)

With these the system A x = b becomes, for x = D^-½ v,

    (I + Zᵀ Z) v = Zᵀ r                        K unknowns: the primal
    v = Zᵀ a,  (I + Z Zᵀ) a = r                as many as the row has observations: the dual

which are the same v (Woodbury). Most rows of real data are shorter than K, and their dual costs a fraction of their
primal. Both are sums of outer products, and then the factorisation I + … = Uᵀ U, whose rows are found four at a time
from all rows above: nearly all of the arithmetic is in `add_tile`, and all of it on contiguous vectors in the caches.

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
from halfstep.kernels._panels import add_rows, dot_panel, dot_row
from halfstep.kernels._tiles import (
    PANEL_ROWS,
    TILE_ROWS,
    add_tile,
    factor_panel,
    gather_scaled,
    prefetch_row,
    subtract_tile,
    transpose_block,
)
from halfstep.kernels._vector import WIDE_PADDING

Floats = NDArray[np.floating]
Doubles = NDArray[np.float64]
Ints = NDArray[np.integer]

GATHERED = 64  # observations that are multiplied at once, while the caches hold them
DUAL_BELOW = 0.9  # observations per unknown below which the dual is the cheaper
SOLVED_ROWS = 16  # of a triangle that are solved together: whole vectors in either precision
AHEAD = 8  # observations that are on their way from memory while one is gathered
KEPT_BYTES = 1 << 18  # of gathered observations; a longer row is gathered again for its loss
LEFT = -1.0  # in `losses`: the row was not solved


@kernel
def add_products(A: Floats, Z: Floats, first: int, n: int, rows: int) -> None:
    """A += Σ_p z_p z_pᵀ over the rows first … first + n − 1 of Z: its first `rows` rows, from the diagonal on."""
    lanes = WIDE_BYTES // A.itemsize
    for a in range(0, rows, TILE_ROWS):
        c = a - a % lanes
        while c < rows:  # four are two and two: a tile of one vector waits for its own sums
            left = (rows - c) // lanes
            if left == 3 or left > 4:
                add_tile(A, Z, first, n, a, c, 3)
                c += 3 * lanes
            elif left > 1:
                add_tile(A, Z, first, n, a, c, 2)
                c += 2 * lanes
            else:
                add_tile(A, Z, first, n, a, c, 1)
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
    """Solve Uᵀ U v = b, some rows at a time; b is overwritten."""
    for a in range(0, rows, SOLVED_ROWS):
        for p in range(a, a + SOLVED_ROWS):
            z = b[p]
            for q in range(a, p):
                z -= U[q, p] * v[q]
            v[p] = z * inverse[p]
            b[p] = -v[p]
        subtract_rows(U, a, rows, b)
    for a in range(rows - SOLVED_ROWS, -1, -SOLVED_ROWS):
        dot_panel(U, a, a + SOLVED_ROWS, rows, v, v, SOLVED_ROWS)
        for p in range(a + SOLVED_ROWS - 1, a - 1, -1):
            z = v[p]
            for q in range(p + 1, a + SOLVED_ROWS):
                z -= U[p, q] * v[q]
            v[p] = z * inverse[p]


@kernel
def subtract_rows(U: Floats, a: int, width: int, b: Floats) -> None:
    """b[a+16:width] += U[a:a+16, a+16:width]ᵀ b[a:a+16]."""
    lanes = WIDE_BYTES // U.itemsize
    c = a + SOLVED_ROWS
    while c + 4 * lanes <= width:
        add_rows(U, a, SOLVED_ROWS, b, c, b, 4)
        c += 4 * lanes
    while c < width:
        add_rows(U, a, SOLVED_ROWS, b, c, b, 1)
        c += lanes


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
def scale_of(d: Floats, K: int) -> bool:
    """Make 1 / √d of the first K of d, in place; False if one is not a positive number."""
    sound = True
    for c in range(K):
        sound = sound and d[c] > 0.0 and d[c] < np.inf
        d[c] = 1.0 / np.sqrt(d[c])
    return sound


@kernel
def gather(
    begin: int, end: int, indices: Ints, targets: Floats, weights: Floats, s: float, m: Floats, o: Floats, Y: Floats,
    d: Floats, Z: Floats, r: Floats, root: Floats,
) -> bool:  # fmt: skip
    """Gather the observations begin … end − 1 of a row into Z and r, and 1 / √(w − s m_i) into root.

    False if one of w − s m_i is not positive.
    """
    width = Y.shape[1]
    for p in range(min(AHEAD, end - begin)):
        prefetch_row(Y, np.intp(indices[begin + p]), width)
    for p in range(end - begin):
        if begin + p + AHEAD < end:
            prefetch_row(Y, np.intp(indices[begin + p + AHEAD]), width)
        i = np.intp(indices[begin + p])
        w = weights[begin + p]
        q = w - s * m[i] if len(m) > 0 else w
        if not q > 0.0:
            return False
        root[p] = 1 / np.sqrt(q)
        gather_scaled(Y, i, q * root[p], d, Z, p, width)
        r[p] = w * (targets[begin + p] - o[i]) * root[p]
    return True


@kernel
def score(
    begin: int, end: int, indices: Ints, targets: Floats, weights: Floats, m: Floats, o: Floats, xy: Floats,
    sums: Doubles,
) -> None:  # fmt: skip
    """Add Σ w (t − o_i − x·y)² and Σ m_i (x·y)² over the observations begin … end − 1 to sums, given x·y of each."""
    for p in range(end - begin):
        i = np.intp(indices[begin + p])
        product = np.float64(xy[p])
        sums[0] += np.float64(weights[begin + p]) * (np.float64(targets[begin + p]) - o[i] - product) ** 2
        if len(m) > 0:
            sums[1] += np.float64(m[i]) * product * product


@kernel
def solve_blocked(
    rows: Ints, indptr: Ints, indices: Ints, targets: Floats, weights: Floats, s: Floats, m: Floats, g: Floats,
    ridge: Floats, bias_ratio: float, k: int, biases: bool, o: Floats, Y: Floats, first: int, X: Floats,
    scored: bool, losses: Doubles,
) -> None:  # fmt: skip
    """Solve the given rows: row u into X[u − first].

    If `scored`, ``losses[u]`` becomes Σ w (t − o_i − x·y)² and Σ m_i (x·y)² over its observations; in any case its
    first becomes `LEFT` if the row is left to others. `s`, `m` and `g` are empty where missing cells have no weight;
    with biases they must be.
    """
    K = k + 1 if biases else k
    width = Y.shape[1]
    kept = max(width, KEPT_BYTES // (width * Y.itemsize) // GATHERED * GATHERED)
    Z = np.zeros((kept, width), Y.dtype)
    T = np.zeros((width, width), Y.dtype)
    U = np.empty((width, width), Y.dtype)
    r, root, xy = np.zeros(kept, Y.dtype), np.empty(kept, Y.dtype), np.empty(kept, Y.dtype)
    d, b = np.zeros(width, Y.dtype), np.empty(width, Y.dtype)
    v, inverse = np.empty(width, Y.dtype), np.empty(width, Y.dtype)
    missing = len(m) > 0
    for row in range(len(rows)):
        u = rows[row]
        begin, end = indptr[u], indptr[u + 1]
        n = end - begin
        x = X[u - first]
        x[:] = 0.0
        losses[u] = 0.0
        if n == 0:
            continue
        s_u: Any = s[u] if missing else Y.dtype.type(0)
        for c in range(K):
            d[c] = ridge[u] * (bias_ratio if c == k else 1.0) + (s_u * g[c] if missing else 0.0)
        if not scale_of(d, K):
            losses[u, 0] = LEFT
            continue
        dual = n < DUAL_BELOW * K
        unknowns = -(-n // WIDE_PADDING) * WIDE_PADDING if dual else width
        U[:unknowns, :unknowns] = 0.0
        for a in range(unknowns):
            U[a, a] = 1.0
        b[:] = 0.0
        left = False
        for start in range(begin, end, kept):
            stop = min(start + kept, end)
            if not gather(start, stop, indices, targets, weights, s_u, m, o, Y, d, Z, r, root):
                left = True
                break
            if dual:
                for p in range(n, unknowns):
                    Z[p] = 0.0
                    r[p] = 0.0
                transpose(Z, unknowns, width, T)
                add_products(U, T, 0, width, unknowns)
                b[:unknowns] = r[:unknowns]
            else:
                for block in range(0, stop - start, GATHERED):
                    among = min(GATHERED, stop - start - block)
                    add_products(U, Z, block, among, width)
                    add_scaled(Z, block, among, r, width, b)
        if left or not factor(U, unknowns, inverse):
            losses[u, 0] = LEFT
            continue
        solve_factored(U, unknowns, inverse, b, v)
        if dual:
            b[:] = v
            v[:] = 0.0
            add_scaled(Z, 0, n, b, width, v)
            for p in range(n):
                xy[p] = root[p] * (r[p] - b[p])  # Z v = Z Zᵀ a
        for c in range(K):
            x[c] = v[c] * d[c]
        for start in range(begin, end if scored else begin, kept):
            stop = min(start + kept, end)
            if n > kept:
                gather(start, stop, indices, targets, weights, s_u, m, o, Y, d, Z, r, root)
            for p in range(stop - start if not dual else 0):
                xy[p] = root[p] * dot_row(Z, p, 0, width, v)
            score(start, stop, indices, targets, weights, m, o, xy, losses[u])
