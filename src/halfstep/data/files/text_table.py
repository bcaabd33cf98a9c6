"""Delimited text, and how its separator is detected."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from halfstep.data.files.sources import JSON_LINES, PARQUET, Source, TemporaryFolder
from halfstep.data.files.sql import REAL, TEXT
from halfstep.data.files.table_format import Options, Table
from halfstep.data.files.text_lines import PlainText, Record, TextFormat, make_plain
from halfstep.errors import DataError

SEPARATORS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
_CANDIDATES = (",", "\t", ";", "|", "::")
_SAMPLE = 100  # lines to detect the separator


@dataclass(frozen=True, kw_only=True)
class TextTable(Table):
    """Delimited text, with records after `skip` lines; the columns at the positions `numbers` are read as numbers."""

    text: PlainText
    format: TextFormat
    skip: int
    decimal: str
    numbers: Collection[int] = ()

    @property
    def n_fields(self) -> int:
        """The number of fields of a record."""
        return len(self.own_names)

    @property
    def reader(self) -> str:
        kinds = ["DOUBLE" if k in self.numbers else "VARCHAR" for k in range(self.n_fields)]
        columns = ", ".join(f"'c{k}': '{kind}'" for k, kind in enumerate(kinds))
        return (
            f"read_csv(?, delim=?, quote=?, escape=?, decimal_separator='{self.decimal}', skip={self.skip}, "
            "auto_detect=false, header=false, compression='none', hive_partitioning=false, "
            f"columns={{{columns}}})"
        )

    @property
    def parameters(self) -> list[Any]:
        quote = self.format.quote or ""
        return [str(self.text.path), self.format.separator, quote, quote]

    def own_column(self, position: int) -> tuple[str, str]:
        return f"c{position}", REAL if position in self.numbers else TEXT

    def with_numbers(self, positions: Collection[int]) -> Table | None:
        own = frozenset(each for each in positions if each < self.n_fields)
        return replace(self, numbers=own) if own else None

    def where(self, row: int) -> str:
        if self.format.newlines_in_values:
            starts = (record.first for record in self._records())
        else:
            starts = (number for number, _ in self.text if number > self.skip)
        return f"{self.name}, line {next(islice(starts, row, None))}"

    def fault(self, error: Exception | None) -> DataError:
        if self.format.newlines_in_values:
            return self._fault_across_lines(error)
        first = self.text.first_fault(self._fault_in, self.skip)
        if first is None:
            cause = f"DuckDB: {error}" if error else f"{self.rows:,} records were counted, but not as many read"
            return DataError(f"{self.name}: {cause}: the file is corrupted, or its format is not the given one")
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

    def repaired(self, workspace: TemporaryFolder) -> Table | None:
        if self.format.newlines_in_values or self.skipped:
            return None
        text, skipped = self.text.without_faults(workspace.new_path(), self._fault_in, self.skip)
        return replace(self, text=text, rows=self.rows - skipped, skipped=skipped) if skipped else None

    def _fault_in(self, line: str) -> str | None:
        return self.format.fault_in(line, self.n_fields)

    def _records(self) -> Iterator[Record]:
        return (each for each in self.text.records(self.format) if each.fields and each.first > self.skip)

    def _fault_across_lines(self, error: Exception | None) -> DataError:
        for record in self._records():
            if len(record.fields) != self.n_fields:
                return DataError(
                    f"{self.name}, line {record.first}: the record that starts here has {len(record.fields)} fields, "
                    f"but the first has {self.n_fields}: correct it"
                )
        return DataError(
            f"{self.name}: {error or 'the number of records differs from that counted'}: correct the file"
        )


def open_text(
    source: Source, suffix: str, options: Options, needed: Sequence[str | int], workspace: TemporaryFolder
) -> TextTable:
    """Open delimited text, detecting the separator if none was given."""
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
    if options.newlines_in_values and len(separator) > 1:
        raise DataError(
            f"{source.name}: the fields are separated by {separator!r}, but newlines_in_values=True requires a "
            "separator of a single character: leave it out"
        )
    quote = options.quote if len(separator) == 1 else None
    form = TextFormat(separator, quote, options.newlines_in_values)
    first, last = _first_record(text, form, skip)
    before = (skip > 0) + options.header
    rows = text.count_records(form) if form.newlines_in_values else text.lines - text.blank
    names = first if options.header else [str(k) for k in range(len(first))]
    return TextTable(
        source=source,
        own_names=names,
        rows=rows - before,
        has_header=options.header,
        text=text,
        format=form,
        skip=last if options.header else skip,
        decimal=options.decimal,
    )


def _first_record(text: PlainText, form: TextFormat, skip: int) -> tuple[list[str], int]:
    """Return the first record after `skip` lines, and the number of its last line."""
    if form.newlines_in_values:
        return next((each.fields, each.last) for each in text.records(form) if each.fields and each.first > skip)
    number, line = next((number, line) for number, line in text if number > skip)
    try:
        return next(form.records(iter([line]))), number
    except csv.Error:
        fault = form.fault_in(line, 0)
        raise DataError(
            f"{text.name}, line {number}: {fault}: correct the line, or set quote=None if quotes are ordinary "
            "characters"
        ) from None


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
    if "::" in best:  # the most specific one, although a colon gives more fields
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
