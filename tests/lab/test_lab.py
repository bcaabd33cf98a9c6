"""The lab on MovieLens 100K, with one run of the command for all tests."""

from __future__ import annotations

import base64
import contextlib
import importlib
import io
import itertools
import json
import math
import multiprocessing
import re
import sys
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from matplotlib.legend import Legend
from matplotlib.text import Text

import halfstep as hs
from halfstep._support import plot_style
from halfstep.solver.threads import available_cores
from lab import Findings, corrected, data, experiments, figures, online, parallel, run_lab, sampled, scoring, tuned
from lab import __main__ as main
from lab.__main__ import print_summary
from lab.clock import Clock
from lab.printed import ADDRESS, EXPERIMENTS, PRINTED, TITLE, label
from lab.results import Figure, rounded
from lab.story import compared_in_words

pytestmark = pytest.mark.slow

PLOTS = ("calibration", "convergence", "methods", "objective", "online", "traces", "tuning", "weights")


@dataclass
class Run:
    folder: Path
    printed: str
    results: dict[str, Any]
    findings: Findings


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with fewer trials, seeds and events, which take most of the time."""
    folder = tmp_path_factory.mktemp("lab") / "new" / "report"
    printed = io.StringIO()
    kept: list[Findings] = []

    def keep(*args: Any, **kwargs: Any) -> Findings:
        kept.append(run_lab(*args, **kwargs))
        return kept[0]

    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setattr(tuned, "N_TRIALS", 15)
        patch.setattr(sampled, "SEEDS", range(1))
        patch.setattr(online, "TEST_FRACTION", 0.03)
        patch.setattr(main, "run_lab", keep)
        main.lab(folder)
    return Run(folder, printed.getvalue(), json.loads((folder / "results.json").read_text()), kept[0])


@pytest.fixture(scope="module")
def split() -> data.Split:
    return data.write_up_split(hs.datasets.movielens_100k())


@pytest.fixture(scope="module")
def findings(run: Run) -> Findings:
    return run.findings


@pytest.mark.parametrize("key", PRINTED)
def test_figures_agree_with_the_printed_ones(run: Run, key: str) -> None:
    entry = run.results[key]
    assert entry["printed"] == float(PRINTED[key])
    assert entry["agrees"], entry
    if key[0] in "IJ":
        assert len(entry["seeds"]) == 5
        assert abs(entry["ours"] - entry["printed"]) <= 3 * np.std(entry["seeds"], ddof=1)
    else:
        # half a unit of the last printed digit
        assert abs(entry["ours"] - entry["printed"]) <= 0.5001 * 10.0 ** -entry["decimals"]


def test_printed_figures_cover_all_experiments() -> None:
    assert {key[0] for key in PRINTED} == set(EXPERIMENTS) == set("ABCDEFGHIJ")
    assert len({(key[0], label(key)) for key in PRINTED}) == len(PRINTED) == 54


def test_biased_als_beats_the_baselines(run: Run) -> None:
    stars = run.results["corrected"]["rmse"]
    assert stars["biased_als"]["known"]["value"] <= 0.958
    assert stars["biased_als"]["known"]["value"] < stars["user_item_bias"]["known"]["value"] - 0.01
    assert stars["biased_wals"]["validation"] <= stars["biased_als"]["validation"]
    assert stars["biased_wals"]["known"]["value"] <= stars["biased_als"]["known"]["value"]


def test_biased_als_has_a_higher_sign_accuracy_than_biases(run: Run) -> None:
    signs = run.results["corrected"]["sign_accuracy"]
    assert signs["biased_als"]["known"]["value"] >= 0.705
    assert signs["biased_wals"]["validation"] >= signs["biased_als"]["validation"]
    assert signs["biased_als"]["known"]["value"] > signs["user_item_bias"]["known"]["value"]


@pytest.mark.parametrize("model", ["eals", "ials"])
def test_online_learning_improves_ranking(run: Run, model: str) -> None:
    figures = {
        how: {row["metric"]: row for row in run.results["online"][model][how]["rows"]}
        for how in ("frozen", "learning")
    }
    for metric in ("hit_rate", "ndcg"):
        frozen, learning = figures["frozen"][metric], figures["learning"][metric]
        assert learning["n"] == 100
        assert learning["low"] > frozen["high"]
    assert run.results["online"][model]["frozen"]["n_events"] == 3_000


def test_every_method_has_an_interval_on_both_test_sets(run: Run) -> None:
    tasks = run.results["corrected"].values()
    rows = [row for task in tasks for row in task.values()] + list(run.results["methods_rmse"].values())
    assert len(rows) == 8 + 14
    for row in rows:
        for side in ("test", "known"):
            assert row[side]["low"] < row[side]["value"] < row[side]["high"]
    assert run.results["pairs"] == {"train": 80_000, "test": 2_875, "known": 2_786}


def test_tuned_model_has_a_lower_rmse_than_the_write_up(run: Run) -> None:
    search = run.results["tuned"]
    assert search["known"]["value"] <= 0.955
    assert search["best"]["values"] == min(
        (t["values"] for t in search["trials"] if t["state"] == "finished"), key=np.mean
    )
    assert f"{search['known']['value']:.4f}" in (run.folder / "report.html").read_text()


def test_untuned_bayesian_models_are_accurate_and_calibrated(run: Run) -> None:
    found = run.results["sampled"]
    stars, signs = found["rmse"], found["sign_accuracy"]
    assert len(stars) == len(signs) == 3
    assert np.mean(stars["bayesian_als"]["seeds"]) <= 0.931
    assert np.mean(stars["bayesian_als_implicit_features"]["seeds"]) <= 0.921
    assert np.mean(signs["bayesian_als"]["seeds"]) >= 0.725
    assert max(np.mean(row["seeds"]) for row in signs.values()) >= 0.730
    held = dict(zip(found["coverage"]["shares"], found["coverage"]["at random"], strict=True))
    assert 0.88 <= held[0.9] <= 0.92


def test_times_of_sections_add_up(run: Run) -> None:
    seconds = run.results["seconds"]
    assert math.isclose(sum(seconds["fitting_by_section"].values()), seconds["fitting"], rel_tol=1e-9)
    assert 0 < seconds["fitting"] < seconds["total"] * seconds["processes"]
    letters = "A", "B, C", "D", "E", "F", "G", "H", "I", "J"
    others = "corrected, stars", "corrected, signs", "tuned", "sampled", "online"
    assert sorted(seconds["fitting_by_section"]) == sorted(letters + others)
    assert seconds["processes"] == available_cores()


def test_exactly_the_documented_files_are_written(run: Run) -> None:
    expected = {"report.html", "results.json", *(f"{name}.png" for name in PLOTS)}
    assert {path.name for path in run.folder.iterdir()} == expected
    for name in PLOTS:
        assert (run.folder / f"{name}.png").read_bytes().startswith(b"\x89PNG\r\n")


class Tags(HTMLParser):
    """Collect the sources, links and ids of a page, and check the nesting of its elements."""

    VOID = ("meta", "br", "img", "source")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.sources: dict[str, list[str]] = {"img": [], "source": []}
        self.links: list[str] = []
        self.ids: list[str] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "link", "iframe")
        for name, value in attrs:
            if name in ("src", "srcset"):
                self.sources[tag].append(value or "")
            elif name == "href":
                self.links.append(value or "")
            elif name == "id":
                self.ids.append(value or "")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_report_is_self_contained(run: Run) -> None:
    page = (run.folder / "report.html").read_text()
    tags = Tags(page)
    assert tags.open == []
    assert "url(" not in page
    assert "@import" not in page
    decoded = {
        tag: {base64.b64decode(source.removeprefix("data:image/png;base64,")) for source in sources}
        for tag, sources in tags.sources.items()
    }
    assert decoded["img"] == {(run.folder / f"{name}.png").read_bytes() for name in PLOTS}
    widths = {tag: {int.from_bytes(png[16:20]) for png in pngs} for tag, pngs in decoded.items()}  # of the PNG header
    assert widths == {
        "img": {round(plot_style.WIDTH * plot_style.DPI)},
        "source": {round(plot_style.NARROW * plot_style.DPI)},
    }
    assert len(decoded["source"]) == len(PLOTS)


def test_report_has_contents_and_names_the_write_up_first(run: Run) -> None:
    page = (run.folder / "report.html").read_text()
    tags = Tags(page)
    assert tags.links[0] == ADDRESS
    assert tags.links[1:-2] == [f"#{name}" for name in tags.ids]
    assert len(tags.ids) == len(set(tags.ids)) == page.count("<h2>") == 9
    assert page.index(TITLE) < page.index('class="tiles"')


def test_report_shows_figures_conclusions_and_mistakes(run: Run) -> None:
    page = (run.folder / "report.html").read_text()
    als = f"{run.results['corrected']['rmse']['biased_als']['known']['value']:.4f}"
    for text in (*PRINTED.values(), als, "WALS is slow.", "A metric dominated by cold-start items", "54 of 54"):
        assert text in page


def test_report_and_summary_show_the_best_untuned_model_and_the_tie(run: Run) -> None:
    sampled_rows = run.results["sampled"]["rmse"].values()
    best = min(sampled_rows, key=lambda row: row["known"]["value"])
    assert best["known"]["value"] < 0.9774 - 0.05
    value = f"{best['known']['value']:.4f}"
    page = (run.folder / "report.html").read_text()
    assert f"<b>{value}</b><span>RMSE of {best['name']}, without tuning" in page
    difference = run.results["als_minus_sgd"]["rmse"]
    rows = run.results["corrected"]["rmse"]
    assert difference["value"] == rows["biased_als"]["known"]["value"] - rows["sgd"]["known"]["value"]
    assert difference["low"] < 0 < difference["high"]
    assert "<b>A tie</b><span>between ALS and SGD" in page
    lines = run.printed.splitlines()
    assert len(lines) == 10
    assert lines[0] == f"{TITLE} ({ADDRESS}): 54 of 54 figures agree"
    untuned = next(line for line in lines if line.startswith(f"{best['name']}, not tuned"))
    assert untuned.split()[-2] == value
    assert any(line.startswith("ALS and SGD tie, with a difference of") for line in lines)
    assert "results.json" in lines[-1]
    assert "\x1b" not in run.printed  # not a terminal


def test_summary_lists_figures_that_differ(findings: Findings, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = [replace(figure, ours=9.0) if figure.key == "D.rmse_test" else figure for figure in findings.figures]
    print_summary(main.new_console(), replace(findings, figures=wrong))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("53 of 54 figures agree")
    assert lines[1] == "differs: D, RMSE, test: 3.122586 printed, 9.000000 ours"


def test_tie_requires_an_interval_with_zero() -> None:
    assert "tie" in compared_in_words(scoring.Estimate(0.1, -0.1, 0.3))
    assert compared_in_words(scoring.Estimate(-0.2, -0.3, -0.1)) == (
        "ALS and SGD differ, with a difference of −0.2000 [−0.3000, −0.1000]"
    )


@pytest.mark.parametrize("width", [plot_style.WIDTH, plot_style.NARROW])
def test_intervals_are_within_the_axes_of_the_plot_of_methods(findings: Findings, width: float) -> None:
    figure = plot_style.new_figure(
        5.0, lambda figure: figures.plot_methods(figure, findings.methods, len(findings.split.known)), width
    )
    [axes] = figure.axes
    low, high = axes.get_xlim()
    bars = [line.get_xdata() for line in axes.lines if len(line.get_xdata()) == 2]
    assert len(bars) == len(findings.methods) - 1  # D is off the scale
    assert all(low <= left < right <= high for left, right in bars)
    assert any("off the scale" in text.get_text() for text in axes.texts)


@pytest.mark.parametrize("width", [plot_style.WIDTH, plot_style.NARROW])
def test_texts_of_plots_neither_overlap_nor_leave_the_figure(findings: Findings, width: float) -> None:
    plots = {
        "online": lambda figure: figures.plot_online(figure, findings.online),
        "calibration": lambda figure: figures.plot_calibration(figure, findings.sampled),
        "convergence": lambda figure: figures.plot_convergence(figure, findings.convergence),
        "methods": lambda figure: figures.plot_methods(figure, findings.methods, 2_786),
    }
    for name, plot in plots.items():
        figure = plot_style.new_figure(7.0 if name == "methods" else 4.4, plot, width)
        figure.draw_without_rendering()
        axes = figure.axes[0]
        suptitle = figure._suptitle  # type: ignore[attr-defined]
        low, high = axes.get_ylim()
        ticks = [tick.label1 for tick in axes.yaxis.get_major_ticks() if low <= tick.get_loc() <= high]
        texts = [*axes.texts, *ticks, suptitle, axes.xaxis.label, *figure.findobj(Legend)]
        boxes = [text.get_window_extent() for text in texts if not isinstance(text, Text) or text.get_text()]
        for box in boxes:
            assert box.x0 >= 0, name
            assert box.x1 <= figure.bbox.x1, name
        for a, b in itertools.combinations(boxes, 2):
            assert not a.overlaps(b), name


@pytest.mark.parametrize(
    ("values", "spaced"),
    [
        ([0.0, 1.0, 2.0], [0.0, 1.0, 2.0]),
        ([0.0, 0.0], [-0.25, 0.25]),
        ([0.0, 0.1, 0.2, 3.0], [-0.4, 0.1, 0.6, 3.0]),
        ([], []),
    ],
)
def test_labels_are_separated_with_least_squared_changes(values: list[float], spaced: list[float]) -> None:
    assert figures.spaced(values, 0.5) == pytest.approx(spaced)


def test_outer_split_is_that_of_the_write_up(split: data.Split) -> None:
    assert (len(split.train), len(split.test), len(split.known)) == (80_000, 2_875, 2_786)
    users = [np.count_nonzero(side.user_counts) for side in (split.train, split.test, split.known)]
    assert users == [751, 107, 105]
    assert np.all(np.diff(split.train.timestamps) >= 0)
    rows = hs.datasets.movielens_100k()
    swapped = rows.subset([data.SWAPPED_INTO_TRAINING, data.SWAPPED_INTO_TEST])
    instant = swapped.timestamps[0]
    assert instant == swapped.timestamps[1] == split.train.timestamps[-1]
    trained = set(zip(split.train.user_positions, split.train.item_positions, strict=True))
    pairs = list(zip(swapped.user_positions, swapped.item_positions, strict=True))
    assert [pair in trained for pair in pairs] == [True, False]


def test_inner_split_is_within_the_training_set(split: data.Split) -> None:
    inner = data.inner_split(split.train)
    trained = set(zip(split.train.user_positions, split.train.item_positions, strict=True))
    seen = [set(zip(s.user_positions, s.item_positions, strict=True)) for s in (inner.train, inner.test)]
    assert len(inner.train) == 64_000
    assert seen[0] | seen[1] <= trained
    assert not seen[0] & seen[1]
    assert inner.train.timestamps.max() <= inner.test.timestamps.min()
    assert np.all(inner.train.user_counts[inner.test.user_positions] >= 10)
    assert np.all(inner.train.item_counts[inner.known.item_positions] >= 1)


def test_choice_does_not_use_the_test_set(split: data.Split) -> None:
    class WithoutTestSet(data.Split):
        @property
        def test(self) -> hs.Interactions:  # type: ignore[override]
            raise AssertionError("the test set was used")

        known = test

    without_test_set = object.__new__(WithoutTestSet)
    object.__setattr__(without_test_set, "train", split.train)
    selection = corrected.Selection(Clock(), without_test_set, data.inner_split(split.train), "rmse")
    candidates = corrected.bias_candidates()
    winner, score = selection.choose(candidates)
    by_hand = [scoring.rmse(c.make(0).fit(selection.inner.train), selection.inner.known) for c in candidates]
    assert score == min(by_hand)
    assert winner is candidates[int(np.argmin(by_hand))]
    with pytest.raises(AssertionError, match="was used"):
        selection.row("user_item_bias", "", candidates[:1])


def test_wals_candidates_include_the_best_als(split: data.Split) -> None:
    best = corrected.als_candidates((8,))[4]
    neutral = corrected.wals_candidates(best, split.train.item_counts)[0]
    a, b = (scoring.rmse(c.make(0).fit(split.train), split.known) for c in (best, neutral))
    assert a == b
    assert neutral.parameters["weight"] == "1"


def test_ratings_from_four_stars_are_positive() -> None:
    ratings = hs.Interactions.from_arrays([1, 1, 1, 2], [1, 2, 3, 1], [3.0, 4.0, 5.0, 1.0])
    assert data.signed(ratings).values.tolist() == [-1.0, 1.0, 1.0, -1.0]


def test_cold_start_items_dominate_the_metric_of_the_write_up(split: data.Split) -> None:
    unseen = split.train.item_counts[split.test.item_positions] == 0
    weights = experiments.write_up_weights(split.train, split.test, 0.1, 1.0)
    assert np.all(weights[unseen] > 9e7)
    assert weights[~unseen].max() <= 1.1


def test_users_are_resampled_for_intervals() -> None:
    # two users with errors 0 and 2: the RMSE of a resample is 0, √2 or 2
    pairs = hs.Interactions.from_arrays([1] * 5 + [2] * 5, list(range(5)) * 2, [3.0] * 5 + [5.0] * 5)
    model = hs.GlobalMean().fit(pairs.with_values([3.0] * 10))
    found = scoring.estimate(model, pairs, "rmse")
    assert found.value == pytest.approx(math.sqrt(2))
    assert (found.low, found.high) == (0.0, 2.0)
    assert scoring.estimate(model, pairs, "rmse") == found


def test_rounding_error_does_not_break_ties() -> None:
    class Nearly:
        def predict(self, users: Any, items: Any) -> Any:
            return np.full(len(users), -1e-16)

    liked = hs.Interactions.from_arrays([1, 2], [1, 1], [1.0, 1.0])
    assert scoring.sign_accuracy(Nearly(), liked) == 1.0


@pytest.mark.parametrize(
    ("printed", "ours", "agrees"),
    [
        ("0.677163", 0.6771625, True),
        ("2.276690", 2.2766899, True),
        ("2.276690", 2.2766911, False),
        ("1.1760", 1.17594, False),
        ("1.1760", 1.17604, True),
    ],
)
def test_figure_agrees_if_it_rounds_to_the_printed_digits(printed: str, ours: float, agrees: bool) -> None:
    assert Figure("X.y", printed, ours).agrees is agrees


def test_figure_with_seeds_agrees_within_three_deviations() -> None:
    seeds = (1.0, 2.0, 3.0)
    assert Figure("X.y", "4.9", 2.0, seeds).agrees
    assert not Figure("X.y", "5.1", 2.0, seeds).agrees
    assert Figure("X.y", "5.1", 2.0, seeds).shown_with_spread == "2.0 ± 1.0"


def test_rounded_keeps_trailing_zeros() -> None:
    assert rounded(0.5509, 6) == "0.550900"


def test_missing_matplotlib_error_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for module in ("halfstep._support.plot_style", "lab.figures"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    run_lab = importlib.import_module("lab").run_lab
    with pytest.raises(ModuleNotFoundError, match=re.escape("pip install 'halfstep[plot]'")):
        run_lab(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_lab_requires_timestamps() -> None:
    ratings = hs.Interactions.from_arrays([1, 2], [1, 1], [3.0, 4.0])
    with pytest.raises(hs.errors.DataError, match="timestamps"):
        data.write_up_split(ratings)


def test_an_interrupted_fit_ends_the_lab() -> None:
    """ALS keeps the model after Ctrl-C and warns, but the lab needs complete fits."""

    def interrupt(model: hs.ALS) -> None:
        raise KeyboardInterrupt

    model = hs.ALS(rank=2, iterations=5, random_state=0, callbacks=[interrupt])
    ratings = hs.Interactions.from_arrays(["a", "b"], ["x", "y"], [1.0, 2.0])
    with pytest.raises(KeyboardInterrupt):
        Clock().fit(model, ratings)


def test_random_methods_have_scores_for_all_seeds(run: Run) -> None:
    stars = run.results["corrected"]["rmse"]
    assert stars["user_item_bias"]["known_by_seed"] == []
    for key in ("biased_als", "biased_wals", "sgd"):
        scores = stars[key]["known_by_seed"]
        assert len(set(scores)) == len(corrected.SEEDS)
        assert scores[0] == stars[key]["known"]["value"]


CONVERGENCE = parallel.Part("A", experiments.plain_als, (data.legacy_synthetic(),))


@pytest.mark.parametrize("processes", [1, 2])
def test_parts_return_the_same_results_in_processes(processes: int) -> None:
    alone = experiments.plain_als(Clock(), data.legacy_synthetic())
    clock, lines = Clock(), []
    parts = {"first": CONVERGENCE, "second": CONVERGENCE}
    found = parallel.run_parts(parts, clock, processes, lines.append)
    assert found == {"first": alone, "second": alone}
    assert list(found) == ["first", "second"]
    assert clock.fits == 2
    assert list(clock.by_section) == ["A"]
    assert clock.by_section["A"] == clock.seconds > 0
    assert lines[0].startswith("0 of 2 parts")


def test_error_of_a_part_is_raised_and_no_process_is_left() -> None:
    parts = {"wrong": parallel.Part("A", experiments.plain_als, ("nonsense",)), "right": CONVERGENCE}
    with pytest.raises(AttributeError, match="ones"):
        parallel.run_parts(parts, Clock(), 2, lambda _line: None)
    assert multiprocessing.active_children() == []


def test_interrupt_leaves_no_process() -> None:
    def interrupt(line: str) -> None:
        if line.startswith("1 of"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        parallel.run_parts({str(n): CONVERGENCE for n in range(9)}, Clock(), 2, interrupt)
    assert multiprocessing.active_children() == []


def test_killed_process_is_an_error_with_a_possible_cause() -> None:
    def kill(line: str) -> None:
        if line.startswith("1 of"):
            for worker in multiprocessing.active_children():
                worker.kill()

    with pytest.raises(ChildProcessError, match="killed, perhaps because memory ran out"):
        parallel.run_parts({str(n): CONVERGENCE for n in range(99)}, Clock(), 2, kill)


def test_missing_package_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for module in ("halfstep._support.plot_style", "lab.figures"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(typer.Exit):
        main.lab(tmp_path / "out")
    assert capsys.readouterr().err == "lab: plots require Matplotlib: run pip install 'halfstep[plot]'\n"


def test_output_that_is_a_file_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("")
    with pytest.raises(typer.Exit):
        main.lab(taken)
    message = capsys.readouterr().err
    assert message.startswith(f"lab: the folder {taken} cannot be written (")
    assert message.endswith("name another by --output\n")
    assert message.count("\n") == 1
