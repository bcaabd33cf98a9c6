from __future__ import annotations

import subprocess
import sys

import pytest

import halfstep as hs
from halfstep import cli


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["halfstep", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def test_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"{hs.__version__}\n"


def test_help_names_the_commands(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "-h") == run(monkeypatch, "--help") == 0
    shown = capsys.readouterr().out
    assert "recommend" in shown
    assert "data" in shown


def test_data_set_is_described(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "data") == 0
    assert "100,000 interactions, 943 users, 1,682 items" in capsys.readouterr().out


def test_unknown_data_set_is_an_error_of_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "data", "movielens-1b") == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "halfstep: unknown data set 'movielens-1b': choose movielens-100k\n"


def test_unknown_option_is_an_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "fit", "--folder", "x") == 2
    assert "--folder" in capsys.readouterr().err


@pytest.mark.slow
def test_library_does_not_import_packages_of_the_command_line() -> None:
    code = (
        "import sys, halfstep as hs; hs.ALS, hs.datasets, hs.metrics;"
        "print(sorted({'typer', 'rich', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
