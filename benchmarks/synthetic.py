"""Synthetic interactions of any size, with realistic distributions and a low rank.

The activity of users is lognormal, and the popularity of items follows Zipf's law. Each user has three of `TASTES`
tastes; in each taste, the popularity of an item is multiplied by a random factor. Without tastes, no model could be
better than popularity.
"""

from __future__ import annotations

import numpy as np

import halfstep as hs
from halfstep._support.integer_sets import distinct

TASTES, TASTES_PER_USER, LOG_SCALE = 48, 3, 1.5
RATING_RANK = 8


def interactions(n_users: int, n_items: int, cells: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Sample about `cells` distinct pairs of a user and an item, in random order, with ids from 0 to n − 1.

    Returns
    -------
    users, items : ndarray of int64
    """
    rng = np.random.default_rng(seed)
    activity = rng.lognormal(sigma=1.0, size=n_users)
    popularity = 1.0 / (10.0 + rng.permutation(n_items)) ** 0.9
    mixed = rng.integers(TASTES, size=(n_users, TASTES_PER_USER))
    n_samples = int(1.25 * cells)  # with duplicates
    users = rng.choice(n_users, n_samples, p=activity / activity.sum())
    tastes = mixed[users, rng.integers(TASTES_PER_USER, size=n_samples)]
    order = np.argsort(tastes, kind="stable")
    users, tastes = users[order], tastes[order]
    items = np.empty(n_samples, np.int64)
    bounds = np.searchsorted(tastes, np.arange(TASTES + 1))
    for taste in range(TASTES):
        share = popularity * np.exp(LOG_SCALE * rng.normal(size=n_items))
        among = slice(bounds[taste], bounds[taste + 1])
        items[among] = rng.choice(n_items, bounds[taste + 1] - bounds[taste], p=share / share.sum())
    observed = rng.permutation(distinct(users.astype(np.int64) * n_items + items))[:cells]
    return observed // n_items, observed % n_items


def ten_million() -> hs.Interactions:
    """Return interactions of the size of MovieLens 20M, 138,000 users × 27,000 items, with half of its cells."""
    users, items = interactions(138_000, 27_000, 10_000_000)
    return hs.Interactions.from_arrays(users, items)


def ratings(users: np.ndarray, items: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return ratings from 1 to 5, from biases, `RATING_RANK` factors and noise."""
    rng = np.random.default_rng(seed)
    n_users, n_items = int(users.max()) + 1, int(items.max()) + 1
    rated = 3.5 + rng.normal(scale=0.4, size=n_users)[users] + rng.normal(scale=0.5, size=n_items)[items]
    for _ in range(RATING_RANK):
        rated += rng.normal(scale=0.5, size=n_users)[users] * rng.normal(scale=0.5, size=n_items)[items]
    return np.clip(np.rint(rated + rng.normal(scale=0.8, size=len(users))), 1.0, 5.0)
