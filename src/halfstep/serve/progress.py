"""Requests that wait until the model has learned an event."""

from __future__ import annotations

import asyncio
import heapq


class Progress:
    """Tracks the offset up to which the model has learned, and wakes requests that wait for an offset."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self._offset = loop, 0
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._number = 0

    @property
    def offset(self) -> int:
        """The offset up to which the model has learned."""
        return self._offset

    def reach(self, offset: int) -> None:
        """Report progress, from any thread."""
        self._offset = offset  # before the check; `wait` does both in the opposite order
        if self._waiting:
            self._loop.call_soon_threadsafe(self._resolve, offset)

    async def wait(self, offset: int, seconds: float) -> bool:
        """Wait until the model has learned up to an offset; return False after a timeout."""
        if offset <= self._offset:
            return True
        future: asyncio.Future[None] = self._loop.create_future()
        self._number += 1
        heapq.heappush(self._waiting, (offset, self._number, future))
        self._resolve(self._offset)  # in case it was reached in the meantime
        try:
            await asyncio.wait_for(future, seconds)
        except TimeoutError:
            return False
        return True

    def _resolve(self, offset: int) -> None:
        while self._waiting and self._waiting[0][0] <= offset:
            future = heapq.heappop(self._waiting)[2]
            if not future.done():
                future.set_result(None)
