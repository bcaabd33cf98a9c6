"""Half-steps and top-n on a GPU: ``python -m benchmarks.cuda``, from the root of the repository.

It compiles all kernels, measures iterations of several ranks on two sizes of data and the top-10 of all users, and
checks the results of every setting of ``tests/settings.py`` against a dense float64 solution and against the CPU. The
last lines are a table of figures and targets. It needs CuPy (``pip install 'halfstep[cuda12]'``), and compares with
the GPU solver of implicit if it is installed.

``--emulated`` runs everything on tiny data, on the emulated device of the tests.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.pool import AsyncResult
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import halfstep as hs
from benchmarks.marks import table
from halfstep.data import IndexLists
from halfstep.objective.problem import HalfProblem, problem_of_rows
from halfstep.objective.regularization import RowRegularization
from halfstep.solver import top_n as top_n_on_cpu
from halfstep.solver.cpu_session import CPUBackend
from halfstep.solver.cuda import top_n
from halfstep.solver.cuda.cupy_device import default_device
from halfstep.solver.cuda.device import Device
from halfstep.solver.cuda.session import CudaBackend
from halfstep.solver.layout import Factors, empty_factors
from halfstep.solver.session import Backend, Side
from halfstep.solvers import Cholesky, ConjugateGradient, Solver

TESTS = Path(__file__).parent.parent / "tests"
LIMIT = 240.0  # seconds; what would start later is left out
MISSING_WEIGHT, REGULARIZATION = 0.1, RowRegularization(0.003, 0.003, exponent=1.0)
TASTES, TASTES_PER_USER = 48, 3  # as in `benchmarks.synthetic`, which takes minutes for the larger data
SOLVERS = Cholesky(), ConjugateGradient()
TOLERANCE = 1e-5  # of float32, relative
REPEATS = 5
COMPARED_LISTS = 2000
PEER_SPEEDUP = 12.0


class Size(NamedTuple):
    """The size of synthetic data."""

    users: int
    items: int
    draws: int  # of which about a tenth are duplicates


SMALL, LARGE = Size(138_000, 27_000, 9_250_000), Size(1_000_000, 200_000, 95_000_000)


@dataclass(frozen=True)
class Scale:
    """How much is measured; targets are milliseconds on an H100, of an iteration or of all lists."""

    small: Size = SMALL
    large: Size = LARGE
    exact: dict[int, float | None] = field(
        default_factory=lambda: {64: 8.0, 128: 20.0, 256: 80.0, 32: None, 512: None}
    )
    approximate: tuple[int, ...] = (64, 128, 256, 512)
    exact_large: dict[int, float | None] = field(default_factory=lambda: {64: 60.0, 128: 170.0})
    top_rank: int = 64
    top: int = 10
    top_target: float | None = 30.0
    checked_ranks: tuple[int, int] = (5, 40)
    checked_iterations: int = 10  # of fits that are compared with the CPU
    settings: int | None = None


TINY = Scale(Size(60, 40, 700), Size(80, 50, 900), {8: None}, (8,), {8: None}, 8, 5, None, (3, 6), 2, 2)


@dataclass
class Report:
    """Lines of what was measured, its target, and whether it was met."""

    began: float = field(default_factory=time.perf_counter)
    lines: list[tuple[str, str, str, str]] = field(default_factory=list)

    def seconds(self) -> float:
        return time.perf_counter() - self.began

    def add(self, what: str, measured: str, target: str = "", is_met: bool | None = None) -> None:
        verdict = "" if is_met is None else "yes" if is_met else "NO"
        self.lines.append((what, measured, target, verdict))
        print(f"{self.seconds():6.1f} s  {what}: {measured} {target} {verdict}", flush=True)

    def add_time(self, what: str, milliseconds: float, target: float | None = None, parts: str = "") -> None:
        measured = f"{milliseconds:.1f} ms{' = ' * bool(parts)}{parts}"
        if target is None:
            self.add(what, measured)
        else:
            self.add(what, measured, f"≤ {target:g} ms", bool(milliseconds <= target))

    @contextmanager
    def section(self, what: str) -> Iterator[bool]:
        """Report errors; yield whether there is time left."""
        if self.seconds() > LIMIT:
            self.add(what, "not run, out of time")
            yield False
            return
        try:
            yield True
        except Exception as error:  # so that the other sections run
            self.add(what, f"{type(error).__name__}: {str(error)[:200]}", "no error", False)


def interactions(xp: Any, size: Size) -> tuple[IndexLists, IndexLists]:
    """Sample the items of each user and the users of each item; see `benchmarks.synthetic`.

    Parameters
    ----------
    xp : module
        NumPy, or CuPy, which takes a second.
    size : Size
    """
    rng, (n_users, n_items, draws) = xp.random.default_rng(0), size
    activity = xp.cumsum(xp.exp(rng.standard_normal(n_users)))
    share = xp.exp(1.5 * rng.standard_normal((TASTES, n_items))) / (10.0 + xp.argsort(rng.random(n_items))) ** 0.9
    popularity = xp.cumsum(share / share.sum(axis=1, keepdims=True))  # those of taste j end at j + 1
    mixed = rng.integers(0, TASTES, (n_users, TASTES_PER_USER))
    users = xp.minimum(xp.searchsorted(activity, rng.random(draws) * activity[-1]), n_users - 1)
    tastes = mixed[users, rng.integers(0, TASTES_PER_USER, draws)]
    items = xp.minimum(xp.searchsorted(popularity, tastes + rng.random(draws)), TASTES * n_items - 1) % n_items
    keys = xp.unique(users.astype(np.int64) * n_items + items)
    users, items = keys // n_items, keys % n_items
    order = xp.argsort(items * n_users + users)
    return _lists(xp, users, items, n_users), _lists(xp, items[order], users[order], n_items)


def _lists(xp: Any, rows: Any, columns: Any, n_rows: int) -> IndexLists:
    indptr = xp.searchsorted(rows, xp.arange(n_rows + 1)).astype(np.int64)
    to_host = getattr(xp, "asnumpy", np.asarray)
    return IndexLists(to_host(indptr), to_host(columns.astype(np.int32)))


def problems(data: tuple[IndexLists, IndexLists], rank: int) -> tuple[HalfProblem, HalfProblem]:
    """Return the half-problems of implicit ALS."""
    one = np.ones(1, np.float32)
    n_rows = [len(lists.indptr) - 1 for lists in data]
    users, items = (
        problem_of_rows(
            (lists.indptr, lists.indices, one, one),
            np.diff(lists.indptr).astype(float),
            (np.full(rows, MISSING_WEIGHT), np.ones(columns), float(columns)),
            rank=rank,
            reg=0.003,
            regularization=REGULARIZATION,
            biases=False,
            nonnegative=False,
            dtype="float32",
        )
        for lists, rows, columns in zip(data, n_rows, n_rows[::-1], strict=True)
    )
    return users, items


def initial(both: Sequence[HalfProblem]) -> tuple[Factors, Factors]:
    """Return random factors."""
    rng, found = np.random.default_rng(1), []
    for problem in both:
        F = empty_factors(len(problem.indptr) - 1, problem.unknowns, problem.weights.dtype)
        F[:, : problem.rank] = rng.normal(0, problem.rank**-0.5, (len(F), problem.rank))
        F[np.diff(problem.indptr) == 0] = 0.0
        found.append(F)
    return found[0], found[1]


def error_of_rows(problem: HalfProblem, Y: Factors, X: Factors, rows: np.ndarray) -> float:
    """Return the largest relative error of some solved rows, compared with dense float64."""
    k, Y = problem.rank, Y[:, : problem.rank].astype(float)
    G, worst = MISSING_WEIGHT * Y.T @ Y, 0.0
    for row in rows.tolist():
        y = Y[problem.indices[problem.indptr[row] : problem.indptr[row + 1]]]
        A = G + (1.0 - MISSING_WEIGHT) * y.T @ y + float(problem.regularization[row]) * np.eye(k)
        x = np.linalg.solve(A, y.sum(axis=0))
        worst = max(worst, float(np.linalg.norm(X[row, :k] - x) / max(np.linalg.norm(x), 1e-30)))
    return worst


def measure_iterations(
    report: Report,
    device: Device,
    name: str,
    both: tuple[HalfProblem, HalfProblem],
    solver: Solver,
    target: float | None,
) -> tuple[float, tuple[Factors, Factors]]:
    """Measure iterations, and check some rows of exact ones; return the milliseconds, and the factors."""
    start, times = initial(both), []
    with CudaBackend(device).open(*both, (start[0].copy(), start[1].copy())) as session:
        began = time.perf_counter()
        session.half_step(Side.USERS, solver)
        session.accept()
        compiled = time.perf_counter() - began
        P, Q = session.factors()
        if isinstance(solver, Cholesky):
            rows = np.random.default_rng(3).choice(len(P), min(len(P), 30), replace=False)
            worst = error_of_rows(both[0], Q, P, rows)
            session.half_step(Side.ITEMS, solver)
            session.accept()
            longest = np.argsort(-np.diff(both[1].indptr))[:10]
            worst = max(worst, error_of_rows(both[1], P, session.factors()[1], longest))
            report.add(f"{name}: error of 40 rows", f"{worst:.1e}", f"≤ {TOLERANCE:.0e}", worst <= TOLERANCE)
        for _ in range(REPEATS + 1):  # the first one compiles
            steps = [time.perf_counter()]
            for side in Side:
                session.half_step(side, solver)
                steps.append(time.perf_counter())
            session.accept()
            times.append(np.diff(steps))
        users, items = 1e3 * np.median(times[1:], axis=0)
        session.terms()
        began = time.perf_counter()
        session.half_step(Side.ITEMS, solver)
        solved = time.perf_counter()
        session.terms()
        loss, whole = 1e3 * (time.perf_counter() - solved), users + items
        parts = f"users {users:.1f} + items {items:.1f}; loss {loss:.1f}; first half-step {compiled:.1f} s"
        report.add_time(name, whole, target, parts)
        return whole, session.factors()


def measure_top_n(
    report: Report, device: Device, P: Factors, Q: Factors, n: int, seen: IndexLists, target: float | None
) -> None:
    """Measure the top-n of all users, from the memory of the host and of the GPU, and compare some with the CPU."""
    c = np.zeros(len(Q))
    found, seconds = timed(lambda: top_n.best_columns(device, P, Q, c, n, skip=seen))
    name = f"top-{n} of {len(P):,} users"
    report.add_time(f"{name}, from and to the host", 1e3 * seconds)
    given = (device.asarray(P), device.asarray(Q), c, n, device.asarray(seen.indptr), device.asarray(seen.indices))
    ranked, seconds = timed(lambda: [device.asnumpy(each) for each in top_n.rank_on_device(device, *given)])
    report.add_time(f"{name}, factors on the GPU", 1e3 * seconds, target)
    rows = np.arange(min(COMPARED_LISTS, len(P)))
    expected = top_n_on_cpu.best_columns(P[rows], Q, c, n, skip=seen.rows(rows))
    equal = float(np.mean(found[0][rows] == expected[0]))
    left = int(np.sum(ranked[2]))
    report.add(f"{name}: entries as on the CPU", f"{equal:.2%}, {left} lists left to it", "100%", equal == 1.0)


def timed(run: Callable[[], Any]) -> tuple[Any, float]:
    """Return the result and the seconds of the fastest of some runs after the first."""
    run()
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        found = run()
        times.append(time.perf_counter() - began)
    return found, min(times)


class Compared(NamedTuple):
    """Results of a setting: of its twin on a small table, and of sessions on a larger one for each solver."""

    twin: np.ndarray
    sessions: list[tuple[np.ndarray, float]]


def medium_table() -> Any:
    """Return a table with rows of all lengths."""
    from settings import Table

    rng = np.random.default_rng(2)
    observed = rng.random((300, 280)) < rng.beta(0.7, 2.0, 300)[:, None]
    return Table(observed, rng.integers(1, 6, observed.shape).astype(float))


def small_table() -> Any:
    from session_contract import small_table

    return small_table()


def run_setting(backend: Backend, setting: Any, scale: Scale, solver: Solver) -> tuple[np.ndarray, float]:
    """Return the users after one half-step, and the objective after some iterations."""
    both = setting.half_problems(medium_table(), rank=scale.checked_ranks[1], reg=3.0, rho=2.0, dtype="float32")
    with backend.open(*both, initial(both)) as session:
        session.half_step(Side.USERS, solver)
        session.accept()
        first = session.factors()[0][:, : both[0].unknowns].copy()
        for _ in range(scale.checked_iterations):
            session.half_step(Side.ITEMS, solver)
            session.half_step(Side.USERS, solver)
        return first, float(sum(session.terms()))


def twin_start(problem: HalfProblem, columns: int) -> np.ndarray:
    return np.random.default_rng(4).normal(size=(columns, problem.unknowns))


def expected_of(scale: Scale) -> list[Compared]:
    """Run some settings on the CPU, in a process of its own."""
    sys.path.insert(0, str(TESTS))
    import reference
    from settings import SETTINGS

    found, rank = [], scale.checked_ranks[0]
    for setting in SETTINGS[: scale.settings]:
        small = small_table()
        users, _ = setting.half_problems(small, rank=rank, reg=0.7, rho=2.0, dtype="float64")
        problem = setting.problem(small, rank=rank, reg=0.7, rho=2.0)
        twin = reference.half_step(problem, twin_start(users, small.observed.shape[1]))
        found.append(Compared(twin, [run_setting(CPUBackend(), setting, scale, solver) for solver in SOLVERS]))
    return found


def check_settings(report: Report, device: Device, scale: Scale, expected: AsyncResult[list[Compared]]) -> None:
    """Check every setting against its twin and the CPU."""
    from settings import SETTINGS

    worst: dict[str, tuple[float, str]] = {}

    def compare(what: str, ours: Any, theirs: Any) -> None:
        error = float(np.linalg.norm(np.subtract(ours, theirs)) / np.linalg.norm(theirs))
        worst[what] = max(worst.get(what, (0.0, "")), (error, setting.name))

    results = expected.get(timeout=max(1.0, LIMIT - report.seconds()))
    for setting, theirs in zip(SETTINGS, results, strict=False):
        small = small_table()
        both = setting.half_problems(small, rank=scale.checked_ranks[0], reg=0.7, rho=2.0, dtype="float32")
        start = initial(both)
        start[1][:, : both[1].unknowns] = twin_start(both[0], small.observed.shape[1])
        with CudaBackend(device).open(*both, start) as session:
            session.half_step(Side.USERS, Cholesky())
            session.accept()
            solved = session.factors()[0][:, : both[0].unknowns]
        compare("a half-step and the float64 twin", solved, theirs.twin)
        for solver, (half_step, objective) in zip(SOLVERS, theirs.sessions, strict=True):
            found = run_setting(CudaBackend(device), setting, scale, solver)
            compare(f"a half-step ({solver.name}) and the CPU", found[0], half_step)
            compare(f"the objective ({solver.name}) and the CPU", found[1], objective)
    for name, (error, where) in worst.items():
        what = f"{len(results)} settings, relative difference of {name}"
        report.add(what, f"at most {error:.1e} ({where})", f"≤ {TOLERANCE:.0e}", error <= TOLERANCE)


def measure_peer(report: Report, data: IndexLists, n_items: int, rank: int, ours: float) -> None:
    """Measure an iteration of implicit's GPU solver, three steps of conjugate gradients, on the same data."""
    import scipy.sparse as sp
    from implicit.gpu import HAS_CUDA

    if not HAS_CUDA:
        report.add("implicit on the GPU", "not supported by its installation")
        return
    from implicit.gpu.als import AlternatingLeastSquares

    shape = len(data.indptr) - 1, n_items
    matrix = sp.csr_matrix((np.full(len(data.indices), 6.0, np.float32), data.indices, data.indptr), shape)
    seconds = []
    for iterations in (1, 1, 4):  # the first one loads its kernels
        model = AlternatingLeastSquares(factors=rank, regularization=0.05, iterations=iterations, random_state=0)
        began = time.perf_counter()
        model.fit(matrix, show_progress=False)
        seconds.append(time.perf_counter() - began)
    theirs = 1e3 * (seconds[2] - seconds[1]) / 3
    ratio = theirs / ours
    target = f"{ratio:.1f} times ours, ≥ {PEER_SPEEDUP:g}"
    report.add(f"implicit, rank {rank}, approximate", f"{theirs:.1f} ms", target, ratio >= PEER_SPEEDUP)


def measure(report: Report, device: Device, xp: Any, scale: Scale, expected: AsyncResult[list[Compared]]) -> None:
    """Run all sections."""
    data, ours = interactions(xp, scale.small), {}
    name = f"{len(data[0].indices):,} interactions of {scale.small.users:,} × {scale.small.items:,}"
    for rank, target in scale.exact.items():
        with report.section(f"{name}, rank {rank}") as is_time:
            if is_time:
                given = report, device, f"{name}, rank {rank}", problems(data, rank), Cholesky(), target
                ours[rank], (P, Q) = measure_iterations(*given)
                if rank == scale.top_rank:
                    with report.section("top-n"):
                        best = P[:, :rank].copy(), Q[:, :rank].copy(), scale.top, data[0]
                        measure_top_n(report, device, *best, scale.top_target)
    for rank in scale.approximate:
        with report.section(f"{name}, CG, rank {rank}") as is_time:
            if is_time:
                cg = f"{name}, CG, rank {rank}", problems(data, rank), ConjugateGradient(), None
                measure_iterations(report, device, *cg)
    with report.section("settings") as is_time:
        if is_time:
            check_settings(report, device, scale, expected)
    for rank in (64, 128):
        with report.section(f"implicit, rank {rank}") as is_time:
            if is_time and rank in ours:
                try:
                    measure_peer(report, data[0], scale.small.items, rank, ours[rank])
                except ImportError:
                    report.add(f"implicit, rank {rank}", "not installed")
    with report.section("larger data") as is_time:
        if is_time:
            data = interactions(xp, scale.large)
            measure_large(report, device, data, scale)


def measure_large(report: Report, device: Device, data: tuple[IndexLists, IndexLists], scale: Scale) -> None:
    """Measure exact iterations on the larger data."""
    name = f"{len(data[0].indices):,} interactions of {scale.large.users:,} × {scale.large.items:,}"
    for rank, target in scale.exact_large.items():
        with report.section(f"{name}, rank {rank}") as is_time:
            if is_time:
                given = report, device, f"{name}, rank {rank}", problems(data, rank), Cholesky(), target
                measure_iterations(*given)


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 if all targets were met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--emulated", action="store_true", help="tiny data on an emulated device")
    emulated = parser.parse_args(arguments).emulated
    sys.path.insert(0, str(TESTS))
    scale, report = TINY if emulated else Scale(), Report()
    if emulated:
        from emulated_device import EmulatedDevice

        device, xp, name = EmulatedDevice(), np, "emulated GPU"
    else:
        device = default_device()
        xp = device.xp
        name = xp.cuda.runtime.getDeviceProperties(xp.cuda.Device().id)["name"].decode()
    with get_context("spawn").Pool(1) as pool:  # beside the GPU, because kernels of the CPU take a minute to compile
        measure(report, device, xp, scale, pool.apply_async(expected_of, (scale,)))
    print(f"\nhalfstep {hs.__version__}, {name}, {report.seconds():.0f} s\n")
    print(table(["what", "measured", "target", "met"], report.lines))
    return int(any(line[3] == "NO" for line in report.lines))


if __name__ == "__main__":
    sys.exit(main())
