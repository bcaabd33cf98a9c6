"""The corrected rows: all methods on the same test pairs, their hyperparameters chosen inside the training side.

Each method's candidates are fitted on the first part of the training side and scored on its last part, which is cut
and filtered as the test side is. The best is then fitted on the whole training side. Nothing here sees the test
side before that.

The candidates are what was left of wider grids, which were narrowed on splits of the training side.
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

SEEDS = range(3)  # the first chooses and is shown; the others say how much of it is luck
ITERATIONS = 10  # on the inner split more of them gain nothing

# λ by ν, and ρ
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
# learning rate, epochs and λ; the first are the write-up's
SGD_SETTINGS = (
    (0.005, 20, 0.02),
    (0.01, 40, 0.05),
    (0.01, 40, 0.1),
    (0.01, 60, 0.1),
    (0.01, 80, 0.1),
)

USER_REGULARIZATIONS = (5.0, 10.0, 15.0, 25.0, 40.0)
ITEM_REGULARIZATIONS = (0.0, 1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True)
class Candidate:
    """Hyperparameters, and how to make an unfitted model of them with a given seed."""

    parameters: Parameters
    make: Callable[[int], Model]


@dataclass(frozen=True)
class Row:
    """One method, tuned, fitted and scored.

    Attributes
    ----------
    key, name : str
        For machines and for people.
    parameters : mapping
        The winner's.
    candidates : int
        How many there were.
    validation : float
        The winner's score on the inner split.
    model : Model
        Fitted on the whole training side.
    test, known : Estimate
        The score on all test pairs, items that are unseen in training included (their biases and factors are
        0), and on those of known items only.
    seeds : tuple of float
        The score on the pairs of known items with each of `SEEDS`: how much of it is luck. The model is that of the
        first. Empty for a method without chance.
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
        """Say the mean and standard deviation of `seeds`."""
        return f"{np.mean(self.seeds):.4f} ± {np.std(self.seeds, ddof=1):.4f}" if self.seeds else "–"


@dataclass
class Contest:
    """One task, stars or signs: its outer and inner split, its metric and the clock."""

    clock: Clock
    split: Split
    inner: Split
    metric: Metric

    def row(self, key: str, name: str, candidates: Sequence[Candidate]) -> tuple[Row, Candidate]:
        """Choose a candidate, fit it on the whole training side and score it."""
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
        """Find the candidate with the best score on the inner split, and that score; of equals, the first."""
        scores = [
            SCORE[self.metric](self.clock.fit(candidate.make(SEEDS[0]), self.inner.train), self.inner.known)
            for candidate in candidates
        ]
        best = int(np.argmin(scores) if IS_ERROR[self.metric] else np.argmax(scores))
        return candidates[best], scores[best]


def corrected_rows(clock: Clock, split: Split, metric: Metric) -> list[Row]:
    """User + item bias, biased ALS, biased WALS and SGD: in stars by RMSE, or on ±1 by sign accuracy."""
    contest = Contest(clock, split, inner_split(split.train), metric)
    biases, _ = contest.row("user_item_bias", "user + item bias", bias_candidates())
    als, best = contest.row("biased_als", "biased ALS", als_candidates(RANKS[metric]))
    wals, _ = contest.row("biased_wals", "biased WALS", wals_candidates(best, split.train.item_counts))
    sgd, _ = contest.row("sgd", "SGD", sgd_candidates())
    return [biases, als, wals, sgd]


def bias_candidates() -> list[Candidate]:
    """How far to shrink the biases of users and of items."""

    def candidate(of_users: float, of_items: float) -> Candidate:
        return Candidate(
            {"user_regularization": of_users, "item_regularization": of_items},
            lambda _seed: hs.UserItemBias(user_regularization=of_users, item_regularization=of_items),
        )

    return [candidate(*pair) for pair in product(USER_REGULARIZATIONS, ITEM_REGULARIZATIONS)]


def als_candidates(ranks: Sequence[int]) -> list[Candidate]:
    """Rank, λ and how it grows with the ratings of a row, and how much more it is for biases."""
    return [
        als_candidate(NEUTRAL, rank, regularization, exponent, ratio, {})
        for rank in ranks
        for exponent, regularizations in REGULARIZATIONS.items()
        for regularization in regularizations
        for ratio in BIAS_REGULARIZATIONS
    ]


def wals_candidates(best: Candidate, item_counts: NDArray[np.int64]) -> list[Candidate]:
    """Weights by popularity around the best ALS, whose own neutral weight is among them.

    λ grows with the mean weight of a rating: weights that are all doubled then change nothing.
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
    """Say a weight as people write it; c is the item's popularity."""
    if isinstance(popularity, hs.weights.power_popularity):
        return f"{popularity.w0:g} + (1/c)^{popularity.e:g}"
    return f"{popularity.w0:g} + {popularity.wk:g}/c" if popularity.wk else f"{popularity.w0:g}"


def als_candidate(
    popularity: Popularity,
    rank: int,
    regularization: float,
    exponent: float,
    bias_ratio: float,
    more: Parameters,
) -> Candidate:
    """One setting of ALS with biases."""
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
    """Learning rate, epochs and regularization."""

    def candidate(rate: float, epochs: int, regularization: float) -> Candidate:
        return Candidate(
            {
                "rank": SGD_RANK,
                "learning_rate": rate,
                "iterations": epochs,
                "regularization": regularization,
            },
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
