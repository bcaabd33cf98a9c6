"""Titles of items, from a column of the table of interactions, a mapping, or a second table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from halfstep.data.columns import as_column
from halfstep.data.id_columns import is_missing
from halfstep.data.tables import columns_in
from halfstep.data.vocabulary import Vocabulary
from halfstep.errors import DataError, ParameterError

NAME = "title"
"""The name of the column of titles in a second table."""


def titles_in_column(items: Vocabulary, positions: NDArray[np.int32], column: Any) -> dict[Any, str]:
    """Return the first title of each item in a column of titles; `positions` are the items of its rows."""
    titles = as_column(column, "title")
    by_item: dict[Any, str] = {}
    rows = np.unique(positions, return_index=True)[1]  # the first of each item
    while len(rows):
        untitled = []
        for row in rows.tolist():
            item = items[int(positions[row])]
            title = _as_text(titles[row], item)
            if title is None:
                untitled.append(int(positions[row]))
            else:
                by_item[item] = title
        # items without a title in this row may have one in a later row
        later = np.flatnonzero(np.isin(positions, untitled)) if untitled else np.empty(0, np.int64)
        later = later[[not is_missing(title) for title in titles[later].tolist()]]
        rows = later[np.unique(positions[later], return_index=True)[1]]
    return by_item


def read_titles(given: Any, items: Vocabulary, name: str = "item") -> dict[Any, str]:
    """Return the titles of items in a mapping, or in a table of ids and titles.

    Parameters
    ----------
    given : mapping from item id to title, or table
        The columns of a table are `name` (default: the first) and "title" (default: the second).
    items : Vocabulary
        The items of the interactions. Titles of unknown ids are kept.
    name : str
        The name of the column of ids.

    Raises
    ------
    DataError
        If a table has fewer than two columns, an id is of another type than the items, or a title is not text.
    """
    if isinstance(given, Mapping):
        ids, titles = list(given), list(given.values())
    else:
        ids, titles = _two_columns(given, name)
    vocabulary, positions = Vocabulary.encode(ids, name="item id in item_titles")
    items.look_up(vocabulary.ids, "mark", name="item id in item_titles")  # checks the types
    return titles_in_column(vocabulary, positions, titles)


def _two_columns(given: Any, name: str) -> tuple[Any, Any]:
    table = None if isinstance(given, str | bytes) else columns_in(given)
    if table is None:
        raise ParameterError(
            f"item_titles={given!r}: give a mapping from item id to title, or a table of ids and titles; the name of "
            "a column requires a table of interactions that has it"
        )
    if len(table.names) < 2:
        raise DataError(f"item_titles has only the columns {table.names!r}: give a table of ids and titles")
    ids = name if name in table.names else table.names[0]
    others = [each for each in table.names if each != ids]
    columns = table.by_role({"item": ids, "title": NAME if NAME in others else others[0]})
    return columns["item"], columns["title"]


def is_column_of_titles(given: Any) -> bool:
    """Whether titles are a column with one for each interaction."""
    return not isinstance(given, str | bytes | Mapping) and isinstance(given, Iterable) and columns_in(given) is None


def _as_text(title: Any, item: Any) -> str | None:
    """Convert a title to a string; None if it is missing."""
    if is_missing(title):
        return None
    if isinstance(title, bytes):
        title = title.decode(errors="replace")
    if not isinstance(title, str | int | float | np.number):
        raise DataError(f"the title of item {item!r} is {title!r}: give a string")
    return str(title)
