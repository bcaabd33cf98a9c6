"""Recommendations for everybody into a file, some users at a time: whole or not at all."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import halfstep as hs
from halfstep.atomic import write_atomically
from halfstep.errors import ParameterError
from halfstep.progress import progress_bar
from halfstep.recommendations import Recommendations

USERS_AT_ONCE = 10_000
COLUMNS = ["user", "item", "rank", "score"]
SUFFIXES = ".csv", ".tsv", ".parquet"


def check_suffix(path: Path) -> None:
    """Refuse a file that is none of those that can be written."""
    if path.suffix.lower() not in SUFFIXES:
        raise ParameterError(f"{path}: the suffix {path.suffix!r} is none of {', '.join(SUFFIXES)}")


def write_recommendations(path: Path, model: Any, n: int, exclude_seen: bool) -> int:
    """Write the lists of all users; return how many rows."""
    check_suffix(path)
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

    write = _as_parquet if path.suffix.lower() == ".parquet" else _as_text
    try:
        write_atomically(path, write(blocks(), "\t" if path.suffix.lower() == ".tsv" else ","))
    except OSError as error:
        raise OSError(f"{path} cannot be written ({error.strerror or error}): name another by --output") from error
    return written


def rows_of(lists: Recommendations) -> Iterator[tuple[Any, Any, int, float]]:
    """User, item, rank and score of all that is listed."""
    for user, entries in lists:
        for rank, (item, score) in enumerate(entries, start=1):
            yield user, item, rank, score


def _as_text(blocks: Iterator[list[tuple[Any, Any, int, float]]], separator: str) -> Iterator[memoryview]:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=separator, lineterminator="\n")
    writer.writerow(COLUMNS)
    for rows in blocks:
        writer.writerows((user, item, rank, f"{score:.6g}") for user, item, rank, score in rows)
        yield memoryview(text.getvalue().encode())
        text.seek(0)
        text.truncate()


class _Sink(io.RawIOBase):
    """A file that keeps what is written until somebody takes it."""

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


def _as_parquet(blocks: Iterator[list[tuple[Any, Any, int, float]]], _: str) -> Iterator[memoryview]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("writing parquet takes pyarrow: pip install pyarrow") from error
    sink, writer = _Sink(), None
    for rows in blocks:
        user, item, rank, score = map(list, zip(*rows, strict=True)) if rows else ([], [], [], [])
        table = pa.table({"user": user, "item": item, "rank": pa.array(rank, pa.int32()), "score": score})
        if writer is None:
            writer = parquet.ParquetWriter(sink, table.schema)
        writer.write_table(table)
        yield from sink.take()
    if writer is not None:
        writer.close()
    yield from sink.take()


def parse_id(vocabulary: hs.Vocabulary, text: str) -> Any:
    """Find the id that is meant by a word of the command line: a string, or else an integer or what prints so."""
    if text in vocabulary:
        return text
    if text.lstrip("-").isdecimal() and int(text) in vocabulary:
        return int(text)
    if len(vocabulary) and not isinstance(vocabulary[0], str | int):
        return next((each for each in vocabulary if str(each) == text), text)
    return text
