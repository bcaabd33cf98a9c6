"""Commands in the README and the docs print the output that is shown."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from typer.main import get_command

import transcripts
from halfstep.cli.app import app
from transcripts import PAGES, ROOT, Step, comparable, has_python, in_examples, rewritten, steps_of

pytestmark = pytest.mark.slow

PAGE = """Not run:

```console
$ make lab
```

Run:

```console
$ cd examples
$ halfstep fit plays.csv --user listener --item artist --iterations 1 -o m.halfstep
something else
$ head -n 1 plays.csv
time,listener,artist,plays
```
"""


def test_the_readme_has_transcripts() -> None:
    assert "README.md" in [path.name for path in PAGES]


def test_every_command_is_documented() -> None:
    pages = [(ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("command-line.md", "serve.md")]
    shown = {
        step.command.split()[1] for page in pages for step in steps_of(page) if step.command.startswith("halfstep ")
    }
    assert shown == set(get_command(app).commands) - {"data"}  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_commands_print_the_documented_output(path: Path) -> None:
    """Run ``make transcripts`` after an intended change."""
    page = path.read_text(encoding="utf-8")
    if "\n$ curl " in page:
        if os.name != "posix":
            pytest.skip("the commands are quoted for POSIX shells")
        if shutil.which("curl") is None and os.environ.get("HALFSTEP_TEST_SERVICES") != "required":
            pytest.skip("curl is not installed")
    with in_examples() as shell:
        for step in steps_of(page, with_python=has_python(path)):
            printed = shell.run(step)
            if step.span[0] >= 0:
                assert comparable(step, printed) == comparable(step, step.shown), step.command


def test_pages_are_rewritten() -> None:
    page = rewritten(PAGE)
    assert "something else" not in page
    assert "; saved to m.halfstep\n$ head -n 1 plays.csv\ntime,listener,artist,plays\n```\n" in page
    assert page.startswith(PAGE[: PAGE.index("something else")])
    assert rewritten(page) == page  # times are ignored


def test_figures_of_the_machine_are_not_compared() -> None:
    step = Step("halfstep doctor", "│ numpy │ 2.0 │\n│ numpy │ 2.1 │\n")
    assert comparable(step, "│ numpy │ 3.14 │\n") == comparable(step, step.shown) == "numpy"
    assert comparable(step, "│ scipy │ 2.0 │\n") != comparable(step, step.shown)


def test_times_are_not_compared() -> None:
    step = Step("halfstep fit plays.csv", "fitted in 0.2 s, objective 1\n")
    assert comparable(step, "fitted in 12.3 s, objective 1\n") == comparable(step, step.shown)
    assert comparable(step, "fitted in 0.2 s, objective 2\n") != comparable(step, step.shown)


def test_every_page_with_transcripts_is_found() -> None:
    for path in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        text = path.read_text(encoding="utf-8")
        assert (path in PAGES) == (transcripts.BEGINNING in text or (has_python(path) and "```python\n" in text))


def test_programs_of_a_page_share_names_and_are_rewritten() -> None:
    page = "```python\nx = 1\n```\n\n```python\nprint(x + 1)\n```\n\n```text\n{}\n```\n"
    assert rewritten(page.format("3"), with_python=True) == page.format("2")
    assert rewritten(page.format("3")) == page.format("3")
    other = "```python\nimport not_installed\n```\n\n```text\nits output\n```\n"
    assert rewritten(other, with_python=True) == other
