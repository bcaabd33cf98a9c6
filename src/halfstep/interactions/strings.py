"""Strings that come by chunks, numbered as they come."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from halfstep.kernels.strings import BLOCK, Table, fill_slots, number_strings


class StringNumbers:
    """The distinct strings of what came so far, with no Python object for any of them."""

    def __init__(self) -> None:
        self._table = Table(
            slots=np.zeros(1 << 12, np.uint64),
            bounds=np.zeros(1 << 11, np.int64),
            pool=np.zeros(1 << 15, np.uint8),
            used=np.zeros(3, np.int64),
            hashes=np.empty(BLOCK, np.uint64),
            places=np.empty(BLOCK, np.uint64),
        )

    def add(self, data: NDArray[np.uint8], offsets: NDArray[np.int32], numbers: NDArray[np.int32]) -> None:
        """Write the number of each string into `numbers`; new strings get the next ones.

        Parameters
        ----------
        data : ndarray of uint8
            The bytes of all strings.
        offsets : ndarray of shape (n + 1,), int32
            Where each string begins and ends; ascending, from 0 to ``len(data)``.
        numbers : ndarray of shape (n,), int32
        """
        row = number_strings(data, offsets, 0, numbers, self._table)
        while row < len(numbers):
            self._grow(int(offsets[row + 1] - offsets[row]))
            row = number_strings(data, offsets, row, numbers, self._table)

    def strings(self) -> list[str]:
        """List the distinct strings by number."""
        n, used = self._table.used[:2].tolist()
        bounds = self._table.bounds[: n + 1].tolist()
        pool = self._table.pool[:used].tobytes()
        if pool.isascii():
            text = pool.decode("ascii")
            return [text[start:stop] for start, stop in pairwise(bounds)]
        return [pool[start:stop].decode() for start, stop in pairwise(bounds)]

    def _grow(self, length: int) -> None:
        """Make room for another string."""
        table, (n, used) = self._table, self._table.used[:2].tolist()
        if used + length >= len(table.pool):
            pool = np.zeros(2 * len(table.pool) + length, np.uint8)
            pool[:used] = table.pool[:used]
            table = table._replace(pool=pool)
        if n + 2 > len(table.bounds):
            table = table._replace(bounds=np.concatenate([table.bounds, np.zeros(len(table.bounds), np.int64)]))
        if 2 * (n + 1) > len(table.slots):
            table = table._replace(slots=np.zeros(4 * len(table.slots), np.uint64))
            fill_slots(table)
        self._table = table
