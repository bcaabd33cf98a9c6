"""Arrays that grow in amortized constant time per row."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class GrowableArray:
    """An array whose first axis grows.

    Parameters
    ----------
    start : ndarray
        Copied.

    Attributes
    ----------
    array : ndarray
        A view of the current content, which `grow` may replace.
    """

    def __init__(self, start: NDArray[Any]) -> None:
        n = len(start)
        self._buffer = np.empty((n + n // 4 + 16, *start.shape[1:]), start.dtype)
        self._buffer[:n] = start
        self.array = self._buffer[:n]

    def grow(self, length: int) -> None:
        """Extend the array with zeros to at least `length` rows."""
        n = len(self.array)
        if length <= n:
            return
        buffer = self._with_capacity(length)
        buffer[n:length] = 0
        self._buffer, self.array = buffer, buffer[:length]

    def cut(self, length: int) -> None:
        """Truncate the array."""
        self.array = self._buffer[:length]

    def appended(self, new: NDArray[Any]) -> GrowableArray:
        """Return a longer array that shares memory with this one, whose content does not change.

        Only the longest array of such a chain may be appended to, since they share the memory after their ends.
        """
        n, length = len(self.array), len(self.array) + len(new)
        longer = GrowableArray.__new__(GrowableArray)
        longer._buffer = self._with_capacity(length)
        longer._buffer[n:length] = new
        longer.array = longer._buffer[:length]
        return longer

    def _with_capacity(self, length: int) -> NDArray[Any]:
        if length <= len(self._buffer):
            return self._buffer
        buffer = np.empty((2 * length, *self._buffer.shape[1:]), self._buffer.dtype)
        buffer[: len(self.array)] = self.array
        return buffer
