"""Conversion of text files to plain ones for DuckDB, and counts of their lines.

A plain file is a regular file in UTF-8 with one kind of line ends. Each of its lines is a record or blank, and has
the same number as in the original. Lines are counted independently of DuckDB, so that no row is lost. If the counts
differ, or DuckDB reports an error, the line is located with Python's csv module.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from halfstep.data.files.sources import Source, TemporaryFolder, compression_of, open_plain
from halfstep.errors import DataError, ParameterError

LONGEST = 2_000_000  # bytes of a line; the limit of DuckDB
_BLOCK = 1 << 18
_LARGE = 1 << 24  # bytes from which two threads are faster
_BLANK = re.compile(rb"^\r\n", re.MULTILINE)
_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}

FaultIn = Callable[[str], str | None]
"""Describes the error in a line; None if the line is valid."""


@dataclass(frozen=True)
class TextFormat:
    """The format of the lines of a text file.

    Attributes
    ----------
    separator : str
        The field separator.
    quote : str or None
        The character that may enclose a field, and is doubled inside.
    newlines_in_values : bool
        Whether quoted fields may contain line breaks.
    """

    separator: str
    quote: str | None
    newlines_in_values: bool = False

    def records(self, lines: Iterator[str]) -> Iterator[list[str]]:
        """Split lines into fields; raises csv.Error."""
        if len(self.separator) > 1:
            return (line.rstrip("\r\n").split(self.separator) for line in lines)
        return csv.reader(
            lines,
            delimiter=self.separator,
            quotechar=self.quote,
            quoting=csv.QUOTE_NONE if self.quote is None else csv.QUOTE_MINIMAL,
            skipinitialspace=self.separator != " ",
            strict=True,
        )

    def fault_in(self, line: str, fields: int) -> str | None:
        """Describe the error in a line; None if it is a record with this number of fields."""
        if len(line) > LONGEST // 4 and len(line.encode()) > LONGEST:
            return f"the line is longer than {LONGEST:,} bytes"
        try:
            count = len(next(self.records(iter([line]))))
        except csv.Error as error:
            if "unexpected end of data" in str(error):
                return "a quoted field is not closed in this line"
            return "a quoted field continues after its closing quote"
        if count == fields:
            return None
        return f"the line has {count} {'field' if count == 1 else 'fields'}, but the first has {fields}"


class Record(NamedTuple):
    """A record of a text file: its fields, its first and last line, and its line end, empty if the file ends."""

    fields: list[str]
    first: int
    last: int
    end: str


@dataclass(frozen=True)
class PlainText:
    """A decompressed file in UTF-8 without NUL, with one kind of line ends unless values contain line ends.

    Attributes
    ----------
    name : str
        The name of the original file in errors.
    path : Path
    lines, blank : int
        The number of lines, and of empty lines, including comment lines, which are empty in this file.
    """

    name: str
    path: Path
    lines: int
    blank: int

    def __iter__(self) -> Iterator[tuple[int, str]]:
        """Iterate over the lines that are not empty, with their numbers from 1."""
        with self.path.open(encoding="utf-8-sig", newline="") as file:
            for number, line in enumerate(file, 1):
                if line.rstrip("\r\n"):
                    yield number, line

    def first_fault(self, fault_in: FaultIn, after: int = 0) -> tuple[int, str] | None:
        """Return the number and the error of the first invalid line; None if there is none."""
        for number, line in self:
            if number > after and (fault := fault_in(line)) is not None:
                return number, fault
        return None

    def without_faults(self, path: Path, fault_in: FaultIn, after: int = 0) -> tuple[PlainText, int]:
        """Return a copy in which invalid lines are empty, and their number."""
        last = skipped = 0
        with path.open("w", encoding="utf-8", newline="") as copy:
            for number, line in self:
                wrong = number > after and fault_in(line) is not None
                copy.write("\n" * (number - last - 1) + ("" if wrong else line.rstrip("\r\n")) + "\n")
                last, skipped = number, skipped + wrong
            copy.write("\n" * (self.lines - last))
        return replace(self, path=path, blank=self.blank + skipped), skipped

    def records(self, format: TextFormat) -> Iterator[Record]:  # noqa: A002 - its usual name
        """Iterate over the records, which may span lines; blank lines are records without fields.

        Raises
        ------
        DataError
            If a quoted field is not closed, or continues after its closing quote.
        """
        first, line = 1, ""

        def lines(file: Iterable[str]) -> Iterator[str]:
            nonlocal line
            for line in file:  # noqa: UP028 - the loop variable is used outside
                yield line

        with self.path.open(encoding="utf-8-sig", newline="") as file:
            reader = format.records(lines(file))
            try:
                for fields in reader:
                    last = reader.line_num  # type: ignore[attr-defined]
                    yield Record(fields, first, last, _line_end(line))
                    first = last + 1
            except csv.Error as error:
                closed = "unexpected end of data" not in str(error)
                fault = "continues after its closing quote" if closed else "is not closed"
                raise DataError(
                    f"{self.name}, line {first}: a quoted field of the record that starts here {fault}: correct it, "
                    "or set quote=None if quotes are ordinary characters"
                ) from None

    def count_records(self, format: TextFormat) -> int:  # noqa: A002
        """Count the records, which may span lines; raise DataError if line ends are mixed."""
        count, first_end = 0, ""
        for record in self.records(format):
            count += bool(record.fields)
            first_end = first_end or record.end
            if record.end not in ("", first_end):
                raise DataError(
                    f"{self.name}, line {record.first}: the record that starts here ends with {record.end!r}, but "
                    f"the first with {first_end!r}: use the same line ends, or drop newlines_in_values=True"
                )
        return count


def make_plain(
    source: Source, encoding: str, comment: str | None, workspace: TemporaryFolder, *, keep_line_ends: bool = False
) -> PlainText:
    """Convert a text file to a plain one, and count its lines; `keep_line_ends` allows mixed ones as parts of values.

    Raises
    ------
    DataError
        If the file cannot be decompressed or decoded, or has a NUL or a line that is too long.
    """
    path = workspace.seekable(source)
    encoding = _encoding_of(path, source.name, encoding)
    is_plain = encoding == "utf-8" and comment is None and compression_of(path, source.name) is None
    if is_plain:
        counts = _counts_of(path, source.name, keep_line_ends)
        if keep_line_ends or not counts.mixed:
            return PlainText(source.name, workspace.linked(path.absolute()), counts.lines, counts.blank)
    counts = _Counts(source.name)
    copy_path = workspace.new_path()
    with open_plain(path, source.name) as file, copy_path.open("wb") as copy:
        decoded = _decoded(file, encoding, source.name)
        for block in _blocks(decoded if keep_line_ends else _with_one_line_end(decoded)):
            text = block if comment is None else _without_comments(block, comment.encode())
            counts.add(text)
            copy.write(text)
    counts.finish()
    return PlainText(source.name, copy_path, counts.lines, counts.blank)


def _counts_of(path: Path, name: str, keep_line_ends: bool) -> _Counts:
    """Count the lines of a regular file, the halves of a large file in parallel."""

    def count(part: tuple[int, int]) -> _Counts:
        counts = _Counts(name)
        with path.open("rb") as file:
            file.seek(part[0])
            for block in _blocks(_pieces(file, part[1])):
                counts.add(block)
                if counts.mixed and not keep_line_ends:
                    return counts
        counts.finish()
        return counts

    size = path.stat().st_size
    middle = _line_start(path, size // 2) if size >= _LARGE else None
    if middle is not None:
        with suppress(DataError), ThreadPoolExecutor(2) as pool:
            first, second = pool.map(count, ((0, middle), (middle, size)))
            return first + second
    return count((0, size))  # also if a half has an error, to name its line


def _line_start(path: Path, position: int) -> int | None:
    r"""Return the start of the first line after a position; None if no line end is near."""
    with path.open("rb") as file:
        file.seek(position)
        is_end = file.readline(LONGEST).endswith(b"\n")
        return file.tell() if is_end else None


class _Counts:
    """Counts of the lines of a text, from blocks of whole lines."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lines = self.blank = 0
        self._ends: set[bytes] = set()
        self._unfinished = False

    @property
    def mixed(self) -> bool:
        """Whether there are several kinds of line ends, or single carriage returns."""
        return len(self._ends) > 1

    def add(self, block: bytes) -> None:
        ends = np.frombuffer(block, np.uint8) == ord("\n")
        newlines = int(np.count_nonzero(ends))
        if b"\r" in block:
            returns, pairs = block.count(b"\r"), block.count(b"\r\n")
            self._ends |= {b"\r\n"} if returns == newlines == pairs else {b"\r\n", b"\r"}
            self.blank += len(_BLANK.findall(block))
        else:
            if newlines:
                self._ends.add(b"\n")
            self.blank += int(ends[0]) + int(np.count_nonzero(ends[1:] & ends[:-1]))
        if b"\0" in block:
            line = self.lines + block[: block.index(b"\0")].count(b"\n") + 1
            raise DataError(
                f"{self.name}, line {line}: there is a NUL character, as in binary files and in UTF-16: give a text "
                "file, or set encoding='utf-16-le' or 'utf-16-be'"
            )
        if newlines * LONGEST < len(block):  # otherwise no line is too long
            self._check_lengths(block, self.lines)
        if not block.isascii():
            self._check_utf8(block)
        self.lines += newlines
        self._unfinished = not block.endswith(b"\n")

    def __add__(self, other: _Counts) -> _Counts:
        """Return the counts of two texts, one after the other."""
        total = _Counts(self.name)
        total.lines, total.blank = self.lines + other.lines, self.blank + other.blank
        total._ends = self._ends | other._ends
        return total

    def finish(self) -> None:
        """Count the last line, if it has no end."""
        self.lines += self._unfinished

    def _check_utf8(self, block: bytes) -> None:
        try:
            block.decode()
        except UnicodeDecodeError as error:
            line = self.lines + block[: error.start].count(b"\n") + 1
            raise DataError(
                f"{self.name}, line {line}: the byte 0x{block[error.start]:02x} is not UTF-8: set the encoding of "
                "the file, such as encoding='latin-1' or 'cp1252'"
            ) from None

    def _check_lengths(self, block: bytes, before: int) -> None:
        for number, line in enumerate(block.split(b"\n"), before + 1):
            if len(line) > LONGEST and not self.mixed:
                raise DataError(
                    f"{self.name}, line {number}: the line is longer than {LONGEST:,} bytes: shorten it, or "
                    "write only the needed columns to another file"
                )


def _encoding_of(path: Path, name: str, encoding: str) -> str:
    """Check the name of an encoding, and return it, or that of a byte order mark."""
    try:
        codec = codecs.lookup(encoding)
        "".encode(encoding)
    except (LookupError, TypeError, ValueError):
        raise ParameterError(
            f"encoding={encoding!r} is unknown: give the name of a text encoding, such as 'utf-8', 'latin-1', "
            "'cp1252' or 'utf-16'"
        ) from None
    with open_plain(path, name) as file:
        head = file.read(4)
    own = "utf-8" if codec.name in ("utf-8-sig", "ascii") else codec.name
    return next((marked for mark, marked in _BYTE_ORDER_MARKS.items() if head.startswith(mark)), own)


def _blocks(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Split at line ends; a line that is too long is split anywhere."""
    rest = b""
    for block in blocks:
        block = rest + block
        end = block.rfind(b"\n") + 1
        if end == 0 and len(block) > LONGEST:
            end = block.rfind(b"\r", 0, -1) + 1 or len(block)
        rest = block[end:]
        if end:
            yield block[:end]
    if rest:
        yield rest


def _pieces(file: IO[bytes], stop: int | None = None) -> Iterator[bytes]:
    """Read blocks up to the position `stop`, or the end."""
    if stop is None:
        return iter(lambda: file.read(_BLOCK), b"")
    return iter(lambda: file.read(min(_BLOCK, stop - file.tell())), b"")


def _decoded(file: IO[bytes], encoding: str, name: str) -> Iterator[bytes]:
    """Read blocks as UTF-8."""
    if encoding == "utf-8":
        yield from _pieces(file)
        return
    decoder = codecs.getincrementaldecoder(encoding)()
    line, last = 1, ""
    for block in chain(_pieces(file), [b""]):
        state = decoder.getstate()
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeError as error:
            decoder.setstate(state)
            before = decoder.decode(block[: max(getattr(error, "start", 0) - len(state[0]), 0)])
            raise DataError(
                f"{name}, line {line + _line_ends(before, last)}: this is not {encoding} "
                f"({getattr(error, 'reason', error)}): set the encoding of the file, such as encoding='latin-1' "
                "or 'utf-16-le'"
            ) from None
        line, last = line + _line_ends(text, last), text[-1:] or last
        yield text.encode()


def _line_ends(text: str, before: str) -> int:
    """Count the line ends in a text that follows the character `before`."""
    return text.count("\n") + text.count("\r") - (before + text).count("\r\n")


def _line_end(line: str) -> str:
    return "\r\n" if line.endswith("\r\n") else line[-1:] if line.endswith(("\r", "\n")) else ""


def _with_one_line_end(blocks: Iterator[bytes]) -> Iterator[bytes]:
    r"""Convert every line end to ``\n``."""
    last = b""
    for block in blocks:
        block = last + block
        last = b"\r" if block.endswith(b"\r") else b""  # the next block may start with \n
        yield block.removesuffix(last).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if last:
        yield b"\n"


def _without_comments(block: bytes, prefix: bytes) -> bytes:
    """Replace the lines that start with a prefix by empty lines."""
    return b"\n".join(b"" if line.startswith(prefix) else line for line in block.split(b"\n"))
