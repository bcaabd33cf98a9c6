"""Interrupt fits and recommendations at random times; threads, BLAS and the next fit must be unaffected.

    python -m benchmarks.stress.interrupts [interrupts]

sends signals from another thread, prints the outcomes, and exits with 1 if there are side effects.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable

import numpy as np
import threadpoolctl

import halfstep as hs


def interactions() -> hs.Interactions:
    rng = np.random.default_rng(0)
    users, items = rng.integers(600, size=20_000), rng.integers(200, size=20_000)
    values = rng.integers(1, 6, 20_000).astype(float)
    return hs.Interactions.from_arrays(users, items, values, duplicates="last")


def jobs(data: hs.Interactions) -> dict[str, Callable[[], np.ndarray]]:
    """Return functions to interrupt, each of which returns a reproducible array."""
    fitted = hs.ALS(rank=8, iterations=2, random_state=0).fit(data)

    def factors(model: hs.ALS | hs.BayesianALS | hs.SGD) -> np.ndarray:
        return np.array(model.fit(data).item_factors_)

    return {
        "ALS, implicit": lambda: factors(
            hs.ALS(hs.Implicit(missing_weight=0.1), rank=16, iterations=2, threads=4, random_state=0)
        ),
        "ALS, explicit": lambda: factors(
            hs.ALS(hs.Explicit(biases=True), rank=8, iterations=2, threads=4, random_state=0)
        ),
        "BayesianALS": lambda: factors(hs.BayesianALS(rank=4, iterations=4, burn_in=2, threads=4, random_state=0)),
        "SGD": lambda: factors(hs.SGD(rank=4, iterations=3, random_state=0)),
        "recommend": lambda: np.array(fitted.recommend(n=5).positions),
    }


def state() -> tuple[tuple[int, ...], int, object]:
    """Return the threads of each BLAS, the number of threads of halfstep, and the handler of Ctrl-C."""
    blas = tuple(each["num_threads"] for each in threadpoolctl.threadpool_info() if each["user_api"] == "blas")
    workers = sum(thread.name.startswith("halfstep-") for thread in threading.enumerate())
    return blas, workers, signal.getsignal(signal.SIGINT)


def interrupted(job: Callable[[], object], seconds: float) -> str:
    """Run a job with a Ctrl-C after some time, and return the outcome."""
    sender = threading.Thread(target=lambda: (time.sleep(seconds), os.kill(os.getpid(), signal.SIGINT)))
    outcome = "finished before"
    try:
        sender.start()
        job()
        sender.join()
        time.sleep(0.001)  # for a signal that was just sent
    except KeyboardInterrupt:
        outcome = "KeyboardInterrupt"
    except hs.errors.FitInterruptedWarning:
        outcome = "hs.errors.FitInterruptedWarning"
    sender.join()
    return outcome


def main(interrupts: int) -> int:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    warnings.simplefilter("error", hs.errors.FitInterruptedWarning)
    all_jobs = jobs(interactions())
    expected = {name: job() for name, job in all_jobs.items()}
    seconds = {}
    for name, job in all_jobs.items():
        began = time.perf_counter()
        job()
        seconds[name] = time.perf_counter() - began
    before, outcomes, wrong = state(), Counter[str](), 0
    for number in range(interrupts):
        name = list(all_jobs)[number % len(all_jobs)]
        outcomes[interrupted(all_jobs[name], random.random() * seconds[name])] += 1
        if (after := state()) != before:
            wrong += 1
            print(f"after interrupt {number}, of {name}: {after} instead of {before}", flush=True)
        if number % 20 < len(all_jobs) and not np.array_equal(all_jobs[name](), expected[name]):
            wrong += 1
            print(f"after interrupt {number}, the result of {name} differs", flush=True)
    print(f"{interrupts} interrupts: {dict(outcomes)}; {wrong} side effects")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000))
