"""Nothing tuned at all: `BayesianALS` with its defaults, and what its intervals are worth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

import halfstep as hs
from halfstep.lab.clock import Clock
from halfstep.lab.corrected import SEEDS
from halfstep.lab.data import Split
from halfstep.lab.scoring import SCORE, Estimate, Metric, estimate
from halfstep.sweeps import Sweep

SHARES = 0.5, 0.6, 0.7, 0.8, 0.9, 0.95
"""Of ratings that an interval is to hold."""
RANDOM_FRACTION = 0.1


@dataclass(frozen=True)
class SampledRow:
    """One kind of model, on both test sides.

    Attributes
    ----------
    key, name : str
        For machines and for people.
    test, known : Estimate
        With the first seed.
    seeds : tuple of float
        The score on the pairs of known items with each of the seeds.
    """

    key: str
    name: str
    test: Estimate
    known: Estimate
    seeds: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The score over all seeds."""
        return float(np.mean(self.seeds))


@dataclass(frozen=True)
class Sampled:
    """What sampling gives.

    Attributes
    ----------
    stars, signs : list of SampledRow
        RMSE, and sign accuracy on ±1.
    coverage : dict
        By how the test side was chosen, the share of its ratings that lies within intervals for each of `SHARES`.
    history : list of Sweep
        Of the first model of `stars`.
    """

    stars: list[SampledRow]
    signs: list[SampledRow]
    coverage: dict[str, tuple[float, ...]]
    history: list[Sweep]

    def to_dict(self) -> dict[str, Any]:
        """Everything but the history, made of what JSON knows."""
        return {
            "rmse": {row.key: asdict(row) for row in self.stars},
            "sign_accuracy": {row.key: asdict(row) for row in self.signs},
            "coverage": {"shares": SHARES, **self.coverage},
        }


def models(seed: int) -> Iterator[tuple[str, str, hs.BayesianALS]]:
    """The defaults, and the two choices that there are."""
    yield "bayesian_als", "BayesianALS", hs.BayesianALS(random_state=seed, progress=False)
    yield (
        "bayesian_als_ordinal", "BayesianALS, ordinal",
        hs.BayesianALS(ordinal=True, random_state=seed, progress=False),
    )  # fmt: skip
    yield (
        "bayesian_als_implicit_features", "BayesianALS, implicit features",
        hs.BayesianALS(implicit_features=True, random_state=seed, progress=False),
    )  # fmt: skip


def sample(clock: Clock, split: Split, ratings: hs.Interactions) -> Sampled:
    """Fit the defaults with every seed, and count how many ratings intervals hold."""
    fitted, stars = rows(clock, split, "rmse")
    _, signs = rows(clock, split.signed(), "sign_accuracy")
    train, test = hs.split_random(ratings, RANDOM_FRACTION, random_state=SEEDS[0])
    at_random = clock.fit(next(models(SEEDS[0]))[2], train)
    coverage = {"in time": covered(fitted, split.known), "at random": covered(at_random, test)}
    return Sampled(stars, signs, coverage, fitted.history_)


def rows(clock: Clock, split: Split, metric: Metric) -> tuple[hs.BayesianALS, list[SampledRow]]:
    """One row for each kind of model, and the first model of all."""
    by_seed = [[(key, name, clock.fit(model, split.train)) for key, name, model in models(seed)] for seed in SEEDS]
    found = []
    for same_kind in zip(*by_seed, strict=True):
        key, name, first = same_kind[0]
        scores = tuple(SCORE[metric](model, split.known) for _, _, model in same_kind)
        test, known = estimate(first, split.test, metric), estimate(first, split.known, metric)
        found.append(SampledRow(key, name, test, known, scores))
    return by_seed[0][0][2], found


def covered(model: hs.BayesianALS, test: hs.Interactions) -> tuple[float, ...]:
    """The share of ratings that intervals hold."""
    shares = []
    for share in SHARES:
        _, lower, upper = model.predict(test, interval=share)
        shares.append(float(np.mean((lower <= test.values) & (test.values <= upper))))
    return tuple(shares)
