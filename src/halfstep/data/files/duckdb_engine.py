"""DuckDB restricted to the given files: no network, no extensions, no configuration files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from halfstep.data.files.arrow_stream import Chunk, StreamError, chunks

# These optimizers move conversions into the readers, where TRY_CAST raises an error instead of returning NULL.
_HARMFUL_OPTIMIZERS = ("type_pushdown", "scalar_fn_pushdown")
MOST_THREADS = 8  # more threads are faster than the single thread that consumes the results


class EngineError(Exception):
    """An error of DuckDB, with the first line of its message."""


class Engine:
    """A connection that can read the files at some absolute paths, and a folder for temporary files."""

    def __init__(self, paths: Sequence[Path], folder: Path) -> None:
        import duckdb

        self._error = duckdb.Error
        settings: dict[str, str | bool | int | float | list[str]] = {
            "threads": min(MOST_THREADS, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2),
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "enable_external_file_cache": False,  # keeps whole files in memory
            "temp_directory": str(folder),
        }
        self._connection = duckdb.connect(":memory:", config=settings)
        available = {name for (name,) in self._connection.execute("SELECT name FROM duckdb_optimizers()").fetchall()}
        for setting, value in (
            ("disabled_optimizers", literal(",".join(each for each in _HARMFUL_OPTIMIZERS if each in available))),
            ("TimeZone", "'UTC'"),
            ("streaming_buffer_size", "'64MB'"),  # rows that DuckDB reads ahead
            ("enable_progress_bar", "false"),  # would be printed to standard output
            ("allowed_paths", _listed(paths)),
            ("allowed_directories", _listed([folder])),
            ("enable_external_access", "false"),
            ("lock_configuration", "true"),
        ):
            self._connection.execute(f"SET {setting} = {value}").fetchall()

    def close(self) -> None:
        """Close the connection and free its memory."""
        self._connection.close()

    def columns(self, query: str, parameters: Sequence[Any]) -> tuple[list[str], list[str]]:
        """Return the names and types of the columns of a query."""
        try:
            relation = self._connection.sql(query, params=list(parameters))
            return list(relation.columns), [str(each) for each in relation.types]
        except self._error as error:
            raise EngineError(_first_line(error)) from None

    def rows(self, query: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Return all rows of a small result."""
        try:
            return self._connection.execute(query, list(parameters)).fetchall()
        except self._error as error:
            raise EngineError(_first_line(error)) from None

    def stream(
        self, query: str, parameters: Sequence[Any], dtypes: list[np.dtype[Any] | None]
    ) -> Iterator[list[Chunk]]:
        """Iterate over the rows of a large result in order; see `arrow_stream.chunks`."""
        try:
            yield from chunks(self._connection.sql(query, params=list(parameters)), dtypes)
        except (self._error, StreamError) as error:
            raise EngineError(_first_line(error)) from None


def literal(text: str) -> str:
    """Return a string as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """Return the name of a column as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def _listed(paths: Sequence[Path]) -> str:
    return "[" + ", ".join(literal(str(path)) for path in paths) + "]"


def _first_line(error: Exception) -> str:
    """Return the first line of a message of DuckDB without the path of a file, which may be a copy."""
    lines = str(error).splitlines()
    first = lines[0] if lines else type(error).__name__
    first = re.sub(r"^(\w+ )*Error: ", "", re.sub(r""" (in|of)?( file)? ?("[^"]*/[^"]*"|'[^']*/[^']*')""", "", first))
    details = [line for line in lines[1:] if line.startswith(("Expected Number", "Value with", "Invalid unicode"))]
    return "; ".join([first[:300], *details[:1]])
