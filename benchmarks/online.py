"""How long one event takes: to learn it, to fold a user in, to recommend to one user; and what drifts.

    python -m benchmarks.online

100,000 users × 50,000 items at rank 64, as in DESIGN's acceptance: users' activity is lognormal, items' popularity
follows Zipf's law. Events are drawn from the same distribution; some are of new users and items.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

import halfstep as hs

USERS, ITEMS, RANK, CELLS, EVENTS = 100_000, 50_000, 64, 4_000_000, 2_000
NEW = 0.02  # of the events are of a new user, and as many of a new item


def draw(rng: np.random.Generator, cells: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of a user and an item."""
    activity = rng.lognormal(sigma=1.2, size=USERS)
    popularity = 1.0 / (10 + np.arange(ITEMS))
    users = rng.choice(USERS, cells, p=activity / activity.sum())
    items = rng.choice(ITEMS, cells, p=popularity / popularity.sum())
    return users, items


def percentiles(what: str, seconds: list[float]) -> None:
    """Print the median and the tail, in milliseconds."""
    middle, high, worst = 1e3 * np.percentile(seconds, [50, 95, 100])
    print(f"  {what:<44} median {middle:6.3f} ms   95 % {high:6.3f} ms   worst {worst:7.2f} ms")


def timed(action: Callable[[], object]) -> float:
    """Seconds that it takes."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def main() -> None:
    rng = np.random.default_rng(0)
    users, items = draw(rng, CELLS)
    data = hs.Interactions.from_arrays(users, items, duplicates="last")
    print(f"{data!r}, rank {RANK}")
    eals = hs.Implicit(missing_weight=hs.weights.missing_popularity(c0=512, exponent=0.4))
    for name, objective, exponent in (
        ("Hu et al.", hs.Implicit(observed_weight=hs.weights.confidence(alpha=40)), 0.0),
        ("iALS", hs.Implicit(observed_weight=1.1, missing_weight=0.1, target=1 / 1.1), 1.0),
        ("eALS", eals, 0.0),
        ("explicit with biases", hs.Explicit(biases=True), 0.5),
    ):
        model = hs.ALS(
            objective, rank=RANK, iterations=1, regularization=0.1, regularization_exponent=exponent, random_state=0
        )
        print(f"{name}: fitted in {timed(lambda model=model: model.fit(data)):.1f} s")
        u, i = draw(rng, EVENTS)
        u[rng.random(EVENTS) < NEW] += USERS
        i[rng.random(EVENTS) < NEW] += ITEMS
        events = [hs.Interactions.from_arrays(u[k : k + 1], i[k : k + 1]) for k in range(EVENTS)]
        first = timed(lambda model=model, events=events: model.partial_fit(events[0]))
        print(f"  the first update, which copies the factors: {first:.2f} s")
        percentiles("learn one event", [timed(lambda e=e, m=model: m.partial_fit(e)) for e in events[1:]])
        percentiles(
            "learn one event, users only",
            [timed(lambda e=e, m=model: m.partial_fit(e, update_items=False)) for e in events[1:]],
        )
        histories = [{"someone": rng.choice(ITEMS, 40, replace=False).tolist()} for _ in range(200)]
        percentiles("fold in a history of 40", [timed(lambda h=h, m=model: m.fold_in(h)) for h in histories])
        percentiles("recommend 10 to one user", [timed(lambda v=v, m=model: m.recommend([v])) for v in u[:200]])


if __name__ == "__main__":
    main()
