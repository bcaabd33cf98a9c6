"""A search at the lowest rank, whose best parameters are then tried at higher ranks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from halfstep._support.checks import check_integer
from halfstep.tuning.searching import Search
from halfstep.tuning.space import Choices, Point, Space, clipped
from halfstep.tuning.trial import Trial, best_of

FACTORS = (1.0, 1.3, 1 / 1.3)  # of λ, tried at each higher rank


class Doubling:
    """Search at the lowest rank, then at each higher rank in turn, until the metric no longer improves.

    Fits take longer at a higher rank, but the best λ, exponent and weight of missing cells hardly depend on the rank.
    At each higher rank, λ is tried unchanged, 1.3 times larger, and 1.3 times smaller.

    Parameters
    ----------
    space : Space
        With a list of ascending ranks (`ascending_ranks`); without one, only `search` is run.
    search : Search
        The search of `low_rank(space)`.
    n_trials : int
        The number of trials at the lowest rank.
    maximize : bool
    """

    def __init__(self, space: Space, search: Search, n_trials: int, maximize: bool) -> None:
        self._space, self._search, self._left, self._maximize = space, search, n_trials, maximize
        self._trials: list[Trial] = []
        self._higher = self._at_higher_ranks()
        self._is_low = True

    def ask(self) -> Point | None:
        if self._left > 0:
            self._left -= 1
            point = self._search.ask()
            if point is not None:
                return point
        self._left, self._is_low = 0, False
        return next(self._higher, None)

    def tell(self, trial: Trial) -> None:
        if self._is_low:
            self._search.tell(trial)
        self._trials.append(trial)

    def _best(self) -> Trial | None:
        return best_of(self._trials, self._maximize)

    def _at_higher_ranks(self) -> Iterator[Point]:
        for place in range(1, n_ranks(self._space)):
            start = self._best()
            if start is None or start.point["rank"] != place - 1:  # the last rank was not better
                return
            tried: list[Point] = []
            for factor in FACTORS:
                point = self._moved(start.point, place, factor)
                if point not in tried:  # λ is not searched, or is at an end of its range
                    tried.append(point)
                    yield point

    def _moved(self, point: Point, place: int, factor: float) -> Point:
        moved = {**point, "rank": place}
        for name, dimension in self._space.dimensions.items():
            if name.partition(".")[0] == "regularization" and not isinstance(dimension, Choices):
                moved[name] = clipped(dimension, point[name] * factor)
        return moved


def n_ranks(space: Space) -> int:
    """Return the number of ranks that a space lists, 1 if none."""
    ranks = space.dimensions.get("rank")
    return len(ranks.values) if isinstance(ranks, Choices) else 1


def ascending_ranks(space: Space) -> Space:
    """Return the space with its list of ranks in ascending order, each one once.

    Raises
    ------
    ParameterError
        If there is a list with anything but integers.
    """
    ranks = space.dimensions.get("rank")
    if not isinstance(ranks, Choices):
        return space
    for rank in ranks.values:
        check_integer("rank", rank, minimum=0)
    return replace(space, dimensions={**space.dimensions, "rank": Choices(tuple(sorted(set(ranks.values))))})


def low_rank(space: Space) -> Space:
    """Return the space with the first rank only."""
    ranks = space.dimensions.get("rank")
    if not isinstance(ranks, Choices):
        return space
    return replace(space, dimensions={**space.dimensions, "rank": Choices(ranks.values[:1])})
