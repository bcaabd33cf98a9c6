"""The table of an evaluation, with a row for each model and metric."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from halfstep._support.html_table import html_table
from halfstep.errors import DataError, ParameterError
from halfstep.evaluation.bootstrap import Mean, intervals, resample
from halfstep.evaluation.metric_names import Metric

WIDTH = 118  # of a printed table


class Row(NamedTuple):
    """A metric of a model with its bootstrap interval, or NaN."""

    model: str
    metric: str
    n: int | None
    value: float
    low: float
    high: float

    @property
    def label(self) -> str:
        """The name of the metric in tables, such as ndcg@10."""
        return Metric(self.metric, self.n).label

    def __str__(self) -> str:
        if np.isnan(self.value):
            return "–"
        return f"{self.value:.4f}" + ("" if np.isnan(self.low) else f" ({self.low:.4f} to {self.high:.4f})")


Figures = Mapping[tuple[str, Metric], Mean | float]


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Report:
    """Metrics of models, with confidence intervals.

    Attributes
    ----------
    rows : tuple of Row
        Model, metric, n, value, low and high.
    confidence : float
        The confidence level of the intervals.
    figures : mapping from model and metric to Mean or float
        The metrics by user if they are means over users, else numbers.
    resamples, seed : int
        The number of bootstrap resamples, and their seed.
    """

    rows: tuple[Row, ...]
    confidence: float
    figures: Figures
    resamples: int
    seed: int

    @staticmethod
    def rows_of(figures: Figures, confidence: float, resamples: int, seed: int) -> tuple[Row, ...]:
        """Return the rows of all figures, with intervals of means over users from the same resamples."""
        means = {key: figure for key, figure in figures.items() if isinstance(figure, Mean)}
        bounds: dict[tuple[str, Metric], NDArray[np.float64]] = {}
        if means:
            of_means = intervals(resample(list(means.values()), resamples, seed), confidence)
            bounds = dict(zip(means, of_means, strict=True))
        rows = []
        for (model, metric), figure in figures.items():
            low, high = bounds.get((model, metric), np.full(2, np.nan)).tolist()
            value = figure.value if isinstance(figure, Mean) else figure
            rows.append(Row(model, *metric, value, low, high))
        return tuple(rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def models(self) -> list[str]:
        """The names of the models, in the order of the table."""
        return list(dict.fromkeys(row.model for row in self.rows))

    def find(self, model: str, metric: str) -> Row:
        """Return a row; `metric` is a name such as "ndcg", or a label such as "ndcg@10".

        Raises
        ------
        ParameterError
            If there is no such row, or several because the metric has several cutoffs.
        """
        if not isinstance(model, str) or model not in self.models:
            raise ParameterError(f"there is no model {model!r}: give one of {', '.join(self.models)}")
        asked = metric if isinstance(metric, str) else None
        rows = [row for row in self.rows if row.model == model and asked in (row.label, row.metric)]
        if len(rows) == 1:
            return rows[0]
        labels = ", ".join(row.label for row in rows or self.rows if row.model == model)
        fault = "has several cutoffs" if rows else "was not computed"
        raise ParameterError(f"{metric!r} {fault}: give one of {labels}")

    def _difference(self, a: str, row: Row, other: Self, b: str, other_row: Row) -> Row:
        """Return the difference of two rows of the same users, with an interval from the same resamples."""
        one, two = (
            report.figures[each.model, Metric(each.metric, each.n)]
            for report, each in ((self, row), (other, other_row))
        )
        if not (isinstance(one, Mean) and isinstance(two, Mean)):
            raise DataError(
                f"{row.label} is not a mean over users, so it has no bootstrap interval: compare the values of {a} "
                f"and {b}"
            )
        estimates = resample([one, two], self.resamples, self.seed)
        low, high = intervals(estimates[:, :1] - estimates[:, 1:], self.confidence)[0].tolist()
        return Row(f"{a} − {b}", row.metric, row.n, one.value - two.value, low, high)

    def _rows_as_dicts(self) -> list[dict[str, Any]]:
        """Return the rows with None instead of NaN, for JSON."""
        return [
            {name: None if isinstance(value, float) and np.isnan(value) else value for name, value in row.items()}
            for row in (each._asdict() for each in self.rows)
        ]

    def _repr_html_(self) -> str:
        (title, *notes), about = self._about()
        (_, *labels), *rows = self._table()
        return html_table(title, ["model", *labels], rows, notes=[*notes, *about])

    def __repr__(self) -> str:
        before, after = self._about()
        return "\n".join([*before, *self._printed(), *after])

    def _about(self) -> tuple[list[str], list[str]]:
        """Return the lines before and after the table."""
        raise NotImplementedError

    def _table(self) -> list[list[str]]:
        """Return the table with its header: a row for each model, and a column for each metric."""
        labels = list(dict.fromkeys(row.label for row in self.rows))
        cells = {(row.model, row.label): str(row) for row in self.rows}
        rows = [[model, *(cells.get((model, label), "–") for label in labels)] for model in self.models]
        return [["", *labels], *rows]

    def _printed(self) -> list[str]:
        table = self._table()
        columns = [list(column) for column in zip(*table, strict=True)]
        if sum(map(_width, columns)) > WIDTH:  # many metrics: transpose
            columns = table
        lines: list[str] = []
        names, *others = columns
        while others:  # many models: wrap
            shown = [names, others.pop(0)]
            while others and sum(map(_width, [*shown, others[0]])) <= WIDTH:
                shown.append(others.pop(0))
            padded = [[cell.ljust(_width(column)) for cell in column] for column in shown]
            lines += ["".join(cells).rstrip() for cells in zip(*padded, strict=True)]
        return lines


def _width(column: Sequence[str]) -> int:
    """Return the width of a column of the printed table, including space."""
    return max(map(len, column)) + 2
