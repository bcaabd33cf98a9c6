"""Parameters that are chosen from the data if no option sets them; each choice is printed with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import halfstep as hs
from halfstep.cli.combinations import UsageError
from halfstep.cli.options import Counts, ObjectiveName

MOST_RATINGS = 21  # distinct values, as from 0 to 10 in steps of 0.5


@dataclass(frozen=True)
class Wishes:
    """Options of the model; None if an option is not given."""

    objective: ObjectiveName | None
    rank: int | None
    regularization: float | None
    exponent: float | None
    counts: Counts | None
    iterations: int | None
    alpha: float | None
    missing_weight: float | None
    biases: bool | None
    seed: int


def choose_model(data: hs.Interactions, wishes: Wishes) -> tuple[hs.ALS, list[str]]:
    """Make the estimator, and return a line for each choice with its reason."""
    objective, why = _objective(data, wishes.objective)
    is_implicit = objective is ObjectiveName.implicit
    wrong = {"--biases": wishes.biases} if is_implicit else {"--alpha": wishes.alpha}
    for option, given in wrong.items():
        if given is not None:
            other = ObjectiveName.explicit if is_implicit else ObjectiveName.implicit
            raise UsageError(
                f"{option} requires --objective {other.value}, but the objective is {objective.value} ({why})"
            )
    chosen: hs.Explicit | hs.Implicit
    if is_implicit:
        weight = None if wishes.alpha is None else hs.weights.confidence(wishes.alpha)
        chosen = hs.Implicit(observed_weight=weight, missing_weight=wishes.missing_weight)
    else:
        asked: dict[str, Any] = {"missing_weight": wishes.missing_weight, "biases": wishes.biases}
        chosen = hs.Explicit(**_given(asked))
    parameters: dict[str, Any] = {
        "rank": wishes.rank,
        "regularization": _regularization(wishes),
        "iterations": wishes.iterations,
    }
    model = hs.ALS(chosen, random_state=wishes.seed, **_given(parameters))
    return model, [f"objective: {objective.value}, {why}", f"model: {model!r}"]


def describe_fit(model: Any) -> list[str]:
    """Return a line with the parameters of a fitted ALS, including defaults that depend on the data."""
    if not isinstance(model, hs.ALS):
        return []
    fitted, missing = model.regularization_, getattr(model.objective_, "missing_weight", None)
    weight = f", missing weight {missing:.4g}" if isinstance(missing, float) and missing else ""
    return [f"rank {model.item_factors_.shape[1]}, λ {fitted.users:.4g} · count^{fitted.exponent:g}{weight}"]


def _objective(data: hs.Interactions, asked: ObjectiveName | None) -> tuple[ObjectiveName, str]:
    if asked is not None:
        return asked, "set by --objective"
    if not data.has_values:
        return ObjectiveName.implicit, "because there are no values"
    distinct = np.unique(data.values)
    if len(distinct) == 1:
        return ObjectiveName.implicit, "because all values are the same"
    if len(distinct) <= MOST_RATINGS and _is_a_scale(data.values):
        return (
            ObjectiveName.explicit,
            f"because {len(distinct)} values from {distinct[0]:g} to {distinct[-1]:g} look like ratings",
        )
    return ObjectiveName.implicit, f"because values from {distinct[0]:g} to {distinct[-1]:g} look like counts"


def _is_a_scale(values: NDArray[np.float64]) -> bool:
    """Return whether values are on a rating scale; for counts, the lowest value is the most common one."""
    distinct, counts = np.unique(values, return_counts=True)
    return bool(distinct[np.argmax(counts)] != distinct[0] or distinct[0] < 0)


def _regularization(wishes: Wishes) -> hs.Regularization | float | None:
    if wishes.exponent is None and wishes.counts is None:
        return wishes.regularization
    counts = None if wishes.counts is None else wishes.counts.value
    given = _given({"users": wishes.regularization, "exponent": wishes.exponent, "counts": counts})
    return hs.Regularization(**given)


def _given(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters that options set."""
    return {name: value for name, value in parameters.items() if value is not None}
