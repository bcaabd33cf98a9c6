"""The columns of a table by role, for dataframes, files and the command line.

By default, columns named ``value``, ``timestamp`` and ``weight`` are used if present. None stands for no column.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from halfstep.data.columns import RowError
from halfstep.errors import ParameterError


class IfPresent(str):
    """The name of a column that is used if present."""

    __slots__ = ()


class NameOrPosition(str):
    """Digits that are the name of a column, or its position if no column has this name."""

    __slots__ = ()


VALUE, TIMESTAMP, WEIGHT = IfPresent("value"), IfPresent("timestamp"), IfPresent("weight")


def check_columns(asked: Mapping[str, Any], kinds: tuple[type, ...]) -> None:
    """Check that each column is a name, a position, or None for optional ones.

    Parameters
    ----------
    kinds : tuple of types
        The types of names and positions.
    """
    for role, column in asked.items():
        if column is None and role in ("user", "item"):
            raise ParameterError(f"{role}=None: give the column that holds the ids of {role}s")
        if isinstance(column, bool) or not (column is None or isinstance(column, kinds)):
            raise ParameterError(f"{role}={column!r}: give the name of a column, or its position in a file")
    if "user" in asked and "item" in asked and asked["user"] == asked["item"]:
        raise ParameterError(f"user and item are both the column {asked['user']!r}: give two different columns")


def columns_by_role(asked: Mapping[str, Any], present: Collection[Any]) -> dict[str, Any]:
    """Return the column of each role that has one; `IfPresent` columns must be among the names in `present`."""
    return {
        role: str(column) if isinstance(column, IfPresent) else column
        for role, column in asked.items()
        if column is not None and not (isinstance(column, IfPresent) and column not in present)
    }


@contextmanager
def suggesting_none(asked: Mapping[str, Any]) -> Iterator[None]:
    """Add to an error in a column that is used by default that None ignores the column."""
    try:
        yield
    except RowError as error:
        role, row, value, fault = error.args
        if not isinstance(asked.get(role), IfPresent):
            raise
        raise RowError(role, row, value, f"{fault}; {role}=None ignores the column") from None
