"""Commands in the README and the docs print the output that is shown."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from typer.main import get_command

import transcripts
from halfstep.cli.app import app
from transcripts import PAGES, Step, blocks_of, comparable, in_examples, rewritten, steps_of

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
    pages = [
        (transcripts.ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("command-line.md", "serve.md")
    ]
    shown = {
        step.command.split()[1]
        for page in pages
        for block in blocks_of(page)
        for step in steps_of(block[0])
        if step.command.startswith("halfstep ")
    }
    assert shown == set(get_command(app).commands) - {"data"}  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_commands_print_the_documented_output(path: Path) -> None:
    """Run ``make transcripts`` after an intended change."""
    page = path.read_text(encoding="utf-8")
    if "\n$ curl " in page:
        if os.name != "posix":
            pytest.skip("the commands are quoted for POSIX shells")
        if shutil.which("curl") is None and os.environ.get("HALFSTEP_TEST_SERVICES") != "required":
            pytest.skip("curl is not installed")
    with in_examples() as shell:
        for block in blocks_of(page):
            for step in steps_of(block[0]):
                assert comparable(step, shell.run(step.command)) == comparable(step, step.shown), step.command


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
    folder = transcripts.ROOT
    for path in (folder / "README.md", *(folder / "docs").glob("*.md")):
        assert (path in PAGES) == any(blocks_of(path.read_text(encoding="utf-8")))
