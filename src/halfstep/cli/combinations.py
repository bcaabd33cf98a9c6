"""Errors for options that have no effect in combination with others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import typer

import halfstep as hs
from halfstep.evaluation.metric_names import PER_PAIR


class UsageError(hs.errors.ParameterError):
    """Invalid combination of options."""


Given = Mapping[str, Any]
"""The values of all parameters of a command, by name."""

OF_ALS = (
    "objective",
    "rank",
    "regularization",
    "regularization_exponent",
    "regularization_counts",
    "iterations",
    "alpha",
    "missing_weight",
    "biases",
    "nonnegative",
    "backend",
)
HOW_TO_FIT = (*OF_ALS, "neighbors", "shrinkage")
USED_BY: Mapping[str, tuple[str, ...]] = {
    "als": OF_ALS,
    "bayesian": ("rank", "iterations", "biases"),
    "sgd": ("rank", "regularization", "iterations"),
    "global-mean": (),
    "item-bias": ("regularization",),
    "user-item-bias": ("iterations",),
    "popularity": (),
    "ease": ("regularization",),
    "item-knn": ("neighbors", "shrinkage"),
}  # the options of `HOW_TO_FIT` that a class supports
ITERATIVE = ("als", "bayesian", "sgd")
SEARCHED = {
    "missing_weight": "objective.missing_weight",
    "biases": "objective.biases",
    "nonnegative": "objective.nonnegative",
    "rank": "rank",
    "regularization": "regularization",
    "regularization_exponent": "regularization.exponent",
    "regularization_counts": "regularization.counts",
    "iterations": "iterations",
}  # names in --space of parameters that options fix


class Rule(NamedTuple):
    """Options of a command, a condition under which they have no effect, and the reason."""

    options: tuple[str, ...]
    applies: Callable[[Given], bool]
    why: str


def _is_text(given: Given) -> bool:
    return given["output"] is not None and Path(given["output"]).suffix.lower() in (".csv", ".tsv")


def _needs_no_cutoff(given: Given) -> bool:
    limits = [*(given["fail_under"] or ()), *(given["fail_above"] or ())]
    names = [*(given["metrics"] or "ndcg").split(","), *(text.partition("=")[0] for text in limits)]
    return all("@" in name or name.strip() in PER_PAIR for name in names)


def _is_searched(option: str) -> Callable[[Given], bool]:
    return lambda given: any(text.partition("=")[0] == SEARCHED[option] for text in given["space"] or ())


def _is_of(model_type: str) -> Callable[[Given], bool]:
    return lambda given: bool(given["model_type"] == model_type)


OF_TYPES = tuple(
    Rule(
        tuple(option for option in HOW_TO_FIT if option not in used),
        _is_of(model_type),
        f"--model-type {model_type} does not support it",
    )
    for model_type, used in USED_BY.items()
)
FORMULAS = Rule(
    ("escape_formulas",), lambda given: not _is_text(given), "it applies only to csv and tsv files of --output"
)
NO_TITLES = Rule(
    ("title_column", "title_id"), lambda given: given["item_titles"] is None, "there is no table of --titles"
)
TITLES_OF_LISTS = Rule(
    ("title_column", "title_id"), lambda given: given["titles"] is None, "there is no table of --titles"
)
FORMAT = ("header", "separator", "encoding")  # of tables of users and titles

RULES: Mapping[str, tuple[Rule, ...]] = {
    "fit": (
        NO_TITLES,
        *OF_TYPES,
        Rule(
            ("seed", "keep_interrupted"),
            lambda given: given["model_type"] not in ITERATIVE,
            "this --model-type has no random numbers and no iterations to interrupt",
        ),
    ),
    "update": (NO_TITLES,),
    "recommend": (
        FORMULAS,
        TITLES_OF_LISTS,
        Rule(("user",), lambda given: given["users_from"] is None, "there is no table of --users-from"),
        Rule(
            FORMAT,
            lambda given: given["users_from"] is None and given["titles"] is None,
            "there is no table of --users-from or --titles",
        ),
    ),
    "similar": (
        FORMULAS,
        Rule(("titles",), lambda given: given["users"], "with --users no items are listed"),
        TITLES_OF_LISTS,
        Rule(FORMAT, lambda given: given["titles"] is None, "there is no table of --titles"),
    ),
    "evaluate": (
        Rule(
            ("model_type", *HOW_TO_FIT, "split", "test_fraction", "weight"),
            lambda given: given["model"] is not None,
            "the model of --model is already fitted, and the whole file is its test set",
        ),
        Rule(
            ("test_fraction",),
            lambda given: given["split"] == "last",
            "--split last holds out one interaction of each user",
        ),
        *OF_TYPES,
        Rule(("number",), _needs_no_cutoff, "every metric of --metrics has its own cutoff"),
    ),
    "tune": (
        NO_TITLES,
        *OF_TYPES,
        *(Rule((option,), _is_searched(option), f"--space searches {name}") for option, name in SEARCHED.items()),
    ),
    "doctor": (
        Rule(
            ("as_json",),
            lambda given: any(given[name] for name in ("warm", "clear", "export", "imported")),
            "--warm, --clear, --export and --import print no report",
        ),
    ),
}


def check_combination(context: typer.Context) -> None:
    """Check that all given options have an effect.

    Raises
    ------
    UsageError
        If an option has no effect; the message names the first one, and the reason.
    """
    names = {param.name: max(param.opts, key=len) for param in context.command.params}
    for rule in RULES.get(context.command.name or "", ()):
        for option in rule.options:
            if _is_given(context, option) and rule.applies(context.params):
                raise UsageError(f"{names[option]} has no effect: {rule.why}; leave it out")


def _is_given(context: typer.Context, option: str) -> bool:
    source = context.get_parameter_source(option)
    return source is not None and source.name != "DEFAULT"
