"""Conversion of parameters to JSON and back; classes are looked up by name in a table, and never imported."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn

import numpy as np
from numpy.typing import NDArray

from halfstep import solvers, weights
from halfstep._support.faults import corrupted, has_drift
from halfstep.errors import HalfstepError, ParameterError
from halfstep.models.storage.container import storable_array
from halfstep.objective.objective import Explicit, Implicit, Objective
from halfstep.objective.regularization import Regularization
from halfstep.weights import Cells

Arrays = dict[str, NDArray[Any]]

# Classes of parameters, besides numbers, strings, arrays, lists and tuples.
STORABLE: Mapping[str, type] = {
    kind.__name__: kind
    for kind in (
        Explicit,
        Implicit,
        weights.linear_popularity,
        weights.power_popularity,
        weights.confidence,
        weights.log_confidence,
        weights.row_column,
        weights.missing_popularity,
        weights.preference,
        Regularization,
        solvers.Cholesky,
        solvers.ConjugateGradient,
        solvers.Subspace,
    )
}

# Checks of states, since NumPy does not check that the position of a generator is within its buffer.
_BIT_GENERATORS: Mapping[str, Callable[[Mapping[str, Any]], bool]] = {
    "PCG64": lambda state: True,
    "PCG64DXSM": lambda state: True,
    "SFC64": lambda state: True,
    "MT19937": lambda state: 0 <= state["state"]["pos"] <= 624,
    "Philox": lambda state: 0 <= state["buffer_pos"] <= 4,
}


@dataclass(frozen=True)
class NotStored:
    """A parameter of a loaded model that was not stored, such as a function; using it is an error.

    Attributes
    ----------
    parameter : str
        The name, such as ``objective.weight``.
    description : str
        The original value.
    """

    parameter: str
    description: str

    uses_values: ClassVar[bool] = False  # the error below should come first

    def __call__(self, *_: object) -> NoReturn:
        raise ParameterError(
            f"{self.parameter} was {self.description}, which was not stored: the loaded model predicts and "
            f"recommends, but to fit it, set {self.parameter.partition('.')[0].partition('[')[0]} again"
        )


@dataclass(frozen=True)
class NotStoredObjective(NotStored, Objective):
    """An objective of a class outside halfstep, which was not stored."""

    def targets(self, cells: Cells) -> NoReturn:
        self(cells)

    def weights(self, cells: Cells) -> NoReturn:
        self(cells)

    def missing(self, cells: Cells) -> NoReturn:
        self(cells)


def pack_value(value: Any, name: str, arrays: Arrays) -> Any:
    """Convert a parameter to JSON, and add its arrays to `arrays`.

    Values that cannot be stored are replaced by a description, which is read as `NotStored`.
    """
    if isinstance(value, np.generic) and value.dtype.kind in "biufU":
        value = value.item()
    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return value
    if kind is list:
        return [pack_value(part, f"{name}[{i}]", arrays) for i, part in enumerate(value)]
    if kind is tuple:
        return {"tuple": [pack_value(part, f"{name}[{i}]", arrays) for i, part in enumerate(value)]}
    if STORABLE.get(kind.__name__) is kind:
        fields = {
            field.name: pack_value(getattr(value, field.name), f"{name}.{field.name}", arrays)
            for field in dataclasses.fields(value)
        }
        return {"class": kind.__name__, "fields": fields}
    if kind is np.random.Generator and type(value.bit_generator).__name__ in _BIT_GENERATORS:
        return {"generator": _plain(value.bit_generator.state)}
    if isinstance(value, NotStored):
        return {"not_stored": value.description}
    if hasattr(value, "__array__") and (array := storable_array(np.asarray(value))) is not None:
        arrays[f"parameters.{name}"] = array
        return {"array": f"parameters.{name}"}
    return {"not_stored": _description(value)}


def unpack_value(stored: Any, name: str, arrays: Arrays) -> Any:
    """Restore a parameter from the result of `pack_value`.

    Raises
    ------
    Fault
        If it is invalid.
    """
    if isinstance(stored, list):
        return [unpack_value(part, f"{name}[{i}]", arrays) for i, part in enumerate(stored)]
    if not isinstance(stored, dict):
        return stored
    if stored.keys() == {"class", "fields"} and isinstance(stored["class"], str) and stored["class"] in STORABLE:
        given = dict(_dict(stored["fields"]))
        if stored["class"] == "Explicit" and given.pop("drift", None) is not None:  # usually None in older files
            raise has_drift()
        fields = {field: unpack_value(part, f"{name}.{field}", arrays) for field, part in given.items()}
        return construct(STORABLE[stored["class"]], fields)
    if len(stored) == 1:
        ((kind, content),) = stored.items()
        if kind == "tuple" and isinstance(content, list):
            return tuple(unpack_value(content, name, arrays))
        if kind == "array" and isinstance(content, str) and content in arrays:
            return arrays[content]
        if kind == "not_stored" and isinstance(content, str):
            return (NotStoredObjective if name == "objective" else NotStored)(name, content)
        if kind == "generator":
            return _generator(_dict(content))
    raise corrupted(f"the parameter {name} cannot be read")


def construct(kind: type, fields: dict[str, Any]) -> Any:
    """Return an instance of a class with parameters from a file."""
    try:
        return kind(**fields)
    except (TypeError, ValueError, HalfstepError) as error:
        raise corrupted(f"its parameters of {kind.__name__} are invalid ({error})") from error


def _dict(stored: Any) -> dict[str, Any]:
    if not isinstance(stored, dict):
        raise corrupted("its parameters cannot be read")
    return stored


def _plain(state: Any) -> Any:
    """Return the state of a bit generator without arrays."""
    if isinstance(state, Mapping):
        return {name: _plain(part) for name, part in state.items()}
    return state.tolist() if isinstance(state, np.ndarray | np.generic) else state


def _generator(state: dict[str, Any]) -> np.random.Generator:
    name = state.get("bit_generator")
    try:
        if not isinstance(name, str) or not _BIT_GENERATORS[name](state):
            raise ValueError("the state is invalid")
        bit_generator = getattr(np.random, name)()
        bit_generator.state = state
    except (TypeError, ValueError, LookupError, OverflowError) as error:
        raise corrupted(f"its random_state cannot be read ({error})") from error
    return np.random.Generator(bit_generator)


def _description(value: Any) -> str:
    named = value if hasattr(value, "__qualname__") else type(value)
    what = "the function" if named is value else "an object of the class"
    return f"{what} {named.__module__}.{named.__qualname__}"
