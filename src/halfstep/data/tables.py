"""Conversion of tables to columns: dataframes, Arrow data, dicts of columns, record arrays, lists of dicts."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

from halfstep._support.suggestions import did_you_mean
from halfstep.errors import DataError

Names = Mapping[str, Any]
"""The name of a column for each role."""


class Columns(NamedTuple):
    """A table as columns.

    Attributes
    ----------
    names : list of hashable
    take : callable
        Takes a mapping from role to name and returns the columns by role; a lazy table evaluates only these.
    kind : str or None
        The dataframe library of the table, if it can also create dataframes.
    """

    names: list[Hashable]
    take: Callable[[Names], dict[str, Any]]
    kind: str | None = None

    def by_role(self, names: Names) -> dict[str, Any]:
        """Return the column of each role."""
        for role, name in names.items():
            if name not in self.names:
                raise DataError(
                    f"there is no column {name!r} for {role}{did_you_mean(str(name), list(map(str, self.names)))}: "
                    f"the columns are {', '.join(map(repr, self.names))}; "
                    f"set {'item_titles' if role == 'title' else role}=... to one of these in Interactions.from_frame"
                )
        return self.take(names)


def columns_in(data: Any) -> Columns | None:
    """Return the columns of a table of any kind; None if `data` is not a table.

    Raises
    ------
    DataError
        If `data` is a table that cannot be read.
    """
    if isinstance(data, Mapping):
        return Columns(list(data), lambda names: {role: data[name] for role, name in names.items()})
    if isinstance(data, np.ndarray):
        return None if data.dtype.names is None else _of_records(data)
    if isinstance(data, list | tuple):
        is_rows = len(data) > 0 and all(isinstance(row, Mapping) for row in data)
        return _of_rows(data) if is_rows else None
    return _of_frame(data) or _of_arrow(data)


def type_and_shape(thing: object) -> str:
    """Return the type of an object, and its shape, for error messages."""
    shape = getattr(thing, "shape", None)
    return f"{type(thing).__name__} of shape {shape}" if shape is not None else type(thing).__name__


def _of_frame(data: Any) -> Columns | None:
    from halfstep.data.frames import column_names, columns_of, kind_of

    names = column_names(data)
    return None if names is None else Columns(list(names), lambda names: columns_of(data, names), kind_of(data))


def _of_records(array: np.ndarray[Any, Any]) -> Columns:
    if array.ndim != 1:
        raise DataError(f"the record array has the shape {array.shape}: give one dimension, a record for each row")
    return Columns(list(array.dtype.names or ()), lambda names: {role: array[name] for role, name in names.items()})


def _of_rows(rows: Sequence[Mapping[Any, Any]]) -> Columns:
    def take(names: Names) -> dict[str, Any]:
        return {role: [_value_of(rows, k, name) for k in range(len(rows))] for role, name in names.items()}

    return Columns(list(dict.fromkeys(name for row in rows for name in row)), take)


def _value_of(rows: Sequence[Mapping[Any, Any]], k: int, name: Any) -> Any:
    if name not in rows[k]:
        raise DataError(f"row {k} (counted from 0) has no {name!r}, unlike other rows: give it in all rows")
    return rows[k][name]


def _of_arrow(data: Any) -> Columns | None:
    """Return the columns of any object that exports Arrow data; a record batch reader is consumed."""
    from halfstep.data.frames import as_series

    if not (hasattr(data, "__arrow_c_stream__") or hasattr(data, "__arrow_c_array__")) or as_series(data) is not None:
        return None
    try:
        if find_spec("pyarrow"):
            import pyarrow as pa

            frame = pa.table(data)
        elif find_spec("polars"):
            import polars as pl

            frame = pl.DataFrame(data)
        else:
            raise DataError(
                f"reading data of type {type(data).__name__} requires PyArrow or Polars: run pip install pyarrow"
            )
    except DataError:
        raise
    except Exception as error:  # any error of PyArrow, of Polars or of the exporter
        raise DataError(
            f"the {type(data).__name__} is not a table that can be read ({error}): give a record batch, a record "
            "batch reader or a table"
        ) from error
    return _of_frame(frame)
