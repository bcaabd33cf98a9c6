"""The arithmetic rate of an exact half-step: ``python -m benchmarks.half_step``.

One thread, the users of MovieLens 100K (biased, weighted). GFLOP/s count n·K² + K³/3 operations per row (A is
symmetric, so half of it is summed). They are compared with a large matrix product in the same precision on the same
core, and with a loop over rows in NumPy.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from threadpoolctl import threadpool_limits

import halfstep as hs
from halfstep.objective.problem import HalfProblem, half_problems
from halfstep.objective.regularization import RowRegularization
from halfstep.solver.cpu import CPU
from halfstep.solver.layout import empty_factors

RANKS = (8, 16, 32, 64, 128)


def fastest(run: Callable[[], object], seconds: float = 0.5) -> float:
    """Return the time of the fastest run, of as many as fit into `seconds`."""
    run()
    times: list[float] = []
    while sum(times) < seconds or len(times) < 3:
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return min(times)


def peak(dtype: str, n: int = 1500) -> float:
    """Return the GFLOP/s of a large matrix product."""
    A = np.random.default_rng(0).normal(size=(n, n)).astype(dtype)
    return 2 * n**3 / fastest(lambda: A @ A) / 1e9


def in_numpy(side: HalfProblem, Y: np.ndarray) -> np.ndarray:
    K = side.unknowns
    X = np.zeros((len(side.indptr) - 1, K), Y.dtype)
    features, offsets = np.column_stack([Y[:, : K - 1], np.ones(len(Y), Y.dtype)]), Y[:, K - 1]
    for u in np.flatnonzero(np.diff(side.indptr)):
        cells = slice(side.indptr[u], side.indptr[u + 1])
        seen = side.indices[cells]
        y = features[seen]
        weighted = y.T * side.weights[cells]
        A = weighted @ y + side.regularization[u] * np.eye(K, dtype=Y.dtype)
        X[u] = np.linalg.solve(A, weighted @ (side.targets[cells] - offsets[seen]))
    return X


def main() -> None:
    data = hs.datasets.movielens_100k()
    cost = hs.Explicit(weight=hs.weights.linear_popularity(0.1, 1.0), biases=True).cost(data)
    print(f"{'rank':>5} {'precision':>10} {'seconds':>9} {'GFLOP/s':>8} {'of a GEMM':>10} {'NumPy, row by row':>18}")
    with threadpool_limits(1), CPU(threads=1) as backend:
        for dtype in ("float64", "float32"):
            gemm = peak(dtype)
            for rank in RANKS:
                side, _ = half_problems(
                    data, cost, rank=rank, regularization=RowRegularization(1.5, 1.5), dtype=dtype
                )
                K, counts = side.unknowns, np.diff(side.indptr)
                Y = empty_factors(data.n_items, K, dtype)
                Y[:, :K] = np.random.default_rng(0).normal(size=(data.n_items, K))
                X = empty_factors(data.n_users, K, dtype)
                plan = backend.plan(side)
                ours = fastest(lambda plan=plan, Y=Y, X=X: backend.half_step(plan, Y, X))
                theirs = fastest(lambda side=side, Y=Y: in_numpy(side, Y))
                rate = float(counts.sum() * K**2 + len(counts) * K**3 / 3) / ours / 1e9
                print(
                    f"{rank:>5} {dtype:>10} {ours:>9.5f} {rate:>8.1f} {rate / gemm:>10.0%}"
                    f" {theirs / ours:>12.1f} times"
                )


if __name__ == "__main__":
    main()
