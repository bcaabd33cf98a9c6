"""``halfstep evaluate``."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

import halfstep as hs
from halfstep.cli import options
from halfstep.cli.choices import Wishes, describe_fit
from halfstep.cli.console import note, print_json
from halfstep.cli.exits import interruptions
from halfstep.cli.model_types import choose_estimator
from halfstep.cli.outputs import Output, check_outputs, naming_the_file
from halfstep.cli.thresholds import Threshold, check_thresholds
from halfstep.errors import ParameterError
from halfstep.evaluation import DEFAULT_METRICS, append_to_history, check_history, check_metrics, metrics_of

METRICS = {
    False: [*DEFAULT_METRICS],
    True: ["rmse", "mae", *DEFAULT_METRICS],
}  # by whether the model predicts values


class Split(StrEnum):
    """How the test set is selected."""

    time = "time"
    last = "last"
    random = "random"


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
    metrics: Annotated[
        str | None,
        typer.Option(
            help=f"Names of metrics, separated by commas. Default: {','.join(METRICS[False])}, preceded by rmse,mae "
            "if the model predicts values."
        ),
    ] = None,
    number: Annotated[str, typer.Option("-n", "--number", help="Cutoffs of lists, such as 10 or 10,100.")] = "10",
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
    history: Annotated[
        Path | None,
        typer.Option(
            help="Append the time, the model, the data and the metrics to this file, a line of JSON per run."
        ),
    ] = None,
    fail_under: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METRIC=VALUE",
            help="Exit with 1 if a metric of the model is below a value, such as ndcg@10=0.2. Repeatable.",
        ),
    ] = None,
    fail_above: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METRIC=VALUE",
            help="Exit with 1 if a metric of the model is above a value, such as rmse=0.95. Repeatable.",
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Hold out interactions, fit a model to the others, and compare it with baselines.

    With --model, the file is the test set of a saved model. Baselines are popularity for ranking metrics, and global
    mean, item biases, and user and item biases for rating metrics.
    """
    cutoffs = _cutoffs(number)
    names = None if metrics is None else [name.strip() for name in metrics.split(",")]
    check_metrics(names or [], cutoffs)
    thresholds = [Threshold.parse(text, "under", cutoffs) for text in fail_under or ()]
    thresholds += [Threshold.parse(text, "above", cutoffs) for text in fail_above or ()]
    if history is not None:
        check_outputs([Output("--history", history, grows=True)], {"input file": file, "model file": model})
        with naming_the_file("--history", history):
            check_history(history)
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
        item_titles=None,
    )
    fitted = None if model is None else hs.load(model)
    data = options.read(file, user, item, value, time_column, weight, duplicates, form, fitted)
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
    described = str(model)
    if fitted is not None:
        test = data
        note(f"{model} on {file}: {data}")
    else:
        train, test, how = hold_back(data, split, test_fraction, seed)
        estimator, lines = choose_estimator(train, model_type, wishes)
        for line in (f"{file}: {data}", how, *lines):
            note(line)
        described = repr(estimator)
        with interruptions(keep=False):
            fitted = estimator.fit(train)
        for line in describe_fit(fitted):
            note(line)
    is_implicit = isinstance(fitted, hs.Popularity) or isinstance(getattr(fitted, "objective", None), hs.Implicit)
    predicts_values = test.has_values and not is_implicit
    asked = [*(names or METRICS[predicts_values]), *(each.metric.label for each in thresholds)]
    report = hs.evaluate(fitted, test, asked, cutoffs, random_state=seed)
    if as_json:
        print_json(report.to_dict())
    else:
        print(report)
    if history is not None:
        with naming_the_file("--history", history):
            append_to_history(history, _record(report, described, file))
    check_thresholds(thresholds, report, report.models[0])


def _record(report: hs.Evaluation, model: str, data: str) -> dict[str, Any]:
    """Return a line of the history."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": model,
        "data": data,
        "users": report.n_scored,
        "unknown_users": report.unknown_users,
        "unknown_items": report.unknown_items,
        "metrics": metrics_of(report, report.models[0]),
        "baselines": {name: metrics_of(report, name) for name in report.baselines},
    }


def _cutoffs(number: str) -> list[int]:
    try:
        return [int(each) for each in number.split(",")]
    except ValueError:
        raise ParameterError(f"-n {number}: give an integer, or several separated by commas") from None


def hold_back(
    data: hs.Interactions, split: Split | None, fraction: float, seed: int
) -> tuple[hs.Interactions, hs.Interactions, str]:
    """Split by the given method, or by time if there are timestamps, and describe the split."""
    if split is None and data.timestamps is None:
        split = Split.random
        why = ", because there are no timestamps (--time): some training interactions are later than the test set"
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
    how = {"time": "the latest", "last": "the last of each user,", "random": "random"}[split.value]
    return train, test, f"held out: {how} {len(test):,} interactions{why}"
