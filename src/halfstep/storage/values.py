"""Parameters to JSON and back: numbers, texts, arrays, objectives and weights, by tables and never by import."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn

import numpy as np
from numpy.typing import NDArray

from halfstep import solvers, weights
from halfstep.errors import HalfstepError, ParameterError
from halfstep.objective.objective import Explicit, Implicit, Objective
from halfstep.objective.regularization import Regularization
from halfstep.storage.container import storable_array
from halfstep.storage.faults import corrupted, has_drift
from halfstep.weights import Cells

Arrays = dict[str, NDArray[Any]]

# What a parameter may be made of, beside numbers, texts, arrays, lists and tuples of them.
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

# A generator's own position must lie within its buffer: NumPy believes what it is given.
_BIT_GENERATORS: Mapping[str, Callable[[Mapping[str, Any]], bool]] = {
    "PCG64": lambda state: True,
    "PCG64DXSM": lambda state: True,
    "SFC64": lambda state: True,
    "MT19937": lambda state: 0 <= state["state"]["pos"] <= 624,
    "Philox": lambda state: 0 <= state["buffer_pos"] <= 4,
}


@dataclass(frozen=True)
class NotStored:
    """Stands in a loaded model for what a file cannot hold, such as a function; using it is an error that says so.

    Attributes
    ----------
    place : str
        The parameter that it was given as, such as ``objective.weight``.
    description : str
        What it was.
    """

    place: str
    description: str

    uses_values: ClassVar[bool] = False  # so that the error below is the first

    def __call__(self, *_: object) -> NoReturn:
        raise ParameterError(
            f"{self.place} was {self.description}, which a file cannot hold: the loaded model predicts and "
            f"recommends, but to fit it, give it its {self.place.partition('.')[0].partition('[')[0]} again"
        )


@dataclass(frozen=True)
class NotStoredObjective(NotStored, Objective):
    """The same for an objective of a class that halfstep does not know."""

    def targets(self, cells: Cells) -> NoReturn:
        self(cells)

    def weights(self, cells: Cells) -> NoReturn:
        self(cells)

    def missing(self, cells: Cells) -> NoReturn:
        self(cells)


def pack_value(value: Any, place: str, arrays: Arrays) -> Any:
    """Make JSON of a value; arrays that it has go into `arrays`, under the name of its place.

    What cannot be stored becomes a description of itself, which is read back as `NotStored`.
    """
    if isinstance(value, np.generic) and value.dtype.kind in "biufU":
        value = value.item()
    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return value
    if kind is list:
        return [pack_value(part, f"{place}[{i}]", arrays) for i, part in enumerate(value)]
    if kind is tuple:
        return {"tuple": [pack_value(part, f"{place}[{i}]", arrays) for i, part in enumerate(value)]}
    if STORABLE.get(kind.__name__) is kind:
        fields = {
            field.name: pack_value(getattr(value, field.name), f"{place}.{field.name}", arrays)
            for field in dataclasses.fields(value)
        }
        return {"class": kind.__name__, "fields": fields}
    if kind is np.random.Generator and type(value.bit_generator).__name__ in _BIT_GENERATORS:
        return {"generator": _plain(value.bit_generator.state)}
    if isinstance(value, NotStored):
        return {"not_stored": value.description}
    if hasattr(value, "__array__") and (array := storable_array(np.asarray(value))) is not None:
        arrays[f"parameters.{place}"] = array
        return {"array": f"parameters.{place}"}
    return {"not_stored": _description(value)}


def unpack_value(stored: Any, place: str, arrays: Arrays) -> Any:
    """Make a value of what `pack_value` made.

    Raises
    ------
    Fault
        If there is no such value.
    """
    if isinstance(stored, list):
        return [unpack_value(part, f"{place}[{i}]", arrays) for i, part in enumerate(stored)]
    if not isinstance(stored, dict):
        return stored
    if stored.keys() == {"class", "fields"} and isinstance(stored["class"], str) and stored["class"] in STORABLE:
        given = dict(_dict(stored["fields"]))
        if stored["class"] == "Explicit" and given.pop("drift", None) is not None:  # None in most older files
            raise has_drift()
        fields = {name: unpack_value(part, f"{place}.{name}", arrays) for name, part in given.items()}
        return construct(STORABLE[stored["class"]], fields)
    if len(stored) == 1:
        ((kind, content),) = stored.items()
        if kind == "tuple" and isinstance(content, list):
            return tuple(unpack_value(content, place, arrays))
        if kind == "array" and isinstance(content, str) and content in arrays:
            return arrays[content]
        if kind == "not_stored" and isinstance(content, str):
            return (NotStoredObjective if place == "objective" else NotStored)(place, content)
        if kind == "generator":
            return _generator(_dict(content))
    raise corrupted(f"the parameter {place} cannot be read")


def construct(kind: type, fields: dict[str, Any]) -> Any:
    """Call a class that this library has chosen with parameters that a file has chosen."""
    try:
        return kind(**fields)
    except (TypeError, ValueError, HalfstepError) as error:
        raise corrupted(f"its parameters make no {kind.__name__} ({error})") from error


def _dict(stored: Any) -> dict[str, Any]:
    if not isinstance(stored, dict):
        raise corrupted("its parameters cannot be read")
    return stored


def _plain(state: Any) -> Any:
    """The state of a bit generator without arrays."""
    if isinstance(state, Mapping):
        return {name: _plain(part) for name, part in state.items()}
    return state.tolist() if isinstance(state, np.ndarray | np.generic) else state


def _generator(state: dict[str, Any]) -> np.random.Generator:
    name = state.get("bit_generator")
    try:
        if not isinstance(name, str) or not _BIT_GENERATORS[name](state):
            raise ValueError("there is no such state")
        bit_generator = getattr(np.random, name)()
        bit_generator.state = state
    except (TypeError, ValueError, LookupError, OverflowError) as error:
        raise corrupted(f"its random_state cannot be read ({error})") from error
    return np.random.Generator(bit_generator)


def _description(value: Any) -> str:
    named = value if hasattr(value, "__qualname__") else type(value)
    what = "the function" if named is value else "an object of the class"
    return f"{what} {named.__module__}.{named.__qualname__}"
