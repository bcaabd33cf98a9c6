"""The request of `read_interactions`, in memory or into a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from halfstep.data.column_roles import IfPresent, columns_by_role
from halfstep.data.duplicates import Duplicates, Repeat
from halfstep.data.files.sources import Source
from halfstep.data.files.table_format import Options, Table
from halfstep.data.files.table_reader import ColumnOfRole, TableReader
from halfstep.data.packed_ids import digest_of
from halfstep.data.vocabulary import Vocabulary
from halfstep.errors import DataError


class ReadColumns(NamedTuple):
    """The ids and titles, and the columns of all rows by their names in `Interactions`."""

    users: Vocabulary
    items: Vocabulary
    titles: dict[Any, str] | None
    columns: dict[str, Any]
    has_values: bool


@dataclass(frozen=True, eq=False)
class Request:
    """Parameters of `read_interactions`.

    Attributes
    ----------
    sources : sequence of Source
    source : str
        `Interactions.source`.
    asked : mapping from role to column
    titles : `item_titles`, which may be a column
    """

    sources: Sequence[Source]
    source: str
    options: Options
    asked: Mapping[str, str | int | None]
    titles: Any
    users: Vocabulary | None
    items: Vocabulary | None
    duplicates: Duplicates | None

    def read(self, reader: TableReader) -> ReadColumns:
        """Read all columns."""
        unasked = {role for role, column in self.asked.items() if isinstance(column, IfPresent)}
        needed = [column for role, column in self.asked.items() if column is not None and role not in unasked]
        reader.read(self._choose, needed, unasked)
        users, user_positions = reader.vocabulary("user", self.users)
        items, item_positions = reader.vocabulary("item", self.items)
        titles = reader.titles(item_positions, items)
        values = reader.column("value")
        columns = {
            "user_positions": user_positions,
            "item_positions": item_positions,
            "values": np.broadcast_to(1.0, len(user_positions)) if values is None else values,
        }
        for name in ("timestamp", "weight"):
            if (column := reader.column(name)) is not None:
                columns[f"{name}s"] = column
        return ReadColumns(users, items, titles, columns, values is not None)

    def _choose(self, table: Table) -> ColumnOfRole:
        """Return the column of each role in a file."""
        columns = columns_by_role(self.asked, table.names if table.has_names else ())
        titles = self.titles
        if isinstance(titles, int) or (
            isinstance(titles, str) and (titles in table.names or not Path(titles).exists())
        ):
            columns["title"] = titles
        return columns

    def described(self) -> dict[str, Any]:
        """Return the parameters in types that JSON supports."""
        described = {role: None if column is None else str(column) for role, column in self.asked.items()}
        described |= {"item_titles": str(self.titles) if isinstance(self.titles, int | str) else None}
        described |= {"duplicates": self.duplicates}
        for name, vocabulary in (("users", self.users), ("items", self.items)):
            described[name] = None if vocabulary is None else digest_of(vocabulary)
        return described | asdict(self.options)


def repeated_error(
    reader: TableReader, repeat: Repeat, users: Vocabulary, items: Vocabulary, columns: Mapping[str, Any]
) -> DataError:
    """Return the error for a repeated interaction of a user with an item."""
    user, item = users[columns["user_positions"][repeat.row]], items[columns["item_positions"][repeat.row]]
    return DataError(
        f"{reader.where(repeat.row)}: the pair of user and item {(user, item)!r} is already in "
        f"{reader.where(repeat.earlier)} ({repeat.counted}): set duplicates='last', 'sum' or 'mean'"
    )
