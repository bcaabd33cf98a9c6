"""Lists of items for each of many users: seen items, excluded items, candidates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from halfstep.data.csr import Orientation
from halfstep.data.vocabulary import Vocabulary
from halfstep.errors import DataError


@dataclass(frozen=True, eq=False)
class Lists:
    """A list of columns for each row, in compressed rows.

    Attributes
    ----------
    indptr : ndarray of shape (n_rows + 1,), int64
    indices : ndarray
        The columns of row u at ``indptr[u]:indptr[u + 1]``, ascending and distinct.
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]

    def checked(self, n_rows: int, n_columns: int) -> Lists:
        """Check that kernels can read the lists, and return them without repeated columns.

        Raises
        ------
        DataError
            If there are not `n_rows` lists, or if a list is not ascending or has columns beyond `n_columns`.
        """
        indptr, indices = self.indptr, self.indices
        if (
            len(indptr) != n_rows + 1
            or indptr[0] != 0
            or indptr[-1] != len(indices)
            or (indptr[1:] < indptr[:-1]).any()
        ):
            raise DataError(f"there are {len(indptr) - 1:,} lists of columns for {n_rows:,} rows: give one for each")
        if len(indices) == 0:
            return self
        first = indptr[:-1][indptr[1:] > indptr[:-1]]
        ascends = np.ones(len(indices), np.bool_)
        np.greater(indices[1:], indices[:-1], out=ascends[1:])
        ascends[first] = True
        if ascends.all() and indices.min() >= 0 and indices.max() < n_columns:
            return self
        wrong = np.zeros(len(indices), np.bool_)
        np.less(indices[1:], indices[:-1], out=wrong[1:])
        wrong[first] = False
        wrong |= (indices < 0) | (indices >= n_columns)
        if wrong.any():
            row = int(np.searchsorted(indptr, np.argmax(wrong), side="right")) - 1
            raise DataError(
                f"row {row} lists column {indices[np.argmax(wrong)]}: a list ascends, and holds columns from 0 to "
                f"{n_columns - 1}"
            )
        return self._kept(ascends)

    @classmethod
    def empty(cls, n_rows: int) -> Self:
        """Return empty lists."""
        return cls(np.zeros(n_rows + 1, np.int64), np.empty(0, np.int32))

    @classmethod
    def of_rows(cls, pattern: Orientation | Lists, rows: NDArray[np.integer]) -> Self:
        """Take some rows of a pattern; −1 stands for a row without columns."""
        if len(rows) == 1 and rows[0] >= 0:  # as in a request for one user, to be answered in microseconds
            start, end = pattern.indptr[rows[0]], pattern.indptr[rows[0] + 1]
            return cls(np.array([0, end - start], np.int64), pattern.indices[start:end])
        if len(rows) == len(pattern.indptr) - 1 and np.array_equal(rows, np.arange(len(rows))):
            return cls(pattern.indptr, pattern.indices)
        starts = pattern.indptr[rows]  # of −1, the very end: nothing is taken from there
        lengths = np.where(rows < 0, 0, pattern.indptr[np.where(rows < 0, 0, rows + 1)] - starts)
        indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        places = np.arange(indptr[-1]) + np.repeat(starts - indptr[:-1], lengths)
        return cls(indptr, pattern.indices[places])

    @classmethod
    def of_mapping(
        cls,
        lists: Mapping[Any, Iterable[Any]],
        asked: Iterable[Any],
        users: Vocabulary,
        items: Vocabulary,
        *,
        name: str,
    ) -> Self:
        """Look up the items that a mapping lists for each of some users; unknown items are skipped.

        Parameters
        ----------
        lists : mapping from user id to item ids
        asked : iterable of user ids
            The rows.
        users, items : Vocabulary
            Of the model; the ids in the mapping must be of their types.
        name : str
            What the mapping is called in error messages.

        Raises
        ------
        DataError
            If a list is a single string or no list at all, or an id is unusable or of another type.
        """
        by_user = users.keyed(lists, name=f"user id in {name}")
        found: list[NDArray[np.int32]] = []
        for user in asked:
            listed = listed_for(by_user, user, name)
            distinct = np.unique(items.positions(listed, "mark", name=f"item id in {name}"))
            found.append(distinct[distinct >= 0])
        indptr = np.concatenate([[0], np.cumsum([len(each) for each in found])]).astype(np.int64)
        return cls(indptr, np.concatenate([np.empty(0, np.int32), *found]))

    def rows(self, rows: NDArray[np.integer]) -> Lists:
        """Return the lists of some rows; −1 stands for an empty one."""
        return Lists.of_rows(self, rows)

    def joined_with(self, other: Lists) -> Lists:
        """Return the union with other lists, row by row."""
        return self._combined(other, lambda here, there: here + there)

    def without(self, other: Lists) -> Lists:
        """Return the columns that are not in the other lists, row by row."""
        return self._combined(other, lambda here, there: here > there)

    def within(self, columns: NDArray[np.integer], n_columns: int) -> Lists:
        """Keep only the given columns, which are ascending, renumbered by their positions among these."""
        places = np.full(n_columns, -1, np.int32)
        places[columns] = np.arange(len(columns), dtype=np.int32)
        kept = self.where(places >= 0)
        return Lists(kept.indptr, places[kept.indices])

    def where(self, wanted: NDArray[np.bool_]) -> Lists:
        """Keep only the columns in a mask."""
        return self._kept(wanted[self.indices])

    def _kept(self, kept: NDArray[np.bool_]) -> Lists:
        before = np.concatenate([[0], np.cumsum(kept)]).astype(np.int64)
        return Lists(before[self.indptr], self.indices[kept])

    def _combined(self, other: Lists, how: Any) -> Lists:
        from scipy.sparse import csr_array

        n_columns = 1 + max(int(lists.indices.max(initial=-1)) for lists in (self, other))
        shape = len(self.indptr) - 1, max(n_columns, 1)
        here, there = (
            csr_array((np.ones(len(lists.indices), bool), lists.indices, lists.indptr), shape=shape)
            for lists in (self, other)
        )
        combined = csr_array(how(here, there))
        combined.eliminate_zeros()
        combined.sort_indices()
        return Lists(combined.indptr.astype(np.int64), combined.indices.astype(np.int32))


def listed_for(lists: Mapping[Any, Any], user: Any, name: str) -> Any:
    """Return the ids that a mapping lists for a user, as an array or a list; empty for a user without a list.

    Raises
    ------
    DataError
        If the ids are a single string, or not iterable.
    """
    listed = lists.get(user, ())
    if isinstance(listed, str | bytes) or not isinstance(listed, Iterable):
        raise DataError(f"{name} has {listed!r} for user {user!r}: give a list of item ids, even for a single one")
    return listed if hasattr(listed, "__array__") else list(listed)
