"""The interface of tables in all file formats.

If DuckDB cannot read a file, its error is replaced by one that names the line. It is also an error if DuckDB returns
another number of rows than was counted independently, so that no row is lost unnoticed.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from halfstep.data.files.duckdb_engine import literal
from halfstep.data.files.sources import TemporaryFolder
from halfstep.errors import DataError

BadLines = Literal["error", "skip"]

_MISSING = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class Options:
    """Parameters of `read_interactions`."""

    separator: str | None = None
    header: bool = True
    quote: str | None = '"'
    encoding: str = "utf-8"
    decimal: str = "."
    comment: str | None = None
    newlines_in_values: bool = False
    timestamp_format: str | None = None
    bad_lines: BadLines = "error"


class Table(Protocol):
    """An open file."""

    @property
    def name(self) -> str:
        """Its name in errors."""

    @property
    def names(self) -> list[str]:
        """The names of the columns."""

    @property
    def has_names(self) -> bool:
        """Whether the file has names of columns; otherwise they are positions."""

    @property
    def reader(self) -> str:
        """The table function in SQL, to follow FROM."""

    @property
    def parameters(self) -> list[Any]:
        """The values of the placeholders in `reader`."""

    @property
    def rows(self) -> int:
        """The number of rows, counted independently of DuckDB."""

    @property
    def skipped(self) -> int:
        """The number of invalid lines that were skipped."""

    def column(self, position: int) -> tuple[str, str]:
        """Return the SQL expression of a column, and its type."""

    def where(self, row: int) -> str:
        """Return the file and line of a row, counted from 0."""

    def fault(self, error: Exception | None) -> DataError:
        """Return the error for a file that DuckDB cannot read, or reads with another number of rows."""

    def with_numbers(self, positions: Collection[int]) -> Table | None:
        """Return the table with some columns read as numbers, which is faster but fails for other fields."""

    def repaired(self, workspace: TemporaryFolder) -> Table | None:
        """Return the table without its invalid lines; None if there are none, or they cannot be skipped."""


def partition_literal(value: str) -> str:
    """Return the value in the name of a folder as an SQL literal, or NULL."""
    return "CAST(NULL AS VARCHAR)" if value in ("", _MISSING) else literal(value)
