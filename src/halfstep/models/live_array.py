"""Arrays of a model that updates write in place while other threads read the model.

Copying all factors for each new interaction would take much longer than the update itself. Therefore updates write
rows in place, unless another thread is reading the array or a copy of the model shares it: then the array is copied
first, and the reader keeps the old one. A reader holds a `Lease`, or an array that `LiveArray.lent` returned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple
from weakref import ref

import numpy as np
from numpy.typing import NDArray

from halfstep.models.factorization import Factorization


class Lease:
    """As long as a reader holds a lease of an array, the array is not written in place."""

    __slots__ = ("__weakref__",)


class LiveArray:
    """An array that grows, and whose rows can be replaced.

    Parameters
    ----------
    start : ndarray
        The array is copied before the first write.
    copy_on_write : callable, optional
        Returns a copy of `start` that shares memory with it until rows are written, and that has capacity for some
        more rows; or None, if that is not possible.
    """

    def __init__(self, start: NDArray[Any], copy_on_write: Callable[[], NDArray[Any] | None] | None = None) -> None:
        self._buffer, self._copy_on_write = start, copy_on_write
        self._lease: ref[Lease | NDArray[Any]] | None = None
        self.is_own = False

    def lent(self, length: int) -> NDArray[Any]:
        """Return a view of the first rows that is a lease itself, as are all views of it."""
        # the base of a view's view is the array that owns the memory, unless there is a memoryview in between
        view: NDArray[Any] = np.asarray(memoryview(self._buffer[:length]))  # type: ignore[arg-type]  # it is a buffer
        view.flags.writeable = False
        self._lease = ref(view)
        return view

    def is_behind(self, array: NDArray[Any]) -> bool:
        """Whether the array is the last one that `lent` returned, or the initial one."""
        return array is self._buffer or (self._lease is not None and self._lease() is array)

    def lease(self) -> Lease | NDArray[Any]:
        """Return a lease of the array, which concurrent readers share."""
        lease = None if self._lease is None else self._lease()
        if lease is None:
            lease = Lease()
            self._lease = ref(lease)
        return lease

    def is_free(self, length: int) -> bool:
        """Whether the array can be written in place up to a length."""
        return self.is_own and length <= len(self._buffer) and (self._lease is None or self._lease() is None)

    def copied(self, length: int) -> LiveArray:
        """Return a copy with capacity for this many rows and some more, which take no memory until they are used."""
        room = None if self._copy_on_write is None else self._copy_on_write()
        if room is None or len(room) < length:
            room = np.empty((length + length // 4 + 16, *self._buffer.shape[1:]), self._buffer.dtype)
            n = min(length, len(self._buffer))
            room[:n] = self._buffer[:n]
        copy = LiveArray(room)
        copy.is_own = True
        return copy

    def first(self, length: int) -> NDArray[Any]:
        """Return a view of the first rows."""
        view = self._buffer[:length]
        view.flags.writeable = False
        return view

    def write(self, write: Write) -> None:
        """Write to the array in place; idempotent."""
        self._buffer[write.old_length : write.length] = 0
        self._buffer[write.rows] = write.values


class Write(NamedTuple):
    """A change of an array.

    Attributes
    ----------
    old_length, length : int
        Number of rows before and after; new rows are 0 unless they are among `rows`.
    rows : ndarray
        The positions of the rows to be replaced.
    values : ndarray
        The new rows.
    """

    old_length: int
    length: int
    rows: NDArray[np.integer]
    values: NDArray[Any]


class Publication:
    """An update of a model that is ready to be published to readers.

    Parameters
    ----------
    arrays : mapping from name to LiveArray
        The current arrays.
    changes : mapping from name to value
        The new values of other fields of the factorization.
    working : mapping from name to value
        Working state of the model to be replaced.
    """

    def __init__(
        self,
        arrays: Mapping[str, LiveArray],
        writes: Mapping[str, Write],
        changes: Mapping[str, Any],
        working: Mapping[str, Any],
    ) -> None:
        self.arrays, self._writes, self._changes = dict(arrays), writes, changes
        self.working = working
        self.moved: set[str] = set()

    def leave_readers(self) -> None:
        """Replace arrays that cannot be written in place by updated copies."""
        for name, write in self._writes.items():
            if name not in self.moved and not self.arrays[name].is_free(write.length):
                copy = self.arrays[name].copied(write.length)
                copy.write(write)
                self.arrays[name] = copy
                self.moved.add(name)

    @property
    def is_free(self) -> bool:
        """Whether the remaining arrays can be written in place."""
        return all(self.arrays[name].is_free(write.length) for name, write in self._in_place)

    def applied_to(self, fitted: Factorization) -> Factorization:
        """Write the remaining arrays in place, and return the updated factorization.

        Idempotent, so that it can be repeated after an interruption.
        """
        for name, write in self._in_place:
            self.arrays[name].write(write)
        changes = dict(self._changes)
        changes |= {name: self.arrays[name].first(write.length) for name, write in self._writes.items()}
        return replace(fitted, **changes)

    @property
    def _in_place(self) -> Iterable[tuple[str, Write]]:
        return [(name, write) for name, write in self._writes.items() if name not in self.moved]
