"""The half-step by a few steps of conjugate gradients, from where each row was before.

Legend as in ``blocked.py``. In its scaled unknowns a row's system is (I + Zᵀ Z) v = Zᵀ r, whose matrix is never made:
a step needs one product Zᵀ (Z p), which is one pass over the row's observations while the caches hold them, 4 n K
multiply-adds where the factorisation sums n K² / 2. G costs nothing, being diagonal here; and the scaling by D is
Jacobi's preconditioner of all that G and λ contribute.

From one iteration to the next a row's solution moves little, so that few steps from the last one leave an error far
below what the next iteration changes. The objective falls with every step: what is approached is what the exact
half-step solves for, and so is the optimum of the alternation.

Why it is written out: libraries take the matrix as a function, and call it per row.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from halfstep.kernels._jit import kernel
from halfstep.kernels._tiles import SOLVED_ROWS, dot_panel, dot_row
from halfstep.kernels.blocked import GATHERED, KEPT_BYTES, LEFT, add_scaled, gather, scale_of, score

Floats = NDArray[np.floating]

BLOCK_BYTES = 1 << 14  # of observations that are read twice in a row, so that the first-level cache has them still
Doubles = NDArray[np.float64]
Ints = NDArray[np.integer]


@kernel
def subtract_normal(Z: Floats, n: int, r: Floats, has_targets: bool, v: Floats, t: Floats, q: Floats) -> None:
    """Add Zᵀ (r − Z v) to q, over the first n rows of Z; without targets r counts as 0."""
    width = len(v)
    at_once = max(SOLVED_ROWS, BLOCK_BYTES // (width * v.itemsize) // SOLVED_ROWS * SOLVED_ROWS)
    for block in range(0, n, at_once):
        among = min(at_once, n - block)
        for p in range(block, block + among):
            t[p] = r[p] if has_targets else 0.0
        for p in range(block, block + among, SOLVED_ROWS):
            dot_panel(Z, p, 0, width, v, t)
        add_scaled(Z, block, among, t, width, q)


@kernel
def approach_rows(
    rows: Ints, indptr: Ints, indices: Ints, targets: Floats, weights: Floats, s: Floats, m: Floats, g: Floats,
    ridge: Floats, bias_ratio: float, k: int, biases: bool, o: Floats, Y: Floats, first: int, X: Floats, steps: int,
    scored: bool, losses: Doubles,
) -> None:  # fmt: skip
    """Take some steps towards the solution of the given rows, from X[u − first]; otherwise as `solve_blocked`."""
    K = k + 1 if biases else k
    width = Y.shape[1]
    kept = max(width, KEPT_BYTES // (width * Y.itemsize) // GATHERED * GATHERED)
    Z = np.zeros((kept, width), Y.dtype)
    r, root = np.zeros(kept, Y.dtype), np.empty(kept, Y.dtype)
    t, zv = np.zeros(kept, Y.dtype), np.empty(kept, Y.dtype)
    d, v = np.zeros(width, Y.dtype), np.zeros(width, Y.dtype)
    q, left, p = np.zeros(width, Y.dtype), np.zeros(width, Y.dtype), np.zeros(width, Y.dtype)
    missing = len(m) > 0
    eps, tiny = np.finfo(Y.dtype).eps, np.finfo(Y.dtype).tiny
    for row in range(len(rows)):
        u = rows[row]
        begin, end = indptr[u], indptr[u + 1]
        x = X[u - first]
        losses[u] = 0.0
        if begin == end:
            x[:] = 0.0
            continue
        is_long = end - begin > kept
        s_u: Any = s[u] if missing else Y.dtype.type(0)
        for c in range(K):
            d[c] = ridge[u] * (bias_ratio if c == k else 1.0) + (s_u * g[c] if missing else 0.0)
        sound = scale_of(d, K)
        for c in range(K):
            v[c] = x[c] / d[c] if sound else 0.0
        q[:] = 0.0
        for start in range(begin, end, kept):
            stop = min(start + kept, end)
            sound = sound and gather(start, stop, indices, targets, weights, s_u, m, o, Y, d, Z, r, root)
            if sound:
                subtract_normal(Z, stop - start, r, True, v, t, q)
                for place in range(stop - start):
                    zv[place] = r[place] - t[place]
        if not sound:
            losses[u, 0] = LEFT
            continue
        squares = Y.dtype.type(0)
        for c in range(width):
            left[c] = q[c] - v[c]
            p[c] = left[c]
            squares += left[c] * left[c]
        least = max(squares * eps * eps, tiny)  # from where on rounding is all that moves
        for _ in range(steps):
            if not squares > least:
                break
            q[:] = 0.0
            for start in range(begin, end, kept):
                stop = min(start + kept, end)
                if is_long:
                    gather(start, stop, indices, targets, weights, s_u, m, o, Y, d, Z, r, root)
                subtract_normal(Z, stop - start, r, False, p, t, q)
            pq = Y.dtype.type(0)
            for c in range(width):
                q[c] = p[c] - q[c]  # (I + Zᵀ Z) p
                pq += p[c] * q[c]
            length = squares / pq
            for place in range(0 if is_long else end - begin):
                zv[place] -= length * t[place]  # t is − Z p
            before, squares = squares, Y.dtype.type(0)
            for c in range(width):
                v[c] += length * p[c]
                left[c] -= length * q[c]
                squares += left[c] * left[c]
            for c in range(width):
                p[c] = left[c] + squares / before * p[c]
        for c in range(K):
            x[c] = v[c] * d[c]
        for start in range(begin, end if scored else begin, kept):
            stop = min(start + kept, end)
            if is_long:
                gather(start, stop, indices, targets, weights, s_u, m, o, Y, d, Z, r, root)
                for place in range(stop - start):
                    zv[place] = dot_row(Z, place, 0, width, v)
            score(start, stop, indices, targets, weights, m, o, zv, root, losses[u])
