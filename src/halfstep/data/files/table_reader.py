"""A reader of the columns of a table from its files."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from halfstep._support.blocks import blocks, counts_of
from halfstep._support.interrupts import deferred
from halfstep._support.suggestions import did_you_mean
from halfstep.data.column_roles import NameOrPosition
from halfstep.data.columns import RowError
from halfstep.data.files.arrow_stream import Chunk
from halfstep.data.files.chunks import Collector, Empty, InexactError, Integers, Reals, Texts, Timestamps, renumber
from halfstep.data.files.duckdb_engine import Engine, EngineError
from halfstep.data.files.sources import Source, TemporaryFolder
from halfstep.data.files.sql import (
    JSON,
    REAL,
    TEXT,
    IdError,
    id_expression,
    ids_of,
    is_small_integer,
    is_time,
    number_expression,
    text_expression,
    timestamp_expressions,
    with_types_of,
)
from halfstep.data.files.table_file import open_table
from halfstep.data.files.table_format import Options, Table
from halfstep.data.files.timestamps import ISO, NUMBERS, Reading, readings_of
from halfstep.data.id_columns import factorize_integers
from halfstep.data.vocabulary import Vocabulary
from halfstep.errors import DataError

THREADS = 2  # users and items take most of the time
_SAMPLE = 1000  # timestamps to detect their format
_NOUNS = {"user": "user id", "item": "item id"}

ColumnOfRole = Mapping[str, str | int]
"""The column of each role: "user", "item", "value", "timestamp", "weight" or "title"."""


@dataclass(frozen=True)
class _Part:
    """The number of rows of a file, and a mask of the valid rows, or None if all are valid."""

    source: Source
    columns: ColumnOfRole
    rows: int
    kept: NDArray[np.bool_] | None
    repaired: bool

    @property
    def n_kept(self) -> int:
        return self.rows if self.kept is None else int(self.kept.sum())


class Watcher:
    """Follows the progress of reading; methods of subclasses may raise errors."""

    def opened(self, columns: Collection[str], rows: int, sources: int) -> None:
        """Receive the roles, and the numbers of rows and of files so far, including those of the next file."""

    def read(self, rows: int) -> None:
        """Receive the number of rows that were just read."""


@contextmanager
def open_reader(
    sources: Sequence[Source],
    options: Options,
    *,
    empty: Empty = np.empty,
    watcher: Watcher | None = None,
    folder: Path | None = None,
) -> Iterator[TableReader]:
    """Open a table with DuckDB, and a temporary folder, which is made in `folder` or the system's."""
    with TemporaryDirectory(prefix="halfstep-", ignore_cleanup_errors=True, dir=folder) as temporary:
        workspace = TemporaryFolder(Path(temporary))
        engine = Engine([source.path.absolute() for source in sources], workspace.folder)
        try:
            yield TableReader(sources, options, engine, workspace, empty, watcher or Watcher())
        finally:
            engine.close()


class TableReader:
    """Reader of the files of one table.

    Attributes
    ----------
    skipped : int
        The number of lines or rows that were skipped.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        options: Options,
        engine: Engine,
        workspace: TemporaryFolder,
        empty: Empty,
        watcher: Watcher,
    ) -> None:
        self._sources, self._options, self._engine, self._workspace = sources, options, engine, workspace
        self._empty, self._watcher = empty, watcher
        self._collectors: dict[str, Collector] = {}
        self._numbered: dict[str, tuple[list[str], NDArray[np.int32]]] = {}
        self._kinds: dict[str, str] = {}
        self._parts: list[_Part] = []
        self._defaults: Collection[str] = ()
        self.skipped = 0

    def read(
        self, choose: Callable[[Table], ColumnOfRole], needed: Sequence[str | int], defaults: Collection[str] = ()
    ) -> None:
        """Read all files.

        Parameters
        ----------
        choose : callable
            Takes a file and returns the column of each role.
        needed : sequence of str or int
            Required columns.
        defaults : collection of str
            The roles whose columns are used by default, and could be ignored.
        """
        self._defaults = defaults
        for source in self._sources:
            table = open_table(source, self._options, needed, self._engine, self._workspace)
            columns = choose(table)
            if self._parts and columns.keys() != self._parts[0].columns.keys():
                first = self._parts[0]
                lacking = first.columns.keys() ^ columns.keys()
                raise DataError(
                    f"{table.name}: only one of this file and {first.source.name} has a column for "
                    f"{', '.join(sorted(lacking))}: name the columns, or ignore them with None"
                )
            rows = sum(part.rows for part in self._parts) + table.rows
            self._watcher.opened(columns.keys(), rows, len(self._parts) + 1)
            self._read_part(table, columns)
            self._workspace.clear()
        texts = {role: each for role, each in self._collectors.items() if isinstance(each, Texts)}
        with ThreadPoolExecutor(THREADS) as pool:
            self._numbered = dict(zip(texts, pool.map(Texts.numbered, texts.values()), strict=True))
        if not any(part.n_kept for part in self._parts):
            skipped = f": all {self.skipped:,} rows were skipped" if self.skipped else ""
            raise DataError(f"{self._sources[0].name}: the table is empty: give at least one interaction{skipped}")

    def column(self, role: str) -> Any:
        """Return and release the numbers or timestamps of a role; None if there is no such column."""
        collector = self._collectors.pop(role, None)
        if isinstance(collector, Timestamps):
            return self._agreed(collector.joined())
        assert collector is None or isinstance(collector, Reals)
        return None if collector is None else collector.joined()

    def vocabulary(self, role: str, model: Vocabulary | None) -> tuple[Vocabulary, NDArray[np.int32]]:
        """Return and release the distinct ids of a role, with the types of a model's ids, and each row's position."""
        collector = self._collectors.pop(role)
        if isinstance(collector, Integers):
            column = collector.joined()
            positions = self._empty(len(column), np.dtype(np.int32))
            vocabulary = Vocabulary.of_distinct(factorize_integers(column, positions))
            if model is None or model.ids.dtype.kind == "i":
                return vocabulary, positions
            distinct: list[Any] = list(vocabulary)
            texts: list[str] = []
        else:
            texts, positions = self._numbered.pop(role)
            if self.skipped:
                texts, positions = _used(texts, positions)
            kind = self._kinds[role]
            as_text = kind == TEXT and model is not None and len(model) > 0
            try:
                distinct = texts if as_text else ids_of(texts, kind)
            except IdError as error:
                raise self._bad_id(role, positions, error) from None
        try:
            ids = distinct if model is None else with_types_of(model, distinct, role)
            if ids == texts:  # distinct and ascending
                return Vocabulary.of_distinct(np.fromiter(ids, dtype=object, count=len(ids))), positions
            vocabulary, renumbered = Vocabulary.encode(ids, name=_NOUNS[role])
        except IdError as error:
            raise self._bad_id(role, positions, error) from None
        except RowError as error:
            raise self._bad_id(role, positions, IdError(error.row, ids[error.row], f"is {error.args[3]}")) from None
        renumber(positions, renumbered)
        return vocabulary, positions

    def titles(self, positions: NDArray[np.int32], items: Vocabulary) -> dict[Any, str] | None:
        """Return the first title of each item that has one, and release all; None if there is no column of titles."""
        if "title" not in self._numbered:
            return None
        texts, numbers = self._numbered.pop("title")
        first = np.full(len(items), -1, np.int32)
        for block in reversed(list(blocks(len(numbers)))):
            titled = np.flatnonzero(numbers[block] >= 0)[::-1]
            first[positions[block][titled]] = numbers[block][titled]
        return {item: texts[number] for item, number in zip(items, first.tolist(), strict=True) if number >= 0}

    def where(self, row: int) -> str:
        """Return the file and line of one of the valid rows."""
        for part in self._parts:
            if row < part.n_kept:
                own = row if part.kept is None else int(np.flatnonzero(part.kept)[row])
                return self._reopened(part).where(own)
            row -= part.n_kept
        raise IndexError(row)

    def _reopened(self, part: _Part) -> Table:
        needed = list(part.columns.values())
        table = open_table(part.source, self._options, needed, self._engine, self._workspace)
        return (table.repaired(self._workspace) or table) if part.repaired else table

    def _read_part(self, table: Table, columns: ColumnOfRole) -> None:
        positions = {role: position_of(table, role, column) for role, column in columns.items()}
        table, rows = self._collect(table, positions)
        masks = {role: self._collectors[role].bad(rows) for role in positions}
        wrong = {role: mask for role, mask in masks.items() if mask is not None}
        kept = None
        if wrong:
            bad = np.logical_or.reduce(list(wrong.values()))
            if self._options.bad_lines == "error":
                row = int(np.argmax(bad))
                role = next(role for role in wrong if wrong[role][row])
                raise self._bad_row(table, role, positions[role], row)
            kept = ~bad
            self.skipped += int(bad.sum())
        for role in positions:
            self._collectors[role].end(kept, rows)
        self.skipped += table.skipped
        self._parts.append(_Part(table.source, columns, rows, kept, table.skipped > 0))

    def _collect(self, table: Table, positions: Mapping[str, int]) -> tuple[Table, int]:
        """Read a file, without its invalid lines if ``bad_lines="skip"``."""
        error: Exception | None = None
        for fast in (True, False):
            try:
                typed = table.with_numbers(self._numeric(table, positions)) if fast else table
                if typed is not None and self._stream(typed, positions) == table.rows:
                    return table, table.rows
                error = None
            except (EngineError, InexactError) as failure:
                error = failure
        if self._options.bad_lines == "skip":
            repaired = table.repaired(self._workspace)
            if repaired is not None:
                return self._collect(repaired, positions)
        raise table.fault(error)

    def _numeric(self, table: Table, positions: Mapping[str, int]) -> frozenset[int]:
        """Return the positions of the columns of a text file that should have numbers."""
        text = {position for role, position in positions.items() if role in ("user", "item", "title")}
        if "timestamp" in positions:
            self._expressions(table, "timestamp", *table.column(positions["timestamp"]))
            timestamps = self._collectors["timestamp"]
            assert isinstance(timestamps, Timestamps)
            if not timestamps.are_numbers:
                text.add(positions["timestamp"])
        return frozenset(positions.values()) - text

    def _stream(self, table: Table, positions: Mapping[str, int]) -> int:
        """Read the columns of a file, and return the number of rows."""
        expressions: list[str] = []
        for role, position in positions.items():
            x, kind = table.column(position)
            self._check_type(table, role, TEXT if kind == REAL else kind)
            expressions += self._expressions(table, role, x, kind)
        collectors = [self._collectors[role] for role in positions]
        for each in collectors:
            each.begin(table.rows)
        dtypes = [dtype for each in collectors for dtype in each.fields]
        query = f"SELECT {', '.join(expressions)} FROM {table.reader}"
        rows = 0
        with ThreadPoolExecutor(THREADS) as pool:
            for chunks in self._engine.stream(query, table.parameters, dtypes):
                length = len(chunks[0])
                if rows + length > table.rows:
                    return rows + length
                _add(pool, collectors, rows, chunks)
                rows += length
                self._watcher.read(length)
        return rows

    def _check_type(self, table: Table, role: str, kind: str) -> None:
        """Check that a column has the same type as in previous files."""
        if self._kinds.setdefault(role, kind) != kind:
            raise DataError(
                f"{table.name}: the column for {role} is of type {kind}, but of type {self._kinds[role]} in "
                f"{self._parts[0].source.name}: give all files the same types"
            )

    def _expressions(self, table: Table, role: str, x: str, kind: str) -> list[str]:
        """Return the SQL expressions of a column, and create its collector for the first file."""
        collector = self._collectors.get(role)
        expressions: list[str] | str | None
        if role in ("user", "item"):
            collector = collector or (Integers(self._empty) if is_small_integer(kind) else Texts(self._empty))
            expressions = id_expression(kind, x)
        elif role == "title":
            collector, expressions = collector or Texts(self._empty, optional=True), text_expression(kind, x)
        elif role == "timestamp":
            collector = collector or Timestamps(self._readings(table, x, kind), self._empty)
            assert isinstance(collector, Timestamps)
            collector.set_type(kind)
            expressions = timestamp_expressions(kind, x, collector.readings)
        else:
            collector = collector or Reals(self._empty, at_least_zero=role == "weight")
            expressions = number_expression(kind, x, self._options.decimal)
        if expressions is None:
            raise DataError(
                f"{table.name}: the column for {role} is of type {kind}, which cannot be read as "
                f"{_NOUNS.get(role, role)}s: convert it, or name another column"
            )
        self._collectors[role] = collector
        return [expressions] if isinstance(expressions, str) else expressions

    def _readings(self, table: Table, x: str, kind: str) -> list[Reading]:
        if is_time(kind):
            return [ISO]
        text = text_expression(kind, x)
        if text is None:
            return [NUMBERS]
        query = f"SELECT {text} FROM {table.reader} WHERE {text} IS NOT NULL LIMIT {_SAMPLE}"
        sample = [row[0] for row in self._engine.rows(query, table.parameters)]
        return readings_of(self._engine, sample, self._options.timestamp_format)

    def _agreed(self, joined: list[tuple[Reading, NDArray[Any]]]) -> NDArray[Any]:
        """Return the timestamps if all possible formats agree."""
        reading, values = joined[0]
        for other, others in joined[1:]:
            differ = values != others
            if differ.any():
                where = self.where(int(np.argmax(differ)))
                raise DataError(
                    f"{where}: the timestamp can be read as {reading.name} and as {other.name}: set "
                    f"timestamp_format={reading.name} or {other.name}"
                )
        return values

    def _bad_id(self, role: str, positions: NDArray[np.int32], error: IdError) -> DataError:
        where = self.where(int(np.argmax(positions == error.number)))
        return DataError(f"{where}: the {_NOUNS[role]} {error.text!r} {error.fault}")

    def _bad_row(self, table: Table, role: str, position: int, row: int) -> DataError:
        x, kind = table.column(position)
        text = text_expression(kind, x) if kind == JSON else x
        query = f"SELECT {text} FROM {table.reader} LIMIT 1 OFFSET {row}"
        value = self._engine.rows(query, table.parameters)[0][0]
        fault = _fault_of(role, value, self._options, self._collectors[role])
        ignore = f"; {role}=None ignores the column" if role in self._defaults else ""
        return DataError(
            f"{table.where(row)}: {fault}: correct or drop such rows, or skip them with bad_lines='skip'{ignore}"
        )


def _fault_of(role: str, value: Any, options: Options, collector: Collector) -> str:
    noun = _NOUNS.get(role, role)
    if value is None or value == "":
        return f"the {noun} is missing"
    if role in _NOUNS:
        return f"the {noun} is {value!r}, which is not UTF-8"
    if isinstance(collector, Timestamps):
        names = " or ".join(each.name for each in collector.readings)
        what = "a finite number" if collector.readings == [NUMBERS] else f"a timestamp in the format {names}"
        hint = " (set timestamp_format=... for another format)" if isinstance(value, str) else ""
        return f"the timestamp is {value!r}, not {what}{hint}"
    try:
        number = float(value)
    except (TypeError, ValueError):
        comma = isinstance(value, str) and "," in value and options.decimal == "."
        hint = " (set decimal=',' if the decimal separator is a comma)" if comma else ""
        return f"the {noun} is {value!r}, not a number{hint}"
    if not np.isfinite(number):
        return f"the {noun} is {value!r}, not a finite number"
    if number < 0 and role == "weight":
        return f"the {noun} is {number}, but weights are at least 0"
    point = options.decimal == "," and "." in str(value)
    hint = " (set decimal='.' if the decimal separator is a point)" if point else ""
    return f"the {noun} is {value!r}, not a number{hint}"


def position_of(table: Table, role: str, column: str | int, parameter: str | None = None) -> int:
    """Return the position of a column given by name or position; `parameter` is its name in errors."""
    names, parameter = table.names, parameter or ("item_titles" if role == "title" else role)
    if isinstance(column, NameOrPosition) and column not in names:
        column = int(column)
    if isinstance(column, str) and not table.has_names:
        raise DataError(
            f"{table.name}: {parameter}={column!r}, but without a header there are no names: set {parameter}=... to "
            f"a position from 0 to {len(names) - 1}"
        )
    if isinstance(column, str):
        if names.count(column) == 1:
            return names.index(column)
        fault = f"more than one column {column!r}" if column in names else f"no column {column!r}"
        hint = "" if column in names else did_you_mean(column, names)
    elif 0 <= column < len(names):
        return column
    else:
        fault, hint = f"no column {column}", ""
    listed = ", ".join(f"{position} {name!r}" for position, name in enumerate(names[:50]))
    raise DataError(
        f"{table.name}: there is {fault} for {role}{hint}: the columns are {listed}; set {parameter}=... to a name "
        "or position"
    )


def _add(pool: ThreadPoolExecutor, collectors: Sequence[Collector], start: int, chunks: list[Chunk]) -> None:
    """Add a chunk to all columns in several threads: numbering strings releases the GIL."""
    jobs = []
    with deferred():  # an interrupt would free the memory of the chunks that threads read
        for each in collectors:
            own, chunks = chunks[: len(each.fields)], chunks[len(each.fields) :]
            jobs.append(pool.submit(each.add, start, own))
        wait(jobs)
    for job in jobs:
        job.result()


def _used(texts: list[str], numbers: NDArray[np.int32]) -> tuple[list[str], NDArray[np.int32]]:
    """Drop strings that occur only in skipped rows."""
    used = np.flatnonzero(counts_of(numbers, len(texts)))
    renumber(numbers, np.searchsorted(used, np.arange(len(texts))).astype(np.int32))
    return [texts[number] for number in used.tolist()], numbers
