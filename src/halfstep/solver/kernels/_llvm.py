"""LLVM instructions on vectors, the building blocks of ``_vector.py``, ``_tiles.py`` and ``_panels.py``.

A vector is an LLVM vector type: on a machine with narrower registers it takes two, with the same result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils

HAS_WIDE_REGISTERS = bool(llvm.get_host_cpu_features().get("avx512vl"))  # 32 registers of 64 bytes

VECTOR_BYTES = 32  # width of a vector in small systems
WIDE_BYTES = 64 if HAS_WIDE_REGISTERS else 32  # and in large ones
LANE_BYTES = 64  # width of a vector with one element of each of several packed triangles


class Vectors:
    """LLVM instructions on arrays of one element type; a vector has `lanes` elements."""

    def __init__(self, context: Any, builder: ir.IRBuilder, element: Any, width: int = VECTOR_BYTES) -> None:
        self.context, self.builder = context, builder
        self.lanes = width * 8 // int(element.bitwidth)
        self.element = context.get_value_type(element)
        self.vector = ir.VectorType(self.element, self.lanes)
        self.index = context.get_value_type(types.intp)
        self.zeros = ir.Constant(self.vector, [0.0] * self.lanes)

    def constant(self, value: int) -> ir.Constant:
        return ir.Constant(self.index, value)

    def pointer(self, array_type: Any, array: Any, *offsets: Any) -> Any:
        """Return the address of the element `offsets` = (row, column) of a C-contiguous 2-d array."""
        b = self.builder
        view = self.context.make_array(array_type)(self.context, b, array)
        columns = b.extract_value(view.shape, 1)
        row, column = offsets
        return b.gep(view.data, [b.add(b.mul(row, columns), column)])

    def columns(self, array_type: Any, array: Any) -> Any:
        view = self.context.make_array(array_type)(self.context, self.builder, array)
        return self.builder.extract_value(view.shape, 1)

    def load(self, pointer: Any, lanes: int | None = None) -> Any:
        """Load a vector of `lanes` elements, or of the given number."""
        vector = ir.VectorType(self.element, lanes or self.lanes)
        value = self.builder.load(self.builder.bitcast(pointer, vector.as_pointer()))
        value.align = 4  # guaranteed by NumPy for float32 arrays
        return value

    def store(self, value: Any, pointer: Any) -> None:
        self.builder.store(value, self.builder.bitcast(pointer, value.type.as_pointer())).align = 4

    def splat(self, scalar: Any) -> Any:
        b, one = self.builder, ir.IntType(32)
        undefined = ir.Constant(self.vector, ir.Undefined)
        first = b.insert_element(undefined, scalar, ir.Constant(one, 0))
        return b.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(one, self.lanes), [0] * self.lanes))

    def multiply_add(self, x: Any, y: Any, z: Any) -> Any:
        """Return x·y + z, fused if the machine supports it."""
        b = self.builder
        return b.fadd(z, b.fmul(x, y, flags=("contract",)), flags=("contract",))

    def multiply_subtract(self, x: Any, y: Any, z: Any) -> Any:
        """Return z − x·y, fused if the machine supports it."""
        b = self.builder
        return b.fsub(z, b.fmul(x, y, flags=("contract",)), flags=("contract",))

    def square_root(self, x: Any) -> Any:
        kind = {"float": "f32", "double": "f64"}[str(self.element)]
        function = cgutils.get_or_insert_function(
            self.builder.module, ir.FunctionType(self.vector, [self.vector]), f"llvm.sqrt.v{self.lanes}{kind}"
        )
        return self.builder.call(function, [x])

    def sum(self, total: Any, lanes: int = 1) -> Any:
        """Return the pairwise sum over the lanes of `total`, or a vector of partial sums if `lanes` is above 1."""
        b, index = self.builder, ir.IntType(32)
        while total.type.count > lanes:
            half = total.type.count // 2
            kept = ir.VectorType(index, half)
            lower = b.shuffle_vector(total, total, ir.Constant(kept, list(range(half))))
            upper = b.shuffle_vector(total, total, ir.Constant(kept, list(range(half, 2 * half))))
            total = b.fadd(lower, upper)
        return b.extract_element(total, ir.Constant(index, 0)) if lanes == 1 else total

    def sums(self, totals: Sequence[Any]) -> Any:
        """Return a vector with the sum over the lanes of each of 2, 4, … vectors.

        Pairs of vectors are merged, alternating their lanes (then pairs of lanes, …).
        """
        b, count = self.builder, len(totals)
        kind = ir.VectorType(ir.IntType(32), count)
        if count > self.lanes:
            lower, upper = self.sums(totals[: count // 2]), self.sums(totals[count // 2 :])
            return b.shuffle_vector(lower, upper, ir.Constant(kind, list(range(count))))
        vectors, step = [self.sum(total, count) for total in totals], 1
        while step < count:
            halved = []
            for upper, lower in zip(vectors[::2], vectors[1::2], strict=True):
                near = [lane if not lane & step else count + lane - step for lane in range(count)]
                far = [lane + step if not lane & step else count + lane for lane in range(count)]
                left, right = (b.shuffle_vector(upper, lower, ir.Constant(kind, mask)) for mask in (near, far))
                halved.append(b.fadd(left, right))
            vectors, step = halved, 2 * step
        return vectors[0]

    def spread(self, vector: Any, lane: int) -> Any:
        """Return a vector with one lane of another in all lanes."""
        mask = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [lane] * self.lanes)
        return self.builder.shuffle_vector(vector, vector, mask)

    def blend(self, vector: Any, other: Any, lanes: Sequence[int]) -> Any:
        """Return `vector` with some lanes of another."""
        mask = [self.lanes + lane if lane in lanes else lane for lane in range(self.lanes)]
        return self.builder.shuffle_vector(
            vector, other, ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), mask)
        )

    def rotated(self, vector: Any, shift: int) -> Any:
        """Return a vector rotated such that lane a is the old lane a + `shift`, modulo the number of lanes."""
        if shift == 0:
            return vector
        mask = [(lane + shift) % self.lanes for lane in range(self.lanes)]
        return self.builder.shuffle_vector(
            vector, vector, ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), mask)
        )

    def transposed(self, rows: Sequence[Any]) -> list[Any]:
        """Return the columns of a square block of vectors, by swapping halves of pairs of rows, then quarters, …"""
        b, rows, lanes = self.builder, list(rows), range(self.lanes)
        kind = ir.VectorType(ir.IntType(32), self.lanes)
        step = 1
        while step < self.lanes:
            for r in lanes:
                if r & step:
                    continue
                upper, lower = rows[r], rows[r + step]
                kept = [lane if not lane & step else self.lanes + lane - step for lane in lanes]
                moved = [lane + step if not lane & step else self.lanes + lane for lane in lanes]
                rows[r] = b.shuffle_vector(upper, lower, ir.Constant(kind, kept))
                rows[r + step] = b.shuffle_vector(upper, lower, ir.Constant(kind, moved))
            step *= 2
        return rows

    def loop(
        self, stop: Any, step: int, carried: Sequence[Any], body: Callable[[Any, list[Any]], Sequence[Any]]
    ) -> list[Any]:
        """``for p in range(0, stop, step): carried = body(p, carried)``, with `carried` in registers."""
        b = self.builder
        before = b.block
        head, inside, after = (b.append_basic_block(name) for name in ("head", "inside", "after"))
        b.branch(head)
        b.position_at_end(head)
        position = b.phi(self.index)
        position.add_incoming(self.constant(0), before)
        values = [b.phi(value.type) for value in carried]
        for value, start in zip(values, carried, strict=True):
            value.add_incoming(start, before)
        b.cbranch(b.icmp_signed("<", position, stop), inside, after)
        b.position_at_end(inside)
        updated = body(position, values)
        position.add_incoming(b.add(position, self.constant(step)), b.block)
        for value, new in zip(values, updated, strict=True):
            value.add_incoming(new, b.block)
        b.branch(head)
        b.position_at_end(after)
        return values


class Lanes(Vectors):
    """Instructions on S: packed lower triangles, entry (i, j) at i(i+1)/2 + j, with one system in each lane."""

    def __init__(self, context: Any, builder: ir.IRBuilder, array_type: Any, array: Any) -> None:
        super().__init__(context, builder, array_type.dtype, LANE_BYTES)
        self.array_type, self.array = array_type, array

    def row(self, i: Any) -> Any:
        b = self.builder
        start = b.lshr(b.mul(i, b.add(i, self.constant(1))), self.constant(1))
        return self.pointer(self.array_type, self.array, start, self.constant(0))

    def entry(self, row: Any, j: Any) -> Any:
        return self.builder.gep(row, [self.builder.mul(j, self.constant(self.lanes))])
