"""JSON objects, one on each line or all in an array."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from halfstep.data.files.duckdb_engine import Engine, EngineError, identifier, literal
from halfstep.data.files.sources import Source, TemporaryFolder
from halfstep.data.files.sql import JSON
from halfstep.data.files.table_format import Options, Table
from halfstep.data.files.text_lines import PlainText, make_plain
from halfstep.errors import DataError


@dataclass(frozen=True, kw_only=True)
class JsonTable(Table):
    """JSON objects, one on each line or all in an array."""

    text: PlainText
    is_array: bool

    @property
    def reader(self) -> str:
        columns = ", ".join(f"{literal(key)}: 'JSON'" for key in self.own_names)
        return _json_reader(self.is_array, f"auto_detect=false, columns={{{columns}}}")

    @property
    def parameters(self) -> list[Any]:
        return [str(self.text.path)]

    def own_column(self, position: int) -> tuple[str, str]:
        return identifier(self.own_names[position]), JSON

    def where(self, row: int) -> str:
        if self.is_array:
            return f"{self.name}, object {row} (counted from 0)"
        line = next(islice((number for number, _ in self.text), row, None))
        return f"{self.name}, line {line}"

    def fault(self, error: Exception | None) -> DataError:
        if not self.is_array:
            first = self.text.first_fault(_json_fault)
            if first is not None:
                return DataError(
                    f"{self.name}, line {first[0]}: {first[1]}: correct the line, or skip such lines with "
                    "bad_lines='skip'"
                )
        cause = "not all objects have keys" if "non-record" in str(error) else error or "objects are missing"
        return DataError(f"{self.name}: invalid JSON ({cause}): write the file again")

    def repaired(self, workspace: TemporaryFolder) -> Table | None:
        if self.is_array or self.skipped:
            return None
        text, skipped = self.text.without_faults(workspace.new_path(), _json_fault)
        return replace(self, text=text, rows=self.rows - skipped, skipped=skipped) if skipped else None


def _json_reader(is_array: bool, settings: str) -> str:
    kind = "array" if is_array else "newline_delimited"
    fixed = "records=true, compression='uncompressed', hive_partitioning=false"
    return f"read_json(?, format='{kind}', {fixed}, {settings})"


def open_json(
    source: Source, options: Options, is_array: bool, engine: Engine, workspace: TemporaryFolder
) -> JsonTable:
    """Open JSON objects, in an array or one on each line."""
    text = make_plain(source, options.encoding, None, workspace)
    table = JsonTable(source=source, own_names=[], rows=text.lines - text.blank, text=text, is_array=is_array)
    if table.rows == 0:
        raise DataError(f"{source.name}: the file is empty")
    if is_array and _last_character(text.path) != b"]":
        raise DataError(f"{source.name}: the JSON array is not closed: the file is truncated; write it again")
    reader = _json_reader(is_array, "sample_size=-1, maximum_depth=1, map_inference_threshold=-1")
    try:
        names = engine.columns(f"SELECT * FROM {reader}", table.parameters)[0]
        rows = table.rows
        if is_array:
            rows = engine.rows(f"SELECT count(*) FROM {reader}", table.parameters)[0][0]
    except EngineError as error:
        repaired = table.repaired(workspace) if options.bad_lines == "skip" else None
        if not isinstance(repaired, JsonTable):
            raise table.fault(error) from None
        return replace(repaired, own_names=engine.columns(f"SELECT * FROM {reader}", repaired.parameters)[0])
    return replace(table, own_names=names, rows=int(rows))


def _last_character(path: Path) -> bytes:
    """Return the last byte that is not white space."""
    end = b""
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            end = block.rstrip()[-1:] or end
    return end


def _json_fault(line: str) -> str | None:
    try:
        return None if isinstance(json.loads(line), dict) else "the line is not a JSON object"
    except (ValueError, RecursionError) as error:
        return f"the line is not JSON ({error})"
