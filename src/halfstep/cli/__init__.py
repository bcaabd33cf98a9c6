"""The command line: argument parsing and printing only.

``models`` holds the commands that fit models and use them, ``tune`` the search over parameters, ``lab`` the
experiments, ``doctor`` a look at the machine;
``options`` says what several commands ask for, ``choices`` what is chosen from the data where nothing is said,
``printing`` and ``tables`` show and write results.
"""

from __future__ import annotations

import io
import sys
import warnings
from typing import Annotated

import typer

import halfstep as hs
from halfstep.cli.doctor import doctor
from halfstep.cli.lab import data, lab
from halfstep.cli.models import evaluate, fit, recommend, similar
from halfstep.cli.tune import tune
from halfstep.errors import HalfstepError

app = typer.Typer(
    help="Alternating least squares for recommender systems.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (fit, recommend, similar, evaluate, tune, lab, data, doctor):
    app.command()(command)


def main() -> None:
    """Run the command line; an error that halfstep raises on purpose is one line, not a traceback."""
    for stream in (sys.stdout, sys.stderr):  # a terminal that lacks a letter shows another
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    warnings.showwarning = lambda message, *_, **__: print(f"halfstep: {message}", file=sys.stderr)
    try:
        app()
    except (HalfstepError, ModuleNotFoundError, OSError) as error:
        print(f"halfstep: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("halfstep: interrupted", file=sys.stderr)
        sys.exit(130)


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Show the version and stop.")] = False,
) -> None:
    """Alternating least squares for recommender systems."""
    if version:
        print(hs.__version__)
        raise typer.Exit
