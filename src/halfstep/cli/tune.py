"""``halfstep tune``: tune the parameters of a model by cross-validation, and save the model."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

import halfstep as hs
from halfstep._support.files import write_atomically
from halfstep._support.printable import printable
from halfstep.cli import options
from halfstep.cli.choices import Wishes
from halfstep.cli.combinations import UsageError
from halfstep.cli.console import note, print_json
from halfstep.cli.evaluate import hold_back
from halfstep.cli.exits import interruptions
from halfstep.cli.model_types import choose_estimator
from halfstep.cli.outputs import Output, check_outputs, may_share_standard_output, naming_the_file
from halfstep.errors import ParameterError, PoorFitWarning
from halfstep.tuning.folds import N_FOLDS
from halfstep.tuning.result import IMAGE_KINDS
from halfstep.tuning.space import N_TRIALS
from halfstep.tuning.tuner import need_optuna

DISTRIBUTIONS: Mapping[str, Callable[..., Any]] = {
    "uniform": hs.Uniform,
    "log": hs.LogUniform,
    "int": hs.Integers,
    "logint": lambda low, high: hs.Integers(low, high, log=True),
}  # by the word before the first colon


class Search(StrEnum):
    """Search strategies."""

    grid = "grid"
    random = "random"
    tpe = "tpe"
    doubling = "doubling"


SEARCH = "The search"
WITHOUT_PARAMETERS = options.ModelType.global_mean, options.ModelType.popularity

Space = Annotated[
    list[str] | None,
    typer.Option(
        help="A parameter with its values, rank=8,16,32, or with a range, regularization=log:0.1:10 (or "
        "uniform:, int:, logint:). Can be repeated. Default: λ, its exponent, the rank and others.",
        rich_help_panel=SEARCH,
    ),
]
SearchOption = Annotated[
    Search | None,
    typer.Option(
        help="Search strategy. Default: grid if all values are listed, doubling for implicit objectives with "
        "several ranks, else tpe.",
        rich_help_panel=SEARCH,
    ),
]
Trials = Annotated[
    int | None,
    typer.Option(
        help="Maximum number of trials. Default: all of a grid, "
        f"{', '.join(f'{n} of {name}' for name, n in N_TRIALS.items())}.",
        min=1,
        rich_help_panel=SEARCH,
    ),
]
Folds = Annotated[
    int | None,
    typer.Option(
        help=f"Number of folds, in time order if there are timestamps. Default: {N_FOLDS}.",
        min=1,
        rich_help_panel=SEARCH,
    ),
]
Metric = Annotated[
    str | None,
    typer.Option(
        help="Metric to optimize, such as rmse, mae, ndcg@10 or recall@20. Default: rmse for models that "
        "predict values, else ndcg@10.",
        rich_help_panel=SEARCH,
    ),
]
Journal = Annotated[
    Path | None,
    typer.Option(
        help="File that records the trials; an existing one is resumed. Default: none.", rich_help_panel=SEARCH
    ),
]
Plot = Annotated[
    Path | None,
    typer.Option(help="Write a plot to a png, svg or pdf file. Default: none.", rich_help_panel=SEARCH),
]
TestFraction = Annotated[
    float | None,
    typer.Option(
        help="Hold out this fraction of the interactions from the search, and compare the tuned model on it with "
        "the untuned one and with baselines. The saved model is fitted to all interactions. Default: no test "
        "set.",
        rich_help_panel=SEARCH,
    ),
]


def tune(
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
    space: Space = None,
    search: SearchOption = None,
    trials: Trials = None,
    folds: Folds = None,
    metric: Metric = None,
    journal: Journal = None,
    plot: Plot = None,
    test_fraction: TestFraction = None,
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
    """Choose the parameters of a model by cross-validation, fit it to all data, and save it.

    Parameters that an option fixes are not searched.
    """
    if model_type in WITHOUT_PARAMETERS:
        raise UsageError(f"--model-type {model_type.value} has no parameters to tune: fit it with halfstep fit")
    _check_files(output, plot, journal, {"input file": file, "table of titles": item_titles})
    given = parse_spaces(space or [])
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
    train, test, how = data, None, []
    if test_fraction is not None:
        train, test, description = hold_back(data, None, test_fraction, seed)
        how = [description]
    model, lines = choose_estimator(train, model_type, wishes)
    searched = given or _without_fixed(hs.default_space(model, train), wishes)
    for line in (f"{file}: {data}", *how, *lines):
        note(line)
    for name, values in searched.items():
        note(f"searched: {name} in {values}")
    with interruptions(keep=keep_interrupted) as cut_short:
        found = hs.tune(
            model,
            train,
            searched,
            metric=metric,
            split=folds,
            search=None if search is None else search.value,
            n_trials=trials,
            random_state=seed,
            journal=journal,
        )
        scored = None if test is None else found.score(test)
        fitted = found.model if test is None else _refitted(found, data)
    fitted.save(output)
    _report(found, scored, output, plot, as_json=as_json)
    if cut_short:
        raise KeyboardInterrupt


def _check_files(output: Path, plot: Path | None, journal: Path | None, inputs: Mapping[str, str | None]) -> None:
    check_outputs(
        [
            Output("--output", output),
            Output("--plot", plot, tuple(f".{kind}" for kind in IMAGE_KINDS)),
            Output("--journal", journal, grows=True),
        ],
        inputs,
    )
    need_optuna()
    if plot is not None:
        import_module("halfstep._support.plot_style")  # raises now if Matplotlib is not installed


def _report(
    found: hs.Tuning, scored: hs.Evaluation | None, output: Path, plot: Path | None, *, as_json: bool
) -> None:
    """Write the plot, and print the result."""
    if plot is not None:
        with naming_the_file("--plot", plot):
            write_atomically(plot, found.image(plot.suffix.lower().removeprefix(".")))
    say = note if may_share_standard_output(output) else print
    if as_json:
        result = {} if scored is None else {"test": scored.to_dict()}
        print_json(found.to_dict() | result | {"model": str(output)}, say)
        return
    for line in [*str(found).splitlines(), *str(scored or "").splitlines()]:
        say(line)
    say(f"fitted to all data with the best parameters; saved to {printable(str(output))}")


def _refitted(found: hs.Tuning, data: hs.Interactions) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PoorFitWarning)  # the search has compared others
        return found.best_estimator.fit(data)


def parse_spaces(texts: Sequence[str]) -> dict[str, Any]:
    """Parse the values of --space."""
    parsed = list(map(parse_space, texts))
    names = [name for name, _ in parsed]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise ParameterError(f"--space names {repeated} more than once: give all its values in one option")
    return dict(parsed)


def parse_space(text: str) -> tuple[str, Any]:
    """Parse a parameter with its values or range, such as rank=8,16 or regularization=log:0.1:10."""
    name, equals, given = text.partition("=")
    kind, *ends = given.split(":")
    try:
        if not equals or not name:
            raise ValueError
        if not ends:
            return name, [_number_or_word(each) for each in given.split(",")]
        return name, DISTRIBUTIONS[kind](*map(_number, ends))
    except (ValueError, TypeError, KeyError) as error:
        if isinstance(error, hs.errors.HalfstepError):
            raise
        raise ParameterError(
            f"--space {text}: give name=value,value,... or name=log:low:high (or uniform:, int:, logint:)"
        ) from None


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)


def _number_or_word(text: str) -> int | float | str | bool:
    words = {"true": True, "false": False}
    try:
        return _number(text)
    except ValueError:
        return words.get(text.lower(), text)


def _without_fixed(space: dict[str, Any], wishes: Wishes) -> dict[str, Any]:
    """Return the default space without the parameters that options fix."""
    given = {name for name, wish in vars(wishes).items() if wish is not None}
    fixed = given | {f"objective.{name}" for name in given}
    fixed |= {f"regularization.{name}" for name in given & {"exponent", "counts"}}
    if "regularization" in given:
        fixed |= {"regularization.users", "regularization.items"}
    left = {name: values for name, values in space.items() if name not in fixed}
    if not left:
        raise ParameterError("all parameters are fixed by options: omit some of them, or set --space")
    return left
