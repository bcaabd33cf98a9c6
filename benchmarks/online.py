"""Latency of updates, of folding in and of recommendations, and the difference between single updates and a batch.

    python -m benchmarks.online

Times are for 100,000 users × 50,000 items at rank 64: the activity of users is lognormal, and the popularity of items
follows Zipf's law. Events are sampled from the same distribution; some have new users and items.

The difference is for the last 10,000 ratings of MovieLens 100K, one by one or in one batch. It is 0 in exact
arithmetic if only users are updated, unless weights depend on popularity (eALS).
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
NEW = 0.02  # fraction of events with a new user, and with a new item


def sample(
    rng: np.random.Generator, cells: int, n_users: int = USERS, n_items: int = ITEMS
) -> tuple[np.ndarray, np.ndarray]:
    """Sample pairs of a user and an item, with repetitions."""
    activity = rng.lognormal(sigma=1.2, size=n_users)
    popularity = 1.0 / (10 + np.arange(n_items))
    users = rng.choice(n_users, cells, p=activity / activity.sum())
    items = rng.choice(n_items, cells, p=popularity / popularity.sum())
    return users, items


def percentiles(what: str, seconds: list[float]) -> None:
    """Print the median, 95% quantile and maximum, in milliseconds."""
    middle, high, worst = 1e3 * np.percentile(seconds, [50, 95, 100])
    print(f"  {what:<44} median {middle:6.3f} ms   95% {high:6.3f} ms   max {worst:7.2f} ms")


def timed(action: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def compare_with_one_batch() -> None:
    """Print the difference between single updates and one batch."""
    train, events = hs.split_by_time(hs.datasets.movielens_100k(), 0.1)
    events = events.subset(train.item_counts[events.item_positions] > 0)
    users = np.unique(events.user_positions)
    print(f"\n{len(events):,} events of MovieLens 100K, one by one and in one batch: relative difference of")
    print(f"{'':26}{'users, items fixed':>24}{'users':>14}{'items':>14}{'scores':>13}")
    for name, (objective, regularization, exponent) in OBJECTIVES.items():
        model = hs.ALS(
            objective, rank=16, regularization=hs.Regularization(regularization, exponent=exponent), random_state=0
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
            relative_difference(a.user_factors_[where[0]], b.user_factors_[where[1]]),
            relative_difference(c.user_factors_[where[0]], d.user_factors_[where[1]]),
            relative_difference(c.item_factors_, d.item_factors_),
            relative_difference(c.user_factors_ @ c.item_factors_.T, d.user_factors_ @ d.item_factors_.T),
        ]
        print(f"{name:<26}{figures[0]:24.1e}{figures[1]:14.1e}{figures[2]:14.1e}{figures[3]:13.1e}")


def relative_difference(a: np.ndarray, b: np.ndarray) -> float:
    """Return ‖a − b‖ / ‖b‖."""
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def main() -> None:
    rng = np.random.default_rng(0)
    users, items = sample(rng, CELLS)
    users, items = np.append(users, np.arange(USERS)), np.append(items, np.arange(USERS) % ITEMS)  # all users
    data = hs.Interactions.from_arrays(users, items, duplicates="last")
    print(f"{data!r}, rank {RANK}")
    for name, (objective, regularization, exponent) in OBJECTIVES.items():
        model = hs.ALS(
            objective,
            rank=RANK,
            iterations=1,
            regularization=hs.Regularization(regularization, exponent=exponent),
            random_state=0,
        )
        print(f"{name}: fitted in {timed(lambda model=model: model.fit(data)):.1f} s")
        u, i = sample(rng, EVENTS)
        u[rng.random(EVENTS) < NEW] += USERS
        i[rng.random(EVENTS) < NEW] += ITEMS
        events = [hs.Interactions.from_arrays(u[k : k + 1], i[k : k + 1]) for k in range(EVENTS)]
        first = timed(lambda model=model, events=events: model.partial_fit(events[0]))
        print(f"  the first update: {first:.3f} s")
        percentiles("update with one event", [timed(lambda e=e, m=model: m.partial_fit(e)) for e in events[1:]])
        percentiles(
            "update with one event, users only",
            [timed(lambda e=e, m=model: m.partial_fit(e, update_items=False)) for e in events[1:]],
        )
        histories = [{"new": rng.choice(ITEMS, 40, replace=False).tolist()} for _ in range(200)]
        percentiles("fold in a history of 40", [timed(lambda h=h, m=model: m.fold_in(h)) for h in histories])
        percentiles("recommend 10 items to one user", [timed(lambda v=v, m=model: m.recommend([v])) for v in u[:200]])
    compare_with_one_batch()


if __name__ == "__main__":
    main()
