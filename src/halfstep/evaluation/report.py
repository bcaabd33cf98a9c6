"""The table of an evaluation: a row for each model and metric, with what is needed to compare and to resample."""

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
    """A figure with the interval that the bootstrap gives it; NaN where there is none."""

    model: str
    metric: str
    n: int | None
    value: float
    low: float
    high: float

    @property
    def label(self) -> str:
        """What the metric is called in a table, such as ndcg@10."""
        return Metric(self.metric, self.n).label

    def __str__(self) -> str:
        if np.isnan(self.value):
            return "–"
        return f"{self.value:.4f}" + ("" if np.isnan(self.low) else f" ({self.low:.4f} to {self.high:.4f})")


Figures = Mapping[tuple[str, Metric], Mean | float]


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Report:
    """Figures of models, with intervals.

    Attributes
    ----------
    rows : tuple of Row
        Model, metric, n, value, low and high.
    confidence : float
        How often an interval made like these holds the figure of the population that the users were drawn from.
    figures : mapping from model and metric to Mean or float
        What the rows were made of: each user's share in a mean, or a bare figure.
    resamples, seed : int
        How often users were drawn, and the seed of the draws.
    """

    rows: tuple[Row, ...]
    confidence: float
    figures: Figures
    resamples: int
    seed: int

    @staticmethod
    def rows_of(figures: Figures, confidence: float, resamples: int, seed: int) -> tuple[Row, ...]:
        """Find the intervals of all figures that are means over users, on the same resamples."""
        means = {key: figure for key, figure in figures.items() if isinstance(figure, Mean)}
        ends: dict[tuple[str, Metric], NDArray[np.float64]] = {}
        if means:
            found = intervals(resample(list(means.values()), resamples, seed), confidence)
            ends = dict(zip(means, found, strict=True))
        rows = []
        for (model, metric), figure in figures.items():
            low, high = ends.get((model, metric), np.full(2, np.nan)).tolist()
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
        """Look up a row; `metric` is a name such as "ndcg", or a label such as "ndcg@10".

        Raises
        ------
        ParameterError
            If there is no such row, or more than one because the metric was measured at several n.
        """
        if not isinstance(model, str) or model not in self.models:
            raise ParameterError(f"there is no model {model!r} here: there are {', '.join(self.models)}")
        asked = metric if isinstance(metric, str) else None
        found = [row for row in self.rows if row.model == model and asked in (row.label, row.metric)]
        if len(found) == 1:
            return found[0]
        labels = ", ".join(row.label for row in found or self.rows if row.model == model)
        fault = "was measured more than once" if found else "was not measured"
        raise ParameterError(f"{metric!r} {fault}: say one of {labels}")

    def _difference(self, a: str, row: Row, other: Self, b: str, other_row: Row) -> Row:
        """Take one figure from the other, on the same resamples; the users of both are the same."""
        one, two = (
            report.figures[each.model, Metric(each.metric, each.n)]
            for report, each in ((self, row), (other, other_row))
        )
        if not (isinstance(one, Mean) and isinstance(two, Mean)):
            raise DataError(f"{row.label} is no mean over users, so that there is nothing to resample: {a}, {b}")
        estimates = resample([one, two], self.resamples, self.seed)
        low, high = intervals(estimates[:, :1] - estimates[:, 1:], self.confidence)[0].tolist()
        return Row(f"{a} − {b}", row.metric, row.n, one.value - two.value, low, high)

    def _rows_as_dicts(self) -> list[dict[str, Any]]:
        """Rows for JSON, which knows no NaN."""
        return [
            {name: None if isinstance(entry, float) and np.isnan(entry) else entry for name, entry in row.items()}
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
        if sum(map(_width, columns)) > WIDTH:  # many metrics: one in a line, and the models side by side
            columns = table
        lines: list[str] = []
        names, *others = columns
        while others:  # many models as well: some of them below the others
            shown = [names, others.pop(0)]
            while others and sum(map(_width, [*shown, others[0]])) <= WIDTH:
                shown.append(others.pop(0))
            padded = [[cell.ljust(_width(column)) for cell in column] for column in shown]
            lines += ["".join(cells).rstrip() for cells in zip(*padded, strict=True)]
        return lines


def _width(column: Sequence[str]) -> int:
    """Return how wide a column of the printed table is, with the space to the next."""
    return max(map(len, column)) + 2
