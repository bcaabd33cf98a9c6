"""Groups of options become options of a command."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from halfstep.cli.grouped import expand_groups


@dataclass(frozen=True)
class Group:
    number: Annotated[int, typer.Option("-n", "--number")] = 1
    text: str = "a"


@dataclass(frozen=True)
class LargerGroup(Group):
    text: str = "b"
    flag: Annotated[bool, typer.Option("--flag")] = False


def test_fields_replace_the_group_in_the_signature() -> None:
    def command(file: str, *, before: int = 0, group: LargerGroup, after: int = 0) -> None: ...

    parameters = inspect.signature(expand_groups(command)).parameters
    assert [*parameters] == ["file", "before", "number", "text", "flag", "after"]
    assert parameters["text"].default == "b"


@pytest.mark.parametrize(
    ("line", "group"), [("f", Group()), ("f -n 3", Group(number=3)), ("f --text c -n 2", Group(2, "c"))]
)
def test_the_command_gets_an_instance(line: str, group: Group) -> None:
    calls: list[Any] = []

    def command(file: str, *, group: Group) -> None:
        calls.append((file, group))

    app = typer.Typer()
    app.command()(expand_groups(command))
    assert CliRunner().invoke(app, line.split()).exit_code == 0
    assert calls == [("f", group)]
