"""Duration of experiments of the write-up, compared with NumPy: ``python -m benchmarks.write_up``.

Runs alternate in one process, so that ratios do not depend on changes of the clock speed. Start-up times are of new
processes, with compiled kernels and with an empty cache.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import numpy as np

import halfstep as hs
from halfstep.solver.threads import available_cores

ROUNDS, REPEATS = 3, 10
ITERATIONS, RANK, LAMBDA = 100, 10, 1.5
W0, WK = 0.1, 1.0

Factors = tuple[np.ndarray, np.ndarray]


def start(data: hs.Interactions) -> Factors:
    rng = np.random.default_rng(42)
    U, V = rng.normal(0, 1, (data.n_users, RANK)), rng.normal(0, 1, (data.n_items, RANK))
    return U.astype(np.float32), V.astype(np.float32)


def regularized_in_numpy(R: np.ndarray, factors: Factors) -> Factors:
    """Experiment D, vectorized: one matrix for all rows, zeros observed."""
    U, V = factors
    penalty = LAMBDA * np.eye(RANK)
    for _ in range(ITERATIONS):
        U = np.linalg.solve(V.T @ V + penalty, V.T @ R.T).T.astype(np.float32)
        V = np.linalg.solve(U.T @ U + penalty, U.T @ R).T.astype(np.float32)
    return U, V


def weighted_in_numpy(R: np.ndarray, W: np.ndarray, factors: Factors, *, history: bool = False) -> Factors:
    """Experiment E by a simple loop over rows, with a matrix of weights and a mask of observed cells.

    With `history`, the objective is computed after each iteration, as in a fit of halfstep.
    """
    U, V = factors[0].copy(), factors[1].copy()
    objectives = []
    for _ in range(ITERATIONS):
        for X, Y, values, weights in ((U, V, R, W), (V, U, R.T, W.T)):
            for u in range(len(X)):
                seen = values[u] > 0
                y, w = Y[seen], weights[u, seen]
                A = y.T @ (w[:, None] * y) + LAMBDA * np.eye(RANK)
                X[u] = np.linalg.solve(A, y.T @ (w * values[u, seen]))
        if history:
            errors = np.where(R > 0, W * (R - U @ V.T) ** 2, 0.0)
            objectives.append(errors.sum() + LAMBDA * (np.sum(U**2) + np.sum(V**2)))
    return U, V


def weighted_in_lean_numpy(R: np.ndarray, weights: np.ndarray, factors: Factors) -> Factors:
    """The same, with all constants computed outside the loops."""
    U, V = factors[0].copy(), factors[1].copy()
    seen_by_user, seen_by_item = [np.flatnonzero(row) for row in R], [np.flatnonzero(row) for row in R.T]
    user_values = [row[seen] for row, seen in zip(R, seen_by_user, strict=True)]
    item_values = [row[seen] for row, seen in zip(R.T, seen_by_item, strict=True)]
    user_weights = [weights[seen] for seen in seen_by_user]
    penalty = LAMBDA * np.eye(RANK)
    for _ in range(ITERATIONS):
        for u, seen in enumerate(seen_by_user):
            Y = V[seen]
            weighted = Y.T * user_weights[u]
            U[u] = np.linalg.solve(weighted @ Y + penalty, weighted @ user_values[u])
        for i, seen in enumerate(seen_by_item):
            Y = U[seen]
            weighted = Y.T * weights[i]
            V[i] = np.linalg.solve(weighted @ Y + penalty, weighted @ item_values[i])
    return U, V


def seconds(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def compare(title: str, ours: Callable[[], object], theirs: dict[str, Callable[[], object]]) -> None:
    """Time all alternately in `ROUNDS` rounds after a warm-up, and print the ratio of medians.

    halfstep runs several times per round, because it is short.
    """
    ours()
    our_times = []
    their_times: list[list[float]] = []
    for _ in range(ROUNDS):
        our_times += [seconds(ours) for _ in range(REPEATS)]
        their_times.append([seconds(run) for run in theirs.values()])
    median = statistics.median(our_times)
    print(f"\n{title}\n  halfstep {median:>38.4f} s   ({min(our_times):.4f} to {max(our_times):.4f})")
    for name, times in zip(theirs, zip(*their_times, strict=True), strict=True):
        other = statistics.median(times)
        print(f"  {name:<38} {other:>8.4f} s   {other / median:6.1f} times halfstep")


def check_equal(ours: hs.ALS, theirs: Factors) -> None:
    """Check that factors are equal; rows without observations are 0 in halfstep."""
    for mine, other in ((ours.user_factors_, theirs[0]), (ours.item_factors_, theirs[1])):
        np.testing.assert_allclose(mine, np.where(mine.any(axis=1)[:, None], other, 0), rtol=0.02, atol=5e-3)


FIRST_FIT = """
import time; began = time.perf_counter()
import halfstep as hs; imported = time.perf_counter()
data = hs.datasets.movielens_100k(); loaded = time.perf_counter()
hs.ALS(hs.Explicit(biases=True), rank=16, regularization=1.5, random_state=0).fit(data); fitted = time.perf_counter()
print(imported - began, loaded - imported, fitted - loaded)
"""


def start_up() -> None:
    print("\nA new process (median of 3): import, ML-100K from disk, first fit (biased, rank 16, 20 iterations)")
    with tempfile.TemporaryDirectory() as empty:
        for name, cache, runs in (("warm cache", None, 3), ("cold cache", empty, 1)):
            environment = {**os.environ} | ({"NUMBA_CACHE_DIR": cache} if cache else {})
            if cache is None:  # fill the cache
                subprocess.run([sys.executable, "-c", FIRST_FIT], check=True, capture_output=True)
            shown = [
                subprocess.run(
                    [sys.executable, "-c", FIRST_FIT], check=True, capture_output=True, text=True, env=environment
                )
                for _ in range(runs)
            ]
            times = np.median([[float(x) for x in run.stdout.split()] for run in shown], axis=0)
            print(f"  {name:<12} import {times[0]:.3f} s   data {times[1]:.3f} s   first fit {times[2]:.3f} s")


def main() -> None:
    data = hs.datasets.movielens_100k()
    train = hs.split_by_time(data, test_fraction=0.2)[0]
    R = train.to_sparse().toarray().astype(np.float64)
    init = start(data)
    weight = hs.weights.linear_popularity(w0=W0, wk=WK)
    options = {
        "rank": RANK,
        "regularization": hs.Regularization(LAMBDA, exponent=0.0),
        "iterations": ITERATIONS,
        "init": init,
        "solver": hs.solvers.Cholesky(extrapolation=0.0, refresh_users=False),
    }
    print(f"{platform.machine()}, {available_cores()} cores, NumPy {np.__version__}")

    plain = hs.ALS(hs.Explicit(missing_weight=1.0, biases=False), **options)
    compare(
        f"D. regularized ALS, zeros observed, rank {RANK}, {ITERATIONS} iterations",
        lambda: plain.fit(train),
        {"NumPy, vectorized": lambda: regularized_in_numpy(R, init)},
    )
    check_equal(plain, regularized_in_numpy(R, init))

    wals = hs.ALS(hs.Explicit(weight=weight, biases=False), **options)
    weights = weight.of_items(train.item_counts)
    W = np.tile(weights, (len(R), 1))
    compare(
        f"E. WALS, linear weights, rank {RANK}, {ITERATIONS} iterations",
        lambda: wals.fit(train),
        {
            "NumPy, row by row, with objective": lambda: weighted_in_numpy(R, W, init, history=True),
            "NumPy, row by row": lambda: weighted_in_numpy(R, W, init),
            "NumPy, row by row, lean": lambda: weighted_in_lean_numpy(R, weights, init),
        },
    )
    check_equal(wals, weighted_in_numpy(R, W, init))
    start_up()


if __name__ == "__main__":
    main()
