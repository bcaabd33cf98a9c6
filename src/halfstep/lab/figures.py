"""The lab's plots, as PNG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import halfstep as hs
from halfstep.drawing import OURS, THEIRS, THIRD, Figure, as_png
from halfstep.lab import experiments
from halfstep.lab.corrected import weight_formula
from halfstep.lab.experiments import Popularity
from halfstep.lab.online import PLACES, Online
from halfstep.lab.results import Findings, Method
from halfstep.lab.sampled import SHARES, Sampled
from halfstep.lab.scoring import LEVEL

FEW_EVENTS = 200  # of which a share says nothing yet


def draw_all(findings: Findings) -> dict[str, bytes]:
    """Draw every plot; the names are those of the files, without their ending."""
    als = next(row.model for row in findings.stars if row.key == "biased_als")
    wals = next(row.model for row in findings.stars if row.key == "biased_wals")
    assert isinstance(als, hs.ALS)
    assert isinstance(wals, hs.ALS)
    assert isinstance(wals.objective, hs.Explicit)
    chosen = wals.objective.weight
    assert isinstance(chosen, hs.weights.linear_popularity | hs.weights.power_popularity)
    return {
        "convergence": as_png(4.0, lambda figure: draw_convergence(figure, findings.convergence)),
        "objective": as_png(4.0, lambda figure: draw_objective(figure, als)),
        "methods": as_png(5.3, lambda figure: draw_methods(figure, findings.methods, len(findings.split.known))),
        "tuning": findings.tuned.tuning.png(),
        "calibration": as_png(4.4, lambda figure: draw_calibration(figure, findings.sampled)),
        "traces": as_png(4.9, lambda figure: draw_traces(figure, findings.sampled)),
        "online": as_png(4.4, lambda figure: draw_online(figure, findings.online)),
        "weights": as_png(4.9, lambda figure: draw_weights(figure, findings.split.train.item_counts, chosen)),
    }


def draw_convergence(figure: Figure, errors: Sequence[float]) -> None:
    """Experiment A: the Frobenius error against the iteration."""
    axes = figure.subplots()
    last = len(errors) - 1
    axes.plot(range(last + 1), errors, color=OURS)
    axes.set_xscale("symlog", linthresh=1.0, linscale=0.6)
    axes.set_yscale("log")
    _plain_ticks(axes.xaxis, [0, 1, 2, 5, 10, 20, 50, 100])
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
    axes.set_title("Nearly all is won in the first iteration (A: plain ALS, 50 × 30)")


def draw_objective(figure: Figure, model: hs.ALS) -> None:
    """The terms of the objective after each iteration of the chosen biased ALS, stacked."""
    axes = figure.subplots()
    steps = [line.iteration for line in model.history_]
    layers = (
        ("regularisation", [line.regularization for line in model.history_], THIRD),
        ("observed ratings", [line.observed for line in model.history_], OURS),
        ("missing cells", [line.missing for line in model.history_], THEIRS),
    )
    floor = np.zeros(len(steps))
    for name, values, colour in layers:
        top = floor + values
        if not np.any(values):
            text = f"{name}: 0, as they have no weight"
            place = (steps[-1], top[-1])
        else:
            axes.fill_between(steps, floor, top, color=colour, linewidth=0)
            text = f"{name}: {values[-1]:,.0f}"
            place = (steps[-1], (floor[-1] + top[-1]) / 2)
        above = 0 if np.any(values) else 9
        axes.annotate(text, place, (10, above), textcoords="offset points", va="center", annotation_clip=False)
        floor = top
    axes.set_xlim(steps[0], steps[-1])
    axes.set_ylim(0, None)
    axes.set_xticks(steps)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.grid(axis="y")
    axes.set_axisbelow(False)
    axes.set_xlabel("iteration")
    axes.set_title("The objective of biased ALS only ever falls, and is soon done")


def draw_methods(figure: Figure, methods: Sequence[Method], n_pairs: int) -> None:
    """Test RMSE of all methods on the same pairs, with bootstrap intervals; best on top."""
    axes = figure.subplots()
    ordered = sorted(methods, key=lambda method: -method.known.value)
    right = 1.32  # D lies far beyond: an axis that reached there would show nothing else
    for place, method in enumerate(ordered):
        colour = OURS if method.ours else THEIRS
        score = method.known
        if score.value > right:
            axes.annotate(
                "", (right, place), (right - 0.035, place),
                arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 2.0},
            )  # fmt: skip
            axes.text(right - 0.04, place, f"{score.value:.3f}, off the scale", ha="right", va="center", color=colour)
            continue
        axes.plot([score.low, score.high], [place, place], color=colour, alpha=0.35, linewidth=5)
        axes.plot(score.value, place, "o", color=colour, markersize=7.5)
        axes.text(score.high + 0.006, place, f"{score.value:.4f}", va="center", color=colour, weight="bold")
    axes.set_yticks(range(len(ordered)), [method.name for method in ordered])
    for text, method in zip(axes.get_yticklabels(), ordered, strict=True):
        text.set_color(OURS if method.ours else THEIRS)
    axes.set_xlim(0.86, right)
    axes.set_ylim(-0.6, len(ordered) - 0.4)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    axes.set_xlabel(
        f"RMSE in stars on the same {n_pairs:,} test pairs; bars: {100 * LEVEL:g} % when users are drawn anew"
    )
    axes.set_title("RMSE of all methods on the same pairs")
    top = len(ordered) - 1
    for place, (who, colour) in enumerate((("the corrected rows", OURS), ("the write-up's methods", THEIRS))):
        axes.text(right, top - 0.75 * place, who, color=colour, ha="right", va="center", weight="bold")


def draw_calibration(figure: Figure, sampled: Sampled) -> None:
    """The share of ratings that intervals hold, against the share that they are to hold."""
    axes = figure.subplots()
    asked = [100 * share for share in SHARES]
    axes.plot(asked, asked, color=THIRD, linestyle="--")
    axes.annotate("as it should be", (asked[-1], asked[-1]), (10, -3), textcoords="offset points", color=THIRD)
    middle = len(asked) // 2
    sides = ((THEIRS, (12, -14), "left"), (OURS, (-12, 10), "right"))
    for (how, held), (colour, shift, align) in zip(sampled.coverage.items(), sides, strict=True):
        shares = [100 * share for share in held]
        axes.plot(asked, shares, "o-", color=colour, markersize=6)
        axes.annotate(
            f"held out {how}", (asked[middle], shares[middle]), shift, textcoords="offset points",
            color=colour, ha=align,
        )  # fmt: skip
    axes.set_xticks(asked)
    axes.grid()
    axes.set_xlabel("% of ratings that intervals are to hold")
    axes.set_ylabel("% that they held")
    axes.set_title("Intervals hold about what they promise")


def draw_traces(figure: Figure, sampled: Sampled) -> None:
    """What the sweeps drew: the noise, and how widely biases and factors are spread."""
    sweeps = [sweep.iteration for sweep in sampled.history]
    traces = {
        "σ of the noise": [sweep.noise**-0.5 for sweep in sampled.history],
        "σ of users' biases": [sweep.user_bias_spread for sweep in sampled.history],
        "σ of items' biases": [sweep.item_bias_spread for sweep in sampled.history],
    }
    all_axes = figure.subplots(len(traces), 1, sharex=True)
    for axes, (name, drawn) in zip(all_axes, traces.items(), strict=True):
        axes.plot(sweeps, drawn, color=OURS, linewidth=1.2)
        axes.set_ylabel(name)
        axes.grid(axis="y")
    all_axes[0].set_title("Biases settle within ten sweeps, the noise takes longer")
    all_axes[-1].set_xlabel("sweep")


def draw_online(figure: Figure, online: Online) -> None:
    """The share of hits among the events so far, along the stream."""
    axes = figure.subplots()
    lines = [("popularity", online.popularity, THIRD, "-")]
    for row, style in zip(online.rows, ("--", "-"), strict=True):
        lines += [(f"{row.name}, as fitted", row.frozen, THEIRS, style)]
        lines += [(f"{row.name}, learning", row.learning, OURS, style)]
    ends = []
    for name, evaluation, colour, style in lines:
        hits = evaluation.per_event("hit_rate")
        so_far = np.cumsum(hits) / np.arange(1, len(hits) + 1)
        axes.plot(np.arange(1, len(hits) + 1)[FEW_EVENTS:], so_far[FEW_EVENTS:], color=colour, linestyle=style)
        ends.append((so_far[-1], name, colour, len(hits)))
    height = -np.inf
    for end, name, colour, n in sorted(ends):  # labels of lines that end close to each other stand apart
        height = max(end, height + 0.032)
        axes.annotate(
            f"{name}: {end:.3f}", (n, height), (10, 0), textcoords="offset points",
            color=colour, va="center", annotation_clip=False,
        )  # fmt: skip
    axes.set_xlim(0, ends[0][3])
    axes.set_ylim(0, 0.8)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.grid(axis="y")
    axes.set_xlabel("events of the stream, in the order of time")
    axes.set_ylabel(f"hits among {PLACES}, so far")
    axes.set_title("A model that learns on keeps up with users that it had never seen")


def draw_weights(figure: Figure, item_counts: NDArray[np.int64], chosen: Popularity) -> None:
    """The weight of a rating against its item's popularity, above how popular the items are."""
    linear = hs.weights.linear_popularity(experiments.W0, experiments.WK)
    power = hs.weights.power_popularity(experiments.POWER_W0, experiments.POWER_E)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3.2, 1])
    popularity = np.unique(np.geomspace(1, item_counts.max(), 300).round().astype(np.int64))
    lines = (
        (f"write-up, linear: {weight_formula(linear)}", linear, THEIRS, "-"),
        (f"write-up, power: {weight_formula(power)}", power, THEIRS, "--"),
        (f"chosen: {weight_formula(chosen)}", chosen, OURS, "-"),
    )
    for name, weight, colour, style in lines:
        values = weight.of_items(popularity)
        upper.plot(popularity, values, color=colour, linestyle=style)
        upper.annotate(
            name, (popularity[-1], values[-1]), (8, 0), textcoords="offset points",
            color=colour, va="center", annotation_clip=False,
        )  # fmt: skip
    upper.set_xscale("log")
    upper.set_yscale("log")
    _plain_ticks(upper.yaxis, [0.1, 0.2, 0.5, 1, 2, 5])
    upper.grid(axis="y")
    upper.set_ylabel("weight of a rating")
    upper.set_title("What a rating weighs, by its film's popularity")
    edges = 2.0 ** np.arange(11) - 0.5  # 1, 2 to 3, 4 to 7, 8 to 15, ...
    lower.hist(item_counts[item_counts > 0], bins=edges.tolist(), color=THIRD, edgecolor="white", linewidth=0.6)
    lower.set_ylabel("films")
    _plain_ticks(lower.xaxis, [1, 2, 5, 10, 20, 50, 100, 200, 400])
    lower.set_xlim(0.7, item_counts.max() * 1.04)
    lower.set_xlabel("c, how many ratings a film has in training")


def _plain_ticks(axis: Any, places: Sequence[float]) -> None:
    """Ticks at these places, written as plain numbers, whatever the scale."""
    axis.set_ticks(places, [f"{place:g}" for place in places])
    axis.set_ticks([], minor=True)
