"""Interactions that are made up, of any size, with what makes real ones hard: and with something to be learnt.

Users' activity is lognormal and items' popularity follows Zipf's law, as in any shop. Tastes give the matrix a low
rank: each user mixes three of `TASTES`, and each taste has a popularity of its own, that of all items times a factor
for each item. Without them all models would be as good as popularity.
"""

from __future__ import annotations

import numpy as np

import halfstep as hs

TASTES, MIXED, STRENGTH = 48, 3, 1.5
LIKINGS = 8  # what ratings depend on


def interactions(n_users: int, n_items: int, cells: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw about `cells` distinct pairs of a user and an item, in no order; both sides' ids are 0 to n − 1.

    Returns
    -------
    users, items : ndarray of int64
    """
    rng = np.random.default_rng(seed)
    activity = rng.lognormal(sigma=1.0, size=n_users)
    popularity = 1.0 / (10.0 + rng.permutation(n_items)) ** 0.9
    mixed = rng.integers(TASTES, size=(n_users, MIXED))
    drawn = int(1.25 * cells)  # some are drawn twice
    users = rng.choice(n_users, drawn, p=activity / activity.sum())
    tastes = mixed[users, rng.integers(MIXED, size=drawn)]
    order = np.argsort(tastes, kind="stable")
    users, tastes = users[order], tastes[order]
    items = np.empty(drawn, np.int64)
    bounds = np.searchsorted(tastes, np.arange(TASTES + 1))
    for taste in range(TASTES):
        share = popularity * np.exp(STRENGTH * rng.normal(size=n_items))
        among = slice(bounds[taste], bounds[taste + 1])
        items[among] = rng.choice(n_items, bounds[taste + 1] - bounds[taste], p=share / share.sum())
    distinct = np.unique(users.astype(np.int64) * n_items + items)
    distinct = rng.permutation(distinct)[:cells]
    return distinct // n_items, distinct % n_items


def ten_million() -> hs.Interactions:
    """138,000 users × 27,000 items, as in MovieLens 20M, with half of its cells."""
    users, items = interactions(138_000, 27_000, 10_000_000)
    return hs.Interactions.from_arrays(users, items)


def ratings(users: np.ndarray, items: np.ndarray, seed: int = 0) -> np.ndarray:
    """Rate pairs from 1 to 5: by biases, by `LIKINGS` factors and by chance."""
    rng = np.random.default_rng(seed)
    n_users, n_items = int(users.max()) + 1, int(items.max()) + 1
    rated = 3.5 + rng.normal(scale=0.4, size=n_users)[users] + rng.normal(scale=0.5, size=n_items)[items]
    for _ in range(LIKINGS):
        rated += rng.normal(scale=0.5, size=n_users)[users] * rng.normal(scale=0.5, size=n_items)[items]
    return np.clip(np.rint(rated + rng.normal(scale=0.8, size=len(users))), 1.0, 5.0)
