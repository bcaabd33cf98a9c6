"""The classes of models that the command line fits."""

from __future__ import annotations

from typing import Any

import halfstep as hs
from halfstep.cli.choices import Wishes, choose_model
from halfstep.cli.options import NAMES, ModelType


def choose_estimator(data: hs.Interactions, model_type: ModelType, wishes: Wishes) -> tuple[Any, list[str]]:
    """Make an estimator of the given class, and return a line for each choice with its reason."""
    if model_type is ModelType.als:
        return choose_model(data, wishes)
    asked = {
        "rank": wishes.rank,
        "iterations": wishes.iterations,
        "regularization": wishes.regularization,
        "objective": None if wishes.biases is None else hs.Explicit(biases=wishes.biases),
    }
    given = {name: value for name, value in asked.items() if value is not None}
    if model_type in (ModelType.bayesian, ModelType.sgd):
        given["random_state"] = wishes.seed
    (kind,) = (each for each, name in NAMES.items() if name is model_type)
    estimator = kind(**given)
    return estimator, [f"model: {estimator}"]
