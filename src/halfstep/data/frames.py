"""Dataframes of any library, through narwhals."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from importlib.util import find_spec
from typing import Any, NamedTuple

import narwhals.stable.v2 as nw
import numpy as np
from narwhals.exceptions import DuplicateError
from numpy.typing import NDArray

from halfstep._support.checks import check_choice
from halfstep.errors import DataError, ParameterError

KINDS = ("pandas", "polars", "pyarrow", "modin", "cudf")  # libraries that can create dataframes from columns
STORABLE = (str, int, float, bool, date, type(None))  # types that all of these support in columns

MANY = 10_000  # strings from which the dataframe's library is faster than Python
INT64 = -(1 << 63), (1 << 63) - 1
_TEXTS = (nw.String, nw.Categorical, nw.Enum)


def column_names(frame: Any) -> list[str] | None:
    """List the columns of a dataframe; None if it is not a dataframe."""
    try:
        table = nw.from_native(frame, pass_through=True)
        return table.collect_schema().names() if isinstance(table, nw.DataFrame | nw.LazyFrame) else None
    except DuplicateError as error:
        raise DataError(f"{' '.join(str(error).split())}: give each column another name") from None


def as_series(thing: Any) -> nw.Series[Any] | None:
    """Return a series of a dataframe library through narwhals; None for anything else."""
    series = nw.from_native(thing, series_only=True, pass_through=True)
    return series if isinstance(series, nw.Series) else None


def columns_of(frame: Any, names: Mapping[str, str]) -> dict[str, Any]:
    """Return columns of a dataframe by role; of a lazy one, only these are evaluated.

    Parameters
    ----------
    names : mapping from role to the name of a column
        The columns must exist.
    """
    table = nw.from_native(frame)
    if isinstance(table, nw.LazyFrame):
        table = table.select(list(dict.fromkeys(names.values()))).collect()
    return {role: table.get_column(name) for role, name in names.items()}


class Column(NamedTuple):
    """A column of features.

    Attributes
    ----------
    name : str
    is_numeric : bool
    values : ndarray of float64 or object
        Numbers, or strings; missing values are NaN or None.
    """

    name: str
    is_numeric: bool
    values: NDArray[Any]


def feature_columns(frame: Any, key: str) -> tuple[Any, list[Column]]:
    """Return the column of ids of a dataframe, and all others as numbers or strings.

    Raises
    ------
    DataError
        If a column has neither numbers nor strings.
    """
    table = nw.from_native(frame)
    table = table.collect() if isinstance(table, nw.LazyFrame) else table
    return table.get_column(key), [_feature(table.get_column(name)) for name in table.columns if name != key]


def _feature(series: nw.Series[Any]) -> Column:
    name = str(series.name)
    if series.dtype.is_numeric() or series.dtype == nw.Boolean:
        return Column(name, True, np.asarray(series.cast(nw.Float64()).to_numpy(), np.float64))
    is_null = series.is_null().to_list()
    values = [None if null else value for value, null in zip(series.to_list(), is_null, strict=True)]
    invalid = next((value for value in values if value is not None and not isinstance(value, str)), None)
    if invalid is not None:
        raise DataError(
            f"the feature {name!r} has values such as {invalid!r}: give numbers, or strings for categories "
            '("a|b" for several)'
        )
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return Column(name, False, column)


def without_zone(column: Any) -> Any:
    """Convert a series of datetimes with a time zone to UTC; return anything else unchanged."""
    series = as_series(column)
    if series is not None and isinstance(series.dtype, nw.Datetime) and series.dtype.time_zone:
        return series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return column


def for_numpy(column: Any) -> Any:
    """Convert a series whose own conversion to NumPy fails or is wrong; return anything else unchanged.

    PyArrow converts missing values of a dictionary column wrongly, and NumPy has no 128-bit integers.
    """
    series = as_series(column)
    if series is None or not len(series):
        return column
    if series.dtype in (nw.Int128, nw.UInt128):
        # Polars compares unsigned numbers only with unsigned ones
        smallest = INT64[0] if series.dtype == nw.Int128 else 0
        fits = not series.is_null().any() and bool(series.is_between(smallest, INT64[1]).all())
        return series.cast(nw.Int64()) if fits else np.array(series.to_list(), dtype=object)
    if series.dtype == nw.Categorical:
        return _without_arrow_dictionary(series)
    return column


def _without_arrow_dictionary(series: nw.Series[Any]) -> nw.Series[Any]:
    """Decode a dictionary column of PyArrow, or of pandas with PyArrow types."""
    if series.implementation.is_pyarrow():
        return series.cast(series.cat.get_categories().dtype)
    native = series.to_native()
    dtype: Any = getattr(native, "dtype", None)
    if not hasattr(getattr(dtype, "pyarrow_dtype", None), "index_type"):
        return series
    # pandas has no .cat accessor for these types
    return nw.from_native(native.astype(type(dtype)(dtype.pyarrow_dtype.value_type)), series_only=True)


def as_item_values(history: Any) -> dict[Any, Any] | None:
    """Return a series of pandas, or of a similar library, as a mapping from its index to its values.

    Returns
    -------
    dict or None
        None if `history` is anything else.
    """
    if not hasattr(history, "__array__") or not nw.dependencies.is_pandas_like_series(history):
        return None
    items, values = history.index.tolist(), history.tolist()
    by_item = dict(zip(items, values, strict=True))
    if len(by_item) < len(items):
        repeated = next(item for item in by_item if items.count(item) > 1)
        raise DataError(f"item {repeated!r} occurs more than once in the series' index: give one value for each item")
    for item, value in by_item.items():
        if isinstance(value, str):
            raise DataError(
                f"the value of item {item!r} is {value!r}: give numbers, or series.tolist() for a list of items"
            )
    return by_item


def text_of(column: Any) -> nw.Series[Any] | None:
    """Return a long column of strings or categories as a series; None for others, and for Python objects."""
    series = as_series(column)
    if series is None or len(series) < MANY or series.dtype not in _TEXTS:
        return None
    if series.dtype == nw.Categorical and not series.implementation.is_pyarrow():
        series = _without_arrow_dictionary(series)
        if series.dtype not in _TEXTS:
            return None
    texts = series if series.dtype == nw.String else series.cat.get_categories()
    # pandas may have Python objects, whose type narwhals infers from the first
    dtype = getattr(texts.to_native(), "dtype", None)
    in_python = str(dtype) == "object" or getattr(dtype, "storage", None) == "python"
    return None if in_python or texts.dtype != nw.String else series


def encode_strings(column: Any) -> tuple[list[str], NDArray[np.int32]] | None:
    """Encode the strings of a series by its library.

    Returns
    -------
    distinct, positions : list of str, and ndarray of int32
        The distinct strings, ascending, and the position of each row's. None if `text_of` returns None, or if a
        string is missing.
    """
    series = text_of(column)
    if series is None:
        return None
    # pandas looks up categories much faster than strings
    series = series.cast(nw.Categorical() if series.implementation.is_pandas_like() else nw.String())
    distinct = series.unique().to_list()
    if set(map(type, distinct)) != {str}:
        return None
    distinct.sort()
    positions = series.replace_strict(distinct, range(len(distinct)), return_dtype=nw.Int32())
    return distinct, positions.to_numpy()


def kind_of(frame: Any) -> str | None:
    """Return the library of a dataframe if it can create new ones, else None."""
    table = nw.from_native(frame, pass_through=True)
    name = table.implementation.value if isinstance(table, nw.DataFrame | nw.LazyFrame) else None
    return name if name in KINDS else None


def new_frame(columns: Mapping[str, NDArray[Any]], kind: Any = None) -> Any:
    """Create a dataframe of the named library, by default the first that is installed."""
    if kind is None:
        kind = next((name for name in KINDS if find_spec(name)), None)
        if kind is None:
            raise ParameterError("no dataframe library is installed: run pip install pandas (or polars, or pyarrow)")
    check_choice("kind", kind, KINDS)
    if not find_spec(kind):
        raise ParameterError(
            f"{kind} is not installed: run pip install {kind}, or name another of {', '.join(KINDS)}"
        )
    storable = {name: _storable(column, kind) for name, column in columns.items()}
    return nw.from_dict(storable, backend=kind).to_native()


def _storable(column: NDArray[Any], kind: str) -> Any:
    """Convert objects to lists, whose type libraries infer, and to strings if the library cannot store them."""
    if column.dtype.kind != "O":
        return column
    values = column.tolist()
    if kind in ("polars", "pyarrow") and not _is_storable(values):
        return [None if each is None else str(each) for each in values]
    return values


def _is_storable(values: list[Any]) -> bool:
    """Whether values are of one type that every library supports."""
    kinds = set(map(type, values)) - {type(None)}
    if not all(issubclass(each, STORABLE) for each in kinds) or len(kinds) > 1:
        return False
    return kinds != {int} or all(abs(each) < 1 << 63 for each in values if each is not None)
