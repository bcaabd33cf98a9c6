"""The linear algebra of one system, dense and in the caches: sums of outer products, factorisation, triangles.

Matrices are symmetric and kept from the diagonal on, as I + … = Uᵀ U; their sizes are whole vectors (`padded`).

Why it is written out: LAPACK's factorisation reaches an eighth of the machine at these sizes, and BLAS cannot ask for
the rows that come next while it multiplies.
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
    solve_block,
    subtract_tile,
    transpose_block,
    unfold_diagonals,
)
from halfstep.solver.kernels._vector import WIDE_PADDING

LINE_BYTES = 64

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]


@kernel
def aligned(rows: int, width: int, like: Floats) -> Floats:
    """Zeros of shape (rows, width), whole vectors wide, which begin with a line of the cache and so do all rows.

    Where memory happens to begin in the middle of one, every vector lies in two.
    """
    room = np.zeros(rows * width + LINE_BYTES // like.itemsize, like.dtype)
    skip = (-room.ctypes.data % LINE_BYTES) // like.itemsize
    return room[skip : skip + rows * width].reshape(rows, width)


@inner
def padded(columns: int) -> int:
    """The next multiple of `WIDE_PADDING`."""
    return -(-columns // WIDE_PADDING) * WIDE_PADDING


@inner
def add_products(
    A: Floats, is_new: bool, Z: Floats, n: int, rows: int, Y: Floats, indices: Ints, begin: int, end: int
) -> None:
    """A += Σ_p z_p z_pᵀ over the first n rows of Z: the first `rows` rows of A, from the diagonal on; a new one is 0.

    While that is computed, the observations begin … end − 1 are asked for, which will be gathered next.
    """
    lanes = WIDE_BYTES // A.itemsize
    share = -(-(end - begin) * TILE_ROWS // rows)
    for a in range(0, rows, TILE_ROWS):
        for p in range(begin, min(begin + share, end)):
            prefetch_row(Y, np.intp(indices[np.uintp(p)]), Y.shape[1])  # unsigned: no place is counted from the end
        begin += share
        c = a - a % lanes + lanes
        while c < rows:  # four are two and two: a tile of one vector waits for its own sums
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
    """Once all products are added, unfold the blocks on A's diagonal, which are folded until then; and add I."""
    for c in range(0, rows, WIDE_BYTES // A.itemsize):
        unfold_diagonals(A, c)


@inner
def factor(U: Floats, rows: int, inverse: Floats, b: Floats, v: Floats) -> bool:
    """Overwrite I + … with U, from the diagonal on, and solve Uᵀ v = b on the way, which overwrites b.

    `inverse` becomes 1 / U_aa. Returns False if a pivot lost its digits. Each unknown of v waits for the one before:
    so those of a vector are solved for as soon as their rows are there, while the processor goes on with the next.
    """
    lanes = WIDE_BYTES // U.itemsize
    least = U.dtype.type(rows * np.finfo(U.dtype).eps)
    sound = True
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
                sound = False
        if (a + PANEL_ROWS) % lanes == 0:
            solve_first(U, a + PANEL_ROWS - lanes, rows, inverse, b, v)
    return sound


@inner
def solve_first(U: Floats, a: int, rows: int, inverse: Floats, b: Floats, v: Floats) -> None:
    """Solve Uᵀ v = b for a vector of unknowns, from a on; in b only what is left for the others counts after it."""
    lanes = WIDE_BYTES // U.itemsize
    solve_block(U, a, inverse, b, v, True)
    for r in range(lanes):
        p = np.uintp(a + r)
        b[p] = -v[p]
    for c in range(a + lanes, rows, lanes):
        add_rows(U, a, lanes, b, c, b, 1)


@inner
def solve_second(U: Floats, rows: int, inverse: Floats, v: Floats) -> None:
    """Solve U v = v, a vector of unknowns at a time, in place."""
    lanes = WIDE_BYTES // U.itemsize
    for a in range(rows - lanes, -1, -lanes):
        dot_panel(U, a, a + lanes, rows, v, v)
        solve_block(U, a, inverse, v, v, False)


@inner
def solve_factored(U: Floats, rows: int, inverse: Floats, b: Floats, v: Floats) -> None:
    """Solve Uᵀ U v = b for another right-hand side; b is overwritten."""
    for a in range(0, rows, WIDE_BYTES // U.itemsize):
        solve_first(U, a, rows, inverse, b, v)
    solve_second(U, rows, inverse, v)


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
    """T[:width, :n] = Z[:n, :width]ᵀ; both are whole vectors, rows of Z beyond the last are 0."""
    lanes = WIDE_BYTES // Z.itemsize
    for p in range(0, n, lanes):
        for c in range(0, width, lanes):
            transpose_block(Z, p, c, T)


@inner
def take_roots(n: int, numbers: Floats) -> None:
    """√ of the first n numbers, in place."""
    for p in range(n):
        numbers[p] = np.sqrt(numbers[p])


@inner
def invert_roots(n: int, numbers: Floats) -> None:
    """1 / √ of the first n numbers, in place."""
    for p in range(n):
        numbers[p] = 1.0 / np.sqrt(numbers[p])


@inner
def divide(n: int, roots: Floats, numbers: Floats) -> None:
    """numbers[:n] /= roots[:n]."""
    for p in range(n):
        numbers[p] /= roots[p]


@inner
def copy(source: Floats, n: int, target: Floats) -> None:
    """target[:n] = source[:n], which takes Numba a tenth as long to compile."""
    for p in range(n):
        target[p] = source[p]
