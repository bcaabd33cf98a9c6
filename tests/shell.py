"""Run commands of the command line within the process."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from halfstep import cli


class Shell:
    """Run commands, and return their output."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, *arguments: object, fails: int = 0) -> tuple[str, str]:
        self._monkeypatch.setattr(sys, "argv", ["halfstep", *map(str, arguments)])
        self._capsys.readouterr()  # discard the output of fixtures
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = self._capsys.readouterr()
        assert (ended.value.code or 0) == fails, err
        return out, err


def fitted(*arguments: object, to: Path) -> Path:
    """Run ``halfstep fit`` with an output file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["halfstep", "fit", *map(str, arguments), "-o", str(to)])
        with pytest.raises(SystemExit):
            cli.main()
    return to
