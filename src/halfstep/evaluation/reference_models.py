"""Baselines of an evaluation."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np

from halfstep.data import Interactions
from halfstep.errors import DataError, ParameterError
from halfstep.evaluation.metric_names import PER_LIST, PER_PAIR, Metric
from halfstep.evaluation.task import training_of, training_of_items
from halfstep.models.baselines import BaselineModel, GlobalMean, ItemBias, Popularity, UserItemBias
from halfstep.models.factor_model import FactorModel

Baseline: TypeAlias = Literal["auto"] | Mapping[str, FactorModel] | None

OF_LISTS: Sequence[type[BaselineModel]] = (Popularity,)
OF_VALUES: Sequence[type[BaselineModel]] = (GlobalMean, ItemBias, UserItemBias)


class Compared(NamedTuple):
    """A fitted model, and the metrics to compute for it."""

    model: FactorModel
    metrics: Sequence[Metric]


@runtime_checkable
class _Folding(Protocol):
    def fold_in(self, histories: Interactions, /) -> FactorModel: ...


def check_baseline(baseline: object, names: Collection[str]) -> None:
    """Check the parameter `baseline`, given the names of the models."""
    if baseline is None or (isinstance(baseline, str) and baseline == "auto"):
        return
    if not isinstance(baseline, Mapping):
        raise ParameterError(f"baseline={baseline!r}: give 'auto', None, or a mapping from name to estimator")
    for name, estimator in baseline.items():
        if not isinstance(name, str) or not isinstance(estimator, FactorModel) or not hasattr(estimator, "fit"):
            raise ParameterError(
                f"the baseline {name!r} is {estimator!r}: give a name and an estimator, such as "
                "{'UserItemBias': hs.UserItemBias()}"
            )
        if name in names:
            raise ParameterError(f"the baseline {name!r} has the name of a model: give it another name")


def fitted_baselines(
    baseline: Baseline, models: Mapping[str, FactorModel], asked: Sequence[Metric]
) -> dict[str, Compared]:
    """Fit the baselines of an evaluation to the training data of the models.

    Parameters
    ----------
    baseline : {"auto"}, mapping from name to estimator, or None
        As in `halfstep.evaluate`, after `check_baseline`.
    models : mapping from name to fitted model
        Fitted on the same interactions.

    Raises
    ------
    ParameterError
        If a baseline of "auto" has the name of a model, or the models are folded in and an estimator does not support
        this.
    DataError
        If the models are folded in, the training data of the items are unknown, and an estimator requires them.
    """
    first = next(iter(models.values()))
    if isinstance(baseline, Mapping):
        return {name: Compared(_fitted(name, each, first), asked) for name, each in baseline.items()}
    if baseline is None:
        return {}
    training = training_of_items(first)
    baselines: dict[str, Compared] = {}
    for kinds, names in ((OF_LISTS, PER_LIST), (OF_VALUES, PER_PAIR)):
        fitting = [metric for metric in asked if metric.name in names]
        if not fitting or (kinds is OF_VALUES and (training is None or not training.has_values)):
            continue
        for kind in kinds:
            if any(isinstance(each, kind) for each in models.values()):
                continue
            if kind.__name__ in models:
                raise ParameterError(
                    f"a model is named {kind.__name__!r}, but is not an hs.{kind.__name__}: give it another name"
                )
            model = _popularity(first) if kind is Popularity else _fitted(kind.__name__, kind(), first)
            baselines[kind.__name__] = Compared(model, fitting)
    return baselines


def _popularity(model: FactorModel) -> Popularity:
    """Return popularity by the counts of a model, which are known even if the training data are not."""
    popularity = Popularity().fit(training_of(model))
    counts = model.item_counts_
    popularity._set_result(replace(popularity._fitted, item_counts=counts, item_biases=counts.astype(np.float64)))
    return popularity


def _fitted(name: str, estimator: FactorModel, model: FactorModel) -> FactorModel:
    """Fit a copy of an estimator to the training data of a model, and fold in the users of a folded-in model."""
    training = training_of_items(model)
    if training is None:
        raise DataError(
            f"the training data of this folded-in model are unknown, and the baseline {name!r} requires them: fold "
            "in again from the fitted model, or set baseline='auto' or None"
        )
    fitted: FactorModel = copy.copy(estimator).fit(training)  # type: ignore[attr-defined]
    if not model._fitted.is_folded:
        return fitted
    histories = training_of(model)
    if isinstance(fitted, BaselineModel):
        return fitted.of_users(histories)
    if isinstance(fitted, _Folding):
        return fitted.fold_in(histories)
    raise ParameterError(
        f"the models are folded in, and the baseline {name!r} does not support this: {type(fitted).__name__} has "
        "no fold_in; omit it"
    )
