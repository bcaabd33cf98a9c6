"""``halfstep recommend`` and ``similar``: lists from a saved model, on the terminal or in a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

import halfstep as hs
from halfstep._support.plurals import with_count
from halfstep._support.printable import printable
from halfstep._support.suggestions import close_texts
from halfstep.cli import options
from halfstep.cli.combinations import UsageError
from halfstep.cli.console import note, print_json, print_list
from halfstep.cli.list_files import SUFFIXES, dicts_of, write_lists
from halfstep.cli.options import data_option
from halfstep.cli.outputs import Output, check_outputs, print_result
from halfstep.cli.table_options import (
    Encoding,
    Header,
    Separator,
    TitleColumn,
    TitleId,
    column_named,
    read_titles_option,
)
from halfstep.data.files.id_tables import read_ids
from halfstep.data.files.table_format import Options
from halfstep.data.recommendations import Ranking

NAMED_ONE_BY_ONE = 3  # maximum number of unknown users with a note for each

Titled = Mapping[Any, str] | None

Number = Annotated[int, typer.Option("-n", "--number", help="Maximum length of a list.", min=1)]
EscapeFormulas = Annotated[
    bool,
    typer.Option(
        "--escape-formulas",
        help="In a csv or tsv file, put an apostrophe before ids that a spreadsheet would evaluate as formulas, "
        "which begin with =, +, - or @.",
    ),
]


def _output_option(what: str) -> Any:
    text = f"Write the lists, of all {what} if none are named, to a csv, tsv or parquet file. Default: print them."
    return typer.Option("-o", "--output", help=text)


@dataclass(frozen=True)
class ListTableOptions:
    """Tables of titles and of users."""

    titles: Annotated[
        str | None, data_option(help="A table of item ids and titles to show. Default: the titles in the model.")
    ] = None
    title_column: TitleColumn = None
    title_id: TitleId = None
    header: Header = True
    separator: Separator = None
    encoding: Encoding = "utf-8"

    @property
    def _format(self) -> Options:
        separator = "\t" if self.separator == "\\t" else self.separator
        return Options(separator=separator, header=self.header, encoding=self.encoding)

    def read_users(self, path: str, column: str | None, model: Any) -> Any:
        """Read the ids of users; without a header, the default is the first column."""
        name = column or ("user" if self.header else "0")
        return read_ids(path, "user", column_named(name, has_header=self.header), model.users_, self._format)

    def read_titles(self, model: Any) -> Titled:
        """Return the titles in a model, and those of the table, which take precedence."""
        data = model.interactions_
        known: Titled = None if data is None else data.item_titles
        if self.titles is None:
            return known
        found = read_titles_option(
            self.titles, model.items_, self._format, self.title_column, self.title_id, usual_item="item"
        )
        return {**(known or {}), **found}


def recommend(
    model: options.Model,
    users: Annotated[
        list[str] | None, typer.Argument(help="User ids; put -- before negative ones.", show_default=False)
    ] = None,
    *,
    users_from: Annotated[
        str | None,
        data_option(
            help="Table of the users to recommend to; - for standard input. Default: the users given as arguments."
        ),
    ] = None,
    user: Annotated[
        str | None,
        data_option(
            help="Column of user ids, by name or by position from 0. Default: 'user', or 0 without a header."
        ),
    ] = None,
    tables: ListTableOptions,
    number: Number = 10,
    output: Annotated[Path | None, _output_option("users")] = None,
    exclude_seen: Annotated[
        bool,
        typer.Option(
            "--exclude-seen/--include-seen", help="Whether to exclude items that a user has interacted with."
        ),
    ] = True,
    escape_formulas: EscapeFormulas = False,
    as_json: options.Json = False,
) -> None:
    """Recommend items to some users, or to all, on the terminal or in a file."""
    if not users and users_from is None and output is None:
        raise UsageError("name users, or set --output to a file for the lists of all users")
    if users and users_from is not None:
        raise UsageError("users are given both as arguments and by --users-from: use one of the two")
    _check_output(output, model, tables, users_from)
    loaded = hs.load(model)
    titles = tables.read_titles(loaded)
    if users_from is not None:
        asked = tables.read_users(users_from, user, loaded)
    else:
        asked = [loaded.users_.parse(each, name="user id") for each in users or ()] or loaded.users_.ids
    _note_unknown(asked, loaded.users_)

    def list_for(ids: Any) -> Ranking:
        return replace(loaded.recommend(ids, number, exclude_seen=exclude_seen), titles=titles)

    if output is None:
        _show(list_for(asked), "for user", {}, as_json=as_json)
        return
    written = write_lists(output, asked, list_for, (loaded.users_, loaded.items_), escape_formulas=escape_formulas)
    _print_written(output, "users", len(asked), written, as_json=as_json)


def similar(
    model: options.Model,
    items: Annotated[
        list[str] | None,
        typer.Argument(help="Item ids, or user ids with --users; put -- before negative ones.", show_default=False),
    ] = None,
    *,
    tables: ListTableOptions,
    number: Number = 10,
    output: Annotated[Path | None, _output_option("items")] = None,
    users: Annotated[bool, typer.Option("--users", help="List similar users instead of items.")] = False,
    escape_formulas: EscapeFormulas = False,
    as_json: options.Json = False,
) -> None:
    """List the items that are most similar to some items, or to all, on the terminal or in a file."""
    side = "user" if users else "item"
    if not items and output is None:
        raise UsageError(f"name {side}s, or set --output to a file for the lists of all {side}s")
    _check_output(output, model, tables)
    loaded = hs.load(model)
    has_similar = loaded.item_factors_.shape[1] > 0 or (not users and isinstance(loaded, hs.EASE | hs.ItemKNN))
    if not has_similar:
        name = type(loaded).__name__
        raise hs.errors.ParameterError(
            f"{model} is of class {name}, which has no factors to compare {side}s: use a model with factors, such as "
            "ALS"
        )
    titles = tables.read_titles(loaded)
    vocabulary = loaded.users_ if users else loaded.items_
    own_titles = (None if users else titles) or {}
    asked = [_parsed(each, vocabulary, f"{side} id", own_titles) for each in items or ()] or vocabulary.ids

    def list_for(ids: Any) -> Ranking:
        if users:
            return loaded.similar_users(ids, number)
        return replace(loaded.similar_items(ids, number), titles=titles)

    if output is None:
        _show(list_for(asked), f"similar to {side}", own_titles, as_json=as_json)
        return
    written = write_lists(output, asked, list_for, (vocabulary, vocabulary), escape_formulas=escape_formulas)
    _print_written(output, f"{side}s", len(asked), written, as_json=as_json)


def _check_output(output: Path | None, model: Path, tables: ListTableOptions, users_from: str | None = None) -> None:
    inputs = {"model file": model, "table of users": users_from, "table of titles": tables.titles}
    check_outputs([Output("--output", output, SUFFIXES)], inputs)


def _show(lists: Ranking, heading: str, titles: Mapping[Any, str], *, as_json: bool) -> None:
    """Print lists, with the titles of queries that have one."""
    if as_json:
        print_json(dicts_of(lists))
        return
    listed = lists.LISTED.removeprefix("similar_")
    for query, entries in lists:
        title = titles.get(query)
        print_list(f"{heading} {query}{f', {title}' if title else ''}", listed, lists.SCORE, entries, lists.titles)


def _print_written(output: Path, what: str, n_lists: int, rows: int, *, as_json: bool) -> None:
    lists = with_count(n_lists, what.removesuffix("s"))
    line = f"{with_count(rows, 'row')} for {lists} written to {printable(str(output))}"
    print_result({"output": str(output), what: n_lists, "rows": rows}, [line], output, as_json=as_json)


def _note_unknown(asked: Any, known: hs.Vocabulary) -> None:
    """Print a note on unknown users."""
    ids, positions = known.look_up(asked, "mark", name="user id")
    unknown = ids[positions < 0].tolist()
    if len(unknown) > NAMED_ONE_BY_ONE:
        note(
            f"{len(unknown):,} of {len(asked):,} users are unknown to the model, such as {unknown[0]!r}: all unknown "
            "users get the same list"
        )
        return
    for user in unknown:
        hint = _hint(str(user), known, {})
        note(f"user {user!r} is unknown to the model{hint}: all unknown users get the same list")


def _parsed(text: str, known: hs.Vocabulary, name: str, titles: Mapping[Any, str]) -> Any:
    """Return a known id from its text; errors suggest similar ids, and items with similar titles."""
    try:
        id_ = known.parse(text, name=name)
        known.position(id_, name=name)
    except (hs.errors.DataError, hs.errors.UnknownIdError) as error:
        hint = _hint(text, known, titles)
        raise hs.errors.DataError(f"{error}{hint}") from None
    return id_


def _hint(text: str, known: hs.Vocabulary, titles: Mapping[Any, str]) -> str:
    """Return a suggestion of ids that are similar to an unknown one, or have similar titles; empty if none are."""
    are_texts = known.ids.dtype.kind == "O" and len(known) > 0 and isinstance(known.ids[0], str)
    shown = [repr(each) for each in close_texts(text, known.ids.tolist(), known.__contains__)] if are_texts else []
    if not shown and titles:
        positions = known.shared(hs.Vocabulary(list(titles)))
        by_title = {title: item for (item, title), at in zip(titles.items(), positions, strict=True) if at >= 0}
        shown = [f"{by_title[title]!r}, {title}" for title in close_texts(text, list(by_title))]
    return f" (did you mean {', or '.join(shown)}?)" if shown else ""
