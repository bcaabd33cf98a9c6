"""The exact half-step at higher ranks: one system at a time, at nearly the speed of a matrix product.

Legend as in ``cholesky.py``; here what missing cells add is diagonal, as it is in the unknowns of a `Basis`.

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
w − s_u m_i are negative, are left for ``cholesky.py``.

Why it is written out: libraries solve a system that is there already, and this one's rows lie all over memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from halfstep._support.jit import inner, kernel
from halfstep.solver.kernels._panels import PANEL, dot_listed, gather_panel
from halfstep.solver.kernels.dense import (
    add_products,
    add_scaled,
    aligned,
    copy,
    divide,
    factor,
    invert_roots,
    padded,
    solve_factored,
    solve_second,
    take_roots,
    transpose,
    unfold,
)
from halfstep.solver.kernels.observations import (
    LEFT,
    are_alike,
    cell,
    diagonal_of,
    is_positive,
    list_observations,
    longest_of,
    score,
    score_alike,
)

Floats = NDArray[np.floating]
Doubles = NDArray[np.float64]
Ints = NDArray[np.integer]

GATHERED = 64  # observations that are multiplied at once, while the caches hold them
CLEAR = 0.1  # share of w that w − s m must be where a row's score or bias is a difference, or it loses precision
DUAL_BELOW = 0.9  # observations per unknown below which the dual is the cheaper


@inner
def gather(
    first: int, last: int, at: Ints, root: Floats, r: Floats, Y: Floats, d: Floats, Z: Floats, b: Floats
) -> None:
    """Gather the observations first … last − 1 of a row into Z, scaled by √(w − s m_i) and d; b += Σ r z.

    Panels are whole: rows of Z beyond the last become 0, as the observations that are listed there have no weight.
    """
    for p in range(first, last, PANEL):
        gather_panel(Y, at, p, 0, root, d, r, Z, p - first, b, Z.shape[1])


@inner
def sum_primal(
    begin: int, n: int, indices: Ints, at: Ints, root: Floats, r: Floats, ones: Floats, Y: Floats, d: Floats,
    Z: Floats, U: Floats, b: Floats, c: Floats,
) -> None:  # fmt: skip
    """U = Zᵀ Z, b = Zᵀ r and, where there are `ones`, c = Zᵀ ones of a row, some of its observations at a time."""
    width = len(b)
    b[:] = 0.0
    c[:] = 0.0
    for start in range(0, n, GATHERED):
        stop = min(start + GATHERED, n)
        gather(start, stop, at, root, r, Y, d, Z, b)
        ahead = min(begin + stop + GATHERED, len(indices))
        add_products(U, start == 0, Z, stop - start, width, Y, indices, begin + stop, ahead)
        if len(ones) > 0:
            add_scaled(Z, 0, stop - start, ones[start:stop], width, c)


@inner
def sum_dual(
    begin: int, n: int, indices: Ints, at: Ints, root: Floats, r: Floats, ones: Floats, Y: Floats, d: Floats,
    Z: Floats, T: Floats, U: Floats, b: Floats, c: Floats,
) -> None:  # fmt: skip
    """U = Z Zᵀ, b = r and, where there are `ones`, c = ones of a row, padded with zeros."""
    width, unknowns = len(b), padded(n)
    gather(0, n, at, root, r, Y, d, Z, b)
    for p in range(n, unknowns):
        Z[p] = 0.0
    transpose(Z, unknowns, width, T)
    end = begin + n
    add_products(U, True, T, width, unknowns, Y, indices, end, min(end + GATHERED, len(indices)))
    b[:] = 0.0
    c[:] = 0.0
    copy(r, n, b)
    if len(ones) > 0:
        copy(ones, n, c)


@inner
def bias_of(
    begin: int, end: int, indices: Ints, targets: Floats, weights: Floats, o: Floats, ridge: float, unknowns: int,
    dual: bool, b: Floats, c: Floats, v: Floats, y: Floats,
) -> tuple[float, bool]:  # fmt: skip
    """The bias of a row, given what its system makes of b (v) and of c (y); and whether it kept its digits."""
    h, pull, through, by_itself = np.float64(ridge), np.float64(0.0), np.float64(0.0), np.float64(0.0)
    for p in range(begin, end):
        h += cell(weights, p)
        pull += cell(weights, p) * (cell(targets, p) - o[np.uintp(indices[p])])
    for a in range(unknowns):  # cᵀ B⁻¹ b and cᵀ B⁻¹ c; in the dual Z v = r − a
        through += c[a] * (b[a] - v[a] if dual else v[a])
        by_itself += c[a] * (c[a] - y[a] if dual else y[a])
    pivot = h - by_itself
    return (pull - through) / pivot, bool(pivot > unknowns * np.finfo(v.dtype).eps * h)


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
    width, dtype = padded(k), Y.dtype
    room = longest_of(rows, indptr) + width
    at, root = np.empty(room, np.intp), np.empty(room, dtype)
    r, xy, ones = np.empty(room, dtype), np.empty(room, dtype), np.empty(room if biases else 0, dtype)
    Z = aligned(max(width, GATHERED), width, Y)
    T, U, vectors = aligned(width, width, Y), aligned(width, width, Y), aligned(7, width, Y)
    d, inverse, z = vectors[0], vectors[1], vectors[2]
    b, c, v, y = vectors[3], vectors[4], vectors[5], vectors[6]
    for row in range(len(rows)):
        u = rows[row]
        begin, end = indptr[u], indptr[u + 1]
        n = end - begin
        x = X[u - first]
        x[:] = 0.0
        losses[u] = 0.0
        if n == 0:
            continue
        s_u: Any = s[u] if len(m) > 0 else dtype.type(0)
        least = list_observations(begin, end, indices, targets, weights, s_u, m, o, at, root, r)
        diagonal_of(ridge[u], k, s_u, g, d)
        if not (is_positive(d, k) and least >= 0.0):
            losses[u, 0] = LEFT
            continue
        invert_roots(k, d)
        take_roots(n, root)
        divide(n, root, r)
        dual = n < DUAL_BELOW * k
        if biases:
            for p in range(n):
                ones[p] = cell(weights, begin + p)
                dual = dual and root[p] * root[p] >= CLEAR * ones[p]  # or its bias is a difference of large numbers
            divide(n, root, ones)
        if dual:
            sum_dual(begin, n, indices, at, root, r, ones, Y, d, Z, T, U, b, c)
        else:
            sum_primal(begin, n, indices, at, root, r, ones, Y, d, Z, U, b, c)
        unknowns = padded(n) if dual else width
        unfold(U, unknowns)
        copy(b, unknowns, z)
        sound = factor(U, unknowns, inverse, z, v)
        solve_second(U, unknowns, inverse, v)
        bias: Any = dtype.type(0)
        if biases:
            copy(c, unknowns, z)
            solve_factored(U, unknowns, inverse, z, y)
            best, has_digits = bias_of(
                begin, end, indices, targets, weights, o, ridge[u] * bias_ratio, unknowns, dual, b, c, v, y
            )
            bias, sound = dtype.type(best), sound and has_digits
            for a in range(unknowns):
                v[a] -= bias * y[a]
        if not sound:
            losses[u, 0] = LEFT
            continue
        if dual:
            copy(v, n, z)
            v[:] = 0.0
            add_scaled(Z, 0, n, z, width, v)
        pull = length = np.float64(0.0)
        for a in range(width):
            pull += np.float64(b[a]) * np.float64(v[a])
            length += np.float64(v[a]) * np.float64(v[a])
            v[a] *= d[a]
        copy(v, k, x)
        if biases:
            x[k] = bias
        is_scored = not scored
        if scored and not dual and are_alike(targets, weights, m, o) and least > CLEAR * weights[0]:
            is_scored = score_alike(n, targets, weights, m, o, least, pull, length, losses[u])
        if not is_scored:
            for p in range(0, n, PANEL):
                dot_listed(Y, at, p, 0, v, xy, width)
            score(begin, end, indices, targets, weights, m, o, bias, xy, losses[u])
