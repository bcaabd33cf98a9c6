"""Nearest neighbors of items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from halfstep._support.checks import check_integer, check_number
from halfstep.models.item_weight_model import ItemWeightModel

CELLS_AT_ONCE = 1 << 24  # pairs of items whose common users are counted at once


@dataclass(eq=False, repr=False, kw_only=True)
class ItemKNN(ItemWeightModel):
    """Score an item by its similarity to the items of the user (Sarwar et al. [1]_).

    The similarity of items i and j is their cosine, shrunk for items with few users:

        s_ij = n_ij / (√(n_i n_j) + h),

    where n_ij is the number of users of both. W_ji is s_ij for the k items j that are most similar to i, and 0 for
    others.

    Parameters
    ----------
    neighbors : int
        k.
    shrinkage : float
        h ≥ 0.

    References
    ----------
    .. [1] B. Sarwar et al., "Item-based collaborative filtering recommendation algorithms", WWW 2001.

    Examples
    --------
    >>> import halfstep as hs
    >>> data = hs.Interactions.from_arrays(["ann", "ann", "bob"], ["tea", "milk", "tea"])
    >>> hs.ItemKNN().fit(data).recommend("bob", 1).item_ids.tolist()
    [['milk']]
    """

    neighbors: int = 100
    shrinkage: float = 10.0

    def _check_parameters(self) -> None:
        check_integer("neighbors", self.neighbors, minimum=1)
        check_number("shrinkage", self.shrinkage)

    def _weights_of(self, X: csr_array) -> csr_array:
        n = X.shape[1]
        users_of, counts = csr_array(X.T), np.asarray(X.sum(axis=0), np.float64)
        rows: list[NDArray[np.int32]] = []
        columns: list[NDArray[np.int32]] = []
        weights: list[NDArray[np.float32]] = []
        size = max(1, CELLS_AT_ONCE // n)
        for first in range(0, n, size):
            common = csr_array(users_of[first : first + size] @ X)
            common.sort_indices()
            for i in range(common.shape[0]):
                cells = slice(common.indptr[i], common.indptr[i + 1])
                others = common.indices[cells]
                similarities = common.data[cells] / (np.sqrt(counts[first + i] * counts[others]) + self.shrinkage)
                kept = _largest(np.where(others == first + i, 0.0, similarities), self.neighbors)
                rows.append(others[kept].astype(np.int32))
                columns.append(np.full(len(kept), first + i, np.int32))
                weights.append(similarities[kept].astype(np.float32))
        found = np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns))
        W = csr_array(found, shape=(n, n))
        W.sort_indices()
        return W

    def _similarities(self, weights: Any, items: NDArray[np.int32]) -> NDArray[np.float32]:
        return np.asarray(weights[:, items].toarray().T)  # those of the neighbors of each item


def _largest(similarities: NDArray[np.float64], k: int) -> NDArray[np.intp]:
    """Return the positions of the k largest of some numbers that are positive; of equal ones, the first."""
    positive = np.flatnonzero(similarities > 0)
    return positive[np.argsort(-similarities[positive], kind="stable")[:k]]
