"""The inner loops of ``exact.py``, in LLVM instructions like those of ``_vector.py``.

=============================================  =====================================================================
``add_tile(A, new, Z, n, a, c, vectors)``      A[a:a+R, c:c+w] += Z[:n, a:a+R]ᵀ Z[:n, c:c+w], w = vectors·lanes
``add_diagonals(A, new, Z, n, c, blocks)``     the same for diagonal blocks of A from c on, folded
``unfold_diagonals(A, c)``                     unfold such a block, and add I
``subtract_tile(U, n, a, c, vectors)``         U[a:a+4, c:c+w] −= U[:n, a:a+4]ᵀ U[:n, c:c+w]
``factor_panel(U, a, width, inverse)``         rows a to a + 3 of U, after subtraction of the rows above
``solve_diagonal(U, a, inverse, b, v, U^T)``   U_bb v_b = b_b, or U_bbᵀ v_b = b_b, b = a … a + lanes − 1
``transpose_block(Z, p, c, T)``                T[c:c+lanes, p:p+lanes] = Z[p:p+lanes, c:c+lanes]ᵀ
=============================================  =====================================================================

A tile of A stays in registers while it is summed: R = `TILE_ROWS` rows of up to three vectors, with R = 8 if there
are 32 registers, and 4 if there are 16.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from halfstep._support.jit import intrinsic
from halfstep.solver.kernels._llvm import HAS_WIDE_REGISTERS, WIDE_BYTES, Vectors
from halfstep.solver.kernels._vector import require_same_type

TILE_ROWS = 8 if HAS_WIDE_REGISTERS else 4
PANEL_ROWS = 4


def _emit_tile(
    v: Vectors,
    out: Any,
    left: Any,
    right: Any,
    n: Any,
    rows: int,
    vectors: int,
    operation: Callable[..., Any],
    is_new: Any = None,
) -> None:
    """Emit the loop of a tile, given (address, stride) of its corner and of its two factors.

    A tile that `is_new` starts from zeros.
    """
    b = v.builder
    offsets = [
        b.add(b.mul(v.constant(r), out[1]), v.constant(k * v.lanes)) for r in range(rows) for k in range(vectors)
    ]
    addresses = [b.gep(out[0], [offset]) for offset in offsets]

    def body(p: Any, tile: list[Any]) -> list[Any]:
        x_row, z = (b.gep(start, [b.mul(p, stride)]) for start, stride in (left, right))
        y = [v.load(b.gep(z, [v.constant(k * v.lanes)])) for k in range(vectors)]
        x = [v.splat(b.load(b.gep(x_row, [v.constant(r)]))) for r in range(rows)]
        return [operation(x[k // vectors], y[k % vectors], total) for k, total in enumerate(tile)]

    tile = [v.load(address) for address in addresses]
    if is_new is not None:
        tile = [b.select(is_new, v.zeros, part) for part in tile]
    for total, address in zip(v.loop(n, 1, tile, body), addresses, strict=True):
        v.store(total, address)


@intrinsic
def add_tile(typing_context: Any, A: Any, is_new: Any, Z: Any, n: Any, a: Any, c: Any, vectors: Any) -> Any:
    """A[a:a+R, c:c+w] += Z[:n, a:a+R]ᵀ Z[:n, c:c+w] with w = `vectors`·lanes; A is 0 at first if `is_new`."""
    require_same_type(A, Z)
    intp = types.intp
    signature = types.void(A, types.boolean, Z, intp, intp, intp, vectors)

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        v = Vectors(context, builder, A.dtype, WIDE_BYTES)
        out, is_new, factors, n, a, c, _ = arguments
        zero, stride = v.constant(0), v.columns(Z, factors)
        _emit_tile(
            v,
            (v.pointer(A, out, a, c), v.columns(A, out)),
            (v.pointer(Z, factors, zero, a), stride),
            (v.pointer(Z, factors, zero, c), stride),
            n,
            TILE_ROWS,
            vectors.literal_value,
            v.multiply_add,
            is_new,
        )
        return context.get_dummy_value()

    return signature, emit


# Rotations whose differences include each rotation by up to half of the lanes
TURNS = {4: (0, 1, 2), 8: (0, 1, 2, 4), 16: (0, 1, 2, 5, 8)}


def _turns(lanes: int) -> list[tuple[int, int]]:
    """Return two rotations that differ by d, for each d = 0 … lanes / 2."""
    return [
        next((first, second) for first in TURNS[lanes] for second in TURNS[lanes] if second - first == d)
        for d in range(lanes // 2 + 1)
    ]


@intrinsic
def add_diagonals(typing_context: Any, A: Any, is_new: Any, Z: Any, n: Any, c: Any, blocks: Any) -> Any:
    """Add Z[:n, b]ᵀ Z[:n, b] to A[b, b], folded, for some diagonal blocks b from c on, each as wide as a vector.

    A block is symmetric, so its cyclic diagonals d = 0 … lanes / 2 determine it. Each is the product of a row z of Z,
    rotated by j, with z rotated by j + d, and a few rotations have all these differences:

        A[b₀ + d, b₀ + a] += Σ_p z_(a + j) · z_(a + j + d)

    A is 0 at first if `is_new`.
    """
    require_same_type(A, Z)
    intp = types.intp
    signature = types.void(A, types.boolean, Z, intp, intp, blocks)

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        v, b = Vectors(context, builder, A.dtype, WIDE_BYTES), builder
        out, is_new, factors, n, c, _ = arguments
        pairs, zero = _turns(v.lanes), v.constant(0)
        firsts = [b.add(c, v.constant(k * v.lanes)) for k in range(blocks.literal_value)]
        addresses = [
            v.pointer(A, out, b.add(first, v.constant(d)), first) for first in firsts for d in range(len(pairs))
        ]
        start, stride = v.pointer(Z, factors, zero, c), v.columns(Z, factors)

        def body(p: Any, sums: list[Any]) -> list[Any]:
            row, factors = b.gep(start, [b.mul(p, stride)]), []
            for k in range(len(firsts)):
                z = v.load(b.gep(row, [v.constant(k * v.lanes)]))
                turned = {turn: v.rotated(z, turn) for turn in TURNS[v.lanes]}
                factors += [(turned[first], turned[second]) for first, second in pairs]
            return [v.multiply_add(x, y, total) for (x, y), total in zip(factors, sums, strict=True)]

        sums = [b.select(is_new, v.zeros, v.load(address)) for address in addresses]
        for total, address in zip(v.loop(n, 1, sums, body), addresses, strict=True):
            v.store(total, address)
        return context.get_dummy_value()

    return signature, emit


@intrinsic
def unfold_diagonals(typing_context: Any, A: Any, c: Any) -> Any:
    """Unfold the diagonal block of A from c on that `add_diagonals` summed, and add I to it."""
    require_same_type(A)
    signature = types.void(A, types.intp)

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        v, b = Vectors(context, builder, A.dtype, WIDE_BYTES), builder
        array, c = arguments
        rows = [v.pointer(A, array, b.add(c, v.constant(r)), c) for r in range(v.lanes)]
        diagonals = [v.rotated(v.load(row), -turn) for row, (turn, _) in zip(rows, _turns(v.lanes), strict=False)]
        diagonals[0] = b.fadd(diagonals[0], v.splat(ir.Constant(v.element, 1.0)))
        # A_(a, a + d) is at a in the diagonal d; in the others, being A_(a + d, a), in the diagonal lanes − d
        diagonals += [v.rotated(diagonals[v.lanes - d], d) for d in range(len(diagonals), v.lanes)]
        for r, (row, values) in enumerate(zip(rows, v.transposed(diagonals), strict=True)):
            v.store(v.rotated(values, -r), row)
        return context.get_dummy_value()

    return signature, emit


@intrinsic
def subtract_tile(typing_context: Any, U: Any, n: Any, a: Any, c: Any, vectors: Any) -> Any:
    """U[a:a+4, c:c+w] −= U[:n, a:a+4]ᵀ U[:n, c:c+w] with w = `vectors`·lanes."""
    require_same_type(U)
    intp = types.intp
    signature = types.void(U, intp, intp, intp, vectors)

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        v = Vectors(context, builder, U.dtype, WIDE_BYTES)
        array, n, a, c, _ = arguments
        zero, stride = v.constant(0), v.columns(U, array)
        _emit_tile(
            v,
            (v.pointer(U, array, a, c), stride),
            (v.pointer(U, array, zero, a), stride),
            (v.pointer(U, array, zero, c), stride),
            n,
            PANEL_ROWS,
            vectors.literal_value,
            v.multiply_subtract,
        )
        return context.get_dummy_value()

    return signature, emit


@intrinsic
def factor_panel(typing_context: Any, U: Any, a: Any, width: Any, inverse: Any) -> Any:
    """Factor rows a to a + 3, from which the contributions of the rows above are already subtracted.

    Each row is scaled by its inverted pivot and subtracted from those below; for each vector of columns, all four
    stay in registers.
    """
    require_same_type(U, inverse)
    intp = types.intp
    signature = types.void(U, intp, intp, inverse)
    rows = range(PANEL_ROWS)

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        v, b = Vectors(context, builder, U.dtype, WIDE_BYTES), builder
        array, a, width, inverses = arguments
        root = cgutils.get_or_insert_function(
            b.module,
            ir.FunctionType(v.element, [v.element]),
            f"llvm.sqrt.{ {'float': 'f32', 'double': 'f64'}[str(v.element)] }",
        )
        corner = {
            (r, c): b.load(v.pointer(U, array, b.add(a, v.constant(r)), b.add(a, v.constant(c))))
            for r in rows
            for c in rows
            if c >= r
        }
        scales = []
        for r in rows:
            for p in range(r):
                for c in range(r, PANEL_ROWS):
                    product = b.fmul(corner[p, r], corner[p, c], flags=("contract",))
                    corner[r, c] = b.fsub(corner[r, c], product, flags=("contract",))
            scales.append(b.fdiv(ir.Constant(v.element, 1.0), b.call(root, [corner[r, r]])))
            for c in range(r, PANEL_ROWS):
                corner[r, c] = b.fmul(corner[r, c], scales[r])
        start = context.make_array(inverse)(context, b, inverses).data
        for r in rows:
            b.store(scales[r], b.gep(start, [b.add(a, v.constant(r))]))
        wide_scales = [v.splat(scale) for scale in scales]
        wide = {(p, r): v.splat(corner[p, r]) for p in rows for r in rows if p < r}
        first = b.and_(a, ir.Constant(v.index, -v.lanes))  # the vector that the diagonal lies in
        starts = [v.pointer(U, array, b.add(a, v.constant(r)), first) for r in rows]

        def body(c: Any, _: list[Any]) -> list[Any]:
            values = [v.load(b.gep(row, [c])) for row in starts]
            for r in rows:
                for p in range(r):
                    values[r] = v.multiply_subtract(wide[p, r], values[p], values[r])
                values[r] = b.fmul(values[r], wide_scales[r])
                v.store(values[r], b.gep(starts[r], [c]))
            return []

        v.loop(b.sub(width, first), v.lanes, [], body)
        return context.get_dummy_value()

    return signature, emit


@intrinsic
def solve_diagonal(typing_context: Any, U: Any, a: Any, inverse: Any, b: Any, v: Any, transposed: Any) -> Any:
    """Solve the diagonal block of U from a on, or its transpose, for b[a:a+lanes] into v[a:a+lanes]."""
    require_same_type(U, inverse, b, v)
    signature = types.void(U, types.intp, inverse, b, v, transposed)

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        wide, bld = Vectors(context, builder, U.dtype, WIDE_BYTES), builder
        array, a, *vectors, _ = arguments
        scales, right, solution = (
            bld.gep(context.make_array(kind)(context, bld, vector).data, [a])
            for kind, vector in zip((inverse, b, v), vectors, strict=True)
        )
        lanes = range(wide.lanes)
        rows = [wide.load(wide.pointer(U, array, bld.add(a, wide.constant(r)), a)) for r in lanes]
        steps = rows if transposed.literal_value else wide.transposed(rows)
        scale, left = wide.load(scales), wide.load(right)
        solved = wide.zeros
        for j in lanes if transposed.literal_value else reversed(lanes):
            # x_j = b_j / U_jj, then b −= (column j) x_j; the column is divided by U_jj instead of b_j
            column = bld.fmul(steps[j], wide.spread(scale, j))
            now = wide.spread(left, j)
            solved = wide.blend(solved, left, [j])
            left = wide.multiply_subtract(column, now, left)
        wide.store(bld.fmul(solved, scale), solution)
        return context.get_dummy_value()

    return signature, emit


@intrinsic
def prefetch_row(typing_context: Any, Y: Any, i: Any, width: Any) -> Any:
    """Prefetch Y[i, :width] into the caches."""
    intp = types.intp
    signature = types.void(Y, intp, intp)

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        v, b = Vectors(context, builder, Y.dtype, WIDE_BYTES), builder
        fixed, i, width = arguments
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        prefetch = cgutils.get_or_insert_function(b.module, kind, "llvm.prefetch.p0i8")
        source = v.pointer(Y, fixed, i, v.constant(0))

        def body(c: Any, _: list[Any]) -> list[Any]:
            address = b.bitcast(b.gep(source, [c]), byte)
            b.call(prefetch, [address, word(0), word(3), word(1)])  # to read; into all levels; data
            return []

        v.loop(width, 64 * 8 // Y.dtype.bitwidth, [], body)  # one cache line at a time
        return context.get_dummy_value()

    return signature, emit


@intrinsic
def transpose_block(typing_context: Any, Z: Any, p: Any, c: Any, T: Any) -> Any:
    """T[c:c+lanes, p:p+lanes] = Z[p:p+lanes, c:c+lanes]ᵀ."""
    require_same_type(Z, T)
    intp = types.intp
    signature = types.void(Z, intp, intp, T)

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        v, b = Vectors(context, builder, Z.dtype, WIDE_BYTES), builder
        source, p, c, target = arguments
        lanes = range(v.lanes)
        rows = [v.load(v.pointer(Z, source, b.add(p, v.constant(r)), c)) for r in lanes]
        for r, row in enumerate(v.transposed(rows)):
            v.store(row, v.pointer(T, target, b.add(c, v.constant(r)), p))
        return context.get_dummy_value()

    return signature, emit
