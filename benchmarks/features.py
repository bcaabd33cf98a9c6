"""Accuracy of side information in `hs.ALS` on MovieLens 100K: ``python -m benchmarks.features``.

Biased ALS of the default rank on ids only, with implicit features, and with genres and years as well; each with the
defaults and with tuned λ. Pass the names of sections to run:

inside     tuning of λ and λ_β within the first 80,000 ratings: five random folds, and the last fifth by time
write-up   last fifth, split as in the lab: 2,786 test ratings of known users and items
folds      official folds u1 to u5, which are consecutive fifths of u.data
cold       a tenth of the movies as cold-start items, predicted from genres and years, without implicit features

Data: MovieLens 100K as in `hs.datasets`, with u.item. A run of all sections, or of all but the first, writes the
table of docs/bayesian.md.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd

import halfstep as hs
from benchmarks.bayesian import COLD_SEEDS, COLD_SHARE, FOLDS, SEEDS, movie_features
from benchmarks.marks import ROOT, table, write_between
from lab.data import inner_split, write_up_split

Lines = list[list[str]]
"""Rows of the table in docs/bayesian.md."""
Splits = Sequence[tuple[hs.Interactions, hs.Interactions]]


class Kind(NamedTuple):
    """Features, λ and λ_β of a model; None for the defaults."""

    implicit: bool = False
    movies: bool = False
    regularization: float | None = None
    feature_regularization: float | None = None

    def fit(self, train: hs.Interactions, movies: pd.DataFrame, seed: int) -> hs.ALS:
        regularization = hs.Regularization(self.regularization)
        if self.feature_regularization is not None:
            regularization = replace(regularization, features=self.feature_regularization)
        model = hs.ALS(
            regularization=regularization, implicit_features=self.implicit, random_state=seed, progress=False
        )
        return model.fit(train, item_features=movies if self.movies else None)


TUNED, TUNED_WITH_FEATURES = 1.5, (2.5, 25.0)  # λ, and λ with λ_β; see `inside`
KINDS = {
    "ids only, defaults": Kind(),
    "ids only, tuned λ": Kind(regularization=TUNED),
    "implicit features, defaults": Kind(True),
    "implicit features, tuned λ": Kind(True, False, *TUNED_WITH_FEATURES),
    "implicit features, genres, years, defaults": Kind(True, True),
    "implicit features, genres, years, tuned λ": Kind(True, True, *TUNED_WITH_FEATURES),
}
REGULARIZATIONS, FEATURE_REGULARIZATIONS = (1.0, 1.5, 2.0, 2.5, 3.0), (None, 12.5, 25.0, 50.0, 100.0)


def errors(kind: Kind, splits: Splits, movies: pd.DataFrame, seeds: Sequence[int]) -> tuple[float, float]:
    """Return the mean RMSE over splits and seeds, and the median time of a fit in seconds."""
    found, seconds = [], []
    for train, test in splits:
        for seed in seeds:
            began = time.perf_counter()
            model = kind.fit(train, movies, seed)
            seconds.append(time.perf_counter() - began)
            found.append(hs.metrics.rmse(test.values, model.predict(test)))
    return float(np.mean(found)), statistics.median(seconds)


def inside(movies: pd.DataFrame) -> Lines:
    train = write_up_split(hs.datasets.movielens_100k()).train
    at_random, by_time = list(hs.k_folds(train, FOLDS, random_state=0)), inner_split(train)
    print("\nfirst 80,000 ratings: RMSE on random folds and on the last fifth")
    found: dict[bool, dict[tuple[float, float | None], float]] = {False: {}, True: {}}
    for reg in REGULARIZATIONS:
        for feature_reg in FEATURE_REGULARIZATIONS:
            implicit = feature_reg is not None
            kind = Kind(implicit, False, reg, feature_reg)
            rmse, _ = errors(kind, at_random, movies, [0])
            later, _ = errors(kind, [(by_time.train, by_time.known)], movies, [0])
            found[implicit][reg, feature_reg] = (rmse + later) / 2
            print(f"λ {reg:<4} λ_β {feature_reg or '':<6} {rmse:.4f} {later:.4f}", flush=True)
    for implicit, means in found.items():
        best = min(means, key=lambda pair: means[pair])
        print(f"{'implicit features' if implicit else 'ids only'}: best mean of both at λ, λ_β = {best}")
    return []


def write_up(movies: pd.DataFrame) -> Lines:
    split = write_up_split(hs.datasets.movielens_100k())
    return [score("last fifth, 2,786 test ratings, three seeds", [(split.train, split.known)], movies, SEEDS)]


def folds(movies: pd.DataFrame) -> Lines:
    data = hs.datasets.movielens_100k()
    numbers = np.arange(len(data)) * FOLDS // len(data)
    splits = [(data.subset(numbers != n), data.subset(numbers == n)) for n in range(FOLDS)]
    return [score("folds u1 to u5", splits, movies, [0])]


def score(name: str, splits: Splits, movies: pd.DataFrame, seeds: Sequence[int]) -> list[str]:
    """Print the RMSE of each kind, and return the row of the table."""
    print(f"\n{name}")
    line = [name]
    for label, kind in KINDS.items():
        rmse, seconds = errors(kind, splits, movies, seeds)
        print(f"{label:<44} RMSE {rmse:.4f}   {seconds:.3f} s a fit", flush=True)
        line.append(f"{rmse:.4f}")
    return line


def cold(movies: pd.DataFrame) -> Lines:
    data, found = hs.datasets.movielens_100k(), []
    for seed in COLD_SEEDS:
        held_out = (np.random.default_rng(seed).random(data.n_items) < COLD_SHARE)[data.item_positions]
        train, test = data.subset(~held_out), data.subset(held_out)
        predictions = [
            kind.fit(train, movies, seed).predict(test)
            for kind in (Kind(), Kind(movies=True), Kind(False, True, *TUNED_WITH_FEATURES))
        ]
        means = np.bincount(train.user_positions, train.values) / np.maximum(train.user_counts, 1)
        found.append([hs.metrics.rmse(test.values, each) for each in (*predictions, means[test.user_positions])])
    plain, features, tuned, user_means = np.mean(found, axis=0)
    print(f"\ncold: ids only {plain:.4f}, genres and years {features:.4f}, tuned λ {tuned:.4f}")
    print(f"the user's mean {user_means:.4f}")
    line = [f"cold-start movies, {len(COLD_SEEDS)} seeds, without implicit features (user mean: {user_means:.4f})"]
    return [[*line, f"{plain:.4f}", "", "", "", f"{features:.4f}", f"{tuned:.4f}"]]


SECTIONS: dict[str, Callable[[pd.DataFrame], Lines]] = {
    "inside": inside,
    "write-up": write_up,
    "folds": folds,
    "cold": cold,
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sections", nargs="*", help=f"{', '.join(SECTIONS)}; all by default")
    asked = parser.parse_args(arguments).sections
    for name in asked:
        if name not in SECTIONS:
            parser.error(f"unknown section {name!r}: give some of {', '.join(SECTIONS)}")
    movies = movie_features()
    if movies is None:
        parser.error("u.item not found: set HALFSTEP_DATA to the folder that contains ml-100k")
    lines = [line for name in asked or SECTIONS for line in SECTIONS[name](movies)]
    if not asked or set(SECTIONS) - {"inside"} == set(asked):
        head = ["RMSE", *(f" {label}" for label in KINDS)]
        write_between(ROOT / "docs" / "bayesian.md", "features", table(head, lines))


if __name__ == "__main__":
    main()
