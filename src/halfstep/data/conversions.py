"""Conversions of the data that `fit` and `fold_in` accept to interactions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from halfstep.data.column_roles import TIMESTAMP, VALUE, WEIGHT
from halfstep.data.columns import RowError, as_column
from halfstep.data.duplicates import Duplicates
from halfstep.data.interactions import Interactions
from halfstep.data.sparse import is_sparse
from halfstep.data.tables import columns_in, type_and_shape
from halfstep.data.vocabulary import Vocabulary
from halfstep.errors import DataError


def as_interactions(data: Any, *, duplicates: Duplicates = "error") -> Interactions:
    """Convert the data that `fit` accepts to interactions.

    Parameters
    ----------
    data : Interactions, scipy.sparse matrix, dataframe or other table
        The rows of a sparse matrix are users. A dataframe, or another table that `Interactions.from_frame` accepts,
        has the columns ``user`` and ``item``, and optionally ``value``, ``timestamp`` and ``weight``.
    duplicates : {"error", "last", "sum", "mean"}
        How to handle repeats in a table; see `Interactions.from_arrays`.
    """
    if isinstance(data, Interactions):
        return data
    if is_sparse(data):
        return Interactions.from_sparse(data)
    table = columns_in(data)
    if table is None:
        raise DataError(
            f"{type_and_shape(data)} is not supported: give Interactions, a SciPy sparse matrix with a row per user, "
            "or a dataframe with the columns user, item[, value][, timestamp][, weight]"
        )
    others = [name for name in table.names if name not in ("user", "item", "timestamp", "weight")]
    if "value" not in table.names and others and {"user", "item"} <= set(table.names):
        raise DataError(
            f"the dataframe has no column 'value', but {', '.join(map(repr, others))}: name the column of values, as "
            f"in Interactions.from_frame(frame, value={others[0]!r}), or drop the columns that are not needed"
        )
    asked = {"user": "user", "item": "item", "value": VALUE, "timestamp": TIMESTAMP, "weight": WEIGHT}
    return Interactions._from_table(table, asked, None, duplicates)


def interactions_to_fit(data: Any) -> Interactions:
    """Convert the data that `fit` accepts to interactions, of which there must be some."""
    interactions = as_interactions(data)
    if len(interactions) == 0:
        raise DataError("the data have no interactions: give at least one")
    return interactions


def as_histories(data: Any) -> Interactions:
    """Convert histories to interactions: the data of `as_interactions`, or a mapping from user id to items.

    Parameters
    ----------
    data : Interactions, scipy.sparse matrix, dataframe or mapping
        A mapping has, for each user, a mapping or a pandas Series from item ids to values, or a list of item ids.
        Repeated items of a list count once. A user may have no items.

    Returns
    -------
    Interactions
        `has_values` is False if any user has a list of item ids.
    """
    if not isinstance(data, Mapping):
        return as_interactions(data)
    users: list[Any] = []
    items: list[Any] = []
    values: list[Any] = []
    has_values = True
    for user, history in data.items():
        by_item = _values_of_items(user, history)
        if by_item is None:
            by_item = dict.fromkeys(as_column(history, "item").tolist(), 1.0)
            has_values = has_values and not by_item
        users += [user] * len(by_item)
        items += by_item.keys()
        values += by_item.values()
    vocabulary = Vocabulary(list(data), name="user id")
    if not users:
        empty = np.empty(0, np.int32)
        return Interactions(
            users=vocabulary, items=Vocabulary([]), user_positions=empty, item_positions=empty, values=np.empty(0)
        )
    try:
        histories = Interactions.from_arrays(users, items, values)
    except RowError as error:
        what, row, value, fault = error.args
        where = f"in the history of user {users[row]!r}" + (f", item {items[row]!r}" if what == "value" else "")
        raise DataError(f"{where}: the {what} is {value!r}: {fault}") from None
    return replace(histories, has_values=has_values).rebased(users=vocabulary)


def _values_of_items(user: Any, history: Any) -> Mapping[Any, Any] | None:
    """Return the value of each item in a user's history; None if it is a list of item ids."""
    if isinstance(history, Mapping):
        return history
    if isinstance(history, str | bytes) or not isinstance(history, Iterable):
        raise DataError(
            f"the history of user {user!r} is {history!r}: give a list of item ids, even for a single one"
        )
    if not hasattr(history, "__array__") or isinstance(history, np.ndarray):
        return None
    from halfstep.data.frames import as_item_values

    try:
        return as_item_values(history)
    except DataError as error:
        raise DataError(f"in the history of user {user!r}: {error}") from None
