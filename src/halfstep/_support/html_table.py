"""HTML tables for notebooks: self-contained, readable on light and dark backgrounds, with all text escaped."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from html import escape

from halfstep._support.printable import printable

LONGEST_TEXT = 200  # characters of a cell
LINE = "1px solid rgba(128,128,128,.4)"

_CELL = f"padding:.2em .8em;border-bottom:{LINE};color:inherit;background:transparent;vertical-align:top;"
_TABLE = "border-collapse:collapse;border:none;margin:.3em 0;color:inherit;background:transparent;"

Cell = str | int | float | None


def html_table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    *,
    notes: Iterable[str] = (),
    bold: Collection[int] = (),
) -> str:
    """Return a table as HTML.

    Parameters
    ----------
    title : str
        The line above the table.
    rows : iterable of sequences of str, int, float or None
        Numbers are formatted and right-aligned; None and NaN become a dash.
    notes : iterable of str
        Lines below the table.
    bold : collection of int
        Indices of rows in bold.
    """
    body = list(rows)
    is_number = [any(isinstance(row[k], int | float) for row in body) for k in range(len(columns))]
    parts = [f'<div style="overflow-x:auto;color:inherit"><div style="font-weight:bold">{_text(title)}</div>']
    if columns:
        head = "".join(
            f'<th scope="col" style="{_style(right)}font-weight:bold">{_text(name)}</th>'
            for name, right in zip(columns, is_number, strict=True)
        )
        parts.append(f'<table style="{_TABLE}"><thead><tr>{head}</tr></thead><tbody>')
        for number, row in enumerate(body):
            weight = "bold" if number in bold else "normal"
            cells = (
                f'<td style="{_style(right)}font-weight:{weight}">{_text(_formatted(cell))}</td>'
                for cell, right in zip(row, is_number, strict=True)
            )
            parts.append(f"<tr>{''.join(cells)}</tr>")
        parts.append("</tbody></table>")
    parts += [f'<div style="opacity:.75">{_text(note)}</div>' for note in notes]
    return "\n".join([*parts, "</div>"])


def and_more(count: int, what: str, which: str = "") -> list[str]:
    """Return a note on the number of rows that are not shown; an empty list if there are none."""
    return [f"… and {count:,} more {what}{'s' * (count != 1)}{which}"] if count > 0 else []


def _style(right: bool) -> str:
    return f"{_CELL}text-align:{'right' if right else 'left'};"


def _formatted(cell: Cell) -> str:
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return "–"
    if isinstance(cell, float):
        return f"{cell:.4g}"
    return cell if isinstance(cell, str) else f"{cell:,}"


def _text(text: str) -> str:
    shown = text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…"
    return escape(printable(shown))
