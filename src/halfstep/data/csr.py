"""Observed cells, and lists of items for each user, in compressed sparse rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from halfstep._support.plurals import with_count
from halfstep.data.vocabulary import Vocabulary
from halfstep.errors import DataError

if TYPE_CHECKING:
    from scipy.sparse import csc_array


@dataclass(frozen=True, eq=False)
class Orientation:
    """The observed cells in compressed rows of users or of items.

    Attributes
    ----------
    indptr : ndarray of shape (n_rows + 1,), int64
        The cells of row k are ``indptr[k]:indptr[k + 1]``.
    indices : ndarray of shape (n_cells,), int32
        The column of each cell, ascending within a row.
    order : ndarray of shape (n_cells,), int32, or int64 from 2³¹ cells on
        The interaction of each cell: ``values[order]`` are the values row by row.
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    order: NDArray[np.integer]

    @classmethod
    def of_cells(cls, rows: NDArray[np.int32], columns: NDArray[np.int32], n_rows: int, n_columns: int) -> Self:
        """Sort cells by row, then column, by two passes of a stable counting sort."""
        one_per_row = np.arange(len(rows) + 1, dtype=index_type(len(rows)))
        by_column = _transposed(one_per_row, columns, rows, n_columns)  # its data are rows, its indices cells
        del one_per_row  # a large array
        return cls._of(_transposed(by_column.indptr, by_column.data, by_column.indices, n_rows))

    def transposed(self, n_columns: int) -> Self:
        """Return the cells in rows of the other side."""
        starts = self.indptr.astype(index_type(len(self.indices)))
        return self._of(_transposed(starts, self.indices, self.order, n_columns))

    @classmethod
    def _of(cls, pattern: csc_array[Any]) -> Self:
        indptr, indices = pattern.indptr.astype(np.int64), pattern.indices.astype(np.int32, copy=False)
        return cls(indptr, indices, pattern.data)


def _transposed(
    indptr: NDArray[np.integer], indices: NDArray[np.integer], data: NDArray[Any], n_columns: int
) -> csc_array[Any]:
    """Convert compressed rows to compressed columns by SciPy's counting sort, which is stable."""
    from scipy.sparse import csr_array

    return csr_array((data, indices, indptr), shape=(len(indptr) - 1, n_columns)).tocsc()


def sorted_by_key(keys: NDArray[np.int32], n_keys: int) -> tuple[NDArray[np.int64], NDArray[np.integer]]:
    """Sort numbers below `n_keys` by a stable counting sort; return `Orientation.indptr` and the order."""
    index = index_type(len(keys))
    numbers = np.arange(len(keys), dtype=index)
    pattern = _transposed(np.arange(len(keys) + 1, dtype=index), keys, numbers, n_keys)
    return pattern.indptr.astype(np.int64), pattern.data


def index_type(n_cells: int) -> type[np.signedinteger]:
    """Return int32 if possible: SciPy takes twice the memory if any array is int64."""
    return np.int32 if n_cells < 2**31 else np.int64


@dataclass(frozen=True, eq=False)
class IndexLists:
    """A list of column indices for each row, such as seen, excluded or candidate items of users.

    Attributes
    ----------
    indptr : ndarray of shape (n_rows + 1,), int64
    indices : ndarray
        The columns of row u at ``indptr[u]:indptr[u + 1]``, ascending and distinct.
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]

    def checked(self, n_rows: int, n_columns: int) -> IndexLists:
        """Check that kernels can read the lists, and return them without repeated columns."""
        indptr, indices = self.indptr, self.indices
        if (
            len(indptr) != n_rows + 1
            or indptr[0] != 0
            or indptr[-1] != len(indices)
            or (indptr[1:] < indptr[:-1]).any()
        ):
            found, rows = with_count(len(indptr) - 1, "list"), with_count(n_rows, "row")
            raise DataError(f"{found} of columns for {rows}: give one for each row")
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
                f"row {row} lists column {indices[wrong][0]}: give ascending columns from 0 to {n_columns - 1}"
            )
        return self._kept(ascends)

    @classmethod
    def empty(cls, n_rows: int) -> Self:
        """Return empty lists."""
        return cls(np.zeros(n_rows + 1, np.int64), np.empty(0, np.int32))

    @classmethod
    def of_rows(cls, pattern: Orientation | IndexLists, rows: NDArray[np.integer]) -> Self:
        """Take some rows of a pattern; −1 stands for a row without columns."""
        if len(rows) == 1 and rows[0] >= 0:  # requests for one user should take microseconds
            start, end = pattern.indptr[rows[0]], pattern.indptr[rows[0] + 1]
            return cls(np.array([0, end - start], np.int64), pattern.indices[start:end])
        if len(rows) == len(pattern.indptr) - 1 and np.array_equal(rows, np.arange(len(rows))):
            return cls(pattern.indptr, pattern.indices)
        starts = pattern.indptr[rows]  # of −1 the end, from which no columns are taken
        lengths = np.where(rows < 0, 0, pattern.indptr[np.where(rows < 0, 0, rows + 1)] - starts)
        indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        cells = np.arange(indptr[-1]) + np.repeat(starts - indptr[:-1], lengths)
        return cls(indptr, pattern.indices[cells])

    @classmethod
    def of_mapping(
        cls,
        lists: Mapping[Any, Iterable[Any]],
        rows: Iterable[Any],
        users: Vocabulary,
        items: Vocabulary,
        *,
        name: str,
    ) -> Self:
        """Look up the items that a mapping lists for each of some users; unknown items are skipped.

        Its ids must be of the types of the vocabularies; `name` is the name of the mapping in errors.
        """
        by_user = users.keyed(lists, name=f"user id in {name}")
        of_users: list[NDArray[np.int32]] = []
        for user in rows:
            listed = listed_for(by_user, user, name)
            distinct = np.unique(items.positions(listed, "mark", name=f"item id in {name}"))
            of_users.append(distinct[distinct >= 0])
        indptr = np.concatenate([[0], np.cumsum([len(each) for each in of_users])]).astype(np.int64)
        return cls(indptr, np.concatenate([np.empty(0, np.int32), *of_users]))

    def rows(self, rows: NDArray[np.integer]) -> IndexLists:
        """Return the lists of some rows; −1 stands for an empty list."""
        return IndexLists.of_rows(self, rows)

    def joined_with(self, other: IndexLists) -> IndexLists:
        """Return the union with other lists, row by row."""
        return self._combined(other, lambda here, there: here + there)

    def without(self, other: IndexLists) -> IndexLists:
        """Return the columns that are not in the other lists, row by row."""
        return self._combined(other, lambda here, there: here > there)

    def within(self, columns: NDArray[np.integer], n_columns: int) -> IndexLists:
        """Keep only the given ascending columns, renumbered from 0."""
        numbers = np.full(n_columns, -1, np.int32)
        numbers[columns] = np.arange(len(columns), dtype=np.int32)
        kept = self.where(numbers >= 0)
        return IndexLists(kept.indptr, numbers[kept.indices])

    def where(self, wanted: NDArray[np.bool_]) -> IndexLists:
        """Keep only the columns in a mask."""
        return self._kept(wanted[self.indices])

    def _kept(self, kept: NDArray[np.bool_]) -> IndexLists:
        before = np.concatenate([[0], np.cumsum(kept)]).astype(np.int64)
        return IndexLists(before[self.indptr], self.indices[kept])

    def _combined(self, other: IndexLists, how: Any) -> IndexLists:
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
        return IndexLists(combined.indptr.astype(np.int64), combined.indices.astype(np.int32))


def listed_for(lists: Mapping[Any, Any], user: Any, name: str) -> Any:
    """Return the ids that a mapping lists for a user, as an array or a list; empty for a user without a list."""
    listed = lists.get(user, ())
    if isinstance(listed, str | bytes) or not isinstance(listed, Iterable):
        raise DataError(f"{name} has {listed!r} for user {user!r}: give a list of item ids, even for a single one")
    return listed if hasattr(listed, "__array__") else list(listed)
