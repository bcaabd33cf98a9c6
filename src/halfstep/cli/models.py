"""``halfstep fit``, ``recommend`` and ``similar``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

import halfstep as hs
from halfstep.cli import options
from halfstep.cli.choices import Wishes, choose_model
from halfstep.cli.combinations import UsageError
from halfstep.cli.exits import interruptions
from halfstep.cli.outputs import Output, check_outputs, may_share_standard_output
from halfstep.cli.printing import note, print_json, print_list
from halfstep.cli.tables import SUFFIXES, columns_of, rows_of, write_recommendations
from halfstep.printable import printable
from halfstep.recommendations import Ranking

Number = Annotated[int, typer.Option("-n", "--number", help="Maximum length of a list.", min=1)]


def fit(
    file: options.File,
    output: Annotated[Path, typer.Option("-o", "--output", help="File for the model.")] = Path("model.halfstep"),
    user: options.User = "user",
    item: options.Item = "item",
    value: options.Value = None,
    time_column: options.Time = None,
    weight: options.Weight = None,
    duplicates: options.Repeats = None,
    separator: options.Separator = None,
    header: options.Header = True,
    encoding: options.Encoding = "utf-8",
    quote: options.Quote = '"',
    decimal: options.DecimalMark = ".",
    comment: options.Comment = None,
    newlines_in_values: options.NewlinesInValues = False,
    timestamp_format: options.TimestampFormat = None,
    bad_lines: options.Bad = options.BadLines.error,
    item_titles: options.Titles = None,
    objective: options.Objective = None,
    rank: options.Rank = None,
    regularization: options.Regularization = None,
    regularization_exponent: options.Exponent = None,
    iterations: options.Iterations = None,
    alpha: options.Alpha = None,
    missing_weight: options.MissingWeight = None,
    biases: options.Biases = None,
    seed: options.Seed = 0,
    keep_interrupted: options.KeepInterrupted = False,
    as_json: options.Json = False,
) -> None:
    """Fit a model to a table of interactions and save it.

    Parameters without an option are chosen from the data and printed.
    """
    check_outputs([Output("--output", output)], {"input file": file, "table of titles": item_titles})
    form = options.Format(
        separator, header, encoding, quote, decimal, comment, newlines_in_values, timestamp_format, bad_lines,
        item_titles,
    )  # fmt: skip
    data = options.read(file, user, item, value, time_column, weight, duplicates, form)
    model, lines = choose_model(
        data,
        Wishes(
            objective, rank, regularization, regularization_exponent, iterations, alpha, missing_weight, biases, seed
        ),
    )
    for line in (f"{file}: {data}", *lines):
        note(line)
    began = time.perf_counter()
    with interruptions(keep=keep_interrupted) as cut_short:
        model.fit(data)
    seconds = time.perf_counter() - began
    model.save(output)
    last = model.history_[-1]
    say = note if may_share_standard_output(output) else print
    if as_json:
        print_json(
            {
                "model": str(output),
                "users": data.n_users,
                "items": data.n_items,
                "interactions": len(data),
                "rank": model.rank,
                "seconds": seconds,
                "history": [line._asdict() for line in model.history_],
            },
            say,
        )
    else:
        say(f"fitted in {seconds:.1f} s, objective {last.objective:.6g}; saved to {printable(str(output))}")
    if cut_short:
        raise KeyboardInterrupt


def recommend(
    model: options.Model,
    users: Annotated[
        list[str] | None, typer.Argument(help="User ids; -- comes before negative ones.", show_default=False)
    ] = None,
    number: Number = 10,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Write all users' lists to a csv, tsv or parquet file."),
    ] = None,
    exclude_seen: Annotated[
        bool,
        typer.Option(
            "--exclude-seen/--include-seen", help="Whether to leave out items that a user has interacted with."
        ),
    ] = True,
    escape_formulas: Annotated[
        bool,
        typer.Option(
            "--escape-formulas",
            help="In a csv or tsv file, put an apostrophe before ids that a spreadsheet would evaluate as formulas, "
            "which begin with =, +, - or @.",
        ),
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Recommend items to users: print the lists of some users, or write those of all users to a file."""
    if bool(users) == (output is not None):
        raise UsageError("name users, or a file for the lists of all users with --output")
    check_outputs([Output("--output", output, SUFFIXES)], {"model file": model})
    loaded = hs.load(model)
    if output is not None:
        written = write_recommendations(output, loaded, number, exclude_seen, escape_formulas)
        n_users = len(loaded.users_)
        say = note if may_share_standard_output(output) else print
        if as_json:
            print_json({"output": str(output), "users": n_users, "rows": written}, say)
        else:
            say(f"{written:,} rows for {n_users:,} users written to {printable(str(output))}")
        return
    asked = [loaded.users_.parse(each, name="user id") for each in users or []]
    lists = loaded.recommend(asked, number, exclude_seen=exclude_seen)
    for user, _ in lists:
        if user not in loaded.users_:
            note(f"user {user!r} is unknown to the model: its list is that of all unknown users")
    if as_json:
        print_json([dict(zip(columns_of(lists.titles), row, strict=True)) for row in rows_of(lists)])
        return
    for user, entries in lists:
        print_list(f"for user {user}", "item", "score", entries, lists.titles)


def similar(
    model: options.Model,
    item: Annotated[str, typer.Argument(help="Item id, or user id with --users.", show_default=False)],
    number: Number = 10,
    users: Annotated[bool, typer.Option("--users", help="List similar users instead of items.")] = False,
    as_json: options.Json = False,
) -> None:
    """List the items that are most similar to an item."""
    loaded = hs.load(model)
    found: Ranking
    if users:
        found = loaded.similar_users([loaded.users_.parse(item, name="user id")], number)
    else:
        found = loaded.similar_items([loaded.items_.parse(item, name="item id")], number)
    ((query, entries),) = found
    what = "user" if users else "item"
    if as_json:
        print_json([{what: listed, "similarity": score} | _title(found, listed) for listed, score in entries])
        return
    print_list(f"similar to {what} {query}", what, "similarity", entries, found.titles)


def _title(lists: Ranking, listed: Any) -> dict[str, str | None]:
    """Return the title of an item as a field of JSON, if titles are known."""
    return {} if lists.titles is None else {"title": lists.titles.get(listed)}
