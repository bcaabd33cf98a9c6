"""Grid search and random search."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Protocol

import numpy as np

from halfstep.errors import ParameterError
from halfstep.tuning.space import Choices, Point, Space, is_number
from halfstep.tuning.trial import Trial

DRAWS = 1000  # attempts to sample a point that has not been tried


class Search(Protocol):
    """A search that proposes points, and receives the trial of each before the next is proposed."""

    def ask(self) -> Point | None:
        """Return the next point; None if all have been tried."""
        ...

    def tell(self, trial: Trial) -> None:
        """Receive the trial of the last point."""
        ...


class Grid:
    """All combinations of the listed values, in an order that allows warm starts.

    Lower ranks come before higher ones, and otherwise equal points are in descending order of λ.
    """

    def __init__(self, space: Space) -> None:
        drawn = [name for name, each in space.dimensions.items() if not isinstance(each, Choices)]
        if drawn:
            raise ParameterError(
                f"search='grid' needs a list of values for each parameter, and {drawn[0]} is "
                f"{space.dimensions[drawn[0]]!r}: list its values in space=..., or use search='random'"
            )
        self._points = self._ordered(space)

    @staticmethod
    def _ordered(space: Space) -> Iterator[Point]:
        depth = {"rank": -1, "regularization": 1}
        places: dict[str, list[int]] = {}
        for name in sorted(space.dimensions, key=lambda name: depth.get(name.partition(".")[0], 0)):
            dimension = space.dimensions[name]
            values = dimension.values if isinstance(dimension, Choices) else ()
            places[name] = list(range(len(values)))
            if name.partition(".")[0] in depth and all(map(is_number, values)):
                places[name].sort(key=values.__getitem__, reverse=name != "rank")
        for combination in itertools.product(*places.values()):
            point = dict(zip(places, combination, strict=True))
            yield {name: point[name] for name in space.dimensions}

    def ask(self) -> Point | None:
        return next(self._points, None)

    def tell(self, trial: Trial) -> None:
        pass


class Random:
    """Independent samples without repetition, after `start` if it is given."""

    def __init__(self, space: Space, seed: int, start: Point | None = None) -> None:
        self._space, self._rng, self._start = space, np.random.default_rng(seed), start
        self._tried: set[tuple[float, ...]] = set()

    def ask(self) -> Point | None:
        if self._start is not None:
            point, self._start = self._start, None
            self._tried.add(tuple(point.values()))
            return point
        if len(self._tried) >= self._space.size:
            return None
        for _ in range(DRAWS):
            point = {name: each.draw(self._rng) for name, each in self._space.dimensions.items()}
            key = tuple(point.values())
            if key not in self._tried:
                self._tried.add(key)
                return point
        return None

    def tell(self, trial: Trial) -> None:
        pass
