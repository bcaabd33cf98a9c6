"""What presets of several libraries share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from halfstep._support.checks import check_number
from halfstep.errors import ParameterError
from halfstep.objective.regularization import Counted, Regularization
from halfstep.solvers import Cholesky

PLAIN = Cholesky(extrapolation=0.0)


Seed = int | np.random.Generator | None


def four_lambdas(lambda_: float | Sequence[float]) -> tuple[float, float, float, float]:
    """Return λ of cmfrec for the biases of users and items, and for the factors of users and items."""
    is_listed = isinstance(lambda_, list | tuple | np.ndarray) and np.ndim(lambda_) == 1
    given: list[Any] = list(lambda_) if is_listed else [lambda_] * 6  # type: ignore[arg-type]
    if len(given) != 6:
        raise ParameterError(f"lambda_={lambda_!r}: give one number, or six")
    for number in given:
        check_number("lambda_", number)
    user_biases, item_biases, users, items = map(float, given[:4])
    return user_biases, item_biases, users, items


def scaled_regularization(
    given: Any, exponent: float, *, counts: Counted = "observed", bias_ratio: float | None = None
) -> Regularization:
    """Return the regularization for λ, or a pair of λ, scaled by counts to the power `exponent`."""
    scaled = replace(Regularization.of(given), exponent=exponent, counts=counts, bias_ratio=bias_ratio)
    return replace(scaled, items=None) if scaled.items == scaled.users else scaled
