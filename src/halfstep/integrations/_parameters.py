"""Unfitted models as JSON, for frameworks that store the configuration of their components."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, InstanceOf, PlainSerializer

from halfstep._support.short_repr import changed_parameters
from halfstep.errors import ParameterError
from halfstep.models.factor_model import FactorModel
from halfstep.persistence import MODELS
from halfstep.storage.values import pack_value, unpack_value


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
    """Return the model of `to_json`; other values as they are."""
    if not isinstance(stored, dict):
        return stored
    kind = MODELS.get(stored.get("class", ""))
    if kind is None:
        raise ParameterError(f"there is no model {stored.get('class')!r}: the class is one of {', '.join(MODELS)}")
    return kind(**{name: unpack_value(value, name, {}) for name, value in stored.get("parameters", {}).items()})


Configured = Annotated[InstanceOf[FactorModel], BeforeValidator(from_json), PlainSerializer(to_json, dict[str, Any])]
"""The type of a field of Pydantic that is a model."""
