"""Cells that occur more than once: found and merged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Duplicates = Literal["error", "last", "sum", "mean"]


class Repeat(NamedTuple):
    """The first row whose cell was there before, in the order given; and how many rows are like it."""

    row: int
    earlier: int
    total: int


def find_repeat(cells: NDArray[np.int64]) -> Repeat | None:
    """Find the first repeated number; None if all are distinct."""
    if len(cells) < 2:
        return None
    ascending = np.sort(cells)  # half the time of an argsort, which only bad news needs
    if not (ascending[1:] == ascending[:-1]).any():
        return None
    order = np.argsort(cells, kind="stable")
    repeats = order[1:][cells[order[1:]] == cells[order[:-1]]]
    row = int(repeats.min())
    return Repeat(row, int(np.argmax(cells == cells[row])), len(repeats))


def merge(
    cells: NDArray[np.int64],
    how: Literal["last", "sum", "mean"],
    timestamps: NDArray[Any] | None,
) -> tuple[NDArray[np.intp], Callable[[NDArray[np.float64]], NDArray[np.float64]]]:
    """Find out how the rows of each cell become one.

    Returns
    -------
    rows : ndarray of shape (n_distinct,)
        The latest row of each cell, ascending. The latest has the largest timestamp; among equals, and
        without timestamps, it is the one given last.
    merged : function from a column of all rows to one of `rows`
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
