"""The exact half-step at low ranks: Cholesky factorization of several systems at once, one in each vector lane.

Legend (rows and columns are users and items, or items and users):

    X     solved factors      each row is [x | bias | 0 …], padded with zeros
    Y     fixed factors       each row is [y | 1 | 0 …]; the 1 only with biases
    o     offsets             the biases of the fixed side; 0 without biases
    k     rank                K = k + 1 with biases, else k: unknowns of a row
    reg   λ_u                 regularization; D = diag(1, …, 1, ρ)
    G     Σ_i m_i y_i y_iᵀ    Gramian of all columns, scaled by s_u in each system
    A     s_u G + Σ_Ω (w − s_u m_i) y yᵀ + Λ_u
    b     Σ_Ω w (t − o_i) y
    c     Σ_Ω w (t − o_i)²
    Λ_u   λ_u D; with a prior Λ + λ_u D, and its mean x̄_u adds Λ_u x̄_u to b and x̄_uᵀ Λ_u x̄_u to c
    ε     noise from N(0, I/τ): x + L⁻ᵀ ε is a sample from N(x, (τ A)⁻¹)

b is stored as an additional row of A, and c in its corner. The factorization A = L Lᵀ, continued through this row,
gives z = L⁻¹ b, and in the corner c − ‖z‖² = c − bᵀ A⁻¹ b, the minimum of the row's part of the objective. Noise is
added before the back substitution, Lᵀ x = z + ε, and ‖ε‖² to the corner.

LAPACK is not used, because the overhead of a call exceeds the arithmetic at ranks below about 100.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from halfstep._support.jit import inner, kernel
from halfstep.solver.kernels._llvm import LANE_BYTES, VECTOR_BYTES
from halfstep.solver.kernels._tiles import prefetch_row
from halfstep.solver.kernels._vector import (
    REGISTER_ROWS,
    REGISTER_UNKNOWNS,
    ROW_PADDING,
    add_weighted,
    eliminate,
    gather_row,
    invert_root,
    substitute,
    sum_in_registers,
    sum_scaled_rows,
)
from halfstep.solver.kernels.argument_groups import Base, CellArrays, Fixed, PriorArrays
from halfstep.solver.kernels.observations import cell

Floats = NDArray[np.floating]
Float64Array = NDArray[np.float64]
Ints = NDArray[np.integer]

GATHERED = 64  # observed cells gathered at once; at rank 128 they fit the L2 cache
SOLVED = -1  # status; otherwise the first row that could not be solved


class Workspace(NamedTuple):
    """A (with the row b and its corner c), and the gathered rows of Y: weighted in W, unweighted in Z."""

    A: Floats
    W: Floats
    Z: Floats


@kernel
def sums_shape(K: int) -> tuple[int, int]:
    """Return the shape of A with the row b and its corner c, in whole tiles."""
    return -(-(K + 1) // REGISTER_ROWS) * REGISTER_ROWS, -(-(K + 1) // ROW_PADDING) * ROW_PADDING


@kernel
def workspace(K: int, like: Floats) -> Workspace:
    """Allocate the sums of one row."""
    tall, wide = sums_shape(K)
    return Workspace(
        np.zeros((tall, wide), like.dtype),
        np.zeros((GATHERED, max(tall, wide)), like.dtype),
        np.zeros((GATHERED, wide), like.dtype),
    )


@inner
def add_cells(begin: int, end: int, cells: CellArrays, s: float, fixed: Fixed, work: Workspace) -> None:
    """Add the observed cells begin … end − 1 of one row to its A, b and c.

    Only the lower triangle of A is summed (in whole tiles), so the row of the bias can have other weights: missing
    cells are predicted without biases, so that w − s m applies to y yᵀ only.
    """
    _, indices, targets, weights = cells
    Y, o, m, k, biases = fixed
    A, W, Z = work
    K = k + 1 if biases else k
    lanes = VECTOR_BYTES // A.itemsize
    width = -(-K // lanes) * lanes
    for start in range(begin, end, GATHERED):
        n = min(GATHERED, end - start)
        for p in range(n):
            i = np.intp(indices[start + p])
            w, t = cell(weights, start + p), cell(targets, start + p)
            gather_row(Y, i, w - s * m[i] if len(m) > 0 else w, W, Z, p, width)
            if biases:
                W[p, k] = w
            W[p, K] = w * (t - o[i])
            A[K, K] += w * (t - o[i]) ** 2
        for p in range(start + n, min(start + n + GATHERED, end)):  # to hide the latency of memory
            prefetch_row(Y, np.intp(indices[p]), width)
        for a in range(0, K + 1, REGISTER_ROWS):
            needed = min(-(-(a + REGISTER_ROWS) // lanes), width // lanes)
            c = 0
            while needed >= 3:
                add_weighted(A, W, Z, n, a, c, 3)
                c += 3 * lanes
                needed -= 3
            if needed == 2:
                add_weighted(A, W, Z, n, a, c, 2)
            elif needed == 1:
                add_weighted(A, W, Z, n, a, c, 1)


@inner
def sum_short_row(K: int, begin: int, end: int, cells: CellArrays, fixed: Fixed, lane: int, S: Floats) -> None:
    """Sum A, b and c of a small system without missing cells into a lane of S, with K as a compile-time constant."""
    if K == 1:
        sum_in_registers(S, lane, cells, fixed, begin, end, 1)
    elif K == 2:
        sum_in_registers(S, lane, cells, fixed, begin, end, 2)
    elif K == 3:
        sum_in_registers(S, lane, cells, fixed, begin, end, 3)
    elif K == 4:
        sum_in_registers(S, lane, cells, fixed, begin, end, 4)
    elif K == 5:
        sum_in_registers(S, lane, cells, fixed, begin, end, 5)
    elif K == 6:
        sum_in_registers(S, lane, cells, fixed, begin, end, 6)
    elif K == 7:
        sum_in_registers(S, lane, cells, fixed, begin, end, 7)
    elif K == 8:
        sum_in_registers(S, lane, cells, fixed, begin, end, 8)
    elif K == 9:
        sum_in_registers(S, lane, cells, fixed, begin, end, 9)
    elif K == 10:
        sum_in_registers(S, lane, cells, fixed, begin, end, 10)
    elif K == 11:
        sum_in_registers(S, lane, cells, fixed, begin, end, 11)
    elif K == 12:
        sum_in_registers(S, lane, cells, fixed, begin, end, 12)


@inner
def pack_lane(K: int, A: Floats, lane: int, S: Floats) -> None:
    """Write A, with the row b and its corner, to a lane of S as a packed lower triangle."""
    entry = 0
    for a in range(K + 1):
        for c in range(a + 1):
            S[entry, lane] = A[a, c]
            entry += 1


@inner
def add_base(u: int, s: float, base: Base, fixed: Fixed, lane: int, S: Floats) -> None:
    """Add s G + λ_u D to the system in a lane of S."""
    G, reg, k = base.G, base.reg[u], fixed.k
    if len(G) > 0:
        entry = 0
        for a in range(k):
            for c in range(a + 1):
                S[entry, lane] += s * G[a, c]
                entry += 1
    diagonal = 0
    for a in range(k):
        S[diagonal, lane] += reg
        diagonal += a + 2
    if fixed.biases:
        S[diagonal, lane] += base.bias_ratio * reg


@inner
def add_prior_mean(u: int, base: Base, fixed: Fixed, prior: PriorArrays, lane: int, S: Floats) -> None:
    """Add Λ_u x̄ to b, and x̄ᵀ Λ_u x̄ to c, of row u in a lane of S."""
    mean, precision, _ = prior
    own, reg, k = u if len(mean) > 1 else 0, base.reg[u], fixed.k
    K = k + 1 if fixed.biases else k
    b = K * (K + 1) // 2
    square = S[b + K, lane]
    for a in range(K):
        pull = (reg if a < k else base.bias_ratio * reg) * mean[own, a]
        for c in range(K):
            pull += precision[a, c] * mean[own, c]
        S[b + a, lane] += pull
        square += pull * mean[own, a]
    S[b + K, lane] = square


@inner
def add_to_all_lanes(K: int, precision: Floats, S: Floats) -> None:
    """Add Λ to the systems in all lanes of S."""
    entry = 0
    for a in range(K):
        for c in range(a + 1):
            for lane in range(S.shape[1]):
                S[entry, lane] += precision[a, c]
            entry += 1


@inner
def solve_lanes(K: int, filled: int, S: Floats, D: Floats, E: Floats) -> int:
    """Solve the systems in the first `filled` lanes of S; x replaces b, and c − bᵀ A⁻¹ b replaces c.

    E holds the noise ε of each lane; it is empty without noise. D is a buffer for the smallest admissible pivots.
    Return the first lane whose system is singular to working precision, or −1.
    """
    lanes = S.shape[1]
    eps = np.finfo(S.dtype).eps
    bad = filled
    for j in range(K):
        diagonal = j * (j + 1) // 2 + j
        for lane in range(lanes):
            D[0, lane] = K * eps * S[diagonal, lane]
        eliminate(S, j, j, 1, 0)
        for lane in range(filled):
            if not S[diagonal, lane] > D[0, lane]:
                bad = min(bad, lane)
                S[diagonal, lane] = 1.0  # lets the other lanes continue
        invert_root(S, j)  # stored inverted, because divisions are slow
        i = j + 1
        while i + 3 <= K:
            eliminate(S, i, j, 4, 1)
            i += 4
        while i <= K:
            eliminate(S, i, j, 1, 1)
            i += 1
    eliminate(S, K, K, 1, 0)
    for j in range(len(E)):
        for lane in range(lanes):
            S[K * (K + 1) // 2 + j, lane] += E[j, lane]
            S[K * (K + 1) // 2 + K, lane] += E[j, lane] ** 2
    for j in range(K - 1, -1, -1):
        substitute(S, j, K)
    return bad if bad < filled else SOLVED


@inner
def unpack_lane(K: int, S: Floats, lane: int, row: int, X: Floats) -> None:
    """Copy the solution in a lane of S to a row of X."""
    b = K * (K + 1) // 2
    for a in range(K):
        X[row, a] = S[b + a, lane]


@kernel
def solve_rows(
    rows: Ints,
    cells: CellArrays,
    base: Base,
    fixed: Fixed,
    prior: PriorArrays,
    sums: Floats,
    X: Floats,
    sums_of_squares: Float64Array,
) -> int:
    """Solve the given rows of X while Y is held fixed. Return −1, or the first row whose system is singular.

    ``sums_of_squares[u]`` becomes (c, c − bᵀ A⁻¹ b). `sums` holds the results of `sum_segment` for each row; if it is
    empty, the observed cells are summed here. A row without observed cells becomes x̄, or 0.
    """
    indptr, weights, s, m = cells.indptr, cells.weights, base.s, fixed.m
    mean, precision, noise = prior
    K = fixed.k + 1 if fixed.biases else fixed.k
    lanes = LANE_BYTES // weights.itemsize
    work = workspace(K, weights)
    A = work.A
    S, D = np.zeros(((K + 1) * (K + 2) // 2, lanes), weights.dtype), np.zeros((1, lanes), weights.dtype)
    E = np.zeros((K if len(noise) > 0 else 0, lanes), weights.dtype)
    corner = (K + 1) * (K + 2) // 2 - 1
    lane_rows = np.zeros(lanes, np.intp)
    filled = 0
    for r in range(len(rows)):
        u = rows[r]
        begin, end = indptr[u], indptr[u + 1]
        if begin == end:
            X[u, :] = 0.0
            sums_of_squares[u, :] = 0.0
            if len(mean) > 0:
                X[u, :K] = mean[u if len(mean) > 1 else 0]
        else:
            s_u = s[u] if len(s) > 0 else 0.0
            if len(sums) > 0:
                pack_lane(K, sums[r], filled, S)
            elif K <= REGISTER_UNKNOWNS and len(m) == 0:
                sum_short_row(K, begin, end, cells, fixed, filled, S)
            else:
                A[:] = 0.0
                add_cells(begin, end, cells, s_u, fixed, work)
                pack_lane(K, A, filled, S)
            add_base(u, s_u, base, fixed, filled, S)
            if len(mean) > 0:
                add_prior_mean(u, base, fixed, prior, filled, S)
            for j in range(len(E)):
                E[j, filled] = noise[u, j]
            lane_rows[filled] = u
            sums_of_squares[u, 0] = S[corner, filled]
            filled += 1
        if filled == lanes or (filled > 0 and r == len(rows) - 1):
            if len(precision) > 0:
                add_to_all_lanes(K, precision, S)
            bad = solve_lanes(K, filled, S, D, E)
            if bad != SOLVED:
                return int(lane_rows[bad])
            for lane in range(filled):
                unpack_lane(K, S, lane, lane_rows[lane], X)
                sums_of_squares[lane_rows[lane], 1] = S[corner, lane]
            filled = 0
    return SOLVED


@kernel
def sum_system(u: int, cells: CellArrays, base: Base, fixed: Fixed) -> Floats:
    """Return A of row u as a full matrix of shape (K, K), for explanations of predictions."""
    K = fixed.k + 1 if fixed.biases else fixed.k
    work = workspace(K, cells.weights)
    S = np.zeros(((K + 1) * (K + 2) // 2, 1), cells.weights.dtype)
    s = base.s[u] if len(base.s) > 0 else 0.0
    add_cells(cells.indptr[u], cells.indptr[u + 1], cells, s, fixed, work)
    pack_lane(K, work.A, 0, S)
    add_base(u, s, base, fixed, 0, S)
    full = np.empty((K, K), cells.weights.dtype)
    entry = 0
    for a in range(K):
        for c in range(a + 1):
            full[a, c] = full[c, a] = S[entry, 0]
            entry += 1
    return full


@kernel
def sum_segment(u: int, begin: int, end: int, cells: CellArrays, base: Base, fixed: Fixed, sums: Floats) -> None:
    """Sum a segment of the observed cells of a long row u, so that several threads can share the row."""
    work = workspace(fixed.k + 1 if fixed.biases else fixed.k, cells.weights)
    s = base.s[u] if len(base.s) > 0 else 0.0
    add_cells(begin, end, cells, s, fixed, work)
    sums[:] = work.A


@kernel
def sum_right_hand_sides(first: int, last: int, cells: CellArrays, k: int, Y: Floats, B: Floats) -> None:
    """Write b of the rows first … last − 1 to the rows 0 … of B, if A is the same for all rows."""
    indptr = cells.indptr
    lanes = VECTOR_BYTES // B.itemsize
    for u in range(first, last):
        begin, end = indptr[u], indptr[u + 1]
        c = 0
        while c + 3 * lanes < k:
            sum_scaled_rows(Y, cells, begin, end, B, u - first, c, 4)
            c += 4 * lanes
        while c < k:
            sum_scaled_rows(Y, cells, begin, end, B, u - first, c, 1)
            c += lanes
