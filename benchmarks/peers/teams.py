"""Whether threads change results, and whether they multiply."""

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
from benchmarks.peers.problems import STRENGTH, WEIGHT, Problem

RANK, ITERATIONS = 64, 5
INTERVAL = 0.002  # seconds between two looks
REST = 0.2  # seconds until threads of BLAS, let go by the fit before, have gone to sleep


class Running:
    """The most threads of this process that ran, or waited for a core, in two looks in a row; but for its own.

    In one look alone a thread may count that has ended, or lain down, before the next one is looked at.
    """

    def __enter__(self) -> Self:
        self.most, self._over = 0, threading.Event()
        self._looking = threading.Thread(target=self._look)
        self._looking.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._looking.join()

    def _look(self) -> None:
        own, before = str(threading.get_native_id()), 0
        while not self._over.wait(INTERVAL):
            states = [state_of(task) for task in Path("/proc/self/task").iterdir() if task.name != own]
            now = states.count("R")
            self.most, before = max(self.most, min(now, before)), now


def state_of(task: Path) -> str:
    """One letter; R if it runs or could."""
    try:
        return (task / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:  # it has just ended
        return ""


def model(threads: int | None, solver: str) -> hs.ALS:
    preset = hs.presets.implicit(RANK, STRENGTH, WEIGHT, ITERATIONS, random_state=0)
    return preset.set_params(solver=solver, threads=threads, progress=False)


def digest(fitted: hs.ALS) -> str:
    """The first digits of a hash of all factors."""
    factors = fitted.user_factors_.tobytes() + fitted.item_factors_.tobytes()
    return hashlib.sha256(factors).hexdigest()[:12]


def measure(title: str, problem: Problem) -> Teams | None:
    """Fits with 1, 2 and 4 threads, and two fits at once; None where the system does not say what threads do."""
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
