"""Output: tables, JSON, and notes on standard error."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from halfstep._support.printable import printable

PIPED_WIDTH = 130  # columns of text in files and pipes
UNLIMITED = 1 << 20  # columns of tables in files and pipes, which are as wide as their contents


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Raise an error, instead of exiting as Rich does."""
        raise BrokenPipeError


def new_console(piped_width: int = PIPED_WIDTH) -> Console:
    """Return a console for standard output that does not convert emoji codes, which ids may contain."""
    width = None if sys.stdout.isatty() else piped_width
    return _Console(highlight=False, emoji=False, width=width)


def note(text: str) -> None:
    """Print a line on standard error; errors of writing are ignored."""
    with suppress(OSError):
        print(printable(text), file=sys.stderr)


def note_all(lines: Iterable[str]) -> None:
    """Print lines on standard error."""
    for line in lines:
        note(line)


def reached_by(model: Any) -> str:
    """Describe the last line of the history of a model: the objective, or the first value of its class."""
    line = {name: value for name, value in model.history_[-1]._asdict().items() if name != "iteration"}
    name, value = next(iter(line.items()))
    return f"{name} {value:.6g}"


def print_table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Print a table; columns whose names begin with a space are right-aligned.

    Cells are never truncated: they wrap in a narrow terminal, and each row is one line in files and pipes.
    """
    console = new_console(UNLIMITED)
    table = Table()
    for column in columns:
        table.add_column(column.strip(), justify="right" if column.startswith(" ") else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console.print(Text(printable(title), style="italic"), soft_wrap=True)
    console.print(table)


def print_list(
    title: str, listed: str, score: str, entries: list[tuple[Any, float]], titles: Mapping[Any, str] | None
) -> None:
    """Print the list of one query, with titles if known; `listed` and `score` are names of columns."""
    rows = [
        [str(rank), str(each), *([] if titles is None else [titles.get(each) or ""]), f"{value:.4f}"]
        for rank, (each, value) in enumerate(entries, start=1)
    ]
    print_table(title, [" rank", listed, *([] if titles is None else ["title"]), f" {score}"], rows)


def print_json(value: Any, write: Callable[[str], None] = print) -> None:
    """Print one line of JSON; non-finite numbers become null, and ids without a JSON type become strings."""
    write(json.dumps(_plain(value), allow_nan=False))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool | None) else str(value)
