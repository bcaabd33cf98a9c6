"""Repeated interactions: detection and merging."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from halfstep._support.plurals import with_count
from halfstep.data.kernels.repeats import has_repeat

Duplicates = Literal["error", "last", "sum", "mean"]

THREADS = 2
MANY = 1_000_000  # cells from which the kernel is faster than sorting


class Repeat(NamedTuple):
    """The first row whose cell occurs in an earlier row, that row, and the number of such rows."""

    row: int
    earlier: int
    total: int

    @property
    def counted(self) -> str:
        """The number in errors, such as "2 repeats in total"."""
        return f"{with_count(self.total, 'repeat')} in total"


def find_repeat(rows: NDArray[np.int32], columns: NDArray[np.int32]) -> Repeat | None:
    """Return the first repeated cell; None if all are distinct."""
    n_columns = int(columns.max(initial=-1)) + 1
    if len(rows) >= MANY and not _any_repeats(rows, columns, n_columns):
        return None
    cells = rows.astype(np.int64) * n_columns + columns
    if len(rows) < MANY and len(np.unique(cells)) == len(cells):
        return None
    order = np.argsort(cells, kind="stable")
    repeats = order[1:][cells[order[1:]] == cells[order[:-1]]]
    row = int(repeats.min())
    return Repeat(row, int(np.argmax(cells == cells[row])), len(repeats))


def _any_repeats(rows: NDArray[np.int32], columns: NDArray[np.int32], n_columns: int) -> bool:
    """Whether there are repeated cells, computed by the kernel in several threads."""
    n_rows = int(rows.max()) + 1
    rows, columns = rows.view(), columns.view()
    rows.flags.writeable = columns.flags.writeable = False  # a single signature of the kernel
    bounds = [n_rows * part // THREADS for part in range(THREADS + 1)]
    with ThreadPoolExecutor(THREADS) as pool:
        return any(
            pool.map(lambda first, last: has_repeat(rows, columns, first, last, n_columns), bounds[:-1], bounds[1:])
        )


def merge(
    cells: NDArray[np.int64],
    how: Literal["last", "sum", "mean"],
    timestamps: NDArray[Any] | None,
) -> tuple[NDArray[np.intp], Callable[[NDArray[np.float64]], NDArray[np.float64]]]:
    """Merge the rows of each cell.

    Returns
    -------
    rows : ndarray of shape (n_distinct,)
        The latest row of each cell, ascending. The latest has the largest timestamp; for ties, and without
        timestamps, it is the last one.
    merged : callable
        Merges a column of all rows to one of `rows`.
    """
    order = np.lexsort((cells,) if timestamps is None else (timestamps, cells))
    starts = np.flatnonzero(np.diff(cells[order], prepend=-1))  # no cell is negative
    sizes = np.diff(starts, append=len(cells))
    latest = order[starts + sizes - 1]
    by_row = np.argsort(latest)

    def merged(column: NDArray[np.float64]) -> NDArray[np.float64]:
        if how == "last":
            return column[latest[by_row]]
        sums: NDArray[np.float64] = np.add.reduceat(column[order], starts)
        return (sums / sizes if how == "mean" else sums)[by_row]

    return latest[by_row], merged
