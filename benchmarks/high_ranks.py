"""The duration of an iteration at high ranks, and its parts: ``python -m benchmarks.high_ranks``.

800,000 synthetic interactions of 30,000 users and 41,000 items, implicit feedback with the default settings, all
cores. The parts are measured separately: the products of all rows with K × K matrices, which are, in each half-step,
changes of basis of the fixed side, of the solved side, and of its start in rows that are not solved exactly, and a
Gramian; and the eigenvectors of the Gramians, on one core. The rest is proportional to the number of observed cells.
The table is written to ``docs/speed.md``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np

import halfstep as hs
from benchmarks.marks import ROOT, table, write_between
from halfstep._support.integer_sets import distinct
from halfstep.solver import cpu
from halfstep.solver.gram import gramian
from halfstep.solver.layout import Factors, empty_factors
from halfstep.solver.precision import fewest_approximate
from halfstep.solvers import ConjugateGradient

RANKS = (256, 512, 1024)
USERS, ITEMS, CELLS = 30_000, 41_000, 800_000
ITERATIONS = 6


def sample() -> hs.Interactions:
    """Return distinct cells; users and items differ in activity and popularity."""
    rng = np.random.default_rng(0)
    users, items = USERS * rng.random(2 * CELLS) ** 1.5, ITEMS * rng.random(2 * CELLS) ** 2
    cells = rng.permutation(distinct(users.astype(np.int64) * ITEMS + items.astype(np.int64)))[:CELLS]
    return hs.Interactions.from_arrays(cells // ITEMS, cells % ITEMS)


def seconds_of(run: Callable[[], object]) -> float:
    """Return the wall-clock time of the fastest of three runs."""
    taken = []
    for _ in range(3):
        began = time.perf_counter()
        run()
        taken.append(time.perf_counter() - began)
    return min(taken)


def iteration(data: hs.Interactions, rank: int) -> float:
    """Return the seconds of the fastest iteration of a fit."""
    model = hs.ALS(hs.Implicit(), rank=rank, iterations=ITERATIONS, random_state=0, progress=False).fit(data)
    return float(np.diff([each.seconds for each in model.history_]).min())


def parts(data: hs.Interactions, rank: int) -> tuple[float, float]:
    """Return the seconds of products with K × K matrices and of eigenvectors in an iteration."""
    rng = np.random.default_rng(0)
    V = rng.normal(size=(rank, rank)).astype(np.float32)

    def rows(n: int) -> Factors:
        Y = empty_factors(n, rank, np.float32)
        Y[:, :rank] = rng.normal(size=(n, rank))
        return Y

    with cpu.CPU() as backend:
        backend.limit_blas()
        sides = [rows(n) for n in (USERS, ITEMS)]
        products = 0.0
        for Y, positions in zip(sides, (data.user_positions, data.item_positions), strict=True):
            has_start = np.bincount(positions, minlength=len(Y)) >= fewest_approximate(ConjugateGradient(), rank)
            products += (2 + has_start.mean()) * seconds_of(partial(backend._product, Y, V))
            products += seconds_of(partial(gramian, np.ones(len(Y), np.float32), rank, Y, backend.run))
        G = gramian(np.ones(USERS, np.float32), rank, sides[0], backend.run)
        eigenvectors = seconds_of(partial(np.linalg.eigh, G))
    return products, 2 * eigenvectors


def main() -> None:
    data = sample()
    lines, before = [], None
    for rank in RANKS:
        whole, (products, eigenvectors) = iteration(data, rank), parts(data, rank)
        ratio = "" if before is None else f"{whole / before:.2f}"
        rest = whole - products - eigenvectors
        lines.append([f"{rank}", *(f"{each:.2f}" for each in (whole, products, eigenvectors, rest)), ratio])
        print(*lines[-1], flush=True)
        before = whole
    head = ["rank", " iteration, s", " products, s", " eigenvectors, s", " rest, s", " of half the rank"]
    machine = hs.doctor.examine(measure=False)
    text = f"{machine.processor}, {cpu.threads_to_use(None)} threads.\n\n{table(head, lines)}"
    write_between(ROOT / "docs" / "speed.md", "high ranks", text)


if __name__ == "__main__":
    main()
