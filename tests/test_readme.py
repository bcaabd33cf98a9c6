"""What the README shows runs, and prints what a reader would expect."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"


def test_the_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len([line for line in example.splitlines() if line.strip()]) <= 10
    exec(compile(example, str(README), "exec"), {})
    shown = capsys.readouterr().out
    found = re.search(r"RMSE on the last fifth of the ratings: (\d\.\d{3})", shown)
    assert found is not None
    assert float(found[1]) < 1.0
    assert "Iteration(iteration=20" in shown


def test_the_settings_in_the_table_can_be_made() -> None:
    import halfstep as hs

    cells = re.findall(r"^\|[^|]+\| `(hs\.[^`]+)`", README.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(cells) == 9
    for cell in cells:
        eval(cell, {"hs": hs, "w0": 0.1, "rows": 1.0, "columns": 1.0, "a": 0.3})
