"""Models that tests serve."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import halfstep as hs


def ratings(n: int = 400, seed: int = 0) -> hs.Interactions:
    """Return random ratings of users u0 to u29 and items i0 to i19, with timestamps."""
    rng = np.random.default_rng(seed)
    cells = rng.permutation(30 * 20)[:n]
    return hs.Interactions.from_arrays(
        [f"u{cell // 20}" for cell in cells],
        [f"i{cell % 20}" for cell in cells],
        rng.integers(1, 6, n).astype(float),
        np.arange(n) + 1_700_000_000,
    )


def plays(n: int = 400, seed: int = 0) -> hs.Interactions:
    """Return random play counts of users 0 to 29 and items 0 to 19."""
    rng = np.random.default_rng(seed)
    cells = rng.permutation(30 * 20)[:n]
    return hs.Interactions.from_arrays(cells // 20, cells % 20, rng.integers(1, 9, n).astype(float))


MODELS: dict[str, Callable[[], Any]] = {
    "ratings": lambda: hs.ALS(hs.Explicit(), rank=4, iterations=3, random_state=0).fit(ratings()),
    "plays": lambda: hs.ALS(
        hs.Implicit(observed_weight=hs.weights.confidence(1.0)),
        rank=4,
        regularization=0.1,
        iterations=3,
        random_state=0,
    ).fit(plays()),
    "popularity": lambda: hs.Popularity().fit(plays()),
}
