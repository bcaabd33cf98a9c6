"""The observed cells of a block, as objectives take them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from halfstep._support.blocks import all_equal
from halfstep.cluster.block_files import name_of
from halfstep.cluster.build import COUNTS, ITEMS, Table
from halfstep.cluster.folder import Folder
from halfstep.cluster.ids import from_arrays
from halfstep.objective.objective import Objective
from halfstep.objective.problem import folded
from halfstep.objective.regularization import Counted, counted_cells
from halfstep.solver.session import Side
from halfstep.weights import Cells

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class BlockCells:
    """The observed cells of a block.

    Attributes
    ----------
    folder : Folder
    side : Side
    first, last : int
        The positions of the first row, and of the first one after the block.
    arrays : mapping from str to ndarray
        The content of the file.
    cells : Cells
        With positions in all rows of both sides.
    """

    folder: Folder
    side: Side
    first: int
    last: int
    arrays: Mapping[str, NDArray[Any]]
    cells: Cells

    @classmethod
    def read(cls, folder: Folder, table: Table, side: Side, number: int) -> BlockCells:
        """Read the cells of a block."""
        arrays, _ = folder.read(name_of("cells", side, number))
        counts, _ = folder.read(COUNTS)
        first, last = table.partitions[side].range(number)
        rows = np.repeat(np.arange(first, last, dtype=np.int32), np.diff(arrays["indptr"]))
        positions = rows, arrays["indices"]
        users, items = positions if side is Side.USERS else positions[::-1]
        values = np.broadcast_to(arrays.get("value", np.ones(1)), len(rows))
        weights = np.broadcast_to(arrays["weight"], len(rows)) if "weight" in arrays else None
        cells = Cells(users, items, values, weights, counts["users"], counts["items"])
        return cls(folder, side, first, last, arrays, cells)

    @property
    def row_counts(self) -> NDArray[np.int64]:
        """The number of observed cells of each row."""
        return np.diff(self.arrays["indptr"])

    @property
    def rows(self) -> NDArray[np.int32]:
        """The row of each cell, from 0."""
        positions = self.cells.users if self.side is Side.USERS else self.cells.items
        return positions - np.int32(self.first)

    def counted(self, counts: Counted) -> Floats:
        """Return the number of observed cells that c counts in each row."""
        return counted_cells(self.row_counts, self.rows, self.cells.values, counts)

    def evaluate(self, objective: Objective) -> tuple[Floats, Floats]:
        """Return t before μ is subtracted, and w, of each cell.

        Raises
        ------
        DataError
            If the objective returns invalid numbers; the message names the user and the item.
        """
        return objective.of_cells(self.cells, self._ids_of)

    def _ids_of(self, cell: int) -> tuple[Any, Any]:
        user, item = int(self.cells.users[cell]), int(self.cells.items[cell])
        return id_at(self.folder, Side.USERS, user), id_at(self.folder, Side.ITEMS, item)


class Missing(NamedTuple):
    """The weights of missing cells, as a half-step takes them.

    Attributes
    ----------
    s, m : ndarray
        The factors of the weights, for all rows and all columns; a single element if all are equal.
    total : float
        The sum over all columns.
    """

    s: Floats
    m: Floats
    total: float

    @classmethod
    def write(cls, folder: Folder, missing: tuple[Floats, Floats] | None) -> None:
        """Write s of each user and m of each item to a file; None if missing cells have no weight."""
        for side in Side:
            arrays, total = {}, 0.0
            if missing is not None:
                s, m = missing[side], missing[1 - side]
                if all_equal(s) and all_equal(m):
                    s, m = folded(s, m)
                total = float(m.sum())
                arrays = {"s": s[:1] if all_equal(s) else s, "m": m[:1] if all_equal(m) else m}
            folder.write(_missing_name(side), arrays, total=total)

    @classmethod
    def read(cls, folder: Folder, side: Side) -> Missing | None:
        """Read the file for the half-step of a side; None if missing cells have no weight."""
        arrays, about = folder.read(_missing_name(side))
        return cls(arrays["s"], arrays["m"], about["total"]) if arrays else None

    def of_rows(self, first: int, last: int) -> Floats:
        """Return s of some rows."""
        return _range_of(self.s, first, last)

    def of_columns(self, first: int, last: int) -> Floats:
        """Return m of some columns."""
        return _range_of(self.m, first, last)


def _range_of(numbers: Floats, first: int, last: int) -> Floats:
    return np.broadcast_to(numbers, last - first) if len(numbers) == 1 else numbers[first:last]


def _missing_name(side: Side) -> str:
    return f"missing/{side.name.lower()}"


def ids_of_block(folder: Folder, number: int) -> pa.Array:
    """Return the users of a block."""
    return from_arrays(folder.read(name_of("cells", Side.USERS, number))[0], "ids")


def ids_of_items(folder: Folder) -> pa.Array:
    """Return all items."""
    return from_arrays(folder.read(ITEMS)[0], "ids")


def id_at(folder: Folder, side: Side, position: int) -> Any:
    """Return one id."""
    if side is Side.ITEMS:
        return ids_of_items(folder)[position].as_py()
    bounds = Table.read(folder).partitions[side].bounds
    number = int(np.searchsorted(bounds, position, side="right")) - 1
    return ids_of_block(folder, number)[position - int(bounds[number])].as_py()
