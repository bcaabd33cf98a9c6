"""Parquet files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from halfstep.data.files.duckdb_engine import Engine, EngineError, identifier
from halfstep.data.files.sources import Source, TemporaryFolder, compression_of, open_plain
from halfstep.data.files.table_format import Table
from halfstep.errors import DataError


@dataclass(frozen=True, kw_only=True)
class ParquetTable(Table):
    """A parquet file; `columns` are the names in DuckDB and types of its columns."""

    path: Path
    columns: list[tuple[str, str]]

    reader: ClassVar[str] = "read_parquet(?, hive_partitioning=false)"

    @property
    def parameters(self) -> list[Any]:
        return [str(self.path)]

    def own_column(self, position: int) -> tuple[str, str]:
        name, kind = self.columns[position]
        return identifier(name), kind

    def fault(self, error: Exception | None) -> DataError:
        return _broken(self.name, error or "rows are missing")


def _broken(name: str, error: object) -> DataError:
    """Return the error for a parquet file that cannot be read."""
    return DataError(f"{name}: invalid parquet file ({error}): write or download it again")


def open_parquet(source: Source, path: Path, engine: Engine, workspace: TemporaryFolder) -> ParquetTable:
    """Open a parquet file, which may be compressed as a whole."""
    if compression_of(path, source.name) is not None:
        copy = workspace.new_path(".parquet")
        with open_plain(path, source.name) as file, copy.open("wb") as out:
            while block := file.read(1 << 22):
                out.write(block)
        path = copy
    path = workspace.linked(path.absolute())
    try:
        columns, kinds = engine.columns(f"SELECT * FROM {ParquetTable.reader}", [str(path)])
        tree = engine.rows("SELECT name, coalesce(num_children, 0) FROM parquet_schema(?)", [str(path)])
        rows = engine.rows("SELECT num_rows FROM parquet_file_metadata(?)", [str(path)])[0][0]
    except EngineError as error:
        raise _broken(source.name, error) from None
    names, index = [], 1
    while index < len(tree):  # a nested column precedes its children
        names.append(str(tree[index][0]))
        index = _after(tree, index)
    return ParquetTable(
        source=source,
        own_names=names if len(names) == len(columns) else columns,
        rows=int(rows),
        path=path,
        columns=list(zip(columns, kinds, strict=True)),
    )


def _after(tree: Sequence[tuple[Any, ...]], index: int) -> int:
    """Return the index after a column and its children."""
    children, index = tree[index][1], index + 1
    for _ in range(children):
        index = _after(tree, index)
    return index
