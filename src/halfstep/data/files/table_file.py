"""Single files of a table: their columns, DuckDB readers, and numbers of rows.

If DuckDB cannot read a file, its error is replaced by one that names the line. It is also an error if DuckDB returns
another number of rows than was counted independently, so that no row is lost.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Protocol

from halfstep.data.files.duckdb_engine import Engine, EngineError, identifier, literal
from halfstep.data.files.sources import JSON_LINES, Source, Workspace, compression_of, open_plain
from halfstep.data.files.sql import JSON, REAL, TEXT
from halfstep.data.files.text_lines import PlainText, TextFormat, make_plain
from halfstep.errors import DataError

BadLines = Literal["error", "skip"]

SEPARATORS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
PARQUET = (".parquet", ".pq")
_COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".zip")
_CANDIDATES = (",", "\t", ";", "|", "::")
_MISSING = "__HIVE_DEFAULT_PARTITION__"
_SAMPLE = 100  # lines to detect the separator


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

    def repaired(self, workspace: Workspace) -> Table | None:
        """Return the table without its invalid lines; None if there are none, or they cannot be skipped."""


@dataclass(frozen=True)
class TextTable:
    """Delimited text, with records after `skip` lines."""

    text: PlainText
    format: TextFormat
    names: list[str]
    has_names: bool
    skip: int
    rows: int
    decimal: str
    partitions: Sequence[str] = ()
    skipped: int = 0
    numbers: Collection[int] = ()

    @property
    def name(self) -> str:
        """Its name in errors."""
        return self.text.name

    @property
    def n_fields(self) -> int:
        """The number of fields of a record in the file."""
        return len(self.names) - len(self.partitions)

    @property
    def reader(self) -> str:
        """The table function in SQL, to follow FROM."""
        kinds = ["DOUBLE" if k in self.numbers else "VARCHAR" for k in range(self.n_fields)]
        columns = ", ".join(f"'c{k}': '{kind}'" for k, kind in enumerate(kinds))
        return (
            f"read_csv(?, delim=?, quote=?, escape=?, decimal_separator='{self.decimal}', skip={self.skip}, "
            "auto_detect=false, header=false, compression='none', hive_partitioning=false, "
            f"columns={{{columns}}})"
        )

    @property
    def parameters(self) -> list[Any]:
        """The values of the placeholders in `reader`."""
        quote = self.format.quote or ""
        return [str(self.text.path), self.format.separator, quote, quote]

    def column(self, position: int) -> tuple[str, str]:
        if position >= self.n_fields:
            return _partition(self.partitions[position - self.n_fields]), TEXT
        return f"c{position}", REAL if position in self.numbers else TEXT

    def with_numbers(self, positions: Collection[int]) -> Table | None:
        own = frozenset(each for each in positions if each < self.n_fields)
        return replace(self, numbers=own) if own else None

    def where(self, row: int) -> str:
        for start, line in enumerate(self._starts()):
            if start == row:
                return f"{self.name}, line {line}"
        return f"{self.name}, row {row} (counted from 0)"

    def fault(self, error: Exception | None) -> DataError:
        if self.format.newlines_in_values:
            return self._fault_across_lines(error)
        first = self.text.first_fault(self.format, self.n_fields, self.skip)
        if first is None:
            cause = f"DuckDB: {error}" if error else f"{self.rows:,} records were counted, but not as many read"
            return DataError(f"{self.name}: {cause}: the file is damaged, or its format is not the given one")
        line, fault = first
        remedies = ["correct the line", "skip such lines with bad_lines='skip'"]
        if "quoted" in fault:
            remedies.append("set quote=None if quotes are ordinary characters")
        if "not closed" in fault:
            remedies.append("set newlines_in_values=True if values contain line breaks")
        if "the first has" in fault:
            remedies.append(f"set separator=... if it is not {self.format.separator!r}")
        advice = f"{', '.join(remedies[:-1])}, or {remedies[-1]}"
        return DataError(f"{self.name}, line {line}: {fault}: {advice}")

    def repaired(self, workspace: Workspace) -> Table | None:
        if self.format.newlines_in_values or self.skipped:
            return None
        text, skipped = self.text.without_faults(workspace.new_path(), self.format, self.n_fields, self.skip)
        return replace(self, text=text, rows=self.rows - skipped, skipped=skipped) if skipped else None

    def _starts(self) -> Iterator[int]:
        """Iterate over the lines at which records start."""
        if not self.format.newlines_in_values:
            yield from (number for number, _ in self.text if number > self.skip)
            return
        with self.text.path.open(encoding="utf-8-sig", newline="") as file:
            records = self.format.records(file)
            start = 1
            for record in records:
                if record and start > self.skip:
                    yield start
                start = records.line_num + 1  # type: ignore[attr-defined]

    def _fault_across_lines(self, error: Exception | None) -> DataError:
        with self.text.path.open(encoding="utf-8-sig", newline="") as file:
            for start, record in zip(self._starts(), islice(self._records(file), self.has_names, None), strict=False):
                if len(record) != self.n_fields:
                    return DataError(
                        f"{self.name}, line {start}: the record that starts here has {len(record)} fields, but "
                        f"the first has {self.n_fields}: correct it"
                    )
        return DataError(
            f"{self.name}: {error or 'the number of records differs from that counted'}: correct the file"
        )

    def _records(self, file: Iterator[str]) -> Iterator[list[str]]:
        return (record for record in self.format.records(file) if record)


@dataclass(frozen=True)
class JsonTable:
    """JSON objects, one on each line or all in an array."""

    text: PlainText
    is_array: bool
    names: list[str]
    rows: int
    partitions: Sequence[str] = ()
    skipped: int = 0
    has_names: bool = True

    @property
    def name(self) -> str:
        """Its name in errors."""
        return self.text.name

    @property
    def reader(self) -> str:
        """The table function in SQL, to follow FROM."""
        keys = self.names[: len(self.names) - len(self.partitions)]
        columns = ", ".join(f"{literal(key)}: 'JSON'" for key in keys)
        return _json_reader(self.is_array, f"auto_detect=false, columns={{{columns}}}")

    @property
    def parameters(self) -> list[Any]:
        """The values of the placeholders in `reader`."""
        return [str(self.text.path)]

    def column(self, position: int) -> tuple[str, str]:
        own = len(self.names) - len(self.partitions)
        return (
            (identifier(self.names[position]), JSON)
            if position < own
            else (_partition(self.partitions[position - own]), TEXT)
        )

    def where(self, row: int) -> str:
        if self.is_array:
            return f"{self.name}, object {row} (counted from 0)"
        line = next(islice((number for number, _ in self.text), row, None))
        return f"{self.name}, line {line}"

    def fault(self, error: Exception | None) -> DataError:
        if not self.is_array:
            for number, line in self.text:
                fault = _json_fault(line)
                if fault is not None:
                    return DataError(
                        f"{self.name}, line {number}: {fault}: correct the line, or skip such lines with "
                        "bad_lines='skip'"
                    )
        cause = "not all objects have keys" if "non-record" in str(error) else error or "objects are missing"
        return DataError(f"{self.name}: invalid JSON ({cause}): write the file again")

    def repaired(self, workspace: Workspace) -> Table | None:
        if self.is_array or self.skipped:
            return None
        path, last, skipped = workspace.new_path(), 0, 0
        with path.open("w", encoding="utf-8", newline="") as copy:
            for number, line in self.text:
                wrong = _json_fault(line) is not None
                copy.write("\n" * (number - last - 1) + ("" if wrong else line.rstrip("\r\n")) + "\n")
                last, skipped = number, skipped + wrong
        text = replace(self.text, path=path, blank=self.text.blank + skipped)
        return replace(self, text=text, rows=self.rows - skipped, skipped=skipped) if skipped else None

    def with_numbers(self, positions: Collection[int]) -> Table | None:
        return None


@dataclass(frozen=True)
class ParquetTable:
    """A parquet file; `columns` are the names in DuckDB and types of its columns."""

    name: str
    path: Path
    names: list[str]
    columns: list[tuple[str, str]]
    rows: int
    partitions: Sequence[str] = ()
    skipped: int = 0
    has_names: bool = True
    reader: str = "read_parquet(?, hive_partitioning=false)"

    @property
    def parameters(self) -> list[Any]:
        """The values of the placeholders in `reader`."""
        return [str(self.path)]

    def column(self, position: int) -> tuple[str, str]:
        if position < len(self.columns):
            name, kind = self.columns[position]
            return identifier(name), kind
        return _partition(self.partitions[position - len(self.columns)]), TEXT

    def where(self, row: int) -> str:
        return f"{self.name}, row {row} (counted from 0)"

    def fault(self, error: Exception | None) -> DataError:
        return broken_parquet(self.name, error or "rows are missing")

    def repaired(self, workspace: Workspace) -> Table | None:
        return None

    def with_numbers(self, positions: Collection[int]) -> Table | None:
        return None


def _partition(value: str) -> str:
    """Return the value in the name of a folder as an SQL literal, or NULL."""
    return "CAST(NULL AS VARCHAR)" if value in ("", _MISSING) else literal(value)


def broken_parquet(name: str, error: object) -> DataError:
    """Return the error for a parquet file that cannot be read."""
    return DataError(f"{name}: invalid parquet file ({error}): write or download it again")


def open_table(
    source: Source, options: Options, needed: Sequence[str | int], engine: Engine, workspace: Workspace
) -> Table:
    """Detect the format of a file, and open it.

    Parameters
    ----------
    source : Source
    options : Options
    needed : sequence of str or int
        Required columns, which help to detect the separator.
    engine : Engine
    workspace : Workspace

    Raises
    ------
    DataError
        If the file is not a table, or is damaged.
    """
    path = workspace.seekable(source)
    suffix = suffix_of(source.path)
    with open_plain(path, source.name) as file:
        head = file.read(4096)
    if head[:4] in (b"PAR1", b"PARE") or (suffix in PARQUET and options.separator is None):
        return _open_parquet(source, path, engine, workspace)
    start = head.decode("utf-8-sig", errors="replace").lstrip()
    if options.separator is None and (suffix in JSON_LINES or re.match(r'\{\s*("|\})', start)):
        return _open_json(source, options, False, engine, workspace)
    if options.separator is None and (re.match(r"\[\s*(\{|\])", start) or suffix == ".json"):
        return _open_json(source, options, True, engine, workspace)
    return _open_text(source, suffix, options, needed, workspace)


def suffix_of(path: Path) -> str:
    """Return the suffix of a file name without that of the compression."""
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix in _COMPRESSED else suffix


def _open_parquet(source: Source, path: Path, engine: Engine, workspace: Workspace) -> ParquetTable:
    if compression_of(path, source.name) is not None:
        copy = workspace.new_path(".parquet")
        with open_plain(path, source.name) as file, copy.open("wb") as out:
            while block := file.read(1 << 22):
                out.write(block)
        path = copy
    path = workspace.linked(path.absolute())
    try:
        columns, kinds = engine.columns("SELECT * FROM read_parquet(?, hive_partitioning=false)", [str(path)])
        tree = engine.rows("SELECT name, coalesce(num_children, 0) FROM parquet_schema(?)", [str(path)])
        rows = engine.rows("SELECT num_rows FROM parquet_file_metadata(?)", [str(path)])[0][0]
    except EngineError as error:
        raise broken_parquet(source.name, error) from None
    names, index = [], 1
    while index < len(tree):  # a nested column precedes its children
        names.append(str(tree[index][0]))
        index = _after(tree, index)
    names = names if len(names) == len(columns) else columns
    return ParquetTable(
        source.name,
        path,
        [*names, *source.partitions],
        list(zip(columns, kinds, strict=True)),
        int(rows),
        tuple(source.partitions.values()),
    )


def _after(tree: Sequence[tuple[Any, ...]], index: int) -> int:
    """Return the index after a column and its children."""
    children, index = tree[index][1], index + 1
    for _ in range(children):
        index = _after(tree, index)
    return index


def _json_reader(is_array: bool, settings: str) -> str:
    kind = "array" if is_array else "newline_delimited"
    fixed = "records=true, compression='uncompressed', hive_partitioning=false"
    return f"read_json(?, format='{kind}', {fixed}, {settings})"


def _open_json(source: Source, options: Options, is_array: bool, engine: Engine, workspace: Workspace) -> JsonTable:
    text = make_plain(source, options.encoding, None, workspace)
    table = JsonTable(text, is_array, [], text.lines - text.blank, tuple(source.partitions.values()))
    if table.rows == 0:
        raise DataError(f"{source.name}: the file is empty")
    if is_array and _last_character(text.path) != b"]":
        raise DataError(f"{source.name}: the JSON array is not closed: the file is truncated; write it again")
    reader = _json_reader(is_array, "sample_size=-1, maximum_depth=1, map_inference_threshold=-1")
    try:
        names = engine.columns(f"SELECT * FROM {reader}", [str(text.path)])[0]
        rows = table.rows
        if is_array:
            rows = engine.rows(f"SELECT count(*) FROM {reader}", [str(text.path)])[0][0]
    except EngineError as error:
        repaired = table.repaired(workspace) if options.bad_lines == "skip" else None
        if not isinstance(repaired, JsonTable):
            raise table.fault(error) from None
        names = engine.columns(f"SELECT * FROM {reader}", repaired.parameters)[0]
        return replace(repaired, names=[*names, *source.partitions])
    return replace(table, names=[*names, *source.partitions], rows=int(rows))


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


def _open_text(
    source: Source, suffix: str, options: Options, needed: Sequence[str | int], workspace: Workspace
) -> TextTable:
    text = make_plain(source, options.encoding, options.comment, workspace, keep_line_ends=options.newlines_in_values)
    lines = list(islice(text, _SAMPLE))
    if not lines:
        raise DataError(f"{source.name}: the file is empty")
    separator, skip = options.separator, 0
    declared = re.fullmatch(r"sep=(.)\s*", lines[0][1])
    if declared and len(lines) > 1:  # a convention of Excel
        separator, skip = separator or declared[1], lines[0][0]
        del lines[0]
    if separator is None:
        separator = _separator_of(source, suffix, [line for _, line in lines], options, needed)
    quote = options.quote if len(separator) == 1 else None
    form = TextFormat(separator, quote, options.newlines_in_values)
    first, last = _first_record(text, form, skip)
    before = (skip > 0) + options.header
    rows = text.count_records(form) if form.newlines_in_values else text.lines - text.blank
    names = first if options.header else [str(k) for k in range(len(first))]
    return TextTable(
        text,
        form,
        [*names, *source.partitions],
        options.header or bool(source.partitions),
        last if options.header else skip,
        rows - before,
        options.decimal,
        tuple(source.partitions.values()),
    )


def _first_record(text: PlainText, form: TextFormat, skip: int) -> tuple[list[str], int]:
    """Return the first record after `skip` lines, and the number of its last line."""
    number, line = next((number, line) for number, line in text if number > skip)
    if not form.newlines_in_values:
        try:
            return next(form.records(iter([line]))), number
        except csv.Error:
            fault = text.fault_in(line, form, 0)
            raise DataError(
                f"{text.name}, line {number}: {fault}: correct the line, or set quote=None if quotes are ordinary "
                "characters"
            ) from None
    with text.path.open(encoding="utf-8-sig", newline="") as file:
        records = form.records(islice(file, number - 1, None))
        try:
            return next(records), number - 1 + records.line_num  # type: ignore[attr-defined]
        except csv.Error as error:
            raise DataError(f"{text.name}, line {number}: {error}: correct the line") from None


def _separator_of(
    source: Source, suffix: str, lines: Sequence[str], options: Options, needed: Sequence[str | int]
) -> str:
    scores, names = {}, {}
    for separator in _CANDIDATES:
        records = [_fields(line, TextFormat(separator, options.quote)) for line in lines]
        if len(records[0]) > 1:
            scores[separator] = sum(len(record) == len(records[0]) for record in records) / len(records)
            names[separator] = records[0]
    usual = SEPARATORS.get(suffix)
    if usual in scores and not (usual == "," and scores.get(";") == 1.0 == scores[usual]):
        return usual
    best = [each for each, score in scores.items() if score == max(scores.values())]
    if options.header:
        with_all = [each for each in best if all(name in names[each] for name in needed if isinstance(name, str))]
        best = with_all or best
    if "::" in best:  # the most specific, although with fewer fields than a colon
        return "::"
    if len(best) == 1:
        return best[0]
    if not best and (usual is not None or len(needed) == 1):  # possibly a single column
        return usual or ","
    if best:
        raise DataError(
            f"{source.name}: the fields may be separated by {' and '.join(map(repr, best))}: set separator=..."
        )
    known = ", ".join((*SEPARATORS, *PARQUET, *JSON_LINES, ".json"))
    raise DataError(
        f"{source.name}: the suffix {suffix!r} is none of {known}, and the first line contains no known separator: "
        "set separator=... if it is a text file"
    )


def _fields(line: str, form: TextFormat) -> list[str]:
    try:
        return next(form.records(iter([line])))
    except csv.Error:
        return [""]
