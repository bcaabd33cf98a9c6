"""A daily check: ``halfstep evaluate --model … --history … --fail-under …``."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import halfstep as hs
from shell import Shell


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models of ratings and of clicks, and later interactions, with a new user and a new item."""
    path = tmp_path_factory.mktemp("daily")
    train, test = hs.split_by_time(hs.datasets.movielens_100k(), 0.1)
    hs.ALS(hs.Explicit(), rank=2, iterations=2, random_state=0).fit(train).save(path / "ratings.halfstep")
    hs.ALS(hs.Implicit(), rank=4, iterations=2, random_state=0).fit(train).save(path / "clicks.halfstep")
    rows = zip(test.user_ids.tolist(), test.item_ids.tolist(), test.values.tolist(), strict=True)
    lines = [f"{user},{item},{value:g}" for user, item, value in rows]
    (path / "test.csv").write_text("\n".join(["user,item,value", *lines, "5000,50,3", "1,6000,4"]) + "\n")
    return path


@pytest.fixture
def check(shell: Shell, folder: Path, tmp_path: Path) -> Any:
    """Run the check of a model; return the output and the lines of the history."""

    def run(model: str, *options: object, fails: int = 0) -> tuple[str, str, list[Any]]:
        history = tmp_path / "metrics.jsonl"
        given = ["evaluate", folder / "test.csv", "--model", folder / model, "--history", history, *options]
        out, err = shell(*given, fails=fails)
        return out, err, [json.loads(line) for line in history.read_text().splitlines()]

    return run


def report_on(folder: Path, model: str, *metrics: str) -> hs.Evaluation:
    loaded = hs.load(folder / model)
    test = hs.read_interactions(folder / "test.csv", users=loaded.users_, items=loaded.items_)
    return hs.evaluate(loaded, test, metrics)


@pytest.mark.slow
def test_every_run_appends_a_line(check: Any, folder: Path) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    out, _, (line,) = check("clicks.halfstep", "--metrics", "ndcg@10,coverage@20", "--json")
    parsed = json.loads(out)
    assert before <= datetime.fromisoformat(line["time"]) <= before + timedelta(minutes=2)
    assert line["model"] == str(folder / "clicks.halfstep")
    assert line["data"] == str(folder / "test.csv")
    expected = report_on(folder, "clicks.halfstep", "ndcg@10", "coverage@20")
    assert line["metrics"] == {label: expected["ALS", label] for label in ("ndcg@10", "coverage@20")}
    assert line["baselines"]["Popularity"]["ndcg@10"] == expected["Popularity", "ndcg@10"]
    assert line["users"] == parsed["n_scored"] == expected.n_scored
    assert line["unknown_users"] == parsed["unknown_users"] == expected.unknown_users > 1 / len(expected.users)
    assert line["unknown_items"] == parsed["unknown_items"] == expected.unknown_items > 0
    assert len(check("clicks.halfstep")[2]) == 2


def test_report_has_cold_start_proportions_and_list_metrics(check: Any) -> None:
    out, _, (line,) = check("ratings.halfstep")
    assert f"Without training data: {100 * line['unknown_users']:.1f}% of the users" in out
    labels = ["rmse", "mae", "ndcg@10", "recall@10", "hit_rate@10", "coverage@10", "novelty@10"]
    assert list(line["metrics"]) == labels
    assert [row.split()[0] for row in out.splitlines() if row.split()[0] in labels] == labels * 2  # five models
    assert line["baselines"]["GlobalMean"]["ndcg@10"] is None


def test_a_metric_below_its_limit_fails(check: Any, folder: Path) -> None:
    value = report_on(folder, "clicks.halfstep", "ndcg@10")["ALS", "ndcg"]
    limits = ["--fail-under", f"ndcg@10={value!r}", "--fail-under", "recall@5=0.9", "--fail-under", "novelty=0"]
    _, err, (line,) = check("clicks.halfstep", *limits, fails=1)
    recall = line["metrics"]["recall@5"]  # measured because it has a limit
    assert err.splitlines()[-1] == f"halfstep: recall@5 of ALS is {recall:.6g}, below the 0.9 of --fail-under"
    limits[1] = f"ndcg@10={np.nextafter(value, 1)!r}".replace("np.float64(", "").replace(")", "")
    _, err, found = check("clicks.halfstep", *limits, fails=1)
    assert err.splitlines()[-1].startswith("halfstep: ndcg@10 of ALS is ")
    assert "of --fail-under; recall@5 of ALS is " in err
    assert len(found) == 2  # the line is also written
    check("clicks.halfstep", "--fail-under", f"ndcg={value!r}", "--fail-under", "recall@5=0")


def test_a_metric_above_its_limit_fails(check: Any) -> None:
    _, err, (line,) = check("ratings.halfstep", "--fail-above", "rmse=0.5", fails=1)
    rmse = line["metrics"]["rmse"]
    assert err.splitlines()[-1] == f"halfstep: rmse of ALS is {rmse:.6g}, above the 0.5 of --fail-above"
    check("ratings.halfstep", "--fail-above", f"rmse={rmse!r}", "--fail-above", "coverage@10=1")


def test_an_undefined_metric_with_a_limit_fails(check: Any) -> None:
    _, err, _ = check("clicks.halfstep", "--fail-above", "rmse=1", fails=1)
    message = "halfstep: rmse is not defined for ALS, so --fail-above cannot be checked"
    assert err.splitlines()[-1] == message


def test_history_without_a_model_has_the_parameters(shell: Shell, folder: Path, tmp_path: Path) -> None:
    history = tmp_path / "h.jsonl"
    shell("evaluate", folder / "test.csv", "--rank", 2, "--iterations", 1, "--history", history, "--split", "random")
    line = json.loads(history.read_text())
    assert line["model"] == "ALS(rank=2, iterations=1, random_state=0)"


def test_cutoff_is_allowed_if_a_limit_requires_it(check: Any) -> None:
    options = ["--metrics", "ndcg@3", "-n", 7]
    _, _, (line,) = check("clicks.halfstep", *options, "--fail-under", "recall=0")
    assert list(line["metrics"]) == ["ndcg@3", "recall@7"]
    _, err, _ = check("clicks.halfstep", *options, "--fail-under", "recall@3=0", fails=2)
    assert "--number has no effect: every metric of --metrics has its own cutoff" in err
