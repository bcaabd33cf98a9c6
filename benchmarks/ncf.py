"""iALS on the NCF protocol of MovieLens 1M, compared with published results: ``python -m benchmarks.ncf``.

The last item of each user is ranked among 99 given items that the user has not rated (He et al. 2017); HR@10 and
NDCG@10 are means over 6,040 users. 156 of the given items are the last item itself; like the original, this counts
them once. The hyperparameters are those of Rendle et al. (2022) for iALS: λ = 0.007, α0 = 0.3, ν = 1, initial factors
from N(0, 0.1² / d), 12 iterations.

Data: the folder ``ncf-ml-1m`` in the folder that HALFSTEP_DATA names, with the original ``ml-1m.test.rating`` and
``ml-1m.test.negative``, and the training pairs as ``ml-1m.train.pairs.tsv``.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

import halfstep as hs
from halfstep.solver.threads import available_cores

# HR@10 and NDCG@10: published for popularity, neighbors and iALS by rank, and required of the mean over seeds
POPULARITY = (0.453, 0.254)
ITEM_KNN = (0.660, 0.390)
PUBLISHED = {64: (0.722, 0.445), 192: (0.728, 0.452)}
REQUIRED = {64: (0.720, 0.443), 192: (0.726, 0.450)}


class LeaveOneOut(NamedTuple):
    """The training set, the test set, and the candidates of each user."""

    train: hs.Interactions
    hidden: hs.Interactions
    candidates: dict[int, list[int]]


def load(folder: Path) -> LeaveOneOut:
    """Read the only data set in a folder; training data of the original have timestamps, and pairs do not."""
    (name,) = (path.name.removesuffix(".test.negative") for path in folder.glob("*.test.negative"))
    original = folder / f"{name}.train.rating"
    train = np.loadtxt(original if original.exists() else folder / f"{name}.train.pairs.tsv", dtype=np.int64)
    hidden = np.loadtxt(folder / f"{name}.test.rating", dtype=np.int64)
    candidates = {}
    for line in (folder / f"{name}.test.negative").read_text(encoding="utf-8").splitlines():
        pair, *others = line.split("\t")
        user, item = map(int, pair.strip("()").split(","))
        candidates[user] = list(dict.fromkeys([*map(int, others), item]))
    return LeaveOneOut(
        hs.Interactions.from_arrays(train[:, 0], train[:, 1], timestamps=train[:, 3] if original.exists() else None),
        hs.Interactions.from_arrays(hidden[:, 0], hidden[:, 1]),
        candidates,
    )


def fit(dim: int, seed: int, train: hs.Interactions, *, refresh_users: bool) -> tuple[hs.ALS, float]:
    """Return a fitted model, and the seconds of the fit."""
    model = hs.presets.ials(dim, 0.007, unobserved_weight=0.3, epochs=12, random_state=seed)
    solver = hs.solvers.Cholesky(extrapolation=0.0, refresh_users=refresh_users)
    model.set_params(solver=solver, progress=False)
    began = time.perf_counter()
    model.fit(train)
    return model, time.perf_counter() - began


def figures(protocol: LeaveOneOut, models: Mapping[str, hs.FactorModel]) -> np.ndarray:
    """Return HR@10 and NDCG@10 of each model, of shape (n_models, 2)."""
    found = hs.evaluate(models, protocol.hidden, protocol="ncf", candidates=protocol.candidates, resamples=1)
    return np.array([[found[name, "hit_rate"], found[name, "ndcg"]] for name in models])


def pair(numbers: Sequence[float], digits: int = 3) -> str:
    return " / ".join(f"{number:.{digits}f}" for number in numbers)


def show(*cells: str) -> None:
    print("{:<32} {:<18} {:<18} {:<16} {:<8} {}".format(*cells).rstrip(), flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dim", type=int, nargs="+", default=[64, 192], help="ranks (default: 64 192)")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds for each rank (default: 3)")
    options = parser.parse_args(arguments)
    folder = Path(os.environ.get("HALFSTEP_DATA", "nowhere")) / "ncf-ml-1m"
    if not folder.is_dir():
        raise SystemExit(f"there is no folder {folder}: set HALFSTEP_DATA to the folder that contains ncf-ml-1m")
    protocol = load(folder)
    train = protocol.train
    print(f"{len(train):,} training pairs of {train.n_users:,} users and {train.n_items:,} items")
    print(f"{sum(map(len, protocol.candidates.values())):,} pairs ranked")
    print(f"{platform.machine()}, {available_cores()} cores, NumPy {np.__version__}")
    print(f"Means of {options.seeds} seeds; published results are without the final half-step for users\n")
    show("", "HR@10 / NDCG@10", "deviation", "published", "fit", "required")
    simple = {"Popularity": hs.Popularity(), "ItemKNN": hs.ItemKNN()}
    found = figures(protocol, {name: model.fit(train) for name, model in simple.items()})
    for name, mean, published in zip(simple, found, (POPULARITY, ITEM_KNN), strict=True):
        show(name, pair(mean, 4), "", pair(published), "", "")
    fit(8, 0, train, refresh_users=True)  # compiles the kernels
    for dim in options.dim:
        for refresh_users in (True, False):
            fits = [fit(dim, seed, train, refresh_users=refresh_users) for seed in range(options.seeds)]
            found = figures(protocol, {f"seed {seed}": model for seed, (model, _) in enumerate(fits)})
            mean, required = found.mean(axis=0), REQUIRED.get(dim)
            show(
                f"iALS {dim}" + ("" if refresh_users else ", no final half-step"),
                pair(mean, 4),
                pair(found.std(axis=0), 4),
                pair(PUBLISHED[dim]) if dim in PUBLISHED else "",
                f"{statistics.median(seconds for _, seconds in fits):.1f} s",
                f"{pair(required)}: {'reached' if (mean >= required).all() else 'MISSED'}" if required else "",
            )


if __name__ == "__main__":
    main()
