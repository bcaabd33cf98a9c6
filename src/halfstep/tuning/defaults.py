"""The space that is searched where none is given."""

from __future__ import annotations

from typing import Any

from halfstep.als import ALS
from halfstep.baselines import ItemBias, UserItemBias
from halfstep.errors import ParameterError
from halfstep.objective import Implicit
from halfstep.sgd import SGD
from halfstep.tuning.space import LogUniform


def default_space(estimator: Any) -> dict[str, Any]:
    """Give the space that `tune` searches where none is given, to be looked at or to start from.

    Parameters
    ----------
    estimator : ALS, SGD, UserItemBias or ItemBias

    Returns
    -------
    dict
        From a parameter's name to a list of values or a distribution. Of `ALS`: λ, of users and of items apart where
        the objective is `Explicit`; its exponent ν; the rank; ρ where there are biases, or the weight of missing
        cells where the objective is `Implicit`; and λ_β with ``implicit_features=True``.

    Raises
    ------
    ParameterError
        If there is nothing to tune, or nothing is known of the estimator.

    Examples
    --------
    >>> import halfstep as hs
    >>> hs.default_space(hs.ItemBias()) | {"regularization": [5.0, 10.0]}
    {'regularization': [5.0, 10.0]}
    """
    if isinstance(estimator, ALS):
        return _of_als(estimator)
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
        f"there is no space of values for {type(estimator).__name__}: name the parameters to tune by space=..."
    )


def _of_als(estimator: ALS) -> dict[str, Any]:
    """Give λ wide ranges: its best value goes with the scale of the values, the weights and ν."""
    of_features = {"feature_regularization": LogUniform(3.0, 300.0)} if estimator.implicit_features else {}
    if isinstance(estimator.objective, Implicit):
        space: dict[str, Any] = {
            "regularization": LogUniform(0.003, 3.0),
            "regularization_exponent": [0.5, 1.0],
            "rank": [32, 64, 128],
        }
        missing = estimator.objective.missing_weight
        if not callable(missing) and missing > 0:
            space["objective.missing_weight"] = LogUniform(0.01, 1.0)
        return space | of_features
    space = {
        "regularization.users": LogUniform(0.03, 30.0),
        "regularization.items": LogUniform(0.03, 30.0),
        "regularization_exponent": [0.0, 0.5, 0.75, 1.0],
        "rank": [8, 16, 32],
    }
    if estimator.objective.biases:
        space["bias_regularization"] = LogUniform(0.3, 3.0)
    return space | of_features
