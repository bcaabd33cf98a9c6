"""Validation of single columns: each becomes a NumPy array, or an error that names the first invalid row."""

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

MEND_ROWS = "drop or mend such rows"
is_integer = re.compile(r"[+-]?[0-9]+").fullmatch


class RowError(DataError):
    """One row of a table is wrong.

    Attributes
    ----------
    row : int
        Its number, counted from 0, for a caller that knows a better name for it, such as a line of a file.
    """

    def __init__(self, name: str, row: int, value: object, fault: str) -> None:
        super().__init__(name, row, value, fault)  # all of them, so that the error can be pickled
        self.row = row

    def __str__(self) -> str:
        name, row, value, fault = self.args
        return f"the {name} in row {row} (counted from 0) is {value!r}: {fault}"


def check_table(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Check and convert the columns of a table of interactions.

    Parameters
    ----------
    columns : mapping from role to column or None
        Roles are "user", "item", "value", "timestamp", "weight" and "title". Columns that are None are left out,
        except those of users and items, which are required.

    Raises
    ------
    DataError
        If the columns differ in length or are empty.
    RowError
        If a row of a column other than the ids is invalid. Ids are checked by `Vocabulary.encode`; a list or a series
        of them is returned as it is, since an array would hold a Python object for each.
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
    """Whether a column is a series whose strings are not Python objects."""
    if not hasattr(column, "__array__") or isinstance(column, np.ndarray):
        return False
    from halfstep.data.frames import text_of

    return text_of(column) is not None


def as_column(values: Any, name: str) -> NDArray[Any]:
    """Make a one-dimensional array of anything that holds a column.

    Parameters
    ----------
    values : array, series or iterable
        A plain iterable becomes an array of objects, so that NumPy guesses nothing: it would make strings of
        ``[1, "a"]`` and a matrix of a list of tuples. Masked entries become None.
    name : str
        What a value is called in error messages.

    Raises
    ------
    DataError
        If `values` is a single value, or has more dimensions than one.
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
        raise DataError(f"the {plural(name)} must be an array, a series or a list, not {values!r} of type {kind}")
    if array.ndim != 1:
        raise DataError(
            f"the {plural(name)} must have one dimension, not the shape {array.shape}: give an array, a list or one "
            "column of a table"
        )
    return array


def is_single(values: Any) -> bool:
    """Whether `values` is one value rather than a column; a series is not converted to find out."""
    if hasattr(values, "shape"):
        return len(values.shape) == 0
    return isinstance(values, str | bytes) or not hasattr(values, "__iter__")


def plural(name: str) -> str:
    """Return the plural of a name in errors: "item ids in exclude" for "item id in exclude"."""
    noun, preposition, where = name.partition(" in ")
    return f"{noun}s{preposition}{where}"


def as_numbers(values: Any, name: str) -> NDArray[np.float64]:
    """Make a float64 array, always a copy, of a column of finite numbers.

    Raises
    ------
    RowError
        If an entry is no number, or is NaN or infinite.
    """
    column = as_column(values, name)
    kind = column.dtype.kind
    row = _first_not(column, Real, Decimal) if kind == "O" else None if kind in "biuf" else 0
    if row is not None and row < len(column):
        raise RowError(name, row, column[row], f"not a number; {MEND_ROWS}, or convert the column to numbers")
    numbers = column.astype(np.float64)
    _refuse(~np.isfinite(numbers), name, numbers, f"not a finite number; {MEND_ROWS}")
    return numbers


def as_weights(values: Any) -> NDArray[np.float64]:
    """Make a float64 array, always a copy, of a column of finite numbers of at least 0."""
    weights = as_numbers(values, "weight")
    _refuse(weights < 0, "weight", weights, "a weight is at least 0; leave out what should not count")
    return weights


def as_timestamps(values: Any) -> NDArray[Any]:
    """Make an array of int64, float64 or datetime64[us], always a copy, of a column of instants.

    Numbers stay numbers, in whatever unit they are, and so do strings that all are integers. Dates and datetimes
    become datetime64[us], and so do other strings, read as ISO 8601. An instant with a time zone is converted to
    UTC; one without is taken as it is.

    Raises
    ------
    RowError
        If an entry is missing, not finite, no ISO 8601 string, or a number among instants.
    """
    if hasattr(values, "__array__") and not isinstance(values, np.ndarray):
        from halfstep.data.frames import without_zone

        values = without_zone(values)  # in bulk; NumPy would get one object for each instant
    column = as_column(values, "timestamp")
    if column.dtype.kind in "UT":
        column = column.astype(object)
    kind = column.dtype.kind
    if kind == "O" and len(column) and all(isinstance(each, str) and is_integer(each) for each in column):
        column = np.array(list(map(int, column)), dtype=object)  # numbers written as text, as in csv files
    if kind == "O" and any(issubclass(each, str | date | np.datetime64) for each in set(map(type, column))):
        column, kind = _instants(column), "M"
    if kind == "M":
        _refuse(np.isnat(column), "timestamp", column, f"missing; {MEND_ROWS}")
        return column.astype("datetime64[us]")
    if kind == "b":  # True is a number to Python, but no instant to anybody
        _refuse(np.ones(len(column), dtype=bool), "timestamp", column, "not an instant; convert the column")
    numbers = as_numbers(column, "timestamp")
    integral = kind in "iu" or (kind == "O" and _first_not(column, int, np.integer) is None)
    if not integral:
        return numbers
    _refuse(np.abs(numbers) >= 2.0**63, "timestamp", numbers, "too large for int64; choose a coarser unit")
    return column.astype(np.int64)


def _instants(column: NDArray[Any]) -> NDArray[np.datetime64]:
    """Convert strings, dates and datetimes one by one."""
    instants: list[Any] = []
    for value in column:
        try:
            instants.append(_instant(value))
        except (TypeError, ValueError, OverflowError):
            remedy = "write instants as ISO 8601, such as 1997-09-20T03:05:10, or as numbers throughout"
            raise RowError("timestamp", len(instants), value, f"not an instant; {remedy}") from None
    return np.array(instants, dtype="datetime64[us]")


def _instant(value: Any) -> date | np.datetime64:
    """Read one instant; in UTC and without a zone, since NumPy knows none."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime) and value.tzinfo is not None:
        value = value.astimezone(UTC).replace(tzinfo=None)
    if not isinstance(value, date | np.datetime64) or value != value:  # NaT is a datetime that equals nothing
        raise TypeError(value)
    return value


def _first_not(column: NDArray[Any], *kinds: type) -> int | None:
    """Find the first row whose object is of none of the given classes; None if there is none.

    The set of types is taken first, since it is found without a Python loop over the rows.
    """
    strange = {kind for kind in set(map(type, column)) if not issubclass(kind, kinds)}
    if not strange:
        return None
    return next(row for row, value in enumerate(column) if type(value) in strange)


def _refuse(wrong: NDArray[np.bool_], name: str, column: NDArray[Any], fault: str) -> None:
    """Raise a RowError for the first row that is marked as wrong."""
    if wrong.any():
        row = int(np.argmax(wrong))
        raise RowError(name, row, column[row].item(), fault)


def as_rows(rows: ArrayLike, length: int) -> NDArray[np.integer]:
    """Return the row numbers of a choice among `length` rows: distinct numbers, or a mask."""
    chosen = np.asarray(rows)
    if chosen.ndim != 1 or (chosen.dtype.kind not in "biu" and chosen.size):
        shape = f"{chosen.dtype} of shape {chosen.shape}"
        raise DataError(f"rows must be one-dimensional, of int or bool, not {shape}")
    if chosen.dtype.kind == "b":
        if len(chosen) != length:
            raise DataError(f"{len(chosen):,} marks for {length:,} interactions: give one for each")
        return np.flatnonzero(chosen)
    outside = (chosen < 0) | (chosen >= length)
    if outside.any():
        raise DataError(f"there is no row {chosen[outside][0]}: rows are numbered 0 to {length - 1}")
    chosen = chosen.astype(np.intp)
    counts = np.bincount(chosen, minlength=1)
    if counts.max() > 1:
        raise DataError(
            f"row {np.argmax(counts > 1)} is chosen twice, but a cell is observed once: "
            "to count it twice, give it a weight of 2 by with_weights"
        )
    return chosen
