"""Options that describe tables of interactions and of titles."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import halfstep as hs
from halfstep.cli.console import note
from halfstep.cli.options import data_option
from halfstep.data.column_roles import TIMESTAMP, VALUE, WEIGHT, NameOrPosition
from halfstep.data.duplicates import Duplicates
from halfstep.data.files.id_tables import read_title_table
from halfstep.data.files.table_format import BadLines, Options

Separator = Annotated[str | None, data_option(help="Field separator of text. Default: detected.")]
Header = Annotated[
    bool,
    data_option(
        "--header/--no-header", help="Whether the first line names the columns. If not, columns are numbered from 0."
    ),
]
Encoding = Annotated[str, data_option(help="Encoding of text, such as latin-1 or utf-16.")]
TitleColumn = Annotated[
    str | None,
    data_option(
        "--title",
        help="Column of titles in the table of --titles, by name or by position from 0. Default: 'title', else the "
        "first column other than that of ids.",
    ),
]
TitleId = Annotated[
    str | None,
    data_option(
        help="Column of item ids in the table of --titles, by name or by position from 0. Default: the name of "
        "--item, else the first column."
    ),
]


@dataclass(frozen=True)
class TableOptions:
    """The columns and the format of a table of interactions."""

    user: Annotated[str, data_option(help="Column of user ids, by name or by position from 0.")] = "user"
    item: Annotated[str, data_option(help="Column of item ids, by name or by position from 0.")] = "item"
    value: Annotated[
        str | None,
        data_option(
            help="Column of values, such as ratings or play counts. Default: 'value', if there is one; '' for none."
        ),
    ] = None
    time_column: Annotated[
        str | None,
        data_option("--time", help="Column of timestamps. Default: 'timestamp', if there is one; '' for none."),
    ] = None
    weight: Annotated[
        str | None, data_option(help="Column of weights. Default: 'weight', if there is one; '' for none.")
    ] = None
    duplicates: Annotated[
        Duplicates | None,
        data_option(
            help="How to handle repeated interactions of a user with an item. Default: count them if there are no "
            "values, else keep the last."
        ),
    ] = None
    separator: Separator = None
    header: Header = True
    encoding: Encoding = "utf-8"
    quote: Annotated[str, data_option(help="Character that may enclose fields of text; '' for none.")] = '"'
    decimal: Annotated[str, data_option(help="Decimal separator of numbers in text: . or ,")] = "."
    comment: Annotated[
        str | None, data_option(help="Ignore lines of text that begin with this, such as #. Default: none.")
    ] = None
    newlines_in_values: Annotated[
        bool, data_option("--newlines-in-values", help="Allow line breaks in quoted fields of text.")
    ] = False
    timestamp_format: Annotated[
        str | None,
        data_option(
            help="Format of timestamps in text, such as '%d/%m/%Y %H:%M'; required if it is ambiguous. Default: "
            "detected."
        ),
    ] = None
    bad_lines: Annotated[BadLines, data_option(help="Stop at lines that cannot be read, or skip and count them.")] = (
        "error"
    )

    on_disk: Annotated[
        Path | None,
        data_option(
            help="Folder to store the interactions in and to read them from, if they do not fit into memory; a "
            "folder that has those of the same file is reused. Default: in memory."
        ),
    ] = None

    def read(self, path: str, model: Any = None) -> hs.Interactions:
        """Read a table, with the id types of a model if it is given, and print the columns used by default."""
        data = self._read(path, model)
        for option, given, default, is_found in (
            ("value", self.value, VALUE, data.has_values),
            ("time", self.time_column, TIMESTAMP, data.timestamps is not None),
            ("weight", self.weight, WEIGHT, data.weights is not None),
        ):
            if is_found and given is None:
                note(f"using the column {str(default)!r}; --{option} '' leaves it out")
        return data

    def _read(self, path: str, model: Any, item_titles: str | int | None = None) -> hs.Interactions:
        return hs.read_interactions(
            path,
            user=column_named(self.user, has_header=self.header),
            item=column_named(self.item, has_header=self.header),
            value=self._column_or(self.value, VALUE),
            timestamp=self._column_or(self.time_column, TIMESTAMP),
            weight=self._column_or(self.weight, WEIGHT),
            duplicates=self.duplicates,
            separator=self.separator,
            header=self.header,
            encoding=self.encoding,
            quote=self.quote or None,
            decimal=self.decimal,
            comment=self.comment,
            newlines_in_values=self.newlines_in_values,
            timestamp_format=self.timestamp_format,
            bad_lines=self.bad_lines,
            item_titles=item_titles,
            on_disk=self.on_disk,
            users=getattr(model, "users_", None),
            items=getattr(model, "items_", None),
        )

    def _column_or(self, name: str | None, default: str) -> str | int | None:
        if name is None:
            return default
        return column_named(name, has_header=self.header) if name else None


@dataclass(frozen=True)
class TitledTableOptions(TableOptions):
    """The columns and the format of a table of interactions, and the titles of items."""

    item_titles: Annotated[
        str | None,
        data_option(
            "--titles", help="Titles of items: a column, or a second table of items and titles. Default: none."
        ),
    ] = None
    title_column: TitleColumn = None
    title_id: TitleId = None

    def _read(self, path: str, model: Any, item_titles: str | int | None = None) -> hs.Interactions:
        if self.item_titles is None:
            return super()._read(path, model)
        if self.title_column is None and self.title_id is None:
            return super()._read(path, model, column_named(self.item_titles, has_header=self.header))
        data = super()._read(path, model)
        known = data.items if model is None else model.items_.extended(data.items.ids)
        form = Options(
            header=self.header,
            quote=self.quote or None,
            encoding=self.encoding,
            newlines_in_values=self.newlines_in_values,
            bad_lines=self.bad_lines,
        )
        item = column_named(self.item, has_header=self.header)
        titles = read_titles_option(self.item_titles, known, form, self.title_column, self.title_id, usual_item=item)
        return data.with_same_storage(replace(data, item_titles=titles))


def column_named(name: str, *, has_header: bool) -> str | int:
    """Return the column of a name or position on the command line."""
    if not (name.isascii() and name.isdecimal()):
        return name
    return NameOrPosition(name) if has_header else int(name)


def read_titles_option(
    path: Any, items: hs.Vocabulary, form: Options, title: str | None, title_id: str | None, *, usual_item: str | int
) -> dict[Any, str]:
    """Read the table of --titles."""
    title_column, id_column = (
        None if name is None else column_named(name, has_header=form.header) for name in (title, title_id)
    )
    return read_title_table(path, items, form, title=title_column, item=id_column, usual_item=usual_item)
