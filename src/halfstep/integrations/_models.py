"""Checks of models that are given to frameworks."""

from __future__ import annotations

from halfstep.errors import ParameterError
from halfstep.models.factor_model import FactorModel


def check_model(model: object) -> FactorModel:
    """Return a model of halfstep; raise ParameterError for anything else."""
    if not isinstance(model, FactorModel):
        raise ParameterError(f"model={model!r}: give a model of halfstep, such as ALS()")
    return model
