"""Recommendations for all users, written to a file in blocks of users."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import halfstep as hs
from halfstep.atomic import write_atomically
from halfstep.cli.outputs import naming_the_file
from halfstep.errors import DataError
from halfstep.progress import progress_bar
from halfstep.recommendations import Recommendations

USERS_AT_ONCE = 10_000
COLUMNS = ["user", "item", "rank", "score"]
LINE_END = "\r\n"
FORMULAS = "=", "+", "-", "@", "\t", "\r"  # what a cell begins with that a spreadsheet takes for a formula
SEPARATORS = {".csv": ",", ".tsv": "\t"}
SUFFIXES = (*SEPARATORS, ".parquet")


def write_recommendations(path: Path, model: Any, n: int, exclude_seen: bool, escape_formulas: bool = False) -> int:
    """Write the lists of all users; return how many rows."""
    written = 0

    def blocks() -> Iterator[list[tuple[Any, Any, int, float]]]:
        nonlocal written
        users = model.users_.ids
        with progress_bar(None, len(users), "users") as bar:
            for start in range(0, len(users), USERS_AT_ONCE):
                asked = users[start : start + USERS_AT_ONCE]
                rows = list(rows_of(model.recommend(asked, n, exclude_seen=exclude_seen)))
                written += len(rows)
                yield rows
                bar.update(len(asked))

    suffix = path.suffix.lower()
    chunks = _as_parquet(blocks(), model) if suffix == ".parquet" else _as_text(blocks(), suffix, escape_formulas)
    try:
        with naming_the_file("--output", path):
            write_atomically(path, chunks)
    except UnicodeEncodeError as error:
        text = error.object[max(error.start - 10, 0) : error.end + 10]
        raise DataError(f"an id is not valid Unicode, which {path.name} cannot hold: {text!r}") from error
    return written


def rows_of(lists: Recommendations) -> Iterator[tuple[Any, Any, int, float]]:
    """Iterate over user, item, rank and score of all lists."""
    for user, entries in lists:
        for rank, (item, score) in enumerate(entries, start=1):
            yield user, item, rank, score


def _as_text(
    blocks: Iterator[list[tuple[Any, Any, int, float]]], suffix: str, escape_formulas: bool
) -> Iterator[memoryview]:
    text = _Lines()
    shown = _without_formula if escape_formulas else str
    writer = csv.writer(text, delimiter=SEPARATORS[suffix], lineterminator=LINE_END)
    writer.writerow(COLUMNS)
    for rows in blocks:
        writer.writerows((shown(user), shown(item), rank, f"{score:.6g}") for user, item, rank, score in rows)
        yield memoryview(text.take().encode())


class _Lines:
    r"""Target of a csv writer, which quotes the characters of its own line end, and so both \r and \n."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def write(self, line: str) -> None:
        """Take one row, and end its line with a line feed alone."""
        self._lines.append(line.removesuffix(LINE_END) + "\n")

    def take(self) -> str:
        """Return what was written since the last call."""
        lines, self._lines = self._lines, []
        return "".join(lines)


def _without_formula(id_: Any) -> str:
    """Escape a text that a spreadsheet would run; numbers are not formulas, even negative ones."""
    text = str(id_)
    return f"'{text}" if isinstance(id_, str) and text.startswith(FORMULAS) else text


class _Sink(io.RawIOBase):
    """A file that holds what is written until it is taken."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._place = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def write(self, chunk: Any) -> int:
        self._chunks.append(bytes(chunk))
        self._place += len(self._chunks[-1])
        return len(self._chunks[-1])

    def take(self) -> Iterator[memoryview]:
        chunks, self._chunks = self._chunks, []
        return map(memoryview, chunks)


def _as_parquet(blocks: Iterator[list[tuple[Any, Any, int, float]]], model: Any) -> Iterator[memoryview]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("writing parquet takes pyarrow: pip install pyarrow") from error
    kinds = {
        "user": _kind_of(model.users_),
        "item": _kind_of(model.items_),
        "rank": pa.int32(),
        "score": pa.float64(),
    }
    schema = pa.schema(list(kinds.items()))
    sink = _Sink()
    with parquet.ParquetWriter(sink, schema) as writer:
        for rows in blocks:
            columns = dict(zip(COLUMNS, map(list, zip(*rows, strict=True)) if rows else [[]] * 4, strict=True))
            for name in ("user", "item"):
                if kinds[name] == pa.string():
                    columns[name] = list(map(str, columns[name]))
            writer.write_table(pa.table(columns, schema))
            yield from sink.take()
    yield from sink.take()


def _kind_of(vocabulary: hs.Vocabulary) -> Any:
    """Return the Arrow type of ids: integers as such, anything else as strings."""
    import pyarrow as pa

    return pa.int64() if vocabulary.ids.dtype.kind == "i" else pa.string()
