"""Arrays that grow in amortized constant time per new row."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class Growing:
    """An array whose first axis grows.

    Parameters
    ----------
    start : ndarray
        Copied.

    Attributes
    ----------
    array : ndarray
        A view of the current content. After `grow` it may be another one.
    """

    def __init__(self, start: NDArray[Any]) -> None:
        n = len(start)
        self._room = np.empty((n + n // 4 + 16, *start.shape[1:]), start.dtype)
        self._room[:n] = start
        self.array = self._room[:n]

    def grow(self, length: int) -> None:
        """Extend the array to a length by zeros, unless it is as long already."""
        n = len(self.array)
        if length <= n:
            return
        room = self._room_for(length)
        room[n:length] = 0
        self._room, self.array = room, room[:length]

    def cut(self, length: int) -> None:
        """Truncate the array to a length."""
        self.array = self._room[:length]

    def appended(self, new: NDArray[Any]) -> Growing:
        """Return a longer array that shares memory with this one, whose content does not change.

        Only the longest array of such a chain may be appended to, since new rows are written behind its end.
        """
        n, length = len(self.array), len(self.array) + len(new)
        longer = Growing.__new__(Growing)
        longer._room = self._room_for(length)
        longer._room[n:length] = new
        longer.array = longer._room[:length]
        return longer

    def _room_for(self, length: int) -> NDArray[Any]:
        if length <= len(self._room):
            return self._room
        room = np.empty((2 * length, *self._room.shape[1:]), self._room.dtype)
        room[: len(self.array)] = self.array
        return room
