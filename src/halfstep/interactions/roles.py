"""Which columns of a table hold what: one rule for dataframes, files and the command line.

Every door has the same defaults, the `IfPresent` names below: a column ``value``, ``timestamp`` or ``weight`` is used
where the table has one. Another name must be there, and None leaves the column out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from halfstep.errors import ParameterError
from halfstep.interactions.columns import RowError


class IfPresent(str):
    """The name of a column that is used if the table has one of that name."""

    __slots__ = ()


VALUE, TIMESTAMP, WEIGHT = IfPresent("value"), IfPresent("timestamp"), IfPresent("weight")


def _check(role: str, column: Any) -> None:
    """Refuse what is neither a name nor a position, and None for a column that has to be there."""
    if column is None and role in ("user", "item"):
        raise ParameterError(f"{role}=None: give the column that holds the ids of {role}s")
    if isinstance(column, bool) or not (column is None or isinstance(column, str | int | np.integer | tuple)):
        raise ParameterError(f"{role}={column!r}: give the name of a column, or its position in a file")


def columns_by_role(asked: Mapping[str, Any], present: Collection[Any]) -> dict[str, Any]:
    """Say which column has each role.

    Parameters
    ----------
    asked : mapping from role to the name or position of a column, to an `IfPresent` name, or to None
    present : collection
        The names of the table's columns; empty if they have none.

    Returns
    -------
    dict
        Without the roles that no column has. Whether other names than `IfPresent` ones are there is not checked.

    Raises
    ------
    ParameterError
        If a column is neither a name nor a position, or is None where the ids of users or items are.
    """
    for role, column in asked.items():
        _check(role, column)
    return {
        role: str(column) if isinstance(column, IfPresent) else column
        for role, column in asked.items()
        if column is not None and not (isinstance(column, IfPresent) and column not in present)
    }


@contextmanager
def naming_the_way_out(asked: Mapping[str, Any]) -> Iterator[None]:
    """Say in an error about a column that nobody named how to leave it out."""
    try:
        yield
    except RowError as error:
        role, row, value, fault = error.args
        if not isinstance(asked.get(role), IfPresent):
            raise
        raise RowError(role, row, value, f"{fault}; {role}=None leaves the column out") from None
