"""The lab's plots, as PNG."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import halfstep as hs
from halfstep._support.plot_style import (
    MUTED,
    NARROW,
    OURS,
    THEIRS,
    THIRD,
    WIDTH,
    Figure,
    as_image,
    is_narrow,
    put_legend,
    set_title,
)
from halfstep.evaluation.tuning.plotting import image
from lab import experiments
from lab.corrected import weight_formula
from lab.experiments import Popularity
from lab.online import CUTOFF, Online
from lab.results import Findings, Method
from lab.sampled import SHARES, Sampled
from lab.scoring import LEVEL

FEW_EVENTS = 200  # fewer are not plotted, because the hit rate is too noisy
HIGHEST_SHARE, LABEL_HEIGHT = 0.8, 0.045  # hit rates: the end of the axis, and the height of a text line


def plot_all(findings: Findings, *, narrow: bool = False) -> dict[str, bytes]:
    """Return all plots, for wide pages or for phones, by the name of the file without suffix."""
    als = next(row.model for row in findings.stars if row.key == "biased_als")
    wals = next(row.model for row in findings.stars if row.key == "biased_wals")
    assert isinstance(als, hs.ALS)
    assert isinstance(wals, hs.ALS)
    assert isinstance(wals.objective, hs.Explicit)
    chosen = wals.objective.weight
    assert isinstance(chosen, hs.weights.linear_popularity | hs.weights.power_popularity)
    width = NARROW if narrow else WIDTH
    plots: dict[str, tuple[float, Callable[[Figure], None]]] = {
        "convergence": (4.0, lambda figure: plot_convergence(figure, findings.convergence)),
        "objective": (4.0, lambda figure: plot_objective(figure, als)),
        "methods": (
            7.0 if narrow else 5.3,
            lambda figure: plot_methods(figure, findings.methods, len(findings.split.known)),
        ),
        "calibration": (4.4, lambda figure: plot_calibration(figure, findings.sampled)),
        "traces": (4.9, lambda figure: plot_traces(figure, findings.sampled)),
        "online": (4.4, lambda figure: plot_online(figure, findings.online)),
        "weights": (4.9, lambda figure: plot_weights(figure, findings.split.train.item_counts, chosen)),
    }
    tuning = findings.tuned.tuning
    return {
        **{name: as_image(height, plot, "png", width) for name, (height, plot) in plots.items()},
        "tuning": image(tuning.space, tuning.trials, tuning.best, tuning.metric, "png", width),
    }


def plot_convergence(figure: Figure, errors: Sequence[float]) -> None:
    """Experiment A: the Frobenius error against the iteration."""
    axes = figure.subplots()
    last = len(errors) - 1
    axes.plot(range(last + 1), errors, color=OURS)
    axes.set_xscale("symlog", linthresh=1.0, linscale=0.6)
    axes.set_yscale("log")
    _plain_ticks(axes.xaxis, [0, 1, 3, 10, 30, 100] if is_narrow(figure) else [0, 1, 2, 5, 10, 20, 50, 100])
    _plain_ticks(axes.yaxis, [5, 10, 20, 50, 100])
    axes.set_ylim(5, 160)
    axes.grid(axis="y")
    for when, shift, side in ((0, (9, 0), "left"), (1, (8, 8), "left"), (last, (0, 10), "right")):
        axes.plot(when, errors[when], "o", color=OURS, markersize=6)
        axes.annotate(
            f"{errors[when]:.4f}", (when, errors[when]), shift, textcoords="offset points", ha=side, weight="bold"
        )
    axes.set_xlabel("iteration")
    axes.set_ylabel("‖R − PQᵀ‖, Frobenius")
    set_title(figure, "A, plain ALS: nearly all of the decrease is in the first iteration")


def plot_objective(figure: Figure, model: hs.ALS) -> None:
    """The terms of the objective after each iteration of the chosen biased ALS, stacked."""
    axes = figure.subplots()
    steps = [line.iteration for line in model.history_]
    layers = (
        ("regularization", [line.regularization for line in model.history_], THIRD),
        ("observed ratings", [line.observed for line in model.history_], OURS),
        ("missing cells", [line.missing for line in model.history_], THEIRS),
    )
    floor = np.zeros(len(steps))
    for name, values, color in layers:
        top = floor + values
        if not np.any(values):
            text = f"{name}:\n0 (no weight)"
            place = (steps[-1], top[-1])
        else:
            axes.fill_between(steps, floor, top, color=color, linewidth=0)
            text = f"{name}:\n{values[-1]:,.0f}"
            place = (steps[-1], (floor[-1] + top[-1]) / 2)
        above = 0 if np.any(values) else 14
        axes.annotate(text, place, (10, above), textcoords="offset points", va="center", annotation_clip=False)
        floor = top
    axes.set_xlim(steps[0], steps[-1])
    axes.set_ylim(0, None)
    axes.set_xticks(steps)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.grid(axis="y")
    axes.set_axisbelow(False)
    axes.set_xlabel("iteration")
    set_title(figure, "The objective of biased ALS never increases and converges quickly")


def plot_methods(figure: Figure, methods: Sequence[Method], n_pairs: int) -> None:
    """Test RMSE of all methods on the same ratings, with bootstrap intervals, best at the top."""
    axes = figure.subplots()
    narrow = is_narrow(figure)
    ordered = sorted(methods, key=lambda method: -method.known.value)
    left = min(method.known.low for method in methods) - 0.01
    right = 1.38 if narrow else 1.32  # D is far beyond the axis
    for place, method in enumerate(ordered):
        color = OURS if method.ours else THEIRS
        score = method.known
        if score.value > right:
            axes.annotate(
                "",
                (right, place),
                (right - 0.035, place),
                arrowprops={"arrowstyle": "-|>", "color": color, "linewidth": 2.0},
            )
            axes.text(right - 0.05, place, f"{score.value:.3f}, off the scale", ha="right", va="center", color=color)
            continue
        axes.plot([score.low, score.high], [place, place], color=color, alpha=0.35, linewidth=5)
        axes.plot(score.value, place, "o", color=color, markersize=7.5)
        axes.text(score.high + 0.012, place, f"{score.value:.4f}", va="center", color=color, weight="bold")
    names = [method.name.replace(", ", ",\n").replace(" (", "\n(") if narrow else method.name for method in ordered]
    axes.set_yticks(range(len(ordered)), names)
    for text, method in zip(axes.get_yticklabels(), ordered, strict=True):
        text.set_color(OURS if method.ours else THEIRS)
    axes.set_xlim(left, right)
    axes.set_ylim(-0.6, len(ordered) - 0.4)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    bars = f"bars: {100 * LEVEL:g}% bootstrap intervals"
    axes.set_xlabel(bars if narrow else f"RMSE in stars; {bars} over users")
    set_title(figure, f"RMSE of all methods on the same {n_pairs:,} test ratings")
    lines = [axes.plot([], [], "o", color=color, markersize=7.5)[0] for color in (OURS, THEIRS)]
    put_legend(figure, lines, ["ours", "the write-up's"])


def plot_calibration(figure: Figure, sampled: Sampled) -> None:
    """Observed against nominal coverage of intervals."""
    axes = figure.subplots()
    asked = [100 * share for share in SHARES]
    axes.plot(asked, asked, color=THIRD, linestyle="--", label="ideal")
    for (how, held), color in zip(sampled.coverage.items(), (THEIRS, OURS), strict=True):
        axes.plot(asked, [100 * share for share in held], "o-", color=color, markersize=6, label=f"held out {how}")
    put_legend(figure, *axes.get_legend_handles_labels())
    axes.set_xticks(asked)
    axes.grid()
    axes.set_xlabel("nominal coverage, %")
    axes.set_ylabel("observed coverage, %")
    set_title(figure, "The coverage of intervals is close to nominal")


def plot_traces(figure: Figure, sampled: Sampled) -> None:
    """Standard deviations of the noise and of the biases in each sweep of the sampler."""
    sweeps = [sweep.iteration for sweep in sampled.history]
    traces = {
        "noise": [sweep.noise**-0.5 for sweep in sampled.history],
        "users' biases": [sweep.user_bias_spread for sweep in sampled.history],
        "items' biases": [sweep.item_bias_spread for sweep in sampled.history],
    }
    all_axes = figure.subplots(len(traces), 1, sharex=True)
    for axes, (name, trace) in zip(all_axes, traces.items(), strict=True):
        axes.plot(sweeps, trace, color=OURS, linewidth=1.2)
        axes.set_ylabel(name)
        axes.grid(axis="y")
    set_title(figure, "Standard deviations by sweep: biases converge within ten, the noise later")
    all_axes[-1].set_xlabel("sweep")


def plot_online(figure: Figure, online: Online) -> None:
    """Cumulative hit rate along the stream."""
    axes = figure.subplots()
    lines = [("popularity", online.popularity, THIRD, "-")]
    for row, style in zip(online.rows, ("--", "-"), strict=True):
        lines += [(f"{row.name}, as fitted", row.frozen, THEIRS, style)]
        lines += [(f"{row.name}, online", row.learning, OURS, style)]
    ends = []
    for name, evaluation, color, style in lines:
        hits = evaluation.per_event("hit_rate")
        so_far = np.cumsum(hits) / np.arange(1, len(hits) + 1)
        axes.plot(np.arange(1, len(hits) + 1)[FEW_EVENTS:], so_far[FEW_EVENTS:], color=color, linestyle=style)
        ends.append((so_far[-1], name, MUTED if color == THIRD else color))
    n = len(online.popularity.ranks)
    ends.sort()
    for (end, name, color), height in zip(ends, spaced([end for end, *_ in ends], LABEL_HEIGHT), strict=True):
        axes.annotate(
            f"{name}: {end:.3f}",
            (n, height),
            (8, 0),
            textcoords="offset points",
            color=color,
            va="center",
            annotation_clip=False,
        )
    axes.set_xlim(0, n)
    axes.set_ylim(0, HIGHEST_SHARE)
    axes.locator_params(axis="x", nbins=3 if is_narrow(figure) else 6)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.grid(axis="y")
    axes.set_xlabel("events of the stream, in the order of time")
    axes.set_ylabel(f"hit rate@{CUTOFF} so far")
    set_title(figure, "Online learning improves recommendations for new users")


def spaced(values: Sequence[float], gap: float) -> list[float]:
    """Separate ascending values by at least a gap, with the least sum of squared changes."""
    blocks: list[list[float]] = []  # values minus the gaps below them; blocks whose means cross are merged
    for place, value in enumerate(values):
        blocks.append([value - gap * place])
        while len(blocks) > 1 and np.mean(blocks[-2]) > np.mean(blocks[-1]):
            last = blocks.pop()
            blocks[-1] += last
    flat = [float(np.mean(block)) for block in blocks for _ in block]
    return [value + gap * place for place, value in enumerate(flat)]


def plot_weights(figure: Figure, item_counts: NDArray[np.int64], chosen: Popularity) -> None:
    """The weight of a rating by popularity, and the distribution of popularity."""
    linear = hs.weights.linear_popularity(experiments.W0, experiments.WK)
    power = hs.weights.power_popularity(experiments.POWER_W0, experiments.POWER_E)
    narrow = is_narrow(figure)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3.2, 1])
    popularity = np.unique(np.geomspace(1, item_counts.max(), 300).round().astype(np.int64))
    lines = (
        (f"write-up, linear: {weight_formula(linear)}", linear, THEIRS, "-"),
        (f"write-up, power: {weight_formula(power)}", power, THEIRS, "--"),
        (f"chosen: {weight_formula(chosen)}", chosen, OURS, "-"),
    )
    for name, weight, color, style in lines:
        upper.plot(popularity, weight.of_items(popularity), color=color, linestyle=style, label=name)
    handles, names = upper.get_legend_handles_labels()
    put_legend(figure, handles, names, columns=1 if narrow else 3)
    upper.set_xscale("log")
    upper.set_yscale("log")
    _plain_ticks(upper.yaxis, [0.1, 0.2, 0.5, 1, 2, 5])
    upper.grid(axis="y")
    upper.set_ylabel("weight of a rating")
    set_title(figure, "The weight of a rating by the popularity of its movie")
    edges = 2.0 ** np.arange(11) - 0.5  # 1, 2 to 3, 4 to 7, 8 to 15, ...
    lower.hist(item_counts[item_counts > 0], bins=edges.tolist(), color=THIRD, edgecolor="white", linewidth=0.6)
    lower.set_ylabel("movies")
    _plain_ticks(lower.xaxis, [1, 5, 20, 100, 400] if narrow else [1, 2, 5, 10, 20, 50, 100, 200, 400])
    lower.set_xlim(0.7, item_counts.max() * 1.04)
    lower.set_xlabel("c, the number of training ratings of the movie")


def _plain_ticks(axis: Any, places: Sequence[float]) -> None:
    """Set ticks with plain numbers, also on logarithmic axes."""
    axis.set_ticks(places, [f"{place:g}" for place in places])
    axis.set_ticks([], minor=True)
