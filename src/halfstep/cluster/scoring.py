"""Scores and recommendations of a model in blocks, as workers compute them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from halfstep.cluster.block_files import name_of
from halfstep.cluster.file_steps import version_of
from halfstep.cluster.ids import blocks_of, from_arrays
from halfstep.cluster.model import ClusterModel
from halfstep.data import IndexLists
from halfstep.models.als import ALS
from halfstep.models.factorization import rows_or_zeros
from halfstep.solver.session import Side
from halfstep.solver.top_n import Ranked, best_columns

MODELS_AT_HAND = 4  # of each worker
SEARCHES_PER_INDEX = 200  # rows of an index of strings that take as long as the search for one


class FactorsOfBlock(NamedTuple):
    """The users of a block.

    Attributes
    ----------
    ids : pyarrow.Array
        Ascending.
    factors : ndarray of shape (n_users, rank)
    biases : ndarray of shape (n_users,)
    seen : IndexLists
        The items of each user in the training data.
    """

    ids: pa.Array
    factors: NDArray[np.floating]
    biases: NDArray[np.floating]
    seen: IndexLists


class BlockScorer:
    """A model in a working folder, whose files are mapped into memory when they are needed.

    Parameters
    ----------
    url : str
        The working folder.
    stamp : str
        `Folder.stamp`.
    """

    def __init__(self, url: str, stamp: str) -> None:
        self._model = ClusterModel.open(url, stamp=stamp)
        self._folder = self._model.folder
        table = self._model.table
        self._block_of_bucket = np.full(table.n_buckets, -1, np.int64)
        self._block_of_bucket[table.buckets] = np.arange(len(table.buckets))
        self._users: dict[int, FactorsOfBlock] = {}

    def users(self, number: int) -> FactorsOfBlock:
        """Return the users of a block."""
        if number not in self._users:
            cells, _ = self._folder.read(name_of("cells", Side.USERS, number))
            rows = self._folder.read_array(version_of(Side.USERS, self._model.version, number))
            factors, biases = self._model.split(rows)
            seen = IndexLists(cells["indptr"], cells["indices"])
            self._users[number] = FactorsOfBlock(from_arrays(cells, "ids"), factors, biases, seen)
        return self._users[number]

    @property
    def items(self) -> ALS:
        """The model of all items; see `ClusterModel.items`."""
        return self._model.items

    @property
    def Q(self) -> NDArray[np.floating]:  # noqa: N802
        """The factors of all items."""
        return self.items.item_factors_

    @cached_property
    def item_ids(self) -> pa.Array:
        """The ids of all items."""
        return pa.array(self.items.items_.ids)

    @cached_property
    def _item_scores(self) -> NDArray[np.float64]:
        """μ + b_i of all items."""
        items = self.items
        return items.item_biases_.astype(np.float64) + items.mean_

    def item_positions(self, ids: pa.Array) -> NDArray[np.int32]:
        """Return the positions of items, −1 for unknown and missing ids."""
        known = ids.is_valid().to_numpy(zero_copy_only=False)
        positions = np.full(len(ids), -1, np.int32)
        given = ids.drop_null().to_numpy(zero_copy_only=False)
        positions[known] = self.items.items_.positions(given, "mark")
        return positions

    def located(self, ids: pa.Array) -> Iterator[tuple[int, NDArray[np.intp], NDArray[np.intp]]]:
        """Yield the blocks of users that are known: the number, the positions in `ids`, and the rows of the block."""
        positions = np.flatnonzero(ids.is_valid().to_numpy(zero_copy_only=False))
        ids = ids.drop_null()
        blocks = self._block_of_bucket[blocks_of(ids, len(self._block_of_bucket))]
        order = np.argsort(blocks, kind="stable")
        starts = np.searchsorted(blocks[order], np.arange(self._model.n_blocks + 1))
        for number in np.unique(blocks[blocks >= 0]).tolist():
            chosen = order[starts[number] : starts[number + 1]]
            rows = _rows_of(ids.take(pa.array(chosen)), self.users(number).ids)
            yield number, positions[chosen[rows >= 0]], rows[rows >= 0]

    def scores(self, users: pa.Array, items: pa.Array, *, is_baseline: bool) -> NDArray[np.float64]:
        """Score pairs of ids, which may be missing.

        Parameters
        ----------
        is_baseline : bool
            Whether to score pairs with an unknown id by μ plus the bias of the known side, as `ALS.predict` does;
            otherwise, they have the score NaN.
        """
        i = self.item_positions(items)
        scores = rows_or_zeros(self.items.item_biases_[:, None], i)[:, 0].astype(np.float64)
        scores += self.items.mean_
        is_known = np.zeros(len(users), np.bool_)
        for number, positions, rows in self.located(users):
            block = self.users(number)
            p = block.factors[rows].astype(np.float64)
            q = rows_or_zeros(self.Q, i[positions]).astype(np.float64)
            scores[positions] += np.einsum("nk,nk->n", p, q) + block.biases[rows]
            is_known[positions] = True
        if not is_baseline:
            scores[~is_known | (i < 0)] = np.nan
        return scores

    def best_items(self, number: int, rows: NDArray[np.intp], n: int, *, exclude_seen: bool, threads: int) -> Ranked:
        """Return the positions of the top-n items of users of a block, and their scores."""
        block = self.users(number)
        seen = IndexLists.of_rows(block.seen, rows) if exclude_seen else IndexLists.empty(len(rows))
        c = np.where(self.items.item_counts_ > 0, self._item_scores, -np.inf)
        width = min(n, len(c))
        positions, scores = best_columns(
            rows_or_zeros(block.factors, rows), self.Q, c, width, skip=seen, threads=threads
        )
        scores += block.biases[rows, None]
        return positions, scores

    def best_users(self, number: int, items: NDArray[np.integer], n: int, *, threads: int) -> Ranked:
        """Return the rows of the top-n users of a block for items, and their scores."""
        block = self.users(number)
        c = block.biases.astype(np.float64)
        Q, none = rows_or_zeros(self.Q, items), IndexLists.empty(len(items))
        rows, scores = best_columns(
            Q, np.ascontiguousarray(block.factors), c, min(n, len(c)), skip=none, threads=threads
        )
        scores += self._item_scores[items, None]
        return rows, scores


@lru_cache(MODELS_AT_HAND)
def scorer_of(url: str, stamp: str) -> BlockScorer:
    """Return the model in a folder; `stamp` differs if the folder had another model before."""
    return BlockScorer(url, stamp)


def _rows_of(ids: pa.Array, known: pa.Array) -> NDArray[np.intp]:
    """Return the rows of ids among ascending ones, −1 for others."""
    if pa.types.is_integer(known.type):
        among, asked = known.to_numpy(), ids.to_numpy()
        rows = np.minimum(np.searchsorted(among, asked), len(among) - 1)
        return np.where(among[rows] == asked, rows, -1)
    if len(known) < SEARCHES_PER_INDEX * len(ids):
        return np.asarray(pc.index_in(ids, known).fill_null(-1), np.intp)
    strings = _Strings(known)
    found = []
    for each in ids.to_pylist():
        row = bisect_left(strings, each)
        found.append(row if row < len(strings) and strings[row] == each else -1)
    return np.array(found, np.intp)


class _Strings:
    """A sequence of strings, which are decoded one at a time."""

    def __init__(self, array: pa.Array) -> None:
        self._array = array

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, k: int) -> str:
        text: str = self._array[k].as_py()
        return text
