"""The exact half-step: one normal system per row, solved by Cholesky's factorisation.

Legend (the objective is in `halfstep.objective`; rows and columns stand for users and items, or for items and users):

    X   rows to be solved            [x | bias | 0 …], one row each, padded with zeros
    Y   features of the fixed side   [y | 1 | 0 …], likewise; the 1 only with biases
    o   offsets of the fixed side    its biases; 0 without
    k   rank; K = k + 1 with biases, else k: the unknowns of one row
    G   Σ_i m_i y_i y_iᵀ             what all cells, missing or not, add to each system (scaled by s_u)
    A   s_u G + Σ_Ω (w − s_u m_i) y yᵀ + Λ_u   b   Σ_Ω w (t − o_i) y     c   Σ_Ω w (t − o_i)²
    Λ_u λ_u D, D = diag(1, …, 1, ρ): the row's own ridge; with a prior Λ + λ_u D, where Λ is one matrix for all rows,
        around the mean x̄_u: it adds Λ_u x̄_u to b and x̄_uᵀ Λ_u x̄_u to c
    ε   noise, N(0, I/τ) where A is the row's precision divided by τ: then x + L⁻ᵀ ε is a draw from N(x, (τ A)⁻¹)

b is kept as one more row below A, and c in its corner: the normal matrix of the features and the target together. The
factorisation of A, carried on through that row, has done the forward substitution L z = b by the way, so that only
Lᵀ x = z is left; and what remains in the corner is c − ‖z‖² = c − bᵀ A⁻¹ b, the least value that this row's share of
the objective can take. Noise goes to z, between the two substitutions: Lᵀ x = z + ε, which leaves ‖ε‖² more.

Why it is written out: at ranks below some hundred, LAPACK spends more time on being called than on arithmetic. Here
several systems are factorised side by side, one in each lane of a vector, with the same instructions.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from halfstep._support.jit import inner, kernel
from halfstep.solver.kernels._llvm import LANE_BYTES, VECTOR_BYTES
from halfstep.solver.kernels._tiles import prefetch_row
from halfstep.solver.kernels._vector import (
    REGISTER_UNKNOWNS,
    ROW_PADDING,
    TILE_ROWS,
    add_products,
    eliminate,
    gather_row,
    invert_root,
    substitute,
    sum_in_registers,
    sum_scaled_rows,
)
from halfstep.solver.kernels.arguments import Base, Cells, Fixed, PriorArrays
from halfstep.solver.kernels.observations import cell

Floats = NDArray[np.floating]
Doubles = NDArray[np.float64]
Ints = NDArray[np.integer]

GATHERED = 64  # observations gathered at once; at rank 128 they still fit the second-level cache
SOLVED = -1  # status: all rows solved; otherwise it is the first row that could not be


class Workspace(NamedTuple):
    """A (with the row b and its corner c), and the gathered rows twice: W weighted, Z as they are."""

    A: Floats
    W: Floats
    Z: Floats


@kernel
def sums_shape(K: int) -> tuple[int, int]:
    """The shape of A, with the row b and its corner c, in whole tiles."""
    return -(-(K + 1) // TILE_ROWS) * TILE_ROWS, -(-(K + 1) // ROW_PADDING) * ROW_PADDING


@kernel
def workspace(K: int, like: Floats) -> Workspace:
    """Room for the sums of one row."""
    tall, wide = sums_shape(K)
    return Workspace(
        np.zeros((tall, wide), like.dtype),
        np.zeros((GATHERED, max(tall, wide)), like.dtype),
        np.zeros((GATHERED, wide), like.dtype),
    )


@inner
def accumulate(begin: int, end: int, cells: Cells, s: float, fixed: Fixed, work: Workspace) -> None:
    """Add the observations begin … end − 1 of one row to its system A, b, c.

    Only the lower triangle of A is summed (in whole tiles), so the row of the bias may take other weights than the
    columns above it: missing cells are predicted without biases, and (w − s m) belongs to y yᵀ alone.
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
        for p in range(start + n, min(start + n + GATHERED, end)):  # on their way while these are multiplied
            prefetch_row(Y, np.intp(indices[p]), width)
        for a in range(0, K + 1, TILE_ROWS):
            needed = min(-(-(a + TILE_ROWS) // lanes), width // lanes)
            c = 0
            while needed >= 3:
                add_products(A, W, Z, n, a, c, 3)
                c += 3 * lanes
                needed -= 3
            if needed == 2:
                add_products(A, W, Z, n, a, c, 2)
            elif needed == 1:
                add_products(A, W, Z, n, a, c, 1)


@inner
def sum_short_row(K: int, begin: int, end: int, cells: Cells, fixed: Fixed, lane: int, S: Floats) -> None:
    """A, b, c of one small system, without missing cells, into one lane of S: `sum_in_registers` for K known late."""
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
def enter_lane(K: int, A: Floats, lane: int, S: Floats) -> None:
    """Write A, with the row b and its corner, into one lane of S as a packed lower triangle."""
    entry = 0
    for a in range(K + 1):
        for c in range(a + 1):
            S[entry, lane] = A[a, c]
            entry += 1


@inner
def add_base(u: int, s: float, base: Base, fixed: Fixed, lane: int, S: Floats) -> None:
    """Add s G + λ_u D to the system in one lane of S."""
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
    """Add Λ_u x̄ to b, and x̄ᵀ Λ_u x̄ to c, of row u in one lane of S."""
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
    """Solve the systems in the first `filled` lanes of S; solutions replace b, and c − bᵀ A⁻¹ b replaces c.

    E holds the noise ε in its lanes, or is empty: then there is none. Return the first bad lane, or −1.

    A pivot that has lost all its digits means that the system is singular to working precision; D holds what is left
    of the diagonal entry then.
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
                S[diagonal, lane] = 1.0  # the other lanes go on
        invert_root(S, j)  # kept inverted: divisions are slow
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
def leave_lane(K: int, S: Floats, lane: int, row: int, X: Floats) -> None:
    """Copy the solution in one lane of S to its row of X."""
    b = K * (K + 1) // 2
    for a in range(K):
        X[row, a] = S[b + a, lane]


@kernel
def solve_rows(
    rows: Ints, cells: Cells, base: Base, fixed: Fixed, prior: PriorArrays, sums: Floats, X: Floats, squares: Doubles
) -> int:
    """Solve the given rows of X while Y is held fixed. Return −1, or the first row whose system is singular.

    `squares[u]` becomes (c, c − bᵀ A⁻¹ b): the targets' weighted squares, and what the solved row leaves of them.

    `sums` holds what `sum_segment` made of each row, or is empty: then the observations are summed here. A row
    without observations becomes x̄, or 0.
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
    entered = np.zeros(lanes, np.intp)
    filled = 0
    for r in range(len(rows)):
        u = rows[r]
        begin, end = indptr[u], indptr[u + 1]
        if begin == end:
            X[u, :] = 0.0
            squares[u, :] = 0.0
            if len(mean) > 0:
                X[u, :K] = mean[u if len(mean) > 1 else 0]
        else:
            s_u = s[u] if len(s) > 0 else 0.0
            if len(sums) > 0:
                enter_lane(K, sums[r], filled, S)
            elif K <= REGISTER_UNKNOWNS and len(m) == 0:
                sum_short_row(K, begin, end, cells, fixed, filled, S)
            else:
                A[:] = 0.0
                accumulate(begin, end, cells, s_u, fixed, work)
                enter_lane(K, A, filled, S)
            add_base(u, s_u, base, fixed, filled, S)
            if len(mean) > 0:
                add_prior_mean(u, base, fixed, prior, filled, S)
            for j in range(len(E)):
                E[j, filled] = noise[u, j]
            entered[filled] = u
            squares[u, 0] = S[corner, filled]
            filled += 1
        if filled == lanes or (filled > 0 and r == len(rows) - 1):
            if len(precision) > 0:
                add_to_all_lanes(K, precision, S)
            bad = solve_lanes(K, filled, S, D, E)
            if bad != SOLVED:
                return int(entered[bad])
            for lane in range(filled):
                leave_lane(K, S, lane, entered[lane], X)
                squares[entered[lane], 1] = S[corner, lane]
            filled = 0
    return SOLVED


@kernel
def sum_system(u: int, cells: Cells, base: Base, fixed: Fixed) -> Floats:
    """A of row u, a full matrix of shape (K, K): for those who ask what a solution is made of."""
    K = fixed.k + 1 if fixed.biases else fixed.k
    work = workspace(K, cells.weights)
    S = np.zeros(((K + 1) * (K + 2) // 2, 1), cells.weights.dtype)
    s = base.s[u] if len(base.s) > 0 else 0.0
    accumulate(cells.indptr[u], cells.indptr[u + 1], cells, s, fixed, work)
    enter_lane(K, work.A, 0, S)
    add_base(u, s, base, fixed, 0, S)
    full = np.empty((K, K), cells.weights.dtype)
    entry = 0
    for a in range(K):
        for c in range(a + 1):
            full[a, c] = full[c, a] = S[entry, 0]
            entry += 1
    return full


@kernel
def sum_segment(u: int, begin: int, end: int, cells: Cells, base: Base, fixed: Fixed, sums: Floats) -> None:
    """Sum a stretch of the observations of row u, a long one, so that several threads can share the row."""
    work = workspace(fixed.k + 1 if fixed.biases else fixed.k, cells.weights)
    s = base.s[u] if len(base.s) > 0 else 0.0
    accumulate(begin, end, cells, s, fixed, work)
    sums[:] = work.A


@kernel
def sum_right_hand_sides(first: int, last: int, cells: Cells, k: int, Y: Floats, B: Floats) -> None:
    """Sum b of the rows first … last − 1 into the rows 0 … of B, where the matrix A is the same for all rows."""
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
