"""Latency of recommendations and of folding in, compared with implicit.

    python -m benchmarks.serving

Both have the same factors, of 138,000 users and 27,000 items at rank 64, and exclude seen items. To install implicit,
run ``pip install '.[bench]'``. Runs of the two alternate; ratios are of medians.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable

import numpy as np
from scipy import sparse

import halfstep as hs
from benchmarks.online import sample
from halfstep.solver.threads import available_cores

USERS, ITEMS, RANK, CELLS, N = 138_000, 27_000, 64, 10_000_000, 10


def alternate(*actions: Callable[[], object], repeats: int) -> list[float]:
    """Return the median seconds of each action; runs alternate."""
    taken: list[list[float]] = [[] for _ in actions]
    for _ in range(repeats):
        for action, seconds in zip(actions, taken, strict=True):
            began = time.perf_counter()
            action()
            seconds.append(time.perf_counter() - began)
    return [statistics.median(seconds) for seconds in taken]


def show(what: str, ours: float, theirs: float) -> None:
    """Print both durations, and the ratio."""
    print(f"{what:<52} {1e3 * ours:10.3f} ms {1e3 * theirs:10.3f} ms   implicit: {theirs / ours:5.2f} times ours")


def main() -> None:
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as implicit recommends
    from implicit.als import AlternatingLeastSquares
    from implicit.cpu.als import AlternatingLeastSquares as OnCpu
    from threadpoolctl import threadpool_limits

    rng = np.random.default_rng(0)
    users, items = sample(rng, CELLS, USERS, ITEMS)
    matrix = sparse.csr_array((np.ones(CELLS, np.float32), (users, items)), shape=(USERS, ITEMS))
    matrix.sum_duplicates()
    matrix.data[:] = 1.0
    data = hs.Interactions.from_sparse(matrix)
    print(f"{platform.machine()}, {available_cores()} cores; {data!r}, rank {RANK}")
    ours = hs.presets.implicit(RANK, 1.0, alpha=1.0, iterations=2, random_state=0).fit(data)
    with threadpool_limits(1):
        theirs = AlternatingLeastSquares(
            factors=RANK, regularization=1.0, alpha=1.0, use_gpu=False, use_cg=False, num_threads=available_cores()
        )
        assert isinstance(theirs, OnCpu)
        theirs.user_factors, theirs.item_factors = ours.user_factors_.copy(), ours.item_factors_.copy()
        counts = sparse.csr_matrix(matrix)

        all_users = np.arange(USERS)
        lists, (listed, _) = ours.recommend(n=N), theirs.recommend(all_users, counts, N=N)
        same = np.mean(lists.positions == listed)
        print(f"{100 * same:.3f}% of the recommended items are the same\n{'':<52} {'halfstep':>13} {'implicit':>13}")
        show(
            f"top {N} of all users",
            *alternate(lambda: ours.recommend(n=N), lambda: theirs.recommend(all_users, counts, N=N), repeats=3),
        )
        few = rng.choice(USERS, 100, replace=False)
        rows = counts[few]
        show(
            f"top {N} of 100 users",
            *alternate(lambda: ours.recommend(few, N), lambda: theirs.recommend(few, rows, N=N), repeats=9),
        )
        one = int(few[0])
        row = counts[one]
        show(
            f"top {N} of one user",
            *alternate(lambda: ours.recommend([one], N), lambda: theirs.recommend(one, row, N=N), repeats=99),
        )
        history = rng.choice(ITEMS, 50, replace=False)
        new = sparse.csr_matrix((np.ones(50, np.float32), (np.zeros(50, int), history)), shape=(1, ITEMS))
        show(
            f"fold in a history of 50, and top {N}",
            *alternate(
                lambda: ours.fold_in({"new": history.tolist()}).recommend(n=N),
                lambda: theirs.recommend(0, new, N=N, recalculate_user=True),
                repeats=99,
            ),
        )
        show(
            f"top {N} similar items of all items",
            *alternate(
                lambda: ours.similar_items(n=N), lambda: theirs.similar_items(np.arange(ITEMS), N=N), repeats=3
            ),
        )


if __name__ == "__main__":
    main()
