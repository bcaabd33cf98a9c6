"""A row's observations: listed for the kernels that solve it, and scored once it is solved.

Legend as in ``blocked.py``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from halfstep.kernels._jit import kernel
from halfstep.kernels._panels import PANEL

Floats = NDArray[np.floating]
Doubles = NDArray[np.float64]
Ints = NDArray[np.integer]

LEFT = -1.0  # in `losses`: the row was not solved


@kernel
def cell(numbers: Floats, p: int) -> Any:
    """The target or the weight of cell p; where all are equal, an array holds one for all."""
    return numbers[np.uintp(p) if len(numbers) > 1 else np.uintp(0)]


@kernel
def longest_of(rows: Ints, indptr: Ints) -> int:
    """Observations of the longest of the given rows."""
    longest = 0
    for row in range(len(rows)):
        longest = max(longest, indptr[rows[row] + 1] - indptr[rows[row]])
    return longest


@kernel
def diagonal_of(ridge: float, k: int, s: float, g: Floats, d: Floats) -> None:
    """D = s_u g + λ_u of one row into the first k of d; g is empty where missing cells have no weight."""
    for c in range(k):
        d[c] = ridge + s * g[c] if len(g) > 0 else ridge


@kernel
def is_positive(d: Floats, k: int) -> bool:
    """Whether the first k of d are positive numbers."""
    least, total = d[0], np.float64(0.0)
    for c in range(k):
        least = min(least, d[c])
        total += d[c]
    return bool(least > 0.0 and total < np.inf)


@kernel
def list_observations(
    begin: int, end: int, indices: Ints, targets: Floats, weights: Floats, s: float, m: Floats, o: Floats, at: Ints,
    q: Floats, r: Floats,
) -> float:  # fmt: skip
    """Note the observations begin … end − 1 of a row: i, q = w − s m_i, r = w (t − o_i); return the least q.

    Whole panels of them: what is missing from the last one are observations without weight.
    """
    n = end - begin
    least = np.inf
    for p in range(n):
        i = np.uintp(indices[np.uintp(begin + p)])  # unsigned: no place is counted from the end
        w = cell(weights, begin + p)
        at[p] = i
        q[p] = w - s * m[i] if len(m) > 0 else w
        r[p] = w * (cell(targets, begin + p) - o[i])
        least = min(least, q[p])
    for p in range(n, -(-n // PANEL) * PANEL):
        at[p] = at[n - 1]
        q[p] = 0.0
        r[p] = 0.0
    return least


@kernel
def score(
    begin: int, end: int, indices: Ints, targets: Floats, weights: Floats, m: Floats, o: Floats, b: float, xy: Floats,
    sums: Doubles,
) -> None:  # fmt: skip
    """Add Σ w (t − o_i − b_u − p·q)² and Σ m_i (p·q)² over some observations to sums, given p·q of each in `xy`."""
    observed = missing = 0.0
    for p in range(end - begin):
        i = np.uintp(indices[np.uintp(begin + p)])
        product, t = np.float64(xy[p]), np.float64(cell(targets, begin + p))
        observed += np.float64(cell(weights, begin + p)) * (t - o[i] - b - product) ** 2
        if len(m) > 0:
            missing += np.float64(m[i]) * product * product
    sums[0] += observed
    sums[1] += missing
