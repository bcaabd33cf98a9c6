"""Commands and programs in the README and the docs, with their output.

``make transcripts`` runs them and rewrites the output. On a page, commands after ``$ cd examples`` are run in a copy
of that folder. ``halfstep serve`` goes on in the background until the page ends. In the folders of the docs,
Python is run, too: the blocks of a page are one program, and a text block right below one is its output.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.util
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
BEGINNING = "$ cd examples\n"
COMMANDS = re.compile(r"(?<=^```console\n).*?(?=^```$)", flags=re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", flags=re.MULTILINE)
PROGRAM = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```$)?", flags=re.DOTALL | re.MULTILINE)
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
    """A command or a program with its output on a page."""

    command: str
    shown: str
    span: tuple[int, int] = (0, 0)  # of the output on the page; (-1, -1) if it is not shown
    is_python: bool = False

    @property
    def depends_on_machine(self) -> bool:
        """Whether figures depend on the machine, so that only names of rows are compared."""
        return self.command.startswith("halfstep doctor")


def steps_of(page: str, *, with_python: bool = False) -> list[Step]:
    """Find the commands of a page that are run, and its programs, in their order."""
    start = page.find(BEGINNING)
    steps = [
        (found.start(), Step(found[1], found[2], found.span(2)))
        for block in COMMANDS.finditer(page)
        if 0 <= start <= block.start()
        for found in COMMAND.finditer(page, *block.span())
    ]
    if with_python:
        programs = PROGRAM.finditer(page)
        steps += [(each.start(), Step(each[1], each[2] or "", each.span(2), is_python=True)) for each in programs]
    return [step for _, step in sorted(steps, key=lambda pair: pair[0])]


def has_python(path: Path) -> bool:
    """Whether the Python of a page is run; the tests of `test_readme.py` run that of others."""
    return path.is_relative_to(ROOT / "docs") and path.parent != ROOT / "docs"


PAGES = sorted(
    path
    for path in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md"))
    if steps_of(path.read_text(encoding="utf-8"), with_python=has_python(path))
)


class Shell:
    """Runs the commands of a page in the current folder."""

    def __init__(self) -> None:
        self._server: subprocess.Popen[str] | None = None
        self._port = ""
        self._names: dict[str, object] = {}

    def run(self, step: Step) -> str:
        """Run a command or a program, and return its output."""
        if step.is_python:
            return self._run_python(step)
        command = step.command
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

    def _run_python(self, step: Step) -> str:
        """Run a program, unless it imports another library that is not installed."""
        if any(importlib.util.find_spec(package) is None for package in _packages(step.command)):
            return step.shown
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(step.command, "a page", "exec"), self._names)
        return re.sub(r" +$", "", printed.getvalue(), flags=re.MULTILINE)

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


def _packages(program: str) -> set[str]:
    """Return the packages that a program imports."""
    nodes = list(ast.walk(ast.parse(program)))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.split(".")[0] for name in names}


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


def rewritten(page: str, *, with_python: bool = False) -> str:
    """Return a page with the current output; unchanged if only times differ."""
    written, end = "", 0
    with in_examples() as shell:
        for step in steps_of(page, with_python=with_python):
            printed = shell.run(step)
            if step.span[0] >= 0 and comparable(step, printed) != comparable(step, step.shown):
                written += page[end : step.span[0]] + printed
                end = step.span[1]
    return written + page[end:]


def main() -> None:
    """Rewrite all pages."""
    for path in PAGES:
        before = path.read_text(encoding="utf-8")
        after = rewritten(before, with_python=has_python(path))
        if after != before:
            path.write_text(after, encoding="utf-8")
        print(f"{path.relative_to(ROOT)}: {'unchanged' if after == before else 'rewritten'}")


if __name__ == "__main__":
    main()
