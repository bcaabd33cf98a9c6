"""Interactions that grow by a few entries at a time: what a row holds now, and the whole when somebody asks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from halfstep.errors import DataError
from halfstep.interactions.growing import Growing
from halfstep.interactions.interactions import Interactions
from halfstep.interactions.lists import Lists
from halfstep.interactions.orientation import Orientation

FEW = 256  # entries that are entered one by one; of more, the whole is put together anew

Repeats = Literal["last", "sum", "error"]


class Row(NamedTuple):
    """The entries of one user or item, in no order; weights are 1 where there are none."""

    indices: NDArray[np.int32]
    values: NDArray[np.float64]
    weights: NDArray[np.float64]


class Ledger:
    """Entries on top of interactions, which stay as they are.

    A new entry costs as much as copying the two rows that it belongs to.

    Parameters
    ----------
    base : Interactions

    Attributes
    ----------
    users, items : Vocabulary
        With the ids of new entries.
    user_counts, item_counts : Growing
        Observed cells, by position.
    base : Interactions
        Those that were there when they were last put together.
    """

    def __init__(self, base: Interactions) -> None:
        self._start_from(base)

    def _start_from(self, base: Interactions) -> None:
        self.users, self.items = base.users, base.items
        self.user_counts, self.item_counts = Growing(base.user_counts), Growing(base.item_counts)
        self.base = base
        self._user_rows: dict[int, Row] = {}
        self._item_rows: dict[int, Row] = {}
        self._new: list[Interactions] = []
        self._before: tuple[Interactions, list[Interactions]] = base, []

    def user_row(self, u: int) -> Row:
        """Give the entries of one user."""
        return _row(self._user_rows, u, self.base, self.base.by_user)

    def item_row(self, i: int) -> Row:
        """Give the entries of one item."""
        return _row(self._item_rows, i, self.base, self.base.by_item)

    def add(self, new: Interactions, repeats: Repeats) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Enter new entries.

        Parameters
        ----------
        new : Interactions
        repeats : {"last", "sum", "error"}
            What becomes of an entry whose cell is here already: it takes the old one's place; or its value and
            weight are added to it; or nothing is entered at all.

        Returns
        -------
        users, items : ndarray of shape (len(new),)
            Their positions.

        Raises
        ------
        DataError
            If timestamps are missing or of another kind than those that are here, if an id is of a type that no id
            here has, or if an entry is here already and ``repeats="error"``. Nothing is entered then.
        """
        new = self._fitting(new)
        before = self.base, list(self._new)
        if len(new) > FEW:
            positions = self._add_in_bulk(new, repeats)
            self._before = before
            return positions
        users = self.users.extended(new.user_ids, name="user id")
        items = self.items.extended(new.item_ids, name="item id")
        u, i = users.positions(new.user_ids), items.positions(new.item_ids)
        cells = list(zip(u.tolist(), i.tolist(), strict=True))
        old = [self._entry(*cell) for cell in cells]
        if repeats == "error" and any(entry is not None for entry in old):
            raise _repeated(new, next(n for n, entry in enumerate(old) if entry is not None))
        if repeats == "sum":
            new = new.with_values(new.values + [0.0 if entry is None else entry[0] for entry in old])
            if new.weights is not None:
                new = new.with_weights(new.weights + [0.0 if entry is None else entry[1] for entry in old])
        weights = np.ones(len(new)) if new.weights is None else new.weights
        self._before = before
        self._new.append(new)  # it is entered with this; what follows can be done again from here
        try:
            self.users, self.items = users, items
            self.user_counts.grow(len(users))
            self.item_counts.grow(len(items))
            for n, (user, item) in enumerate(cells):
                entry = float(new.values[n]), float(weights[n])
                self._user_rows[user] = _with(self.user_row(user), item, *entry)
                self._item_rows[item] = _with(self.item_row(item), user, *entry)
                if old[n] is None:
                    self.user_counts.array[user] += 1
                    self.item_counts.array[item] += 1
        except BaseException:  # Ctrl-C
            self._start_from(_together([self.base, *self._new]).merged("last"))
            raise
        return u, i

    def undo(self) -> None:
        """Take the entries out again that were added last."""
        base, new = self._before
        self._start_from(_together([base, *new]).merged("last") if new else base)

    @property
    def has_weights(self) -> bool:
        """Whether entries came with weights of their own."""
        return self.base.weights is not None

    @property
    def interactions(self) -> Interactions:
        """All entries; put together when asked for, then kept."""
        if self._new:
            self._start_from(_together([self.base, *self._new]).merged("last"))
        return self.base

    def seen(self, users: NDArray[np.integer]) -> Lists:
        """List what each of some users has; −1 stands for a user who has nothing."""
        rows = [np.sort(self.user_row(u).indices) if u >= 0 else np.empty(0, np.int32) for u in users.tolist()]
        indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
        return Lists(indptr, np.concatenate([np.empty(0, np.int32), *rows]))

    def _add_in_bulk(self, new: Interactions, repeats: Repeats) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Do the same by putting the whole together anew."""
        base = self.interactions
        whole = _together([base, new])
        if repeats == "error":
            u, i = base.users.positions(new.user_ids, "mark"), base.items.positions(new.item_ids, "mark")
            known = (u >= 0) & (i >= 0)
            there = np.isin(u * np.int64(base.n_items) + i, base.cells) & known
            if there.any():
                raise _repeated(new, int(np.argmax(there)))
        self._start_from(whole.merged("last" if repeats == "error" else repeats))
        return self.users.positions(new.user_ids), self.items.positions(new.item_ids)

    def _fitting(self, new: Interactions) -> Interactions:
        """Give `new` the columns that the base has."""
        base = self.base
        if base.timestamps is None:
            new = replace(new, timestamps=None)
        elif new.timestamps is None or new.timestamps.dtype.kind != base.timestamps.dtype.kind:
            kind = "none" if new.timestamps is None else f"timestamps of type {new.timestamps.dtype}"
            raise DataError(
                f"the model was fitted on timestamps of type {base.timestamps.dtype}, and the new interactions have "
                f"{kind}: give such, or fit the model without timestamps"
            )
        if base.weights is None:
            if new.weights is not None:
                raise DataError(
                    "the new interactions have weights, and those that the model was fitted on have none: leave them "
                    "out, or fit the model on interactions with weights"
                )
            return new
        return new if new.weights is not None else new.with_weights(np.ones(len(new)))

    def _entry(self, user: int, item: int) -> tuple[float, float] | None:
        """Value and weight of a cell; None where it is not observed."""
        row = self.user_row(user)
        places = np.flatnonzero(row.indices == item)
        return (float(row.values[places[0]]), float(row.weights[places[0]])) if len(places) else None


def _row(rows: dict[int, Row], k: int, base: Interactions, pattern: Orientation) -> Row:
    if k in rows:
        return rows[k]
    if k >= len(pattern.indptr) - 1:
        return Row(np.empty(0, np.int32), np.empty(0), np.empty(0))
    stored = slice(pattern.indptr[k], pattern.indptr[k + 1])
    order = pattern.order[stored]
    weights = np.ones(len(order)) if base.weights is None else base.weights[order]
    return Row(pattern.indices[stored], base.values[order], weights)


def _with(row: Row, index: int, value: float, weight: float) -> Row:
    """Put an entry into a row, in the place of one with the same index or at the end."""
    places = np.flatnonzero(row.indices == index)
    if len(places) == 0:
        return Row(
            np.append(row.indices, np.int32(index)), np.append(row.values, value), np.append(row.weights, weight)
        )
    values, weights = row.values.copy(), row.weights.copy()
    values[places], weights[places] = value, weight
    return Row(row.indices, values, weights)


def _together(parts: list[Interactions]) -> Interactions:
    """Join entries one after the other; a cell may then occur more than once."""
    users, items = parts[0].users, parts[0].items
    for part in parts[1:]:
        users = users.extended(part.user_ids, name="user id")
        items = items.extended(part.item_ids, name="item id")
    return replace(
        parts[0],
        users=users,
        items=items,
        user_positions=np.concatenate([users.positions(part.user_ids) for part in parts]),
        item_positions=np.concatenate([items.positions(part.item_ids) for part in parts]),
        values=np.concatenate([part.values for part in parts]),
        timestamps=_joined([part.timestamps for part in parts]),
        weights=_joined([part.weights for part in parts]),
    )


def _joined(columns: list[NDArray[Any] | None]) -> NDArray[Any] | None:
    there = [column for column in columns if column is not None]
    return np.concatenate(there) if len(there) == len(columns) else None


def _repeated(new: Interactions, row: int) -> DataError:
    user, item = new.users[int(new.user_positions[row])], new.items[int(new.item_positions[row])]
    return DataError(f"user {user!r} has item {item!r} already: say duplicates='last' or 'sum'")
