"""The plot of a search."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from halfstep.drawing import MUTED, OURS, THEIRS, Figure, as_image, new_figure
from halfstep.tuning.space import Choices, Integers, LogUniform, Space
from halfstep.tuning.trial import Trial

COLUMNS, ROW_HEIGHT = 3, 2.6  # panels side by side, and inches for each row of them
SHARE_SHOWN = 0.75  # of the trials: the worst ones would leave no room for the others


def plot(space: Space, trials: Sequence[Trial], best: Trial, metric: str) -> Figure:
    """Draw the metric of the finished trials against each parameter; the best one is marked."""
    return new_figure(_height(space), lambda figure: draw(figure, space, trials, best, metric))


def image(space: Space, trials: Sequence[Trial], best: Trial, metric: str, kind: str) -> bytes:
    """Return the same plot as the content of a file."""
    return as_image(_height(space), lambda figure: draw(figure, space, trials, best, metric), kind)


def _height(space: Space) -> float:
    return ROW_HEIGHT * math.ceil(len(space.dimensions) / COLUMNS) + 0.5


def draw(figure: Figure, space: Space, trials: Sequence[Trial], best: Trial, metric: str) -> None:
    """The same, in a given figure."""
    finished = [trial for trial in trials if trial.state == "finished"]
    columns = min(COLUMNS, len(space.dimensions))
    rows = math.ceil(len(space.dimensions) / columns)
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes in panels.flat[len(space.dimensions) :]:
        axes.set_visible(False)
    for axes, (name, dimension) in zip(panels.flat, space.dimensions.items(), strict=False):
        axes.plot(*_points(finished, name), "o", color=OURS, alpha=0.55, markersize=5, markeredgewidth=0)
        axes.plot(*_points([best], name), "o", color=THEIRS, markersize=8)
        axes.grid(axis="y")
        axes.set_xlabel(name)
        if isinstance(dimension, LogUniform) or (isinstance(dimension, Integers) and dimension.log):
            axes.set_xscale("log")
            decades = range(math.floor(math.log10(dimension.low)), math.ceil(math.log10(dimension.high)) + 1)
            ticks = [k * 10.0**decade for decade in decades for k in ((1,) if len(decades) > 3 else (1, 3))]
            shown = [tick for tick in ticks if dimension.low <= tick <= dimension.high]
            axes.set_xticks(shown, [f"{tick:g}" for tick in shown])
            axes.set_xticks([], minor=True)
        if isinstance(dimension, Choices):
            labels = [_label(value) for value in dimension.values]
            long = max(map(len, labels)) > 8
            axes.set_xticks(range(len(labels)), labels, rotation=20 if long else 0, ha="right" if long else "center")
            axes.set_xlim(-0.5, len(labels) - 0.5)
    for row in panels:
        row[0].set_ylabel(f"{metric}, mean of folds")
    values = sorted((trial.value for trial in finished), key=lambda value: abs(value - best.value))
    far = values[max(int(SHARE_SHOWN * len(values)), 1) - 1] - best.value
    if far:
        panels[0, 0].set_ylim(*sorted((best.value - 0.12 * far, best.value + 1.05 * far)))
    given_up = len(trials) - len(finished)
    figure.suptitle(
        f"{len(finished)} trials, {given_up} more given up; marked: the best, {metric} {best.value:.4f}",
        x=0.01, ha="left", color=MUTED,
    )  # fmt: skip


def _points(trials: Sequence[Trial], name: str) -> tuple[list[float], list[float]]:
    return [trial.point[name] for trial in trials], [trial.value for trial in trials]


def _label(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 24 else f"{text[:23]}…"
