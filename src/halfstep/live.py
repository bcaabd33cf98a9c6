"""Arrays that a model writes in place while others read the model.

Copying a million rows for each interaction learned would take a thousand times as long as learning it. So an update
writes rows in place, unless somebody is reading the array at that time, or shares it for good, such as a copy of the
model: then the array is copied first, and the reader keeps the old one. Readers are known by their `Lease`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from weakref import ref

import numpy as np
from numpy.typing import NDArray


class Lease:
    """Whoever reads an array that may be written in place holds one as long as the array is to stay as it is."""

    __slots__ = ("__weakref__",)


class LiveArray:
    """An array whose rows are replaced one by one, and which grows.

    Parameters
    ----------
    start : ndarray
        It is copied before anything is written.
    """

    def __init__(self, start: NDArray[Any]) -> None:
        self._room = start
        self._lease: ref[Lease] | None = None
        self.is_own = False

    def lease(self) -> Lease:
        """Return a lease of the array; all who hold one at the same time hold the same."""
        lease = None if self._lease is None else self._lease()
        if lease is None:
            lease = Lease()
            self._lease = ref(lease)
        return lease

    def is_free(self, length: int) -> bool:
        """Whether the array may be written in place up to a length."""
        return self.is_own and length <= len(self._room) and (self._lease is None or self._lease() is None)

    def copied(self, length: int) -> LiveArray:
        """Return a copy with room for this many rows and some more."""
        copy = LiveArray(np.empty((length + length // 4 + 16, *self._room.shape[1:]), self._room.dtype))
        n = min(length, len(self._room))
        copy._room[:n] = self._room[:n]
        copy.is_own = True
        return copy

    def first(self, length: int) -> NDArray[Any]:
        """Return a view of the first rows."""
        return self._room[:length]


class Write(NamedTuple):
    """What becomes of an array.

    Attributes
    ----------
    old_length, length : int
        Number of rows before and after; new rows are 0 unless they are among `rows`.
    rows : ndarray
    values : ndarray
        The new content of these rows.
    """

    old_length: int
    length: int
    rows: NDArray[np.integer]
    values: NDArray[Any]

    def apply(self, room: NDArray[Any]) -> None:
        """Write to an array. Doing so a second time changes nothing more."""
        room[self.old_length : self.length] = 0
        room[self.rows] = self.values


class Publication:
    """An update of a model, ready to be made visible to its readers.

    Parameters
    ----------
    arrays : mapping from name to LiveArray
        As they are.
    writes : mapping from name to Write
    state : mapping from name to value
        What else of the model's attributes is replaced.
    """

    def __init__(
        self, arrays: Mapping[str, LiveArray], writes: Mapping[str, Write], state: Mapping[str, Any]
    ) -> None:
        self.arrays, self._writes, self._state = dict(arrays), writes, state
        self.moved: set[str] = set()

    def leave_readers(self) -> None:
        """Write to copies where arrays may not be written in place."""
        for name, write in self._writes.items():
            if name not in self.moved and not self.arrays[name].is_free(write.length):
                copy = self.arrays[name].copied(write.length)
                write.apply(copy.first(write.length))
                self.arrays[name] = copy
                self.moved.add(name)

    @property
    def is_free(self) -> bool:
        """Whether nobody reads what is left to be written in place."""
        return all(self.arrays[name].is_free(write.length) for name, write in self._in_place)

    def apply(self) -> dict[str, Any]:
        """Write what is to be written in place, and return the model's new attributes.

        Doing so a second time, after it was interrupted, has the same result.
        """
        for name, write in self._in_place:
            write.apply(self.arrays[name].first(write.length))
        views = {name: self.arrays[name].first(write.length) for name, write in self._writes.items()}
        return {**self._state, **views}

    @property
    def _in_place(self) -> Iterable[tuple[str, Write]]:
        return [(name, write) for name, write in self._writes.items() if name not in self.moved]
