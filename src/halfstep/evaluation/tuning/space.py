"""Search spaces, their defaults, and parameters of estimators by path."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from halfstep._support.checks import check_finite, check_flag, check_integer
from halfstep._support.estimator import Estimator, check_parameter_name, nested_value, parameter_names
from halfstep.data import Interactions, as_interactions
from halfstep.errors import ParameterError
from halfstep.models.als import ALS
from halfstep.models.baselines import ItemBias, UserItemBias
from halfstep.models.bayesian.bayesian_als import BayesianALS
from halfstep.models.default_regularization import mean_weight
from halfstep.models.ease import EASE
from halfstep.models.item_knn import ItemKNN
from halfstep.models.sgd import SGD
from halfstep.objective.cost import Cost
from halfstep.objective.objective import Implicit, Objective
from halfstep.objective.regularization import Regularization

SearchName = Literal["grid", "random", "tpe", "doubling"]

N_TRIALS: dict[SearchName, int] = {"tpe": 100, "random": 300, "doubling": 30}
"""Default number of trials; of "doubling", at the lowest rank. Random search needs more trials for the same score."""

RANKS = [64, 128, 256, 512]
RANKS_OF_VALUES = [8, 16, 32]  # and 0 if there are biases, which fits these alone

Point = dict[str, float]
"""A number for each parameter, in the order of the space: the index in a list, or a value of a distribution."""

NOT_TUNED = frozenset({"backend", "callbacks", "init", "progress", "random_state", "threads"})
"""Parameters that do not affect the quality of a model, other than by chance."""


@dataclass(frozen=True)
class Uniform:
    """A number with a uniform distribution.

    Parameters
    ----------
    low, high : float
        The bounds, low < high.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_bounds(self)


@dataclass(frozen=True)
class LogUniform:
    """A number whose logarithm has a uniform distribution.

    Parameters
    ----------
    low, high : float
        The bounds, 0 < low < high.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_bounds(self, above=0)


@dataclass(frozen=True)
class Integers:
    """An integer between two bounds, both included, with a uniform distribution.

    Parameters
    ----------
    low, high : int
        The bounds, low < high.
    log : bool
        Whether the logarithm is uniform instead of the integer; then low ≥ 1.
    """

    low: int
    high: int
    log: bool = False

    def __post_init__(self) -> None:
        check_flag("log", self.log)
        for name in ("low", "high"):
            check_integer(name, getattr(self, name), minimum=1 if self.log else -(1 << 62))
        _check_bounds(self)


@dataclass(frozen=True)
class Choices:
    """One of the listed values of any type, with a uniform distribution."""

    values: tuple[Any, ...]

    @property
    def are_ascending(self) -> bool:
        """Whether the values are numbers in ascending order."""
        return self.are_numbers and all(a < b for a, b in pairwise(self.values))

    @property
    def are_numbers(self) -> bool:
        """Whether all values are numbers."""
        return all(map(is_number, self.values))


Dimension = Uniform | LogUniform | Integers | Choices


@dataclass(frozen=True)
class Space:
    """The values to search for each parameter, whose name may be a path such as "objective.weight"."""

    dimensions: Mapping[str, Dimension]

    @classmethod
    def of(cls, given: Mapping[str, Any], estimator: Any) -> Space:
        """Return the space for an argument of `tune`, and check that the estimator has its parameters.

        Raises
        ------
        ParameterError
            If the space is empty, or a name or its values are invalid.
        """
        if not isinstance(given, Mapping):
            raise ParameterError(
                f"space is of type {type(given).__name__}: give a mapping from parameter to its values"
            )
        if not given:
            raise ParameterError("space is empty: name at least one parameter with the values to try")
        return cls({name: _dimension(name, values, estimator) for name, values in given.items()})

    @property
    def is_finite(self) -> bool:
        """Whether all values are listed."""
        return all(isinstance(each, Choices) for each in self.dimensions.values())

    @property
    def size(self) -> float:
        """The number of points."""
        return math.prod(map(_size, self.dimensions.values()))

    @property
    def n_ranks(self) -> int:
        """The number of listed ranks; 1 if there is no list."""
        ranks = self.dimensions.get("rank")
        return len(ranks.values) if isinstance(ranks, Choices) else 1

    def ascending_ranks(self) -> Space:
        """Return the space with its list of ranks in ascending order, without repeats.

        Raises
        ------
        ParameterError
            If a listed rank is not an integer.
        """
        ranks = self.dimensions.get("rank")
        if not isinstance(ranks, Choices):
            return self
        for rank in ranks.values:
            check_integer("rank", rank, minimum=0)
        return self._with_ranks(sorted(set(ranks.values)))

    def lowest_rank(self) -> Space:
        """Return the space with the first of its ranks only."""
        ranks = self.dimensions.get("rank")
        return self._with_ranks(ranks.values[:1]) if isinstance(ranks, Choices) else self

    def _with_ranks(self, ranks: Sequence[int]) -> Space:
        return Space({**self.dimensions, "rank": Choices(tuple(ranks))})

    def point(self, values: Mapping[str, Any]) -> Point | None:
        """Return the point of the space that is nearest to some values; None if they cannot be compared."""
        point = {name: _nearest(dimension, values[name]) for name, dimension in self.dimensions.items()}
        found = {name: place for name, place in point.items() if place is not None}
        return found if len(found) == len(point) else None

    def values(self, point: Point) -> dict[str, Any]:
        """Return the value of each parameter at a point."""
        return {
            name: dimension.values[int(point[name])] if isinstance(dimension, Choices) else point[name]
            for name, dimension in self.dimensions.items()
        }


def is_number(value: object) -> bool:
    """Whether a value is a number."""
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def with_parameters(estimator: Any, parameters: Mapping[str, Any]) -> Any:
    """Return an unfitted copy of an estimator with other parameters.

    Parameters
    ----------
    parameters : mapping
        By name or path: "objective.weight" is the weight of `objective`, and "regularization.users" the λ of users.
        Shorter paths are set first.
    """
    for path in sorted(parameters, key=lambda path: path.count(".")):
        estimator = _replaced(estimator, path, path, parameters[path])
    return estimator


def _replaced(thing: Any, path: str, whole: str, value: Any) -> Any:
    name, _, rest = path.partition(".")
    check_parameter_name(thing, name, whole)
    return dataclasses.replace(
        thing, **{name: _replaced(nested_value(thing, name), rest, whole, value) if rest else value}
    )


def _dimension(name: str, values: Any, estimator: Any) -> Dimension:
    thing = estimator
    steps = name.split(".") if isinstance(name, str) else [repr(name)]
    for step in steps:
        check_parameter_name(thing, step, name)
        thing = nested_value(thing, step)
        if thing is None:
            break  # checked when another parameter has replaced it
    if steps[0] in NOT_TUNED:
        raise ParameterError(f"{steps[0]} cannot be tuned, because it does not affect the quality of models: omit it")
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


def clipped(dimension: Dimension, number: float) -> float:
    """Return the number, clipped to the range of the distribution."""
    if isinstance(dimension, Choices):
        return number
    number = min(max(number, dimension.low), dimension.high)
    return round(number) if isinstance(dimension, Integers) else number


def _size(dimension: Dimension) -> float:
    if isinstance(dimension, Choices):
        return len(dimension.values)
    return dimension.high - dimension.low + 1 if isinstance(dimension, Integers) else math.inf


def _nearest(dimension: Dimension, value: Any) -> float | None:
    if not isinstance(dimension, Choices):
        return clipped(dimension, value) if is_number(value) else None
    for place, choice in enumerate(dimension.values):
        if type(choice) is type(value) and choice == value:
            return place
    if not (is_number(value) and dimension.are_numbers):
        return None
    return min(range(len(dimension.values)), key=lambda n: abs(dimension.values[n] - value))


def _check_bounds(range_: Uniform | LogUniform | Integers, above: float | None = None) -> None:
    for name in ("low", "high"):
        check_finite(name, getattr(range_, name))
    if above is not None and range_.low <= above:
        raise ParameterError(f"low={range_.low!r}: give a number above {above:g}")
    if range_.low >= range_.high:
        raise ParameterError(f"{range_!r}: low must be below high; to fix a parameter, give it to the estimator")


def default_space(estimator: Any, data: Any) -> dict[str, Any]:
    """Return the default search space of `tune`.

    Parameters
    ----------
    estimator : ALS, BayesianALS, SGD, UserItemBias, ItemBias, EASE or ItemKNN
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
    if isinstance(estimator, EASE):
        return {"regularization": LogUniform(10.0, 5000.0)}
    if isinstance(estimator, ItemKNN):
        return {"neighbors": [20, 50, 100, 200, 500], "shrinkage": LogUniform(1.0, 300.0)}
    if isinstance(estimator, ItemBias):
        return {"regularization": LogUniform(0.3, 100.0)}
    name = type(estimator).__name__
    if isinstance(estimator, Estimator) and NOT_TUNED.issuperset(parameter_names(estimator)):
        raise ParameterError(f"{name} has no parameters to tune: call its fit instead")
    raise ParameterError(f"there is no default space for {name}: set space=... to the parameters to tune")


def default_start(estimator: ALS, data: Interactions) -> dict[str, Any]:
    """Return the default parameters of a fit for the default space, where the search starts."""
    objective, defaults = estimator.objective, estimator.objective.defaults
    cost = objective.cost(data)
    return {
        "regularization": defaults.regularization * _scale(estimator, cost),
        "regularization.exponent": defaults.regularization_exponent,
        "regularization.counts": "observed",
        "rank": RANKS[0],
        "objective.missing_weight": _default_missing_weight(objective, data),
        "regularization.features": Regularization.features,
    }


def default_search(estimator: Any, space: Space, n_trials: int | None) -> SearchName:
    """Return the default search of a space."""
    if space.is_finite and n_trials is None:
        return "grid"
    if space.n_ranks > 1 and isinstance(getattr(estimator, "objective", None), Implicit):
        return "doubling"
    return "tpe"


def start_of(estimator: Any, data: Interactions, space: Space) -> Point | None:
    """Return the point of the defaults, where a search starts; None if a parameter of the space has no default."""
    if not (isinstance(estimator, ALS) and isinstance(estimator.objective, Implicit)):
        return None
    values = default_start(estimator, data)
    return space.point(values) if space.dimensions.keys() <= values.keys() else None


def _of_events(estimator: ALS, objective: Implicit, data: Interactions) -> dict[str, Any]:
    scale = _scale(estimator, objective.cost(data))
    fewest = min(np.count_nonzero(data.user_counts), np.count_nonzero(data.item_counts))
    space: dict[str, Any] = {
        "regularization": _range(0.1 * scale, 5.0 * scale),
        "regularization.exponent": [0.3, 0.5, 0.7],
        "rank": RANKS[:1] if estimator.implicit_features else [rank for rank in RANKS if rank <= fewest] or RANKS[:1],
    }
    if Regularization.of(estimator.regularization).counts != "observed":
        space["regularization.counts"] = ["observed"]
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
        "regularization.exponent": [0.0, 0.5, 0.75, 1.0],
        "rank": [0] * cost.biases + RANKS_OF_VALUES,
    }
    if cost.biases:
        unit = estimator._unit(cost)
        space["regularization.bias_ratio"] = _range(0.3 / unit, 3.0 / unit)
    return space | _of_features(estimator)


def _range(low: float, high: float) -> LogUniform:
    """Return a distribution whose bounds are rounded to three digits."""
    return LogUniform(float(f"{low:.3g}"), float(f"{high:.3g}"))


def _of_features(estimator: ALS) -> dict[str, Any]:
    return {"regularization.features": _range(3.0, 300.0)} if estimator.implicit_features else {}


def _scale(estimator: ALS, cost: Cost) -> float:
    """Return the factor that λ is proportional to."""
    return estimator._unit(cost) * mean_weight(cost)


def _default_missing_weight(objective: Objective, data: Interactions) -> float:
    """Return the default weight of missing cells; 0 if it is a function or 0, and is not searched."""
    if not isinstance(objective, Implicit) or callable(objective.missing_weight) or objective.missing_weight == 0:
        return 0.0
    free = replace(objective, missing_weight=None)
    return free.default_missing_weight(free.cost(data)) or 0.0
