"""The estimator API of scikit-learn, which is not imported."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from typing import Any, Self

from halfstep._support.short_repr import short_repr
from halfstep._support.suggestions import did_you_mean
from halfstep.errors import ParameterError


class Estimator:
    """Base of all estimators, whose parameters are the fields of a dataclass.

    Parameters can be set as attributes, and are checked by the constructor and by `fit`. Other attributes can be set
    only if their names begin or end with an underscore, or if the class has them.
    """

    def __post_init__(self) -> None:
        self._check_parameters()

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name.startswith("_") or name.endswith("_") or hasattr(type(self), name)):
            names = parameter_names(self)
            if name not in names:
                raise AttributeError(
                    f"{type(self).__name__!r} object has no parameter {name!r}{did_you_mean(name, names)}; the names "
                    "of other attributes end with an underscore",
                    name=name,
                    obj=self,
                )
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        return short_repr(self)

    def __sklearn_clone__(self) -> Self:
        """Return an unfitted estimator with copies of the parameters; a model given as `init` stays fitted."""
        return type(self)(**copy.deepcopy(self.get_params(deep=False)))

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import Tags, TargetTags  # only scikit-learn calls this

        return Tags(estimator_type=None, target_tags=TargetTags(required=False))

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters, as in scikit-learn.

        Parameters
        ----------
        deep : bool
            Also return the parameters of objectives and weights, under names such as
            ``objective__missing_weight``.

        Returns
        -------
        dict from str to value
        """
        params = {name: getattr(self, name) for name in parameter_names(self)}
        return _with_nested(params) if deep else params

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name, as in scikit-learn; `fit` checks their values.

        Parameters
        ----------
        **params
            Names as in `get_params`: ``rank=8``, or ``objective__missing_weight=0.1``, which replaces the objective
            by one that differs in this parameter.

        Returns
        -------
        self

        Raises
        ------
        ParameterError
            If there is no such parameter; no parameter is set in this case.
        """
        changed = _changed(self, params)
        for name, value in changed.items():
            setattr(self, name, value)
        return self

    def _check_parameters(self) -> None:
        """Raise a ParameterError if a parameter is invalid."""

    def _check_before_fit(self, y: object) -> None:
        """Check the parameters, and that `y` is None, which is present for compatibility with scikit-learn."""
        if y is not None:
            raise ParameterError(
                f"y is of type {type(y).__name__}: omit it, because values are a column of the data, as in "
                "Interactions.from_frame(table, value='rating')"
            )
        self._check_parameters()


def nested_value(thing: Any, name: str) -> Any:
    """Return a parameter, converted to an object with nested parameters if its class defines a conversion."""
    value = getattr(thing, name)
    convert = getattr(type(thing), "_NESTED", {}).get(name)
    return value if convert is None else convert(value)


def parameter_names(thing: Any) -> list[str]:
    """Return the names of the parameters of a dataclass instance; an empty list for other objects."""
    if not dataclasses.is_dataclass(thing) or isinstance(thing, type):
        return []
    return [field.name for field in dataclasses.fields(thing) if field.init]


def check_parameter_name(thing: Any, name: str, whole: str) -> None:
    """Check that an object has a parameter; `whole` is the full name for errors."""
    names = parameter_names(thing)
    if name in names:
        return
    where = f" of {whole!r}" if name != whole else ""
    if not names:
        raise ParameterError(f"there is no parameter {name!r}{where}: {thing!r} has none")
    kind = type(thing).__name__
    raise ParameterError(
        f"{kind} has no parameter {name!r}{where}{did_you_mean(name, names)}; it has {', '.join(names)}"
    )


def _is_nested(value: Any) -> bool:
    """Whether a parameter has nested parameters; those of an estimator given as `init` are not nested."""
    return bool(parameter_names(value)) and not isinstance(value, Estimator)


def _with_nested(params: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for name, value in params.items():
        nested[name] = value
        if _is_nested(value):
            parts = {part: getattr(value, part) for part in parameter_names(value)}
            nested |= {f"{name}__{part}": each for part, each in _with_nested(parts).items()}
    return nested


def _changed(thing: Any, params: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the new values of the parameters of an object, from values of these and of nested parameters."""
    changed: dict[str, Any] = {}
    nested: dict[str, dict[str, Any]] = {}
    for path, value in params.items():
        name, _, rest = path.partition("__")
        check_parameter_name(thing, name, prefix + path)
        if rest:
            nested.setdefault(name, {})[rest] = value
        else:
            changed[name] = value
    for name, parts in nested.items():
        value = changed[name] if name in changed else nested_value(thing, name)
        whole = f"{prefix}{name}__"
        if not _is_nested(value):
            raise ParameterError(f"{whole}{next(iter(parts))}: {name}={value!r} has no parameters to set")
        changed[name] = dataclasses.replace(value, **_changed(value, parts, whole))
    return changed
