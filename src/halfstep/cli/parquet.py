"""Parquet files of lists, written by DuckDB."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

AT_ONCE = 1 << 20  # bytes read from the finished file
MEMORY = "1GB"  # of DuckDB, which also keeps pages of the table on disk until the memory is full
THREADS = 2  # each needs memory for a row group
ROW_GROUP = 1 << 14  # rows; with more, long titles would exceed the memory

Kind = str
"""A type of DuckDB: BIGINT, INTEGER, DOUBLE or VARCHAR."""


def as_parquet(blocks: Iterable[list[tuple[Any, ...]]], kinds: Mapping[str, Kind]) -> Iterator[memoryview]:
    """Iterate over the bytes of a parquet file.

    Rows are collected in a temporary file, which bounds memory.

    Parameters
    ----------
    blocks : iterable of lists of rows
    kinds : mapping from the name of a column to its type

    Raises
    ------
    UnicodeEncodeError
        If a string is not valid Unicode.
    """
    import duckdb

    with TemporaryDirectory(prefix="halfstep-", ignore_cleanup_errors=True) as folder:
        config: Any = {"temp_directory": folder, "memory_limit": MEMORY, "threads": THREADS}
        connection = duckdb.connect(str(Path(folder) / "lists.db"), config=config)
        try:
            connection.execute("SET enable_progress_bar = false")  # which goes to standard output
            connection.execute("CREATE TABLE lists (" + ", ".join(f'"{n}" {k}' for n, k in kinds.items()) + ")")
            for rows in blocks:
                if rows:
                    _insert(connection, rows, kinds)
            path = Path(folder) / "lists.parquet"
            options = f"FORMAT parquet, ROW_GROUP_SIZE {ROW_GROUP}"
            connection.execute(f"COPY lists TO '{path}' ({options})".replace("\\", "/"))
        finally:
            connection.close()
        with path.open("rb") as file:
            while chunk := file.read(AT_ONCE):
                yield memoryview(chunk)


def _insert(connection: Any, rows: list[tuple[Any, ...]], kinds: Mapping[str, Kind]) -> None:
    """Append rows; columns of strings have a separate mask, because DuckDB guesses the type of columns with None."""
    block: dict[str, NDArray[Any]] = {}
    expressions = []
    for (name, kind), column in zip(kinds.items(), zip(*rows, strict=True), strict=True):
        if kind == "VARCHAR":
            texts = ["" if each is None else str(each) for each in column]
            "".join(texts).encode()  # raises a clearer error than DuckDB
            block[name] = np.array(texts, dtype=object)
            block[f"no {name}"] = np.array([each is None for each in column])
            expressions.append(f'CASE WHEN "no {name}" THEN NULL ELSE "{name}" END')
        else:
            block[name] = np.array(column)
            expressions.append(f'"{name}"')
    connection.register("block", block)
    connection.execute(f"INSERT INTO lists SELECT {', '.join(expressions)} FROM block")
    connection.unregister("block")
