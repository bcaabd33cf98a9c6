"""Accuracy, interval coverage and speed of `hs.BayesianALS`: ``python -m benchmarks.bayesian``.

All fits use the defaults, except for the rank and the number of sweeps in the comparison with myFM (a Gibbs sampler
in C++, skipped if it is not installed). Models are fitted to ids only, with numeric and with ordinal ratings, to
implicit features and, on MovieLens 100K, to genres and years as well, and to occupations, ages, genders and the mean
dates of the training ratings of each user and movie. Pass the names of sections to run:

write-up   last fifth of MovieLens 100K, split as in the lab: 2,786 test ratings of known users and items
folds      official folds u1 to u5 of MovieLens 100K, which are consecutive fifths of u.data
ml-1m      ratings of the NCF protocol's training pairs, in five random folds of seed 0
cold       MovieLens 100K with a tenth of the movies as cold-start items, predicted from genres and years
myfm       write-up split at rank 8 with 200 samples, alternating between both samplers
large      ten million synthetic ratings: time of a sweep and of an exact iteration of ALS, at rank 32

A run of all sections writes the tables of docs/bayesian.md.

Data: HALFSTEP_DATA is the folder that contains ``ncf-ml-1m``; MovieLens 100K as in `hs.datasets`.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

import halfstep as hs
from benchmarks.marks import ROOT, table, write_between
from benchmarks.synthetic import interactions, ratings
from halfstep.solver.threads import available_cores
from lab.data import write_up_split

SEEDS = range(3)
FOLDS = 5
INTERVAL = 0.9
MYFM_RANK, MYFM_SAMPLES = 8, 200
MYFM_IMPLICIT_SECONDS = 341  # as reported for 200 samples on the same pairs
LARGE_RANK, LARGE_ITERATIONS = 32, 6
COLD_SHARE, COLD_SEEDS = 0.1, range(5)
TITLES = {
    "write-up": "MovieLens 100K, last fifth, 2,786 test ratings, three seeds",
    "folds": "MovieLens 100K, folds u1 to u5",
    "ml-1m": "MovieLens 1M, five random folds",
}
FIRST_GENRE = 5  # first of the genre indicators in u.item

IDS, ORDINAL, IMPLICIT, MOVIES = (
    "ids only",
    "ids only, ordinal",
    "implicit features",
    "implicit features, genres, years",
)
ALL = f"{MOVIES}, occupations, ages, genders, dates"
# required RMSE of the defaults, and reported RMSE of other libraries
REQUIRED_RMSE = {
    "write-up": {IDS: 0.931, IMPLICIT: 0.912},
    "folds": {IDS: 0.896, IMPLICIT: 0.882, MOVIES: 0.878, ALL: 0.872},
    "ml-1m": {IDS: 0.845, IMPLICIT: 0.838},
}
REPORTED_RMSE = {
    "write-up": "Surprise SVD 0.978, SVD++ 0.955, tuned biased ALS 0.954",
    "folds": "Surprise SVD 0.934, SVD++ 0.919, MyMediaLite 0.908",
    "ml-1m": "Surprise SVD 0.873, SVD++ 0.862, MyMediaLite 0.852",
}


Splits = list[tuple[str, int, hs.Interactions, hs.Interactions]]
Lines = list[list[str]]
"""Rows of the tables in docs/bayesian.md."""


def score(name: str, splits: Splits, movies: pd.DataFrame | None = None) -> Lines:
    """Evaluate each kind of model on the splits."""
    print(f"\n{name}: {REPORTED_RMSE[name]}")
    lines = [
        [TITLES[name], IDS, *score_one(name, IDS, splits), REPORTED_RMSE[name]],
        ["", ORDINAL, *score_one(name, ORDINAL, splits), ""],
        ["", IMPLICIT, *score_one(name, IMPLICIT, splits), ""],
    ]
    if movies is not None:
        kinds = (MOVIES, ALL) if (hs.datasets.fetch(hs.datasets.ML_100K) / "u.user").is_file() else (MOVIES,)
        lines += [["", kind, *score_one(name, kind, splits, movies), ""] for kind in kinds]
    return lines


def score_one(name: str, kind: str, splits: Splits, movies: pd.DataFrame | None = None) -> list[str]:
    """Print RMSE, RMSE of point factors, and interval coverage for each split, and return their means."""
    print(f"{kind}:\n{'':<10} {'RMSE':>8} {'point':>8} {f'in {INTERVAL:.0%}':>8} {'fit':>8} {'a sweep':>10}")
    rows, required_rmse = [], REQUIRED_RMSE[name].get(kind)
    for label, seed, train, test in splits:
        of_users, of_items = (user_features(train), with_dates(movies, train)) if kind == ALL else (None, movies)
        began = time.perf_counter()
        model = hs.BayesianALS(
            implicit_features=kind in (IMPLICIT, MOVIES, ALL),
            ordinal=kind == ORDINAL,
            random_state=seed,
            progress=False,
        )
        model.fit(train, user_features=of_users, item_features=of_items)
        seconds = time.perf_counter() - began
        mean, lower, upper = model.predict(test, interval=INTERVAL)
        covered = float(np.mean((lower <= test.values) & (test.values <= upper)))
        sweep = statistics.median(np.diff([line.seconds for line in model.history_]))
        rows.append((hs.metrics.rmse(test.values, mean), point_rmse(model, test), covered, seconds, sweep))
        show(label, rows[-1])
    means = np.mean(rows, axis=0)
    show("mean", means)
    if required_rmse is not None:
        print(f"required {required_rmse}: {'reached' if means[0] <= required_rmse else 'MISSED'}")
    return [f"{means[0]:.4f}", f"{means[2]:.1%}", f"{means[3]:.1f}"]


def point_rmse(model: hs.BayesianALS, test: hs.Interactions) -> float:
    """Return the RMSE of the point factors, or NaN for ordinal ratings, where they predict latent targets."""
    if model.ordinal:
        return float("nan")
    u = model.users_.positions(test.user_ids, unknown="mark")
    i = model.items_.positions(test.item_ids, unknown="mark")
    known = (u >= 0) & (i >= 0)
    scores = model.predict(test)
    u, i = u[known], i[known]
    scores[known] = model.mean_ + model.user_biases_[u] + model.item_biases_[i]
    scores[known] += np.einsum("nk,nk->n", model.user_factors_[u], model.item_factors_[i])
    return float(hs.metrics.rmse(test.values, scores))


def show(label: str, row: Sequence[float]) -> None:
    rmse, point, covered, seconds, sweep = row
    print(
        f"{label:<10} {rmse:>8.4f} {point:>8.4f} {covered:>8.1%} {seconds:>6.1f} s {1e3 * sweep:>7.2f} ms", flush=True
    )


def write_up() -> Lines:
    split = write_up_split(hs.datasets.movielens_100k())
    return score("write-up", [(f"seed {seed}", seed, split.train, split.known) for seed in SEEDS], movie_features())


def folds() -> Lines:
    data = hs.datasets.movielens_100k()
    numbers = np.arange(len(data)) * FOLDS // len(data)
    splits = [(f"u{n + 1}", 0, data.subset(numbers != n), data.subset(numbers == n)) for n in range(FOLDS)]
    return score("folds", splits, movie_features())


def ml_1m() -> Lines:
    folder = Path(os.environ.get("HALFSTEP_DATA", "nowhere")) / "ncf-ml-1m"
    if not folder.is_dir():
        print(f"\nml-1m skipped: {folder} does not exist; set HALFSTEP_DATA to the folder that contains ncf-ml-1m")
        return []
    users, items, values = np.loadtxt(folder / "ml-1m.train.pairs.tsv", dtype=np.int64).T
    data = hs.Interactions.from_arrays(users, items, values.astype(float))
    splits = hs.k_folds(data, FOLDS, random_state=0)
    return score("ml-1m", [(f"fold {n}", 0, train, test) for n, (train, test) in enumerate(splits, start=1)])


def movie_features() -> pd.DataFrame | None:
    """Return the genres and years of MovieLens 100K's movies, or None without u.item."""
    path = hs.datasets.fetch(hs.datasets.ML_100K) / "u.item"
    if not path.is_file():
        return None
    table = pd.read_csv(path, sep="|", header=None, encoding="latin-1")
    genres = table.iloc[:, FIRST_GENRE:].apply(lambda row: "|".join(f"{n}" for n in np.flatnonzero(row)), axis=1)
    years = pd.to_datetime(table[2], format="%d-%b-%Y").dt.year
    return pd.DataFrame({"item": table[0], "genres": genres, "year": years})


def user_features(train: hs.Interactions) -> pd.DataFrame:
    """Return the occupations, ages, genders and mean rating dates of MovieLens 100K's users."""
    path = hs.datasets.fetch(hs.datasets.ML_100K) / "u.user"
    users = pd.read_csv(path, sep="|", header=None, names=["user", "age", "gender", "occupation", "zip"])
    users = users.drop(columns="zip").astype({"age": float})
    return users.assign(date=users.user.map(mean_dates(train, train.user_ids)))


def with_dates(movies: pd.DataFrame | None, train: hs.Interactions) -> pd.DataFrame | None:
    """Add the mean rating dates of movies to their features."""
    return None if movies is None else movies.assign(date=movies.item.map(mean_dates(train, train.item_ids)))


def mean_dates(train: hs.Interactions, ids: np.ndarray) -> pd.Series:
    return pd.Series(train.timestamps, dtype=float).groupby(ids).mean()


def cold() -> Lines:
    movies = movie_features()
    if movies is None:
        print("\ncold skipped: u.item not found; set HALFSTEP_DATA to the folder that contains ml-100k")
        return []
    data = hs.datasets.movielens_100k()
    print(f"\ncold: RMSE on cold-start movies, a tenth of all\n{'':<10} {'features':>8} {'user mean':>10}")
    found = []
    for seed in COLD_SEEDS:
        is_cold = np.random.default_rng(seed).random(data.n_items) < COLD_SHARE
        held_out = is_cold[data.item_positions]
        train, test = data.subset(~held_out), data.subset(held_out)
        model = hs.BayesianALS(random_state=seed, progress=False).fit(train, item_features=movies)
        means = np.bincount(train.user_positions, train.values) / np.maximum(train.user_counts, 1)
        predictions = model.predict(test), means[test.user_positions]
        found.append([hs.metrics.rmse(test.values, each) for each in predictions])
        print(f"seed {seed:<5} {found[-1][0]:>8.4f} {found[-1][1]:>10.4f}", flush=True)
    ours, theirs = np.mean(found, axis=0)
    print(f"margin {theirs - ours:.4f}, required more than 0: {'reached' if theirs > ours else 'MISSED'}")
    what = f"RMSE on cold-start movies, a tenth of all ({len(COLD_SEEDS)} seeds)"
    return [[f"{what}: from genres and years", f"{ours:.4f}"], [f"{what}: from the user's mean", f"{theirs:.4f}"]]


def compare_myfm() -> Lines:
    try:
        from myfm import MyFMGibbsRegressor
    except ImportError:
        print("\nmyfm skipped: it is not installed")
        return []
    split = write_up_split(hs.datasets.movielens_100k())
    train, test = split.train, split.known
    shape = (train.n_users, train.n_items)

    def one_hot(data: hs.Interactions) -> sparse.csr_matrix:
        u, i = train.users.positions(data.user_ids), train.items.positions(data.item_ids)
        columns = np.column_stack([u, shape[0] + i]).ravel()
        return sparse.csr_matrix(
            (np.ones(len(columns)), columns, np.arange(0, len(columns) + 1, 2)), shape=(len(data), sum(shape))
        )

    X, X_test = one_hot(train), one_hot(test)

    def theirs(seed: int) -> tuple[float, float]:
        model = MyFMGibbsRegressor(rank=MYFM_RANK, random_seed=seed)
        began = time.perf_counter()
        model.fit(X, train.values, n_iter=MYFM_SAMPLES, n_kept_samples=MYFM_SAMPLES - 20, group_shapes=list(shape))
        seconds = time.perf_counter() - began
        return seconds, float(hs.metrics.rmse(test.values, model.predict(X_test)))

    def ours(seed: int) -> tuple[float, float]:
        model = hs.BayesianALS(rank=MYFM_RANK, iterations=MYFM_SAMPLES, random_state=seed, progress=False)
        began = time.perf_counter()
        model.fit(train)
        seconds = time.perf_counter() - began
        return seconds, float(hs.metrics.rmse(test.values, model.predict(test)))

    ours(0)  # loads or compiles the kernels
    turns = [(theirs(seed), ours(seed)) for seed in SEEDS]
    print(f"\nmyfm: write-up split, rank {MYFM_RANK}, {MYFM_SAMPLES} samples, whole fits")
    seconds = []
    for name, runs in zip(("myFM", "halfstep"), zip(*turns, strict=True), strict=True):
        seconds.append(statistics.median(run[0] for run in runs))
        each = 1e3 * seconds[-1] / MYFM_SAMPLES
        print(f"{name:<10} {seconds[-1]:.2f} s, {each:.2f} ms a sample, RMSE {np.mean([run[1] for run in runs]):.4f}")
    print(f"required 8 times faster: {seconds[0] / seconds[1]:.1f} times")
    implicit = hs.BayesianALS(
        rank=MYFM_RANK, iterations=MYFM_SAMPLES, implicit_features=True, random_state=0, progress=False
    )
    began = time.perf_counter()
    implicit.fit(train)
    took = time.perf_counter() - began
    error = hs.metrics.rmse(test.values, implicit.predict(test))
    print(f"with implicit features {took:.2f} s, RMSE {error:.4f}; reported for myFM: {MYFM_IMPLICIT_SECONDS} s")
    print(f"required 50 times faster: {MYFM_IMPLICIT_SECONDS / took:.0f} times")
    what = f"Speedup over myFM (last fifth, rank {MYFM_RANK}, {MYFM_SAMPLES} samples)"
    return [
        [f"{what}: ids only", f"{seconds[0] / seconds[1]:.1f}"],
        [
            f"{what}: implicit features (myFM: {MYFM_IMPLICIT_SECONDS} s, as reported)",
            f"{MYFM_IMPLICIT_SECONDS / took:.0f}",
        ],
    ]


def large() -> Lines:
    users, items = interactions(138_000, 27_000, 10_000_000)
    data = hs.Interactions.from_arrays(users, items, ratings(users, items))
    als = hs.ALS(
        hs.Explicit(biases=True),
        rank=LARGE_RANK,
        solver=hs.solvers.Cholesky(extrapolation=0.0, refresh_users=False),
        iterations=LARGE_ITERATIONS,
        random_state=0,
        progress=False,
    )
    sampler = hs.BayesianALS(
        rank=LARGE_RANK, iterations=LARGE_ITERATIONS, burn_in=LARGE_ITERATIONS - 2, random_state=0, progress=False
    )
    exact, sweep = (
        statistics.median(np.diff([line.seconds for line in model.fit(data).history_])) for model in (als, sampler)
    )
    print(f"\nlarge: ten million ratings, rank {LARGE_RANK}")
    print(f"an exact iteration of ALS {exact:.3f} s, a sweep {sweep:.3f} s")
    print(f"required at most 1.5 times: {sweep / exact:.2f} times")
    return [
        [f"Time of a sweep / exact iteration of ALS (ten million ratings, rank {LARGE_RANK})", f"{sweep / exact:.2f}"]
    ]


SECTIONS: dict[str, Callable[[], Lines]] = {
    "write-up": write_up,
    "folds": folds,
    "ml-1m": ml_1m,
    "cold": cold,
    "myfm": compare_myfm,
    "large": large,
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"{', '.join(SECTIONS)}; all by default")
    options = parser.parse_args(arguments)
    if unknown := set(options.sections) - set(SECTIONS):
        parser.error(f"unknown section {', '.join(sorted(unknown))}: give some of {', '.join(SECTIONS)}")
    print(f"{platform.machine()}, {available_cores()} cores, NumPy {np.__version__}, halfstep {hs.__version__}")
    lines = [line for name in options.sections or SECTIONS for line in SECTIONS[name]()]
    if not options.sections:
        accuracy = ["", "", " RMSE", " coverage of 90% intervals", " time of fit, s", "RMSE of other libraries"]
        page = ROOT / "docs" / "bayesian.md"
        write_between(page, "accuracy", table(accuracy, [line for line in lines if len(line) == len(accuracy)]))
        write_between(page, "figures", table(["", " "], [line for line in lines if len(line) == 2]))


if __name__ == "__main__":
    main()
