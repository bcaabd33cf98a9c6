"""Sorting of cells into compressed rows, in memory for one part at a time.

Cells are first distributed to parts, each of some consecutive rows, which are then sorted one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from halfstep._support.blocks import blocks, counts_of, is_repeated
from halfstep._support.disk_arrays import Scratch
from halfstep.data.csr import Orientation, index_type

MOST = 1 << 24  # cells of a part, unless a single row has more
AT_ONCE = 1 << 22  # cells that are distributed at once

Columns = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Part:
    """The cells of some rows, in the order of the interactions.

    Attributes
    ----------
    first, last : int
        The rows first … last − 1.
    rows, columns : ndarray of int32
    numbers : ndarray
        The number of the interaction of each cell.
    fields : mapping from str to ndarray
        Other columns.
    """

    first: int
    last: int
    rows: NDArray[np.int32]
    columns: NDArray[np.int32]
    numbers: NDArray[np.integer]
    fields: Columns

    def sorted(self, n_columns: int) -> Orientation:
        """Return the cells in compressed rows, with `order` as their order in this part."""
        return Orientation.of_cells(self.rows - np.int32(self.first), self.columns, self.last - self.first, n_columns)


def row_starts(rows: NDArray[np.int32], n_rows: int) -> NDArray[np.int64]:
    """Return `Orientation.indptr`."""
    return np.concatenate([[0], np.cumsum(counts_of(rows, n_rows))]).astype(np.int64)


def parts_of(
    rows: NDArray[np.int32], columns: NDArray[np.int32], indptr: NDArray[np.int64], fields: Columns, scratch: Scratch
) -> Iterator[Part]:
    """Iterate over all cells in parts of ascending rows.

    Parameters
    ----------
    rows, columns : ndarray of shape (n_cells,), int32
    indptr : ndarray of shape (n_rows + 1,)
        From `row_starts`.
    fields : mapping from str to ndarray of shape (n_cells,)
        Columns that parts also have.
    """
    n = len(rows)
    bounds = _bounds(indptr)
    if len(bounds) == 2:
        yield Part(0, len(indptr) - 1, rows, columns, np.arange(n, dtype=index_type(n)), fields)
        return
    distributed = _distributed({"rows": rows, "columns": columns, **fields}, bounds, indptr, scratch)
    for first, last in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        cells = slice(int(indptr[first]), int(indptr[last]))
        own = {name: column[cells] for name, column in distributed.items()}
        yield Part(first, last, own.pop("rows"), own.pop("columns"), own.pop("numbers"), own)
        scratch.release()


def _bounds(indptr: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return the first row of each part, and the number of rows."""
    bounds = [0]
    while bounds[-1] < len(indptr) - 1:
        end = int(np.searchsorted(indptr, indptr[bounds[-1]] + MOST, side="right")) - 1
        bounds.append(max(end, bounds[-1] + 1))
    return np.array(bounds)


def _distributed(
    columns: Columns, bounds: NDArray[np.intp], indptr: NDArray[np.int64], scratch: Scratch
) -> dict[str, NDArray[Any]]:
    """Return columns with the cells of the first part, then those of the second, each in unchanged order."""
    n, n_parts = len(columns["rows"]), len(bounds) - 1
    part_of_row = np.repeat(np.arange(n_parts, dtype=np.uint16 if n_parts < 1 << 16 else np.int64), np.diff(bounds))
    moved = {name: each if is_repeated(each) else scratch.empty(n, each.dtype) for name, each in columns.items()}
    moved["numbers"] = scratch.empty(n, index_type(n))
    ends = indptr[bounds[:-1]].copy()
    for block in blocks(n, AT_ONCE):
        parts = part_of_row[columns["rows"][block]]
        order = np.argsort(parts, kind="stable")
        counts = np.bincount(parts, minlength=n_parts)
        stops = np.cumsum(counts)
        for name, target in moved.items():
            if is_repeated(target):
                continue
            values = order + block.start if name == "numbers" else columns[name][block][order]
            for part in np.flatnonzero(counts).tolist():
                end, stop, count = ends[part], stops[part], counts[part]
                target[end : end + count] = values[stop - count : stop]
        ends += counts
        scratch.release()
    return moved
