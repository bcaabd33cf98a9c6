"""Inner loops in LLVM instructions, because compilers vectorize the short loops of a half-step badly.

=============================================  =====================================================================
``gather_row(Y, i, w, W, Z, p, width)``        Z[p, :width] = Y[i, :width],  W[p, :width] = w · Y[i, :width]
``add_weighted(A, W, Z, n, a, c, vectors)``    A[a:a+4, c:c+w] += W[:n, a:a+4]ᵀ Z[:n, c:c+w], w = vectors·lanes
``sum_in_registers(S, lane, cells, …, K)``     a system of at most `REGISTER_UNKNOWNS` unknowns, into a lane of S
``sum_scaled_rows(Y, cells, …, c, vectors)``   B[j, c:c+w] = Σ w t y of one row
``eliminate(S, i, j, rows, scaled)``           S[i·, j] −= Σ_p S[i·, p] · S[j, p] for the packed triangles in S
``invert_root(S, j)``                          S[j, j] = 1 / √S[j, j] for all lanes of S
``substitute(S, j, b)``                        one step of the back substitution for all lanes of S
``dot_rows(X, u, Y, i, width)``                Σ_c X[u, c] · Y[i, c] over the first `width` columns
``sum_squares(X, u, cells, …, vectors)``       Σ w (t − o − x·y)² and Σ m (x·y − b)² of one row of few columns
=============================================  =====================================================================

Rows are padded with zeros to whole vectors (`ROW_PADDING`), so that no loop has a remainder. See
``benchmarks/half_step.py`` for the speed of a half-step relative to a matrix product.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.errors import TypingError

from halfstep._support.jit import intrinsic
from halfstep.solver.kernels._llvm import Lanes, Vectors

ROW_PADDING = 8  # elements; a whole number of vectors in either precision
WIDE_PADDING = 16  # a whole number of the wide vectors of large systems
LINE_BYTES = 64  # of the cache; loading a vector that crosses a line takes twice as long
REGISTER_ROWS = 4  # rows of A that `add_weighted` keeps in registers
REGISTER_UNKNOWNS = 12  # the largest system whose sums fit 32 registers


def padded_width(columns: int) -> int:
    """Return the width of rows with `columns` numbers: the next multiple of `WIDE_PADDING`."""
    return -(-columns // WIDE_PADDING) * WIDE_PADDING


def require_same_type(*arrays: Any) -> None:
    """Check that arrays are C-contiguous and of one type, as the instructions below assume."""
    if any(array.layout != "C" or array.dtype != arrays[0].dtype for array in arrays):
        raise TypingError(f"expected C-contiguous arrays of one type, not {', '.join(map(str, arrays))}")


@intrinsic
def gather_row(typing_context: Any, Y: Any, i: Any, w: Any, W: Any, Z: Any, p: Any, width: Any) -> Any:
    """Z[p, :width] = Y[i, :width] and W[p, :width] = w · Y[i, :width]."""
    require_same_type(Y, W, Z)
    intp, element = types.intp, Y.dtype
    signature = types.void(Y, intp, element, W, Z, intp, intp)

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        v = Vectors(context, builder, element)
        fixed, i, w, weighted, plain, p, width = arguments
        zero = v.constant(0)
        source = v.pointer(Y, fixed, i, zero)
        weighted_row, plain_row = v.pointer(W, weighted, p, zero), v.pointer(Z, plain, p, zero)
        scale = v.splat(w)

        def body(c: Any, _: list[Any]) -> list[Any]:
            y = v.load(builder.gep(source, [c]))
            v.store(y, builder.gep(plain_row, [c]))
            v.store(builder.fmul(y, scale), builder.gep(weighted_row, [c]))
            return []

        v.loop(width, v.lanes, [], body)
        return context.get_dummy_value()

    return signature, emit


def _addresses(context: Any, builder: ir.IRBuilder, *arrays: tuple[Any, Any]) -> list[Any]:
    """Return the addresses of one-dimensional arrays, which are given as (type, value)."""
    return [context.make_array(kind)(context, builder, array).data for kind, array in arrays]


def _cell_loader(context: Any, builder: ir.IRBuilder, cells: Any, given: Any) -> Callable[[Any], list[Any]]:
    """Return a function that loads the column, target and weight of a cell; arrays may have a single element."""
    views = [
        context.make_array(cells.types[part])(context, builder, builder.extract_value(given, part))
        for part in (1, 2, 3)
    ]
    one = ir.Constant(context.get_value_type(types.intp), 1)
    steps = [
        builder.zext(builder.icmp_signed(">", builder.extract_value(view.shape, 0), one), one.type) for view in views
    ]

    def load(p: Any) -> list[Any]:
        return [
            builder.load(builder.gep(view.data, [builder.mul(p, step)]))
            for view, step in zip(views, steps, strict=True)
        ]

    return load


@intrinsic
def sum_scaled_rows(
    typing_context: Any, Y: Any, cells: Any, begin: Any, end: Any, B: Any, j: Any, c: Any, vectors: Any
) -> Any:
    """B[j, c:c+w] = Σ w t y_i[c:c+w] over a row's observed cells, w = `vectors`·lanes, summed in registers."""
    _, _, targets, weights = cells.types
    require_same_type(Y, targets, weights, B)
    intp = types.intp
    signature = types.void(Y, cells, intp, intp, B, intp, intp, vectors)
    parts = range(vectors.literal_value)

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        v = Vectors(context, builder, Y.dtype)
        fixed, given, begin, end, sums, j, c, _ = arguments
        load_cell = _cell_loader(context, builder, cells, given)

        def body(p: Any, totals: list[Any]) -> list[Any]:
            column, t, w = load_cell(builder.add(begin, p))
            y = v.pointer(Y, fixed, builder.sext(column, v.index), c)
            wt = v.splat(builder.fmul(w, t))
            return [
                v.multiply_add(v.load(builder.gep(y, [v.constant(part * v.lanes)])), wt, totals[part])
                for part in parts
            ]

        totals = v.loop(builder.sub(end, begin), 1, [v.zeros] * len(parts), body)
        address = v.pointer(B, sums, j, c)
        for part in parts:
            v.store(totals[part], builder.gep(address, [v.constant(part * v.lanes)]))
        return context.get_dummy_value()

    return signature, emit


@intrinsic
def dot_rows(typing_context: Any, X: Any, u: Any, Y: Any, i: Any, width: Any) -> Any:
    """Σ_c X[u, c] · Y[i, c] over the first `width` columns."""
    require_same_type(X, Y)
    intp, element = types.intp, X.dtype
    signature = element(X, intp, Y, intp, intp)

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        v = Vectors(context, builder, element)
        left, u, right, i, width = arguments
        zero = v.constant(0)
        x_row, y_row = v.pointer(X, left, u, zero), v.pointer(Y, right, i, zero)

        def body(c: Any, sums: list[Any]) -> list[Any]:
            return [v.multiply_add(v.load(builder.gep(x_row, [c])), v.load(builder.gep(y_row, [c])), sums[0])]

        (total,) = v.loop(width, v.lanes, [v.zeros], body)
        return v.sum(total)

    return signature, emit


@intrinsic
def sum_squares(
    typing_context: Any,
    X: Any,
    u: Any,
    cells: Any,
    fixed: Any,
    b: Any,
    begin: Any,
    end: Any,
    sums: Any,
    vectors: Any,
) -> Any:
    """Write Σ w (t − o_i − x·y_i)² and Σ m_i (x·y_i − b)² over a row's observed cells to ``sums[0]`` and ``sums[1]``.

    In the precision of X. `vectors` is a literal, and rows have `vectors`·lanes columns: x stays in registers, and
    the product of two rows needs no loop.
    """
    _, _, targets, weights = cells.types
    Y, o, m, _, _ = fixed.types
    require_same_type(X, Y, o, m, sums)
    require_same_type(targets, weights)
    intp, element = types.intp, X.dtype
    signature = types.void(X, intp, cells, fixed, element, intp, intp, sums, vectors)
    parts = range(vectors.literal_value)

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        v = Vectors(context, builder, element)
        left, u, given, held, b, begin, end, out, _ = arguments
        load_cell = _cell_loader(context, builder, cells, given)
        right, offsets, missing = (builder.extract_value(held, part) for part in range(3))
        by_column = _addresses(context, builder, (o, offsets), (m, missing))
        (results,) = _addresses(context, builder, (sums, out))

        def part_of(row: Any, part: int) -> Any:
            return v.load(builder.gep(row, [v.constant(part * v.lanes)]))

        x_row = v.pointer(X, left, u, v.constant(0))
        x = [part_of(x_row, part) for part in parts]

        def body(p: Any, totals: list[Any]) -> list[Any]:
            column, t, w = load_cell(builder.add(begin, p))
            column = builder.sext(column, v.index)
            y_row = v.pointer(Y, right, column, v.constant(0))
            product = v.zeros
            for part in parts:
                product = v.multiply_add(x[part], part_of(y_row, part), product)
            xy = v.sum(product)
            t, w = (context.cast(builder, number, targets.dtype, element) for number in (t, w))
            o_i, m_i = (builder.load(builder.gep(start, [column])) for start in by_column)
            residual, score = builder.fsub(builder.fsub(t, o_i), xy), builder.fsub(xy, b)
            return [
                v.multiply_add(builder.fmul(w, residual), residual, totals[0]),
                v.multiply_add(builder.fmul(m_i, score), score, totals[1]),
            ]

        totals = v.loop(builder.sub(end, begin), 1, [ir.Constant(v.element, 0.0)] * 2, body)
        for address, total in enumerate(totals):
            builder.store(total, builder.gep(results, [v.constant(address)]))
        return context.get_dummy_value()

    return signature, emit


@intrinsic
def add_weighted(typing_context: Any, A: Any, W: Any, Z: Any, n: Any, a: Any, c: Any, vectors: Any) -> Any:
    """A[a:a+4, c:c+w] += W[:n, a:a+4]ᵀ Z[:n, c:c+w] with w = `vectors`·lanes; the tile of A stays in registers."""
    require_same_type(A, W, Z)
    intp, element = types.intp, A.dtype
    signature = types.void(A, W, Z, intp, intp, intp, vectors)
    count = vectors.literal_value

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        v = Vectors(context, builder, element)
        out, left, right, n, a, c, _ = arguments
        zero = v.constant(0)
        columns = [builder.add(c, v.constant(k * v.lanes)) for k in range(count)]
        rows = [builder.add(a, v.constant(r)) for r in range(REGISTER_ROWS)]
        addresses = [v.pointer(A, out, row, column) for row in rows for column in columns]
        left_start, left_stride = v.pointer(W, left, zero, a), v.columns(W, left)
        right_start, right_stride = v.pointer(Z, right, zero, c), v.columns(Z, right)

        def body(p: Any, tile: list[Any]) -> list[Any]:
            w = builder.gep(left_start, [builder.mul(p, left_stride)])
            z = builder.gep(right_start, [builder.mul(p, right_stride)])
            y = [v.load(builder.gep(z, [v.constant(k * v.lanes)])) for k in range(count)]
            x = [v.splat(builder.load(builder.gep(w, [v.constant(r)]))) for r in range(REGISTER_ROWS)]
            return [v.multiply_add(x[k // count], y[k % count], sums) for k, sums in enumerate(tile)]

        for total, address in zip(v.loop(n, 1, [v.load(p) for p in addresses], body), addresses, strict=True):
            v.store(total, address)
        return context.get_dummy_value()

    return signature, emit


@intrinsic
def sum_in_registers(
    typing_context: Any, S: Any, lane: Any, cells: Any, fixed: Any, begin: Any, end: Any, K: Any
) -> Any:
    """Write Σ w y yᵀ as a packed lower triangle, then Σ w (t − o_i) y and Σ w (t − o_i)², to a lane of S.

    K is a literal of at most `REGISTER_UNKNOWNS`, so that all sums stay in registers. y is Y[i, :K] with i =
    indices[p].
    """
    _, _, targets, weights = cells.types
    Y, o, _, _, _ = fixed.types
    require_same_type(S, Y, targets, weights, o)
    intp, element = types.intp, S.dtype
    signature = types.void(S, intp, cells, fixed, intp, intp, K)
    unknowns = K.literal_value

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        v = Vectors(context, builder, element)
        systems, lane, given, held, begin, end, _ = arguments
        load_cell = _cell_loader(context, builder, cells, given)
        right = builder.extract_value(held, 0)
        (offset,) = _addresses(context, builder, (o, builder.extract_value(held, 1)))
        vectors = range(-(-unknowns // v.lanes))
        triangle = [(row, part) for row in range(unknowns) for part in range(row // v.lanes + 1)]

        def body(p: Any, sums: list[Any]) -> list[Any]:
            column, t, w = load_cell(builder.add(begin, p))
            column = builder.sext(column, v.index)
            t = builder.fsub(t, builder.load(builder.gep(offset, [column])))
            square = v.multiply_add(builder.fmul(w, t), t, sums[-1])
            t = v.splat(t)
            y = v.pointer(Y, right, column, v.constant(0))
            wide_w = v.splat(w)
            wy = [builder.fmul(v.load(builder.gep(y, [v.constant(part * v.lanes)])), wide_w) for part in vectors]
            x = [v.splat(builder.load(builder.gep(y, [v.constant(row)]))) for row in range(unknowns)]
            products = [
                v.multiply_add(x[row], wy[part], total)
                for (row, part), total in zip(triangle, sums[len(wy) : -1], strict=True)
            ]
            return [v.multiply_add(t, wy[part], sums[part]) for part in vectors] + products + [square]

        zeros = [v.zeros] * (len(vectors) + len(triangle)) + [ir.Constant(v.element, 0.0)]
        sums = v.loop(builder.sub(end, begin), 1, zeros, body)

        def store_lanes(entry: int, total: Any, part: int, count: int) -> None:
            for c in range(part * v.lanes, min((part + 1) * v.lanes, count)):
                value = builder.extract_element(total, ir.Constant(ir.IntType(32), c % v.lanes))
                builder.store(value, v.pointer(S, systems, v.constant(entry + c), lane))

        for part in vectors:
            store_lanes(unknowns * (unknowns + 1) // 2, sums[part], part, unknowns)
        for (row, part), total in zip(triangle, sums[len(vectors) : -1], strict=True):
            store_lanes(row * (row + 1) // 2, total, part, row + 1)
        corner = (unknowns + 1) * (unknowns + 2) // 2 - 1
        builder.store(sums[-1], v.pointer(S, systems, v.constant(corner), lane))
        return context.get_dummy_value()

    return signature, emit


@intrinsic
def eliminate(typing_context: Any, S: Any, i: Any, j: Any, rows: Any, scaled: Any) -> Any:
    """One inner product of the Cholesky factorization for `rows` successive rows i, in all lanes of S.

    S[i, j] −= Σ_{p<j} S[i, p] · S[j, p]; then, if `scaled`, S[i, j] *= S[j, j], which holds the inverted pivot.
    """
    signature = types.void(S, types.intp, types.intp, rows, scaled)
    count, is_scaled = rows.literal_value, bool(scaled.literal_value)

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        triangles, i, j, *_ = arguments
        v = Lanes(context, builder, S, triangles)
        pivot = v.row(j)
        starts = [v.row(builder.add(i, v.constant(r))) for r in range(count)]
        addresses = [v.entry(start, j) for start in starts]

        def body(p: Any, sums: list[Any]) -> list[Any]:
            y = v.load(v.entry(pivot, p))
            return [
                v.multiply_subtract(v.load(v.entry(start, p)), y, total)
                for start, total in zip(starts, sums, strict=True)
            ]

        sums = v.loop(j, 1, [v.load(address) for address in addresses], body)
        if is_scaled:
            inverse = v.load(v.entry(pivot, j))
            sums = [builder.fmul(total, inverse) for total in sums]
        for total, address in zip(sums, addresses, strict=True):
            v.store(total, address)
        return context.get_dummy_value()

    return signature, emit


@intrinsic
def invert_root(typing_context: Any, S: Any, j: Any) -> Any:
    """S[j, j] = 1 / √S[j, j] in all lanes."""
    signature = types.void(S, types.intp)

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        triangles, j = arguments
        v = Lanes(context, builder, S, triangles)
        address = v.entry(v.row(j), j)
        one = ir.Constant(v.vector, [1.0] * v.lanes)
        v.store(builder.fdiv(one, v.square_root(v.load(address))), address)
        return context.get_dummy_value()

    return signature, emit


@intrinsic
def substitute(typing_context: Any, S: Any, j: Any, b: Any) -> Any:
    """One step of the back substitution Lᵀ x = z in all lanes; z is in row b of S, and is replaced by x.

    x_j = z_j · S[j, j] (the inverted pivot), then z_c −= S[j, c] · x_j for all c < j.
    """
    signature = types.void(S, types.intp, types.intp)

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        triangles, j, b = arguments
        v = Lanes(context, builder, S, triangles)
        pivot, z = v.row(j), v.row(b)
        x = builder.fmul(v.load(v.entry(z, j)), v.load(v.entry(pivot, j)))
        v.store(x, v.entry(z, j))

        def body(c: Any, _: list[Any]) -> list[Any]:
            address = v.entry(z, c)
            v.store(v.multiply_subtract(v.load(v.entry(pivot, c)), x, v.load(address)), address)
            return []

        v.loop(j, 1, [], body)
        return context.get_dummy_value()

    return signature, emit
