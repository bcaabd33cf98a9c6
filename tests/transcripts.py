"""Commands in the README and the docs, with their output.

``make transcripts`` runs them and rewrites the output. On a page, code blocks after ``$ cd examples`` are run in a
copy of that folder. ``halfstep serve`` goes on in the background until the page ends.
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
    re.compile(r'"list_id": "[^"]+"'): '"list_id": "..."',
    re.compile(r"\bhs_[\w-]+"): "hs_KEY",
    re.compile(r"(\d\.\d{4})\d+"): r"\1",  # scores in JSON
}  # parts that differ between runs, and their replacements in comparisons
FIRST_CELL = re.compile(r"^[│┃] *(.*?) *[│┃]", flags=re.MULTILINE)
OPTIONAL_CELLS = ("BLAS",)  # not on all machines
SERVER = "http://127.0.0.1:8000"
SERVER_PORT = re.compile(r"(localhost|127\.0\.0\.1):8000\b")  # of the pages; the servers have free ones
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


class Shell:
    """Runs the commands of a page in the current folder."""

    def __init__(self) -> None:
        self._server: subprocess.Popen[str] | None = None
        self._port = ""

    def run(self, command: str) -> str:
        """Run a command, and return its output."""
        words = shlex.split(command)
        if words[0] == "cd":
            return ""
        if words[:2] == ["halfstep", "serve"]:
            return self._serve([word for word in words[1:] if word != "&"])
        if words[0] == "halfstep":
            return _run_halfstep(words)
        printed = subprocess.run(
            SERVER_PORT.sub(rf"\1:{self._port}", command),
            shell=True,
            check=True,
            text=True,
            encoding="utf-8",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ).stdout
        return f"{printed}\n" if printed and not printed.endswith("\n") else printed

    def close(self) -> None:
        """Stop the server."""
        if self._server is not None:
            self._server.terminate()
            self._server.communicate()
            self._server = None

    def _serve(self, arguments: list[str]) -> str:
        self.close()
        program = "from halfstep.cli import main; main()"
        self._server = subprocess.Popen(
            [sys.executable, "-c", program, *arguments, "--port", "0"], stderr=subprocess.PIPE, text=True
        )
        assert self._server.stderr is not None
        printed = self._server.stderr.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)", printed)
        assert found is not None, printed
        self._port = found[1]
        return printed.replace(found[0], SERVER)


def _run_halfstep(words: list[str]) -> str:
    """Run a command of the library in this process."""
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
def in_examples() -> Iterator[Shell]:
    """Change to a copy of the folder of examples, and return a shell there."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "examples"
        shutil.copytree(ROOT / "examples", copy)
        with (
            contextlib.chdir(copy),
            mock.patch.dict(os.environ, {"COLUMNS": "118"}),
            contextlib.closing(Shell()) as shell,
        ):
            yield shell


def rewritten(text: str) -> str:
    """Return a page with the current output; unchanged if only times differ."""

    def rewrite(block: re.Match[str], shell: Shell) -> str:
        written = []
        for step in steps_of(block[0]):
            printed = shell.run(step.command)
            same = comparable(step, printed) == comparable(step, step.shown)
            written.append(f"$ {step.command}\n{step.shown if same else printed}")
        return "".join(written)

    start = text.find(BEGINNING)
    with in_examples() as shell:
        return BLOCK.sub(lambda block: rewrite(block, shell) if 0 <= start <= block.start() else block[0], text)


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
