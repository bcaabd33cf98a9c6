"""Arrays that get longer at no more cost, on the whole, than writing what is new."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class Growing:
    """An array whose first axis grows; new places hold zeros.

    Parameters
    ----------
    start : ndarray
        Copied.

    Attributes
    ----------
    array : ndarray
        A view of what is there by now. It is written in place; after `grow` it may lie elsewhere.
    """

    def __init__(self, start: NDArray[Any]) -> None:
        self._room = start.copy()
        self.array = self._room

    def __getstate__(self) -> NDArray[Any]:
        """Keep what is there: a view and what it is a view of would part in a copy."""
        return self.array

    def __setstate__(self, array: NDArray[Any]) -> None:
        self._room = self.array = array.copy()

    def grow(self, length: int) -> None:
        """Make it so long, if it is shorter."""
        n = len(self.array)
        if length <= n:
            return
        if length > len(self._room):
            room = np.zeros((2 * length, *self._room.shape[1:]), self._room.dtype)
            room[:n] = self.array
            self._room = room
        self.array = self._room[:length]
