"""The application with all commands."""

from __future__ import annotations

import warnings
from typing import Annotated

import typer
from typer.main import get_command

import halfstep as hs
from halfstep.cli.console import note
from halfstep.cli.data import data
from halfstep.cli.doctor import doctor
from halfstep.cli.evaluate import evaluate
from halfstep.cli.exits import EPILOG, flushed, guarded, prepare_streams, stop_on_signals
from halfstep.cli.fit import fit
from halfstep.cli.grouped import expand_groups
from halfstep.cli.info import info
from halfstep.cli.keys import add, list_keys, remove
from halfstep.cli.keys import keys as keys_app
from halfstep.cli.lists import recommend, similar
from halfstep.cli.refit import refit
from halfstep.cli.serve import serve
from halfstep.cli.tune import tune
from halfstep.cli.update import update
from halfstep.cli.vectors import vectors

app = typer.Typer(
    help="Alternating least squares for recommender systems.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (fit, update, info, recommend, similar, vectors, evaluate, tune, serve, refit, data, doctor):
    app.command()(guarded(expand_groups(command)))
keys_app.command("add")(guarded(expand_groups(add)))
keys_app.command("list")(guarded(expand_groups(list_keys)))
keys_app.command("remove")(guarded(expand_groups(remove)))
app.add_typer(keys_app, name="keys")


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False) -> None:
    """Alternating least squares for recommender systems."""
    if version:
        print(hs.__version__)
        raise typer.Exit


main = get_command(app)  # built once, for tests that run many commands in a process


def run() -> None:
    """Run the command in `sys.argv`."""
    prepare_streams()
    stop_on_signals()
    warnings.showwarning = lambda message, *_, **__: note(f"halfstep: {message}")
    with flushed():
        main()
