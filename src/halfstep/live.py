"""Arrays of a model that updates write in place while other threads read the model.

Copying all factors for each new interaction would take much longer than the update itself. Therefore updates write
rows in place, unless another thread is reading the array or a copy of the model shares it: then the array is copied
first, and the reader keeps the old one. A reader holds a `Lease`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from weakref import ref

import numpy as np
from numpy.typing import NDArray


class Lease:
    """As long as a reader holds a lease of an array, the array is not written in place."""

    __slots__ = ("__weakref__",)


class LiveArray:
    """An array that grows, and whose rows can be replaced.

    Parameters
    ----------
    start : ndarray
        The array is copied before anything is written.
    """

    def __init__(self, start: NDArray[Any]) -> None:
        self._room = start
        self._lease: ref[Lease] | None = None
        self.is_own = False

    def lease(self) -> Lease:
        """Return a lease of the array, which concurrent readers share."""
        lease = None if self._lease is None else self._lease()
        if lease is None:
            lease = Lease()
            self._lease = ref(lease)
        return lease

    def is_free(self, length: int) -> bool:
        """Whether the array can be written in place up to a length."""
        return self.is_own and length <= len(self._room) and (self._lease is None or self._lease() is None)

    def copied(self, length: int) -> LiveArray:
        """Return a copy with capacity for this many rows and some more."""
        copy = LiveArray(np.empty((length + length // 4 + 16, *self._room.shape[1:]), self._room.dtype))
        n = min(length, len(self._room))
        copy._room[:n] = self._room[:n]
        copy.is_own = True
        return copy

    def first(self, length: int) -> NDArray[Any]:
        """Return a view of the first rows."""
        return self._room[:length]


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

    def apply(self, room: NDArray[Any]) -> None:
        """Write to an array; idempotent."""
        room[self.old_length : self.length] = 0
        room[self.rows] = self.values


class Publication:
    """An update of a model that is ready to be published to readers.

    Parameters
    ----------
    arrays : mapping from name to LiveArray
        The current arrays.
    writes : mapping from name to Write
    state : mapping from name to value
        Other attributes of the model to be replaced.
    """

    def __init__(
        self, arrays: Mapping[str, LiveArray], writes: Mapping[str, Write], state: Mapping[str, Any]
    ) -> None:
        self.arrays, self._writes, self._state = dict(arrays), writes, state
        self.moved: set[str] = set()

    def leave_readers(self) -> None:
        """Replace arrays that cannot be written in place by updated copies."""
        for name, write in self._writes.items():
            if name not in self.moved and not self.arrays[name].is_free(write.length):
                copy = self.arrays[name].copied(write.length)
                write.apply(copy.first(write.length))
                self.arrays[name] = copy
                self.moved.add(name)

    @property
    def is_free(self) -> bool:
        """Whether the remaining arrays can be written in place."""
        return all(self.arrays[name].is_free(write.length) for name, write in self._in_place)

    def apply(self) -> dict[str, Any]:
        """Write the remaining arrays in place, and return the new attributes of the model.

        Idempotent, so that it can be repeated after an interruption.
        """
        for name, write in self._in_place:
            write.apply(self.arrays[name].first(write.length))
        views = {name: self.arrays[name].first(write.length) for name, write in self._writes.items()}
        return {**self._state, **views}

    @property
    def _in_place(self) -> Iterable[tuple[str, Write]]:
        return [(name, write) for name, write in self._writes.items() if name not in self.moved]
