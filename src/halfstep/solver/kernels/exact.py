"""The exact half-step at higher ranks: one system at a time, at nearly the speed of a matrix product.

Legend as in ``small_systems.py``; G is diagonal here, because rows are solved in a `Basis`.

    X   solved, Y fixed, b and G as there; reg is λ_u
    D   s_u g + λ_u            diagonal, to which the sum over observed cells is added
    Z   √(w − s_u m_i) y D^-½  the observed cells, gathered and scaled
    r   w (t − o_i) / √(w − s_u m_i)
    c   Σ w y                  the row of the bias in A

With x = D^-½ v, the system A x = b becomes

    (I + Zᵀ Z) v = Zᵀ r                    the primal, with K unknowns
    v = Zᵀ a,  (I + Z Zᵀ) a = r            the dual, with one unknown per observed cell

which have the same solution (Woodbury). A prior adds e = D^-½ Λ x̄ to Zᵀ r, so that the dual is
(I + Z Zᵀ) a = r − Z e, v = e + Zᵀ a. Most rows of real data have fewer observed cells than K, so that the dual is
much cheaper. Both are sums of outer products, followed by the factorization I + … = Uᵀ U. Nearly all of the
arithmetic is in `add_tile`, on contiguous vectors in the cache.

A bias is one more unknown, without weights of missing cells. It is eliminated last: with B for the block of the
factors and h = Σ w + ρ λ_u,

    b_u = (Σ w (t − o_i) − cᵀ B⁻¹ Σ w (t − o_i) y) / (h − cᵀ B⁻¹ c)

without a prior, which adds Λ x̄ to both sums.

No pivot is below 1 except for rounding, whatever the weights. Rows that lose precision, or in which w − s_u m_i is
negative, are left to ``small_systems.py``.

BLAS is not used, because it expects contiguous matrices, while the rows of Y are scattered in memory.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from halfstep._support.jit import inner, kernel
from halfstep.solver.kernels._panels import PANEL, dot_listed, gather_panel
from halfstep.solver.kernels.argument_groups import Base, CellArrays, Fixed
from halfstep.solver.kernels.dense import (
    add_products,
    add_scaled,
    aligned,
    copy,
    divide,
    factor,
    padded,
    rsqrt_in_place,
    solve_factored,
    solve_upper,
    sqrt_in_place,
    transpose,
    unfold,
)
from halfstep.solver.kernels.observations import (
    UNSOLVED,
    RowCells,
    cell,
    is_uniform,
    longest_row,
    prepare_row,
    read_pull,
    score,
    score_uniform,
)

Floats = NDArray[np.floating]
Float64Array = NDArray[np.float64]
Ints = NDArray[np.integer]

CELLS_PER_PRODUCT = 64  # observed cells that are multiplied at once, as many as the cache holds
SMALLEST_RATIO = 0.1  # smallest ratio of w − s m to w at which the loss or bias is computed by subtraction
DUAL_BELOW = 0.9  # ratio of observed cells to unknowns below which the dual is faster


class SystemBuffers(NamedTuple):
    """Buffers for the system of one row, primal or dual, and for its solution.

    Attributes
    ----------
    row_cells : RowCells
        The observed cells; q is replaced by √q, and r by r / √q.
    d : ndarray
        D, replaced by D^-½.
    e : ndarray
        e, or 0 without a prior.
    ones : ndarray
        w / √(w − s m_i), whose sum of products with Z is c; empty without biases.
    Z, T : ndarray
        The gathered cells, and Zᵀ.
    U : ndarray
        I + …, replaced by its factor.
    b, c : ndarray
        Right-hand sides of the factors and of the bias.
    v, y : ndarray
        Their solutions.
    inverse, z : ndarray
        Inverted pivots, and a buffer for right-hand sides.
    """

    row_cells: RowCells
    d: Floats
    e: Floats
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
def gather(first: int, last: int, Y: Floats, system: SystemBuffers) -> None:
    """Gather the observed cells first … last − 1 of a row into Z, scaled by √(w − s m_i) and d; b += Σ r z.

    Whole panels are gathered: the cells that pad the last one have weight 0, so that the rows of Z are 0.
    """
    at, root, r = system.row_cells
    Z = system.Z
    for p in range(first, last, PANEL):
        gather_panel(Y, at, p, 0, root, system.d, r, Z, p - first, system.b, Z.shape[1])


@inner
def sum_primal(begin: int, n: int, indices: Ints, Y: Floats, system: SystemBuffers) -> None:
    """Compute U = Zᵀ Z, b = Zᵀ r + e and, with biases, c = Zᵀ ones of a row, in batches of observed cells."""
    ones, Z, b, c = system.ones, system.Z, system.b, system.c
    width = len(b)
    copy(system.e, width, b)
    c[:] = 0.0
    for start in range(0, n, CELLS_PER_PRODUCT):
        stop = min(start + CELLS_PER_PRODUCT, n)
        gather(start, stop, Y, system)
        ahead = min(begin + stop + CELLS_PER_PRODUCT, len(indices))
        add_products(system.U, start == 0, Z, stop - start, width, Y, indices, begin + stop, ahead)
        if len(ones) > 0:
            add_scaled(Z, 0, stop - start, ones[start:stop], width, c)


@inner
def sum_dual(begin: int, n: int, indices: Ints, Y: Floats, system: SystemBuffers) -> None:
    """Compute U = Z Zᵀ, b = r and, with biases, c = ones of a row, padded with zeros."""
    ones, Z, T, b, c = system.ones, system.Z, system.T, system.b, system.c
    width, unknowns = len(b), padded(n)
    gather(0, n, Y, system)
    for p in range(n, unknowns):
        Z[p] = 0.0
    transpose(Z, unknowns, width, T)
    end = begin + n
    add_products(system.U, True, T, width, unknowns, Y, indices, end, min(end + CELLS_PER_PRODUCT, len(indices)))
    b[:] = 0.0
    c[:] = 0.0
    copy(system.row_cells.r, n, b)
    if len(ones) > 0:
        copy(ones, n, c)


@inner
def bias_of(
    begin: int,
    end: int,
    cells: CellArrays,
    o: Floats,
    reg: float,
    bias_pull: float,
    unknowns: int,
    dual: bool,
    system: SystemBuffers,
) -> tuple[float, bool]:
    """Return the bias of a row from the solutions v and y, and whether it is accurate."""
    _, indices, targets, weights = cells
    b, c, v, y = system.b, system.c, system.v, system.y
    h, rhs, cBb, cBc = np.float64(reg), np.float64(bias_pull), np.float64(0.0), np.float64(0.0)
    for p in range(begin, end):
        h += cell(weights, p)
        rhs += cell(weights, p) * (cell(targets, p) - o[np.uintp(indices[p])])
    for a in range(unknowns):  # cᵀ B⁻¹ b and cᵀ B⁻¹ c; in the dual Z v = r − a, also with a prior
        cBb += c[a] * (b[a] - v[a] if dual else v[a])
        cBc += c[a] * (c[a] - y[a] if dual else y[a])
    pivot = h - cBc
    return (rhs - cBb) / pivot, bool(pivot > unknowns * np.finfo(v.dtype).eps * h)


@inner
def scale(begin: int, n: int, weights: Floats, fixed: Fixed, system: SystemBuffers) -> bool:
    """Scale d, e, q, r and ones of a row; return whether to solve the dual."""
    _, root, r = system.row_cells
    ones = system.ones
    rsqrt_in_place(fixed.k, system.d)
    for a in range(fixed.k):
        system.e[a] *= system.d[a]
    sqrt_in_place(n, root)
    divide(n, root, r)
    dual = n < DUAL_BELOW * fixed.k
    if fixed.biases:
        for p in range(n):
            ones[p] = cell(weights, begin + p)
            dual = dual and root[p] * root[p] >= SMALLEST_RATIO * ones[p]  # else the bias suffers from cancellation
        divide(n, root, ones)
    return dual


@inner
def solve_system(
    begin: int,
    end: int,
    cells: CellArrays,
    fixed: Fixed,
    reg: float,
    pulls: tuple[bool, float],
    dual: bool,
    system: SystemBuffers,
) -> tuple[Any, bool]:
    """Solve the system for v; return the row's bias, and whether the solution is accurate.

    `pulls` has whether there is a prior, and what it adds to the right-hand side of the bias.
    """
    U, v, y, inverse, z = system.U, system.v, system.y, system.inverse, system.z
    unknowns = padded(end - begin) if dual else len(v)
    unfold(U, unknowns)
    copy(system.b, unknowns, z)
    if dual and pulls[0]:
        y[:] = 0.0
        add_scaled(system.T, 0, len(v), system.e, unknowns, y)
        for p in range(unknowns):
            z[p] -= y[p]
    is_accurate = factor(U, unknowns, inverse, z, v)
    solve_upper(U, unknowns, inverse, v)
    bias: Any = v.dtype.type(0)
    if fixed.biases:
        copy(system.c, unknowns, z)
        solve_factored(U, unknowns, inverse, z, y)
        best, bias_is_accurate = bias_of(begin, end, cells, fixed.o, reg, pulls[1], unknowns, dual, system)
        bias, is_accurate = v.dtype.type(best), is_accurate and bias_is_accurate
        for a in range(unknowns):
            v[a] -= bias * y[a]
    return bias, is_accurate


@inner
def unscale(n: int, dual: bool, system: SystemBuffers) -> tuple[np.float64, np.float64]:
    """Replace v by the factors x = D^-½ v; return bᵀv and vᵀv."""
    d, b, v, z = system.d, system.b, system.v, system.z
    width = len(v)
    if dual:
        copy(v, n, z)
        copy(system.e, width, v)
        add_scaled(system.Z, 0, n, z, width, v)
    bv = vv = np.float64(0.0)
    for a in range(width):
        bv += np.float64(b[a]) * np.float64(v[a])
        vv += np.float64(v[a]) * np.float64(v[a])
        v[a] *= d[a]
    return bv, vv


@kernel
def solve_large_systems(
    rows: Ints,
    cells: CellArrays,
    base: Base,
    fixed: Fixed,
    pull: Floats,
    first: int,
    X: Floats,
    losses: Float64Array,
) -> None:
    """Solve the given rows, row u into X[u − first].

    Row u − first of `pull` has Λ x̄ of a prior for the unknowns of row u; it is empty without one.
    If `losses` has two columns, ``losses[u]`` becomes Σ w (t − o_i − x·y)² and Σ m_i (p·q)² over the observed cells.
    In any case, its first becomes `UNSOLVED` if the row is not solved.
    """
    indptr, indices, weights, Y = cells.indptr, cells.indices, cells.weights, fixed.Y
    width, dtype, scored = padded(fixed.k), Y.dtype, losses.shape[1] > 1
    longest = longest_row(rows, indptr)
    room = longest + width
    row_cells = RowCells(np.empty(room, np.intp), np.empty(room, dtype), np.empty(room, dtype))
    at, xy, ones = row_cells.at, np.empty(room, dtype), np.empty(room if fixed.biases else 0, dtype)
    Z = aligned(max(width, CELLS_PER_PRODUCT), width, Y)
    T = aligned(width, padded(min(longest, width)), Y)  # not wider, because its columns fall into few cache sets
    U, vectors = aligned(width, width, Y), aligned(8, width, Y)
    inverse, z, b, c, v, y = vectors[1], vectors[2], vectors[3], vectors[4], vectors[5], vectors[6]
    d, e = vectors[0], vectors[7]
    system = SystemBuffers(row_cells, d, e, ones, Z, T, U, b, c, v, y, inverse, z)
    for row in range(len(rows)):
        u = rows[row]
        begin, end = indptr[u], indptr[u + 1]
        n = end - begin
        x = X[u - first]
        x[:] = 0.0
        losses[u] = 0.0
        if n == 0:
            continue
        least = prepare_row(u, cells, base, fixed, row_cells, d)
        if not least >= 0.0:
            losses[u, 0] = UNSOLVED
            continue
        pulls = len(pull) > 0, read_pull(u - first, pull, fixed, e)
        dual = scale(begin, n, weights, fixed, system)
        if dual:
            sum_dual(begin, n, indices, Y, system)
        else:
            sum_primal(begin, n, indices, Y, system)
        reg = base.reg[u] * base.bias_ratio
        bias, is_accurate = solve_system(begin, end, cells, fixed, reg, pulls, dual, system)
        if not is_accurate:
            losses[u, 0] = UNSOLVED
            continue
        bv, vv = unscale(n, dual, system)
        copy(v, fixed.k, x)
        if fixed.biases:
            x[fixed.k] = bias
        is_scored = not scored
        if scored and not dual and not pulls[0] and is_uniform(cells, fixed) and least > SMALLEST_RATIO * weights[0]:
            is_scored = score_uniform(n, cells, fixed, least, bv, vv, losses[u])
        if not is_scored:
            for p in range(0, n, PANEL):
                dot_listed(Y, at, p, 0, v, xy, width)
            score(begin, end, cells, fixed, bias, xy, losses[u])
