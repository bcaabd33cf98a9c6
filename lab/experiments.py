"""The experiments A to J of the write-up, with the public API of the library.

Each takes a `Clock` and its data, and returns figures by the keys of `lab.printed`. Mistakes of the write-up are
reproduced; `lab.corrected` has the corrected methods.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

import halfstep as hs
from lab.clock import Clock
from lab.data import Split, Synthetic, initial_factors, legacy_synthetic, synthetic
from lab.printed import GRID_W0, GRID_WK, grid_key
from lab.scoring import Estimate, Floats, clipped, estimate, predict, rmse, sign_accuracy

Figures = dict[str, float]
SeedFigures = dict[str, list[float]]  # one for each seed
Popularity = hs.weights.linear_popularity | hs.weights.power_popularity
Models = dict[str, hs.ALS | hs.SGD | hs.GlobalMean | hs.ItemBias]

ITERATIONS = 100
SYNTHETIC_REGULARIZATION = 0.1
RATINGS_RANK, RATINGS_REGULARIZATION = 10, 1.5
SIGNED_REGULARIZATION = 10.0
W0, WK = 0.1, 1.0
POWER_W0, POWER_E = 1.0, 0.1
SEEDS = range(5)

ZEROS_OBSERVED = hs.Explicit(missing_weight=1.0, biases=False)

# the defaults of Surprise, and the parameters of the write-up for ±1
SGD_SETTING: Mapping[str, Any] = {"rank": 100, "iterations": 20, "learning_rate": 0.005, "regularization": 0.02}
SIGNED_SGD_SETTING: Mapping[str, Any] = {**SGD_SETTING, "rank": 20, "iterations": 10}


def observed_only(weight: Popularity) -> hs.Explicit:
    """Return WALS of the write-up: observed cells only, weighted by popularity, without biases."""
    return hs.Explicit(weight=weight, missing_weight=0.0, biases=False)


def write_up_als(objective: hs.Explicit, regularization: float, init: tuple[Any, Any], **more: Any) -> hs.ALS:
    """Return ALS of the write-up: the same λ for all rows, exact half-steps, and no final refresh."""
    return hs.ALS(
        objective,
        rank=init[0].shape[1],
        regularization=hs.Regularization(regularization, exponent=0.0),
        iterations=ITERATIONS,
        init=init,
        solver=hs.solvers.Cholesky(extrapolation=0.0, refresh_users=False),
        progress=False,
        **more,
    )


class Reproduced(NamedTuple):
    """The results of the experiments of the write-up.

    Attributes
    ----------
    figures, seeds : dict
        Figures by the keys of `lab.printed`; one for each seed in `seeds`.
    convergence : list of float
        The Frobenius error of A, from the initial factors on.
    corrected_grid : dict
        The weighted test RMSE of G without cold-start items.
    unmasked : dict
        The test sign accuracy of WALS in H if −1 is observed.
    methods : list of tuple
        Name and RMSE of each model on both test sets, with intervals.
    """

    figures: Figures
    seeds: SeedFigures
    convergence: list[float]
    corrected_grid: Figures
    unmasked: Figures
    methods: list[tuple[str, Estimate, Estimate]]


METHODS = {
    "D": "D: ALS, zeros observed",
    "E": "E: WALS, linear",
    "F.global_mean": "F: global mean",
    "F.item_bias": "F: item bias",
    "G": "G: WALS, best of the grid",
    "I": "I: SGD, its defaults (one seed)",
}


def reproduce(clock: Clock, split: Split, signs: Split) -> Reproduced:
    """Run the experiments A to J."""
    clock.section = "A"
    figures, convergence = plain_als(clock, legacy_synthetic())
    clock.section = "B, C"
    figures |= regularized_synthetic(clock, synthetic())
    found, models = ratings_als(clock, split)
    figures |= found
    clock.section = "F"
    found, baseline_models = baselines(clock, split)
    figures |= found
    models |= baseline_models
    clock.section = "G"
    found, corrected_grid, models["G"] = weight_grid(clock, split)
    figures |= found
    clock.section = "H"
    found, unmasked = signed_preferences(clock, signs)
    figures |= found
    clock.section = "I"
    seeds, models["I"] = gradient_descent(clock, split)
    clock.section = "J"
    seeds |= signed_gradient_descent(clock, signs)
    methods = [
        (name, estimate(models[key], split.test, "rmse"), estimate(models[key], split.known, "rmse"))
        for key, name in METHODS.items()
    ]
    return Reproduced(figures, seeds, convergence, corrected_grid, unmasked, methods)


def write_up_weights(train: hs.Interactions, data: hs.Interactions, w0: float, wk: float) -> Floats:
    """Return the weights of the metric of the write-up: w0 + wk / c, or wk · 10⁸ without training ratings."""
    counts = train.item_counts[data.item_positions].astype(np.float64)
    return w0 + wk / (counts + 1e-8)


def plain_als(clock: Clock, given: Synthetic) -> tuple[Figures, list[float]]:
    """A: all cells observed, no regularization; also return the Frobenius error after each iteration."""
    matrix = given.ones.to_sparse()
    errors = [hs.metrics.frobenius(matrix, *given.init)]

    def note(model: hs.ALS) -> None:
        errors.append(hs.metrics.frobenius(matrix, model.user_factors_, model.item_factors_))

    clock.fit(write_up_als(ZEROS_OBSERVED, 0.0, given.init, dtype="float64", callbacks=[note]), given.ones)
    figures = {"start": errors[0], "1": errors[1], str(ITERATIONS): errors[ITERATIONS]}
    return {f"A.frobenius_{when}": error for when, error in figures.items()}, errors


def regularized_synthetic(clock: Clock, given: Synthetic) -> Figures:
    """B: all cells observed; C: only the ones, weighted by popularity, so that all predictions are near 1."""
    ones = given.ones
    figures: Figures = {}
    for name, objective in (("B", ZEROS_OBSERVED), ("C", observed_only(hs.weights.linear_popularity(W0, WK)))):
        model = clock.fit(write_up_als(objective, SYNTHETIC_REGULARIZATION, given.init), ones)
        figures[f"{name}.rmse_observed"] = rmse(model, ones)
        figures[f"{name}.frobenius"] = hs.metrics.frobenius(
            ones.to_sparse(), model.user_factors_, model.item_factors_
        )
    weights = write_up_weights(ones, ones, W0, WK)
    figures["C.rmse_weighted"] = hs.metrics.weighted_rmse(ones.values, predict(model, ones), weights)
    return figures


def ratings_model(train: hs.Interactions, objective: hs.Explicit, regularization: float) -> hs.ALS:
    """Return ALS of the write-up on MovieLens: rank 10, 100 iterations, its initial factors."""
    return write_up_als(objective, regularization, initial_factors(train.n_users, train.n_items, RATINGS_RANK))


def ratings_als(clock: Clock, split: Split) -> tuple[Figures, Models]:
    """D: missing ratings as zeros; E: only observed ratings, weighted by popularity."""
    figures: Figures = {}
    models: Models = {}
    for name, objective in (("D", ZEROS_OBSERVED), ("E", observed_only(hs.weights.linear_popularity(W0, WK)))):
        clock.section = name
        model = clock.fit(ratings_model(split.train, objective, RATINGS_REGULARIZATION), split.train)
        for side, data in (("train", split.train), ("test", split.test)):
            weights = write_up_weights(split.train, data, W0, WK)
            predictions = predict(model, data)
            figures[f"{name}.rmse_{side}"] = hs.metrics.rmse(data.values, predictions)
            figures[f"{name}.weighted_rmse_{side}"] = hs.metrics.weighted_rmse(data.values, predictions, weights)
        models[name] = model
    return figures, models


def baselines(clock: Clock, split: Split) -> tuple[Figures, Models]:
    """F: the global mean, and the item bias without regularization."""
    figures: Figures = {}
    models: Models = {"F.global_mean": hs.GlobalMean(), "F.item_bias": hs.ItemBias()}
    for name, model in models.items():
        clock.fit(model, split.train)
        figures[f"{name}.rmse_train"] = rmse(model, split.train)
        figures[f"{name}.rmse_test"] = rmse(model, split.test)
    return figures, models


def weight_grid(clock: Clock, split: Split) -> tuple[Figures, dict[str, float], hs.ALS]:
    """G: a grid over the weights, with the best chosen by the weighted test RMSE.

    Also return the weighted test RMSE without cold-start items, and the best model.
    """
    figures: Figures = {}
    corrected: dict[str, float] = {}
    models: dict[tuple[float, float], hs.ALS] = {}
    for w0 in GRID_W0:
        for wk in GRID_WK:
            popularity = hs.weights.linear_popularity(w0, wk)
            model = ratings_model(split.train, observed_only(popularity), RATINGS_REGULARIZATION)
            models[w0, wk] = clock.fit(model, split.train)
            test, predictions = split.test, predict(model, split.test)
            weights = write_up_weights(split.train, test, w0, wk)
            key = grid_key(w0, wk)
            figures[f"{key}.rmse_test"] = hs.metrics.rmse(test.values, predictions)
            figures[f"{key}.weighted_rmse_test"] = hs.metrics.weighted_rmse(test.values, predictions, weights)
            seen = popularity.of_items(split.train.item_counts)[test.item_positions]
            corrected[key] = hs.metrics.weighted_rmse(test.values, predictions, seen)
    best = min(models, key=lambda pair: figures[f"{grid_key(*pair)}.weighted_rmse_test"])
    figures["G.best.w0"], figures["G.best.wk"] = best
    return figures, corrected, models[best]


def signed_preferences(clock: Clock, split: Split) -> tuple[Figures, Figures]:
    """H: ±1, where WALS is masked by R > 0, which drops every −1; also return the accuracy without the mask."""
    positive = split.train.subset(split.train.values > 0)
    linear = observed_only(hs.weights.linear_popularity(W0, WK))
    power = observed_only(hs.weights.power_popularity(POWER_W0, POWER_E))

    def als(objective: hs.Explicit) -> hs.ALS:
        return ratings_model(split.train, objective, SIGNED_REGULARIZATION)

    figures: Figures = {}
    for name, model, data in (
        ("als", als(ZEROS_OBSERVED), split.train),
        ("wals_linear", als(linear), positive),
        ("wals_power", als(power), positive),
        ("global_mean", hs.GlobalMean(), split.train),
        ("item_bias", hs.ItemBias(), split.train),
    ):
        clock.fit(model, data)
        figures[f"H.{name}.sign_accuracy_train"] = sign_accuracy(model, split.train)
        figures[f"H.{name}.sign_accuracy_test"] = sign_accuracy(model, split.test)
    unmasked = {
        name: sign_accuracy(clock.fit(als(objective), split.train), split.test)
        for name, objective in (("wals_linear", linear), ("wals_power", power))
    }
    return figures, unmasked


def gradient_descent(clock: Clock, split: Split) -> tuple[SeedFigures, hs.SGD]:
    """I: SVD of Surprise with its defaults and clipped predictions, for each seed.

    Also return the model of the first seed.
    """

    def score(model: hs.SGD, data: hs.Interactions) -> float:
        return hs.metrics.rmse(data.values, clipped(model, data))

    return _over_seeds(
        clock, split, lambda seed: hs.SGD(**SGD_SETTING, random_state=seed, progress=False), "I.rmse", score
    )


def signed_gradient_descent(clock: Clock, split: Split) -> SeedFigures:
    """J: the same on ±1, with a lower rank and fewer epochs."""
    figures, _ = _over_seeds(
        clock,
        split,
        lambda seed: hs.SGD(**SIGNED_SGD_SETTING, random_state=seed, progress=False),
        "J.sign_accuracy",
        sign_accuracy,
    )
    return figures


def _over_seeds(
    clock: Clock,
    split: Split,
    make: Callable[[int], hs.SGD],
    name: str,
    score: Callable[[hs.SGD, hs.Interactions], float],
) -> tuple[SeedFigures, hs.SGD]:
    scores: SeedFigures = {f"{name}_train": [], f"{name}_test": []}
    models = [clock.fit(make(seed), split.train) for seed in SEEDS]
    for model in models:
        scores[f"{name}_train"].append(score(model, split.train))
        scores[f"{name}_test"].append(score(model, split.known))
    return scores, models[0]
