"""Tables in documents, which benchmarks write between two marks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent


def write_between(path: Path, name: str, text: str) -> None:
    """Replace the text between ``<!-- name: begin -->`` and ``<!-- name: end -->``.

    Raises
    ------
    ValueError
        If the document does not have each mark once, in this order.
    """
    begin, end = (f"<!-- {name}: {which} -->" for which in ("begin", "end"))
    document = path.read_text(encoding="utf-8")
    if document.count(begin) != 1 or document.count(end) != 1 or document.index(begin) > document.index(end):
        raise ValueError(f"{path} must have the marks {begin} and {end}, once each and in this order")
    before, _, rest = document.partition(begin)
    _, _, after = rest.partition(end)
    path.write_text(f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}", encoding="utf-8")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown; columns whose names begin with a space are right-aligned."""
    rules = ["---:" if name.startswith(" ") else "---" for name in head]
    lines = ["| " + " | ".join(cells) + " |" for cells in ([name.strip() for name in head], rules, *rows)]
    return "\n".join(lines)
