"""Fork while another thread fits; every child must fit, recommend and exit.

    python -m benchmarks.stress.forks [forks]

prints how many children hung, and exits with 1 if one did.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time

import numpy as np

import halfstep as hs

TIMEOUT = 30  # seconds


def interactions(n: int, n_users: int, n_items: int) -> hs.Interactions:
    rng = np.random.default_rng(0)
    users, items = rng.integers(n_users, size=n), rng.integers(n_items, size=n)
    return hs.Interactions.from_arrays(users, items, rng.integers(1, 6, n).astype(float), duplicates="last")


def models(threads: int) -> list[hs.ALS | hs.BayesianALS | hs.SGD]:
    return [
        hs.ALS(hs.Implicit(missing_weight=0.1), rank=16, iterations=2, threads=threads),
        hs.ALS(hs.Explicit(biases=True), rank=8, iterations=2, threads=threads),
        hs.BayesianALS(rank=8, iterations=4, burn_in=2, threads=threads),
        hs.SGD(rank=8, iterations=2),
    ]


def child(number: int, data: hs.Interactions) -> None:
    """Fit, recommend and predict, and exit; an alarm stops the process if it hangs."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(TIMEOUT)
    try:
        chosen = models(2)
        model = chosen[number % len(chosen)].fit(data)
        model.recommend(n=3)
        model.predict(data.users.ids[:5], data.items.ids[:5])
    except BaseException as error:
        print(f"fork {number}: {error!r}", flush=True)
        os._exit(1)
    os._exit(0)


def main(forks: int) -> int:
    large, small = interactions(60_000, 2000, 500), interactions(400, 50, 40)
    for model in models(4):
        model.fit(small).recommend(n=3)  # compiles
    done = threading.Event()

    def keep_fitting() -> None:
        while not done.is_set():
            for model in models(4):
                model.fit(large).recommend(n=5)

    thread = threading.Thread(target=keep_fitting)
    thread.start()
    outcomes: list[int] = []
    waits: list[float] = []
    for number in range(forks):
        time.sleep(random.random() * 0.05)
        began = time.perf_counter()
        pid = os.fork()
        if pid == 0:
            child(number, small)
        waits.append(time.perf_counter() - began)
        outcomes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    done.set()
    thread.join()
    hung, failed = outcomes.count(-signal.SIGALRM), sum(outcome == 1 for outcome in outcomes)
    crashed = forks - hung - failed - outcomes.count(0)
    print(
        f"{forks} forks during fits: {hung} children hung, {failed} failed, {crashed} crashed; a fork took "
        f"{1000 * np.median(waits):.0f} ms (median), {1000 * max(waits):.0f} ms (maximum)"
    )
    return int(any(outcomes))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 500))
