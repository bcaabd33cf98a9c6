"""Group commit: requests that arrive during a commit share the next one.

A commit waits for the disk, which takes as long for a hundred events as for one.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from halfstep.serve.event import Appended, BusyError, Event, LogUnavailableError
from halfstep.serve.event_log import EventLog

EVENTS_AT_ONCE = 1_000  # in a transaction


class GroupCommit:
    """Appends the events of concurrent requests to a log, in a thread.

    Parameters
    ----------
    limit : int
        The maximum number of waiting events.
    on_commit : callable
        Called after each transaction.
    """

    def __init__(self, log: EventLog, *, limit: int, on_commit: Callable[[], None]) -> None:
        self._log, self._limit, self._on_commit = log, limit, on_commit
        self._waiting: deque[tuple[Sequence[Event], Future[Appended]]] = deque()
        self._count, self._is_stopping = 0, False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="halfstep-commit", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """The number of waiting events."""
        return self._count

    def submit(self, events: Sequence[Event]) -> Future[Appended]:
        """Append the events of a request; the future is done when they are on disk."""
        future: Future[Appended] = Future()
        future.set_running_or_notify_cancel()  # a client that disconnects does not cancel its events
        with self._changed:
            if self._is_stopping:
                raise BusyError("the server is stopping: send the request again")
            if self._count + len(events) > self._limit:
                raise BusyError(f"{self._count:,} events are waiting to be written: send the request again later")
            self._waiting.append((events, future))
            self._count += len(events)
            self._changed.notify()
        return future

    def close(self) -> None:
        """Append the waiting events, then stop."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._is_stopping:
                    self._changed.wait()
                if not self._waiting:
                    return
                requests = [self._waiting.popleft()]
                size = len(requests[0][0])
                while self._waiting and size + len(self._waiting[0][0]) <= EVENTS_AT_ONCE:
                    requests.append(self._waiting.popleft())
                    size += len(requests[-1][0])
            self._commit(requests)
            with self._changed:
                self._count -= size

    def _commit(self, requests: Sequence[tuple[Sequence[Event], Future[Appended]]]) -> None:
        try:
            answers = self._log.append([events for events, _ in requests])
        except Exception as error:
            for _, future in requests:
                future.set_exception(error if isinstance(error, LogUnavailableError) else _unexpected(error))
            return
        self._on_commit()
        for (_, future), answer in zip(requests, answers, strict=True):
            if isinstance(answer, Appended):
                future.set_result(answer)
            else:
                future.set_exception(answer)


def _unexpected(error: Exception) -> LogUnavailableError:
    return LogUnavailableError(f"the event log is unavailable ({type(error).__name__})")
