"""The tables of the record, each in a section of a document."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from benchmarks.marks import table, write_between
from benchmarks.record.measure import Result
from benchmarks.record.splits import PublishedSplit

CONFIDENCE = 0.95


def write(path: Path, split: PublishedSplit, rows: Sequence[Result]) -> None:
    """Write the table of a split between its marks, in a new section at the end if the document has none."""
    begin, end = (f"<!-- {split.name}: {which} -->" for which in ("begin", "end"))
    document = path.read_text(encoding="utf-8")
    if begin not in document:
        path.write_text(f"{document.rstrip()}\n\n## {split.name}\n\n{begin}\n{end}\n", encoding="utf-8")
    write_between(path, split.name, section(split, rows))


def section(split: PublishedSplit, rows: Sequence[Result]) -> str:
    labels = list(rows[0].metrics[0])
    head = ["model", *(f" {label}" for label in labels), "hyperparameters", " trials", " parameters"]
    cells = [
        [
            row.model,
            *(mean([found[label] for found in row.metrics]) for label in labels),
            ", ".join(f"{words(name)} {short(value)}" for name, value in row.parameters.items() if name != "rank"),
            f"{row.n_trials:,}" if row.n_trials else "",
            f"{row.n_parameters:,}",
            f"{row.tuning_seconds:,.1f}" if row.n_trials else "",
            f"{row.fit_seconds:,.2f}",
        ]
        for row in rows
    ]
    machines = "; ".join(dict.fromkeys(row.machine for row in rows))
    about = f"{split}. Protocol `{split.protocol}`. {split.about} {machines}."
    return f"{about}\n\n{table([*head, ' tuning, s', ' fit, s'], cells)}"


def mean(values: Sequence[float]) -> str:
    """Return a mean, and the half-width of its interval if there are several values."""
    if len(values) == 1:
        return f"{values[0]:.4f}"
    quantile = stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)
    return f"{np.mean(values):.4f} ± {quantile * np.std(values, ddof=1) / np.sqrt(len(values)):.4f}"


def words(path: str) -> str:
    """Return the last name of the path of a parameter, in words."""
    return path.rpartition(".")[2].replace("_", " ")


def short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
