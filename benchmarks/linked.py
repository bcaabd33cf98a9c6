"""What features are good for in `hs.ALS`, on MovieLens 100K: ``python -m benchmarks.linked``.

Biased ALS of the default rank, of ids only, with implicit features, and with films' genres and years as well: with
the defaults, and with the λ that were chosen. Sections, each by its name as an argument:

inside     within the first 80,000 ratings by time, where λ was chosen: five random folds, and the last fifth by time;
           of the pairs of λ and λ_β the best one is named
write-up   the last fifth, as the lab splits it: 2,786 pairs of users and items known from training
folds      the official folds u1 to u5, which are consecutive fifths of u.data
cold       a tenth of the films without any rating, which are predicted from genres and years, without bags

Data: MovieLens 100K as in `hs.datasets`, with u.item. A run of all sections, or all but the first, writes the table
of docs/bayesian.md.
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
from benchmarks.bayesian import COLD_SEEDS, COLD_SHARE, FOLDS, SEEDS, films_features
from benchmarks.marks import ROOT, table, write_between
from lab.data import inner_split, write_up_split

Lines = list[list[str]]
"""Of the page's table."""
Splits = Sequence[tuple[hs.Interactions, hs.Interactions]]


class Kind(NamedTuple):
    """What is fitted: with which features, and which λ and λ_β (None for the defaults)."""

    implicit: bool = False
    films: bool = False
    regularization: float | None = None
    feature_regularization: float | None = None

    def fit(self, train: hs.Interactions, films: pd.DataFrame, seed: int) -> hs.ALS:
        regularization = hs.Regularization(self.regularization)
        if self.feature_regularization is not None:
            regularization = replace(regularization, features=self.feature_regularization)
        model = hs.ALS(
            regularization=regularization, implicit_features=self.implicit, random_state=seed, progress=False
        )
        return model.fit(train, item_features=films if self.films else None)


PLAIN, LINKED = 1.5, (2.5, 25.0)  # λ, and λ with λ_β: chosen inside
KINDS = {
    "ids only, defaults": Kind(),
    "ids only, λ chosen": Kind(regularization=PLAIN),
    "implicit features, defaults": Kind(True),
    "implicit features, λ chosen": Kind(True, False, *LINKED),
    "and genres, years, defaults": Kind(True, True),
    "and genres, years, λ chosen": Kind(True, True, *LINKED),
}
STRENGTHS, FEATURE_STRENGTHS = (1.0, 1.5, 2.0, 2.5, 3.0), (None, 12.5, 25.0, 50.0, 100.0)


def errors(kind: Kind, splits: Splits, films: pd.DataFrame, seeds: Sequence[int]) -> tuple[float, float]:
    """The mean RMSE over splits and seeds, and the median of seconds per fit."""
    found, seconds = [], []
    for train, test in splits:
        for seed in seeds:
            began = time.perf_counter()
            model = kind.fit(train, films, seed)
            seconds.append(time.perf_counter() - began)
            found.append(hs.metrics.rmse(test.values, model.predict(test)))
    return float(np.mean(found)), statistics.median(seconds)


def inside(films: pd.DataFrame) -> Lines:
    train = write_up_split(hs.datasets.movielens_100k()).train
    at_random, by_time = list(hs.k_folds(train, FOLDS, random_state=0)), inner_split(train)
    print("\ninside the first 80,000 ratings, RMSE on random folds and by time")
    found: dict[bool, dict[tuple[float, float | None], float]] = {False: {}, True: {}}
    for strength in STRENGTHS:
        for of_features in FEATURE_STRENGTHS:
            implicit = of_features is not None
            kind = Kind(implicit, False, strength, of_features)
            rmse, _ = errors(kind, at_random, films, [0])
            later, _ = errors(kind, [(by_time.train, by_time.known)], films, [0])
            found[implicit][strength, of_features] = (rmse + later) / 2
            print(f"λ {strength:<4} λ_β {of_features or '':<6} {rmse:.4f} {later:.4f}", flush=True)
    for implicit, means in found.items():
        best = min(means, key=lambda pair: means[pair])
        print(f"{'implicit features' if implicit else 'ids only'}: the best mean of both at λ, λ_β = {best}")
    return []


def write_up(films: pd.DataFrame) -> Lines:
    split = write_up_split(hs.datasets.movielens_100k())
    return [score("last fifth, 2,786 pairs, three seeds", [(split.train, split.known)], films, SEEDS)]


def folds(films: pd.DataFrame) -> Lines:
    data = hs.datasets.movielens_100k()
    numbers = np.arange(len(data)) * FOLDS // len(data)
    splits = [(data.subset(numbers != n), data.subset(numbers == n)) for n in range(FOLDS)]
    return [score("folds u1 to u5", splits, films, [0])]


def score(name: str, splits: Splits, films: pd.DataFrame, seeds: Sequence[int]) -> list[str]:
    """Print the RMSE of each kind, and give the table's line."""
    print(f"\n{name}")
    line = [name]
    for label, kind in KINDS.items():
        rmse, seconds = errors(kind, splits, films, seeds)
        print(f"{label:<30} RMSE {rmse:.4f}   {seconds:.3f} s a fit", flush=True)
        line.append(f"{rmse:.4f}")
    return line


def cold(films: pd.DataFrame) -> Lines:
    data, found = hs.datasets.movielens_100k(), []
    for seed in COLD_SEEDS:
        held_out = (np.random.default_rng(seed).random(data.n_items) < COLD_SHARE)[data.item_positions]
        train, test = data.subset(~held_out), data.subset(held_out)
        predictions = [
            kind.fit(train, films, seed).predict(test)
            for kind in (Kind(), Kind(films=True), Kind(False, True, *LINKED))
        ]
        means = np.bincount(train.user_positions, train.values) / np.maximum(train.user_counts, 1)
        found.append([hs.metrics.rmse(test.values, each) for each in (*predictions, means[test.user_positions])])
    plain, linked, chosen, user_means = np.mean(found, axis=0)
    print(f"\ncold: ids only {plain:.4f}, genres and years {linked:.4f}, λ chosen {chosen:.4f}")
    print(f"the user's mean {user_means:.4f}")
    line = [f"a tenth of the films unrated, {len(COLD_SEEDS)} draws, no bags; the user's mean: {user_means:.4f}"]
    return [[*line, f"{plain:.4f}", "", "", "", f"{linked:.4f}", f"{chosen:.4f}"]]


SECTIONS: dict[str, Callable[[pd.DataFrame], Lines]] = {
    "inside": inside,
    "write-up": write_up,
    "folds": folds,
    "cold": cold,
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sections", nargs="*", help=f"of {', '.join(SECTIONS)}; all by default")
    asked = parser.parse_args(arguments).sections
    for name in asked:
        if name not in SECTIONS:
            parser.error(f"there is no section {name!r}: give some of {', '.join(SECTIONS)}")
    films = films_features()
    if films is None:
        parser.error("there is no u.item: set HALFSTEP_DATA to the folder that holds ml-100k with it")
    lines = [line for name in asked or SECTIONS for line in SECTIONS[name](films)]
    if not asked or set(SECTIONS) - {"inside"} == set(asked):
        head = ["RMSE", *(f" {label}" for label in KINDS)]
        write_between(ROOT / "docs" / "bayesian.md", "linked", table(head, lines))


if __name__ == "__main__":
    main()
