"""The search: an Optuna study that proposes points and prunes trials."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from halfstep.evaluation.tuning.space import (
    N_TRIALS,
    Choices,
    Dimension,
    Integers,
    LogUniform,
    Point,
    SearchName,
    Space,
    clipped,
)
from halfstep.evaluation.tuning.trial import Trial, best_of

FACTORS = (1.0, 1.3, 1 / 1.3)
"""Multiples of λ that are tried at each higher rank."""

ATTEMPTS = 1000
"""Maximum attempts to sample a new point; after a tenth of them, by random search."""

BEST = 5
"""A trial is pruned if it is worse than this many best trials."""


class Search:
    """An Optuna study in memory, which proposes and prunes trials.

    The sampler gets a new seed for each trial, so that it depends only on the number of the trial and on those before
    it: a search that is resumed continues as if it had not been interrupted.

    The first trial is at `start`, if it is given; for "doubling", the ranks of the space are in ascending order.
    """

    def __init__(
        self,
        name: SearchName,
        space: Space,
        start: Point | None,
        seed: int,
        n_trials: int | None,
        *,
        maximize: bool,
        prune: bool,
    ) -> None:
        self._name, self._space, self._start, self._seed, self._maximize = name, space, start, seed, maximize
        sampled = space.lowest_rank() if name == "doubling" else space
        n_higher = len(FACTORS) * (space.n_ranks - 1) if name == "doubling" else 0
        n_sampled = N_TRIALS.get(name, math.inf) if n_trials is None else max(n_trials - n_higher, 1)
        self._n_sampled = int(min(n_sampled, sampled.size))
        self.n_planned = self._n_sampled + n_higher if n_trials is None else min(n_trials, self._n_sampled + n_higher)
        self._distributions, self._sampled = _distributions(space), _distributions(sampled)
        pruner = BestTrialsPruner() if prune else optuna.pruners.NopPruner()
        self.study = new_study(maximize, sampler=RandomSampler(), pruner=pruner)

    def points(self, trials: Sequence[Trial]) -> Iterator[Point | None]:
        """Yield the point of each trial, or None if the sampler chooses it; `trials` has all previous trials."""
        if self._name == "grid":
            yield from _grid(self._space)
            return
        if self._start is not None:
            doubles = self._name == "doubling" and self._space.n_ranks > 1
            yield {**self._start, "rank": 0} if doubles else self._start
        while len(trials) < self._n_sampled:
            yield None
        if self._name == "doubling":
            yield from _at_higher_ranks(self._space, trials, self._maximize)

    def ask(self, point: Point | None, trials: Sequence[Trial]) -> optuna.Trial | None:
        """Begin a trial at a point, which is sampled if None; return None if all points have been tried."""
        if point is not None:
            self.study.enqueue_trial(point)
            return self.study.ask(self._sampled if len(trials) < self._n_sampled else self._distributions)
        for attempt in range(ATTEMPTS):
            self.study.sampler = self._sampler(len(trials), attempt)
            asked = self.study.ask(self._sampled)
            if all(asked.params != trial.point for trial in trials):
                return asked
            self.study.tell(asked, state=TrialState.FAIL)
        return None

    def _sampler(self, number: int, attempt: int) -> BaseSampler:
        seed = int(np.random.default_rng([self._seed, number, attempt]).integers(1 << 32))
        is_random = self._name == "random" or attempt >= ATTEMPTS // 10
        return RandomSampler(seed) if is_random else TPESampler(seed=seed)


class BestTrialsPruner(optuna.pruners.BasePruner):
    """Prune a trial that is worse than each of the five best trials was at the same step of the same fold.

    `MedianPruner` is not suitable: it compares a trial's best value over all folds with other trials' values on a
    single fold, and it would prune too many trials, because scores of a fold are noisy and trials improve during a
    search. Fits with warm starts converge earlier, and are compared only with each other.
    """

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        sign = -1.0 if study.direction == optuna.study.StudyDirection.MAXIMIZE else 1.0
        step = max(trial.intermediate_values)
        others = [
            other
            for other in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
            if step in other.intermediate_values and _is_warm(other) == _is_warm(trial)
        ]
        best = sorted(others, key=lambda other: sign * (other.value or 0.0))[:BEST]
        return len(best) == BEST and all(
            sign * other.intermediate_values[step] < sign * trial.intermediate_values[step] for other in best
        )


def _is_warm(trial: FrozenTrial) -> bool:
    return trial.user_attrs["started_from"] is not None


def new_study(maximize: bool, **options: object) -> optuna.Study:
    """Create a study without a message about it."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(level, optuna.logging.WARNING))
    try:
        return optuna.create_study(direction="maximize" if maximize else "minimize", **options)  # type: ignore[arg-type]
    finally:
        optuna.logging.set_verbosity(level)


def _distributions(space: Space) -> dict[str, BaseDistribution]:
    return {name: _distribution(dimension) for name, dimension in space.dimensions.items()}


def _distribution(dimension: Dimension) -> BaseDistribution:
    if isinstance(dimension, Choices):
        if dimension.are_ascending:
            return IntDistribution(0, len(dimension.values) - 1)
        return CategoricalDistribution(range(len(dimension.values)))
    if isinstance(dimension, Integers):
        return IntDistribution(dimension.low, dimension.high, log=dimension.log)
    return FloatDistribution(dimension.low, dimension.high, log=isinstance(dimension, LogUniform))


def _grid(space: Space) -> Iterator[Point]:
    """Yield all combinations of the listed values, in an order that allows warm starts.

    Lower ranks come before higher ones, and otherwise equal points are in descending order of λ. Optuna's
    `GridSampler` shuffles them.
    """
    depth = {"rank": -1, "regularization": 1}
    indices: dict[str, list[int]] = {}
    for name in sorted(space.dimensions, key=lambda name: depth.get(name.partition(".")[0], 0)):
        choices = space.dimensions[name]
        assert isinstance(choices, Choices)  # tune has checked it
        indices[name] = list(range(len(choices.values)))
        if name.partition(".")[0] in depth and choices.are_numbers:
            indices[name].sort(key=choices.values.__getitem__, reverse=name != "rank")
    for combination in itertools.product(*indices.values()):
        point = dict(zip(indices, combination, strict=True))
        yield {name: point[name] for name in space.dimensions}


def _at_higher_ranks(space: Space, trials: Sequence[Trial], maximize: bool) -> Iterator[Point]:
    """Yield points at increasing ranks; stop when a rank does not improve the best trial.

    Fits take longer at a higher rank, but the best λ, exponent and weight of missing cells hardly depend on the rank.
    At each higher rank, λ is tried unchanged, 1.3 times larger, and 1.3 times smaller.
    """
    for place in range(1, space.n_ranks):
        start = best_of(trials, maximize)
        if start is None or start.point["rank"] != place - 1:  # the last rank did not improve the metric
            return
        tried: list[Point] = []
        for factor in FACTORS:
            point = _moved(space, start.point, place, factor)
            if point not in tried:  # λ is not searched, or is at a bound
                tried.append(point)
                yield point


def _moved(space: Space, point: Point, place: int, factor: float) -> Point:
    moved = {**point, "rank": place}
    for name, dimension in space.dimensions.items():
        if name.partition(".")[0] == "regularization" and not isinstance(dimension, Choices):
            moved[name] = clipped(dimension, point[name] * factor)
    return moved
