"""Text files made plain, their lines counted and, where something is wrong, looked at one by one.

DuckDB reads what this module has made plain: a regular file in UTF-8 whose lines end alike. Each line of it is one
record or blank, and it has the number that it has in the original. The lines are counted here, apart from DuckDB, so
that no row can be lost; and looked at by Python's csv module where DuckDB and the count do not agree, or DuckDB finds
a fault, to say which line it is.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from halfstep.errors import DataError, ParameterError
from halfstep.interactions.sources import Source, Workspace, compression_of, open_plain

LONGEST = 2_000_000  # bytes of a line, as in DuckDB
_BLOCK = 1 << 18
_BLANK = re.compile(rb"^\r\n", re.MULTILINE)
_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


@dataclass(frozen=True)
class TextFormat:
    """How the lines of a text are written.

    Attributes
    ----------
    separator : str
        What separates fields.
    quote : str or None
        The character that may enclose a field; it stands for itself where it is doubled.
    newlines_in_values : bool
        Whether enclosed fields may hold line breaks.
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


@dataclass(frozen=True)
class PlainText:
    """A regular file in UTF-8, decompressed, whose lines end alike and hold no NUL.

    Attributes
    ----------
    name : str
        What errors call it.
    path : Path
    lines, blank : int
        How many lines there are, and how many of them are empty. Lines that begin with the prefix of comments are
        empty here.
    comments : int
        How many those are.
    """

    name: str
    path: Path
    lines: int
    blank: int
    comments: int = 0

    def __iter__(self) -> Iterator[tuple[int, str]]:
        """Go through the lines that are not empty, each with its number from 1 on."""
        with self.path.open(encoding="utf-8-sig", newline="") as file:
            for number, line in enumerate(file, 1):
                if line.rstrip("\r\n"):
                    yield number, line

    def fault_in(self, line: str, format: TextFormat, fields: int) -> str | None:  # noqa: A002 - its usual name
        """Say what is wrong with a line; None if it is a record of that many fields."""
        if len(line) > LONGEST // 4 and len(line.encode()) > LONGEST:
            return f"the line is longer than {LONGEST:,} bytes"
        try:
            found = len(next(format.records(iter([line]))))
        except csv.Error as error:
            if "unexpected end of data" in str(error):
                return "a quoted field is not closed in this line"
            return "a quoted field goes on after its closing quote"
        if found == fields:
            return None
        return f"the line has {found} {'field' if found == 1 else 'fields'}, not {fields} as the first"

    def first_fault(self, format: TextFormat, fields: int, after: int = 0) -> tuple[int, str] | None:  # noqa: A002
        """Find the first line that is wrong and say what it is."""
        for number, line in self:
            fault = self.fault_in(line, format, fields) if number > after else None
            if fault is not None:
                return number, fault
        return None

    def without_faults(
        self,
        path: Path,
        format: TextFormat,  # noqa: A002
        fields: int,
        after: int,
    ) -> tuple[PlainText, int]:
        """Copy the file with an empty line in the place of each that is wrong; return how many those are."""
        skipped = 0
        with path.open("w", encoding="utf-8", newline="") as copy:
            last = 0
            for number, line in self:
                copy.write("\n" * (number - last - 1))
                wrong = number > after and self.fault_in(line, format, fields) is not None
                copy.write("\n" if wrong else line.rstrip("\r\n") + "\n")
                skipped += wrong
                last = number
            copy.write("\n" * (self.lines - last))
        return PlainText(self.name, path, self.lines, self.blank + skipped, self.comments), skipped

    def count_records(self, format: TextFormat) -> int:  # noqa: A002
        """Count the records where they may span lines, by Python's csv module.

        Raises
        ------
        DataError
            If a quoted field is not closed, or goes on after its closing quote; it names the line.
        """
        count, start = 0, 1
        with self.path.open(encoding="utf-8-sig", newline="") as file:
            records = format.records(file)
            try:
                for record in records:
                    count += bool(record)
                    start = records.line_num + 1  # type: ignore[attr-defined]
            except csv.Error as error:
                closed = "unexpected end of data" not in str(error)
                fault = "goes on after its closing quote" if closed else "is not closed"
                raise DataError(
                    f"{self.name}, line {start}: a quoted field of the record that begins here {fault}: correct it, "
                    "or set quote=None where quotes are ordinary characters"
                ) from None
        return count


def make_plain(source: Source, encoding: str, comment: str | None, workspace: Workspace) -> PlainText:
    """Make a text plain, and count its lines.

    Raises
    ------
    DataError
        If the file cannot be decompressed or decoded, or holds a NUL or a line that is too long.
    """
    path = workspace.seekable(source)
    encoding = _encoding_of(path, source.name, encoding)
    is_plain = encoding == "utf-8" and comment is None and compression_of(path, source.name) is None
    if is_plain:
        counts = _Counts(source.name)
        with path.open("rb") as file:
            for block in _blocks(file):
                counts.add(block)
                if counts.mixed:
                    break
        if not counts.mixed:
            counts.finish()
            return PlainText(source.name, workspace.linked(path.absolute()), counts.lines, counts.blank)
    counts = _Counts(source.name)
    copy_path = workspace.new_path()
    with open_plain(path, source.name) as file, copy_path.open("wb") as copy:
        for block in _with_one_line_end(_decoded(file, encoding, counts)):
            text = block if comment is None else counts.without_comments(block, comment.encode())
            counts.add(text)
            copy.write(text)
    counts.finish()
    return PlainText(source.name, copy_path, counts.lines, counts.blank, counts.comments)


class _Counts:
    """What is counted in the blocks of a text, each of which ends with a line (or the text)."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lines = self.blank = self.comments = 0
        self.ends: set[bytes] = set()
        self.mixed = False
        self._unfinished = False

    def add(self, block: bytes) -> None:
        ends = np.frombuffer(block, np.uint8) == ord("\n")
        newlines = int(np.count_nonzero(ends))
        if b"\r" in block:
            returns, pairs = block.count(b"\r"), block.count(b"\r\n")
            self.mixed = self.mixed or returns != pairs or newlines != pairs
            self.ends.add(b"\r\n")
            self.blank += len(_BLANK.findall(block))
        else:
            if newlines:
                self.ends.add(b"\n")
            self.blank += int(ends[0]) + int(np.count_nonzero(ends[1:] & ends[:-1]))
        self.mixed = self.mixed or len(self.ends) > 1
        if b"\0" in block:
            line = self.lines + block[: block.index(b"\0")].count(b"\n") + 1
            raise DataError(
                f"{self.name}, line {line}: there is a NUL character, as in binary files and in UTF-16: give a text "
                "file, or say encoding='utf-16'"
            )
        if not block.isascii():
            self._check_utf8(block)
        self.lines += newlines
        self._unfinished = not block.endswith(b"\n")
        if newlines * LONGEST < len(block):  # only then may a line be too long
            self._check_lengths(block, self.lines - newlines)

    def without_comments(self, block: bytes, prefix: bytes) -> bytes:
        """Empty the lines that begin with a prefix."""
        lines = block.split(b"\n")
        for place, line in enumerate(lines):
            if line.startswith(prefix):
                lines[place] = b""
                self.comments += 1
        return b"\n".join(lines)

    def finish(self) -> None:
        """Count the last line, if it has no end."""
        self.lines += self._unfinished

    def _check_utf8(self, block: bytes) -> None:
        try:
            block.decode()
        except UnicodeDecodeError as error:
            line = self.lines + block[: error.start].count(b"\n") + 1
            raise DataError(
                f"{self.name}, line {line}: the byte 0x{block[error.start]:02x} is not UTF-8: say in what encoding "
                "the file is, such as encoding='latin-1' or 'cp1252'"
            ) from None

    def _check_lengths(self, block: bytes, before: int) -> None:
        for number, line in enumerate(block.split(b"\n"), before + 1):
            if len(line) > LONGEST and not self.mixed:
                raise DataError(
                    f"{self.name}, line {number}: the line is longer than {LONGEST:,} bytes: shorten it, or "
                    "write the columns that are needed to a file of their own"
                )


def _encoding_of(path: Path, name: str, encoding: str) -> str:
    """Check the name of an encoding; a byte order mark says more than the default."""
    try:
        codec = codecs.lookup(encoding)
        "".encode(encoding)
    except (LookupError, TypeError, ValueError):
        raise ParameterError(
            f"encoding={encoding!r} is unknown: give the name of a text encoding, such as 'utf-8', 'latin-1', "
            "'cp1252' or 'utf-16'"
        ) from None
    if codec.name not in ("utf-8", "utf-8-sig", "ascii"):
        return codec.name
    with open_plain(path, name) as file:
        head = file.read(4)
    return next((marked for mark, marked in _BYTE_ORDER_MARKS.items() if head.startswith(mark)), "utf-8")


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    """Read blocks that end where lines do; a line that is too long to be one ends anywhere."""
    rest = b""
    while block := file.read(_BLOCK):
        block = rest + block
        end = block.rfind(b"\n") + 1
        if end == 0 and len(block) > LONGEST:
            end = len(block) - block.endswith(b"\r")
        rest = block[end:]
        if end:
            yield block[:end]
    if rest:
        yield rest


def _decoded(file: IO[bytes], encoding: str, counts: _Counts) -> Iterator[bytes]:
    """Read blocks, and make UTF-8 of what is in another encoding."""
    if encoding == "utf-8":
        yield from iter(lambda: file.read(_BLOCK), b"")
        return
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        for block in iter(lambda: file.read(_BLOCK), b""):
            yield decoder.decode(block).encode()
        yield decoder.decode(b"", final=True).encode()
    except UnicodeError as error:
        raise DataError(
            f"{counts.name}, after line {counts.lines}: not {encoding} ({getattr(error, 'reason', error)}): say in "
            "what encoding the file is by encoding=..."
        ) from None


def _with_one_line_end(blocks: Iterator[bytes]) -> Iterator[bytes]:
    r"""Make ``\n`` of every line end, and cut blocks where lines end."""
    rest = b""
    for block in blocks:
        block = rest + block
        held = b"\r" if block.endswith(b"\r") else b""
        block = block[: len(block) - len(held)].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        end = block.rfind(b"\n") + 1
        if end == 0 and len(block) > LONGEST:
            end = len(block)
        rest = block[end:] + held
        if end:
            yield block[:end]
    if rest:
        yield rest.replace(b"\r", b"\n")
