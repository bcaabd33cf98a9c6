"""Recommendations for all users, written to a file in blocks of users."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import halfstep as hs
from halfstep.atomic import write_atomically
from halfstep.cli.outputs import naming_the_file
from halfstep.cli.parquet import Kind, as_parquet
from halfstep.errors import DataError
from halfstep.progress import progress_bar
from halfstep.recommendations import Recommendations

Row = tuple[Any, ...]
"""User, item, rank, score and, if titles are known, title."""

USERS_AT_ONCE = 10_000
COLUMNS = ["user", "item", "rank", "score"]
LINE_END = "\r\n"
FORMULAS = "=", "+", "-", "@", "\t", "\r"  # prefixes of cells that a spreadsheet evaluates as formulas
SEPARATORS = {".csv": ",", ".tsv": "\t"}
SUFFIXES = (*SEPARATORS, ".parquet")


def write_recommendations(path: Path, model: Any, n: int, exclude_seen: bool, escape_formulas: bool = False) -> int:
    """Write the lists of all users, and return the number of rows."""
    written = 0

    def blocks() -> Iterator[list[Row]]:
        nonlocal written
        users = model.users_.ids
        with progress_bar(None, len(users), "users") as bar:
            for start in range(0, len(users), USERS_AT_ONCE):
                asked = users[start : start + USERS_AT_ONCE]
                rows = list(rows_of(model.recommend(asked, n, exclude_seen=exclude_seen)))
                written += len(rows)
                yield rows
                bar.update(len(asked))

    known = model.interactions_
    columns = columns_of(None if known is None else known.item_titles)
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        kinds = {
            "user": _kind_of(model.users_),
            "item": _kind_of(model.items_),
            "rank": "INTEGER",
            "score": "DOUBLE",
            "title": "VARCHAR",
        }
        chunks = as_parquet(blocks(), {name: kinds[name] for name in columns})
    else:
        chunks = _as_text(blocks(), columns, suffix, escape_formulas)
    try:
        with naming_the_file("--output", path):
            write_atomically(path, chunks)
    except UnicodeEncodeError as error:
        text = error.object[max(error.start - 10, 0) : error.end + 10]
        raise DataError(f"an id is not valid Unicode, and cannot be written to {path.name}: {text!r}") from error
    return written


def columns_of(titles: Mapping[Any, str] | None) -> list[str]:
    """Return the names of the columns of `rows_of`."""
    return [*COLUMNS, *([] if titles is None else ["title"])]


def rows_of(lists: Recommendations) -> Iterator[Row]:
    """Iterate over user, item, rank and score of all lists, with the title if titles are known."""
    for user, entries in lists:
        for rank, (item, score) in enumerate(entries, start=1):
            row = user, item, rank, score
            yield row if lists.titles is None else (*row, lists.titles.get(item))


def _as_text(
    blocks: Iterator[list[Row]], columns: list[str], suffix: str, escape_formulas: bool
) -> Iterator[memoryview]:
    text = _Lines()
    shown = _without_formula if escape_formulas else str
    writer = csv.writer(text, delimiter=SEPARATORS[suffix], lineterminator=LINE_END)
    writer.writerow(columns)
    for rows in blocks:
        writer.writerows(
            (shown(user), shown(item), rank, f"{score:.6g}", *(shown(each or "") for each in title))
            for user, item, rank, score, *title in rows
        )
        yield memoryview(text.take().encode())


class _Lines:
    r"""Target of a csv writer with ``\r\n`` as line end, so that it quotes both characters in ids."""

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
    """Escape text that a spreadsheet would evaluate; numbers, even negative ones, are not formulas."""
    text = str(id_)
    return f"'{text}" if isinstance(id_, str) and text.startswith(FORMULAS) else text


def _kind_of(vocabulary: hs.Vocabulary) -> Kind:
    """Return the type of a column of ids: integers as such, anything else as strings."""
    return "BIGINT" if vocabulary.ids.dtype.kind == "i" else "VARCHAR"
