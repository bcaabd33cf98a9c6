"""Default search spaces."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from halfstep.data import Interactions, as_interactions
from halfstep.errors import ParameterError
from halfstep.models.als import ALS
from halfstep.models.baselines import ItemBias, UserItemBias
from halfstep.models.bayesian.bayesian_als import BayesianALS
from halfstep.models.default_regularization import mean_weight
from halfstep.models.sgd import SGD
from halfstep.objective.objective import Cost, Implicit, Objective
from halfstep.tuning.space import LogUniform

RANKS = [64, 128, 256, 512]
RANKS_OF_VALUES = [8, 16, 32]  # and 0 if there are biases, which fits these alone


def default_space(estimator: Any, data: Any) -> dict[str, Any]:
    """Return the default search space of `tune`.

    Parameters
    ----------
    estimator : ALS, BayesianALS, SGD, UserItemBias or ItemBias
    data : Interactions, scipy.sparse matrix or dataframe
        The data for `tune`. λ is scaled by the values and weights, and the weight of missing cells by their number.

    Returns
    -------
    dict
        Maps names of parameters to lists of values or distributions. For `ALS` with `Explicit`, it has λ of users, λ
        of items, the rank and, with biases, ρ; with `Implicit`, it has λ, its exponent ν, the rank and the weight of
        missing cells; with ``implicit_features=True``, λ_β as well.

    Raises
    ------
    ParameterError
        If the estimator has no default space.

    Examples
    --------
    >>> import halfstep as hs
    >>> data = hs.Interactions.from_arrays(["ann", "ann", "bob"], ["tea", "milk", "tea"], [5.0, 1.0, 4.0])
    >>> hs.default_space(hs.ItemBias(), data) | {"regularization": [5.0, 10.0]}
    {'regularization': [5.0, 10.0]}
    """
    if isinstance(estimator, ALS):
        interactions = as_interactions(data)
        if isinstance(estimator.objective, Implicit):
            return _of_events(estimator, estimator.objective, interactions)
        return _of_values(estimator, interactions)
    if isinstance(estimator, BayesianALS):
        return {"rank": RANKS_OF_VALUES, "implicit_features": [False, True]}
    if isinstance(estimator, SGD):
        return {
            "learning_rate": LogUniform(0.003, 0.03),
            "regularization": LogUniform(0.01, 0.3),
            "iterations": [20, 40, 80],
        }
    if isinstance(estimator, UserItemBias):
        return {"user_regularization": LogUniform(1.0, 100.0), "item_regularization": LogUniform(0.3, 30.0)}
    if isinstance(estimator, ItemBias):
        return {"regularization": LogUniform(0.3, 100.0)}
    raise ParameterError(
        f"there is no default space for {type(estimator).__name__}: set space=... to the parameters to tune"
    )


def default_start(estimator: ALS, data: Interactions) -> dict[str, Any]:
    """Return the default parameters of a fit for the default space, where the search starts."""
    objective, defaults = estimator.objective, estimator.objective.defaults
    cost = objective.cost(data)
    return {
        "regularization": defaults.regularization * _scale(estimator, cost),
        "regularization_exponent": defaults.regularization_exponent,
        "regularization_counts": "observed",
        "rank": RANKS[0],
        "objective.missing_weight": _default_missing_weight(objective, data),
        "feature_regularization": ALS.feature_regularization,
    }


def _of_events(estimator: ALS, objective: Implicit, data: Interactions) -> dict[str, Any]:
    scale = _scale(estimator, objective.cost(data))
    fewest = min(np.count_nonzero(data.user_counts), np.count_nonzero(data.item_counts))
    space: dict[str, Any] = {
        "regularization": _range(0.1 * scale, 5.0 * scale),
        "regularization_exponent": [0.3, 0.5, 0.7],
        "rank": RANKS[:1] if estimator.implicit_features else [rank for rank in RANKS if rank <= fewest] or RANKS[:1],
    }
    if estimator.regularization_counts != "observed":
        space["regularization_counts"] = ["observed"]
    missing = _default_missing_weight(objective, data)
    if missing > 0:
        space["objective.missing_weight"] = _range(missing / 16, missing * 8)
    return space | _of_features(estimator)


def _of_values(estimator: ALS, data: Interactions) -> dict[str, Any]:
    cost = estimator.objective.cost(data)
    scale = _scale(estimator, cost)
    space: dict[str, Any] = {
        "regularization.users": _range(0.03 * scale, 30.0 * scale),
        "regularization.items": _range(0.03 * scale, 30.0 * scale),
        "regularization_exponent": [0.0, 0.5, 0.75, 1.0],
        "rank": [0] * cost.biases + RANKS_OF_VALUES,
    }
    if cost.biases:
        unit = estimator._unit(cost)
        space["bias_regularization"] = _range(0.3 / unit, 3.0 / unit)
    return space | _of_features(estimator)


def _range(low: float, high: float) -> LogUniform:
    """Return a distribution whose bounds are rounded to three digits."""
    return LogUniform(float(f"{low:.3g}"), float(f"{high:.3g}"))


def _of_features(estimator: ALS) -> dict[str, Any]:
    return {"feature_regularization": _range(3.0, 300.0)} if estimator.implicit_features else {}


def _scale(estimator: ALS, cost: Cost) -> float:
    """Return the factor that λ is proportional to."""
    return estimator._unit(cost) * mean_weight(cost)


def _default_missing_weight(objective: Objective, data: Interactions) -> float:
    """Return the default weight of missing cells; 0 if it is a function or 0, and is not searched."""
    if not isinstance(objective, Implicit) or callable(objective.missing_weight) or objective.missing_weight == 0:
        return 0.0
    free = replace(objective, missing_weight=None)
    return free.default_missing_weight(free.cost(data)) or 0.0
