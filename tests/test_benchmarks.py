"""Benchmarks write pages from measurements, and tables between marks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import cuda, on_disk
from benchmarks.marks import table, write_between
from benchmarks.peers import __main__ as program
from benchmarks.peers import pages
from benchmarks.peers.contenders import CONTENDERS, Contender, Watch
from benchmarks.peers.measurements import OURS, Fit, Machine, Measurements, Pair, Race, Teams
from benchmarks.peers.problems import Problem
from emulated_device import require_compiler
from thorough import only_thorough


def fit(name: str, iteration: float, reached: float | None, *, exact: bool = False) -> Fit:
    package = OURS if name.startswith(OURS) else "peer"
    return Fit(name, package, exact, 2, 10, iteration, reached, 0.5 if exact else None)


@pytest.fixture
def race() -> Race:
    fits = [
        fit("slow peer", 2.0, 20.0),
        fit("peer", 1.0, 12.0),
        fit("peer without the target", 0.1, None),
        fit("halfstep", 0.25, 3.0),
        fit("halfstep, other solver", 0.1, 1.0),
        fit("exact peer", 6.0, None, exact=True),
        fit("halfstep, exact", 1.5, None, exact=True),
    ]
    return Race("Some data", "9 pairs", 64, "objective", 1234.5, "that of peer", 100.0, fits)


@pytest.fixture
def found(race: Race) -> Measurements:
    machine = Machine(
        "a processor", 2, "Linux", ("blas 1 (narrow)",), {"halfstep": "0", "missing": None}, "2020-02-02"
    )
    pair = Pair("a task", 0.5, "peer", 2.0, "RMSE 0.9", "RMSE 1.0")
    return Measurements(machine, races=[race], ratings=[pair], notes=["cmfrec was not installed, and is excluded."])


def test_speedup_compares_the_default_with_the_fastest_peer_that_reaches_the_target(race: Race) -> None:
    assert pages.speedup(race, exact=False) == 4.0
    assert pages.speedup(race, exact=True) == 4.0


def test_speedup_is_none_if_the_target_is_not_reached(race: Race) -> None:
    race.fits[:] = [fit("peer", 1.0, None), fit("halfstep", 0.25, 3.0)]
    assert pages.speedup(race, exact=False) is None
    race.fits[:] = [fit("peer", 1.0, 3.0), fit("halfstep", 0.25, None)]
    assert pages.speedup(race, exact=False) is None
    assert pages.speedup(race, exact=True) is None


def test_report_contains_only_what_was_measured(found: Measurements) -> None:
    page = pages.report(found)
    for words in (
        "a processor, 2 cores",
        "2020-02-02",
        "Some data, rank 64",
        "1,234",
        "| 12.0 |",
        "50%",
        "RMSE 0.9",
    ):
        assert words in page
    assert "To the target objective: 4.00 times as fast" in page
    assert page.endswith("cmfrec was not installed, and is excluded.\n")
    for heading in ("## Memory", "## Threads", "## Start-up time", "## Recommendations"):
        assert heading not in page
    assert "missing" not in page.partition("## Implicit")[0]


@pytest.mark.parametrize(("same", "words"), [(True, "have the same results"), (False, "have DIFFERENT results")])
def test_report_tells_whether_results_depend_on_threads(found: Measurements, same: bool, words: str) -> None:
    found.teams = Teams("Some data", [], 1.0, 2.0, same)
    assert words in pages.report(found)


def test_summary_contains_speedups_and_the_machine(found: Measurements) -> None:
    summary = pages.summary(found)
    assert "| Some data, rank 64, to an equal objective | 4.0 | 4.0 |" in summary
    assert "| a task (peer) | 4.0 |" in summary
    assert "a processor, 2 cores, 2020-02-02" in summary


def test_tables_right_align_columns_of_numbers() -> None:
    assert table(["what", " seconds"], [["a", "1"]]).splitlines() == [
        "| what | seconds |",
        "| --- | ---: |",
        "| a | 1 |",
    ]


@pytest.mark.parametrize(
    ("arguments", "writes"),
    [([], True), (["--only", "starts"], False), (["--ranks", "64"], False), (["--data", "ml-1m"], False)],
)
def test_only_complete_runs_are_written(
    found: Measurements, monkeypatch: pytest.MonkeyPatch, arguments: list[str], writes: bool
) -> None:
    written: list[Measurements] = []
    monkeypatch.setattr("sys.argv", ["benchmarks.peers", *arguments])
    monkeypatch.setattr(program, "without_settings", lambda: None)
    monkeypatch.setattr(program, "measure", lambda *_: found)
    monkeypatch.setattr(program, "write", written.append)
    program.main()
    assert written == [found] * writes


@pytest.mark.parametrize(
    "contender", [each for each in CONTENDERS if each.package == OURS], ids=lambda each: each.name
)
def test_each_solver_decreases_the_objective_of_the_comparison(contender: Contender) -> None:
    rng = np.random.default_rng(0)
    users, items = np.nonzero(rng.random((60, 50)) < 0.2)
    problem = Problem(users, items, (60, 50))
    watch = Watch(score=problem.objective)
    contender.fit(problem, 40, 3, watch)
    assert len(watch.scores) == 3
    assert problem.objective(*problem.start(40)) > watch.scores[0] > watch.scores[2]


class TestMarks:
    def test_only_text_between_marks_is_replaced(self, tmp_path: Path) -> None:
        page = tmp_path / "page.md"
        page.write_text("before\n<!-- x: begin -->\nold\n<!-- x: end -->\nafter\n", encoding="utf-8")
        for _ in range(2):
            write_between(page, "x", "new")
        assert page.read_text() == "before\n<!-- x: begin -->\n\nnew\n\n<!-- x: end -->\nafter\n"

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "<!-- x: begin -->",
            "<!-- x: end --><!-- x: begin -->",
            "<!-- x: begin --><!-- x: end --><!-- x: begin --><!-- x: end -->",
        ],
    )
    def test_a_document_without_marks_is_unchanged(self, tmp_path: Path, text: str) -> None:
        page = tmp_path / "page.md"
        page.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match="must have the marks"):
            write_between(page, "x", "new")
        assert page.read_text() == text


@pytest.mark.parametrize("values", [False, True])
def test_interactions_on_disk(tmp_path: Path, values: bool) -> None:
    on_disk.generate(tmp_path / "parquet", 2000, 100, 80, values=values)
    built = on_disk.build(tmp_path / "parquet", tmp_path / "folder")
    assert built["data"].startswith("Interactions(2,000 interactions, 100 users")
    fits = [on_disk.fit(tmp_path / "parquet", folder, 4, 2) for folder in (tmp_path / "folder", None)]
    assert fits[0]["factors"] == fits[1]["factors"]


@only_thorough
@pytest.mark.slow
def test_cuda_prints_a_table_in_which_all_targets_are_met(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    require_compiler()
    monkeypatch.setattr(cuda, "LIMIT", 3600.0)  # a busy machine takes longer
    monkeypatch.setattr(cuda, "REPEATS", 1)
    assert cuda.main(["--emulated"]) == 0
    lines = capsys.readouterr().out.partition("| what |")[2].splitlines()[2:]
    assert len(lines) == 13
    assert sum(line.endswith("| yes |") for line in lines) == 8
    assert not any("Error" in line for line in lines)


def test_cuda_reports_errors_and_missed_targets_and_stops_in_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = cuda.Report()
    with report.section("fails"):
        raise ValueError("a reason")
    report.add_time("slow", 3.25, 2.0, "1 + 2.25")
    report.add_time("fast", 1.0, 2.0)
    monkeypatch.setattr(cuda, "LIMIT", 0.0)
    with report.section("late") as is_time:
        assert not is_time
    assert report.lines == [
        ("fails", "ValueError: a reason", "no error", "NO"),
        ("slow", "3.2 ms = 1 + 2.25", "≤ 2 ms", "NO"),
        ("fast", "1.0 ms", "≤ 2 ms", "yes"),
        ("late", "not run, out of time", "", ""),
    ]
