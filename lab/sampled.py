"""`BayesianALS` with its defaults, and the coverage of its intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np

import halfstep as hs
from halfstep.models.bayesian.sweeps import Sweep
from lab.clock import Clock
from lab.data import Split
from lab.parallel import Part
from lab.scoring import SCORE, Estimate, Metric, estimate

SHARES = 0.5, 0.6, 0.7, 0.8, 0.9, 0.95
"""Nominal coverages of intervals."""
RANDOM_FRACTION = 0.05

SEEDS, SIGNS_SEEDS = range(2), range(1)
"""Seeds for ratings and for ±1; the variance of scores between seeds is small."""


class Kind(NamedTuple):
    """A kind of model: its name and parameters."""

    name: str
    ordinal: bool = False
    implicit_features: bool = False


DEFAULT = "bayesian_als"
KINDS = {
    DEFAULT: Kind("BayesianALS"),
    "bayesian_als_ordinal": Kind("BayesianALS, ordinal", ordinal=True),
    "bayesian_als_implicit_features": Kind("BayesianALS, implicit features", implicit_features=True),
}


@dataclass(frozen=True)
class SampledRow:
    """The scores of a kind of model.

    Attributes
    ----------
    key, name : str
        In JSON and in the report.
    test, known : Estimate
        The score on each test set with the first seed.
    seeds : tuple of float
        The score on test ratings of known items with each seed.
    """

    key: str
    name: str
    test: Estimate
    known: Estimate
    seeds: tuple[float, ...]


@dataclass(frozen=True)
class Sampled:
    """The results of sampling.

    Attributes
    ----------
    stars, signs : list of SampledRow
        RMSE, and sign accuracy on ±1.
    coverage : dict
        The observed coverage for each of `SHARES`, by kind of test set.
    history : list of Sweep
        The history of the first model of `stars`.
    """

    stars: list[SampledRow]
    signs: list[SampledRow]
    coverage: dict[str, tuple[float, ...]]
    history: list[Sweep]

    def to_dict(self) -> dict[str, Any]:
        """Return the results for JSON, without the history."""
        return {
            "rmse": {row.key: asdict(row) for row in self.stars},
            "sign_accuracy": {row.key: asdict(row) for row in self.signs},
            "coverage": {"shares": SHARES, **self.coverage},
        }


class Fitted(NamedTuple):
    """The result of a fit: scores on both test sets with intervals, and the score for the mean over seeds."""

    test: Estimate
    known: Estimate
    score: float


class Intervals(NamedTuple):
    """The result of the default model on ratings, with the coverage of intervals and the history."""

    fitted: Fitted
    coverage: dict[str, tuple[float, ...]]
    history: list[Sweep]


def parts(split: Split, signs: Split, ratings: hs.Interactions) -> dict[str, Part]:
    """Return the fits: each kind of model with each seed, on ratings and on ±1."""
    tasks: tuple[tuple[Metric, Split, range], ...] = ("rmse", split, SEEDS), ("sign_accuracy", signs, SIGNS_SEEDS)
    kinds = reversed(KINDS)  # the default, which is fastest, comes last
    return {
        _name(metric, key, seed): Part("sampled", intervals, (seed, split, ratings))
        if (metric, key, seed) == ("rmse", DEFAULT, SEEDS[0])
        else Part("sampled", fitted, (key, seed, side, metric))
        for key, (metric, side, seeds) in product(kinds, tasks)
        for seed in seeds
    }


def fitted(clock: Clock, key: str, seed: int, split: Split, metric: Metric) -> Fitted:
    """Fit one kind of model, and score it."""
    return _scored(clock.fit(_model(key, seed), split.train), split, metric)


def intervals(clock: Clock, seed: int, split: Split, ratings: hs.Interactions) -> Intervals:
    """Fit and score the default model, and compute the coverage of its intervals."""
    model = clock.fit(_model(DEFAULT, seed), split.train)
    train, test = hs.split_random(ratings, RANDOM_FRACTION, random_state=seed)
    at_random = clock.fit(_model(DEFAULT, seed), train)
    coverage = {"by time": covered(model, split.known), "at random": covered(at_random, test)}
    return Intervals(_scored(model, split, "rmse"), coverage, model.history_)


def collected(found: Mapping[str, Any]) -> Sampled:
    """Combine the results of the parts."""
    first: Intervals = found[_name("rmse", DEFAULT, SEEDS[0])]

    def rows(metric: Metric, seeds: range) -> list[SampledRow]:
        by_kind = {key: [found[_name(metric, key, seed)] for seed in seeds] for key in KINDS}
        return [
            SampledRow(key, KINDS[key].name, fits[0].test, fits[0].known, tuple(fit.score for fit in fits))
            for key, each in by_kind.items()
            for fits in [[fit.fitted if isinstance(fit, Intervals) else fit for fit in each]]
        ]

    return Sampled(rows("rmse", SEEDS), rows("sign_accuracy", SIGNS_SEEDS), first.coverage, first.history)


def covered(model: hs.BayesianALS, test: hs.Interactions) -> tuple[float, ...]:
    """Return the observed coverage of intervals for each of `SHARES`."""
    shares = []
    for share in SHARES:
        _, lower, upper = model.predict(test, interval=share)
        shares.append(float(np.mean((lower <= test.values) & (test.values <= upper))))
    return tuple(shares)


def _model(key: str, seed: int) -> hs.BayesianALS:
    kind = KINDS[key]
    return hs.BayesianALS(
        ordinal=kind.ordinal, implicit_features=kind.implicit_features, random_state=seed, progress=False
    )


def _scored(model: hs.BayesianALS, split: Split, metric: Metric) -> Fitted:
    test, known = (estimate(model, side, metric) for side in (split.test, split.known))
    return Fitted(test, known, SCORE[metric](model, split.known))


def _name(metric: Metric, key: str, seed: int) -> str:
    return f"sampled {metric} {key} {seed}"
