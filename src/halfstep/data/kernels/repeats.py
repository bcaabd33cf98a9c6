"""Cells that occur more than once, found without sorting them.

This is written out since sorting the numbers of all cells takes three times as long, and twice the memory.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from halfstep._support.jit import kernel

ONE = np.uint64(1)


@kernel
def has_repeat(rows: NDArray[np.int32], columns: NDArray[np.int32], first: int, last: int, n_columns: int) -> bool:
    """Whether a cell of rows first … last − 1 occurs more than once.

    The columns are grouped by row (counting sort), and each column notes the row that it was found in last.
    """
    n_rows = last - first
    ends = np.zeros(n_rows + 1, np.int64)  # of each row's group; while groups are filled, its next free place
    for k in range(len(rows)):
        if first <= rows[k] < last:
            ends[np.uint64(rows[k] - first) + ONE] += 1  # unsigned: no place is counted from the end
    for row in range(n_rows):
        ends[row + 1] += ends[row]
    grouped = np.empty(ends[n_rows], np.int32)
    for k in range(len(rows)):
        if first <= rows[k] < last:
            place = np.uint64(rows[k] - first)
            grouped[np.uint64(ends[place])] = columns[k]
            ends[place] += 1
    latest = np.full(n_columns, -1, np.int32)
    begin = 0
    for row in range(n_rows):
        for k in range(begin, ends[row]):
            column = np.uint64(grouped[k])
            if latest[column] == row:
                return True
            latest[column] = row
        begin = ends[row]
    return False
