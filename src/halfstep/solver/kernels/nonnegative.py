"""The exact half-step with factors of at least 0: each row is a quadratic program, solved by its active set.

Legend as in ``small_systems.py``: X is solved, Y fixed, A and b form the system, c is Σ_Ω w (t − o_i)². For each row,

    minimize ½ xᵀ A x − bᵀ x   subject to   p ≥ 0,   x = [p | bias], the bias being free

    g   A x − b              the gradient; at the minimum g ≥ 0 where x = 0, and g = 0 elsewhere
    S   the passive set      the unknowns that are not held at 0, among them the bias
    U   A_SS = Uᵀ U          b_S is a further column of A_SS, so that it becomes U⁻ᵀ b_S
    z   A_SS⁻¹ b_S           the minimum if only the unknowns of S may differ from 0

Unknowns whose z is negative leave S, and those whose g is negative enter it, all at once, until there are none (block
principal pivoting, Kim & Park 2011). S is at first that of the previous x, which late in a fit is nearly the answer.
If their number does not fall for some time, as happens if A is ill-conditioned, they are exchanged one by one, from
the previous x on, which cannot cycle (Lawson & Hanson 1974).

`scipy.optimize.nnls` is not used, because the overhead of its calls exceeds the arithmetic, and it cannot start from
a previous solution.

References
----------
J. Kim, H. Park, "Fast nonnegative matrix factorization: an active-set-like method and comparisons", SIAM Journal on
Scientific Computing 33(6), 2011.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from halfstep._support.jit import inner, kernel
from halfstep.solver.kernels._llvm import WIDE_BYTES
from halfstep.solver.kernels._panels import add_rows
from halfstep.solver.kernels.argument_groups import Base, CellArrays, Fixed
from halfstep.solver.kernels.small_systems import SOLVED, add_cells, workspace

Floats = NDArray[np.floating]
Float64Array = NDArray[np.float64]
Ints = NDArray[np.integer]

TOLERANCE = 1e-10  # of x and g, with A scaled to a unit diagonal, relative to the largest b
PATIENCE = 3  # exchanges that may fail to reduce the number of violations
MOST_STEPS = 20  # per unknown, far above what is needed


class RowBuffers(NamedTuple):
    """Buffers for the solution of one row.

    Attributes
    ----------
    x, g : ndarray of shape (K,)
        x, also before; g.
    roots : ndarray of shape (K,)
        √A_aa.
    is_passive : ndarray of shape (K,)
    at : ndarray of shape (K,)
        The unknowns in S.
    z : ndarray of shape (K,)
        z of the unknowns in `at`.
    U : ndarray of shape (K, width)
    f, y : ndarray of shape (K,) and (width,)
        A negative column, and a row of U.
    """

    x: Floats
    g: Floats
    roots: Floats
    is_passive: NDArray[np.bool_]
    at: Ints
    z: Floats
    U: Floats
    f: Floats
    y: Floats


@kernel
def solve_nonnegative_rows(
    rows: Ints,
    cells: CellArrays,
    base: Base,
    fixed: Fixed,
    sums: Floats,
    X: Floats,
    sums_of_squares: Float64Array,
) -> int:
    """Solve the given rows of X for nonnegative factors, starting from those in X; otherwise like `solve_rows`.

    ``sums_of_squares[u]`` is set to (c, c − 2 bᵀ x + xᵀ A x). The index of a row is also returned if its minimum was
    not found.
    """
    indptr, weights, s = cells.indptr, cells.weights, base.s
    k = fixed.k
    K = k + 1 if fixed.biases else k
    lanes = WIDE_BYTES // weights.itemsize
    width = -(-(K + 1) // lanes) * lanes
    work = workspace(K, weights)
    A, vectors = work.A, np.empty((5, K), weights.dtype)
    U, y = np.empty((K, width), weights.dtype), np.empty(width, weights.dtype)
    marks, at = np.empty(K, np.bool_), np.empty(K, np.intp)
    row = RowBuffers(vectors[0], vectors[1], vectors[2], marks, at, vectors[3], U, vectors[4], y)
    x, g = row.x, row.g
    for r in range(len(rows)):
        u = rows[r]
        begin, end = indptr[u], indptr[u + 1]
        if begin == end:
            X[u, :] = 0.0
            sums_of_squares[u, :] = 0.0
            continue
        s_u = s[u] if len(s) > 0 else 0.0
        if len(sums) > 0:
            A[:] = sums[r]
        else:
            A[:] = 0.0
            add_cells(begin, end, cells, s_u, fixed, work)
        complete(u, s_u, base, fixed, A)
        for a in range(K):
            x[a] = X[u, a] if X[u, a] > 0.0 or a >= k else 0.0
        if not minimize(k, K, A, row):
            return int(u)
        least = A[K, K]
        for a in range(K):
            X[u, a] = x[a]
            least += x[a] * (g[a] - A[K, a])
        sums_of_squares[u, 0] = A[K, K]
        sums_of_squares[u, 1] = least
    return SOLVED


@inner
def complete(u: int, s: float, base: Base, fixed: Fixed, A: Floats) -> None:
    """Add s G + λ_u D to the lower triangle of A, and mirror it."""
    G, reg, k = base.G, base.reg[u], fixed.k
    if len(G) > 0:
        for a in range(k):
            for c in range(a + 1):
                A[a, c] += s * G[a, c]
    for a in range(k):
        A[a, a] += reg
    if fixed.biases:
        A[k, k] += base.bias_ratio * reg
    for a in range(k + 1 if fixed.biases else k):
        for c in range(a):
            A[c, a] = A[a, c]


@inner
def minimize(k: int, K: int, A: Floats, row: RowBuffers) -> bool:
    """Replace x by the minimum, and compute its g; return False if A_SS is singular, or the minimum is not found."""
    x, roots, is_passive = row.x, row.roots, row.is_passive
    largest = 0.0
    for a in range(K):
        roots[a] = np.sqrt(A[a, a])
        if roots[a] > 0.0:
            largest = max(largest, abs(A[K, a]) / roots[a])
        is_passive[a] = a >= k or x[a] > 0.0
    least = -TOLERANCE * largest
    fewest, patience = K + 1, PATIENCE
    while patience > 0:
        if not solve_passive(K, A, row):
            return False
        violations = exchange(k, K, A, least, row)
        if violations == 0:
            accept(k, K, row)
            return True
        if violations < fewest:
            fewest, patience = violations, PATIENCE
        else:
            patience -= 1
    for a in range(K):
        is_passive[a] = a >= k or x[a] > 0.0
    return descend(k, K, A, least, row)


@inner
def accept(k: int, K: int, row: RowBuffers) -> None:
    """Write z to x; numbers that are negative by rounding become 0."""
    n = 0
    for a in range(K):
        row.x[a] = 0.0
        if row.is_passive[a]:
            row.x[a] = 0.0 if a < k and row.z[n] < 0.0 else row.z[n]
            n += 1


@inner
def solve_passive(K: int, A: Floats, row: RowBuffers) -> bool:
    """List S, and compute its z; return False if A_SS is singular to working precision."""
    at, z, U, f, y = row.at, row.z, row.U, row.f, row.y
    lanes = WIDE_BYTES // A.itemsize
    n = 0
    for a in range(K):
        if row.is_passive[a]:
            at[n] = a
            n += 1
    for i in range(n):
        a = at[i]
        start, end = i - i % lanes, -(-(n + 1) // lanes) * lanes
        for j in range(start, n):
            y[j] = A[a, at[j]]
        y[n] = A[K, a]
        for j in range(n + 1, end):
            y[j] = 0.0
        for j in range(i):
            f[j] = -U[j, i]
        c = start
        while c + 4 * lanes <= end:
            add_rows(U, 0, i, f, c, y, 4)
            c += 4 * lanes
        while c < end:
            add_rows(U, 0, i, f, c, y, 1)
            c += lanes
        if not y[i] > K * np.finfo(A.dtype).eps * A[a, a]:
            return False
        scale = 1.0 / np.sqrt(y[i])
        for j in range(start, end):
            U[i, j] = y[j] * scale
    for i in range(n - 1, -1, -1):
        total = U[i, n]
        for j in range(i + 1, n):
            total -= U[i, j] * z[j]
        z[i] = total / U[i, i]
    return True


@inner
def compute_gradient(K: int, A: Floats, row: RowBuffers) -> None:
    """Compute g of z."""
    g, n = row.g, 0
    for a in range(K):
        g[a] = -A[K, a]
    for a in range(K):
        if row.is_passive[a]:
            for c in range(K):
                g[c] += row.z[n] * A[a, c]
            n += 1


@inner
def exchange(k: int, K: int, A: Floats, least: float, row: RowBuffers) -> int:
    """Compute g of z, exchange the unknowns that violate a condition, and return their number."""
    g, roots, is_passive, z = row.g, row.roots, row.is_passive, row.z
    compute_gradient(K, A, row)
    violations, n = 0, 0
    for a in range(K):
        if is_passive[a]:
            if a < k and z[n] * roots[a] < least:
                is_passive[a] = False
                violations += 1
            n += 1
        elif g[a] < least * roots[a]:
            is_passive[a] = True
            violations += 1
    return violations


@inner
def descend(k: int, K: int, A: Floats, least: float, row: RowBuffers) -> bool:
    """Replace x by the minimum as `minimize` does, but exchange one unknown at a time, so that J decreases."""
    x, g, roots, is_passive, z = row.x, row.g, row.roots, row.is_passive, row.z
    for _ in range(MOST_STEPS * K):
        if not solve_passive(K, A, row):
            return False
        step, n = 1.0, 0
        for a in range(K):
            if is_passive[a]:
                if a < k and z[n] < 0.0:
                    step = min(step, x[a] / (x[a] - z[n]))
                n += 1
        if step < 1.0:
            n = 0
            for a in range(K):
                if is_passive[a]:
                    is_passive[a] = not (a < k and z[n] < 0.0 and x[a] <= step * (x[a] - z[n]))
                    x[a] = x[a] + step * (z[n] - x[a]) if is_passive[a] else 0.0
                    n += 1
            continue
        compute_gradient(K, A, row)
        accept(k, K, row)
        entering, lowest = K, least
        for a in range(K):
            if not is_passive[a] and g[a] < lowest * roots[a]:
                entering, lowest = a, g[a] / roots[a]
        if entering == K:
            return True
        is_passive[entering] = True
    return False
