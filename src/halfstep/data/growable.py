"""Interactions that grow by a few at a time."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from halfstep._support.integer_sets import distinct
from halfstep.data.csr import IndexLists
from halfstep.data.growable_array import GrowableArray
from halfstep.data.interactions import Interactions
from halfstep.data.vocabulary import Vocabulary
from halfstep.errors import DataError

SEARCHED = 1 << 10, 1 << 15  # bounds of the number of unsorted interactions, which are searched linearly
SMALL = 1 << 16  # maximum length of a log that is not merged, even if it is longer than the base
ROWS_SEARCHED = 64  # number of linear searches beyond which sorting the base is cheaper

POSITIONS = "user_positions", "item_positions"
COLUMNS = *POSITIONS, "values", "timestamps", "weights"

Repeats = Literal["last", "sum", "error"]
Ints = NDArray[np.integer]


class Rows(NamedTuple):
    """Interactions of some users or items in compressed rows, unordered within a row; weights default to 1."""

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    values: NDArray[np.float64]
    weights: NDArray[np.float64]


class Added(NamedTuple):
    """The result of `GrowableInteractions.added`.

    Attributes
    ----------
    data : GrowableInteractions
        All interactions.
    users, items : ndarray of shape (n_new,)
        The positions of the new interactions.
    is_new : ndarray of shape (n_new,)
        Whether the cell was not observed before.
    """

    data: GrowableInteractions
    users: NDArray[np.int32]
    items: NDArray[np.int32]
    is_new: NDArray[np.bool_]


class _Sorted(NamedTuple):
    """A sorted column of positions, and the original row of each."""

    keys: NDArray[np.int32]
    order: NDArray[np.int64]

    @classmethod
    def of(cls, column: NDArray[np.int32]) -> Self:
        order = np.argsort(column, kind="stable")
        return cls(column[order], order)


@dataclass(frozen=True, eq=False)
class GrowableInteractions:
    """Interactions that grow incrementally; `added` returns a new object and leaves this one unchanged.

    Adding costs as much as reading the affected rows. New interactions are appended to a log, and all but the latest
    are sorted by user and by item. Interactions are numbered, starting with those of the base.

    Attributes
    ----------
    base : Interactions
        The initial interactions.
    users, items : Vocabulary
        The ids of the base and of the new interactions.
    """

    base: Interactions
    users: Vocabulary
    items: Vocabulary
    # the columns of the added interactions, and the number of the interaction that each replaces, or −1
    _log: dict[str, GrowableArray] = field(repr=False)
    _sorted: tuple[_Sorted, _Sorted] = field(repr=False)  # by user and by item; all but the latest of the log

    @classmethod
    def of(cls, base: Interactions) -> Self:
        """Make growable interactions of fixed ones, which are not copied."""
        columns = {name: getattr(base, name) for name in COLUMNS} | {"replaced": np.empty(0, np.int64)}
        log = {name: GrowableArray(column[:0]) for name, column in columns.items() if column is not None}
        empty = _Sorted.of(np.empty(0, np.int32))
        return cls(base, base.users, base.items, log, (empty, empty))

    def independent_copy(self) -> Self:
        """Return a copy that can be added to independently."""
        return replace(self, _log={name: GrowableArray(column.array) for name, column in self._log.items()})

    def __len__(self) -> int:
        return len(self.base) + int(np.count_nonzero(self._replaced < 0))

    @property
    def _replaced(self) -> NDArray[np.int64]:
        return self._log["replaced"].array

    @property
    def has_weights(self) -> bool:
        """Whether the interactions have weights."""
        return self.base.weights is not None

    @cached_property
    def interactions(self) -> Interactions:
        """All interactions, the latest last."""
        base, replaced = self.base, self._replaced
        if len(replaced) == 0:
            return base
        is_kept = np.ones(len(base) + len(replaced), bool)
        is_kept[replaced[replaced >= 0]] = False
        columns: dict[str, Any] = {
            name: np.concatenate([getattr(base, name), self._log[name].array])[is_kept]
            for name in COLUMNS
            if name in self._log
        }
        return replace(base, users=self.users, items=self.items, **columns)

    @property
    def user_counts(self) -> NDArray[np.int64]:
        """Number of interactions of each user."""
        counts = np.bincount(self._log["user_positions"].array[self._replaced < 0], minlength=len(self.users))
        counts[: self.base.n_users] += self.base.user_counts
        return counts

    def of_user(self, user: int) -> Interactions:
        """Return the interactions of one user."""
        numbers = np.sort(self._numbers(0, np.array([user]))[1])
        columns: dict[str, Any] = {name: self._column(name, numbers) for name in COLUMNS if name in self._log}
        return replace(self.base, users=self.users, items=self.items, **columns)

    def user_rows(self, users: Ints) -> Rows:
        """Return the interactions of users, given by distinct ascending positions."""
        return self._rows(0, users)

    def item_rows(self, items: Ints) -> Rows:
        """Return the interactions of items, given by distinct ascending positions."""
        return self._rows(1, items)

    def seen(self, users: Ints) -> IndexLists:
        """List the items of each user; −1 stands for a user without interactions."""
        if len(users) == 1 and users[0] >= 0:
            return self._seen_by_one(users)
        rows, inverse = np.unique(users[users >= 0], return_inverse=True)
        indptr, numbers = self._numbers(0, rows)
        items = self._column("item_positions", numbers)
        ascending = np.lexsort((items, np.repeat(np.arange(len(rows)), np.diff(indptr))))
        of_users = np.full(len(users), -1)
        of_users[users >= 0] = inverse
        return IndexLists(indptr, items[ascending]).rows(of_users)

    def _seen_by_one(self, users: Ints) -> IndexLists:
        """Do the same for one user, which takes microseconds only."""
        base = self.base
        if "by_user" in base.__dict__ and users[0] < base.n_users:
            items = IndexLists.of_rows(base.by_user, users).indices
        else:
            items = np.sort(base.item_positions[self._of_base(0, users)[1]])
        added = [numbers for _, numbers in self._of_log(0, users) if len(numbers)]
        if added:
            log = self._log["item_positions"].array
            items = np.concatenate([items, *(log[numbers - len(base)] for numbers in added)])
            items.sort()
            is_first = np.ones(len(items), bool)  # replaced interactions have the same item
            np.not_equal(items[1:], items[:-1], out=is_first[1:])
            items = items[is_first]
        return IndexLists(np.array([0, len(items)]), items)

    def added(self, new: Interactions, repeats: Repeats) -> Added:
        """Add interactions.

        Parameters
        ----------
        repeats : {"last", "sum", "error"}
            How an interaction is handled whose cell is already observed: "last" replaces the old one, "sum" adds the
            value and weight to the old ones, "error" raises an error.

        Raises
        ------
        DataError
            If timestamps are missing or of another type than those of the base, if an id is of another type than
            the known ids, or if a cell is already observed and ``repeats="error"``.
        """
        new = self._with_columns_of_base(new)
        users = self.users.extended(new.user_ids, name="user id")
        items = self.items.extended(new.item_ids, name="item id")
        u, i = users.positions(new.user_ids), items.positions(new.item_ids)
        old = self._find(u, i)
        is_repeat = old >= 0
        if repeats == "error" and is_repeat.any():
            raise _repeated(new, int(np.argmax(is_repeat)))
        if repeats == "sum" and is_repeat.any():
            values = self._column("values", old[is_repeat])
            new = _increased(new, is_repeat, values, self._weights(old[is_repeat]))
        columns = {name: getattr(new, name) for name in COLUMNS} | {
            "user_positions": u,
            "item_positions": i,
            "replaced": old,
        }
        log = {name: column.appended(columns[name]) for name, column in self._log.items()}
        base = self.base.with_titles_of(new)
        return Added(replace(self, base=base, users=users, items=items, _log=log)._compacted(), u, i, ~is_repeat)

    def _with_columns_of_base(self, new: Interactions) -> Interactions:
        """Return the new interactions with the columns of the base."""
        base = self.base
        if base.timestamps is None:
            new = new if new.timestamps is None else replace(new, timestamps=None)
        elif new.timestamps is None or new.timestamps.dtype.kind != base.timestamps.dtype.kind:
            given = "none" if new.timestamps is None else f"timestamps of type {new.timestamps.dtype}"
            raise DataError(
                f"the model was fitted with timestamps of type {base.timestamps.dtype}, but the new interactions "
                f"have {given}: give timestamps of the same type, or fit the model without timestamps"
            )
        if base.weights is None:
            if new.weights is not None:
                raise DataError(
                    "the new interactions have weights, but the model was fitted without: omit the weights, or fit "
                    "the model on interactions with weights"
                )
            return new
        return new if new.weights is not None else new.with_weights(np.ones(len(new)))

    def _compacted(self) -> Self:
        """Sort the log if its unsorted part is too long.

        If the log is longer than the base, merge it into the base instead.
        """
        n, n_sorted = len(self._replaced), len(self._sorted[0].keys)
        if n - n_sorted <= min(max(SEARCHED[0], n_sorted // 8), SEARCHED[1]):
            return self
        if n > max(len(self.base), SMALL):
            return self.of(self.interactions)
        log = self._without_replaced()
        by_user, by_item = (_Sorted.of(log[name].array) for name in POSITIONS)
        return replace(self, _log=log, _sorted=(by_user, by_item))

    def _without_replaced(self) -> dict[str, GrowableArray]:
        """Remove replaced interactions from the log.

        Each remaining one is relinked to the interaction of the base that it supersedes, if any.
        """
        replaced, start = self._replaced.copy(), len(self.base)
        is_kept = np.ones(len(replaced), bool)
        is_kept[replaced[replaced >= start] - start] = False
        while len(later := np.flatnonzero(replaced >= start)):
            replaced[later] = replaced[replaced[later] - start]  # pointer doubling
        columns = {name: column.array for name, column in self._log.items()} | {"replaced": replaced}
        return {name: GrowableArray(column[is_kept]) for name, column in columns.items()}

    def _rows(self, side: Literal[0, 1], rows: Ints) -> Rows:
        indptr, numbers = self._numbers(side, rows)
        indices = self._column(POSITIONS[1 - side], numbers)
        return Rows(indptr, indices, self._column("values", numbers), self._weights(numbers))

    def _find(self, u: NDArray[np.int32], i: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return the number of the interaction of each cell, −1 where it is not observed."""
        if len(u) == 1:
            numbers = self._numbers(0, u)[1]
            numbers = numbers[self._column("item_positions", numbers) == i[0]]  # at most one
            return numbers if len(numbers) else np.array([-1])
        rows = distinct(u)
        indptr, numbers = self._numbers(0, rows)
        if len(numbers) == 0:
            return np.full(len(u), -1, np.int64)
        width = 1 + max(int(i.max()), len(self.items))
        cells = np.repeat(rows.astype(np.int64) * width, np.diff(indptr)) + self._column("item_positions", numbers)
        order, wanted = np.argsort(cells), u.astype(np.int64) * width + i
        cells = cells[order]
        at = np.minimum(np.searchsorted(cells, wanted), len(cells) - 1)
        return np.where(cells[at] == wanted, numbers[order[at]], -1)

    def _numbers(self, side: Literal[0, 1], rows: Ints) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return `indptr` and the numbers of the interactions of some rows, row by row."""
        parts = [self._of_base(side, rows), *self._of_log(side, rows)]  # including replaced ones
        numbers = np.concatenate([part for _, part in parts])
        if len(rows) == 1:
            indptr = np.array([0, len(numbers)])
        else:
            indptr = np.concatenate([[0], np.cumsum(sum(lengths for lengths, _ in parts))])
            owners = np.concatenate([np.repeat(np.arange(len(rows)), lengths) for lengths, _ in parts])
            numbers = numbers[np.argsort(owners, kind="stable")]
        replaced = self._replaced[numbers[numbers >= len(self.base)] - len(self.base)]
        replaced = replaced[replaced >= 0]
        if len(replaced):
            replaced = np.concatenate([np.sort(replaced), [-1]])  # −1 for numbers larger than all of them
            is_kept = replaced[replaced[:-1].searchsorted(numbers)] != numbers  # much faster than np.isin
            numbers = numbers[is_kept]
            if len(rows) == 1:
                indptr[1] = len(numbers)
            else:
                indptr = np.concatenate([[0], np.cumsum(is_kept)])[indptr]
        return indptr, numbers

    def _of_base(self, side: Literal[0, 1], rows: Ints) -> tuple[Ints, NDArray[np.int64]]:
        """Return counts and numbers of the interactions of some rows in the base."""
        base = self.base
        name = ("by_user", "by_item")[side]
        if name not in base.__dict__ and len(rows) + len(self._replaced) < ROWS_SEARCHED:
            return _searched(getattr(base, POSITIONS[side]), rows)
        pattern = getattr(base, name)
        if len(rows) == 1 and rows[0] < len(pattern.indptr) - 1:
            numbers = pattern.order[pattern.indptr[rows[0]] : pattern.indptr[rows[0] + 1]]
            return np.array([len(numbers)]), numbers.astype(np.int64)
        known = np.minimum(rows, len(pattern.indptr) - 2)  # new ids are not in the base
        first = pattern.indptr[known]
        lengths = (pattern.indptr[known + 1] - first) * (rows == known)
        return lengths, pattern.order[_slices(first, lengths)].astype(np.int64)

    def _of_log(self, side: Literal[0, 1], rows: Ints) -> list[tuple[Ints, NDArray[np.int64]]]:
        """Return the same for the sorted and for the latest part of the log; an empty list if it is empty."""
        if len(self._replaced) == 0:
            return []
        by_row, start = self._sorted[side], len(self.base)
        rows = rows.astype(by_row.keys.dtype, copy=False)  # otherwise NumPy converts all keys
        first, last = by_row.keys.searchsorted(rows), by_row.keys.searchsorted(rows, side="right")
        of_sorted = by_row.order[_slices(first, last - first)] + start
        recent = self._log[POSITIONS[side]].array[len(by_row.keys) :]
        lengths, of_recent = _searched(recent, rows)
        return [(last - first, of_sorted), (lengths, of_recent + (start + len(by_row.keys)))]

    def _weights(self, numbers: NDArray[np.int64]) -> NDArray[np.float64]:
        return self._column("weights", numbers) if self.has_weights else np.ones(len(numbers))

    def _column(self, name: str, numbers: NDArray[np.int64]) -> NDArray[Any]:
        """Return the values of numbered interactions in a column."""
        old: NDArray[Any] = getattr(self.base, name)
        is_added = numbers >= len(self.base)
        if not is_added.any():
            return old[numbers]
        values = np.empty(len(numbers), old.dtype)
        values[is_added] = self._log[name].array[numbers[is_added] - len(self.base)]
        values[~is_added] = old[numbers[~is_added]]
        return values


def _slices(first: Ints, lengths: Ints) -> NDArray[np.int64]:
    """Return the indices of several slices, concatenated."""
    if len(first) == 1:
        return np.arange(int(first[0]), int(first[0] + lengths[0]))
    before = np.cumsum(lengths) - lengths
    indices: NDArray[np.int64] = np.arange(int(lengths.sum()), dtype=np.int64)
    indices += np.repeat(first - before, lengths)
    return indices


def _searched(column: NDArray[np.int32], rows: Ints) -> tuple[Ints, NDArray[np.int64]]:
    """Return counts and indices of ascending rows in a column, by linear search."""
    if len(rows) == 1:
        indices = (column == rows[0]).nonzero()[0]
        return np.array([len(indices)]), indices
    if len(column) == 0 or len(rows) == 0:
        return np.zeros(len(rows), np.int64), np.empty(0, np.int64)
    indices = np.flatnonzero(np.isin(column, rows))
    owners = np.searchsorted(rows, column[indices])
    lengths: Ints = np.bincount(owners, minlength=len(rows))
    return lengths, indices[np.argsort(owners, kind="stable")]


def _increased(
    new: Interactions, is_repeat: NDArray[np.bool_], values: NDArray[np.float64], weights: NDArray[np.float64]
) -> Interactions:
    """Add the values and weights of observed cells to those of new interactions."""
    total = new.values.copy()
    total[is_repeat] += values
    increased = new.with_values(total)
    if new.weights is None:
        return increased
    total = new.weights.copy()
    total[is_repeat] += weights
    return increased.with_weights(total)


def _repeated(new: Interactions, row: int) -> DataError:
    user, item = new.users[int(new.user_positions[row])], new.items[int(new.item_positions[row])]
    return DataError(f"user {user!r} has item {item!r} already: set duplicates='last' or 'sum'")
