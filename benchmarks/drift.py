"""What biases that drift are good for, on MovieLens 100K: ``python -m benchmarks.drift``.

With the defaults of `hs.Drift`, for `hs.ALS` (rank 16, λ 1.6) and `hs.BayesianALS` as it comes. Sections, each by its
name as an argument:

inside     within the first 80,000 ratings by time, where the defaults were chosen: three splits by time, each of
           which is tested on the 12,000 ratings that follow, and the first three of five random folds
write-up   the last fifth, as the lab splits it: 2,786 pairs of users and items known from training
folds      the official folds u1 to u5, which are consecutive fifths of u.data

Data: MovieLens 100K as in `hs.datasets`. A run of all sections writes the table of docs/drift.md.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np

import halfstep as hs
from benchmarks.marks import ROOT, table, write_between
from halfstep.lab.data import MIN_TRAIN_RATINGS, write_up_split

SEEDS = range(3)
FOLDS, FOLDS_INSIDE = 5, 3
STARTS = (0.55, 0.7, 0.85)  # of the test sides inside, as shares of the training side; each goes on to the next

Model = hs.ALS | hs.BayesianALS
Lines = list[list[str]]
"""Of the page's table."""
Splits = Sequence[tuple[hs.Interactions, hs.Interactions]]

DRIFTS = {
    "static": None,
    "drift": hs.Drift(),
    "items' bins alone": hs.Drift(user_trend=False),
    "users' trends alone": hs.Drift(bins=1),
}


def als(drift: hs.Drift | None, seed: int) -> Model:
    return hs.ALS(hs.Explicit(drift=drift), rank=16, regularization=1.6, random_state=seed)


def sampler(drift: hs.Drift | None, seed: int) -> Model:
    return hs.BayesianALS(hs.Explicit(drift=drift), random_state=seed, progress=False)


MAKERS: dict[str, Callable[[hs.Drift | None, int], Model]] = {"ALS": als, "BayesianALS": sampler}


def score(name: str, splits: Splits, seeds: Sequence[int]) -> list[str]:
    """Print the mean RMSE over the splits and seeds of each model, with and without drift, and seconds per fit."""
    print(f"\n{name}")
    line = [name]
    for kind, make in MAKERS.items():
        for label, drift in DRIFTS.items():
            errors, seconds = [], []
            for train, test in splits:
                for seed in seeds:
                    began = time.perf_counter()
                    model = make(drift, seed).fit(train)
                    seconds.append(time.perf_counter() - began)
                    errors.append(hs.metrics.rmse(test.values, model.predict(test)))
            mean = np.mean(errors)
            print(f"{kind:<12} {label:<20} RMSE {mean:.4f}   {statistics.median(seconds):.3f} s a fit", flush=True)
            line.append(f"{mean:.4f}")
    return line


def inside() -> Lines:
    train = write_up_split(hs.datasets.movielens_100k()).train
    order, n = np.argsort(train.timestamps, kind="stable"), len(train)
    by_time = []
    for start, stop in zip(STARTS, (*STARTS[1:], 1.0), strict=True):
        begin, end = int(start * n), int(stop * n)
        past, future = (train.subset(np.sort(part)) for part in (order[:begin], order[begin:end]))
        kept = hs.keep_known(future, past, min_train_ratings=MIN_TRAIN_RATINGS, drop_unseen_items=True)
        by_time.append((past, kept))
    at_random = list(hs.k_folds(train, FOLDS, random_state=1))[:FOLDS_INSIDE]
    return [
        score("inside the first 80,000 ratings, three splits by time", by_time, SEEDS),
        score("inside the first 80,000 ratings, three random folds", at_random, [0]),
    ]


def write_up() -> Lines:
    split = write_up_split(hs.datasets.movielens_100k())
    return [score("last fifth, 2,786 pairs, three seeds", [(split.train, split.known)], SEEDS)]


def folds() -> Lines:
    data = hs.datasets.movielens_100k()
    numbers = np.arange(len(data)) * FOLDS // len(data)
    splits = [(data.subset(numbers != n), data.subset(numbers == n)) for n in range(FOLDS)]
    return [score("folds u1 to u5", splits, [0])]


SECTIONS: dict[str, Callable[[], Lines]] = {"inside": inside, "write-up": write_up, "folds": folds}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sections", nargs="*", help=f"of {', '.join(SECTIONS)}; all by default")
    asked = parser.parse_args(arguments).sections
    for name in asked:
        if name not in SECTIONS:
            parser.error(f"there is no section {name!r}: give some of {', '.join(SECTIONS)}")
    lines = [line for name in asked or SECTIONS for line in SECTIONS[name]()]
    if not asked:
        head = ["RMSE", *(f" {kind}, {label}" for kind in MAKERS for label in DRIFTS)]
        write_between(ROOT / "docs" / "drift.md", "drift", table(head, lines))


if __name__ == "__main__":
    main()
