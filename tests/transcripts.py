"""Commands in the README and the docs, with their output.

``make transcripts`` runs them and rewrites the output. On a page, code blocks after ``$ cd examples`` are run in a
copy of that folder.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from halfstep import cli

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    path
    for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))
    if "\n$ cd examples\n" in path.read_text(encoding="utf-8")
)

BEGINNING = "$ cd examples\n"
BLOCK = re.compile(r"(?<=^```console\n).*?(?=^```$)", flags=re.DOTALL | re.MULTILINE)
VARYING = {
    re.compile(r"\d+(\.\d+)? s\b"): "0.0 s",
    re.compile(r"\d+\.\d kB\b"): "0.0 kB",
    re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"): "2026-01-01 00:00:00 UTC",
}  # parts that differ between runs, and their replacements in comparisons
FIRST_CELL = re.compile(r"^[│┃] *(.*?) *[│┃]", flags=re.MULTILINE)
OPTIONAL_CELLS = ("BLAS",)  # not on all machines
PATH_CELL = re.compile(r"^│ (/\S+ *) │", flags=re.MULTILINE)


@dataclass(frozen=True)
class Step:
    """A command with its output on a page."""

    command: str
    shown: str

    @property
    def depends_on_machine(self) -> bool:
        """Whether figures depend on the machine, so that only names of rows are compared."""
        return self.command.startswith("halfstep doctor")


def steps_of(block: str) -> list[Step]:
    """Split a code block into its commands with their outputs."""
    parts = re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    return [Step(*part.split("\n", 1)) for part in parts]


def blocks_of(text: str) -> Iterator[re.Match[str]]:
    """Find the code blocks of a page that are run."""
    start = text.find(BEGINNING)
    return (block for block in BLOCK.finditer(text) if start >= 0 and block.start() >= start)


def run(command: str) -> str:
    """Run a command in the current folder, and return its output."""
    words = shlex.split(command)
    if words[0] == "cd":
        return ""
    if words[0] != "halfstep":
        return subprocess.run(
            command,
            shell=True,
            check=True,
            text=True,
            encoding="utf-8",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ).stdout
    printed = io.StringIO()
    with (
        mock.patch.object(sys, "argv", words),
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("default")
        with contextlib.suppress(SystemExit):
            cli.main()
    without_paths = PATH_CELL.sub(lambda cell: f"│ {'/...'.ljust(len(cell[1]))} │", printed.getvalue())
    return re.sub(r" +$", "", without_paths, flags=re.MULTILINE)


def comparable(step: Step, printed: str) -> str:
    """Return an output without parts that differ between runs or machines."""
    if step.depends_on_machine:
        return "\n".join(dict.fromkeys(cell for cell in FIRST_CELL.findall(printed) if cell not in OPTIONAL_CELLS))
    for varying, constant in VARYING.items():
        printed = varying.sub(constant, printed)
    return printed


@contextlib.contextmanager
def in_examples() -> Iterator[None]:
    """Change to a copy of the folder of examples."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "examples"
        shutil.copytree(ROOT / "examples", copy)
        with contextlib.chdir(copy), mock.patch.dict(os.environ, {"COLUMNS": "118"}):
            yield


def rewritten(text: str) -> str:
    """Return a page with the current output; unchanged if only times differ."""

    def rewrite(block: re.Match[str]) -> str:
        written = []
        for step in steps_of(block[0]):
            printed = run(step.command)
            same = comparable(step, printed) == comparable(step, step.shown)
            written.append(f"$ {step.command}\n{step.shown if same else printed}")
        return "".join(written)

    start = text.find(BEGINNING)
    with in_examples():
        return BLOCK.sub(lambda block: rewrite(block) if 0 <= start <= block.start() else block[0], text)


def main() -> None:
    """Rewrite all pages."""
    for path in PAGES:
        before = path.read_text(encoding="utf-8")
        after = rewritten(before)
        if after != before:
            path.write_text(after, encoding="utf-8")
        print(f"{path.relative_to(ROOT)}: {'unchanged' if after == before else 'rewritten'}")


if __name__ == "__main__":
    main()
