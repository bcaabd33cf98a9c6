"""Detection of repeated cells.

Sorting the cells would take three times as long and twice the memory.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from halfstep._support.jit import kernel

ONE = np.uint64(1)


@kernel
def has_repeat(rows: NDArray[np.int32], columns: NDArray[np.int32], first: int, last: int, n_columns: int) -> bool:
    """Whether a cell of rows first … last − 1 occurs more than once.

    The columns are grouped by row by a counting sort, and the latest row of each column is recorded.
    """
    n_rows = last - first
    ends = np.zeros(n_rows + 1, np.int64)  # of the group of each row; its next free index while groups are filled
    for k in range(len(rows)):
        if first <= rows[k] < last:
            ends[np.uint64(rows[k] - first) + ONE] += 1  # unsigned indices avoid the check for negative ones
    for row in range(n_rows):
        ends[row + 1] += ends[row]
    grouped = np.empty(ends[n_rows], np.int32)
    for k in range(len(rows)):
        if first <= rows[k] < last:
            group = np.uint64(rows[k] - first)
            grouped[np.uint64(ends[group])] = columns[k]
            ends[group] += 1
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
