"""Blocks of users and of items from the parts of a table, by functions that workers call.

Users are divided by a hash of their ids, and items, which are sorted, into ranges of about equal work. Positions of
users are counted through the blocks, in ascending order of ids within each. Workers exchange cells through files: a
block of users writes its cells sorted by item, of which a block of items reads its range.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple, Self, get_args

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from halfstep._support.blocks import all_equal
from halfstep._support.checks import check_choice
from halfstep.cluster.block_files import Partition, name_of
from halfstep.cluster.engine import Engine
from halfstep.cluster.folder import Folder
from halfstep.cluster.ids import ascending, from_arrays, positions_in, to_arrays
from halfstep.cluster.parts import part_name
from halfstep.data.csr import Orientation, sorted_by_key
from halfstep.data.on_disk.sorting import row_starts
from halfstep.errors import DataError
from halfstep.solver.session import Side

PARTS_AT_ONCE = 16  # whose items a worker merges
ITEMS, COUNTS, TABLE = "items", "counts", "table"  # files
STATE = "state"  # of a fit to the table

Duplicates = Literal["error", "sum", "mean"]
Exchange = Literal["all", "items"]


def check_table_options(duplicates: Any, exchange: Any) -> None:
    """Check how a table is built, before it is read."""
    check_choice("duplicates", duplicates, get_args(Duplicates))
    check_choice("exchange", exchange, get_args(Exchange))


@dataclass(frozen=True)
class Table:
    """A description of a table of interactions in blocks.

    Attributes
    ----------
    bounds : tuple of (list of int, list of int)
        `Partition.bounds` of users and of items.
    n_cells : int
    has_values, has_weights : bool
    exchange : {"all", "items"}
    n_buckets : int
        Users are divided by the remainder of the hash of their ids by this number.
    buckets : list of int
        The remainder of each block of users; all other remainders have no users.
    """

    bounds: tuple[list[int], list[int]]
    n_cells: int
    has_values: bool
    has_weights: bool
    exchange: Exchange
    n_buckets: int
    buckets: list[int]

    @property
    def partitions(self) -> tuple[Partition, Partition]:
        """The blocks of both sides."""
        users, items = (Partition(np.array(bounds, np.int64)) for bounds in self.bounds)
        return users, items

    def counts(self, folder: Folder) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the number of observed cells of each user and item."""
        arrays, _ = folder.read(COUNTS)
        return arrays["users"], arrays["items"]

    @classmethod
    def read(cls, folder: Folder) -> Self:
        """Read what `build` has written."""
        return cls(**folder.read(TABLE)[1])


def build(
    engine: Engine, folder: Folder, n_parts: int, *, duplicates: Duplicates = "error", exchange: Exchange = "all"
) -> Table:
    """Write the blocks of both sides from all parts, which are removed.

    Parameters
    ----------
    folder : Folder
        With the parts from `write_part`, for `Engine.n_blocks` blocks.
    duplicates : {"error", "sum", "mean"}
        How to handle repeated interactions of a user with an item, as in `Interactions.from_arrays`.
    exchange : {"all", "items"}
        Whose factors are sent to all workers during fits. With "items", there are no blocks of items; see
        `halfstep.cluster.staying_users`.
    """
    folder.remove(STATE)
    groups = [range(start, min(start + PARTS_AT_ONCE, n_parts)) for start in range(0, n_parts, PARTS_AT_ONCE)]
    merged = [
        each for each in engine.map(merge_items, [_Parts(folder, group) for group in groups]) if len(each.items)
    ]
    if not merged:
        raise DataError("the table has no interactions")
    items, _ = ascending([each.items for each in merged])
    folder.write(ITEMS, to_arrays(items, "ids"))
    engine.map(locate_items, [_Parts(folder, range(number, number + 1)) for number in range(n_parts)])
    buckets = np.flatnonzero(sum(each.rows for each in merged)).tolist()  # some may be empty if there are few users
    users = engine.map(
        build_users,
        [
            _UserBlock(folder, number, bucket, n_parts, len(items), duplicates)
            for number, bucket in enumerate(buckets)
        ],
    )
    user_bounds = np.concatenate([[0], np.cumsum([block.rows for block in users])])
    item_counts = np.zeros(len(items), np.int64)
    for number in range(len(users)):
        item_counts += np.diff(folder.read(_exchange(number))[0]["indptr"])
    n_item_blocks = engine.n_blocks if exchange == "all" else 1
    partition = Partition.of_counts(item_counts, n_item_blocks)
    if exchange == "all":
        blocks = [
            _ItemBlock(folder, number, partition.range(number), user_bounds.tolist())
            for number in range(len(partition))
        ]
        engine.map(build_items, blocks)
    else:
        starts, none = np.zeros(len(items) + 1, np.int64), np.empty(0, np.int32)
        folder.write(name_of("cells", Side.ITEMS, 0), {"indptr": starts, "indices": none})
    user_counts = [
        np.diff(folder.read(name_of("cells", Side.USERS, number))[0]["indptr"]) for number in range(len(users))
    ]
    folder.write(COUNTS, {"users": np.concatenate(user_counts), "items": item_counts})
    table = Table(
        (user_bounds.tolist(), partition.bounds.tolist()),
        int(item_counts.sum()),
        has_values=any(block.has_values for block in users),
        has_weights=any(block.has_weights for block in users),
        exchange=exchange,
        n_buckets=engine.n_blocks,
        buckets=buckets,
    )
    folder.write(TABLE, {}, **asdict(table))
    for name in ("parts", "item-positions", "exchange"):
        folder.remove(name)
    return table


class _Parts(NamedTuple):
    folder: Folder
    numbers: range


class _UserBlock(NamedTuple):
    folder: Folder
    number: int
    bucket: int
    n_parts: int
    n_items: int
    duplicates: Duplicates


class _ItemBlock(NamedTuple):
    folder: Folder
    number: int
    items: tuple[int, int]
    user_bounds: list[int]


class Merged(NamedTuple):
    """The distinct items of some parts, and the number of rows with users of each bucket."""

    items: pa.Array
    rows: NDArray[np.int64]


class Built(NamedTuple):
    """The result of a worker: the number of users, and whether the table has values and weights."""

    rows: int
    has_values: bool
    has_weights: bool


def merge_items(task: _Parts) -> Merged:
    """Merge the items of some parts."""
    parts = [task.folder.read(part_name(number))[0] for number in task.numbers]
    found = [ids for ids in (from_arrays(part, "item_ids") for part in parts) if len(ids)]
    items = ascending(found)[0] if found else pa.array([], pa.int64())
    return Merged(items, np.sum([np.diff(part["row_bounds"]) for part in parts], axis=0))


def locate_items(task: _Parts) -> None:
    """Write the positions of the items of a part."""
    folder, (number,) = task
    known, ids = (
        from_arrays(folder.read(name)[0], key) for name, key in ((ITEMS, "ids"), (part_name(number), "item_ids"))
    )
    folder.write(_item_positions(number), {"positions": positions_in(ids.cast(known.type), known)})


class _Rows(NamedTuple):
    """The rows of a part whose users are in one bucket.

    Attributes
    ----------
    ids : pyarrow.Array
        The distinct users.
    users : ndarray of int32
        The number of each row's user in `ids`.
    items : ndarray of int32
        Positions of items.
    numbers : mapping from str to ndarray
        Values and weights, if the table has them; a single element if all are equal.
    """

    ids: pa.Array
    users: NDArray[np.int32]
    items: NDArray[np.int32]
    numbers: Mapping[str, NDArray[np.float64]]


def build_users(task: _UserBlock) -> Built:
    """Write a block of users, and its cells sorted by item."""
    folder = task.folder
    parts = [_rows_of(folder, number, task.bucket) for number in range(task.n_parts)]
    parts = [part for part in parts if len(part.users)]
    users, positions = ascending([part.ids for part in parts])
    starts = np.cumsum([0, *(len(part.ids) for part in parts)])[:-1]
    rows = np.concatenate([positions[start + part.users] for start, part in zip(starts, parts, strict=True)])
    columns = np.concatenate([part.items for part in parts])
    names = parts[0].numbers.keys()
    numbers = {
        name: np.concatenate([np.broadcast_to(part.numbers[name], len(part.users)) for part in parts])
        for name in names
    }
    cells = Orientation.of_cells(rows, columns, len(users), task.n_items)
    numbers = {name: column[cells.order] for name, column in numbers.items()}
    indptr, indices, numbers = _merged(cells, numbers, task, users)
    numbers = {name: column[:1] if all_equal(column) else column for name, column in numbers.items()}
    folder.write(
        name_of("cells", Side.USERS, task.number),
        {"indptr": indptr, "indices": indices, **numbers, **to_arrays(users, "ids")},
    )
    of_cells = np.repeat(np.arange(len(users), dtype=np.int32), np.diff(indptr))
    by_item, order = sorted_by_key(indices, task.n_items)
    folder.write(
        _exchange(task.number),
        {"indptr": by_item, "users": of_cells[order]}
        | {name: column if len(column) == 1 else column[order] for name, column in numbers.items()},
    )
    return Built(len(users), "value" in names, "weight" in names)


def _rows_of(folder: Folder, number: int, bucket: int) -> _Rows:
    part = folder.read(part_name(number))[0]
    positions = folder.read(_item_positions(number))[0]["positions"]
    (first_user, last_user), rows = (
        part["user_bounds"][bucket : bucket + 2],
        slice(*part["row_bounds"][bucket : bucket + 2]),
    )
    return _Rows(
        from_arrays(part, "user_ids")[first_user:last_user],
        part["users"][rows] - np.int32(first_user),
        positions[part["items"][rows]],
        {
            name: part[name] if len(part[name]) == 1 else part[name][rows]
            for name in ("value", "weight")
            if name in part
        },
    )


def _merged(
    cells: Orientation, numbers: dict[str, NDArray[np.float64]], task: _UserBlock, users: pa.Array
) -> tuple[NDArray[np.int64], NDArray[np.int32], dict[str, NDArray[np.float64]]]:
    """Merge repeated cells, which are adjacent; return `indptr`, `indices` and the numbers of the rest."""
    rows = np.repeat(np.arange(len(users), dtype=np.int32), np.diff(cells.indptr))
    is_first = np.ones(len(rows), np.bool_)
    is_first[1:] = (rows[1:] != rows[:-1]) | (cells.indices[1:] != cells.indices[:-1])
    if is_first.all():
        return cells.indptr, cells.indices, numbers
    if task.duplicates == "error":
        cell = int(np.argmin(is_first))
        items = from_arrays(task.folder.read(ITEMS)[0], "ids")
        user, item = users[int(rows[cell])].as_py(), items[int(cells.indices[cell])].as_py()
        raise DataError(
            f"user {user!r} has item {item!r} more than once: set duplicates='sum' or 'mean' to merge repeated "
            "interactions"
        )
    starts = np.flatnonzero(is_first)
    sizes = np.diff(starts, append=len(rows))
    numbers = {"value": np.ones(len(rows))} | numbers  # counts, if the table has no values
    sums = {name: np.add.reduceat(column, starts) for name, column in numbers.items()}
    if task.duplicates == "mean":
        sums = {name: column / sizes for name, column in sums.items()}
    return row_starts(rows[starts], len(users)), cells.indices[starts], sums


def build_items(task: _ItemBlock) -> None:
    """Write a block of items."""
    folder, number, (first, last), user_bounds = task
    blocks = [folder.read(_exchange(block))[0] for block in range(len(user_bounds) - 1)]
    spans = [slice(*block["indptr"][[first, last]]) for block in blocks]
    counts = [np.diff(block["indptr"][first : last + 1]) for block in blocks]
    items = np.concatenate([np.repeat(np.arange(last - first, dtype=np.int32), each) for each in counts])
    users = np.concatenate(
        [
            block["users"][span] + np.int32(start)
            for block, span, start in zip(blocks, spans, user_bounds, strict=False)
        ]
    )
    indptr, order = sorted_by_key(items, last - first)
    numbers = {}
    for name in ("value", "weight"):
        if any(name in block for block in blocks):
            ones = np.ones(1)
            parts = [block.get(name, ones) for block in blocks]
            column = np.concatenate(
                [
                    np.broadcast_to(part, span.stop - span.start) if len(part) == 1 else part[span]
                    for part, span in zip(parts, spans, strict=True)
                ]
            )
            numbers[name] = column[:1] if all_equal(column) else column[order]
    folder.write(name_of("cells", Side.ITEMS, number), {"indptr": indptr, "indices": users[order], **numbers})


def _item_positions(part: int) -> str:
    return f"item-positions/{part:05d}"


def _exchange(block: int) -> str:
    return f"exchange/{block:05d}"
