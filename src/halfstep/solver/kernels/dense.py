"""Dense linear algebra of one system in the cache: sums of outer products, Cholesky factorization, triangular solves.

Matrices are symmetric, and only their upper triangles are stored: I + … = Uᵀ U. Their sizes are padded to whole
vectors.

LAPACK is not used, because its factorization reaches an eighth of peak speed at these sizes; nor is BLAS, because it
cannot prefetch the rows that are gathered next.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from halfstep._support.jit import inner, kernel
from halfstep.solver.kernels._llvm import WIDE_BYTES
from halfstep.solver.kernels._panels import add_rows, dot_panel
from halfstep.solver.kernels._tiles import (
    PANEL_ROWS,
    TILE_ROWS,
    add_diagonals,
    add_tile,
    factor_panel,
    prefetch_row,
    solve_diagonal,
    subtract_tile,
    transpose_block,
    unfold_diagonals,
)
from halfstep.solver.kernels._vector import LINE_BYTES, WIDE_PADDING

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]


@kernel
def aligned(rows: int, width: int, like: Floats) -> Floats:
    """Allocate zeros of shape (rows, width) in which each row starts at a cache line, if width is padded."""
    room = np.zeros(rows * width + LINE_BYTES // like.itemsize, like.dtype)
    skip = (-room.ctypes.data % LINE_BYTES) // like.itemsize
    return room[skip : skip + rows * width].reshape(rows, width)


@inner
def padded(columns: int) -> int:
    """Return the next multiple of `WIDE_PADDING`."""
    return -(-columns // WIDE_PADDING) * WIDE_PADDING


@inner
def add_products(
    A: Floats, is_new: bool, Z: Floats, n: int, rows: int, Y: Floats, indices: Ints, begin: int, end: int
) -> None:
    """Add Σ_p z_p z_pᵀ over the first n rows of Z to the upper triangle of A, which is 0 at first if `is_new`.

    Meanwhile, the rows of Y that are gathered next, of the observed cells begin … end − 1, are prefetched.
    """
    lanes = WIDE_BYTES // A.itemsize
    share = -(-(end - begin) * TILE_ROWS // rows)
    for a in range(0, rows, TILE_ROWS):
        for p in range(begin, min(begin + share, end)):
            prefetch_row(Y, np.intp(indices[np.uintp(p)]), Y.shape[1])  # unsigned: never negative
        begin += share
        c = a - a % lanes + lanes
        while c < rows:  # 4 as 2 + 2, because the additions of a tile of 1 vector depend on each other
            left = (rows - c) // lanes
            if left == 3 or left > 4:
                add_tile(A, is_new, Z, n, a, c, 3)
                c += 3 * lanes
            elif left > 1:
                add_tile(A, is_new, Z, n, a, c, 2)
                c += 2 * lanes
            else:
                add_tile(A, is_new, Z, n, a, c, 1)
                c += lanes
    c = 0
    while c + lanes < rows:
        add_diagonals(A, is_new, Z, n, c, 2)
        c += 2 * lanes
    if c < rows:
        add_diagonals(A, is_new, Z, n, c, 1)


@inner
def unfold(A: Floats, rows: int) -> None:
    """Unfold the diagonal blocks of A after all products are added, and add I."""
    for c in range(0, rows, WIDE_BYTES // A.itemsize):
        unfold_diagonals(A, c)


@inner
def factor(U: Floats, rows: int, inverse: Floats, b: Floats, v: Floats) -> bool:
    """Overwrite I + … with U, solve Uᵀ v = b, which overwrites b, and set `inverse` to 1 / U_aa.

    Return False if a pivot is lost to rounding. Each vector of v is solved as soon as its rows of U are computed,
    because the chain of dependent operations then overlaps with the factorization of the next rows.
    """
    lanes = WIDE_BYTES // U.itemsize
    least = U.dtype.type(rows * np.finfo(U.dtype).eps)
    is_accurate = True
    for a in range(0, rows, PANEL_ROWS):
        before = U.dtype.type(0)
        for r in range(PANEL_ROWS):
            p = np.uintp(a + r)
            before += U[p, p]
        c = a - a % lanes
        while c < rows:
            left = (rows - c) // lanes
            if left == 3 or left > 4:
                subtract_tile(U, a, a, c, 3)
                c += 3 * lanes
            elif left > 1:
                subtract_tile(U, a, a, c, 2)
                c += 2 * lanes
            else:
                subtract_tile(U, a, a, c, 1)
                c += lanes
        factor_panel(U, a, rows, inverse)
        for r in range(PANEL_ROWS):
            scale = inverse[np.uintp(a + r)]
            if not scale * scale * (least * before) < 1:
                is_accurate = False
        if (a + PANEL_ROWS) % lanes == 0:
            solve_transposed(U, a + PANEL_ROWS - lanes, rows, inverse, b, v)
    return is_accurate


@inner
def solve_transposed(U: Floats, a: int, rows: int, inverse: Floats, b: Floats, v: Floats) -> None:
    """Solve a vector of unknowns of Uᵀ v = b, from a on; b is updated for the unknowns that follow."""
    lanes = WIDE_BYTES // U.itemsize
    solve_diagonal(U, a, inverse, b, v, True)
    for r in range(lanes):
        p = np.uintp(a + r)
        b[p] = -v[p]
    for c in range(a + lanes, rows, lanes):
        add_rows(U, a, lanes, b, c, b, 1)


@inner
def solve_upper(U: Floats, rows: int, inverse: Floats, v: Floats) -> None:
    """Solve U v = v in place, a vector of unknowns at a time."""
    lanes = WIDE_BYTES // U.itemsize
    for a in range(rows - lanes, -1, -lanes):
        dot_panel(U, a, a + lanes, rows, v, v)
        solve_diagonal(U, a, inverse, v, v, False)


@inner
def solve_factored(U: Floats, rows: int, inverse: Floats, b: Floats, v: Floats) -> None:
    """Solve Uᵀ U v = b for another right-hand side; b is overwritten."""
    for a in range(0, rows, WIDE_BYTES // U.itemsize):
        solve_transposed(U, a, rows, inverse, b, v)
    solve_upper(U, rows, inverse, v)


@inner
def add_scaled(Z: Floats, first: int, n: int, f: Floats, width: int, b: Floats) -> None:
    """b[:width] += Σ_p f[first + p] · Z[first + p, :width] over n rows."""
    lanes = WIDE_BYTES // Z.itemsize
    c = 0
    while c + 8 * lanes <= width:
        add_rows(Z, first, n, f, c, b, 8)
        c += 8 * lanes
    while c + 4 * lanes <= width:
        add_rows(Z, first, n, f, c, b, 4)
        c += 4 * lanes
    while c < width:
        add_rows(Z, first, n, f, c, b, 1)
        c += lanes


@inner
def transpose(Z: Floats, n: int, width: int, T: Floats) -> None:
    """T[:width, :n] = Z[:n, :width]ᵀ, for n and width in whole vectors."""
    lanes = WIDE_BYTES // Z.itemsize
    for p in range(0, n, lanes):
        for c in range(0, width, lanes):
            transpose_block(Z, p, c, T)


@inner
def sqrt_in_place(n: int, numbers: Floats) -> None:
    """Replace the first n numbers by their square roots."""
    for p in range(n):
        numbers[p] = np.sqrt(numbers[p])


@inner
def rsqrt_in_place(n: int, numbers: Floats) -> None:
    """Replace the first n numbers by 1 / √."""
    for p in range(n):
        numbers[p] = 1.0 / np.sqrt(numbers[p])


@inner
def divide(n: int, roots: Floats, numbers: Floats) -> None:
    """numbers[:n] /= roots[:n]."""
    for p in range(n):
        numbers[p] /= roots[p]


@inner
def copy(source: Floats, n: int, target: Floats) -> None:
    """target[:n] = source[:n]; Numba compiles it ten times as fast as an assignment of slices."""
    for p in range(n):
        target[p] = source[p]
