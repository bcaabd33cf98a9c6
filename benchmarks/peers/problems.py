"""Data for all libraries, with one objective and one metric to score their factors."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numba
import numpy as np
from scipy import sparse

import halfstep as hs
from benchmarks.peers.machine import THREADS
from benchmarks.synthetic import interactions

WEIGHT, REGULARIZATION = 10.0, 5.0  # of an observed cell, and λ
TESTED_USERS = 5_000  # at most
LEAST_HISTORY = 5  # minimum number of interactions of test users
ROWS_AT_ONCE = 4096

Factors = tuple[np.ndarray, np.ndarray]


class Problem:
    """Implicit feedback, and the objective

    Σ_Ω 10 (1 − x)² + Σ_missing x² + 5 (Σ_u ‖p_u‖² + Σ_i ‖q_i‖²)
    """

    def __init__(self, users: np.ndarray, items: np.ndarray, shape: tuple[int, int] | None = None) -> None:
        self.users, self.items = users, items
        self.shape = shape or (int(users.max()) + 1, int(items.max()) + 1)
        ones = np.ones(len(users), np.float32)
        self.matrix = sparse.csr_matrix((ones, (users, items)), shape=self.shape)
        self._data = hs.Interactions.from_sparse(self.matrix)

    def __str__(self) -> str:
        return f"{len(self.users):,} pairs of {self.shape[0]:,} users × {self.shape[1]:,} items"

    def fresh_data(self) -> hs.Interactions:
        """Return interactions with rows by user, as in a CSR matrix, and without rows by item."""
        data = replace(self._data)
        data.by_user  # noqa: B018 - built on first use
        return data

    def start(self, rank: int) -> Factors:
        """Return the initial factors."""
        rng = np.random.default_rng(0)
        P, Q = (rng.normal(0.0, 0.1 / np.sqrt(rank), (n, rank)).astype(np.float32) for n in self.shape)
        return P, Q

    def objective(self, P: np.ndarray, Q: np.ndarray) -> float:
        """Return the objective of factors, summed in float64."""
        P, Q = np.ascontiguousarray(P), np.ascontiguousarray(Q)
        indptr, indices = self.matrix.indptr, self.matrix.indices
        with ThreadPoolExecutor(THREADS) as pool:
            starts = range(0, len(P), ROWS_AT_ONCE)
            parts = pool.map(lambda first: observed(first, first + ROWS_AT_ONCE, indptr, indices, P, Q), starts)
            errors, squares = map(sum, zip(*parts, strict=True))
        all_cells = float(((P.T.astype(np.float64) @ P) * (Q.T.astype(np.float64) @ Q)).sum())
        penalty = REGULARIZATION * sum(float((F.astype(np.float64) ** 2).sum()) for F in (P, Q))
        return WEIGHT * errors + all_cells - squares + penalty


@numba.njit(nogil=True, fastmath=True)
def observed(
    first: int, last: int, indptr: np.ndarray, indices: np.ndarray, P: np.ndarray, Q: np.ndarray
) -> tuple[float, float]:
    """Return Σ (1 − x)² and Σ x² over the observed cells of some rows."""
    errors = squares = 0.0
    for u in range(first, min(last, len(P))):
        for i in indices[indptr[u] : indptr[u + 1]]:
            x = np.float32(0.0)
            for k in range(P.shape[1]):
                x += P[u, k] * Q[i, k]
            errors += (1.0 - x) ** 2
            squares += np.float64(x) ** 2
    return errors, squares


class HeldOut:
    """A split with one random test item per user, scored by NDCG@10 over all items."""

    def __init__(self, problem: Problem) -> None:
        rng = np.random.default_rng(0)
        order = rng.permutation(len(problem.users))
        users, first, counts = np.unique(problem.users[order], return_index=True, return_counts=True)
        users, held = users[counts >= LEAST_HISTORY], order[first[counts >= LEAST_HISTORY]]
        kept = np.ones(len(order), bool)
        kept[held] = False
        self.train = Problem(problem.users[kept], problem.items[kept], problem.shape)
        chosen = np.sort(rng.permutation(len(users))[:TESTED_USERS])
        self.tested = users[chosen]
        self._test = hs.Interactions.from_arrays(self.tested, problem.items[held[chosen]])
        theirs = np.isin(self.train.users, self.tested)
        self._histories = hs.Interactions.from_arrays(self.train.users[theirs], self.train.items[theirs])

    def ndcg(self, P: np.ndarray, Q: np.ndarray) -> float:
        model = hs.persistence.from_arrays(P[self.tested], Q, users=self.tested, interactions=self._histories)
        return hs.evaluate({OWN_NAME: model}, self._test, "ndcg", 10, resamples=1)[OWN_NAME, "ndcg"]


OWN_NAME = "factors"  # `hs.evaluate` adds popularity


def ten_million() -> Problem:
    return Problem(*interactions(138_000, 27_000, 10_000_000))


def movielens_1m() -> Problem | None:
    """Return the training set of the NCF protocol; None if there is no file."""
    path = Path(os.environ.get("HALFSTEP_DATA", "nowhere")) / "ncf-ml-1m" / "ml-1m.train.pairs.tsv"
    if not path.is_file():
        return None
    users, items = np.loadtxt(path, dtype=np.int64, usecols=(0, 1)).T
    return Problem(users, items)
