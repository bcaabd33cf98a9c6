"""The folds and the metric by which trials are scored."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

from halfstep import metrics
from halfstep._support.checks import check_choice
from halfstep.data import Interactions
from halfstep.data.split_parts import Split
from halfstep.data.splits import k_folds, keep_known, time_folds
from halfstep.errors import DataError, ParameterError
from halfstep.evaluation.held_out import measure_lists
from halfstep.evaluation.metric_names import PER_LIST, read_metrics
from halfstep.evaluation.task import Task
from halfstep.models.baselines import Popularity
from halfstep.models.item_weight_model import ItemWeightModel
from halfstep.objective.objective import Implicit, Objective, cells_of

Direction = Literal["minimize", "maximize"]
Score = Callable[[Any, Interactions], float]
Folds = int | Callable[[Interactions], Iterable[Split]] | Iterable[Split]

OF_PAIRS = {"rmse": metrics.rmse, "mae": metrics.mae, "sign_accuracy": metrics.sign_accuracy}
ERRORS = ("rmse", "mae")  # smaller is better
N_FOLDS = 3
N_PARTS = 10  # the test set of a fold is one of them: the best parameters depend on the size of the training set


@dataclass(frozen=True, eq=False)
class Fold:
    """A split, without the `n_cold` test interactions of cold-start users or items."""

    train: Interactions
    test: Interactions
    n_cold: int


@dataclass(frozen=True)
class TrialMetric:
    """A function of a fitted model and the test interactions of a fold, and whether larger values are better."""

    label: str
    maximize: bool
    score: Score

    @classmethod
    def of(
        cls, given: str | Score | None, direction: Direction | None, estimator: Any, threads: int | None
    ) -> TrialMetric:
        """Return the metric for the arguments of `tune`."""
        if direction is not None:
            check_choice("direction", direction, ("minimize", "maximize"))
        if given is None:
            ranks = isinstance(estimator, Popularity | ItemWeightModel) or isinstance(
                getattr(estimator, "objective", None), Implicit
            )
            given = "ndcg@10" if ranks else "rmse"
        if callable(given):
            if direction is None:
                raise ParameterError("metric is a function: set direction='minimize' or direction='maximize'")
            label = getattr(given, "__name__", type(given).__name__)
            return cls(label, direction == "maximize", given)
        if not isinstance(given, str):
            raise ParameterError(f"metric={given!r}: give a name, or a function of a model and its test data")
        if given in OF_PAIRS:
            of_pairs = OF_PAIRS[given]

            def of_predictions(model: Any, test: Interactions) -> float:
                check_comparable(given, model, test)
                return of_pairs(test.values, model.predict(test))

            metric = cls(given, given not in ERRORS, of_predictions)
        else:
            (asked,) = read_metrics(given, 10, (*OF_PAIRS, *(name for name in PER_LIST if name != "novelty")))

            def of_list(model: Any, test: Interactions) -> float:
                found = measure_lists(model, Task.of(model, test, True, None, None), [asked], threads)[asked]
                return found if isinstance(found, float) else found.value

            metric = cls(asked.label, True, of_list)
        if direction is not None and (direction == "maximize") != metric.maximize:
            raise ParameterError(
                f"direction={direction!r}: {metric.label} is always {_worded(metric.maximize)}; omit direction"
            )
        return metric


def check_comparable(metric: str, estimator: Any, data: Interactions) -> None:
    """Check that predictions can be compared with the values of `data`, if the metric does so."""
    if metric not in OF_PAIRS:
        return
    remedy = "choose a metric of ranked lists, such as metric='ndcg@10'"
    if not data.has_values:
        raise DataError(f"metric={metric!r} compares predictions with values, and the data have none: {remedy}")
    objective = getattr(estimator, "objective", None)
    predicts = True
    if isinstance(objective, Objective):
        cells = cells_of(data)
        predicts = objective.predicts_values(cells) if metric in ERRORS else objective.predicts_signs(cells)
    if not predicts:
        raise ParameterError(
            f"metric={metric!r} compares predictions with values, and {type(estimator).__name__} predicts other "
            f"targets with {objective!r}: {remedy}"
        )


def make_folds(data: Interactions, split: Folds | None, seed: int) -> tuple[list[Fold], str]:
    """Split the data into folds, and describe them.

    Raises
    ------
    DataError
        If there is no fold, or a fold has no test interactions of known users and items.
    ParameterError
        If `split` is invalid.
    """
    if split is None or (type(split) is int):
        n_folds = N_FOLDS if split is None else split
        pairs: Any
        if data.timestamps is None:
            n_parts = max(n_folds, min(N_PARTS, len(data)))
            pairs = islice(k_folds(data, n_parts, random_state=seed), n_folds)
            how = "random folds, because there are no timestamps"
        else:
            pairs, how = time_folds(data, n_folds), "folds in time order"
    else:
        pairs, how = (split(data) if callable(split) else split), "folds as given"
    folds = []
    for number, pair in enumerate(_two_sides(pairs), start=1):
        train, test = pair
        known = keep_known(test, train, min_train_ratings=1, drop_unseen_items=True)
        if len(known) == 0:
            raise DataError(
                f"fold {number} is too small: none of its {len(test):,} test interactions has both a user and an "
                f"item of its {len(train):,} training interactions; set split=... to fewer or larger folds"
            )
        folds.append(Fold(train, known, len(test) - len(known)))
    if not folds:
        raise DataError("split has no folds: give at least one pair of training and test data")
    return folds, f"{len(folds)} {how}" if len(folds) > 1 else how.replace("folds", "one fold", 1)


def checked(value: Any, label: str) -> float:
    """Return the value of a metric as a float."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"the metric {label} returned {value!r}: return a finite number")
    return number


def _two_sides(pairs: Any) -> list[Split]:
    if isinstance(pairs, tuple) and len(pairs) == 2 and all(isinstance(side, Interactions) for side in pairs):
        return [pairs]  # one split, such as of split_by_time
    try:
        listed = [tuple(pair) for pair in pairs]
    except TypeError:
        listed = []
    if not all(len(pair) == 2 and all(isinstance(side, Interactions) for side in pair) for pair in listed) or (
        not listed and not isinstance(pairs, list | tuple)
    ):
        raise ParameterError(
            f"split is of type {type(pairs).__name__}: give a number of folds, pairs of training and test data, or a "
            "function that returns such pairs"
        )
    return listed


def _worded(maximize: bool) -> str:
    return "maximized" if maximize else "minimized"
