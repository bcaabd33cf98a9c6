"""``halfstep tune``: tune the parameters of a model by cross-validation, and save the model."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

import halfstep as hs
from halfstep._support.files import write_atomically
from halfstep._support.printable import printable
from halfstep.cli import options
from halfstep.cli.combinations import SEARCHED, UsageError
from halfstep.cli.console import note_all
from halfstep.cli.evaluate import hold_out
from halfstep.cli.exits import interruptions
from halfstep.cli.model_options import ModelOptions
from halfstep.cli.outputs import Output, check_outputs, naming_the_option, print_result
from halfstep.cli.table_options import TitledTableOptions
from halfstep.evaluation.tuning.folds import N_FOLDS
from halfstep.evaluation.tuning.result import IMAGE_KINDS
from halfstep.evaluation.tuning.space import N_TRIALS, SearchName
from halfstep.evaluation.tuning.tuner import need_optuna

DISTRIBUTIONS: Mapping[str, Callable[..., Any]] = {
    "uniform": hs.Uniform,
    "log": hs.LogUniform,
    "int": hs.Integers,
    "logint": lambda low, high: hs.Integers(low, high, log=True),
}  # by the word before the first colon


WITHOUT_PARAMETERS = "global-mean", "popularity"

_option = partial(typer.Option, rich_help_panel="Search")


@dataclass(frozen=True)
class SearchOptions:
    """Options of the search."""

    space: Annotated[
        list[str] | None,
        _option(
            help="A parameter with its values, rank=8,16,32, or with a range, regularization=log:0.1:10 (or "
            "uniform:, int:, logint:). Can be repeated. Default: λ, its exponent, the rank and others."
        ),
    ] = None
    search: Annotated[
        SearchName | None,
        _option(
            help="Search strategy. Default: grid if all values are listed, doubling for implicit objectives with "
            "several ranks, else tpe."
        ),
    ] = None
    trials: Annotated[
        int | None,
        _option(
            help="Maximum number of trials. Default: all of a grid, "
            f"{', '.join(f'{n} of {name}' for name, n in N_TRIALS.items())}.",
            min=1,
        ),
    ] = None
    folds: Annotated[
        int | None,
        _option(help=f"Number of folds, in time order if there are timestamps. Default: {N_FOLDS}.", min=1),
    ] = None
    metric: Annotated[
        str | None,
        _option(
            help="Metric to optimize, such as rmse, mae, ndcg@10 or recall@20. Default: rmse for models that "
            "predict values, else ndcg@10."
        ),
    ] = None
    journal: Annotated[
        Path | None, _option(help="File that records the trials; an existing one is resumed. Default: none.")
    ] = None
    plot: Annotated[Path | None, _option(help="Write a plot to a png, svg or pdf file. Default: none.")] = None
    test_fraction: Annotated[
        float | None,
        _option(
            help="Hold out this fraction of the interactions from the search, and compare the tuned model on it with "
            "the untuned one and with baselines. The saved model is fitted to all interactions. Default: no test "
            "set."
        ),
    ] = None


def tune(
    file: options.File,
    *,
    output: options.ModelOutput = Path("model.halfstep"),
    table: TitledTableOptions,
    search_options: SearchOptions,
    model_options: ModelOptions,
    keep_interrupted: options.KeepInterrupted = False,
    as_json: options.Json = False,
) -> None:
    """Choose the parameters of a model by cross-validation, fit it to all data, and save it.

    Parameters that an option fixes are not searched.
    """
    wanted, seed = search_options, model_options.seed
    if model_options.model_type in WITHOUT_PARAMETERS:
        raise UsageError(
            f"--model-type {model_options.model_type} has no parameters to tune: fit it with halfstep fit"
        )
    _check_files(output, wanted.plot, wanted.journal, {"input file": file, "table of titles": table.item_titles})
    model_options.need_device()
    space = parse_spaces(wanted.space or [])
    data = table.read(file)
    train, test, how = data, None, []
    if wanted.test_fraction is not None:
        train, test, description = hold_out(data, None, wanted.test_fraction, seed)
        how = [description]
    model, lines = model_options.choose(train)
    space = space or _without_fixed(hs.default_space(model, train), model_options)
    note_all([f"{file}: {data}", *how, *lines, *(f"searched: {name} in {values}" for name, values in space.items())])
    with interruptions(keep=keep_interrupted) as cut_short:
        found = hs.tune(
            model,
            train,
            space,
            metric=wanted.metric,
            split=wanted.folds,
            search=wanted.search,
            n_trials=wanted.trials,
            random_state=seed,
            journal=wanted.journal,
        )
        scored = None if test is None else found.score(test)
        fitted = found.model if test is None else _refitted(found, data)
    fitted.save(output)
    _report(found, scored, output, wanted.plot, as_json=as_json)
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
        with naming_the_option("--plot", plot):
            write_atomically(plot, found.image(plot.suffix.lower().removeprefix(".")))
    tested = {} if scored is None else {"test": scored.to_dict()}
    saved = f"fitted to all data with the best parameters; saved to {printable(str(output))}"
    print_result(
        found.to_dict() | tested | {"model": str(output)},
        [*str(found).splitlines(), *str(scored or "").splitlines(), saved],
        output,
        as_json=as_json,
    )


def _refitted(found: hs.Tuning, data: hs.Interactions) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", hs.errors.PoorFitWarning)  # other parameters were compared
        return found.best_estimator.fit(data)


def parse_spaces(texts: Sequence[str]) -> dict[str, Any]:
    """Parse the values of --space."""
    parsed = list(map(parse_space, texts))
    names = [name for name, _ in parsed]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise hs.errors.ParameterError(f"--space names {repeated} more than once: give all its values in one option")
    return dict(parsed)


def parse_space(text: str) -> tuple[str, Any]:
    """Parse a parameter with its values or range, such as rank=8,16 or regularization=log:0.1:10."""
    name, equals, given = text.partition("=")
    kind, *ends = given.split(":")
    try:
        if not equals or not name or (not ends and "" in given.split(",")):
            raise ValueError
        if not ends:
            return name, [_number_or_word(each) for each in given.split(",")]
        return name, DISTRIBUTIONS[kind](*map(_number, ends))
    except (ValueError, TypeError, KeyError) as error:
        if isinstance(error, hs.errors.HalfstepError):
            raise hs.errors.ParameterError(f"--space {text}: {error}") from None
        raise hs.errors.ParameterError(
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


def _without_fixed(space: dict[str, Any], model: ModelOptions) -> dict[str, Any]:
    """Return the default space without the parameters that options fix."""
    fixed = {name for option, name in SEARCHED.items() if getattr(model, option) is not None}
    if "regularization" in fixed:
        fixed |= {"regularization.users", "regularization.items"}
    left = {name: values for name, values in space.items() if name not in fixed}
    if not left:
        raise hs.errors.ParameterError("all parameters are fixed by options: omit some of them, or set --space")
    return left
