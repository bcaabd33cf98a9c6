"""The table of interactions in parts, which workers read: from rows to files ordered by the block of the user."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from halfstep._support.blocks import all_equal
from halfstep.cluster.folder import Folder
from halfstep.cluster.ids import blocks_of, distinct_ids, to_arrays
from halfstep.errors import DataError

MOST_BLOCKS = 1 << 16


def part_name(number: int) -> str:
    """Return the name of the file of a part."""
    return f"parts/{number:05d}"


def write_part(folder: Folder, number: int, n_blocks: int, table: pa.Table) -> int:
    """Write a part of the table, ordered by block; return the number of rows.

    The distinct users are ordered by block, too, so that a block reads only its own.

    Parameters
    ----------
    number : int
        Numbers the parts.
    n_blocks : int
        The number of blocks of users.
    table : pyarrow.Table
        With the columns ``user`` and ``item``, and optionally ``value`` and ``weight``.

    Raises
    ------
    DataError
        If an id is missing or neither an integer nor a string, a value is not finite, or a weight is negative.
    """
    users, user_of_row = distinct_ids(table["user"], "user")
    items, item_of_row = distinct_ids(table["item"], "item")
    numbers = {name: _numbers(table, name) for name in ("value", "weight") if name in table.column_names}
    block_of_user = blocks_of(users, n_blocks)
    by_block = np.argsort(block_of_user, kind="stable")
    place = np.empty(len(users), np.int32)
    place[by_block] = np.arange(len(users), dtype=np.int32)
    block_of_row = block_of_user[user_of_row]
    order = np.argsort(block_of_row, kind="stable")  # a radix sort of 16-bit numbers
    arrays: dict[str, NDArray[Any]] = {
        "user_bounds": _bounds(block_of_user, n_blocks),
        "row_bounds": _bounds(block_of_row, n_blocks),
        "users": place[user_of_row[order]],
        "items": item_of_row[order],
        **{name: column[:1] if all_equal(column) else column[order] for name, column in numbers.items()},
        **to_arrays(users.take(pa.array(by_block)), "user_ids"),
        **to_arrays(items, "item_ids"),
    }
    folder.write(part_name(number), arrays, rows=len(table))
    return len(table)


def _bounds(block: NDArray[np.uint16], n_blocks: int) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(np.bincount(block, minlength=n_blocks))]).astype(np.int64)


def _numbers(table: pa.Table, name: str) -> NDArray[np.float64]:
    """Return a column of finite numbers.

    Raises
    ------
    DataError
        With the ids of the first invalid row.
    """
    column: Any = table[name]
    try:
        numbers = column.cast(pa.float64(), safe=False).to_numpy()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(f"the column of {name}s is of type {column.type} ({error}): give numbers") from error
    is_bad = ~np.isfinite(numbers)  # missing ones are NaN
    if name == "weight":
        is_bad |= numbers < 0
    if is_bad.any():
        row = int(np.argmax(is_bad))
        user, item, given = (table[each][row].as_py() for each in ("user", "item", name))
        raise DataError(
            f"the {name} of user {user!r}, item {item!r} is {given}: give finite numbers"
            + (" of at least 0" if name == "weight" else "")
        )
    return np.asarray(numbers, np.float64)
