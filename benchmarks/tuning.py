"""Accuracy and duration of searches on the lab's split of MovieLens 100K; writes a table of docs/tuning.md.

    python -m benchmarks.tuning

Searches use the 80,000 training ratings. The last column is the RMSE of the tuned models on the test set.

    python -m benchmarks.tuning FOLDER --trials 200

compares the default search for implicit feedback with that many random trials, by NDCG@10 on a random tenth of the
training data of a published split (see `benchmarks.record`).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import halfstep as hs
from benchmarks.marks import ROOT, table, write_between
from benchmarks.record.splits import read_split
from lab.data import write_up_split

SEEDS = range(5)
ONE_REGULARIZATION = {
    "regularization": hs.LogUniform(0.03, 30.0),
    "regularization.exponent": [0.0, 0.5, 0.75, 1.0],
    "rank": [8, 16, 32],
    "regularization.bias_ratio": hs.LogUniform(0.3, 3.0),
}
GRID = {"regularization": [0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 12.0], "rank": [8, 16, 32]}
SEARCHES: dict[str, dict[str, Any]] = {
    "TPE, 100 trials": {"search": "tpe"},
    "TPE, 50 trials": {"search": "tpe", "n_trials": 50},
    "random, 300 trials": {"search": "random"},
    "random, 100 trials": {"search": "random", "n_trials": 100},
    "random, 100 trials, not pruned": {"search": "random", "n_trials": 100, "prune": False},
    "random, 300 trials, one λ for both sides": {"search": "random", "space": ONE_REGULARIZATION},
    "grid of 8 λ × 3 ranks": {"space": GRID},
    "the same, no warm starts": {"space": GRID, "warm_starts": False},
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tuning", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", help="files of a published split, for implicit feedback")
    parser.add_argument("--trials", type=int, default=200, help="of the random search there (default: 200)")
    options = parser.parse_args(arguments)
    if options.folder is None:
        explicit()
    else:
        implicit(options.folder, options.trials)


def implicit(folder: Path, n_trials: int) -> None:
    """Compare the default search with a random one."""
    data = read_split(folder).outer.train
    split = [hs.split_random(data, 0.1, random_state=7)]
    random: dict[str, Any] = {"search": "random", "n_trials": n_trials}
    for name, search in (("default", {}), ("random", random)):
        began = time.perf_counter()
        tuning = hs.tune(hs.ALS(hs.Implicit()), data, split=split, random_state=1, progress=False, **search)
        seconds = time.perf_counter() - began
        found = f"{tuning.metric} {tuning.best_value:.4f}, {len(tuning)} trials, {seconds:.0f} s"
        print(f"{name}: {found}, {tuning.best_parameters}", flush=True)


def explicit() -> None:
    """Run all searches with all seeds."""
    split = write_up_split(hs.datasets.movielens_100k())
    hs.tune(hs.ALS(hs.Explicit()), split.train, n_trials=1, progress=False)  # imports Optuna and loads the kernels
    untuned = hs.ALS(hs.Explicit(), random_state=0).fit(split.train)
    rows = [["defaults", "", "", f"{hs.metrics.rmse(split.known.values, untuned.predict(split.known)):.4f}"]]
    for name, options in SEARCHES.items():
        found = [measured(split, seed, options) for seed in (SEEDS if "random" in name or "TPE" in name else [0])]
        seconds, values, errors = zip(*found, strict=True)
        row = [name, f"{statistics.median(seconds):.1f}", spread(values), spread(errors)]
        rows.append(row)
        print(*row, sep="  ", flush=True)
    head = ["", " CPU seconds", " RMSE on the folds", " RMSE on the test set"]
    write_between(ROOT / "docs" / "tuning.md", "searches", table(head, rows))


def measured(split: Any, seed: int, options: dict[str, Any]) -> tuple[float, float, float]:
    """Return CPU seconds, the best value on the folds, and the RMSE of the tuned model on the test set."""
    began = time.process_time()
    tuning = hs.tune(hs.ALS(hs.Explicit()), split.train, random_state=seed, progress=False, **options)
    seconds = time.process_time() - began
    return seconds, tuning.best_value, hs.metrics.rmse(split.known.values, tuning.model.predict(split.known))


def spread(numbers: tuple[float, ...]) -> str:
    """Return the mean, with the minimum and maximum."""
    mean = f"{statistics.mean(numbers):.4f}"
    return mean if len(numbers) == 1 else f"{mean} ({min(numbers):.4f} to {max(numbers):.4f})"


if __name__ == "__main__":
    main()
