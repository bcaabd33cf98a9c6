"""The parts of the duration of a half-step, by solver: ``python -m benchmarks.anatomy``.

One thread, float32, ten million synthetic interactions of ``benchmarks/synthetic.py`` as implicit feedback. It writes
the tables of ``docs/speed.md``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numba
import numpy as np
from threadpoolctl import threadpool_limits

import halfstep as hs
from benchmarks.marks import ROOT, table, write_between
from benchmarks.synthetic import ten_million
from halfstep.objective.problem import half_problems
from halfstep.objective.regularization import RowRegularization
from halfstep.solver import cpu
from halfstep.solver.kernels import dense
from halfstep.solver.layout import aligned_zeros, empty_factors

RANKS = (64, 128, 256)
OBSERVATIONS = 64  # in a block of products


def seconds_of(run: Callable[[], object], repeats: int = 3) -> float:
    """Return the CPU time of the fastest run, after one that compiles."""
    run()
    taken = []
    for _ in range(repeats):
        began = time.thread_time()
        run()
        taken.append(time.thread_time() - began)
    return min(taken)


def peak(n: int = 2048) -> float:
    """Return the GFLOP/s of a large matrix product."""
    A = np.ones((n, n), np.float32)
    return 2e-9 * n**3 / seconds_of(lambda: A @ A)


def solvers(data: hs.Interactions, rank: int, gemm: float) -> Iterator[list[str]]:
    """Yield the nanoseconds per observation of each solver, for both half-steps."""
    cost = hs.Implicit(observed_weight=10.0).cost(data)
    both = half_problems(data, cost, rank=rank, regularization=RowRegularization(5.0, 5.0), dtype="float32")
    rng = np.random.default_rng(0)
    factors = [empty_factors(n, rank, np.float32) for n in (data.n_users, data.n_items)]
    for array in factors:
        array[:, :rank] = rng.normal(0.0, 0.1, (len(array), rank))
    with cpu.CPU(threads=1) as backend:
        for name, side, X, Y in zip(("users", "items"), both, factors, factors[::-1], strict=True):
            plan = backend.plan(side)

            def each(plan: Any = plan, X: np.ndarray = X, Y: np.ndarray = Y, **how: hs.solvers.Solver) -> float:
                return 1e9 * seconds_of(lambda: backend.half_step(plan, Y, X.copy(), **how), 2) / len(data)

            once, twice = (
                each(solver=hs.solvers.ConjugateGradient(steps=n * hs.solvers.ConjugateGradient.steps))
                for n in (1, 2)
            )
            step = (twice - once) / hs.solvers.ConjugateGradient.steps
            read, exact = once - hs.solvers.ConjugateGradient.steps * step, each()
            flops = rank * (rank + 1) + len(X) * rank**3 / 3 / len(data)
            yield [
                f"{rank}",
                name,
                f"{read:.0f}",
                f"{step:.1f}",
                f"{4 * rank / step:.0f}",
                f"{once:.0f}",
                f"{each(solver=hs.solvers.Subspace()):.0f}",
                f"{exact:.0f}",
                f"{100 * flops / exact / gemm:.0f}%",
            ]


@numba.njit
def multiply(Z: np.ndarray, A: np.ndarray, none: np.ndarray, repeats: int) -> None:
    for _ in range(repeats):
        dense.add_products(A, True, Z, OBSERVATIONS, len(A), Z, none, 0, 0)


@numba.njit
def factor(A: np.ndarray, U: np.ndarray, inverse: np.ndarray, b: np.ndarray, v: np.ndarray, repeats: int) -> None:
    for _ in range(repeats):
        for row in range(len(A)):
            dense.copy(A[row], len(A), U[row])
        dense.copy(v, len(A), b)
        dense.factor(U, len(A), inverse, b, v)


@numba.njit
def solve(U: np.ndarray, inverse: np.ndarray, v: np.ndarray, repeats: int) -> None:
    for _ in range(repeats):
        dense.solve_upper(U, len(U), inverse, v)


def parts(rank: int, gemm: float) -> list[str]:
    """Return the duration of the parts of an exact solution, with all arrays in the caches."""
    rng = np.random.default_rng(0)
    Z, A, U = (aligned_zeros((n, rank), np.float32) for n in (OBSERVATIONS, rank, rank))
    inverse, b, v = (aligned_zeros((rank,), np.float32) for _ in range(3))
    Z[...] = rng.normal(size=Z.shape)
    A[...] = np.eye(rank) * rank + rng.random((rank, rank))
    repeats = 2_000_000 // rank
    products = seconds_of(lambda: multiply(Z, U, np.empty(0, np.int32), repeats)) / repeats / OBSERVATIONS
    factoring = seconds_of(lambda: factor(A, U, inverse, b, v, repeats // 10)) / (repeats // 10)
    solving = seconds_of(lambda: solve(U, inverse, v, repeats // 10)) / (repeats // 10)
    rate = 1e-9 * rank * (rank + 1) / products
    return [
        f"{rank}",
        f"{1e9 * products:.0f}",
        f"{rate:.0f}",
        f"{100 * rate / gemm:.0f}%",
        f"{1e6 * factoring:.1f}",
        f"{1e6 * solving:.1f}",
    ]


def main() -> None:
    data = ten_million()
    with threadpool_limits(1):
        gemm = peak()
        solving = [row for rank in RANKS for row in solvers(data, rank, gemm)]
        exact = [parts(rank, gemm) for rank in RANKS]
    machine = f"{hs.doctor.examine(measure=False).processor}; GEMM: {gemm:.0f} GFLOP/s on one core."
    head = [
        "rank",
        "side",
        " first pass",
        " per step",
        " GB/s",
        " `cg`",
        " `subspace`",
        " `cholesky`",
        " fraction of GEMM",
    ]
    text = f"{machine}\n\n{table(head, solving)}"
    write_between(ROOT / "docs" / "speed.md", "solvers", text)
    head = [
        "rank",
        " products, ns",
        " GFLOP/s",
        " fraction of GEMM",
        " factorization, first triangle, µs",
        " second triangle, µs",
    ]
    write_between(ROOT / "docs" / "speed.md", "exact rows", table(head, exact))
    print(text)


if __name__ == "__main__":
    main()
