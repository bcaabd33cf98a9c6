"""``halfstep fit``, ``recommend``, ``similar`` and ``evaluate``."""

from __future__ import annotations

import time
from enum import StrEnum
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
from halfstep.errors import ParameterError
from halfstep.evaluation import DEFAULT_METRICS, check_metrics
from halfstep.printable import printable
from halfstep.recommendations import Ranking

METRICS = {
    False: [*DEFAULT_METRICS],
    True: ["rmse", "mae", *DEFAULT_METRICS],
}  # by whether values are predicted


class Split(StrEnum):
    """How a test set is held out."""

    time = "time"
    last = "last"
    random = "random"


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


def evaluate(
    file: options.File,
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
    model: Annotated[Path | None, typer.Option(help="Evaluate this saved model on the whole file.")] = None,
    split: Annotated[
        Split | None,
        typer.Option(
            help="Test on the latest interactions, the last one of each user, or random ones. Default: time, if "
            "there are timestamps."
        ),
    ] = None,
    test_fraction: Annotated[float, typer.Option(help="Fraction of the interactions that is held out.")] = 0.2,
    metrics: Annotated[str | None, typer.Option(help="Names of metrics, separated by commas.")] = None,
    number: Annotated[str, typer.Option("-n", "--number", help="Cutoffs of lists, such as 10 or 10,100.")] = "10",
    objective: options.Objective = None,
    rank: options.Rank = None,
    regularization: options.Regularization = None,
    regularization_exponent: options.Exponent = None,
    iterations: options.Iterations = None,
    alpha: options.Alpha = None,
    missing_weight: options.MissingWeight = None,
    biases: options.Biases = None,
    seed: options.Seed = 0,
    as_json: options.Json = False,
) -> None:
    """Hold out interactions, fit a model to the others, and score it and popularity.

    With --model, the file is the test set of a saved model.
    """
    cutoffs = _cutoffs(number)
    names = None if metrics is None else [name.strip() for name in metrics.split(",")]
    check_metrics(names or [], cutoffs)
    form = options.Format(
        separator, header, encoding, quote, decimal, comment, newlines_in_values, timestamp_format, bad_lines,
        item_titles=None,
    )  # fmt: skip
    fitted = None if model is None else hs.load(model)
    data = options.read(file, user, item, value, time_column, weight, duplicates, form, fitted)
    wishes = Wishes(
        objective, rank, regularization, regularization_exponent, iterations, alpha, missing_weight, biases, seed
    )
    if fitted is not None:
        test = data
        note(f"{model} on {file}: {data}")
    else:
        train, test, how = _hold_back(data, split, test_fraction, seed)
        estimator, lines = choose_model(train, wishes)
        for line in (f"{file}: {data}", how, *lines):
            note(line)
        with interruptions(keep=False):
            fitted = estimator.fit(train)
    predicts_values = test.has_values and not isinstance(getattr(fitted, "objective", None), hs.Implicit)
    report = hs.evaluate(fitted, test, names or METRICS[predicts_values], cutoffs, random_state=seed)
    if as_json:
        print_json(report.to_dict())
    else:
        print(report)


def _cutoffs(number: str) -> list[int]:
    try:
        return [int(each) for each in number.split(",")]
    except ValueError:
        raise ParameterError(f"-n {number}: give an integer, or several with commas between them") from None


def _hold_back(
    data: hs.Interactions, split: Split | None, fraction: float, seed: int
) -> tuple[hs.Interactions, hs.Interactions, str]:
    """Split by the given method or by one that suits the data, and describe the split."""
    if split is None and data.timestamps is None:
        split = Split.random
        why = ", since there are no timestamps (--time): some training interactions are later than those of the test"
    else:
        split, why = split or Split.time, ""
    if split is not Split.random and data.timestamps is None:
        raise ParameterError(f"--split {split.value} requires timestamps: name their column with --time")
    if split is Split.random:
        train, test = hs.split_random(data, fraction, random_state=seed)
    elif split is Split.last:
        train, test = hs.split_leave_last_out(data)
    else:
        train, test = hs.split_by_time(data, fraction)
    how = {"time": "the latest", "last": "the last of each user,", "random": "a random"}[split.value]
    return train, test, f"held out: {how} {len(test):,} interactions{why}"
