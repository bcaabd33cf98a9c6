"""``halfstep update``: incremental updates of a saved model."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import typer

import halfstep as hs
from halfstep._support.plurals import with_count
from halfstep._support.printable import printable
from halfstep.cli import options
from halfstep.cli.console import note
from halfstep.cli.options import data_option
from halfstep.cli.outputs import Output, check_outputs, print_result
from halfstep.cli.table_options import TitledTableOptions


@dataclass(frozen=True)
class UpdateResult:
    """The result of an update.

    Attributes
    ----------
    interactions : int
        The number of interactions of the update, after merging repeated ones.
    new_interactions : int
        The number of interactions that the model did not have.
    new_users, new_items : int
    touched_users, touched_items : int
        The number of users and items that were solved, including new ones.
    """

    interactions: int
    new_interactions: int
    new_users: int
    new_items: int
    touched_users: int
    touched_items: int

    def __str__(self) -> str:
        changed = self.interactions - self.new_interactions
        return (
            f"{with_count(self.new_interactions, 'new interaction')}, {changed:,} changed, "
            f"{with_count(self.new_users, 'new user')}, {with_count(self.new_items, 'new item')}; "
            f"solved {with_count(self.touched_users, 'user')} and {with_count(self.touched_items, 'item')}"
        )


@dataclass(frozen=True)
class UpdateTableOptions(TitledTableOptions):
    """Options of a table whose interactions may already be in the model."""

    duplicates: Annotated[
        Literal["error", "last", "sum"] | None,
        data_option(
            help="How to handle interactions of a user with an item that are repeated or already in the model. "
            "Default: count them if there are no values, else keep the last."
        ),
    ] = None


def update(
    model: options.Model,
    file: options.File,
    *,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="File for the updated model. Default: the same file.")
    ] = None,
    table: UpdateTableOptions,
    update_items: Annotated[
        bool,
        typer.Option(
            "--update-items/--no-update-items",
            help="Whether to update items. If not, only users are updated, as if they were folded in.",
        ),
    ] = True,
    as_json: options.Json = False,
) -> None:
    """Update a saved model with new interactions, without fitting it again.

    Users and items with new interactions are solved again, and new ones are added. The file is replaced atomically.
    """
    written = Output("MODEL", model) if output is None else Output("--output", output)
    check_outputs([written], {"input file": file, "table of titles": table.item_titles})
    target = model if output is None else output
    fitted = hs.load(model)
    if not hasattr(fitted, "partial_fit"):
        raise hs.errors.ParameterError(
            f"{model} is of class {type(fitted).__name__}, which does not support incremental updates: fit it "
            "again with halfstep fit"
        )
    data = table.read(file, fitted)
    note(f"{file}: {data}")
    known = fitted.interactions_
    has_values = data.has_values or (known is not None and known.has_values)
    began = time.perf_counter()
    updated = _updated(fitted, data, table.duplicates or ("last" if has_values else "sum"), update_items=update_items)
    seconds = time.perf_counter() - began
    fitted.save(target)
    lines = [str(updated), f"updated in {seconds:.1f} s; saved to {printable(str(target))}"]
    result = {"model": str(target), **asdict(updated), "seconds": seconds}
    print_result(result, lines, target, as_json=as_json)


def _updated(model: Any, data: hs.Interactions, duplicates: str, *, update_items: bool) -> UpdateResult:
    """Update a model, and return the result."""
    before = int(model.item_counts_.sum()), len(model.users_), len(model.items_)
    model.partial_fit(data, duplicates=duplicates, update_items=update_items)
    return UpdateResult(
        interactions=len(data),
        new_interactions=int(model.item_counts_.sum()) - before[0],
        new_users=len(model.users_) - before[1],
        new_items=len(model.items_) - before[2],
        touched_users=int(np.count_nonzero(data.user_counts)),
        touched_items=int(np.count_nonzero(data.item_counts)) if update_items else 0,
    )
