"""The history of evaluations has complete lines even after a process was killed."""

from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import halfstep as hs
from halfstep.errors import DataError
from halfstep.evaluation import append_to_history, check_history, metrics_of

pytestmark = pytest.mark.slow

RECORD = {"time": "2026-01-01T06:00:00+00:00", "model": "m.halfstep", "metrics": {"ndcg@10": 0.25, "rmse": None}}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics.jsonl"


def lines(path: Path) -> list[Any]:
    assert path.read_bytes().endswith(b"\n")
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_lines_are_appended(path: Path) -> None:
    for number in range(3):
        check_history(path)
        append_to_history(path, {**RECORD, "model": f"ä{number}"})
    assert [line["model"] for line in lines(path)] == ["ä0", "ä1", "ä2"]
    assert lines(path)[0] == {**RECORD, "model": "ä0"}


@given(cut=st.integers(0, 300))
def test_incomplete_line_is_removed(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("history") / "metrics.jsonl"
    for _ in range(3):
        append_to_history(path, RECORD)
    whole = path.read_bytes()
    length = len(whole) // 3
    path.write_bytes(whole[: max(len(whole) - cut, 0)])
    left = max(len(whole) - cut, 0) // length + ((len(whole) - cut) % length == length - 1)  # but for the line end
    check_history(path)
    append_to_history(path, RECORD)
    assert lines(path) == [RECORD] * (left + 1)


def test_lines_are_synced(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(path.read_bytes()))
    append_to_history(path, RECORD)
    assert len(synced) == 2  # the file, and the folder with its name
    append_to_history(path, RECORD)
    assert [text.count(b"\n") for text in synced] == [1, 1, 2]


def append_many(path: Path, name: str) -> None:
    for number in range(40):
        append_to_history(path, {"time": number, "model": name * 3000})


def test_concurrent_processes(path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=append_many, args=(path, name)) for name in "ab"]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    for name in "ab":
        assert [line["time"] for line in lines(path) if line["model"] == name * 3000] == list(range(40))
    assert len(lines(path)) == 80


@pytest.mark.parametrize("content", ["user,item\n1,2\n", "{}\n", '{"journal": 1}\n', "\n", "x"])
def test_other_files_are_refused(path: Path, content: str) -> None:
    path.write_text(content)
    with pytest.raises(DataError, match=r"metrics.jsonl is not a history of evaluations, whose lines begin with"):
        check_history(path)


@pytest.mark.parametrize("content", ["", "{", '{"time"', '{"time": "2026'])
def test_empty_and_truncated_files_are_accepted(path: Path, content: str) -> None:
    path.write_text(content)
    check_history(path)
    append_to_history(path, RECORD)
    assert lines(path) == [RECORD]


def test_pipes_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for call in (lambda: check_history(tmp_path / "pipe"), lambda: append_to_history(tmp_path / "pipe", RECORD)):
        with pytest.raises(OSError, match="it is a named pipe, not a regular file"):
            call()


def test_metrics_of_a_model() -> None:
    data = hs.Interactions.from_arrays([1, 1, 2], ["x", "y", "y"], [1.0, 2.0, 3.0])
    report = hs.evaluate(hs.Popularity().fit(data), data, ["rmse", "recall"], exclude_seen=False, resamples=2)
    assert metrics_of(report, "Popularity") == {"rmse": None, "recall@10": 1.0}
    assert metrics_of(report, "GlobalMean") == {"rmse": report["GlobalMean", "rmse"], "recall@10": None}
