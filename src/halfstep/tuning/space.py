"""What is searched: values of parameters, as lists or as distributions, and where they go in an estimator."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

from halfstep._support.checks import check_finite, check_flag, check_integer
from halfstep._support.estimator import check_parameter_name
from halfstep.errors import ParameterError

Point = dict[str, float]
"""A number for each parameter, in the order of the space: the place in a list, or what a distribution gave."""

NOT_TUNED = ("callbacks", "init", "progress", "random_state", "threads")
"""Parameters that change how a fit runs, or how lucky it is, and not how good the model is."""

SIDES = ("users", "items")
"""What the two parts of a pair are called in a path."""


class Distribution(Protocol):
    """Where values are drawn from."""

    def draw(self, rng: np.random.Generator) -> float:
        """Draw one value."""
        ...


@dataclass(frozen=True)
class Uniform:
    """A number between two ends, each as likely as another.

    Parameters
    ----------
    low, high : float
        The ends, low < high.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_ends(self)

    def draw(self, rng: np.random.Generator) -> float:
        return float(rng.uniform(self.low, self.high))


@dataclass(frozen=True)
class LogUniform:
    """A number between two ends whose logarithm is uniform: each factor of ten gets as many draws as another.

    Parameters
    ----------
    low, high : float
        The ends, 0 < low < high.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_ends(self, above=0)

    def draw(self, rng: np.random.Generator) -> float:
        drawn = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
        return min(max(drawn, self.low), self.high)  # rounding


@dataclass(frozen=True)
class Integers:
    """An integer between two ends, both included.

    Parameters
    ----------
    low, high : int
        The ends, low < high.
    log : bool
        Whether each doubling gets as many draws as another, rather than each integer; then low ≥ 1.
    """

    low: int
    high: int
    log: bool = False

    def __post_init__(self) -> None:
        check_flag("log", self.log)
        for name in ("low", "high"):
            check_integer(name, getattr(self, name), minimum=1 if self.log else -(1 << 62))
        _check_ends(self)

    def draw(self, rng: np.random.Generator) -> int:
        if not self.log:
            return int(rng.integers(self.low, self.high + 1))
        # an integer k stands for the reals from k − ½ to k + ½
        drawn = round(math.exp(rng.uniform(math.log(self.low - 0.5), math.log(self.high + 0.5))))
        return min(max(drawn, self.low), self.high)


@dataclass(frozen=True)
class Choices:
    """One of some values, each as likely as another.

    Attributes
    ----------
    values : tuple
        Anything that the parameter may be.
    """

    values: tuple[Any, ...]

    @property
    def are_ascending(self) -> bool:
        """Whether they are numbers in order, so that neighbours are alike."""
        numbers = [each for each in self.values if is_number(each)]
        return len(numbers) == len(self.values) and all(a < b for a, b in pairwise(numbers))

    def draw(self, rng: np.random.Generator) -> int:
        return int(rng.integers(len(self.values)))


@dataclass(frozen=True)
class Space:
    """The parameters to search, each with where its values come from.

    Attributes
    ----------
    dimensions : dict
        By the parameter's name, which may be a path such as "objective.weight".
    """

    dimensions: Mapping[str, Distribution]

    @classmethod
    def of(cls, given: Mapping[str, Any], estimator: Any) -> Space:
        """Read what a caller gave, and check that the estimator has such parameters.

        Raises
        ------
        ParameterError
            If nothing is given, or a name or its values make no sense.
        """
        if not isinstance(given, Mapping):
            raise ParameterError(f"space is a {type(given).__name__}: give a mapping from parameter to its values")
        if not given:
            raise ParameterError("space is empty: name at least one parameter with the values to try")
        return cls({name: _dimension(name, values, estimator) for name, values in given.items()})

    @property
    def is_finite(self) -> bool:
        """Whether all values are listed."""
        return all(isinstance(each, Choices) for each in self.dimensions.values())

    @property
    def size(self) -> float:
        """How many points there are."""
        lengths = [len(d.values) if isinstance(d, Choices) else math.inf for d in self.dimensions.values()]
        return math.prod(lengths)

    def point(self, values: Mapping[str, Any]) -> Point | None:
        """Return the point of the space that is nearest to some values; None if they cannot be compared."""
        point = {name: _nearest(dimension, values[name]) for name, dimension in self.dimensions.items()}
        found = {name: place for name, place in point.items() if place is not None}
        return found if len(found) == len(point) else None

    def values(self, point: Point) -> dict[str, Any]:
        """Give the value of each parameter."""
        return {
            name: dimension.values[int(point[name])] if isinstance(dimension, Choices) else point[name]
            for name, dimension in self.dimensions.items()
        }


def is_number(value: object) -> bool:
    """Whether a value can be compared with others by size."""
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def with_parameters(estimator: Any, parameters: Mapping[str, Any]) -> Any:
    """Make an unfitted copy of an estimator with other parameters.

    Parameters
    ----------
    estimator : dataclass
    parameters : mapping
        By name or path: "objective.weight" is the weight of what `objective` is, and "regularization.users" the first
        of a pair. Shorter paths are set first.
    """
    for path in sorted(parameters, key=lambda path: path.count(".")):
        estimator = _replaced(estimator, path, path, parameters[path])
    return estimator


def _replaced(thing: Any, path: str, whole: str, value: Any) -> Any:
    name, _, rest = path.partition(".")
    if name in SIDES and not rest and (thing is None or _is_of_sides(thing)):
        other = value if thing is None else thing  # until that is set, too
        pair = list(thing) if isinstance(thing, tuple | list) else [other, other]
        pair[SIDES.index(name)] = value
        return tuple(pair)
    check_parameter_name(thing, name, whole)
    return dataclasses.replace(
        thing, **{name: _replaced(getattr(thing, name), rest, whole, value) if rest else value}
    )


def _is_of_sides(thing: Any) -> bool:
    """Whether it is a number for both sides, or one for each."""
    return is_number(thing) or (isinstance(thing, tuple | list) and len(thing) == len(SIDES))


def _dimension(name: str, values: Any, estimator: Any) -> Distribution:
    thing = estimator
    steps = name.split(".") if isinstance(name, str) else [repr(name)]
    for depth, step in enumerate(steps):
        if depth and step == steps[-1] and step in SIDES and _is_of_sides(thing):
            break
        check_parameter_name(thing, step, name)
        thing = getattr(thing, step)
        if thing is None:
            break  # what another parameter puts there will tell
    if steps[0] in NOT_TUNED:
        raise ParameterError(f"{steps[0]} is nothing to tune: it does not say what is learnt; leave it out")
    if isinstance(values, Uniform | LogUniform | Integers):
        return values
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise ParameterError(
            f"space[{name!r}] is {values!r}: give a list of values, or a distribution such as LogUniform(0.1, 10)"
        )
    choices = Choices(tuple(each.item() if isinstance(each, np.generic) else each for each in values))
    if not choices.values:
        raise ParameterError(f"space[{name!r}] is empty: give at least one value")
    return choices


def clipped(dimension: Distribution, number: float) -> float:
    """Return the number, clipped to the range of the distribution."""
    if isinstance(dimension, Uniform | LogUniform | Integers):
        return min(max(number, dimension.low), dimension.high)
    return number


def _nearest(dimension: Distribution, value: Any) -> float | None:
    if not isinstance(dimension, Choices):
        return clipped(dimension, value) if is_number(value) else None
    for place, choice in enumerate(dimension.values):
        if type(choice) is type(value) and choice == value:
            return place
    if not (is_number(value) and all(map(is_number, dimension.values))):
        return None
    return min(range(len(dimension.values)), key=lambda n: abs(dimension.values[n] - value))


def _check_ends(range_: Uniform | LogUniform | Integers, above: float | None = None) -> None:
    for name in ("low", "high"):
        check_finite(name, getattr(range_, name))
    if above is not None and range_.low <= above:
        raise ParameterError(f"low={range_.low!r}: give a number above {above:g}")
    if range_.low >= range_.high:
        raise ParameterError(f"{range_!r}: low must be below high; to fix a parameter, give it to the estimator")
