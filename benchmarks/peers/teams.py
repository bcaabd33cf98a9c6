"""Results and numbers of running threads for different numbers of threads."""

from __future__ import annotations

import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

import halfstep as hs
from benchmarks.peers.measurements import TeamRun, Teams
from benchmarks.peers.problems import REGULARIZATION, WEIGHT, Problem

RANK, ITERATIONS = 64, 5
INTERVAL = 0.002  # seconds between two samples
REST = 0.2  # seconds until idle threads of BLAS sleep


class Running:
    """The maximum number of other threads that run, or wait for a core, in two consecutive samples.

    One sample may count threads that end while it is taken.
    """

    def __enter__(self) -> Self:
        self.most, self._over = 0, threading.Event()
        self._sampler = threading.Thread(target=self._sample)
        self._sampler.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._sampler.join()

    def _sample(self) -> None:
        own, before = str(threading.get_native_id()), 0
        while not self._over.wait(INTERVAL):
            states = [state_of(task) for task in Path("/proc/self/task").iterdir() if task.name != own]
            now = states.count("R")
            self.most, before = max(self.most, min(now, before)), now


def state_of(task: Path) -> str:
    """Return the state of a thread; R if it runs or waits for a core."""
    try:
        return (task / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:  # the thread has ended
        return ""


def model(threads: int | None, solver: str) -> hs.ALS:
    preset = hs.presets.implicit(RANK, REGULARIZATION, WEIGHT, ITERATIONS, random_state=0)
    return preset.set_params(solver=solver, threads=threads, progress=False)


def digest(fitted: hs.ALS) -> str:
    """Return the first digits of a hash of all factors."""
    factors = fitted.user_factors_.tobytes() + fitted.item_factors_.tobytes()
    return hashlib.sha256(factors).hexdigest()[:12]


def measure(title: str, problem: Problem) -> Teams | None:
    """Fit with 1, 2 and 4 threads, and two models concurrently; None if there is no /proc."""
    if not Path("/proc/self/task").is_dir():
        return None
    data = problem.fresh_data()
    data.by_item  # noqa: B018 - built on first use
    runs = []
    for solver in ("cg", "subspace", "cholesky"):
        model(None, solver).fit(data)  # compiles
        for threads in (1, 2, 4):
            time.sleep(REST)
            began = time.perf_counter()
            with Running() as running:
                fitted = model(threads, solver).fit(data)
            seconds = time.perf_counter() - began
            runs.append(TeamRun(solver, threads, seconds, running.most, digest(fitted)))
    solvers = ("cg", "cholesky")
    began = time.perf_counter()
    alone = [digest(model(None, solver).fit(data)) for solver in solvers]
    in_turn = time.perf_counter() - began
    began = time.perf_counter()
    with ThreadPoolExecutor(len(solvers)) as pool:
        together = [digest(each) for each in pool.map(lambda solver: model(None, solver).fit(data), solvers)]
    return Teams(title, runs, time.perf_counter() - began, in_turn, alone == together)
