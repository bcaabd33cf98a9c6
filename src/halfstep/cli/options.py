"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

import halfstep as hs
from halfstep.cli.console import note
from halfstep.data.column_roles import TIMESTAMP, VALUE, WEIGHT, NameOrPosition
from halfstep.data.files.id_tables import read_title_table
from halfstep.data.files.table_file import Options
from halfstep.objective.defaults import EVENTS, MISSING_RATIO, VALUES


class Duplicates(StrEnum):
    """How repeated pairs of a user and an item are handled."""

    error = "error"
    last = "last"
    sum = "sum"
    mean = "mean"


class BadLines(StrEnum):
    """How lines that cannot be read are handled."""

    error = "error"
    skip = "skip"


class ObjectiveName(StrEnum):
    """Kinds of objectives."""

    implicit = "implicit"
    explicit = "explicit"


class ModelType(StrEnum):
    """Classes of models."""

    als = "als"
    bayesian = "bayesian"
    sgd = "sgd"
    global_mean = "global-mean"
    item_bias = "item-bias"
    user_item_bias = "user-item-bias"
    popularity = "popularity"


class Counts(StrEnum):
    """What the regularization of a row is proportional to."""

    cells = "cells"
    observed = "observed"
    positive = "positive"


NAMES: Mapping[type, ModelType] = {
    hs.ALS: ModelType.als,
    hs.BayesianALS: ModelType.bayesian,
    hs.SGD: ModelType.sgd,
    hs.GlobalMean: ModelType.global_mean,
    hs.ItemBias: ModelType.item_bias,
    hs.UserItemBias: ModelType.user_item_bias,
    hs.Popularity: ModelType.popularity,
}


def _of_classes(parameter: str, *classes: type) -> str:
    """Return the defaults of a parameter of given classes."""
    return ", ".join(f"{getattr(each, parameter):g} for {NAMES[each].value}" for each in classes)


DATA = "The data"
MODEL = "The model"


def _not_empty(file: str) -> str:
    if not file:
        raise typer.BadParameter("it is empty: name a file, or '.' for the files in this folder")
    return file


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
User = Annotated[str, typer.Option(help="Column of user ids, by name or by position from 0.", rich_help_panel=DATA)]
Item = Annotated[str, typer.Option(help="Column of item ids, by name or by position from 0.", rich_help_panel=DATA)]
Value = Annotated[
    str | None,
    typer.Option(
        help="Column of values, such as ratings or play counts. Default: 'value', if there is one; '' for none.",
        show_default=False,
        rich_help_panel=DATA,
    ),
]
Time = Annotated[
    str | None,
    typer.Option(
        "--time",
        help="Column of timestamps. Default: 'timestamp', if there is one; '' for none.",
        show_default=False,
        rich_help_panel=DATA,
    ),
]
Weight = Annotated[
    str | None,
    typer.Option(
        help="Column of weights. Default: 'weight', if there is one; '' for none.",
        show_default=False,
        rich_help_panel=DATA,
    ),
]
Repeats = Annotated[
    Duplicates | None,
    typer.Option(
        "--duplicates",
        help="How to handle repeated pairs of a user and an item. Default: count them if there are no values, else "
        "keep the last.",
        rich_help_panel=DATA,
    ),
]
Separator = Annotated[
    str | None,
    typer.Option(help="Field separator of text. Default: detected.", rich_help_panel=DATA),
]
Header = Annotated[
    bool,
    typer.Option(
        "--header/--no-header",
        help="Whether the first line names the columns. If not, columns are numbered from 0.",
        rich_help_panel=DATA,
    ),
]
Encoding = Annotated[str, typer.Option(help="Encoding of text, such as latin-1 or utf-16.", rich_help_panel=DATA)]
Quote = Annotated[
    str,
    typer.Option(help="Character that may enclose fields of text; '' for none.", rich_help_panel=DATA),
]
DecimalMark = Annotated[
    str, typer.Option("--decimal", help="Decimal separator of numbers in text: . or ,", rich_help_panel=DATA)
]
Comment = Annotated[
    str | None,
    typer.Option(help="Ignore lines of text that begin with this, such as #. Default: none.", rich_help_panel=DATA),
]
NewlinesInValues = Annotated[
    bool,
    typer.Option("--newlines-in-values", help="Allow line breaks in quoted fields of text.", rich_help_panel=DATA),
]
TimestampFormat = Annotated[
    str | None,
    typer.Option(
        help="Format of timestamps in text, such as '%d/%m/%Y %H:%M'; required if it is ambiguous. Default: "
        "detected.",
        rich_help_panel=DATA,
    ),
]
Titles = Annotated[
    str | None,
    typer.Option(
        "--titles",
        help="Titles of items: a column, or a second table of items and titles. Default: none.",
        show_default=False,
        rich_help_panel=DATA,
    ),
]
TitleColumn = Annotated[
    str | None,
    typer.Option(
        "--title",
        help="Column of titles in the table of --titles, by name or by position from 0. Default: 'title', else the "
        "first other than the ids.",
        show_default=False,
        rich_help_panel=DATA,
    ),
]
TitleId = Annotated[
    str | None,
    typer.Option(
        "--title-id",
        help="Column of item ids in the table of --titles, by name or by position from 0. Default: the name of "
        "--item, else the first column.",
        show_default=False,
        rich_help_panel=DATA,
    ),
]
Bad = Annotated[
    BadLines,
    typer.Option(
        "--bad-lines", help="Stop at lines that cannot be read, or skip and count them.", rich_help_panel=DATA
    ),
]
Type = Annotated[
    ModelType,
    typer.Option(
        "--model-type",
        help="ALS; Bayesian ALS for ratings, without tuning and with prediction intervals; stochastic gradient "
        "descent; or a baseline.",
        rich_help_panel=MODEL,
    ),
]
Objective = Annotated[
    ObjectiveName | None,
    typer.Option(
        help="Explicit: predict the values. Implicit: predict which interactions occur. Default: chosen from the "
        "values.",
        rich_help_panel=MODEL,
    ),
]
Rank = Annotated[
    int | None,
    typer.Option(
        help=f"Number of factors. Default: {EVENTS.rank} for implicit, {VALUES.rank} for explicit objectives; "
        f" {_of_classes('rank', hs.BayesianALS, hs.SGD)}.",
        rich_help_panel=MODEL,
    ),
]
Regularization = Annotated[
    float | None,
    typer.Option(
        "--regularization",
        help="Regularization λ, the most important parameter. Default: chosen from the data and printed; "
        f"{_of_classes('regularization', hs.SGD, hs.ItemBias)}.",
        rich_help_panel=MODEL,
    ),
]
Exponent = Annotated[
    float | None,
    typer.Option(
        "--regularization-exponent",
        help=f"ν: λ of a row is proportional to its count to this power. Default: {EVENTS.regularization_exponent} "
        f"for implicit, {VALUES.regularization_exponent} for explicit objectives.",
        rich_help_panel=MODEL,
    ),
]
RegularizationCounts = Annotated[
    Counts | None,
    typer.Option(
        "--regularization-counts",
        help="What is counted: observed cells and weights of missing cells, observed cells, or positive values. "
        f"Default: {hs.Regularization.counts}.",
        rich_help_panel=MODEL,
    ),
]
Iterations = Annotated[
    int | None,
    typer.Option(
        help="Number of iterations. Default: "
        f"{_of_classes('iterations', hs.ALS, hs.BayesianALS, hs.SGD, hs.UserItemBias)}.",
        rich_help_panel=MODEL,
    ),
]
Alpha = Annotated[
    float | None,
    typer.Option(
        help="Implicit: the weight of an observed cell is 1 + alpha · value. Default: weight 1 for all values.",
        rich_help_panel=MODEL,
    ),
]
MissingWeight = Annotated[
    float | None,
    typer.Option(
        help="Weight of a missing cell. Default: 0 for explicit objectives; for implicit ones the total weight of "
        f"missing cells is {MISSING_RATIO:g} times that of observed cells, limited by the mean weight of these.",
        rich_help_panel=MODEL,
    ),
]
Biases = Annotated[
    bool | None,
    typer.Option(
        "--biases/--no-biases", help="Explicit: whether to fit biases. Default: --biases.", rich_help_panel=MODEL
    ),
]
Seed = Annotated[int, typer.Option(help="Seed of all random numbers.", min=0, rich_help_panel=MODEL)]
KeepInterrupted = Annotated[
    bool,
    typer.Option(
        "--keep-interrupted",
        help="Save the model even if Ctrl-C interrupts the fit. The exit code is still 130.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@dataclass(frozen=True)
class Format:
    """The format of a table, and the titles of items; parameters of `halfstep.read_interactions`."""

    separator: str | None
    header: bool
    encoding: str
    quote: str
    decimal: str
    comment: str | None
    newlines_in_values: bool
    timestamp_format: str | None
    bad_lines: BadLines
    item_titles: str | None
    title_column: str | None = None
    title_id: str | None = None

    @property
    def options(self) -> Options:
        """The format of the table of titles, whose separator is detected."""
        return Options(
            header=self.header,
            quote=self.quote or None,
            encoding=self.encoding,
            newlines_in_values=self.newlines_in_values,
            bad_lines=self.bad_lines.value,
        )


def read(
    path: str,
    user: str,
    item: str,
    value: str | None,
    time: str | None,
    weight: str | None,
    duplicates: Duplicates | None,
    form: Format,
    model: Any = None,
) -> hs.Interactions:
    """Read the table that the options describe, with the id types of a model if it is given."""

    def column(name: str) -> str | int:
        return column_named(name, has_header=form.header)

    def column_or(name: str | None, default: str) -> str | int | None:
        if name is None:
            return default
        return column(name) if name else None

    is_second_table = form.item_titles is not None and (form.title_column, form.title_id) != (None, None)
    titles = None if form.item_titles is None or is_second_table else column(form.item_titles)
    data = hs.read_interactions(
        path,
        user=column(user),
        item=column(item),
        value=column_or(value, VALUE),
        timestamp=column_or(time, TIMESTAMP),
        weight=column_or(weight, WEIGHT),
        duplicates=None if duplicates is None else duplicates.value,
        separator=form.separator,
        header=form.header,
        encoding=form.encoding,
        quote=form.quote or None,
        decimal=form.decimal,
        comment=form.comment,
        newlines_in_values=form.newlines_in_values,
        timestamp_format=form.timestamp_format,
        bad_lines=form.bad_lines.value,
        item_titles=titles,
        users=getattr(model, "users_", None),
        items=getattr(model, "items_", None),
    )
    if is_second_table:
        known = data.items if model is None else model.items_.extended(data.items.ids)
        found = read_titles(
            form.item_titles, known, form.options, form.title_column, form.title_id, usual_item=column(item)
        )
        data = replace(data, item_titles=found)
    note_columns_found(data, {"value": value, "time": time, "weight": weight})
    return data


def column_named(name: str, *, has_header: bool) -> str | int:
    """Return the column of a name or position on the command line."""
    if not (name.isascii() and name.isdecimal()):
        return name
    return NameOrPosition(name) if has_header else int(name)


def read_titles(
    path: Any, items: hs.Vocabulary, form: Options, title: str | None, title_id: str | None, *, usual_item: str | int
) -> dict[Any, str]:
    """Read the table of --titles."""
    columns = (None if name is None else column_named(name, has_header=form.header) for name in (title, title_id))
    title_column, id_column = columns
    return read_title_table(path, items, form, title=title_column, item=id_column, usual_item=usual_item)


def note_columns_found(data: hs.Interactions, options: Mapping[str, str | None]) -> None:
    """Print the columns that are used by default."""
    found = {
        "value": data.has_values,
        "time": data.timestamps is not None,
        "weight": data.weights is not None,
    }
    for option, default in (("value", VALUE), ("time", TIMESTAMP), ("weight", WEIGHT)):
        if found[option] and options[option] is None:
            note(f"using the column {str(default)!r}; --{option} '' leaves it out")
