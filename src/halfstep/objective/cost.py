"""The data terms of the objective for given interactions, as arrays in memory or on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from halfstep._support.blocks import all_equal, blocks, is_repeated
from halfstep._support.disk_arrays import Scratch
from halfstep.data import Interactions, Orientation
from halfstep.weights import Cells

Floats = NDArray[np.float64]
Evaluate = Callable[[Cells], tuple[Floats, Floats]]
"""Returns t before μ is subtracted, and w, of some cells."""


@dataclass(frozen=True)
class Cost:
    """The data terms of J for given interactions, with cells in input order.

    Attributes
    ----------
    targets : ndarray of shape (n_cells,)
        t − μ.
    weights : ndarray of shape (n_cells,)
        w.
    user_missing, item_missing : ndarray of shape (n_users,) and (n_items,), or None
        s and m; None if missing cells have no weight.
    mean : float
        μ.
    biases : bool
        Whether b_u and b_i are fitted.
    nonnegative : bool
        Whether all factors are at least 0.
    """

    targets: Floats
    weights: Floats
    user_missing: Floats | None
    item_missing: Floats | None
    mean: float
    biases: bool
    nonnegative: bool = field(default=False, kw_only=True)

    def without_missing_of(self, users: NDArray[np.bool_], items: NDArray[np.bool_]) -> Cost:
        """Return a copy in which s of the given users and m of the given items are 0.

        Their missing cells are thus ignored.
        """
        s, m = self.user_missing, self.item_missing
        if s is None or m is None:
            return self
        return replace(self, user_missing=np.where(users, 0.0, s), item_missing=np.where(items, 0.0, m))

    def subset(self, rows: NDArray[np.integer]) -> Cost:
        """Return the terms of some cells, with the weights of all missing cells."""
        targets, weights = self.targets[rows], self.weights[rows]
        return Cost(
            targets,
            weights,
            self.user_missing,
            self.item_missing,
            self.mean,
            self.biases,
            nonnegative=self.nonnegative,
        )

    def of_rows(
        self, orientation: Orientation, dtype: DTypeLike
    ) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """Return t − μ and w in the order of compressed rows; a single element if all are equal."""
        t, w = (
            array[:1].astype(dtype) if is_one_number else array.astype(dtype)[orientation.order]
            for array, is_one_number in (
                (self.targets, is_repeated(self.targets)),  # not all_equal, because samplers overwrite targets
                (self.weights, all_equal(self.weights)),
            )
        )
        return t, w


@dataclass(frozen=True)
class StoredCost(Cost):
    """The data terms for interactions on disk, with arrays that are also on disk.

    Targets and weights in the order of compressed rows are computed from the values in this order, since gathering
    them in random order from disk would be slow.
    """

    data: Interactions
    evaluate: Evaluate
    scratch: Scratch

    def of_rows(
        self, orientation: Orientation, dtype: DTypeLike
    ) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        t, w = _collected(_parts_in_rows(self.data, orientation), self.evaluate, self.mean, dtype, self.scratch)
        return (t[:1].copy() if is_repeated(t) else t), (w[:1].copy() if is_repeated(w) else w)


def stored_cost(
    data: Interactions,
    evaluate: Evaluate,
    missing: tuple[Floats, Floats] | None,
    mean_of: Callable[[Floats, Floats], float],
    *,
    biases: bool,
    nonnegative: bool,
) -> StoredCost:
    """Return the data terms for interactions on disk.

    Parameters
    ----------
    missing : pair of ndarray, or None
        s and m.
    mean_of : callable
        Returns μ for targets and weights.
    """
    assert data.stored is not None
    scratch = data.stored.scratch()
    targets, weights = _collected(parts_of(data), evaluate, 0.0, np.float64, scratch)
    mean = mean_of(targets, weights) if biases else 0.0
    if mean and is_repeated(targets):
        targets = np.broadcast_to(targets[0] - mean, len(targets))
    elif mean:
        for block in blocks(len(targets)):
            targets[block] -= mean
    s, m = missing or (None, None)
    return StoredCost(targets, weights, s, m, mean, biases, data, evaluate, scratch, nonnegative=nonnegative)


def parts_of(data: Interactions) -> Iterator[Cells]:
    """Iterate over the cells of interactions in blocks."""
    for block in blocks(len(data)):
        yield Cells(
            data.user_positions[block],
            data.item_positions[block],
            data.values[block],
            None if data.weights is None else data.weights[block],
            data.user_counts,
            data.item_counts,
        )


def _parts_in_rows(data: Interactions, orientation: Orientation) -> Iterator[Cells]:
    """Iterate over the cells of interactions on disk in the order of compressed rows."""
    stored = data.stored
    assert stored is not None
    side = 0 if orientation is data.by_user else 1
    for block in blocks(len(data)):
        positions = _rows_of(orientation.indptr, block), orientation.indices[block]
        users, items = positions if side == 0 else positions[::-1]
        weights = None if stored.weights is None else stored.weights[side][block]
        yield Cells(users, items, stored.values[side][block], weights, data.user_counts, data.item_counts)


def _rows_of(indptr: NDArray[np.int64], block: slice) -> NDArray[np.int32]:
    """Return the rows of a block of cells."""
    first, last = np.searchsorted(indptr, (block.start, block.stop - 1), side="right") - 1
    bounds = np.clip(indptr[first : last + 2], block.start, block.stop)
    lengths = bounds[1:] - bounds[:-1]
    return np.repeat(np.arange(first, last + 1, dtype=np.int32), lengths)


def _collected(
    parts: Iterator[Cells], evaluate: Evaluate, mean: float, dtype: DTypeLike, scratch: Scratch
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return t − μ and w of all parts."""
    targets, weights = _Column(dtype, scratch), _Column(dtype, scratch)
    length = 0
    for cells in parts:
        length = length or int(cells.user_counts.sum())
        t, w = evaluate(cells)
        targets.add(t - mean if mean else t, length)
        weights.add(w, length)
    scratch.release()
    return targets.joined(), weights.joined()


class _Column:
    """Numbers that take constant memory while all are equal."""

    def __init__(self, dtype: DTypeLike, scratch: Scratch) -> None:
        self._dtype, self._scratch = np.dtype(dtype), scratch
        self._end = 0
        self._array: NDArray[Any] | None = None
        self._number: Any = None

    def add(self, numbers: Floats, length: int) -> None:
        """Append some of `length` numbers."""
        start, self._end = self._end, self._end + len(numbers)
        if self._array is None:
            if all_equal(numbers) and (start == 0 or numbers[0] == self._number):
                self._number = numbers[0]
                return
            self._array = self._scratch.empty(length, self._dtype)
            self._array[:start] = self._number
        with np.errstate(over="ignore"):  # the objective is then not finite, which is an error
            self._array[start : self._end] = numbers

    def joined(self) -> NDArray[Any]:
        if self._array is not None:
            return self._array
        with np.errstate(over="ignore"):
            return np.broadcast_to(np.float64(self._number).astype(self._dtype), self._end)
