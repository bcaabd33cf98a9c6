"""Reprs of objects with the parameters that differ from their defaults."""

from __future__ import annotations

import dataclasses
from types import BuiltinFunctionType, FunctionType
from typing import Any

import numpy as np


def short_repr(thing: Any) -> str:
    """Return the repr of a dataclass without the parameters that have their defaults.

    Examples
    --------
    >>> from halfstep import ALS, Implicit
    >>> print(short_repr(ALS(Implicit(), rank=8)))
    ALS(Implicit(), rank=8)
    """
    first = dataclasses.fields(thing)[:1]
    unnamed = {field.name for field in first if not field.kw_only}  # as in ALS(Implicit(), rank=8)
    shown = (
        short_value(value) if name in unnamed else f"{name}={short_value(value)}"
        for name, value in changed_parameters(thing).items()
    )
    return f"{type(thing).__name__}({', '.join(shown)})"


def changed_parameters(thing: Any) -> dict[str, Any]:
    """Return the parameters of a dataclass that differ from their defaults, by name."""
    values = {field: getattr(thing, field.name) for field in dataclasses.fields(thing) if field.init}
    return {field.name: value for field, value in values.items() if not _is_same(value, _default(field))}


def short_value(value: Any) -> str:
    """Return the repr of a parameter; for arrays the shape, for functions the name."""
    if isinstance(value, np.ndarray):
        return f"<array of shape {value.shape}>" if value.ndim else repr(value[()])
    if isinstance(value, list | tuple):
        parts = ", ".join(map(short_value, value[:3])) + ", …" * (len(value) > 3)
        if isinstance(value, list):
            return f"[{parts}]"
        return f"({parts}{',' * (len(value) == 1)})"
    if isinstance(value, FunctionType | BuiltinFunctionType | type):
        return value.__name__
    return repr(value)


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _is_same(value: Any, default: Any) -> bool:
    """Whether a parameter equals its default; arrays are never compared."""
    if value is default:
        return True
    if type(value) is not type(default):
        return False
    if dataclasses.is_dataclass(value):
        names = (field.name for field in dataclasses.fields(value))
        return all(_is_same(getattr(value, name), getattr(default, name)) for name in names)
    if isinstance(value, tuple):
        return len(value) == len(default) and all(map(_is_same, value, default))
    return isinstance(value, bool | int | float | str) and value == default
