"""``halfstep fit``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from halfstep._support.printable import printable
from halfstep.cli import options
from halfstep.cli.choices import Wishes, describe_fit
from halfstep.cli.console import note, print_json, reached_by
from halfstep.cli.exits import interruptions
from halfstep.cli.model_types import choose_estimator
from halfstep.cli.outputs import Output, check_outputs, may_share_standard_output


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
    title_column: options.TitleColumn = None,
    title_id: options.TitleId = None,
    model_type: options.Type = options.ModelType.als,
    objective: options.Objective = None,
    rank: options.Rank = None,
    regularization: options.Regularization = None,
    regularization_exponent: options.Exponent = None,
    regularization_counts: options.RegularizationCounts = None,
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
        separator,
        header,
        encoding,
        quote,
        decimal,
        comment,
        newlines_in_values,
        timestamp_format,
        bad_lines,
        item_titles,
        title_column,
        title_id,
    )
    data = options.read(file, user, item, value, time_column, weight, duplicates, form)
    wishes = Wishes(
        objective,
        rank,
        regularization,
        regularization_exponent,
        regularization_counts,
        iterations,
        alpha,
        missing_weight,
        biases,
        seed,
    )
    model, lines = choose_estimator(data, model_type, wishes)
    for line in (f"{file}: {data}", *lines):
        note(line)
    began = time.perf_counter()
    with interruptions(keep=keep_interrupted) as cut_short:
        model.fit(data)
    seconds = time.perf_counter() - began
    for line in describe_fit(model):
        note(line)
    model.save(output)
    history = [line._asdict() for line in model.__dict__.get("history_", [])]
    say = note if may_share_standard_output(output) else print
    if as_json:
        print_json(
            {
                "model": str(output),
                "users": data.n_users,
                "items": data.n_items,
                "interactions": len(data),
                "rank": model.item_factors_.shape[1],
                "seconds": seconds,
                "history": history,
            },
            say,
        )
    else:
        reached = f", {reached_by(model)}" if history else ""
        say(f"fitted in {seconds:.1f} s{reached}; saved to {printable(str(output))}")
    if cut_short:
        raise KeyboardInterrupt
