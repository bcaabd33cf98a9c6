"""Parameters that are chosen from the data where no option sets them; each choice is printed with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

import halfstep as hs
from halfstep.cli.combinations import UsageError
from halfstep.cli.options import ObjectiveName

T = TypeVar("T")

# Fair starts, found on splits inside the training part of MovieLens 100K; λ is worth tuning on data of one's own.
IMPLICIT_RANK, IMPLICIT_REGULARIZATION, IMPLICIT_MISSING = 64, 0.3, 0.1
EXPLICIT_RANK, EXPLICIT_REGULARIZATION = 16, 1.5
MOST_RATINGS = 21  # distinct values, as on a scale of 0 to 10 in halves


@dataclass(frozen=True)
class Wishes:
    """Options of the model; None where an option is not given."""

    objective: ObjectiveName | None
    rank: int | None
    regularization: float | None
    exponent: float | None
    iterations: int | None
    alpha: float | None
    missing_weight: float | None
    biases: bool | None
    seed: int


def choose_model(data: hs.Interactions, wishes: Wishes) -> tuple[hs.ALS, list[str]]:
    """Make the estimator, and describe in a line each what was chosen and why."""
    objective, why = _objective(data, wishes.objective)
    is_implicit = objective is ObjectiveName.implicit
    wrong = {"--biases": wishes.biases} if is_implicit else {"--alpha": wishes.alpha}
    for option, given in wrong.items():
        if given is not None:
            other = ObjectiveName.explicit if is_implicit else ObjectiveName.implicit
            raise UsageError(
                f"{option} requires --objective {other.value}, but the objective is {objective.value} ({why})"
            )
    rank = _or(wishes.rank, IMPLICIT_RANK if is_implicit else EXPLICIT_RANK)
    regularization = _or(wishes.regularization, IMPLICIT_REGULARIZATION if is_implicit else EXPLICIT_REGULARIZATION)
    chosen: hs.Explicit | hs.Implicit
    if is_implicit:
        missing = _or(wishes.missing_weight, IMPLICIT_MISSING)
        chosen = hs.Implicit(observed_weight=_confidence(data, wishes.alpha), missing_weight=missing)
    else:
        chosen = hs.Explicit(missing_weight=_or(wishes.missing_weight, 0.0), biases=_or(wishes.biases, True))
    others: dict[str, Any] = {"regularization_exponent": wishes.exponent, "iterations": wishes.iterations}
    model = hs.ALS(
        chosen, rank=rank, regularization=regularization, random_state=wishes.seed,
        **{name: value for name, value in others.items() if value is not None},
    )  # fmt: skip
    lines = [
        f"objective: {objective.value}, {why}",
        f"model: {chosen}",
        f"rank {model.rank}, λ {model.regularization:g} · count^{model.regularization_exponent:g}, "
        f"{model.iterations} iterations, seed {wishes.seed}",
    ]
    return model, lines


def _objective(data: hs.Interactions, asked: ObjectiveName | None) -> tuple[ObjectiveName, str]:
    if asked is not None:
        return asked, "as set by --objective"
    if not data.has_values:
        return ObjectiveName.implicit, "as there are no values"
    distinct = np.unique(data.values)
    if len(distinct) == 1:
        return ObjectiveName.implicit, "as all values are the same"
    if len(distinct) <= MOST_RATINGS and _is_a_scale(data.values):
        return (
            ObjectiveName.explicit,
            f"as {len(distinct)} values from {distinct[0]:g} to {distinct[-1]:g} look rated",
        )
    return ObjectiveName.implicit, f"as values from {distinct[0]:g} to {distinct[-1]:g} look counted"


def _is_a_scale(values: NDArray[np.float64]) -> bool:
    """Return whether the lowest value is not the most common one, as it is in counts."""
    distinct, counts = np.unique(values, return_counts=True)
    return bool(distinct[np.argmax(counts)] != distinct[0] or distinct[0] < 0)


def _confidence(
    data: hs.Interactions, alpha: float | None
) -> hs.weights.confidence | hs.weights.log_confidence | None:
    """Weight by value where values differ; by the logarithm unless alpha is given, since counts have long tails."""
    if alpha is not None:
        return hs.weights.confidence(alpha)
    if data.weights is not None or np.ptp(data.values) == 0 or data.values.min() < 0:
        return None
    return hs.weights.log_confidence(alpha=1.0, epsilon=1.0)


def _or(given: T | None, otherwise: T) -> T:
    return otherwise if given is None else given
