"""The base class of tables in all file formats.

If DuckDB cannot read a file, its error is replaced by one that names the line. It is also an error if the number of
rows that DuckDB returns differs from an independent count, so that no row is lost unnoticed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

from halfstep.data.files.duckdb_engine import literal
from halfstep.data.files.sources import Source, TemporaryFolder
from halfstep.data.files.sql import TEXT
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


@dataclass(frozen=True, kw_only=True)
class Table(ABC):
    """An open file.

    Attributes
    ----------
    source : Source
    own_names : list of str
        The names of the columns in the file.
    rows : int
        The number of rows, counted independently of DuckDB.
    skipped : int
        The number of invalid lines that were skipped.
    has_header : bool
        Whether the file has names of columns; otherwise they are positions.
    """

    source: Source
    own_names: list[str]
    rows: int
    skipped: int = 0
    has_header: bool = True

    @property
    def name(self) -> str:
        """Its name in errors."""
        return self.source.name

    @property
    def names(self) -> list[str]:
        """The names of all columns; those in the names of folders are last."""
        return [*self.own_names, *self.source.partitions]

    @property
    def has_names(self) -> bool:
        """Whether any column has a name other than its position."""
        return self.has_header or bool(self.source.partitions)

    @property
    @abstractmethod
    def reader(self) -> str:
        """The table function in SQL, to follow FROM."""

    @property
    @abstractmethod
    def parameters(self) -> list[Any]:
        """The values of the placeholders in `reader`."""

    @abstractmethod
    def own_column(self, position: int) -> tuple[str, str]:
        """Return the SQL expression of a column in the file, and its type."""

    def column(self, position: int) -> tuple[str, str]:
        """Return the SQL expression of a column, and its type."""
        if position < len(self.own_names):
            return self.own_column(position)
        value = self.source.partitions[self.names[position]]
        return "CAST(NULL AS VARCHAR)" if value in ("", _MISSING) else literal(value), TEXT

    def where(self, row: int) -> str:
        """Return the file and line of a row, counted from 0."""
        return f"{self.name}, row {row} (counted from 0)"

    @abstractmethod
    def fault(self, error: Exception | None) -> DataError:
        """Return the error for a file that DuckDB cannot read, or reads with a different number of rows."""

    def with_numbers(self, positions: Collection[int]) -> Table | None:
        """Return the table with some columns read as numbers, which is faster but fails for other fields."""
        return None

    def repaired(self, workspace: TemporaryFolder) -> Table | None:
        """Return the table without its invalid lines; None if there are none, or they cannot be skipped."""
        return None
