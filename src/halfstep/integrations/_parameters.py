"""Unfitted models as JSON, for frameworks that store the configuration of their components."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, InstanceOf, PlainSerializer

from halfstep._support.faults import Fault
from halfstep._support.short_repr import changed_parameters
from halfstep.errors import ParameterError
from halfstep.models.factor_model import FactorModel
from halfstep.models.storage.values import pack_value, unpack_value
from halfstep.persistence import MODELS


def to_json(model: FactorModel) -> dict[str, Any]:
    """Return the class of a model and its non-default parameters; raise ParameterError if one is an array.

    A parameter that cannot be stored, such as a function, is replaced by a description.
    """
    arrays: dict[str, Any] = {}
    parameters = {name: pack_value(getattr(model, name), name, arrays) for name in changed_parameters(model)}
    if arrays:
        raise ParameterError(f"arrays cannot be stored in a configuration: omit {', '.join(arrays)}")
    return {"class": type(model).__name__, "parameters": parameters}


def from_json(stored: Any) -> Any:
    """Return the model that `to_json` stored; other values unchanged."""
    if not isinstance(stored, dict):
        return stored
    name, parameters = stored.get("class"), stored.get("parameters", {})
    if not isinstance(name, str) or name not in MODELS:
        raise ParameterError(f"there is no model {name!r}: the class is one of {', '.join(MODELS)}")
    if not isinstance(parameters, dict):
        raise ParameterError(f"the parameters of {name} are {parameters!r}: give a mapping from name to value")
    try:
        return MODELS[name](**{key: unpack_value(value, key, {}) for key, value in parameters.items()})
    except (TypeError, Fault) as error:
        raise ParameterError(
            f"the parameters of {name} are invalid ({error}): give those of halfstep.{name}"
        ) from error


Configured = Annotated[InstanceOf[FactorModel], BeforeValidator(from_json), PlainSerializer(to_json, dict[str, Any])]
"""The type of a field of Pydantic that is a model."""
