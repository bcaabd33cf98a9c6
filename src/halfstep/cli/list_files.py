"""Files of lists for many users or items, written in blocks."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import halfstep as hs
from halfstep._support.files import write_atomically
from halfstep._support.progress import progress_bar
from halfstep.cli.outputs import naming_the_option
from halfstep.cli.parquet import Kind, as_parquet
from halfstep.data.recommendations import Ranking

Row = tuple[Any, ...]
"""The query, the listed id, the rank, the score and, if titles are known, the title."""

AT_ONCE = 10_000  # queries
LINE_END = "\r\n"
FORMULAS = "=", "+", "-", "@", "\t", "\r"  # prefixes of cells that spreadsheets evaluate as formulas
SEPARATORS = {".csv": ",", ".tsv": "\t"}
SUFFIXES = (*SEPARATORS, ".parquet")


def write_lists(
    path: Path,
    queries: Any,
    list_for: Callable[[Any], Ranking],
    vocabularies: tuple[hs.Vocabulary, hs.Vocabulary],
    *,
    escape_formulas: bool = False,
) -> int:
    """Write a list for each query, and return the number of rows.

    Parameters
    ----------
    path : Path
        A path with one of the `SUFFIXES`.
    queries : ndarray or list of ids
    list_for : callable
        A function that returns the lists of given queries.
    vocabularies : pair of Vocabulary
        The vocabularies of queries and of listed ids.
    escape_formulas : bool
        Whether to escape text that a spreadsheet would evaluate.
    """
    written = 0

    def blocks() -> Iterator[list[Row]]:
        nonlocal written
        with progress_bar(None, len(queries), "lists") as bar:
            for start in range(0, len(queries), AT_ONCE):
                asked = queries[start : start + AT_ONCE]
                rows = list(rows_of(list_for(asked)))
                written += len(rows)
                yield rows
                bar.update(len(asked))

    columns = column_names_of(list_for(queries[:0]))
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        kinds = (*map(_kind_of, vocabularies), "INTEGER", "DOUBLE", "VARCHAR")
        chunks = as_parquet(blocks(), dict(zip(columns, kinds, strict=False)))
    else:
        chunks = _as_text(blocks(), columns, suffix, escape_formulas)
    try:
        with naming_the_option("--output", path):
            write_atomically(path, chunks)
    except UnicodeEncodeError as error:
        text = error.object[max(error.start - 10, 0) : error.end + 10]
        raise hs.errors.DataError(
            f"an id is not valid Unicode and cannot be written to {path.name}: {text!r}"
        ) from error
    return written


def column_names_of(lists: Ranking) -> list[str]:
    """Return the names of the columns of `rows_of`."""
    return [lists.QUERY, lists.LISTED, "rank", lists.SCORE, *([] if lists.titles is None else ["title"])]


def rows_of(lists: Ranking) -> Iterator[Row]:
    """Iterate over the rows of all lists: query, listed id, rank, score and, if titles are known, title."""
    for query, entries in lists:
        for rank, (listed, score) in enumerate(entries, start=1):
            row = query, listed, rank, score
            yield row if lists.titles is None else (*row, lists.titles.get(listed))


def dicts_of(lists: Ranking) -> list[dict[str, Any]]:
    """Return the rows as dicts, for JSON."""
    columns = column_names_of(lists)
    return [dict(zip(columns, row, strict=True)) for row in rows_of(lists)]


def _as_text(
    blocks: Iterator[list[Row]], columns: list[str], suffix: str, escape_formulas: bool
) -> Iterator[memoryview]:
    text = _Lines()
    shown = _without_formula if escape_formulas else str
    writer = csv.writer(text, delimiter=SEPARATORS[suffix], lineterminator=LINE_END)
    writer.writerow(columns)
    for rows in blocks:
        writer.writerows(
            (shown(query), shown(listed), rank, f"{score:.6g}", *(shown(each or "") for each in title))
            for query, listed, rank, score, *title in rows
        )
        yield memoryview(text.take().encode())


class _Lines:
    r"""Target of a csv writer, which quotes both characters of its line end ``\r\n`` in ids."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def write(self, line: str) -> None:
        """Store one row, with a line feed as line end."""
        self._lines.append(line.removesuffix(LINE_END) + "\n")

    def take(self) -> str:
        """Return the lines since the last call."""
        lines, self._lines = self._lines, []
        return "".join(lines)


def _without_formula(id_: Any) -> str:
    """Escape text that a spreadsheet would evaluate; numbers are not escaped, even if negative."""
    text = str(id_)
    return f"'{text}" if isinstance(id_, str) and text.startswith(FORMULAS) else text


def _kind_of(vocabulary: hs.Vocabulary) -> Kind:
    """Return the type of a column of ids: BIGINT for integers, else VARCHAR."""
    return "BIGINT" if vocabulary.ids.dtype.kind == "i" else "VARCHAR"
