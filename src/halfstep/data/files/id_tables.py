"""Tables of ids: titles of items, and lists of users or items."""

from __future__ import annotations

import os
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from halfstep.data.files.sources import find_sources
from halfstep.data.files.table_format import Options, Table
from halfstep.data.files.table_reader import ColumnOfRole, open_reader, position_of
from halfstep.data.titles import NAME
from halfstep.data.vocabulary import Vocabulary
from halfstep.errors import DataError


def read_ids(path: Any, side: Literal["user", "item"], column: str | int, known: Vocabulary, options: Options) -> Any:
    """Read a column of ids, with the types of known ids; return distinct ids in order of appearance.

    Raises
    ------
    FileNotFoundError, DataError
        As for `read_interactions`.
    """

    def choose(table: Table) -> ColumnOfRole:
        if table.has_names and len(table.names) == 1 and type(column) is str and column not in table.names:
            raise DataError(
                f"{table.name}: the only column is {table.names[0]!r}, not {column!r}: set {side}=... to this name, "
                "or header=False if the first line is an id"
            )
        return {side: column}

    with open_reader(find_sources(path), options) as reader:
        reader.read(choose, [column])
        vocabulary, positions = reader.vocabulary(side, known)
    _, first = np.unique(positions, return_index=True)
    ids: NDArray[Any] = vocabulary.ids[positions[np.sort(first)]]
    return ids


def read_title_table(
    path: str | os.PathLike[str],
    items: Vocabulary,
    options: Options,
    *,
    title: str | int | None = None,
    item: str | int | None = None,
    usual_item: str | int | None = None,
) -> dict[Any, str]:
    """Read the titles of items from a table of ids and titles.

    Parameters
    ----------
    items : Vocabulary
        Titles of other items are skipped.
    title : str or int, optional
        The column of titles, by name or position; by default ``title``, else the first other than the ids.
    item : str or int, optional
        The column of ids; by default `usual_item` if there is a column of that name, else the first.

    Raises
    ------
    FileNotFoundError, DataError
        As for `read_interactions`, or if the table has no titles of the items.
    """

    def choose(table: Table) -> ColumnOfRole:
        usual = table.names.index(usual_item) if isinstance(usual_item, str) and usual_item in table.names else 0
        ids = usual if item is None else position_of(table, "item", item, "title_id")
        if title is not None:
            return {"item": ids, "title": position_of(table, "title", title, "title_column")}
        if len(table.names) < 2:
            raise DataError(f"{table.name}: there is only one column: give a table of item ids and titles")
        titles = table.names.index(NAME) if NAME in table.names else int(ids == 0)
        return {"item": ids, "title": titles}

    with open_reader(find_sources(path), options) as reader:
        reader.read(choose, [each for each in (item, title) if each is not None])
        vocabulary, positions = reader.vocabulary("item", items)
        titles = reader.titles(positions, vocabulary) or {}
    rows = zip(vocabulary, items.shared(vocabulary).tolist(), strict=True)
    by_item = {each: titles[each] for each, position in rows if position >= 0 and each in titles}
    if not by_item:
        raise DataError(
            f"{os.fsdecode(path)}: the table has no titles of the items: its ids are such as {vocabulary[0]!r}, but "
            f"those of items such as {items[0]!r}: set title_id=... to the column of item ids"
        )
    return by_item
