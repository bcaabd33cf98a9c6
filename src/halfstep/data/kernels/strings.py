"""A hash table that numbers strings in the order of first appearance.

A dictionary of Python objects takes three times as long, and no library numbers strings in chunks without them.

Legend: ``data`` holds the concatenated bytes of strings; string k is ``data[offsets[k]:offsets[k + 1]]``. ``pool``
and ``bounds`` hold the distinct strings in the same way. A slot is two numbers: a key, and 0 if the slot is free,
otherwise the number of a distinct string plus 1 in the lower half and its length in the upper half. The key of a
string of at most eight bytes is these bytes, so that a lookup reads only the slot; that of a longer one is its hash.

Indices are unsigned, which avoids the check for negative ones. Bytes are read eight at a time.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numpy.typing import NDArray

from halfstep._support.jit import inner, intrinsic, kernel

BLOCK = 256  # strings whose slots are prefetched together
LOWER = np.uint64(0x00000000FFFFFFFF)
ONE, THREE, EIGHT, HALF = np.uint64(1), np.uint64(3), np.uint64(8), np.uint64(32)
FACTORS = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)  # odd, with well-mixed bits


class StringTable(NamedTuple):
    """The distinct strings.

    Attributes
    ----------
    slots : ndarray of shape (2 n_slots,), uint64
        `n_slots` is a power of two, more than twice the number of distinct strings.
    bounds : ndarray of int64
    pool : ndarray of uint8
    used : ndarray of shape (3,), int64
        The number of strings, the number of bytes of the pool in use, and a number without meaning.
    keys, hashes : ndarray of shape (BLOCK,), uint64
        Workspace.
    """

    slots: NDArray[np.uint64]
    bounds: NDArray[np.int64]
    pool: NDArray[np.uint8]
    used: NDArray[np.int64]
    keys: NDArray[np.uint64]
    hashes: NDArray[np.uint64]


@kernel
def number_strings(
    data: NDArray[np.uint8], offsets: NDArray[np.int32], start: int, numbers: NDArray[np.int32], table: StringTable
) -> int:
    """Number the strings from `start` on; return the first one that does not fit the table, else their number."""
    row, n = np.uint64(start), np.uint64(len(numbers))
    while row < n:
        stop = min(row + np.uint64(BLOCK), n)
        prefetch(data, offsets, row, stop, table)
        first = row
        while row < stop:
            begin, end = np.uint64(offsets[row]), np.uint64(offsets[row + ONE])
            number = find(data, begin, end, table.keys[row - first], table.hashes[row - first], table)
            if number < 0:
                return int(np.int64(row))  # a mix with unsigned results would be a float in Numba
            numbers[row] = number
            row += ONE
    return len(numbers)


@kernel
def hash_strings(data: NDArray[np.uint8], offsets: NDArray[np.int64], hashes: NDArray[np.uint64]) -> int:
    """Write a hash of each string, the same on all machines; return 0."""
    for row in range(np.uint64(0), np.uint64(len(hashes)), ONE):
        begin, end = np.uint64(offsets[row]), np.uint64(offsets[row + ONE])
        hashes[row] = hash_of(key_of(data, begin, end), end - begin)
    return 0


@kernel
def fill_slots(table: StringTable) -> None:
    """Insert all distinct strings into empty slots."""
    mask = np.uint64(len(table.slots) // 2 - 1)
    for number in range(np.uint64(table.used[0])):
        begin, end = np.uint64(table.bounds[number]), np.uint64(table.bounds[number + ONE])
        key = key_of(table.pool, begin, end)
        slot = hash_of(key, end - begin) & mask
        while table.slots[slot + slot + ONE] != 0:
            slot = (slot + ONE) & mask
        table.slots[slot + slot] = key
        table.slots[slot + slot + ONE] = (end - begin) << HALF | (number + ONE)


@inner
def prefetch(
    data: NDArray[np.uint8], offsets: NDArray[np.int32], row: np.uint64, stop: np.uint64, table: StringTable
) -> None:
    """Hash strings, and read their first slots so that cache misses overlap."""
    mask = np.uint64(len(table.slots) // 2 - 1)
    for k in range(stop - row):
        begin, end = np.uint64(offsets[row + k]), np.uint64(offsets[row + k + ONE])
        table.keys[k] = key_of(data, begin, end)
        table.hashes[k] = hash_of(table.keys[k], end - begin)
    touched = np.uint64(0)
    for k in range(stop - row):
        slot = table.hashes[k] & mask
        touched += table.slots[slot + slot]
    table.used[2] = np.int64(touched)  # otherwise the compiler removes the loop


@inner
def find(
    data: NDArray[np.uint8], start: np.uint64, stop: np.uint64, key: np.uint64, hashed: np.uint64, table: StringTable
) -> int:
    """Return the number of a string, which is inserted if it is new; −1 if it does not fit the table."""
    mask, length = np.uint64(len(table.slots) // 2 - 1), stop - start
    slot = hashed & mask
    while table.slots[slot + slot + ONE] != 0:
        packed = table.slots[slot + slot + ONE]
        if table.slots[slot + slot] == key and packed >> HALF == length:
            number = (packed & LOWER) - ONE
            if length <= EIGHT or is_same(data, start, table.pool, np.uint64(table.bounds[number]), length):
                return int(np.int64(number))
        slot = (slot + ONE) & mask
    n, used = table.used[0], np.uint64(table.used[1])
    if used + length >= np.uint64(len(table.pool)) or n + 2 > len(table.bounds) or 4 * (n + 1) > len(table.slots):
        return -1
    for k in range(length):
        table.pool[used + k] = data[start + k]
    table.bounds[n + 1] = used + length
    table.slots[slot + slot] = key
    table.slots[slot + slot + ONE] = length << HALF | np.uint64(n + 1)
    table.used[0] = n + 1
    table.used[1] = used + length
    return int(n)


@inner
def is_same(
    a: NDArray[np.uint8], start: np.uint64, b: NDArray[np.uint8], begin: np.uint64, length: np.uint64
) -> bool:
    """Whether two strings of the same length, of more than eight bytes, are equal."""
    for k in range(np.uint64(0), length - EIGHT, EIGHT):
        if load(a, start + k) != load(b, begin + k):
            return False
    return bool(load(a, start + length - EIGHT) == load(b, begin + length - EIGHT))


@inner
def key_of(data: NDArray[np.uint8], start: np.uint64, stop: np.uint64) -> np.uint64:
    """Return a string of at most eight bytes as one number; a 64-bit hash of a longer one."""
    key = np.uint64(0)
    while stop - start > EIGHT:
        key = (key ^ load(data, start)) * FACTORS[0]
        key ^= key >> HALF
        start += EIGHT
    return key ^ word(data, start, stop)


@inner
def hash_of(key: np.uint64, length: np.uint64) -> np.uint64:
    """Return a 64-bit hash of a key and a length."""
    hashed = (key ^ (length * FACTORS[1])) * FACTORS[0]
    hashed = (hashed ^ (hashed >> HALF)) * FACTORS[1]
    return hashed ^ (hashed >> HALF)


@inner
def word(data: NDArray[np.uint8], start: np.uint64, stop: np.uint64) -> np.uint64:
    """Return at most eight bytes as one number."""
    n = stop - start
    if n > 0 and stop >= EIGHT:  # ends with the string, so as not to read past the end
        shifted: np.uint64 = load(data, stop - EIGHT) >> ((EIGHT - n) << THREE)
        return shifted
    bytes_ = np.uint64(0)
    for k in range(n):
        bytes_ |= np.uint64(data[start + k]) << (np.uint64(k) << THREE)
    return bytes_


@intrinsic
def load(typing: Any, array: Any, start: Any) -> Any:
    """Load eight bytes from `start`, of any alignment, as a little-endian number."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, arguments[0])
        address = builder.gep(view.data, [arguments[1]])
        value = builder.load(builder.bitcast(address, ir.IntType(64).as_pointer()))
        value.align = 1
        return value

    return types.uint64(array, types.uint64), emit
