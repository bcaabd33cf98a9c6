"""How long one event takes: to learn it, to fold a user in, to recommend to one user; and how far updates differ.

    python -m benchmarks.online

Times are of 100,000 users × 50,000 items at rank 64: users' activity is lognormal, items' popularity follows Zipf's
law. Events are drawn from the same distribution; some are of new users and items.

The difference is that of the last 10,000 ratings of MovieLens 100K, learnt one by one, against the same in one batch.
They must end alike where the mathematics says so: while only users learn, and what their rows share does not depend
on the events. They need not where popularity does (eALS), or where items move between one solution of a user and the
next.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable

import numpy as np

import halfstep as hs

USERS, ITEMS, RANK, CELLS, EVENTS = 100_000, 50_000, 64, 4_000_000, 2_000
OBJECTIVES = {
    "Hu et al.": (hs.Implicit(observed_weight=hs.weights.confidence(alpha=40)), 1.0, 0.0),
    "iALS": (hs.Implicit(observed_weight=1.1, missing_weight=0.1, target=1 / 1.1), 0.01, 1.0),
    "eALS": (hs.Implicit(missing_weight=hs.weights.missing_popularity(c0=512, exponent=0.4)), 0.01, 0.0),
    "explicit with biases": (hs.Explicit(biases=True), 1.0, 0.5),
}
NEW = 0.02  # of the events are of a new user, and as many of a new item


def draw(
    rng: np.random.Generator, cells: int, n_users: int = USERS, n_items: int = ITEMS
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of a user and an item, some of them more than once."""
    activity = rng.lognormal(sigma=1.2, size=n_users)
    popularity = 1.0 / (10 + np.arange(n_items))
    users = rng.choice(n_users, cells, p=activity / activity.sum())
    items = rng.choice(n_items, cells, p=popularity / popularity.sum())
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


def compare_with_one_batch() -> None:
    """Compare updates one by one with one batch."""
    train, events = hs.split_by_time(hs.datasets.movielens_100k(), 0.1)
    events = events.subset(train.item_counts[events.item_positions] > 0)
    users = np.unique(events.user_positions)
    print(f"\n{len(events):,} events of MovieLens 100K one by one, against one batch: relative difference of the")
    print(f"{'':26}users' rows, users only   users' rows   items' rows   all scores")
    for name, (objective, strength, exponent) in OBJECTIVES.items():
        model = hs.ALS(
            objective, rank=16, regularization=hs.Regularization(strength, exponent=exponent), random_state=0
        ).fit(train)
        ends = []
        for update_items in (False, True):
            single, batch = copy.copy(model), copy.copy(model)
            for k in range(len(events)):
                single.partial_fit(events.subset([k]), update_items=update_items)
            batch.partial_fit(events, update_items=update_items)
            ends.append((single, batch))
        (a, b), (c, d) = ends
        where = a.users_.positions(events.users.ids[users]), b.users_.positions(events.users.ids[users])
        figures = [
            apart(a.user_factors_[where[0]], b.user_factors_[where[1]]),
            apart(c.user_factors_[where[0]], d.user_factors_[where[1]]),
            apart(c.item_factors_, d.item_factors_),
            apart(c.user_factors_ @ c.item_factors_.T, d.user_factors_ @ d.item_factors_.T),
        ]
        print(f"{name:<26}{figures[0]:24.1e}{figures[1]:14.1e}{figures[2]:14.1e}{figures[3]:13.1e}")


def apart(a: np.ndarray, b: np.ndarray) -> float:
    """‖a − b‖ / ‖b‖."""
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def main() -> None:
    rng = np.random.default_rng(0)
    users, items = draw(rng, CELLS)
    users, items = np.append(users, np.arange(USERS)), np.append(items, np.arange(USERS) % ITEMS)  # all are there
    data = hs.Interactions.from_arrays(users, items, duplicates="last")
    print(f"{data!r}, rank {RANK}")
    for name, (objective, strength, exponent) in OBJECTIVES.items():
        model = hs.ALS(
            objective,
            rank=RANK,
            iterations=1,
            regularization=hs.Regularization(strength, exponent=exponent),
            random_state=0,
        )
        print(f"{name}: fitted in {timed(lambda model=model: model.fit(data)):.1f} s")
        u, i = draw(rng, EVENTS)
        u[rng.random(EVENTS) < NEW] += USERS
        i[rng.random(EVENTS) < NEW] += ITEMS
        events = [hs.Interactions.from_arrays(u[k : k + 1], i[k : k + 1]) for k in range(EVENTS)]
        first = timed(lambda model=model, events=events: model.partial_fit(events[0]))
        print(f"  the first update: {first:.3f} s")
        percentiles("learn one event", [timed(lambda e=e, m=model: m.partial_fit(e)) for e in events[1:]])
        percentiles(
            "learn one event, users only",
            [timed(lambda e=e, m=model: m.partial_fit(e, update_items=False)) for e in events[1:]],
        )
        histories = [{"someone": rng.choice(ITEMS, 40, replace=False).tolist()} for _ in range(200)]
        percentiles("fold in a history of 40", [timed(lambda h=h, m=model: m.fold_in(h)) for h in histories])
        percentiles("recommend 10 to one user", [timed(lambda v=v, m=model: m.recommend([v])) for v in u[:200]])
    compare_with_one_batch()


if __name__ == "__main__":
    main()
