"""Dataframes of any library, through narwhals; the only room that knows of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import narwhals.stable.v2 as nw
from narwhals.exceptions import DuplicateError

from halfstep.errors import DataError


def column_names(frame: Any) -> list[str] | None:
    """List the columns of a dataframe; None if it is no dataframe."""
    try:
        table = nw.from_native(frame, pass_through=True)
        return table.collect_schema().names() if isinstance(table, nw.DataFrame | nw.LazyFrame) else None
    except DuplicateError as error:
        raise DataError(f"{' '.join(str(error).split())}: rename the columns, so that each has one name") from None


def columns_of(frame: Any, names: Mapping[str, str | None]) -> dict[str, Any]:
    """Get columns of a dataframe, evaluating no more than these where it is lazy.

    Parameters
    ----------
    frame : dataframe
    names : mapping from role to column name, or to None
        Roles are the keys of the result, where None stays None.

    Raises
    ------
    DataError
        If `frame` is no dataframe, or lacks a column.
    """
    present = column_names(frame)
    if present is None:
        raise DataError(
            f"expected a dataframe (pandas, Polars, PyArrow...), not {type(frame).__name__}: "
            "arrays and lists are for Interactions.from_arrays"
        )
    wanted = {role: name for role, name in names.items() if name is not None}
    for role, name in wanted.items():
        if name not in present:
            raise DataError(
                f"there is no column {name!r} for {role}: there are {', '.join(map(repr, present))}; "
                f"say {role}=... with one of these in Interactions.from_frame"
            )
    table = nw.from_native(frame)
    if isinstance(table, nw.LazyFrame):
        table = table.select(list(dict.fromkeys(wanted.values()))).collect()
    return {role: table.get_column(name) if name is not None else None for role, name in names.items()}


def without_zone(column: Any) -> Any:
    """Convert instants with a time zone to UTC, if `column` is a series of such; else leave it as it is."""
    series = nw.from_native(column, series_only=True, pass_through=True)
    if isinstance(series, nw.Series) and isinstance(series.dtype, nw.Datetime) and series.dtype.time_zone:
        return series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return column
