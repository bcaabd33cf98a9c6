"""Products of rows with a vector, in LLVM instructions like those of ``_vector.py``.

=============================================  =====================================================================
``add_normal(Y, at, p, w, r, x, e, y, width)`` e = Y_p x,  y += Y_pᵀ (r − w e)  with 8 rows Y_p of Y
``add_rows(Z, first, n, f, c, y, vectors)``    y[c:c+w] += Σ_p f[first + p] · Z[first + p, c:c+w]
``dot_panel(U, a, c, width, y, out)``          out_a −= U_a[c:width] y[c:width] of as many rows a as lanes
``dot_listed(Y, at, p, c, x, e, width)``       e = Y_p[:, c:c+width] x, with 8 rows Y_p of Y
``gather_panel(Y, at, p, c, f, d, r, …)``       Z_q = f Y_p[:, c:c+width] d,  b += Z_qᵀ r, with 8 rows
=============================================  =====================================================================
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from halfstep._support.jit import intrinsic
from halfstep.solver.kernels._llvm import WIDE_BYTES, Vectors
from halfstep.solver.kernels._vector import require_same_type

PANEL = 8  # rows whose products with a vector are summed in parallel


@intrinsic
def add_normal(
    typing_context: Any, Y: Any, at: Any, p: Any, w: Any, r: Any, x: Any, e: Any, y: Any, width: Any
) -> Any:
    """e[p:p+8] = Y_p x and y += Y_pᵀ (r − w e)[p:p+8], for the `PANEL` rows Y_p of Y with indices ``at[p:p+8]``.

    Only the first product reads from memory; for the second, the rows are in the L1 cache.
    """
    require_same_type(Y, w, r, x, e, y)
    intp = types.intp
    signature = types.void(Y, at, intp, w, r, x, e, y, intp)
    rows = range(PANEL)

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        v, b = Vectors(context, builder, Y.dtype, WIDE_BYTES), builder
        array, positions, p, *vectors, width = arguments
        first = b.gep(context.make_array(at)(context, b, positions).data, [p])
        weights, targets, right, products, sums = (
            context.make_array(kind)(context, b, vector).data
            for kind, vector in zip((w, r, x, e, y), vectors, strict=True)
        )
        starts = _listed_rows(v, Y, array, first, v.constant(0))
        product = _products(v, starts, right, width)
        v.store(product, b.gep(products, [p]))
        weight, target = (v.load(b.gep(start, [p]), PANEL) for start in (weights, targets))
        left = v.multiply_subtract(weight, product, target)
        factors = [v.splat(b.extract_element(left, ir.IntType(32)(row))) for row in rows]

        def add(c: Any, _: list[Any]) -> list[Any]:
            address = b.gep(sums, [c])
            halves = [v.load(address), v.zeros]  # two sums halve the chain of dependent additions
            for row in rows:
                halves[row % 2] = v.multiply_add(v.load(b.gep(starts[row], [c])), factors[row], halves[row % 2])
            v.store(b.fadd(*halves), address)
            return []

        v.loop(width, v.lanes, [], add)
        return context.get_dummy_value()

    return signature, emit


@intrinsic
def add_rows(typing_context: Any, Z: Any, first: Any, n: Any, f: Any, c: Any, y: Any, vectors: Any) -> Any:
    """y[c:c+w] += Σ_p f[first + p] · Z[first + p, c:c+w] over n rows, w = `vectors`·lanes kept in registers."""
    require_same_type(Z, f, y)
    intp = types.intp
    signature = types.void(Z, intp, intp, f, intp, y, vectors)
    parts = range(vectors.literal_value)

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        v, b = Vectors(context, builder, Z.dtype, WIDE_BYTES), builder
        array, first, n, factors, c, vector, _ = arguments
        source, stride = v.pointer(Z, array, first, c), v.columns(Z, array)
        factor = b.gep(context.make_array(f)(context, b, factors).data, [first])
        target = b.gep(context.make_array(y)(context, b, vector).data, [c])
        addresses = [b.gep(target, [v.constant(part * v.lanes)]) for part in parts]

        def body(p: Any, sums: list[Any]) -> list[Any]:
            row, wide = b.gep(source, [b.mul(p, stride)]), v.splat(b.load(b.gep(factor, [p])))
            return [
                v.multiply_add(v.load(b.gep(row, [v.constant(part * v.lanes)])), wide, sums[part]) for part in parts
            ]

        for total, address in zip(
            v.loop(n, 1, [v.load(address) for address in addresses], body), addresses, strict=True
        ):
            v.store(total, address)
        return context.get_dummy_value()

    return signature, emit


@intrinsic
def dot_panel(typing_context: Any, U: Any, a: Any, first: Any, width: Any, y: Any, out: Any) -> Any:
    """out[a + r] −= U[a + r, first:width] · y[first:width] for as many rows r as a vector has lanes."""
    require_same_type(U, y, out)
    intp = types.intp
    signature = types.void(U, intp, intp, intp, y, out)

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        v, b = Vectors(context, builder, U.dtype, WIDE_BYTES), builder
        array, a, first, width, vector, results = arguments
        starts = [v.pointer(U, array, b.add(a, v.constant(r)), first) for r in range(v.lanes)]
        right = b.gep(context.make_array(y)(context, b, vector).data, [first])
        product = _products(v, starts, right, b.sub(width, first))
        address = b.gep(context.make_array(out)(context, b, results).data, [a])
        v.store(b.fsub(v.load(address), product), address)
        return context.get_dummy_value()

    return signature, emit


@intrinsic
def dot_listed(typing_context: Any, Y: Any, at: Any, p: Any, first: Any, x: Any, e: Any, width: Any) -> Any:
    """e[p:p+8] = Y_p[:, first:first+width] x[:width], of the `PANEL` rows Y_p of Y that ``at[p:p+8]`` name."""
    require_same_type(Y, x, e)
    intp = types.intp
    signature = types.void(Y, at, intp, intp, x, e, intp)

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        v, b = Vectors(context, builder, Y.dtype, WIDE_BYTES), builder
        array, positions, p, first, right, products, width = arguments
        listed, right, products = (
            context.make_array(kind)(context, b, vector).data
            for kind, vector in ((at, positions), (x, right), (e, products))
        )
        starts = _listed_rows(v, Y, array, b.gep(listed, [p]), first)
        v.store(_products(v, starts, right, width), b.gep(products, [p]))
        return context.get_dummy_value()

    return signature, emit


@intrinsic
def gather_panel(
    typing_context: Any,
    Y: Any,
    at: Any,
    p: Any,
    first: Any,
    f: Any,
    d: Any,
    r: Any,
    Z: Any,
    q: Any,
    b: Any,
    width: Any,
) -> Any:
    """Z[q + j, :width] = f_(p+j) · Y[at_(p+j), first:first+width] · d[first:first+width] for the rows j of a panel.

    Also b[:width] += Σ_j r_(p+j) · Z[q + j, :width], while these are in registers.
    """
    require_same_type(Y, f, d, r, Z, b)
    intp = types.intp
    signature = types.void(Y, at, intp, intp, f, d, r, Z, intp, b, intp)
    rows = range(PANEL)

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        v, bld = Vectors(context, builder, Y.dtype, WIDE_BYTES), builder
        array, positions, p, first, factors, scales, targets, gathered, q, sums, width = arguments
        listed, factors, scales, targets, sums = (
            context.make_array(kind)(context, bld, vector).data
            for kind, vector in ((at, positions), (f, factors), (d, scales), (r, targets), (b, sums))
        )
        sources = _listed_rows(v, Y, array, bld.gep(listed, [p]), first)
        numbers = [bld.add(p, v.constant(j)) for j in rows]
        factors, targets = (
            [v.splat(bld.load(bld.gep(start, [number]))) for number in numbers] for start in (factors, targets)
        )
        copies = [v.pointer(Z, gathered, bld.add(q, v.constant(j)), v.constant(0)) for j in rows]
        scales = bld.gep(scales, [first])

        def body(c: Any, _: list[Any]) -> list[Any]:
            scale, address = v.load(bld.gep(scales, [c])), bld.gep(sums, [c])
            halves = [v.load(address), v.zeros]  # two sums halve the chain of dependent additions
            for j in rows:
                z = bld.fmul(bld.fmul(v.load(bld.gep(sources[j], [c])), scale), factors[j])
                v.store(z, bld.gep(copies[j], [c]))
                halves[j % 2] = v.multiply_add(z, targets[j], halves[j % 2])
            v.store(bld.fadd(*halves), address)
            return []

        v.loop(width, v.lanes, [], body)
        return context.get_dummy_value()

    return signature, emit


def _listed_rows(v: Vectors, kind: Any, array: Any, positions: Any, first: Any) -> list[Any]:
    """Return the addresses of column `first` of the `PANEL` rows whose indices are at `positions`."""
    b = v.builder
    return [v.pointer(kind, array, b.load(b.gep(positions, [v.constant(row)])), first) for row in range(PANEL)]


def _products(v: Vectors, starts: list[Any], right: Any, width: Any) -> Any:
    """Return the products of some rows with the vector at `right`, one in each lane."""
    b = v.builder

    def dot(c: Any, totals: list[Any]) -> list[Any]:
        factor = v.load(b.gep(right, [c]))
        return [
            v.multiply_add(v.load(b.gep(start, [c])), factor, total)
            for start, total in zip(starts, totals, strict=True)
        ]

    return v.sums(v.loop(width, v.lanes, [v.zeros] * len(starts), dot))
