"""Strings numbered in the order in which they first appear: a hash table over bytes.

This is written out since no library numbers strings by chunks without a Python object for each of them, and a
dictionary of Python objects takes three times as long.

Legend: ``data`` holds the bytes of strings one after the other, and string k lies between ``offsets[k]`` and
``offsets[k + 1]``. ``pool`` and ``bounds`` hold the distinct strings in the same way. A slot of the table is 0 where
it is free; else its lower half is the number of a distinct string, plus 1, and its upper half that of the hash.

Positions are unsigned, as a signed one may count from the end of an array, which takes a check at each access. Bytes
are read eight at a time.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numpy.typing import NDArray

from halfstep.kernels._jit import inner, intrinsic, kernel

BLOCK = 256  # strings whose places in the table are fetched from memory at the same time
UPPER, LOWER = np.uint64(0xFFFFFFFF00000000), np.uint64(0x00000000FFFFFFFF)
ONE, THREE, EIGHT, HALF = np.uint64(1), np.uint64(3), np.uint64(8), np.uint64(32)
FACTORS = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)  # odd, with bits all over


class Table(NamedTuple):
    """The distinct strings so far.

    Attributes
    ----------
    slots : ndarray of uint64
        A power of two of them, more than twice the number of distinct strings.
    bounds : ndarray of int64
    pool : ndarray of uint8
    used : ndarray of shape (3,), int64
        How many strings are in the table, how many bytes of the pool they take, and a number without a meaning.
    hashes, places : ndarray of shape (BLOCK,), uint64
        Room to work in.
    """

    slots: NDArray[np.uint64]
    bounds: NDArray[np.int64]
    pool: NDArray[np.uint8]
    used: NDArray[np.int64]
    hashes: NDArray[np.uint64]
    places: NDArray[np.uint64]


@kernel
def number_strings(
    data: NDArray[np.uint8], offsets: NDArray[np.int32], start: int, numbers: NDArray[np.int32], table: Table
) -> int:
    """Number the strings from `start` on; return the first one that the table has no room for, or how many there are.

    `pool` and `bounds` have room for one string at least, that of the number 0.
    """
    row, n = np.uint64(start), np.uint64(len(numbers))
    while row < n:
        stop = min(row + np.uint64(BLOCK), n)
        prefetch(data, offsets, row, stop, table)
        first = row
        while row < stop:
            begin, end = np.uint64(offsets[row]), np.uint64(offsets[row + ONE])
            number = find(data, begin, end, table.hashes[row - first], table)
            if number < 0:
                return int(np.int64(row))  # else it would be unsigned, and Numba's result a float
            numbers[row] = number
            row += ONE
    return len(numbers)


@kernel
def fill_slots(table: Table) -> None:
    """Enter all distinct strings into slots that are all free."""
    mask = np.uint64(len(table.slots) - 1)
    for number in range(np.uint64(table.used[0])):
        hashed = hash_of(table.pool, np.uint64(table.bounds[number]), np.uint64(table.bounds[number + ONE]))
        place = hashed & mask
        while table.slots[place] != 0:
            place = (place + ONE) & mask
        table.slots[place] = (hashed & UPPER) | np.uint64(number + ONE)


@inner
def prefetch(
    data: NDArray[np.uint8], offsets: NDArray[np.int32], row: np.uint64, stop: np.uint64, table: Table
) -> None:
    """Hash some strings, and read what looking them up will read: one loop for each array, so that waits overlap."""
    mask = np.uint64(len(table.slots) - 1)
    for k in range(stop - row):
        table.hashes[k] = hash_of(data, np.uint64(offsets[row + k]), np.uint64(offsets[row + k + ONE]))
    for k in range(stop - row):
        slot = table.slots[table.hashes[k] & mask] & LOWER
        table.places[k] = slot - ONE if slot != 0 else slot
    touched = np.int64(0)
    for k in range(stop - row):
        table.places[k] = np.uint64(table.bounds[table.places[k]])
    for k in range(stop - row):
        touched += table.pool[table.places[k]]
    table.used[2] = touched  # without which the compiler leaves the loop out


@inner
def find(data: NDArray[np.uint8], start: np.uint64, stop: np.uint64, hashed: np.uint64, table: Table) -> int:
    """Return the number of a string, entering it if it is new; −1 if there is no room."""
    mask = np.uint64(len(table.slots) - 1)
    place = hashed & mask
    while table.slots[place] != 0:
        slot = table.slots[place]
        if (slot & UPPER) == (hashed & UPPER):
            number = (slot & LOWER) - ONE
            begin, end = np.uint64(table.bounds[number]), np.uint64(table.bounds[number + ONE])
            if is_same(data, start, stop, table.pool, begin, end):
                return int(np.int64(number))
        place = (place + ONE) & mask
    n, used = table.used[0], np.uint64(table.used[1])
    after = used + stop - start
    if after >= np.uint64(len(table.pool)) or n + 2 > len(table.bounds) or 2 * (n + 1) > len(table.slots):
        return -1
    for k in range(stop - start):
        table.pool[used + k] = data[start + k]
    table.bounds[n + 1] = after
    table.slots[place] = (hashed & UPPER) | np.uint64(n + 1)
    table.used[0] = n + 1
    table.used[1] = after
    return int(n)


@inner
def is_same(
    a: NDArray[np.uint8],
    start: np.uint64,
    stop: np.uint64,
    b: NDArray[np.uint8],
    begin: np.uint64,
    end: np.uint64,
) -> bool:
    """Whether two strings are equal."""
    if stop - start != end - begin:
        return False
    while stop - start > EIGHT:
        if load(a, start) != load(b, begin):
            return False
        start += EIGHT
        begin += EIGHT
    return bool(word(a, start, stop) == word(b, begin, end))


@inner
def hash_of(data: NDArray[np.uint8], start: np.uint64, stop: np.uint64) -> np.uint64:
    """Return a hash of 64 bits: each eight bytes are mixed in by a product, whose upper half goes to the lower."""
    hashed = (stop - start) * FACTORS[1]
    while stop - start > EIGHT:
        hashed = (hashed ^ load(data, start)) * FACTORS[0]
        hashed ^= hashed >> HALF
        start += EIGHT
    hashed = (hashed ^ word(data, start, stop)) * FACTORS[0]
    hashed = (hashed ^ (hashed >> HALF)) * FACTORS[1]
    return hashed ^ (hashed >> HALF)


@inner
def word(data: NDArray[np.uint8], start: np.uint64, stop: np.uint64) -> np.uint64:
    """Return at most eight bytes as one number."""
    n = stop - start
    if n > 0 and stop >= EIGHT:  # also of fewer bytes, so as not to read behind the end; those before are shifted out
        shifted: np.uint64 = load(data, stop - EIGHT) >> ((EIGHT - n) << THREE)
        return shifted
    bytes_ = np.uint64(0)
    for k in range(n):
        bytes_ |= np.uint64(data[start + k]) << (np.uint64(k) << THREE)
    return bytes_


@intrinsic
def load(typing: Any, array: Any, place: Any) -> Any:
    """Eight bytes from `place` on, of any alignment; the first is the lowest, as on all machines that Numba knows."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, arguments[0])
        address = builder.gep(view.data, [arguments[1]])
        value = builder.load(builder.bitcast(address, ir.IntType(64).as_pointer()))
        value.align = 1
        return value

    return types.uint64(array, types.uint64), emit
