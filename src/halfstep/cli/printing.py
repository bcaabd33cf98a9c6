"""What goes to the screen: tables for people, JSON for programs, and notes that get into the way of neither."""

from __future__ import annotations

import json
import math
import sys
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

PIPED_WIDTH = 130  # columns of a table that goes into a file or a pipe, where there is no window to fit


def note(text: str) -> None:
    """Say what was chosen or done, on standard error."""
    print(text, file=sys.stderr)


def print_table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Show a table; columns of numbers are those whose names begin with a space, and are set to the right."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else PIPED_WIDTH)
    table = Table(title=escape(title), title_justify="left")
    for column in columns:
        table.add_column(column.strip(), justify="right" if column.startswith(" ") else "left")
    for row in rows:
        table.add_row(*map(escape, row))
    console.print(table)


def print_json(value: Any) -> None:
    """Print one line of JSON; what is not finite becomes null, ids that JSON does not know become strings."""
    print(json.dumps(_plain(value), allow_nan=False))


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
