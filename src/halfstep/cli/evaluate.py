"""``halfstep evaluate``."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

import halfstep as hs
from halfstep.cli import options
from halfstep.cli.console import note, note_all, print_json
from halfstep.cli.exits import interruptions
from halfstep.cli.model_options import ModelOptions, describe_fit
from halfstep.cli.outputs import Output, check_outputs, naming_the_option
from halfstep.cli.table_options import TableOptions
from halfstep.cli.thresholds import Threshold, check_thresholds
from halfstep.evaluation import DEFAULT_METRICS, append_to_history, check_history, check_metrics, metrics_of

METRICS = {False: [*DEFAULT_METRICS], True: ["rmse", "mae", *DEFAULT_METRICS]}  # by whether the model predicts values

Split = Literal["time", "last", "random"]

ModelFile = Annotated[Path | None, typer.Option(help="Evaluate this saved model on the whole file.")]
SplitOption = Annotated[
    Split | None,
    typer.Option(
        help="Test on the latest interactions, the last one of each user, or random ones. Default: time, if there "
        "are timestamps."
    ),
]
TestFraction = Annotated[float, typer.Option(help="Fraction of the interactions that is held out.")]
Metrics = Annotated[
    str | None,
    typer.Option(
        help=f"Names of metrics, separated by commas. Default: {','.join(METRICS[False])}, preceded by rmse,mae if "
        "the model predicts values."
    ),
]
Cutoffs = Annotated[str, typer.Option("-n", "--number", help="Cutoffs of lists, such as 10 or 10,100.")]
History = Annotated[
    Path | None,
    typer.Option(
        help="Append the time, the model, the data and the metrics to this file, as a line of JSON per run."
    ),
]
FailUnder = Annotated[
    list[str] | None,
    typer.Option(
        metavar="METRIC=VALUE",
        help="Exit with 1 if a metric of the model is below a value, such as ndcg@10=0.2. Repeatable.",
    ),
]
FailAbove = Annotated[
    list[str] | None,
    typer.Option(
        metavar="METRIC=VALUE",
        help="Exit with 1 if a metric of the model is above a value, such as rmse=0.95. Repeatable.",
    ),
]


def evaluate(
    file: options.File,
    *,
    table: TableOptions,
    model: ModelFile = None,
    split: SplitOption = None,
    test_fraction: TestFraction = 0.2,
    metrics: Metrics = None,
    number: Cutoffs = "10",
    model_options: ModelOptions,
    history: History = None,
    fail_under: FailUnder = None,
    fail_above: FailAbove = None,
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
        with naming_the_option("--history", history):
            check_history(history)
    if model is None:
        model_options.need_device()
        data = table.read(file)
        train, test, how = hold_out(data, split, test_fraction, model_options.seed)
        estimator, lines = model_options.choose(train)
        note_all([f"{file}: {data}", how, *lines])
        described = repr(estimator)
        with interruptions(keep=False):
            fitted = estimator.fit(train)
        note_all(describe_fit(fitted))
    else:
        fitted, described = hs.load(model), str(model)
        test = table.read(file, fitted)
        note(f"{model} on {file}: {test}")
    asked = [*(names or METRICS[_predicts_values(fitted, test)]), *(each.metric.label for each in thresholds)]
    report = hs.evaluate(fitted, test, asked, cutoffs, random_state=model_options.seed)
    if as_json:
        print_json(report.to_dict())
    else:
        print(report)
    if history is not None:
        with naming_the_option("--history", history):
            append_to_history(history, _record(report, described, file))
    check_thresholds(thresholds, report, report.models[0])


def _predicts_values(model: Any, test: hs.Interactions) -> bool:
    is_implicit = isinstance(model, hs.Popularity) or isinstance(getattr(model, "objective", None), hs.Implicit)
    return test.has_values and not is_implicit


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
        raise hs.errors.ParameterError(f"-n {number}: give an integer, or several separated by commas") from None


def hold_out(
    data: hs.Interactions, split: Split | None, fraction: float, seed: int
) -> tuple[hs.Interactions, hs.Interactions, str]:
    """Split by the given method, or by time if there are timestamps, and describe the split."""
    if split is None and data.timestamps is None:
        split = "random"
        why = ", because there are no timestamps (--time): some training interactions are later than the test set"
    else:
        split, why = split or "time", ""
    if split != "random" and data.timestamps is None:
        raise hs.errors.ParameterError(f"--split {split} requires timestamps: name their column with --time")
    if split == "random":
        train, test = hs.split_random(data, fraction, random_state=seed)
    elif split == "last":
        train, test = hs.split_leave_last_out(data)
    else:
        train, test = hs.split_by_time(data, fraction)
    how = {"time": "the latest", "last": "the last of each user,", "random": "random"}[split]
    return train, test, f"held out: {how} {len(test):,} interactions{why}"
