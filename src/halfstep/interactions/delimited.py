"""Text files of records with a separator: fields as strings, and the line that every record starts at."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from halfstep.errors import DataError


@dataclass(frozen=True)
class DelimitedText:
    """A text file in UTF-8, maybe compressed (.gz), with as many fields in each record as in the first.

    What a file means is what Python's csv module says. PyArrow reads much faster and is used where it is
    installed and objects to nothing; not so Polars and pandas, which may fill short records without a word.

    Attributes
    ----------
    path : Path
    separator : str
        Of any length; only with a single character may fields be quoted.
    header : bool
        Whether the first record names the columns.
    """

    path: Path
    separator: str
    header: bool

    def names(self) -> list[str]:
        """Give the names of the columns: their positions if there is no header."""
        _, first = self._first()
        return first if self.header else [str(place) for place in range(len(first))]

    def columns(self, places: Sequence[int]) -> list[list[str]]:
        """Read the fields of some columns, the header left out.

        Raises
        ------
        DataError
            If a record has another number of fields than the first, or the file cannot be read to its end.
        """
        return self._columns_by_pyarrow(places) or self._columns_by_python(places)

    def line_of(self, row: int) -> int:
        """Find the line, counted from 1, at which the row starts, counted from 0 after the header."""
        for place, (line, _) in enumerate(self._records()):
            if place == row + self.header:
                return line
        raise IndexError(f"{self.path} has no row {row}")

    def _columns_by_python(self, places: Sequence[int]) -> list[list[str]]:
        columns: list[list[str]] = [[] for _ in places]
        first_line, first = self._first()
        for line, fields in self._records():
            if len(fields) != len(first):
                raise DataError(
                    f"{self.path}, line {line}: there are {len(fields)} fields, but {len(first)} in "
                    f"line {first_line}: mend the line, or say separator=... if it is not {self.separator!r}"
                )
            for column, place in zip(columns, places, strict=True):
                column.append(fields[place])
        return [column[self.header :] for column in columns]

    def _columns_by_pyarrow(self, places: Sequence[int]) -> list[list[str]] | None:
        """Read fast; None if that cannot be done or anything is wrong: Python's errors name the line."""
        try:
            import pyarrow
            import pyarrow.csv
        except ImportError:
            return None
        if len(self.separator) > 1 or not self.separator.isascii():
            return None
        names = [str(place) for place in range(len(self._first()[1]))]
        wanted = [str(place) for place in places]
        distinct = list(dict.fromkeys(wanted))
        try:
            with pyarrow.input_stream(str(self.path), compression="gzip" if self._is_compressed else None) as stream:
                table = pyarrow.csv.read_csv(
                    stream,
                    pyarrow.csv.ReadOptions(column_names=names),
                    pyarrow.csv.ParseOptions(delimiter=self.separator, newlines_in_values=True),
                    pyarrow.csv.ConvertOptions(
                        include_columns=distinct, column_types=dict.fromkeys(distinct, pyarrow.string())
                    ),
                )
        except (pyarrow.ArrowException, OSError):
            return None
        return [table[name].to_pylist()[self.header :] for name in wanted]

    def _first(self) -> tuple[int, list[str]]:
        for line, fields in self._records():
            return line, fields
        raise DataError(f"{self.path}: the file is empty")

    @property
    def _is_compressed(self) -> bool:
        return self.path.suffix.lower() == ".gz"

    def _open(self) -> TextIO:
        if self._is_compressed:
            return gzip.open(self.path, "rt", encoding="utf-8-sig", newline="")
        return self.path.open(encoding="utf-8-sig", newline="")

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """Go through the records that are not empty, each with the line it starts at."""
        line = 0
        try:
            with self._open() as file:
                if len(self.separator) > 1:
                    for line, text in enumerate(file, 1):
                        if text.rstrip("\r\n"):
                            yield line, text.rstrip("\r\n").split(self.separator)
                    return
                records = csv.reader(file, delimiter=self.separator)
                for fields in records:
                    if fields:
                        yield line + 1, fields
                    line = records.line_num
        except csv.Error as error:
            raise DataError(f"{self.path}, line {line + 1}: {error}: mend the line") from None
        except UnicodeDecodeError as error:
            raise DataError(
                f"{self.path}, after line {line}: not UTF-8 ({error.reason}): convert the file to UTF-8"
            ) from None
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(
                f"{self.path}, after line {line}: broken gzip file ({error}): fetch or write it again"
            ) from None
