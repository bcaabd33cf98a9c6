"""Columns that are collected from the chunks of all files of a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from halfstep._support.blocks import blocks
from halfstep.data.files.arrow_stream import Chunk, NumberArray, Strings
from halfstep.data.files.sql import REAL, is_small_integer
from halfstep.data.files.string_ids import StringNumbers
from halfstep.data.files.timestamps import NUMBERS, Reading

Fields = tuple[np.dtype[Any] | None, ...]

Empty = Callable[[int, np.dtype[Any]], NDArray[Any]]
"""Allocates an array of a length and a type: `np.empty`, or a function for arrays on disk."""

BLOCK = 1 << 16  # rows
FLOAT64, INT64 = np.dtype(np.float64), np.dtype(np.int64)


class Collector(Protocol):
    """Collects one column of a table."""

    fields: Fields
    """The types of its fields in each chunk; see `arrow_stream.chunks`."""

    def begin(self, rows: int) -> None:
        """Start the next file, which has at most `rows` rows."""

    def add(self, start: int, chunks: list[Chunk]) -> None:
        """Add the next rows of the file, starting at row `start`."""

    def bad(self, rows: int) -> NDArray[np.bool_] | None:
        """Return a mask of the invalid rows of the file, which has `rows` rows; None if all are valid."""

    def end(self, kept: NDArray[np.bool_] | None, rows: int) -> None:
        """Finish the file and keep the rows in the mask `kept`, or all if it is None."""


class InexactError(Exception):
    """Integers were read as float64, which cannot represent them."""


class _Parts:
    """The arrays of all files, in memory or where `empty` allocates them."""

    def __init__(self, dtype: np.dtype[Any], empty: Empty) -> None:
        self.dtype, self._empty = dtype, empty
        self.buffer = np.empty(0, dtype)
        self._parts: list[NDArray[Any]] = []

    def begin(self, rows: int) -> None:
        self.buffer = self._empty(rows, self.dtype)

    def end(self, kept: NDArray[np.bool_] | None, rows: int) -> None:
        part = self.buffer[:rows]
        self._parts.append(part if kept is None else self._copied([part], int(kept.sum()), kept))
        self.buffer = np.empty(0, self.dtype)

    def convert(self, dtype: np.dtype[Any]) -> None:
        """Convert all arrays to another type."""
        self.dtype = dtype
        self.buffer, *self._parts = (self._copied([each], len(each)) for each in (self.buffer, *self._parts))

    def joined(self) -> NDArray[Any]:
        """Return and release the concatenated arrays."""
        parts, self._parts = self._parts, []
        return parts[0] if len(parts) == 1 else self._copied(parts, sum(map(len, parts)))

    def _copied(self, parts: list[NDArray[Any]], length: int, kept: NDArray[np.bool_] | None = None) -> NDArray[Any]:
        copy, start = self._empty(length, self.dtype), 0
        for part in parts:
            for block in blocks(len(part)):
                chosen = part[block] if kept is None else part[block][kept[block]]
                copy[start : start + len(chosen)] = chosen
                start += len(chosen)
        return copy


class _Scratch:
    """A reused mask of the rows of a chunk, since threads that allocate memory block each other."""

    def __init__(self) -> None:
        self._mask = np.empty(0, np.bool_)

    def of(self, rows: int) -> NDArray[np.bool_]:
        """Return a mask of `rows` rows with arbitrary values."""
        if len(self._mask) < rows:
            self._mask = np.empty(rows, np.bool_)
        return self._mask[:rows]


class _Marks:
    """A mask of rows, which is allocated when the first is marked."""

    def __init__(self) -> None:
        self._rows = 0
        self._mask: NDArray[np.bool_] | None = None

    def begin(self, rows: int) -> None:
        self._rows, self._mask = rows, None

    def add(self, start: int, marked: NDArray[np.bool_] | None) -> None:
        """Mark rows of the chunk that starts at row `start`."""
        if marked is None or not marked.any():
            return
        if self._mask is None:
            self._mask = np.zeros(self._rows, np.bool_)
        self._mask[start : start + len(marked)] = marked

    def of(self, rows: int) -> NDArray[np.bool_] | None:
        """Return the mask of the first `rows` rows; None if none is marked."""
        return None if self._mask is None else self._mask[:rows]


def renumber(numbers: NDArray[np.int32], new: NDArray[np.int32]) -> None:
    """Replace each number k by ``new[k]``, counted from the end if it is negative."""
    # NumPy copies indices to int64, which takes little memory by blocks
    for start in range(0, len(numbers), BLOCK):
        block = numbers[start : start + BLOCK]
        np.take(new, block, out=block, mode="wrap")


class _Column:
    """A column in one array, with a mask of its invalid rows."""

    def __init__(self, dtype: np.dtype[Any], empty: Empty) -> None:
        self.values, self.invalid = _Parts(dtype, empty), _Marks()

    def begin(self, rows: int) -> None:
        self.values.begin(rows)
        self.invalid.begin(rows)

    def bad(self, rows: int) -> NDArray[np.bool_] | None:
        return self.invalid.of(rows)

    def end(self, kept: NDArray[np.bool_] | None, rows: int) -> None:
        self.values.end(kept, rows)

    def joined(self) -> NDArray[Any]:
        """Return the column of all files."""
        return self.values.joined()


class Texts(_Column):
    """A column of ids or titles as strings, numbered in the order of first appearance."""

    fields: Fields = (None,)

    def __init__(self, empty: Empty, *, optional: bool = False) -> None:
        super().__init__(np.dtype(np.int32), empty)
        self._strings = StringNumbers()
        self._optional = optional

    def add(self, start: int, chunks: list[Chunk]) -> None:
        (chunk,) = chunks
        assert isinstance(chunk, Strings)
        numbers = self.values.buffer[start : start + len(chunk)]
        self._strings.add(chunk.data, chunk.offsets, numbers)
        if chunk.missing is not None:
            numbers[chunk.missing] = -1
        self.invalid.add(start, chunk.missing)

    def bad(self, rows: int) -> NDArray[np.bool_] | None:
        return None if self._optional else super().bad(rows)

    def numbered(self) -> tuple[list[str], NDArray[np.int32]]:
        """Return the distinct strings, ascending, and the number of each row's, or −1 if it is missing."""
        strings, ranks = self._strings.ascending()
        numbers = self.joined()
        renumber(numbers, np.append(ranks, np.int32(-1)))
        return strings, numbers


class Integers(_Column):
    """A column of int64 ids or timestamps."""

    fields: Fields = (INT64,)

    def __init__(self, empty: Empty) -> None:
        super().__init__(INT64, empty)

    def add(self, start: int, chunks: list[Chunk]) -> None:
        (chunk,) = chunks
        assert isinstance(chunk, NumberArray)
        self.values.buffer[start : start + len(chunk)] = chunk.values
        self.invalid.add(start, chunk.missing)


class Reals(_Column):
    """A column of finite numbers, optionally required to be at least 0."""

    fields: Fields = (FLOAT64,)

    def __init__(self, empty: Empty, *, at_least_zero: bool) -> None:
        super().__init__(FLOAT64, empty)
        self._scratch = _Scratch()
        self._at_least_zero = at_least_zero

    def add(self, start: int, chunks: list[Chunk]) -> None:
        (chunk,) = chunks
        assert isinstance(chunk, NumberArray)
        values = self.values.buffer[start : start + len(chunk)]
        values[:] = chunk.values
        if chunk.missing is not None:
            values[chunk.missing] = np.nan
        valid = np.isfinite(values, out=self._scratch.of(len(chunk)))
        if self._at_least_zero:
            valid &= values >= 0
        if not valid.all():
            self.invalid.add(start, ~valid)


@dataclass
class _Read:
    """The timestamps in one format."""

    reading: Reading
    column: Integers


class Timestamps:
    """A column of timestamps: numbers, or times in one or more possible formats."""

    def __init__(self, readings: list[Reading], empty: Empty) -> None:
        self._reads = [_Read(each, Integers(empty)) for each in readings]
        self.fields: Fields = (INT64,) * len(readings)
        self._whole, self._scratch = True, _Scratch()

    @property
    def are_numbers(self) -> bool:
        """Whether the timestamps are numbers."""
        return self.readings == [NUMBERS]

    @property
    def readings(self) -> list[Reading]:
        """The formats that are still possible."""
        return [each.reading for each in self._reads]

    def begin(self, rows: int) -> None:
        if not self.are_numbers:
            self.fields = (INT64,) * len(self._reads)
        for read in self._reads:
            read.column.begin(rows)

    def add(self, start: int, chunks: list[Chunk]) -> None:
        if self.are_numbers:
            self._add_numbers(start, chunks)
            return
        for read, chunk in zip(self._reads, chunks, strict=True):
            read.column.add(start, [chunk])

    def bad(self, rows: int) -> NDArray[np.bool_] | None:
        """Return a mask of the rows that the best format cannot read, and drop formats that read fewer rows."""
        masks = [read.column.bad(rows) for read in self._reads]
        counts = [0 if mask is None else int(mask.sum()) for mask in masks]
        best = min(counts)
        self._reads = [read for read, count in zip(self._reads, counts, strict=True) if count == best]
        return masks[counts.index(best)]

    def end(self, kept: NDArray[np.bool_] | None, rows: int) -> None:
        for read in self._reads:
            read.column.end(kept, rows)

    def joined(self) -> list[tuple[Reading, NDArray[Any]]]:
        """Return the timestamps in each possible format: int64, float64 or datetime64[us]."""
        joined: list[tuple[Reading, NDArray[Any]]] = []
        for read in self._reads:
            values = read.column.joined()
            joined.append((read.reading, values if read.reading == NUMBERS else values.view("datetime64[us]")))
        return joined

    def set_type(self, kind: str) -> None:
        """Set the type of the column in the next file; numbers are read as int64, float64 or both."""
        if self.are_numbers and is_small_integer(kind):
            self.fields = (INT64,)
        elif self.are_numbers:
            self.fields = (FLOAT64,) if kind == REAL else (INT64, FLOAT64)

    def _add_numbers(self, start: int, chunks: list[Chunk]) -> None:
        """Add numbers as integers while all of them are."""
        column = self._reads[0].column
        if self.fields == (INT64,):
            column.add(start, chunks)
            return
        *whole, real = chunks
        assert isinstance(real, NumberArray)
        rows = slice(start, start + len(real))
        valid, values = np.isfinite(real.values, out=self._scratch.of(len(real))), real.values
        if real.missing is not None:
            valid &= ~real.missing
        if not valid.all():
            column.invalid.add(start, ~valid)
            values = np.where(valid, values, 0.0)
        if not self._whole:
            column.values.buffer[rows] = values
            return
        if whole:
            (exact,) = whole
            assert isinstance(exact, NumberArray)
            integers = exact.values if exact.missing is None else np.where(exact.missing, 0, exact.values)
            are_exact = np.equal(np.where(valid, integers, 0), values)
        elif max(values.max(initial=0.0), -values.min(initial=0.0)) >= 2.0**53:
            raise InexactError
        else:
            integers = column.values.buffer[rows]
            integers[:] = values
            are_exact = np.equal(integers, values, out=valid)
        if are_exact.all():
            column.values.buffer[rows] = integers
        else:
            self._whole = False
            column.values.convert(FLOAT64)
            column.values.buffer[rows] = values
