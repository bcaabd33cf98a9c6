"""Options that several commands have, each said once."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

import halfstep as hs
from halfstep.cli.printing import note
from halfstep.interactions.roles import TIMESTAMP, VALUE, WEIGHT


class Duplicates(StrEnum):
    """What becomes of pairs that occur more than once."""

    error = "error"
    last = "last"
    sum = "sum"
    mean = "mean"


class ObjectiveName(StrEnum):
    """What is learned from."""

    implicit = "implicit"
    explicit = "explicit"


DATA = "The data"
MODEL = "The model"

File = Annotated[Path, typer.Argument(help="A table of interactions: csv, tsv or parquet.", show_default=False)]
User = Annotated[str, typer.Option(help="The column of users' ids.", rich_help_panel=DATA)]
Item = Annotated[str, typer.Option(help="The column of items' ids.", rich_help_panel=DATA)]
Value = Annotated[
    str | None,
    typer.Option(
        help="The column of values: ratings, counts of plays. By default 'value', if there is one; '' for none.",
        show_default=False,
        rich_help_panel=DATA,
    ),
]
Time = Annotated[
    str | None,
    typer.Option(
        "--time",
        help="The column of timestamps. By default 'timestamp', if there is one; '' for none.",
        show_default=False,
        rich_help_panel=DATA,
    ),
]
Weight = Annotated[
    str | None,
    typer.Option(
        help="The column of weights. By default 'weight', if there is one; '' for none.",
        show_default=False,
        rich_help_panel=DATA,
    ),
]
Repeats = Annotated[
    Duplicates | None,
    typer.Option(
        "--duplicates",
        help="What becomes of pairs that occur more than once. By default they are counted where there are no "
        "values, and the last one stays where there are.",
        rich_help_panel=DATA,
    ),
]
Separator = Annotated[
    str | None, typer.Option(help="What stands between fields, where the suffix does not say.", rich_help_panel=DATA)
]
Header = Annotated[
    bool,
    typer.Option("--header/--no-header", help="Without, columns go by number, from 0.", rich_help_panel=DATA),
]
Objective = Annotated[
    ObjectiveName | None,
    typer.Option(
        help="Explicit: values are what is to be predicted. Implicit: that something happened is. By default chosen "
        "from the values.",
        rich_help_panel=MODEL,
    ),
]
Rank = Annotated[int | None, typer.Option(help="Factors for each user and item.", rich_help_panel=MODEL)]
Strength = Annotated[
    float | None, typer.Option("--regularization", help="λ, the one to tune.", rich_help_panel=MODEL)
]
Exponent = Annotated[
    float | None,
    typer.Option("--regularization-exponent", help="ν: λ grows with a row's count to this.", rich_help_panel=MODEL),
]
Iterations = Annotated[int | None, typer.Option(help="Sweeps over users and items.", rich_help_panel=MODEL)]
Alpha = Annotated[
    float | None,
    typer.Option(help="Implicit: an observed cell weighs 1 + alpha · value.", rich_help_panel=MODEL),
]
MissingWeight = Annotated[
    float | None, typer.Option(help="What a pair that is not observed weighs.", rich_help_panel=MODEL)
]
Biases = Annotated[
    bool | None, typer.Option("--biases/--no-biases", help="Explicit: fit biases.", rich_help_panel=MODEL)
]
Seed = Annotated[int, typer.Option(help="Seed of all random numbers.", min=0, rich_help_panel=MODEL)]
KeepInterrupted = Annotated[
    bool,
    typer.Option(
        "--keep-interrupted",
        help="Save the model of a fit that Ctrl-C cuts short; the exit code is 130 all the same.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def read(
    path: Path,
    user: str,
    item: str,
    value: str | None,
    time: str | None,
    weight: str | None,
    duplicates: Duplicates | None,
    separator: str | None,
    header: bool,
) -> hs.Interactions:
    """Read the table that the options describe."""

    def column(name: str) -> str | int:
        return int(name) if not header and name.isdecimal() else name

    def column_or(name: str | None, default: str) -> str | int | None:
        if name is None:
            return default
        return column(name) if name else None

    data = hs.read_interactions(
        path,
        user=column(user),
        item=column(item),
        value=column_or(value, VALUE),
        timestamp=column_or(time, TIMESTAMP),
        weight=column_or(weight, WEIGHT),
        duplicates=None if duplicates is None else duplicates.value,
        separator=separator,
        header=header,
    )
    note_columns_found(data, {"value": value, "time": time, "weight": weight})
    return data


def note_columns_found(data: hs.Interactions, options: Mapping[str, str | None]) -> None:
    """Say which columns are used that no option named."""
    found = {
        "value": data.has_values,
        "time": data.timestamps is not None,
        "weight": data.weights is not None,
    }
    for option, default in (("value", VALUE), ("time", TIMESTAMP), ("weight", WEIGHT)):
        if found[option] and options[option] is None:
            note(f"the column {str(default)!r} is used; --{option} '' leaves it out")
