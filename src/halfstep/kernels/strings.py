"""Strings numbered in the order in which they first appear: a hash table over bytes.

This is written out since no library numbers strings by chunks without a Python object for each of them, and a
dictionary of Python objects takes three times as long.

Legend: ``data`` holds the bytes of strings one after the other, and string k lies between ``offsets[k]`` and
``offsets[k + 1]``. ``pool`` and ``bounds`` hold the distinct strings in the same way. A slot of the table is 0 where
it is free; else its lower half is the number of a distinct string, plus 1, and its upper half that of the hash.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from halfstep.kernels._jit import inner, kernel

BLOCK = 256  # strings whose places in the table are fetched from memory at the same time
UPPER, LOWER = np.uint64(0xFFFFFFFF00000000), np.uint64(0x00000000FFFFFFFF)
FNV_START, FNV_PRIME = np.uint64(14695981039346656037), np.uint64(1099511628211)
ONE, HALF = np.uint64(1), np.uint64(32)


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
    row = start
    while row < len(numbers):
        stop = min(row + BLOCK, len(numbers))
        prefetch(data, offsets, row, stop, table)
        first = row
        while row < stop:
            number = find(data, offsets[row], offsets[row + 1], table.hashes[row - first], table)
            if number < 0:
                return row
            numbers[row] = number
            row += 1
    return len(numbers)


@kernel
def fill_slots(table: Table) -> None:
    """Enter all distinct strings into slots that are all free."""
    mask = np.uint64(len(table.slots) - 1)
    for number in range(table.used[0]):
        hashed = hash_of(table.pool, table.bounds[number], table.bounds[number + 1])
        place = hashed & mask
        while table.slots[place] != 0:
            place = (place + ONE) & mask
        table.slots[place] = (hashed & UPPER) | np.uint64(number + 1)


@inner
def prefetch(data: NDArray[np.uint8], offsets: NDArray[np.int32], row: int, stop: int, table: Table) -> None:
    """Hash some strings, and read what looking them up will read: one loop for each array, so that waits overlap."""
    mask = np.uint64(len(table.slots) - 1)
    for k in range(stop - row):
        table.hashes[k] = hash_of(data, offsets[row + k], offsets[row + k + 1])
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
def find(data: NDArray[np.uint8], start: int, stop: int, hashed: np.uint64, table: Table) -> int:
    """Return the number of a string, entering it if it is new; −1 if there is no room."""
    mask = np.uint64(len(table.slots) - 1)
    place = hashed & mask
    while table.slots[place] != 0:
        slot = table.slots[place]
        if (slot & UPPER) == (hashed & UPPER):
            number = np.int64(slot & LOWER) - 1
            if is_same(data, start, stop, table.pool, table.bounds[number], table.bounds[number + 1]):
                return int(number)
        place = (place + ONE) & mask
    n, end = table.used[0], table.used[1]
    if end + stop - start >= len(table.pool) or n + 2 > len(table.bounds) or 2 * (n + 1) > len(table.slots):
        return -1
    for k in range(stop - start):
        table.pool[end + k] = data[start + k]
    table.bounds[n + 1] = end + stop - start
    table.slots[place] = (hashed & UPPER) | np.uint64(n + 1)
    table.used[0] = n + 1
    table.used[1] = end + stop - start
    return int(n)


@inner
def is_same(a: NDArray[np.uint8], start: int, stop: int, b: NDArray[np.uint8], begin: int, end: int) -> bool:
    """Whether two strings are equal."""
    if stop - start != end - begin:
        return False
    for k in range(stop - start):  # noqa: SIM110 - kernels have no generators
        if a[start + k] != b[begin + k]:
            return False
    return True


@inner
def hash_of(data: NDArray[np.uint8], start: int, stop: int) -> np.uint64:
    """FNV-1a of 64 bits, whose upper half is mixed into the lower one."""
    hashed = FNV_START
    for k in range(start, stop):
        hashed = (hashed ^ np.uint64(data[k])) * FNV_PRIME
    return hashed ^ (hashed >> HALF)
