"""``halfstep keys``: the API keys of a service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from halfstep.cli.console import note, print_table
from halfstep.cli.serve import check_installed

keys = typer.Typer(help="Add, list and remove the API keys of a service.", no_args_is_help=True)

File = Annotated[Path, typer.Option("--file", help="File of keys.")]
KEYS = Path("keys.json")


def add(
    name: Annotated[
        str, typer.Argument(help="A name for the key, such as that of its application.", show_default=False)
    ],
    *,
    scopes: Annotated[
        str, typer.Option(help="What the key allows: read (recommendations), write (events), admin (everything).")
    ] = "read",
    file: File = KEYS,
) -> None:
    """Add a key, and print it. The key cannot be shown again, because the file contains only its digest.

    Scopes are separated by commas, as in read,write.
    """
    check_installed()
    from halfstep.serve.keys import add_key, parse_scopes

    key = add_key(file, name, parse_scopes(scopes))
    note(f"added to {file}; send it in the header Authorization: Bearer KEY")
    print(key)


def remove(
    name: Annotated[str, typer.Argument(help="The name of the key.", show_default=False)], *, file: File = KEYS
) -> None:
    """Remove a key; running servers refuse it after about a second."""
    check_installed()
    from halfstep.serve.keys import remove_key

    remove_key(file, name)


def list_keys(*, file: File = KEYS) -> None:
    """List the names and scopes of the keys."""
    check_installed()
    from halfstep.serve.keys import read_keys

    print_table(f"keys in {file}", ["name", "scopes"], [[k.name, ", ".join(k.scopes)] for k in read_keys(file)])
