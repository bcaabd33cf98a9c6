"""halfstep beside implicit, irspack, cmfrec and Surprise: the same objectives on the same data, in one run.

    pip install '.[bench]'
    OPENBLAS_NUM_THREADS=1 python -m benchmarks.peers [--ranks 64 128 256] [--data ten-million ml-1m]

All use as many threads as there are cores, and take turns; figures are medians. The implicit objective is

    Σ_Ω 10 (1 − x)² + Σ_missing x² + λ (Σ_u ‖p_u‖² + Σ_i ‖q_i‖²)

which each library is told in its own words. How good a library's factors are is always computed here, by one
function, outside of what is timed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import sparse
from threadpoolctl import threadpool_limits

import halfstep as hs
from benchmarks.synthetic import interactions
from halfstep.backends.threads import available_cores

THREADS = available_cores()
WEIGHT, STRENGTH, ITERATIONS = 10.0, 5.0, 10
Factors = tuple[np.ndarray, np.ndarray]


class Run(NamedTuple):
    """Seconds from the start, and the objective, after each iteration."""

    seconds: list[float]
    objectives: list[float]

    def until(self, target: float) -> float:
        """Seconds until the objective was as low as that; infinite if it never was."""
        return next((s for s, j in zip(self.seconds, self.objectives, strict=True) if j <= target), np.inf)

    @property
    def iteration(self) -> float:
        """Seconds of one iteration, but the first."""
        return statistics.median(np.diff(self.seconds)) if len(self.seconds) > 1 else self.seconds[0]


class Problem:
    """Interactions of 0 and 1, as every library wants them."""

    def __init__(self, users: np.ndarray, items: np.ndarray) -> None:
        self.users, self.items = users, items
        self.shape = int(users.max()) + 1, int(items.max()) + 1
        ones = np.ones(len(users), np.float32)
        self.matrix = sparse.csr_matrix((ones, (users, items)), shape=self.shape)
        self.data = hs.Interactions.from_sparse(self.matrix)

    def objective(self, P: np.ndarray, Q: np.ndarray) -> float:
        """Score factors, in double precision where it adds up."""
        observed = squares = 0.0
        for start in range(0, len(self.users), 1_000_000):
            some = slice(start, start + 1_000_000)
            x = np.einsum("nk,nk->n", P[self.users[some]], Q[self.items[some]]).astype(np.float64)
            observed += WEIGHT * float(((1 - x) ** 2).sum())
            squares += float((x * x).sum())
        everywhere = float(((P.T.astype(np.float64) @ P) * (Q.T.astype(np.float64) @ Q)).sum())
        ridge = STRENGTH * sum(float((F.astype(np.float64) ** 2).sum()) for F in (P, Q))
        return observed + everywhere - squares + ridge

    def start(self, rank: int) -> Factors:
        """The same factors to start from, for those that take any."""
        rng = np.random.default_rng(0)
        P, Q = (rng.normal(0.0, 0.1 / np.sqrt(rank), (n, rank)).astype(np.float32) for n in self.shape)
        return P, Q


def ours(problem: Problem, rank: int, iterations: int, **options: object) -> Run:
    """A fit as users start it; the objectives are those of its history."""
    model = hs.ALS(
        hs.Implicit(observed_weight=WEIGHT), rank=rank, regularization=STRENGTH, regularization_exponent=0.0,
        iterations=iterations, init=problem.start(rank), refresh_users=False, progress=False, **options,
    )  # fmt: skip
    began = time.perf_counter()
    model.fit(problem.data)
    before = time.perf_counter() - began - model.history_[-1].seconds
    return Run([before + line.seconds for line in model.history_], [line.objective for line in model.history_])


def of_implicit(problem: Problem, rank: int, iterations: int, *, cg: bool) -> Run:
    from implicit.cpu.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(
        factors=rank, regularization=STRENGTH, alpha=WEIGHT, use_cg=cg, num_threads=THREADS, iterations=iterations
    )
    model.user_factors, model.item_factors = problem.start(rank)
    seconds: list[float] = []
    objectives: list[float] = []

    def note(_: int, took: float, __: float) -> None:
        seconds.append((seconds[-1] if seconds else 0.0) + took)
        objectives.append(problem.objective(model.user_factors, model.item_factors))

    model.fit(problem.matrix, show_progress=False, callback=note)
    return Run(seconds, objectives)


def of_irspack(problem: Problem, rank: int, iterations: int, *, solver: str) -> Run:
    from irspack import IALSRecommender

    began = time.perf_counter()
    model = IALSRecommender(
        problem.matrix * (WEIGHT - 1), n_components=rank, alpha0=1.0, reg=STRENGTH, nu=0.0, loss_type="ORIGINAL",
        solver_type=solver, n_threads=THREADS, train_epochs=iterations,
    )  # fmt: skip
    model.start_learning()
    spent = time.perf_counter() - began
    seconds, objectives = [], []
    for _ in range(iterations):
        began = time.perf_counter()
        model.run_epoch()
        spent += time.perf_counter() - began
        seconds.append(spent)
        objectives.append(problem.objective(np.asarray(model.get_user_embedding()), model.get_item_embedding()))
    return Run(seconds, objectives)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Peers warn about threads that are set already."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def gemm_peak() -> float:
    """GFLOP/s of a large single-precision product on all cores."""
    a = np.ones((4096, 4096), np.float32)
    with threadpool_limits(THREADS):
        return 2 * 4096**3 / fastest(lambda: a @ a, 3) / 1e9


def fastest(action: Callable[[], object], repeats: int) -> float:
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def compare_implicit(name: str, problem: Problem, ranks: list[int], peak: float) -> None:
    print(f"\n## {name}: {problem.data!r}\n")
    nnz, rows = len(problem.users), sum(problem.shape)
    for rank in ranks:
        ours(Problem(problem.users[:50_000], problem.items[:50_000]), rank, 1)  # compiled, before it is timed
        with quiet(), threadpool_limits(1):
            theirs = {"implicit, CG": of_implicit(problem, rank, ITERATIONS, cg=True)}
            theirs["irspack, CG"] = of_irspack(problem, rank, ITERATIONS + 4, solver="CG")
            exact = {
                "implicit, Cholesky": of_implicit(problem, rank, 2, cg=False),
                "irspack, Cholesky": of_irspack(problem, rank, 3, solver="CHOLESKY"),
            }
        mine = {
            "halfstep": ours(problem, rank, ITERATIONS),
            "halfstep, exact": ours(problem, rank, 4, solver="cholesky"),
        }
        target = theirs["implicit, CG"].objectives[-1]
        print(f"rank {rank}; the objective after {ITERATIONS} iterations of implicit's CG: {target:,.0f}\n")
        print(f"| {'':<20} | seconds an iteration | seconds to that objective |\n|---|---:|---:|")
        for label, run in (mine | theirs | exact).items():
            reached = run.until(target)
            print(f"| {label:<20} | {run.iteration:20.3f} | {f'{reached:.2f}' if np.isfinite(reached) else '':>25} |")
        best = min(run.until(target) for run in theirs.values())
        flops = 2 * (nnz * rank * (rank + 1) + rows * rank**3 / 6)  # of the primal, which the dual saves a part of
        one = mine["halfstep, exact"].iteration
        print(
            f"\nto the objective: {best / mine['halfstep'].until(target):.2f} times faster than the fastest peer; "
            f"one exact iteration: {min(run.iteration for run in exact.values()) / one:.2f} times, "
            f"{100 * flops / one / 1e9 / peak:.0f} % of a GEMM by the arithmetic of the primal\n",
            flush=True,
        )


def compare_explicit(problem: Problem, rank: int = 64) -> None:
    """Ratings with biases, against cmfrec."""
    from cmfrec import CMF

    rng = np.random.default_rng(1)
    values = rng.integers(1, 6, len(problem.users)).astype(np.float32)
    iterations = 3
    data = hs.Interactions.from_arrays(problem.users, problem.items, values)
    model = hs.ALS(
        hs.Explicit(biases=True), rank=rank, regularization=10.0, regularization_exponent=0.0, iterations=iterations,
        solver="cholesky", extrapolation=0.0, refresh_users=False, random_state=0, progress=False,
    )  # fmt: skip
    data.by_user, data.by_item  # noqa: B018 - theirs is timed from a sparse matrix, too
    model.fit(data)
    mine = fastest(lambda: model.fit(data), 2)
    ratings = sparse.coo_matrix((values, (problem.users, problem.items)), shape=problem.shape)
    with quiet(), threadpool_limits(1):
        peer = CMF(
            k=rank, lambda_=10.0, method="als", use_cg=False, user_bias=True, item_bias=True, niter=iterations,
            nthreads=THREADS, use_float=True, verbose=False, precompute_for_predictions=False,
        )  # fmt: skip
        theirs = fastest(lambda: peer.fit(ratings), 1)
    print(
        f"\n## Explicit with biases, rank {rank}, {iterations} exact iterations in single precision\n\n"
        f"halfstep {mine:.2f} s, cmfrec {theirs:.2f} s: {theirs / mine:.2f} times ours"
    )


def compare_sgd() -> None:
    from surprise import SVD, Dataset, Reader

    data = hs.datasets.movielens_100k()
    model = hs.SGD(random_state=0, progress=False)
    model.fit(data)
    mine = fastest(lambda: model.fit(data), 3)
    import pandas as pd

    frame = pd.DataFrame({"user": data.user_ids, "item": data.item_ids, "rating": data.values})
    trainset = Dataset.load_from_df(frame, Reader(rating_scale=(1, 5))).build_full_trainset()
    theirs = fastest(lambda: SVD(random_state=0).fit(trainset), 3)
    peer = SVD(random_state=0).fit(trainset)
    rmse = np.sqrt(np.mean([(r - peer.estimate(u, i)) ** 2 for u, i, r in trainset.all_ratings()]))
    own = hs.metrics.rmse(data.values, model.predict(data))
    print(
        f"\n## SGD, 100 factors, 20 epochs of MovieLens 100K\n\nhalfstep {mine:.3f} s (training RMSE {own:.4f}), "
        f"Surprise {theirs:.3f} s ({rmse:.4f}): {theirs / mine:.1f} times ours"
    )


def compare_building(problem: Problem) -> None:
    """From ids to both orientations: of integers, and of strings as several libraries hold them."""
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    def seconds(users: object, items: object, repeats: int) -> float:
        def build() -> None:
            data = hs.Interactions.from_arrays(users, items)
            data.by_user, data.by_item  # noqa: B018 - built on first use

        return fastest(build, repeats)

    integers = seconds(problem.users.astype(np.int64), problem.items.astype(np.int64), 2)
    texts = [f"user {u}" for u in problem.users.tolist()], [f"item {i}" for i in problem.items.tolist()]
    strings = {"lists": seconds(*texts, repeats=1)}  # once: a string keeps its hash
    for library, make in {
        "pandas": pd.Series,
        "Polars": pl.Series,
        "PyArrow": lambda text: pa.chunked_array([text]),
    }.items():
        strings[library] = seconds(*map(make, texts), repeats=2)
    print(
        f"\n## {len(problem.users):,} interactions, ready to be fitted\n\n"
        f"from two arrays of int64: {integers:.2f} s; "
        f"from strings: {', '.join(f'{took:.2f} s ({held})' for held, took in strings.items())}"
    )


def compare_memory(problem: Problem, rank: int = 64) -> None:
    """Peak memory of a fit in a process of its own, beside what has to be there."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pairs.npz"
        np.savez(path, users=problem.users, items=problem.items)
        code = f"""
import re, numpy as np, halfstep as hs
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
pairs = np.load({str(path)!r})
data = hs.Interactions.from_arrays(pairs["users"], pairs["items"])
sides = [data.by_user, data.by_item]
needed = sum(array.nbytes for side in sides for array in (side.indptr, side.indices, side.order))
model = hs.ALS(hs.Implicit(observed_weight=10.0), rank={rank}, iterations=2, random_state=0)
before = peak()
model.fit(data)
needed += model.user_factors_.nbytes + model.item_factors_.nbytes
print(needed / 2**20, before, peak())
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    needed, before, after = map(float, done.stdout.split())
    print(
        f"\n## Memory, rank {rank}\n\nboth orientations and the factors: {needed:,.0f} MiB; the process before "
        f"the fit {before:,.0f} MiB, at its peak {after:,.0f} MiB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--data", nargs="+", default=["ten-million", "ml-1m"], choices=["ten-million", "ml-1m"])
    options = parser.parse_args()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    peak = gemm_peak()
    machine = f"{platform.machine()}, {THREADS} cores, NumPy {np.__version__}"
    print(f"# Beside the peers\n\n{machine}; a GEMM: {peak:.0f} GFLOP/s")
    if "ml-1m" in options.data:
        folder = Path(os.environ["HALFSTEP_DATA"]) / "ncf-ml-1m"
        pairs = np.loadtxt(folder / "ml-1m.train.pairs.tsv", dtype=np.int64, usecols=(0, 1))
        compare_implicit("MovieLens 1M", Problem(pairs[:, 0], pairs[:, 1]), options.ranks, peak)
    compare_sgd()
    if "ten-million" in options.data:
        users, items = interactions(138_000, 27_000, 10_000_000)
        problem = Problem(users, items)
        compare_building(problem)
        compare_implicit("Ten million", problem, options.ranks, peak)
        compare_explicit(problem)
        compare_memory(problem)
    print(f"\npeak memory of this run: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB")


if __name__ == "__main__":
    main()
