"""Options that several commands share; groups of options are dataclasses, which `grouped` expands."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer


def _not_empty(file: str) -> str:
    if not file:
        raise typer.BadParameter("it is empty: name a file, or '.' for the files in this folder")
    return file


data_option = partial(typer.Option, rich_help_panel="Data")
model_option = partial(typer.Option, rich_help_panel="Model")

Model = Annotated[Path, typer.Argument(help="A file that `halfstep fit` wrote.", show_default=False)]
File = Annotated[
    str,
    typer.Argument(
        help="A table of interactions: delimited text, JSON or parquet, compressed or not; a folder or a glob "
        "pattern of its parts; - for standard input.",
        show_default=False,
        callback=_not_empty,
    ),
]
ModelOutput = Annotated[Path, typer.Option("-o", "--output", help="File for the model.")]
KeepInterrupted = Annotated[
    bool,
    typer.Option(
        "--keep-interrupted", help="Save the model even if Ctrl-C interrupts the fit. The exit code is still 130."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
