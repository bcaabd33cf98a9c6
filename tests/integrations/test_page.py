"""The examples on the page about frameworks run."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "integrations.md").read_text("utf-8")
EXAMPLES = {
    re.findall(r"halfstep\.integrations(?: import |\.)(\w+)", text)[0]: text
    for text in re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
}


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # frameworks use what their dependencies deprecate
@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    monkeypatch.chdir(tmp_path)
    exec(compile(EXAMPLES[name], "integrations.md", "exec"), {})
    assert capsys.readouterr().out


def test_each_integration_has_an_example() -> None:
    folder = Path(__file__).parents[2] / "src" / "halfstep" / "integrations"
    assert set(EXAMPLES) == {path.stem for path in folder.glob("[!_]*.py")}
