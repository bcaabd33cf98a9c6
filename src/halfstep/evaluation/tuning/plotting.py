"""The plot of a search."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from halfstep._support.plot_style import (
    OURS,
    THEIRS,
    WIDTH,
    Figure,
    as_image,
    is_narrow,
    new_figure,
    put_legend,
    set_title,
)
from halfstep.evaluation.tuning.space import Choices, Integers, LogUniform, Space
from halfstep.evaluation.tuning.trial import Trial

COLUMNS, NARROW_COLUMNS, ROW_HEIGHT = 3, 2, 2.6  # panels side by side, and inches for each row of them
SHARE_SHOWN = 0.75  # minimum share of the trials inside the axes
FAR = 3.0  # trials beyond this multiple of the range of that share are clipped
MOST_TICKS = 5  # on a logarithmic axis


def plot(space: Space, trials: Sequence[Trial], best: Trial, metric: str) -> Figure:
    """Plot the metric of the finished trials against each parameter, and mark the best trial."""
    return new_figure(_height(space, COLUMNS), lambda figure: plot_in(figure, space, trials, best, metric))


def image(space: Space, trials: Sequence[Trial], best: Trial, metric: str, kind: str, width: float = WIDTH) -> bytes:
    """Return the same plot as the content of a file."""
    columns = COLUMNS if width >= WIDTH else NARROW_COLUMNS
    return as_image(_height(space, columns), lambda figure: plot_in(figure, space, trials, best, metric), kind, width)


def _height(space: Space, columns: int) -> float:
    return ROW_HEIGHT * math.ceil(len(space.dimensions) / columns) + 0.8


def plot_in(figure: Figure, space: Space, trials: Sequence[Trial], best: Trial, metric: str) -> None:
    """Plot in an existing figure."""
    finished = [trial for trial in trials if trial.state == "finished"]
    bounds = _bounds([trial.value for trial in finished], best.value)
    rows = _panels(figure, len(space.dimensions), NARROW_COLUMNS if is_narrow(figure) else COLUMNS)
    panels = [axes for row in rows for axes in row]
    shown = [trial for trial in finished if bounds is None or bounds[0] <= trial.value <= bounds[1]]
    clipped = [trial for trial in finished if trial not in shown]
    is_above = bool(clipped) and clipped[0].value > best.value
    for axes, (name, dimension) in zip(panels, space.dimensions.items(), strict=True):
        axes.plot(*_points(shown, name), "o", color=OURS, alpha=0.55, markersize=5, markeredgewidth=0, label="trial")
        axes.plot(*_points([best], name), "o", color=THEIRS, markersize=8, label=f"best, trial {best.number}")
        if clipped:
            axes.plot(
                [trial.point[name] for trial in clipped],
                [1.0 if is_above else 0.0] * len(clipped),
                "^" if is_above else "v",
                transform=axes.get_xaxis_transform(),
                clip_on=False,
                color=OURS,
                alpha=0.55,
                markersize=6,
                markeredgewidth=0,
                label=_clipped_in_words(len(clipped), is_above),
            )
        axes.grid(axis="y")
        axes.set_xlabel(name)
        _set_ticks(axes, dimension)
    for row in rows:
        row[0].set_ylabel(f"{metric}, mean of folds")
        for axes in row[1:]:
            axes.tick_params(labelleft=False)
    if bounds is not None:
        panels[0].set_ylim(*bounds)
    put_legend(figure, *panels[0].get_legend_handles_labels())
    unfinished = [(state, sum(trial.state == state for trial in trials)) for state in ("pruned", "failed")]
    counts = "".join(f", {count} {state}" for state, count in unfinished if count)
    trials_in_words = "1 trial" if len(trials) == 1 else f"{len(trials)} trials"
    set_title(figure, f"{metric} by parameter: {best.value:.4f} is the best of {trials_in_words}{counts}")


def _panels(figure: Figure, count: int, columns: int) -> list[list[Any]]:
    """Create panels in rows as wide as the figure, with a maximum number of columns."""
    n_rows = math.ceil(count / columns)
    sizes = [count // n_rows + (row < count % n_rows) for row in range(n_rows)]
    grid = figure.add_gridspec(n_rows, math.lcm(*sizes))
    first: Any = None
    rows: list[list[Any]] = []
    for row, size in enumerate(sizes):
        span = math.lcm(*sizes) // size
        rows.append([])
        for column in range(size):
            axes = figure.add_subplot(grid[row, column * span : (column + 1) * span], sharey=first)
            first = axes if first is None else first
            rows[-1].append(axes)
    return rows


def _bounds(values: Sequence[float], best: float) -> tuple[float, float] | None:
    """Return the ends of the axis: all trials are shown, unless some are far worse than most."""
    distances = sorted((value - best for value in values), key=abs)
    far = distances[math.ceil(SHARE_SHOWN * len(distances)) - 1]
    if abs(distances[-1]) <= FAR * abs(far):
        far = distances[-1]
    if not far:
        return None
    low, high = sorted((best - 0.12 * far, best + 1.05 * far))
    return low, high


def _clipped_in_words(count: int, is_above: bool) -> str:
    return f"{count} trial{'s' * (count > 1)} {'above' if is_above else 'below'} the axis"


def _set_ticks(axes: Any, dimension: Any) -> None:
    if isinstance(dimension, LogUniform) or (isinstance(dimension, Integers) and dimension.log):
        axes.set_xscale("log")
        decades = range(math.floor(math.log10(dimension.low)), math.ceil(math.log10(dimension.high)) + 1)
        step = math.ceil(len(decades) / MOST_TICKS)
        ticks = [k * 10.0**decade for decade in decades[::step] for k in ((1,) if len(decades) > 3 else (1, 3))]
        shown = [tick for tick in ticks if dimension.low <= tick <= dimension.high]
        axes.set_xticks(shown, [f"{tick:g}" for tick in shown])
        axes.set_xticks([], minor=True)
    if isinstance(dimension, Choices):
        labels = [_label(value) for value in dimension.values]
        long = max(map(len, labels)) > 8
        axes.set_xticks(range(len(labels)), labels, rotation=20 if long else 0, ha="right" if long else "center")
        axes.set_xlim(-0.5, len(labels) - 0.5)


def _points(trials: Sequence[Trial], name: str) -> tuple[list[float], list[float]]:
    return [trial.point[name] for trial in trials], [trial.value for trial in trials]


def _label(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 24 else f"{text[:23]}…"
