"""Exit codes, interruptions, signals, and output that cannot be written."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

import pytest

import halfstep as hs
from halfstep.evaluation.tuning.run import Run
from shell import Shell
from thorough import THOROUGH

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-c", "from halfstep.cli import main; main()"]
FULL = Path("/dev/full")


@pytest.fixture
def plays(tmp_path: Path) -> Path:
    path = tmp_path / "plays.csv"
    rows = "".join(f"u{k % 30},i{k * 7 % 40},{k % 5 + 1}\n" for k in range(600))
    path.write_text("user,item,plays\n" + rows)
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.halfstep"
    hs.Popularity().fit(hs.Interactions.from_arrays(list("aab"), list("xyz"))).save(path)
    return path


def interrupt_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Press Ctrl-C after the first iteration of each fit."""
    fit = hs.ALS.fit

    def fit_and_interrupt(self: hs.ALS, data: Any, **features: Any) -> hs.ALS:
        self.callbacks = [lambda _: signal.raise_signal(signal.SIGINT)]
        return fit(self, data, **features)

    monkeypatch.setattr(hs.ALS, "fit", fit_and_interrupt)


@pytest.fixture
def interrupted_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt_fits(monkeypatch)


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_messages_do_not_become_part_of_a_model_on_standard_output(
    shell: Shell, plays: Path, options: list[str]
) -> None:
    """With a model that is written to /dev/stdout."""
    pipe = plays.parent / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE) as reader:
        out, err = shell("fit", plays, "-o", pipe, "--iterations", 1, *options)
        content = reader.communicate()[0]
    assert out == ""
    assert ("fitted in" in err) == (not options)
    (plays.parent / "m").write_bytes(content)
    assert len(hs.load(plays.parent / "m").users_) == 30


@pytest.mark.usefixtures("interrupted_fits")
def test_an_interrupted_fit_does_not_replace_the_model(shell: Shell, plays: Path, model: Path) -> None:
    before = model.read_bytes()
    out, err = shell("fit", plays, "-o", model, fails=130)
    assert out == ""
    assert err.endswith("halfstep: interrupted\n")
    assert model.read_bytes() == before
    out, _ = shell("fit", plays, "-o", model, "--json", fails=130)
    assert out == ""
    assert model.read_bytes() == before


@pytest.mark.usefixtures("interrupted_fits")
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_an_interrupted_fit_is_saved_with_keep_interrupted(
    shell: Shell, plays: Path, model: Path, options: list[str]
) -> None:
    out, err = shell("fit", plays, "-o", model, "--keep-interrupted", *options, fails=130)
    if options:
        assert len(json.loads(out)["history"]) == 1
    assert "after 1 of 20 iterations" in err
    assert len(hs.load(model).history_) == 1


@pytest.mark.usefixtures("interrupted_fits")
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_an_interrupted_evaluation_reports_nothing(shell: Shell, plays: Path, options: list[str]) -> None:
    out, _ = shell("evaluate", plays, *options, fails=130)
    assert out == ""


@pytest.mark.parametrize("keep", [False, True])
def test_an_interrupted_search_saves_a_model_only_with_keep_interrupted(
    shell: Shell, plays: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: bool
) -> None:
    tried = Run._tried

    def interrupt_the_second(self: Run, number: int, point: Any) -> Any:
        if number == 1:
            raise KeyboardInterrupt
        return tried(self, number, point)

    monkeypatch.setattr(Run, "_tried", interrupt_the_second)
    options = ["--space", "rank=2,3,4", "--iterations", 2, "-o", tmp_path / "m", "--json"]
    out, err = shell("tune", plays, *options, *["--keep-interrupted"] * keep, fails=130)
    assert (tmp_path / "m").exists() == keep
    assert ("the best of 1 of 3 trials" in err) == keep
    assert bool(out) == keep


def test_a_search_whose_last_fit_is_interrupted_saves_nothing(
    shell: Shell, plays: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = tmp_path / "trials.jsonl"
    options = ["--space", "rank=2,3", "--iterations", 2, "--journal", journal]
    shell("tune", plays, *options, "-o", tmp_path / "first")
    interrupt_fits(monkeypatch)  # only the fit to all data, because the journal has all trials
    out, _ = shell("tune", plays, *options, "-o", tmp_path / "second", fails=130)
    assert out == ""
    assert not (tmp_path / "second").exists()


def start(*arguments: object, stdout: int | IO[Any] = subprocess.PIPE) -> subprocess.Popen[str]:
    return subprocess.Popen([*COMMAND, *map(str, arguments)], stdout=stdout, stderr=subprocess.PIPE, text=True)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_stops_a_fit_without_a_traceback(plays: Path, model: Path, name: str) -> None:
    before, files = model.read_bytes(), set(plays.parent.iterdir())
    number = getattr(signal, name)
    inherited = signal.signal(number, signal.SIG_DFL)  # nohup ignores one of them, also in child processes
    with start("fit", plays, "-o", model, "--iterations", 10**7) as process:
        signal.signal(number, inherited)
        assert process.stderr is not None
        while not process.stderr.readline().startswith("model: "):
            pass
        process.send_signal(number)
        err = process.stderr.read()
    assert process.returncode == 128 + number
    assert "Traceback" not in err
    assert model.read_bytes() == before
    assert set(plays.parent.iterdir()) == files


def test_an_interruption_during_imports_is_one_line() -> None:
    code = """
import signal, sys
class Interrupting:
    def find_spec(self, name, *_):
        if name == "rich.console":
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Interrupting())
from halfstep.cli import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code, "data"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "halfstep: interrupted\n")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signal")
def test_a_closed_pipe_is_not_an_error(tmp_path: Path) -> None:
    path = tmp_path / "model.halfstep"
    hs.Popularity().fit(hs.Interactions.from_arrays(["u"] * 5000 + ["v"], [*range(5000), 1])).save(path)
    with start("recommend", path, "v", "-n", 5000) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
    assert (process.returncode, err) == (141, "")


@pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full")
@pytest.mark.parametrize(
    ("n", "options"),  # it ends, or is still printing
    [(1, []), (3000, ["--json"]), *([(1, ["--json"]), (3000, [])] if THOROUGH else [])],
)
def test_output_that_cannot_be_written_is_an_error_of_one_line(tmp_path: Path, n: int, options: list[str]) -> None:
    path = tmp_path / "model.halfstep"
    hs.Popularity().fit(hs.Interactions.from_arrays(["u"] * 3000 + ["v"], [*range(3000), 1])).save(path)
    with FULL.open("w") as full, start("recommend", path, "v", "-n", n, *options, stdout=full) as process:
        assert process.stderr is not None
        err = process.stderr.read()
    assert process.returncode == 1
    assert err == "halfstep: standard output cannot be written (No space left on device)\n"


@pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("option", ["--version", "--help"])
def test_help_that_cannot_be_written_is_an_error_of_one_line(option: str) -> None:
    with FULL.open("w") as full, start(option, stdout=full) as process:
        assert process.stderr is not None
        err = process.stderr.read()
    assert process.returncode == 1
    assert err == "halfstep: standard output cannot be written (No space left on device)\n"


@pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full")
def test_notes_that_cannot_be_written_are_ignored(plays: Path, model: Path) -> None:
    arguments = [*COMMAND, "fit", str(plays), "-o", str(model), "--iterations", "1"]
    with FULL.open("w") as full:
        done = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=full, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.startswith("fitted in")
    assert isinstance(hs.load(model), hs.ALS)


@pytest.mark.skipif(os.name == "nt", reason="the shell of Windows cannot close a stream")
def test_closed_streams_are_distinguished(model: Path) -> None:
    def run(redirection: str) -> subprocess.CompletedProcess[str]:
        line = f'exec "$@" {redirection}'
        arguments = ["sh", "-c", line, "sh", *COMMAND, "recommend", str(model), "unknown", "--json"]
        return subprocess.run(arguments, capture_output=True, text=True, check=False)

    done = run(">&-")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "halfstep: standard output is closed: redirect it to a file or to /dev/null\n"
    done = run("2>&-")
    assert done.returncode == 0
    assert [row["user"] for row in json.loads(done.stdout)] == ["unknown"] * 3  # without notes


def test_out_of_memory_is_one_line(shell: Shell, plays: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(*_: Any) -> None:
        raise MemoryError("Unable to allocate 1 PiB")

    monkeypatch.setattr(hs.ALS, "fit", fit)
    _, err = shell("fit", plays, fails=1)
    assert err.endswith("halfstep: out of memory: Unable to allocate 1 PiB\n")


def test_help_lists_the_exit_codes(shell: Shell) -> None:
    out, _ = shell("--help")
    assert "130 interrupted" in " ".join(out.replace("│", " ").split())


def no_room(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("what", "options", "message"),
    [
        (
            "halfstep.models.storage.container.write_atomically",
            [],
            "model.halfstep was not written (No space left on device)",
        ),
        ("halfstep.cli.tune.write_atomically", [], "--plot p.png cannot be written (No space left on device)"),
        (
            "halfstep.evaluation.tuning.journal.os.fsync",
            ["--journal", "j"],
            "j cannot be written (No space left on device)",
        ),
    ],
)
def test_a_full_disk_is_an_error_that_names_the_file(
    shell: Shell, plays: Path, monkeypatch: pytest.MonkeyPatch, what: str, options: list[str], message: str
) -> None:
    monkeypatch.chdir(plays.parent)
    monkeypatch.setattr(what, no_room)
    space = ["--space", "rank=2,3", "--iterations", 1, "--plot", "p.png"]
    out, err = shell("tune", plays, *space, *options, fails=1)
    assert message in err.splitlines()[-1]
    assert out == ""
    assert not (plays.parent / "p.png").exists()
