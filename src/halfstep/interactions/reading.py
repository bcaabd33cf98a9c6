"""Interactions from files: csv, tsv and the like, and parquet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from halfstep.errors import DataError, ParameterError
from halfstep.interactions import Interactions
from halfstep.interactions.columns import MEND_ROWS, RowError, as_timestamps
from halfstep.interactions.delimited import DelimitedText
from halfstep.interactions.duplicates import Duplicates
from halfstep.interactions.roles import TIMESTAMP, VALUE, WEIGHT, columns_by_role, naming_the_way_out

_SEPARATORS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
_PARQUET = (".parquet", ".pq")


def read_interactions(
    path: str | Path,
    *,
    user: str | int = "user",
    item: str | int = "item",
    value: str | int | None = VALUE,
    timestamp: str | int | None = TIMESTAMP,
    weight: str | int | None = WEIGHT,
    duplicates: Duplicates | None = "error",
    separator: str | None = None,
    header: bool = True,
) -> Interactions:
    r"""Read interactions from a csv, tsv or parquet file.

    Parameters
    ----------
    path : str or Path
        The suffix says what it is: .csv, .tsv or .tab, maybe followed by .gz, or .parquet. Text is in UTF-8.
    user, item : str or int
        The columns of ids, by name or by position, counted from 0.
    value, timestamp, weight : str, int or None
        Further columns; `Interactions.from_arrays` says what they hold. By default, columns that are called
        ``value``, ``timestamp`` and ``weight`` are used if the file has them; None leaves one out. Other columns are
        ignored.
    duplicates : {"error", "last", "sum", "mean"} or None
        As in `Interactions.from_arrays`.
    separator : str, optional
        What stands between the fields of a text file, if not said by the suffix: ``","``, ``"\t"``, ``"::"``;
        any suffix goes with it. Fields may be quoted with ``"`` if the separator is a single character.
    header : bool
        Whether the first line of a text file names the columns. Without it, they go by position.

    Returns
    -------
    Interactions
        Ids of text files become integers where all ids of the column are written as Python writes integers
        ("7", not "007"), and stay strings elsewhere.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DataError
        If the file cannot be read or holds anything unusable; it names the file, and the line of a text file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {str(path)!r}; relative paths start at {str(Path.cwd())!r}")
    wanted = {"user": user, "item": item, "value": value, "timestamp": timestamp, "weight": weight}
    suffix = Path(path.stem).suffix.lower() if path.suffix.lower() == ".gz" else path.suffix.lower()
    if separator is None and suffix in _PARQUET:
        return _read_parquet(path, wanted, duplicates)
    if separator is None and suffix not in _SEPARATORS:
        known = ", ".join((*_SEPARATORS, *_PARQUET))
        raise DataError(f"{path}: the suffix {suffix!r} is none of {known}: say separator=... if it is a text file")
    if separator == "" or (separator is not None and set(separator) & set('"\r\n')):
        raise ParameterError(f"separator={separator!r}: give what stands between the fields, such as ','")
    text = DelimitedText(path, _SEPARATORS[suffix] if separator is None else separator, header)
    return _read_text(text, wanted, duplicates)


def _read_parquet(path: Path, asked: Mapping[str, str | int | None], duplicates: Duplicates | None) -> Interactions:
    import narwhals.stable.v2 as nw

    libraries: tuple[Literal["pyarrow", "polars"], ...] = ("pyarrow", "polars")
    backend = next((name for name in libraries if find_spec(name)), None)
    if backend is None:
        raise DataError(f"{path}: reading parquet takes pyarrow or polars: run pip install pyarrow")
    try:
        frame = nw.read_parquet(str(path), backend=backend)
    except Exception as error:  # every library has classes of its own for a broken file
        raise DataError(f"{path}: no readable parquet file ({error}): write or fetch it again") from error
    with _naming(path), naming_the_way_out(asked):
        wanted = columns_by_role(asked, frame.columns)
        places = {role: _place(frame.columns, role, column) for role, column in wanted.items()}
        columns = {role: frame.get_column(frame.columns[place]) for role, place in places.items()}
        return _from_columns(columns, duplicates)


def _read_text(
    text: DelimitedText, asked: Mapping[str, str | int | None], duplicates: Duplicates | None
) -> Interactions:
    names = text.names()
    wanted = columns_by_role(asked, names if text.header else ())
    with _naming(text.path, text), naming_the_way_out(asked):
        if not text.header:
            for role, column in wanted.items():
                if isinstance(column, str):
                    raise DataError(
                        f"{role}={column!r}, but without a header there are no names: "
                        f"say {role}=... with a position from 0 to {len(names) - 1}"
                    )
        places = {role: _place(names, role, column) for role, column in wanted.items()}
        fields = dict(zip(places, text.columns(list(places.values())), strict=True))
        columns = {role: _CONVERSIONS[role](column, role) for role, column in fields.items()}
        return _from_columns(columns, duplicates)


def _from_columns(columns: Mapping[str, Any], duplicates: Duplicates | None) -> Interactions:
    return Interactions.from_arrays(
        columns["user"],
        columns["item"],
        columns.get("value"),
        columns.get("timestamp"),
        columns.get("weight"),
        duplicates=duplicates,
    )


@contextmanager
def _naming(path: Path, text: DelimitedText | None = None) -> Iterator[None]:
    """Say in errors about the data which file they are about, and which line of it."""
    try:
        yield
    except RowError as error:
        line = "" if text is None else f", line {text.line_of(error.row)}"
        raise DataError(f"{path}{line}: {error}") from None
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def _place(names: Sequence[str], role: str, column: str | int) -> int:
    """Find a column by name or position."""
    if isinstance(column, str):
        if names.count(column) == 1:
            return names.index(column)
        fault = f"more than one column {column!r}" if column in names else f"no column {column!r}"
    elif 0 <= column < len(names):
        return column
    else:
        fault = f"no column {column}"
    listed = ", ".join(f"{place} {name!r}" for place, name in enumerate(names))
    raise DataError(f"there is {fault} for {role}: there are {listed}; say {role}=... with a name or position")


def _ids_of(texts: list[str], role: str) -> NDArray[np.int64] | list[str]:
    """Make integers of ids if all are written as Python writes integers, so that none loses its zeros."""
    if "" in texts:
        raise RowError(f"{role} id", texts.index(""), "", f"a missing id; {MEND_ROWS}")
    try:
        integers = list(map(int, texts))
        return np.array(integers, dtype=np.int64) if list(map(str, integers)) == texts else texts
    except (ValueError, OverflowError):
        return texts


def _numbers_of(texts: list[str], role: str) -> NDArray[np.float64]:
    try:
        return np.array(list(map(float, texts)), dtype=np.float64)
    except ValueError:
        row = next(row for row, text in enumerate(texts) if not _is_number(text))
        raise RowError(role, row, texts[row], f"not a number; {MEND_ROWS}") from None


def _timestamps_of(texts: list[str], role: str) -> NDArray[Any]:
    """Read numbers if the first is one, else ISO 8601 instants."""
    if not texts or not _is_number(texts[0]):
        return as_timestamps(texts)
    try:
        return np.array(list(map(int, texts)), dtype=np.int64)
    except (ValueError, OverflowError):
        return _numbers_of(texts, role)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


_CONVERSIONS: Mapping[str, Callable[[list[str], str], Any]] = {
    "user": _ids_of,
    "item": _ids_of,
    "value": _numbers_of,
    "timestamp": _timestamps_of,
    "weight": _numbers_of,
}
