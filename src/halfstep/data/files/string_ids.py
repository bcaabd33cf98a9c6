"""Numbers of strings in the order of first appearance."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from halfstep.data.kernels.strings import BLOCK, StringTable, fill_slots, number_strings

LONGEST = 64  # bytes up to which strings are sorted as numbers
SEPARATOR = ord("\n")


class StringNumbers:
    """Numbers strings in chunks, without Python objects."""

    def __init__(self) -> None:
        self._table = StringTable(
            slots=np.zeros(1 << 13, np.uint64),
            bounds=np.zeros(1 << 11, np.int64),
            pool=np.zeros(1 << 15, np.uint8),
            used=np.zeros(3, np.int64),
            keys=np.empty(BLOCK, np.uint64),
            hashes=np.empty(BLOCK, np.uint64),
        )

    def add(self, data: NDArray[np.uint8], offsets: NDArray[np.int32], numbers: NDArray[np.int32]) -> None:
        """Write the number of each string to `numbers`; new strings get the next numbers.

        Parameters
        ----------
        data : ndarray of uint8
        offsets : ndarray of shape (n + 1,), int32
            String k is ``data[offsets[k]:offsets[k + 1]]``.
        numbers : ndarray of shape (n,), int32
        """
        row = number_strings(data, offsets, 0, numbers, self._table)
        while row < len(numbers):
            self._grow(int(offsets[row + 1] - offsets[row]))
            row = number_strings(data, offsets, row, numbers, self._table)

    def ascending(self) -> tuple[list[str], NDArray[np.int32]]:
        """Return the distinct strings in ascending order, and the rank of each number."""
        n, used = self._table.used[:2].tolist()
        bounds, pool = self._table.bounds[: n + 1], self._table.pool[:used]
        is_simple = np.diff(bounds).max(initial=1) <= LONGEST and not ((pool == 0) | (pool == SEPARATOR)).any()
        strings, order = (_sorted_as_numbers if is_simple else _sorted_by_python)(pool, bounds)
        ranks = np.empty(n, np.int32)
        ranks[order] = np.arange(n, dtype=np.int32)
        return strings, ranks

    def _grow(self, length: int) -> None:
        """Grow the table for another string."""
        table, (n, used) = self._table, self._table.used[:2].tolist()
        if used + length >= len(table.pool):
            pool = np.zeros(2 * len(table.pool) + length, np.uint8)
            pool[:used] = table.pool[:used]
            table = table._replace(pool=pool)
        if n + 2 > len(table.bounds):
            table = table._replace(bounds=np.concatenate([table.bounds, np.zeros(len(table.bounds), np.int64)]))
        if 4 * (n + 1) > len(table.slots):
            table = table._replace(slots=np.zeros(4 * len(table.slots), np.uint64))
            fill_slots(table)
        self._table = table


def _sorted_by_python(pool: NDArray[np.uint8], bounds: NDArray[np.int64]) -> tuple[list[str], NDArray[np.intp]]:
    content = pool.tobytes()
    strings = [content[start:stop].decode() for start, stop in pairwise(bounds.tolist())]
    order = sorted(range(len(strings)), key=strings.__getitem__)
    return [strings[number] for number in order], np.array(order, np.intp)


def _sorted_as_numbers(pool: NDArray[np.uint8], bounds: NDArray[np.int64]) -> tuple[list[str], NDArray[np.intp]]:
    """Sort strings by eight bytes at a time, as big-endian numbers, which is the order of characters in UTF-8.

    Python objects are only created at the end, by splitting one long string.
    """
    starts, lengths = bounds[:-1], np.diff(bounds)
    longest, shortest = int(lengths.max(initial=1)), int(lengths.min(initial=LONGEST))
    padded = np.zeros((len(starts), -(-longest // 8) * 8), np.uint8)
    if shortest == longest:
        padded[:, :longest] = pool.reshape(-1, longest)
    else:
        for k in range(longest):
            rows = np.flatnonzero(lengths > k)
            padded[rows, k] = pool[starts[rows] + k]
    words = padded.view(">u8").astype(np.uint64)
    order = np.argsort(words[:, 0]) if words.shape[1] == 1 else np.lexsort(words.T[::-1])
    ended = np.empty((len(order), longest + 1), np.uint8)
    np.take(padded[:, :longest], order, axis=0, out=ended[:, :longest], mode="clip")
    ended[:, longest] = SEPARATOR
    content = ended if shortest == longest else ended[ended != 0]
    return content.tobytes().decode().split(chr(SEPARATOR))[:-1], order
