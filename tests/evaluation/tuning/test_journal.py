"""Journals of searches: an interrupted search is resumed with the same result."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

import halfstep as hs
from halfstep.errors import JournalError
from halfstep.evaluation.tuning.journal import open_journal
from thorough import THOROUGH

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::halfstep.errors.PoorFitWarning")]

HEADER = 2  # lines before the first trial

PROGRAM = """
import sys, time
import numpy as np
import halfstep as hs
from optuna.storages.journal import JournalFileBackend

append = JournalFileBackend.append_logs
def slowly(self, logs):
    append(self, logs)
    time.sleep(0.3)
JournalFileBackend.append_logs = slowly
how, journal, *folders = sys.argv[1:]
sys.path[:0] = folders
from test_journal import search
search(how, journal)
"""


def ratings() -> hs.Interactions:
    data = hs.datasets.movielens_100k()
    return data.subset(np.argsort(data.timestamps, kind="stable")[:20_000])


def search(how: Any, journal: Path | str | None, **options: Any) -> hs.Tuning:
    """A search of ten trials, some with warm starts, and some pruned."""
    model = hs.ALS(hs.Explicit(biases=True), rank=4, iterations=10)
    space: dict[str, Any] = {"regularization": [30.0, 10.0, 3.0, 1.0, 0.3], "rank": [2, 4]}
    if how == "doubling":
        space["regularization"] = hs.LogUniform(0.3, 30.0)
    if how == "tpe":
        space["regularization.bias_ratio"] = hs.LogUniform(0.3, 3.0)
    given = {"search": how, "n_trials": 10, "journal": journal} | options
    return hs.tune(model, given.pop("data", None) or ratings(), given.pop("space", space), **given)


def outcome(found: hs.Tuning) -> list[Any]:
    return [(t.number, t.point, t.state, t.values, t.started_from, t.n_fits) for t in found]


@pytest.mark.parametrize("how", ["grid", "random", "tpe", "doubling"] if THOROUGH else ["grid", "tpe"])
def test_a_killed_search_is_resumed_with_the_same_result(how: str, tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    folders = [str(Path(__file__).parent), str(Path(__file__).parents[2])]
    child = subprocess.Popen([sys.executable, "-c", PROGRAM, how, str(journal), *folders])
    try:
        deadline = time.monotonic() + 120
        while not journal.exists() or journal.read_bytes().count(b"\n") < HEADER + 4:
            assert child.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    n_kept = journal.read_bytes().count(b"\n") - HEADER
    assert 4 <= n_kept < 10
    with journal.open("ab") as file:
        file.write(b'{"op_code":4,"worker_id":"b5c')  # as if killed while writing
    resumed, whole = search(how, journal), search(how, None)
    assert outcome(resumed) == outcome(whole)
    assert resumed.best.number == whole.best.number
    np.testing.assert_array_equal(resumed.model.item_factors_, whole.model.item_factors_)
    assert len(journal.read_text().splitlines()) == HEADER + 10
    if how == "grid":
        assert any(trial.started_from is not None for trial in whole.trials[n_kept:])


def test_a_finished_journal_is_not_searched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = search("grid", tmp_path / "j", refit=False)
    before = (tmp_path / "j").read_bytes()
    monkeypatch.setattr(hs.ALS, "fit", None)
    assert outcome(search("grid", tmp_path / "j", refit=False)) == outcome(first)
    assert (tmp_path / "j").read_bytes() == before


def test_more_trials_extend_a_search(tmp_path: Path) -> None:
    search("random", tmp_path / "j", n_trials=3)
    assert outcome(search("random", tmp_path / "j", n_trials=6)) == outcome(search("random", None, n_trials=6))
    assert len(search("random", tmp_path / "j", n_trials=2)) == 2


def test_a_doubling_search_cannot_be_extended(tmp_path: Path) -> None:
    search("doubling", tmp_path / "j", n_trials=6, refit=False)
    with pytest.raises(JournalError, match="with n_trials=6 instead of 8: continue"):
        search("doubling", tmp_path / "j", n_trials=8)


def test_the_seed_of_the_journal_is_the_default(tmp_path: Path) -> None:
    first = search("random", tmp_path / "j", random_state=None, n_trials=3)
    assert outcome(search("random", tmp_path / "j", random_state=None, n_trials=3)) == outcome(first)


@pytest.mark.parametrize(
    ("what", "options"),
    [
        ("data", {"data": "shorter"}),
        ("estimator", {"estimator": hs.ALS(hs.Explicit(biases=False), rank=4)}),
        ("space", {"space": {"rank": [2, 5]}}),
        ("metric", {"metric": "mae"}),
        ("search", {"search": "random"}),
        ("seed", {"random_state": 1}),
        ("folds", {"split": 2}),
        ("prune", {"prune": False}),
        ("warm_starts", {"warm_starts": False}),
    ],
)
def test_a_journal_of_another_search_is_an_error(what: str, options: dict[str, Any], tmp_path: Path) -> None:
    data = ratings().subset(np.arange(5000))
    estimator, space = hs.ALS(hs.Explicit(biases=True), iterations=2), {"rank": [2, 3]}
    journal = tmp_path / "j"
    hs.tune(estimator, data, space, journal=journal, refit=False)
    before = journal.read_bytes()
    given: dict[str, Any] = {"estimator": estimator, "data": data, "space": space, "journal": journal} | options
    if given["data"] == "shorter":
        given["data"] = data.subset(np.arange(4999))
    with pytest.raises(JournalError, match=rf"j is the journal of another search, with {what}=.* instead of .*: "):
        hs.tune(**given)
    assert journal.read_bytes() == before


@pytest.mark.parametrize("content", [b"rank,rmse\n3,0.9\n", b"no line ends here", b"[1]\n", b'{"trial": 0}\n'])
def test_a_file_that_is_not_a_journal_is_unchanged(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(JournalError, match="is not a journal of a search, or was changed"):
        search("grid", path)
    assert path.read_bytes() == content


def test_a_changed_journal_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "j"
    search("grid", path, n_trials=3, refit=False)
    lines = path.read_text().splitlines(keepends=True)
    del lines[HEADER + 1]
    path.write_text("".join(lines))
    with pytest.raises(JournalError, match=r"trial 1 of the journal cannot be read \(its number is 2\)"):
        search("grid", path)


def test_a_journal_of_optuna_is_unchanged(tmp_path: Path) -> None:
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "j")))
    optuna.create_study(storage=storage, study_name="mine")
    before = (tmp_path / "j").read_bytes()
    with pytest.raises(JournalError, match="is not a journal of a search"):
        search("grid", tmp_path / "j")
    assert (tmp_path / "j").read_bytes() == before


def test_optuna_reads_a_journal(tmp_path: Path) -> None:
    found = search("random", tmp_path / "j", n_trials=3, refit=False)
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "j")))
    (study,) = optuna.get_all_study_names(storage)
    trials = optuna.load_study(study_name=study, storage=storage).trials
    assert [(trial.params, trial.value) for trial in trials] == [(trial.point, trial.value) for trial in found]


@pytest.mark.parametrize("n_bytes", [1, 30, 150, 400])
def test_a_truncated_header_is_rewritten(tmp_path: Path, n_bytes: int) -> None:
    path = tmp_path / "j"
    first = search("random", path, n_trials=2, refit=False)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:HEADER])[:n_bytes])
    assert outcome(search("random", path, n_trials=2, refit=False)) == outcome(first)
    assert path.read_bytes().count(b"\n") == HEADER + 2


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such locks")
def test_concurrent_searches_with_one_journal_are_an_error(tmp_path: Path) -> None:
    with (
        open_journal(tmp_path / "j", maximize=False),
        pytest.raises(JournalError, match="is in use by another search"),
    ):
        search("grid", tmp_path / "j")


def test_a_journal_in_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        search("grid", tmp_path / "nowhere" / "j")


@pytest.mark.parametrize("kind", ["folder", "pipe", "device"])
@pytest.mark.parametrize("random_state", [0, None])
def test_a_journal_must_be_a_regular_file(tmp_path: Path, kind: str, random_state: int | None) -> None:
    path = tmp_path / "journal"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path = Path(os.devnull)
    with pytest.raises(JournalError, match="is not a regular file: name another file"):
        search("grid", path, random_state=random_state)


def test_a_full_disk_is_an_error_that_names_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_room)
    with pytest.raises(JournalError, match=r"journal cannot be written \(No space left on device\): free disk space"):
        search("grid", tmp_path / "journal")


LINES: dict[str, Any] = {
    "nested too deeply": b'{"op_code":4,"study_id": ' + b"[" * 100_000,
    "nested too deeply, but whole": b'{"op_code":4,"study_id": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "a number beyond all": b'{"op_code":4,"study_id": ' + b"9" * 5000 + b"}",
    "no UTF-8": b'{"op_code":4,"study_id": "\xff"}',
    "state of nobody": {"state": 9},
    "no parameters": {"params": {}, "distributions": {}},
    "no attributes": {"user_attrs": {}},
}
ATTRIBUTES: dict[str, Any] = {
    "another number": {"number": 1},
    "no values": {"values": []},
    "values of texts": {"values": ["a"] * 3},
    "values that are NaN": {"values": [float("nan")] * 3},
    "a value beyond all": {"values": [10**400] * 3},
    "started from a later one": {"started_from": 7},
    "started from itself": {"started_from": 0},
    "started from a text": {"started_from": "0"},
    "something else": {"colour": "red"},
}


@pytest.mark.parametrize("name", [*LINES, *ATTRIBUTES])
def test_a_forged_line_is_a_journal_error(name: str, tmp_path: Path) -> None:
    path = tmp_path / "j"
    given: dict[str, Any] = {"data": ratings().subset(np.arange(2000)), "n_trials": 2, "refit": False}
    search("grid", path, **given)
    lines = path.read_bytes().splitlines()
    trial = json.loads(lines[HEADER])
    changed = LINES.get(name) or {"user_attrs": trial["user_attrs"] | ATTRIBUTES[name]}
    lines[HEADER] = changed if isinstance(changed, bytes) else json.dumps(trial | changed).encode()
    path.write_bytes(b"\n".join(lines) + b"\n")
    with pytest.raises(JournalError):
        search("grid", path, **given)


@pytest.mark.parametrize(
    "first", [b'{"op_code":0,"worker_id": ' + b"[" * 100_000 + b"\n", b'{"op_code":0,"seed": true}\n', b"[" * 10**5]
)
def test_a_forged_first_line_is_a_journal_error(first: bytes, tmp_path: Path) -> None:
    (tmp_path / "j").write_bytes(first)
    with pytest.raises(JournalError):
        search("random", tmp_path / "j", random_state=None, n_trials=1)
    assert (tmp_path / "j").read_bytes() == first
