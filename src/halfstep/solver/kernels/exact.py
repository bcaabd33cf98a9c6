"""The exact half-step at higher ranks: one system at a time, at nearly the speed of a matrix product.

Legend as in ``small_systems.py``; here what missing cells add is diagonal, as it is in the unknowns of a `Basis`.

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
w − s_u m_i are negative, are left for ``small_systems.py``.

Why it is written out: libraries solve a system that is there already, and this one's rows lie all over memory.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from halfstep._support.jit import inner, kernel
from halfstep.solver.kernels._panels import PANEL, dot_listed, gather_panel
from halfstep.solver.kernels.arguments import Base, Cells, Fixed
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
    Listed,
    are_alike,
    cell,
    longest_of,
    score,
    score_alike,
    set_up_row,
)

Floats = NDArray[np.floating]
Doubles = NDArray[np.float64]
Ints = NDArray[np.integer]

GATHERED = 64  # observations that are multiplied at once, while the caches hold them
CLEAR = 0.1  # share of w that w − s m must be where a row's score or bias is a difference, or it loses precision
DUAL_BELOW = 0.9  # observations per unknown below which the dual is the cheaper


class System(NamedTuple):
    """Room for one row's system, in the primal or the dual, and for its solution.

    Attributes
    ----------
    listed : Listed
        The row's observations: q becomes √q, and r is divided by it.
    d : ndarray
        D, and then D^-½.
    ones : ndarray
        w / √(w − s m_i) of each observation, what c is the sum of; empty without biases.
    Z, T : ndarray
        The gathered observations, and Zᵀ.
    U : ndarray
        I + …, and then its factor.
    b, c : ndarray
        Right-hand sides: of the factors, and of the bias.
    v, y : ndarray
        Their solutions.
    inverse, z : ndarray
        What `factor` and its like leave, and overwrite.
    """

    listed: Listed
    d: Floats
    ones: Floats
    Z: Floats
    T: Floats
    U: Floats
    b: Floats
    c: Floats
    v: Floats
    y: Floats
    inverse: Floats
    z: Floats


@inner
def gather(first: int, last: int, Y: Floats, system: System) -> None:
    """Gather the observations first … last − 1 of a row into Z, scaled by √(w − s m_i) and d; b += Σ r z.

    Panels are whole: rows of Z beyond the last become 0, as the observations that are listed there have no weight.
    """
    at, root, r = system.listed
    Z = system.Z
    for p in range(first, last, PANEL):
        gather_panel(Y, at, p, 0, root, system.d, r, Z, p - first, system.b, Z.shape[1])


@inner
def sum_primal(begin: int, n: int, indices: Ints, Y: Floats, system: System) -> None:
    """U = Zᵀ Z, b = Zᵀ r and, where there are `ones`, c = Zᵀ ones of a row, some of its observations at a time."""
    ones, Z, b, c = system.ones, system.Z, system.b, system.c
    width = len(b)
    b[:] = 0.0
    c[:] = 0.0
    for start in range(0, n, GATHERED):
        stop = min(start + GATHERED, n)
        gather(start, stop, Y, system)
        ahead = min(begin + stop + GATHERED, len(indices))
        add_products(system.U, start == 0, Z, stop - start, width, Y, indices, begin + stop, ahead)
        if len(ones) > 0:
            add_scaled(Z, 0, stop - start, ones[start:stop], width, c)


@inner
def sum_dual(begin: int, n: int, indices: Ints, Y: Floats, system: System) -> None:
    """U = Z Zᵀ, b = r and, where there are `ones`, c = ones of a row, padded with zeros."""
    ones, Z, T, b, c = system.ones, system.Z, system.T, system.b, system.c
    width, unknowns = len(b), padded(n)
    gather(0, n, Y, system)
    for p in range(n, unknowns):
        Z[p] = 0.0
    transpose(Z, unknowns, width, T)
    end = begin + n
    add_products(system.U, True, T, width, unknowns, Y, indices, end, min(end + GATHERED, len(indices)))
    b[:] = 0.0
    c[:] = 0.0
    copy(system.listed.r, n, b)
    if len(ones) > 0:
        copy(ones, n, c)


@inner
def bias_of(
    begin: int, end: int, cells: Cells, o: Floats, reg: float, unknowns: int, dual: bool, system: System
) -> tuple[float, bool]:
    """The bias of a row, given what its system makes of b (v) and of c (y); and whether it kept its digits."""
    _, indices, targets, weights = cells
    b, c, v, y = system.b, system.c, system.v, system.y
    h, pull, through, by_itself = np.float64(reg), np.float64(0.0), np.float64(0.0), np.float64(0.0)
    for p in range(begin, end):
        h += cell(weights, p)
        pull += cell(weights, p) * (cell(targets, p) - o[np.uintp(indices[p])])
    for a in range(unknowns):  # cᵀ B⁻¹ b and cᵀ B⁻¹ c; in the dual Z v = r − a
        through += c[a] * (b[a] - v[a] if dual else v[a])
        by_itself += c[a] * (c[a] - y[a] if dual else y[a])
    pivot = h - by_itself
    return (pull - through) / pivot, bool(pivot > unknowns * np.finfo(v.dtype).eps * h)


@inner
def scale(begin: int, n: int, weights: Floats, fixed: Fixed, system: System) -> bool:
    """Scale d, q and r of a row as Z needs them, and write its ones; return whether its dual is to be solved."""
    _, root, r = system.listed
    ones = system.ones
    invert_roots(fixed.k, system.d)
    take_roots(n, root)
    divide(n, root, r)
    dual = n < DUAL_BELOW * fixed.k
    if fixed.biases:
        for p in range(n):
            ones[p] = cell(weights, begin + p)
            dual = dual and root[p] * root[p] >= CLEAR * ones[p]  # or its bias is a difference of large numbers
        divide(n, root, ones)
    return dual


@inner
def solve_system(
    begin: int, end: int, cells: Cells, fixed: Fixed, reg: float, dual: bool, system: System
) -> tuple[Any, bool]:
    """Solve the system that was summed, for v; return the row's bias, and whether the solution kept its digits."""
    U, v, y, inverse, z = system.U, system.v, system.y, system.inverse, system.z
    unknowns = padded(end - begin) if dual else len(v)
    unfold(U, unknowns)
    copy(system.b, unknowns, z)
    sound = factor(U, unknowns, inverse, z, v)
    solve_second(U, unknowns, inverse, v)
    bias: Any = v.dtype.type(0)
    if fixed.biases:
        copy(system.c, unknowns, z)
        solve_factored(U, unknowns, inverse, z, y)
        best, has_digits = bias_of(begin, end, cells, fixed.o, reg, unknowns, dual, system)
        bias, sound = v.dtype.type(best), sound and has_digits
        for a in range(unknowns):
            v[a] -= bias * y[a]
    return bias, sound


@inner
def unscale(n: int, dual: bool, system: System) -> tuple[np.float64, np.float64]:
    """Make the row's factors x = D^-½ v of v; return bᵀv and vᵀv."""
    d, b, v, z = system.d, system.b, system.v, system.z
    width = len(v)
    if dual:
        copy(v, n, z)
        v[:] = 0.0
        add_scaled(system.Z, 0, n, z, width, v)
    pull = length = np.float64(0.0)
    for a in range(width):
        pull += np.float64(b[a]) * np.float64(v[a])
        length += np.float64(v[a]) * np.float64(v[a])
        v[a] *= d[a]
    return pull, length


@kernel
def solve_blocked(rows: Ints, cells: Cells, base: Base, fixed: Fixed, first: int, X: Floats, losses: Doubles) -> None:
    """Solve the given rows: row u into X[u − first].

    If `losses` has two columns, ``losses[u]`` becomes Σ w (t − o_i − x·y)² and Σ m_i (p·q)² over its observations; in
    any case its first becomes `LEFT` if the row is left to others.
    """
    indptr, indices, weights, Y = cells.indptr, cells.indices, cells.weights, fixed.Y
    width, dtype, scored = padded(fixed.k), Y.dtype, losses.shape[1] > 1
    room = longest_of(rows, indptr) + width
    listed = Listed(np.empty(room, np.intp), np.empty(room, dtype), np.empty(room, dtype))
    at, xy, ones = listed.at, np.empty(room, dtype), np.empty(room if fixed.biases else 0, dtype)
    Z = aligned(max(width, GATHERED), width, Y)
    T, U, vectors = aligned(width, width, Y), aligned(width, width, Y), aligned(7, width, Y)
    d, v = vectors[0], vectors[5]
    system = System(listed, d, ones, Z, T, U, vectors[3], vectors[4], v, vectors[6], vectors[1], vectors[2])
    for row in range(len(rows)):
        u = rows[row]
        begin, end = indptr[u], indptr[u + 1]
        n = end - begin
        x = X[u - first]
        x[:] = 0.0
        losses[u] = 0.0
        if n == 0:
            continue
        least = set_up_row(u, cells, base, fixed, listed, d)
        if not least >= 0.0:
            losses[u, 0] = LEFT
            continue
        dual = scale(begin, n, weights, fixed, system)
        if dual:
            sum_dual(begin, n, indices, Y, system)
        else:
            sum_primal(begin, n, indices, Y, system)
        bias, sound = solve_system(begin, end, cells, fixed, base.reg[u] * base.bias_ratio, dual, system)
        if not sound:
            losses[u, 0] = LEFT
            continue
        pull, length = unscale(n, dual, system)
        copy(v, fixed.k, x)
        if fixed.biases:
            x[fixed.k] = bias
        is_scored = not scored
        if scored and not dual and are_alike(cells, fixed) and least > CLEAR * weights[0]:
            is_scored = score_alike(n, cells, fixed, least, pull, length, losses[u])
        if not is_scored:
            for p in range(0, n, PANEL):
                dot_listed(Y, at, p, 0, v, xy, width)
            score(begin, end, cells, fixed, bias, xy, losses[u])
