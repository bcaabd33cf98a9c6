"""Validation of single columns and their conversion to arrays; errors name the first invalid row."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from halfstep.errors import DataError

FIX_ROWS = "drop or correct such rows"
is_integer = re.compile(r"[+-]?[0-9]+").fullmatch


class RowError(DataError):
    """A row of a table is invalid.

    Attributes
    ----------
    row : int
        Its index, for callers that can name it better, such as by the line of a file.
    """

    def __init__(self, name: str, row: int, value: object, fault: str) -> None:
        super().__init__(name, row, value, fault)  # all arguments, so that the error can be pickled
        self.row = row

    def __str__(self) -> str:
        name, row, value, fault = self.args
        return f"the {name} in row {row} (counted from 0) is {value!r}: {fault}"


def check_table(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Check and convert the columns of a table of interactions.

    Parameters
    ----------
    columns : mapping from role to column or None
        Roles are "user", "item", "value", "timestamp", "weight" and "title". None means no column, except for users
        and items, which are required.

    Raises
    ------
    DataError
        If the columns differ in length or are empty.
    RowError
        If a row of a column other than the ids is invalid. Ids are checked by `Vocabulary.encode`; lists and series
        of ids are returned unchanged, since an array would need a Python object for each.
    """
    table: dict[str, Any] = {}
    for role, column in columns.items():
        if column is None and role not in ("user", "item"):
            continue
        if role == "value":
            table[role] = as_numbers(column, role)
        elif role == "timestamp":
            table[role] = as_timestamps(column)
        elif role == "weight":
            table[role] = as_weights(column)
        elif role == "title":
            table[role] = as_column(column, role)
        else:
            table[role] = column if isinstance(column, list | tuple) or _is_text(column) else as_column(column, role)
    lengths = {role: len(column) for role, column in table.items()}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{length:,} {role}s" for role, length in lengths.items())
        raise DataError(f"the columns differ in length ({counts}): give one value of each for every interaction")
    if 0 in lengths.values():
        raise DataError("the table is empty: give at least one interaction")
    return table


def _is_text(column: Any) -> bool:
    """Whether a column is a series of strings that are not Python objects."""
    if not hasattr(column, "__array__") or isinstance(column, np.ndarray):
        return False
    from halfstep.data.frames import text_of

    return text_of(column) is not None


def as_column(values: Any, name: str) -> NDArray[Any]:
    """Convert a column of any kind to a one-dimensional array.

    Parameters
    ----------
    values : array, series or iterable
        A plain iterable becomes an array of objects, since NumPy would convert ``[1, "a"]`` to strings and a list
        of tuples to a matrix. Masked values become None.
    name : str
        The name of a value in error messages.
    """
    if isinstance(values, np.ma.MaskedArray):
        array = values.astype(object)
        array[np.ma.getmaskarray(values)] = None
        array = np.asarray(array)
    elif isinstance(values, np.ndarray):
        array = np.asarray(values)
    elif hasattr(values, "__array__"):
        from halfstep.data.frames import for_numpy

        array = np.asarray(for_numpy(values))
    elif isinstance(values, Iterable) and not isinstance(values, str | bytes):
        array = np.fromiter(values, dtype=object)
    else:
        kind = type(values).__name__
        raise DataError(f"the {plural(name)} are {values!r} of type {kind}: give an array, a series or a list")
    if array.ndim != 1:
        raise DataError(
            f"the {plural(name)} have the shape {array.shape}: give a one-dimensional array, a list or one column "
            "of a table"
        )
    return array


def is_single(values: Any) -> bool:
    """Whether `values` is one value rather than a column, without converting a series."""
    if hasattr(values, "shape"):
        return len(values.shape) == 0
    return isinstance(values, str | bytes) or not hasattr(values, "__iter__")


def plural(name: str) -> str:
    """Return the plural of a name, such as "item ids in exclude" for "item id in exclude"."""
    noun, preposition, where = name.partition(" in ")
    return f"{noun}s{preposition}{where}"


def with_value(name: str, value: object) -> str:
    """Return a name with a value, such as "item id 3 in exclude" for "item id in exclude"."""
    noun, preposition, where = name.partition(" in ")
    return f"{noun} {value!r}{preposition}{where}"


def as_numbers(values: Any, name: str) -> NDArray[np.float64]:
    """Convert a column of finite numbers to a float64 array, always a copy."""
    column = as_column(values, name)
    kind = column.dtype.kind
    row = _first_not(column, Real, Decimal) if kind == "O" else None if kind in "biuf" else 0
    if row is not None and row < len(column):
        raise RowError(name, row, column[row], f"not a number; {FIX_ROWS}, or convert the column to numbers")
    numbers = column.astype(np.float64)
    _refuse(~np.isfinite(numbers), name, numbers, f"not a finite number; {FIX_ROWS}")
    return numbers


def as_weights(values: Any) -> NDArray[np.float64]:
    """Convert a column of finite numbers of at least 0 to a float64 array, always a copy."""
    weights = as_numbers(values, "weight")
    _refuse(weights < 0, "weight", weights, "weights are at least 0; drop interactions that should not count")
    return weights


def as_timestamps(values: Any) -> NDArray[Any]:
    """Convert a column of timestamps to an array of int64, float64 or datetime64[us], always a copy.

    Numbers may have any unit; strings become numbers if all are integers, and are ISO 8601 otherwise. Dates and
    datetimes become datetime64[us], in UTC if they have a time zone.

    Raises
    ------
    RowError
        If a timestamp is missing, not finite, not ISO 8601, or a number among datetimes.
    """
    if hasattr(values, "__array__") and not isinstance(values, np.ndarray):
        from halfstep.data.frames import without_zone

        values = without_zone(values)  # NumPy would convert to one object for each timestamp
    column = as_column(values, "timestamp")
    if column.dtype.kind in "UT":
        column = column.astype(object)
    kind = column.dtype.kind
    if kind == "O" and len(column) and all(isinstance(each, str) and is_integer(each) for each in column):
        column = np.array(list(map(int, column)), dtype=object)
    if kind == "O" and any(issubclass(each, str | date | np.datetime64) for each in set(map(type, column))):
        column, kind = _instants(column), "M"
    if kind == "M":
        _refuse(np.isnat(column), "timestamp", column, f"missing; {FIX_ROWS}")
        return column.astype("datetime64[us]")
    if kind == "b":
        _refuse(np.ones(len(column), dtype=bool), "timestamp", column, "not a time; convert the column")
    numbers = as_numbers(column, "timestamp")
    integral = kind in "iu" or (kind == "O" and _first_not(column, int, np.integer) is None)
    if not integral:
        return numbers
    _refuse(np.abs(numbers) >= 2.0**63, "timestamp", numbers, "too large for int64; choose a coarser unit")
    return column.astype(np.int64)


def _instants(column: NDArray[Any]) -> NDArray[np.datetime64]:
    """Convert a mix of strings, dates and datetimes."""
    instants: list[Any] = []
    for value in column:
        try:
            instants.append(_instant(value))
        except (TypeError, ValueError, OverflowError):
            remedy = "write times as ISO 8601, such as 1997-09-20T03:05:10, or as numbers throughout"
            raise RowError("timestamp", len(instants), value, f"not a time; {remedy}") from None
    return np.array(instants, dtype="datetime64[us]")


def _instant(value: Any) -> date | np.datetime64:
    """Convert to a datetime in UTC without a time zone, which NumPy does not support."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime) and value.tzinfo is not None:
        value = value.astimezone(UTC).replace(tzinfo=None)
    if not isinstance(value, date | np.datetime64) or value != value:  # NaT is a datetime
        raise TypeError(value)
    return value


def _first_not(column: NDArray[Any], *kinds: type) -> int | None:
    """Return the first row whose object is of none of the given classes; None if there is none."""
    others = {kind for kind in set(map(type, column)) if not issubclass(kind, kinds)}  # fast, without a Python loop
    if not others:
        return None
    return next(row for row, value in enumerate(column) if type(value) in others)


def _refuse(wrong: NDArray[np.bool_], name: str, column: NDArray[Any], fault: str) -> None:
    """Raise a RowError for the first row in the mask `wrong`, if any."""
    if wrong.any():
        row = int(np.argmax(wrong))
        raise RowError(name, row, column[row].item(), fault)


def as_rows(rows: ArrayLike, length: int) -> NDArray[np.integer]:
    """Return row numbers as an array, from distinct row numbers or a mask of `length` rows."""
    chosen = np.asarray(rows)
    if chosen.ndim != 1 or (chosen.dtype.kind not in "biu" and chosen.size):
        shape = f"{chosen.dtype} of shape {chosen.shape}"
        raise DataError(f"rows is an array of {shape}: give a one-dimensional array of row numbers or of bools")
    if chosen.dtype.kind == "b":
        if len(chosen) != length:
            raise DataError(f"a mask of {len(chosen):,} rows for {length:,} interactions: give one value for each")
        return np.flatnonzero(chosen)
    outside = (chosen < 0) | (chosen >= length)
    if outside.any():
        raise DataError(f"there is no row {chosen[outside][0]}: rows are numbered 0 to {length - 1}")
    chosen = chosen.astype(np.intp)
    if len(chosen) < length // 8:  # a count of each row would take much more memory than the rows
        ascending = np.sort(chosen)
        twice = ascending[1:][ascending[1:] == ascending[:-1]]
    else:
        twice = np.flatnonzero(np.bincount(chosen, minlength=1) > 1)
    if len(twice):
        raise DataError(f"row {twice[0]} is selected twice: select it once, and change its weight by with_weights")
    return chosen
