"""Which columns of a table hold what: one rule for dataframes, files and the command line.

Every door has the same defaults, the `IfPresent` names below: a column ``value``, ``timestamp`` or ``weight`` is used
where the table has one. Another name must be there, and None leaves the column out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from halfstep.interactions.columns import RowError


class IfPresent(str):
    """The name of a column that is used if the table has one of that name."""

    __slots__ = ()


VALUE, TIMESTAMP, WEIGHT = IfPresent("value"), IfPresent("timestamp"), IfPresent("weight")


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
        Without the roles that no column has. Names that were asked for are not checked.
    """
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
