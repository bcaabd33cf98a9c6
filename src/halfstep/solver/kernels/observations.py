"""The observed cells of a row: prepared for the kernels that solve it, and its loss afterwards.

Legend as in ``exact.py``: X is solved, Y fixed, b the right-hand side, g the diagonal of G, and reg is λ_u. Targets
and weights of cells, and missing weights and offsets of columns, are arrays of one element if all are equal. If all
four are, as for clicks, nothing is looked up.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from halfstep._support.jit import inner
from halfstep.solver.kernels._panels import PANEL
from halfstep.solver.kernels.argument_groups import Base, CellArrays, Fixed

Floats = NDArray[np.floating]
Float64Array = NDArray[np.float64]
Ints = NDArray[np.integer]

UNSOLVED = -1.0  # in `losses`: the row was not solved
CANCELLED = 1e4  # rounding errors that a difference must exceed, relative to its terms


class RowCells(NamedTuple):
    """The observed cells of a row, padded to whole panels.

    Attributes
    ----------
    at : ndarray of int
        i, their columns.
    q : ndarray
        w − s m_i.
    r : ndarray
        w (t − o_i).
    """

    at: Ints
    q: Floats
    r: Floats


@inner
def cell(numbers: Floats, p: int | np.unsignedinteger) -> Any:
    """Return the target or weight of cell p, or the missing weight or offset of column p."""
    return numbers[np.uintp(p) if len(numbers) > 1 else np.uintp(0)]


@inner
def is_uniform(cells: CellArrays, fixed: Fixed) -> bool:
    """Return whether all cells have the same target and weight, and all columns the same offset and m."""
    return len(cells.targets) == 1 and len(cells.weights) == 1 and len(fixed.m) <= 1 and len(fixed.o) == 1


@inner
def longest_row(rows: Ints, indptr: Ints) -> int:
    """Return the number of observed cells of the longest of the given rows."""
    longest = 0
    for row in range(len(rows)):
        longest = max(longest, indptr[rows[row] + 1] - indptr[rows[row]])
    return longest


@inner
def is_positive(d: Floats, k: int) -> bool:
    """Return whether the first k of d are positive and finite."""
    least, total = d[0], np.float64(0.0)
    for c in range(k):
        least = min(least, d[c])
        total += d[c]
    return bool(least > 0.0 and total < np.inf)


@inner
def prepare_row(u: int, cells: CellArrays, base: Base, fixed: Fixed, row_cells: RowCells, d: Floats) -> float:
    """List the observed cells of row u, and write D = s_u g + λ_u to d.

    Return the smallest w − s m_i, or −1 if D is not positive.
    """
    s: Any = base.s[u] if len(fixed.m) > 0 else fixed.Y.dtype.type(0)
    least = list_cells(cells.indptr[u], cells.indptr[u + 1], cells, s, fixed, row_cells)
    g, reg = base.G, base.reg[u]
    for c in range(fixed.k):
        d[c] = reg + s * g[c] if len(g) > 0 else reg
    return least if is_positive(d, fixed.k) else -1.0


@inner
def read_pull(row: int, pull: Floats, fixed: Fixed, own: Floats) -> float:
    """Copy the factors of a row of Λ x̄, which a prior adds to b, to `own`; return the element of the bias.

    Without a prior `pull` is empty, and `own` stays 0.
    """
    if len(pull) == 0:
        return 0.0
    for c in range(fixed.k):
        own[c] = pull[row, c]
    return float(pull[row, fixed.k]) if fixed.biases else 0.0


@inner
def list_cells(begin: int, end: int, cells: CellArrays, s: float, fixed: Fixed, row_cells: RowCells) -> float:
    """Write i, q = w − s m_i and r = w (t − o_i) of a row's observed cells; return the smallest q.

    Systems are divided by √q, so a q of 0 (a cell that weighs as much as a missing one) is replaced by its rounding
    error. The last panel is padded with cells of weight 0.
    """
    _, indices, targets, weights = cells
    o, m = fixed.o, fixed.m
    at, q, r = row_cells
    n = end - begin
    least = np.inf
    eps, tiny = np.finfo(q.dtype).eps, np.finfo(q.dtype).tiny
    if is_uniform(cells, fixed):
        least = weights[0] - s * m[0] if len(m) > 0 else weights[0]
        for p in range(n):
            at[p] = indices[np.uintp(begin + p)]  # unsigned: never negative
            q[p] = max(least, eps * weights[0], tiny)
            r[p] = weights[0] * (targets[0] - o[0])
    else:
        for p in range(n):
            i = np.uintp(indices[np.uintp(begin + p)])
            w = cell(weights, begin + p)
            at[p] = i
            weight = w - s * cell(m, i) if len(m) > 0 else w
            q[p] = max(weight, eps * w, tiny)
            r[p] = w * (cell(targets, begin + p) - cell(o, i))
            least = min(least, weight)
    for p in range(n, -(-n // PANEL) * PANEL):
        at[p] = at[n - 1]
        q[p] = 0.0
        r[p] = 0.0
    return least


@inner
def score_uniform(
    n: int, cells: CellArrays, fixed: Fixed, q: float, bv: float, vv: float, sums: Float64Array
) -> bool:
    """Add the sums of `score` for a row whose n observed cells are all alike, from bᵀv and vᵀv of its solution v.

    The solution satisfies (I + ZᵀZ) v = b, where the rows of Z are √q y D^-½ and b is their sum times w (t − o) / √q.
    Hence

        bᵀv = w (t − o) Σ p·q,      bᵀv − vᵀv = ‖Z v‖² = q Σ (p·q)².

    Return False, and add nothing, if cancellation makes these imprecise.
    """
    _, _, targets, weights = cells
    o, m = fixed.o, fixed.m
    t, w, eps = np.float64(targets[0]) - np.float64(o[0]), np.float64(weights[0]), np.finfo(weights.dtype).eps
    total = bv / (w * t) if t != 0.0 else 0.0
    squares = (bv - vv) / q
    observed = n * t * t - 2.0 * t * total + squares
    if not (observed > CANCELLED * eps * n * t * t and squares >= 0.0):
        return False
    sums[0] += w * observed
    if len(m) > 0:
        sums[1] += np.float64(m[0]) * squares
    return True


@inner
def score(begin: int, end: int, cells: CellArrays, fixed: Fixed, b: float, xy: Floats, sums: Float64Array) -> None:
    """Add Σ w (t − o_i − b_u − p·q)² and Σ m_i (p·q)² over the observed cells to sums, given each p·q in `xy`."""
    _, indices, targets, weights = cells
    o, m = fixed.o, fixed.m
    observed = missing = 0.0
    if is_uniform(cells, fixed):
        t, w, s = np.float64(targets[0]), np.float64(weights[0]), np.float64(m[0] if len(m) > 0 else 0.0)
        for p in range(end - begin):
            product = np.float64(xy[p])
            observed += w * (t - o[0] - b - product) ** 2
            missing += s * product * product
    else:
        for p in range(end - begin):
            i = np.uintp(indices[np.uintp(begin + p)])
            product, t = np.float64(xy[p]), np.float64(cell(targets, begin + p))
            observed += np.float64(cell(weights, begin + p)) * (t - cell(o, i) - b - product) ** 2
            if len(m) > 0:
                missing += np.float64(cell(m, i)) * product * product
    sums[0] += observed
    sums[1] += missing
