"""The arrays of a fitted `ALS` in a file, besides its factors and interactions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from halfstep.models.als_features import FittedFeatures
from halfstep.models.factorization import Factorization
from halfstep.models.storage import NotStored
from halfstep.objective.objective import Objective
from halfstep.objective.regularization import Regularization, RowRegularization

SIZES = {"regularization": 4, "missing_weight": 1}  # of the arrays


def to_arrays(
    fitted: Factorization, used: RowRegularization, features: FittedFeatures | None
) -> dict[str, NDArray[Any]]:
    """Return the regularization, the missing weight and the coefficients of side information as arrays."""
    numbers = [used.users, used.items, used.exponent, used.bias_ratio]
    arrays = {"regularization": np.array(numbers, dtype=np.float64)}
    if fitted.missing_weight is not None:
        arrays["missing_weight"] = np.array([fitted.missing_weight])
    return arrays if features is None else arrays | features.to_arrays()


def from_arrays(
    fitted: Factorization, objective: Objective, given: Regularization, arrays: Mapping[str, NDArray[Any]]
) -> Factorization:
    """Return the factorization with the arrays from `to_arrays`.

    Raises
    ------
    ValueError
        If the arrays do not match the rest of the model.
    """
    # an objective that could not be stored does not tell whether it has biases
    k = fitted.rank
    unknowns = (k, k + 1) if isinstance(objective, NotStored) else (k + bool(objective.biases),)
    features = FittedFeatures.from_arrays(arrays, len(fitted.users), len(fitted.items), unknowns)
    own = {name: arrays[name] for name in SIZES if name in arrays}
    for name, numbers in own.items():
        if numbers.dtype != np.float64 or numbers.shape != (SIZES[name],) or not (numbers >= 0).all():
            raise ValueError(f"its {name} is not {SIZES[name]} numbers of at least 0")
    if "regularization" in own:
        users, items, exponent, ratio = own["regularization"].tolist()
    else:  # files of versions in which defaults did not depend on the data
        users, items = given.pair or (None, None)
        exponent, ratio = given.exponent, given.bias_ratio
    if None in (users, items, exponent, ratio):
        raise ValueError("it does not contain its regularization")
    return replace(
        fitted,
        objective=None if _is_incomplete(objective) else objective,  # else it has to be given again
        regularization=given.completed(RowRegularization(users, items, exponent, ratio, given.counts)),
        missing_weight=own["missing_weight"].item() if "missing_weight" in own else None,
        user_features=None if features is None else features.given,
        coefficients=None if features is None else features.coefficients,
    )


def _is_incomplete(objective: Objective) -> bool:
    """Return whether a file could not hold the objective, or one of its parameters."""
    parts: list[Any] = (
        [getattr(objective, field.name) for field in fields(objective)] if is_dataclass(objective) else []
    )
    return any(isinstance(part, NotStored) for part in (objective, *parts))
