"""The half-step by a few steps of conjugate gradients, from where each row was before.

Legend as in ``exact.py``, and

    v   the row's solution so far            q   b − A v, what is left
    p   the direction of the next step       e   x·y of the row's observations

The matrix A = D + Σ (w − s m) y yᵀ is never made: a step needs A p alone, which is two products with the row's
observations, 2 n K multiply-adds where the factorisation sums n K² / 2. G costs nothing, being diagonal here; and as
the whole of D is at hand, dividing by it (Jacobi's preconditioner) takes account of all that G and λ contribute.

From one iteration to the next a row's solution moves little, so that few steps from the last one leave an error far
below what the next iteration changes. The objective falls with every step: what is approached is what the exact
half-step solves for, and so is the optimum of the alternation.

A bias is one more unknown, which no missing cell is predicted with: it keeps apart, in numbers of its own.

Observations are read where they lie. A copy of them would be contiguous, but takes as long to write as it saves:
after the first step the caches have them.

Why it is written out: libraries take the matrix as a function, and call it per row.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from halfstep._support.jit import inner, kernel
from halfstep.solver.kernels._panels import PANEL, add_normal
from halfstep.solver.kernels._tiles import prefetch_row
from halfstep.solver.kernels.arguments import Base, Cells, Fixed
from halfstep.solver.kernels.dense import copy, padded
from halfstep.solver.kernels.observations import (
    LEFT,
    Listed,
    cell,
    longest_of,
    score,
    set_up_row,
)

AHEAD = 16  # observations that are on their way from memory while one is read
NEXT = 64  # and of the next row, while this one is solved
CACHED_BYTES = 1 << 18  # of observations that each step finds in the caches still

Floats = NDArray[np.floating]
Doubles = NDArray[np.float64]
Ints = NDArray[np.integer]


class Path(NamedTuple):
    """Room for one row on the way to its solution.

    Attributes
    ----------
    listed : Listed
        The row's observations; r becomes what is multiplied with their features.
    xy, e : ndarray
        x·y of the observations, and p·y.
    d, inverse : ndarray
        D, and D⁻¹.
    v, q, p, Ap : ndarray
    """

    listed: Listed
    xy: Floats
    e: Floats
    d: Floats
    inverse: Floats
    v: Floats
    q: Floats
    p: Floats
    Ap: Floats


@inner
def ask_for(begin: int, end: int, indices: Ints, Y: Floats) -> None:
    """Ask for the first `PANEL` of the observations begin … end − 1 to be brought into the caches."""
    for p in range(begin, min(begin + PANEL, end)):
        prefetch_row(Y, np.intp(indices[p]), Y.shape[1])


@inner
def set_out(
    begin: int, end: int, cells: Cells, fixed: Fixed, reg: float, bias: Any, path: Path
) -> tuple[float, float, float]:
    """Find q and the first p from where the row was.

    Return q of the bias, the inverse of its place in A's diagonal (both 0 without biases), and qᵀ p of all unknowns.
    """
    _, indices, _, weights = cells
    at, w, r = path.listed
    v, q, p, xy = path.v, path.q, path.p, path.xy
    n, width = end - begin, len(q)
    left_of_bias = inverse_of_bias = 0.0
    if fixed.biases:
        total: Any = r.dtype.type(0)
        for place in range(n):
            total += cell(weights, begin + place)
            r[place] -= cell(weights, begin + place) * bias
        inverse_of_bias = 1 / (total + reg)
    q[:] = 0.0
    for place in range(0, n, PANEL):
        ask_for(begin + place + AHEAD, end, indices, fixed.Y)
        add_normal(fixed.Y, at, place, w, r, v, xy, q, width)
    if fixed.biases:
        left_of_bias = -reg * bias
        for place in range(n):
            left_of_bias += r[place] - cell(weights, begin + place) * xy[place]
    height = left_of_bias * (left_of_bias * inverse_of_bias)
    for c in range(width):
        q[c] -= path.d[c] * v[c]
        p[c] = q[c] * path.inverse[c]
        height += q[c] * p[c]
    return left_of_bias, inverse_of_bias, height


@inner
def multiply(
    begin: int, end: int, cells: Cells, fixed: Fixed, reg: float, step: int, p_bias: float, path: Path
) -> tuple[float, float]:
    """Find A p, where p of the bias is `p_bias`; return A p of the bias, and pᵀ A p of all unknowns."""
    _, indices, _, weights = cells
    at, w, r = path.listed
    p, Ap, e = path.p, path.Ap, path.e
    n, width = end - begin, len(p)
    is_long = n * width * p.itemsize > CACHED_BYTES
    Ap[:] = 0.0
    for place in range(n if fixed.biases or step == 0 else 0):
        r[place] = -cell(weights, begin + place) * p_bias
    for place in range(0, n, PANEL):
        if is_long:
            ask_for(begin + place + AHEAD, end, indices, fixed.Y)
        elif step == 0 and place < NEXT:
            ask_for(end + place, min(end + NEXT, len(indices)), indices, fixed.Y)
        add_normal(fixed.Y, at, place, w, r, p, e, Ap, width)
    Ap_bias = pAp = 0.0
    if fixed.biases:
        Ap_bias = reg * p_bias
        for place in range(n):
            Ap_bias += cell(weights, begin + place) * (e[place] + p_bias)
        pAp = p_bias * Ap_bias
    for c in range(width):
        Ap[c] = path.d[c] * p[c] - Ap[c]
        pAp += p[c] * Ap[c]
    return Ap_bias, pAp


@inner
def approach(
    begin: int, end: int, cells: Cells, fixed: Fixed, reg: float, steps: int, x: Floats, path: Path
) -> tuple[float, bool]:
    """Take some steps from x, to v; return the bias, and whether A was positive definite all the way."""
    _, xy, e, d, inverse, v, q, p, Ap = path
    n, width = end - begin, len(v)
    eps, tiny = np.finfo(v.dtype).eps, np.finfo(v.dtype).tiny
    for c in range(fixed.k):
        inverse[c] = 1.0 / d[c]
        v[c] = x[c]
    bias: Any = x[fixed.k] if fixed.biases else v.dtype.type(0)
    q_bias, inverse_bias, height = set_out(begin, end, cells, fixed, reg, bias, path)
    p_bias = q_bias * inverse_bias
    least = max(height * eps * eps, tiny)  # from where on rounding is all that moves
    for step in range(steps):
        if not height > least:
            break
        Ap_bias, pAp = multiply(begin, end, cells, fixed, reg, step, p_bias, path)
        if not pAp > 0.0:  # the rounding error of A is larger than its curvature
            return bias, False
        length = height / pAp
        for place in range(n):
            xy[place] += length * e[place]
        bias += length * p_bias
        q_bias -= length * Ap_bias
        before, height = height, q_bias * q_bias * inverse_bias
        for c in range(width):
            v[c] += length * p[c]
            q[c] -= length * Ap[c]
            height += q[c] * q[c] * inverse[c]
        for c in range(width):
            p[c] = q[c] * inverse[c] + height / before * p[c]
        p_bias = q_bias * inverse_bias + height / before * p_bias
    return bias, True


@kernel
def approach_rows(
    rows: Ints, cells: Cells, base: Base, fixed: Fixed, first: int, X: Floats, steps: int, losses: Doubles
) -> None:
    """Take some steps towards the solution of the given rows, from X[u − first]; otherwise as `solve_blocked`."""
    indptr, k, scored, dtype = cells.indptr, fixed.k, losses.shape[1] > 1, fixed.Y.dtype
    width, room = padded(k), longest_of(rows, indptr) + PANEL
    listed = Listed(np.empty(room, np.intp), np.empty(room, dtype), np.empty(room, dtype))
    xy, e, d, v = np.empty(room, dtype), np.empty(room, dtype), np.ones(width, dtype), np.zeros(width, dtype)
    inverse, q = np.ones(width, dtype), np.zeros(width, dtype)
    path = Path(listed, xy, e, d, inverse, v, q, np.zeros(width, dtype), np.zeros(width, dtype))
    for row in range(len(rows)):
        u = rows[row]
        begin, end = indptr[u], indptr[u + 1]
        x = X[u - first]
        losses[u] = 0.0
        if begin == end:
            x[:] = 0.0
            continue
        if not set_up_row(u, cells, base, fixed, listed, d) >= 0.0:
            losses[u, 0] = LEFT
            continue
        bias, sound = approach(begin, end, cells, fixed, base.reg[u] * base.bias_ratio, steps, x, path)
        if not sound:
            losses[u, 0] = LEFT
            continue
        copy(v, k, x)
        if fixed.biases:
            x[k] = bias
        if scored:
            score(begin, end, cells, fixed, bias, xy, losses[u])
