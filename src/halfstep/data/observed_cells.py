"""The observed cells of users × items: ids, positions, counts and orientations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from halfstep._support.lazy import cached_property
from halfstep.data.csr import Orientation
from halfstep.data.vocabulary import Vocabulary
from halfstep.errors import DataError


@dataclass(frozen=True, eq=False, kw_only=True)
class ObservedCells:
    """Distinct cells of a matrix of users × items, each observed in one interaction.

    Attributes
    ----------
    users, items : Vocabulary
        The ids by position, possibly including ids without interactions.
    user_positions, item_positions : ndarray of shape (n_interactions,), int32
    """

    users: Vocabulary
    items: Vocabulary
    user_positions: NDArray[np.int32]
    item_positions: NDArray[np.int32]

    def __post_init__(self) -> None:
        """Check positions, which compiled code relies on, and make them read-only."""
        for name, positions, count in (
            ("user", self.user_positions, len(self.users)),
            ("item", self.item_positions, len(self.items)),
        ):
            # negative numbers are large if viewed as unsigned
            if positions.dtype != np.int32 or (len(positions) and positions.view(np.uint32).max() >= count):
                raise DataError(f"the {name} positions are not int32 numbers from 0 to {count - 1}")
        self._check_length("item positions", self.item_positions)
        self.user_positions.flags.writeable = False
        self.item_positions.flags.writeable = False

    def _check_length(self, name: str, column: NDArray[Any]) -> None:
        if column.shape != self.user_positions.shape:
            raise DataError(f"{len(column):,} {name} for {len(self):,} interactions: give one for each")

    def __len__(self) -> int:
        return len(self.user_positions)

    @property
    def n_users(self) -> int:
        """Number of users in the vocabulary."""
        return len(self.users)

    @property
    def n_items(self) -> int:
        """Number of items in the vocabulary."""
        return len(self.items)

    @property
    def cells(self) -> NDArray[np.int64]:
        """The index of each interaction's cell in the flattened matrix."""
        return self.user_positions.astype(np.int64) * self.n_items + self.item_positions

    @property
    def user_ids(self) -> NDArray[Any]:
        """The user id of each interaction."""
        return self.users.ids[self.user_positions]

    @property
    def item_ids(self) -> NDArray[Any]:
        """The item id of each interaction."""
        return self.items.ids[self.item_positions]

    @cached_property
    def user_counts(self) -> NDArray[np.int64]:
        """Number of interactions of each user, regardless of their values; shape (n_users,)."""
        return np.bincount(self.user_positions, minlength=self.n_users).astype(np.int64, copy=False)

    @cached_property
    def item_counts(self) -> NDArray[np.int64]:
        """Number of interactions of each item, regardless of their values; shape (n_items,)."""
        return np.bincount(self.item_positions, minlength=self.n_items).astype(np.int64, copy=False)

    @cached_property
    def by_user(self) -> Orientation:
        """The observed cells in rows of users; cached."""
        return Orientation.of_cells(self.user_positions, self.item_positions, self.n_users, self.n_items)

    @cached_property
    def by_item(self) -> Orientation:
        """The observed cells in rows of items; cached."""
        return self.by_user.transposed(self.n_items)

    def _with_same_cells(self, other: Self) -> Self:
        """Copy cached counts and orientations to `other`, and return it."""
        cached = {"user_counts", "item_counts", "by_user", "by_item"} & self.__dict__.keys()
        other.__dict__.update({name: self.__dict__[name] for name in cached})
        return other
