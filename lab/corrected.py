"""The corrected methods, on the same test set, with hyperparameters chosen within the training set.

The candidates of each method are fitted to the first part of the training set and scored on its last part, which is
split and filtered as the test set is. The best one is then fitted to the whole training set. The test set is not used
before.

The candidates are from wider grids, which were narrowed on splits of the training set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

import halfstep as hs
from lab.clock import Clock
from lab.data import Split, inner_split
from lab.experiments import Popularity
from lab.scoring import IS_ERROR, SCORE, Estimate, Metric, estimate

Model = hs.ALS | hs.SGD | hs.UserItemBias
Parameters = Mapping[str, float | str]

SEEDS = range(3)  # the first is used for the choice and the model; the others, for the variance
ITERATIONS = 10  # more do not improve scores on the inner split

# λ by exponent ν, and ρ
REGULARIZATIONS = {0.0: (5.0,), 0.5: (0.8, 1.1, 1.6), 0.75: (0.25, 0.36, 0.5), 1.0: (0.08, 0.12, 0.16)}
BIAS_REGULARIZATIONS = (0.5, 1.0, 2.0)
RANKS: Mapping[Metric, tuple[int, ...]] = {"rmse": (8, 32), "sign_accuracy": (4, 8)}

NEUTRAL = hs.weights.linear_popularity(1.0, 0.0)
POPULARITIES: tuple[Popularity, ...] = (
    NEUTRAL,
    *(hs.weights.linear_popularity(1.0, wk) for wk in (1.0, 3.0, 10.0)),
    *(hs.weights.power_popularity(1.0, e) for e in (0.1, 0.3)),
)

SGD_RANK = 100
# learning rate, epochs and λ; those of the write-up first
SGD_SETTINGS = ((0.005, 20, 0.02), (0.01, 40, 0.05), (0.01, 40, 0.1), (0.01, 60, 0.1), (0.01, 80, 0.1))

USER_REGULARIZATIONS = (5.0, 10.0, 15.0, 25.0, 40.0)
ITEM_REGULARIZATIONS = (0.0, 1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True)
class Candidate:
    """Hyperparameters, and a function that creates an unfitted model from a seed."""

    parameters: Parameters
    make: Callable[[int], Model]


@dataclass(frozen=True)
class Row:
    """The scores of a tuned method.

    Attributes
    ----------
    key, name : str
        In JSON and in the report.
    parameters : mapping
        The best parameters.
    candidates : int
        The number of candidates.
    validation : float
        The best score on the inner split.
    model : Model
        The model, fitted to the whole training set.
    test, known : Estimate
        The score on all test ratings, and on those of known items; biases and factors of other items are 0.
    seeds : tuple of float
        The score on test ratings of known items with each of `SEEDS`, the first of which is that of the model. Empty
        for deterministic methods.
    """

    key: str
    name: str
    parameters: Parameters
    candidates: int
    validation: float
    model: Model
    test: Estimate
    known: Estimate
    seeds: tuple[float, ...]

    @property
    def over_seeds(self) -> str:
        """The mean and standard deviation of `seeds`."""
        return f"{np.mean(self.seeds):.4f} ± {np.std(self.seeds, ddof=1):.4f}" if self.seeds else "–"


@dataclass
class Selection:
    """The choice among candidates on ratings or on ±1."""

    clock: Clock
    split: Split
    inner: Split
    metric: Metric

    def row(self, key: str, name: str, candidates: Sequence[Candidate]) -> tuple[Row, Candidate]:
        """Choose a candidate, fit it to the whole training set and score it."""
        winner, validation = self.choose(candidates)
        model = self.clock.fit(winner.make(SEEDS[0]), self.split.train)
        others = SEEDS[1:] if hasattr(model, "random_state") else ()
        seeds = [
            SCORE[self.metric](each, self.split.known)
            for each in (model, *(self.clock.fit(winner.make(seed), self.split.train) for seed in others))
        ]
        row = Row(
            key,
            name,
            winner.parameters,
            len(candidates),
            validation,
            model,
            estimate(model, self.split.test, self.metric),
            estimate(model, self.split.known, self.metric),
            tuple(seeds) if others else (),
        )
        return row, winner

    def choose(self, candidates: Sequence[Candidate]) -> tuple[Candidate, float]:
        """Return the candidate with the best score on the inner split, the first of equal ones, and the score."""
        scores = [
            SCORE[self.metric](self.clock.fit(candidate.make(SEEDS[0]), self.inner.train), self.inner.known)
            for candidate in candidates
        ]
        best = int(np.argmin(scores) if IS_ERROR[self.metric] else np.argmax(scores))
        return candidates[best], scores[best]


def corrected_rows(clock: Clock, split: Split, metric: Metric) -> list[Row]:
    """Return the user + item bias, biased ALS, biased WALS and SGD, tuned by a metric."""
    selection = Selection(clock, split, inner_split(split.train), metric)
    biases, _ = selection.row("user_item_bias", "user + item bias", bias_candidates())
    als, best = selection.row("biased_als", "biased ALS", als_candidates(RANKS[metric]))
    wals, _ = selection.row("biased_wals", "biased WALS", wals_candidates(best, split.train.item_counts))
    sgd, _ = selection.row("sgd", "SGD", sgd_candidates())
    return [biases, als, wals, sgd]


def bias_candidates() -> list[Candidate]:
    """Return candidates for the regularization of the biases of users and of items."""

    def candidate(of_users: float, of_items: float) -> Candidate:
        return Candidate(
            {"user_regularization": of_users, "item_regularization": of_items},
            lambda _seed: hs.UserItemBias(user_regularization=of_users, item_regularization=of_items),
        )

    return [candidate(*pair) for pair in product(USER_REGULARIZATIONS, ITEM_REGULARIZATIONS)]


def als_candidates(ranks: Sequence[int]) -> list[Candidate]:
    """Return candidates for the rank, λ, its exponent, and the ratio of bias to factor regularization."""
    return [
        als_candidate(NEUTRAL, rank, regularization, exponent, ratio, {})
        for rank in ranks
        for exponent, regularizations in REGULARIZATIONS.items()
        for regularization in regularizations
        for ratio in BIAS_REGULARIZATIONS
    ]


def wals_candidates(best: Candidate, item_counts: NDArray[np.int64]) -> list[Candidate]:
    """Return candidates for weights by popularity, including none, with the other parameters of the best ALS.

    λ is multiplied by the mean weight of a rating, so that a constant factor of all weights has no effect.
    """
    found = best.parameters
    candidates = []
    for popularity in POPULARITIES:
        mean_weight = float(popularity.of_items(item_counts) @ item_counts / item_counts.sum())
        candidates.append(
            als_candidate(
                popularity,
                int(found["rank"]),
                float(found["regularization"]) * mean_weight,
                float(found["regularization.exponent"]),
                float(found["regularization.bias_ratio"]),
                {"weight": weight_formula(popularity)},
            )
        )
    return candidates


def weight_formula(popularity: Popularity) -> str:
    """Return the formula of a weight; c is the popularity of the item."""
    if isinstance(popularity, hs.weights.power_popularity):
        return f"{popularity.w0:g} + (1/c)^{popularity.e:g}"
    return f"{popularity.w0:g} + {popularity.wk:g}/c" if popularity.wk else f"{popularity.w0:g}"


def als_candidate(
    popularity: Popularity, rank: int, regularization: float, exponent: float, bias_ratio: float, more: Parameters
) -> Candidate:
    """Return ALS with biases as a candidate."""
    parameters = {
        "rank": rank,
        "regularization": regularization,
        "regularization.exponent": exponent,
        "regularization.bias_ratio": bias_ratio,
        "iterations": ITERATIONS,
        **more,
    }
    return Candidate(
        parameters,
        lambda seed: hs.ALS(
            hs.Explicit(weight=popularity, missing_weight=0.0, biases=True),
            rank=rank,
            regularization=hs.Regularization(regularization, exponent=exponent, bias_ratio=bias_ratio),
            iterations=ITERATIONS,
            solver=hs.solvers.Cholesky(extrapolation=0.0),
            random_state=seed,
            progress=False,
        ),
    )


def sgd_candidates() -> list[Candidate]:
    """Return candidates for the learning rate, epochs and regularization."""

    def candidate(rate: float, epochs: int, regularization: float) -> Candidate:
        return Candidate(
            {"rank": SGD_RANK, "learning_rate": rate, "iterations": epochs, "regularization": regularization},
            lambda seed: hs.SGD(
                rank=SGD_RANK,
                learning_rate=rate,
                iterations=epochs,
                regularization=regularization,
                random_state=seed,
                progress=False,
            ),
        )

    return [candidate(*setting) for setting in SGD_SETTINGS]
