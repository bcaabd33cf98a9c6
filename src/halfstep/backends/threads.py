"""Threads that share work, cores to run them on, and BLAS kept off these."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any, ClassVar

import threadpoolctl

from halfstep.errors import ParameterError

Task = Callable[[], None]
Run = Callable[[Sequence[Task]], None]
"""Runs tasks, on whatever threads."""


class Team:
    """The calling thread and some helpers, who take the next task of a list as they get free.

    A pool of futures would do the same, but half-steps on small data last a few hundred microseconds, and making
    and awaiting a future takes a tenth of that.

    Parameters
    ----------
    helpers : int
        Threads besides the calling one.
    """

    def __init__(self, helpers: int) -> None:
        self._lists: SimpleQueue[deque[Task] | None] = SimpleQueue()
        self._outcomes: SimpleQueue[BaseException | None] = SimpleQueue()
        self._helpers = [
            threading.Thread(target=self._help, name=f"halfstep-{n}", daemon=True) for n in range(helpers)
        ]
        for helper in self._helpers:
            helper.start()

    def run(self, tasks: Sequence[Task]) -> None:
        """Run all tasks. After an error or Ctrl-C no further one is begun, and it is raised here."""
        waiting = deque(tasks)
        helpers = min(len(self._helpers), len(tasks) - 1)
        for _ in range(helpers):
            self._lists.put(waiting)
        try:
            outcomes = [work_through(waiting)]
        finally:  # nobody may still write when the caller goes on
            theirs = [self._outcomes.get() for _ in range(helpers)]
        for error in filter(None, outcomes + theirs):
            raise error

    def close(self) -> None:
        """End the helpers."""
        for _ in self._helpers:
            self._lists.put(None)
        for helper in self._helpers:
            helper.join()

    def _help(self) -> None:
        while (waiting := self._lists.get()) is not None:
            self._outcomes.put(work_through(waiting))


def work_through(waiting: deque[Task]) -> BaseException | None:
    """Run tasks until none is waiting; after an error drop the others and return it."""
    while waiting:
        try:
            task = waiting.popleft()
        except IndexError:  # another thread took the last one
            break
        try:
            task()
        except BaseException as error:
            waiting.clear()
            return error
    return None


def available_cores() -> int:
    """Cores that this process may use, which can be fewer than the machine has."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1


def threads_to_use(threads: int | None) -> int:
    """All cores for None.

    Raises
    ------
    ParameterError
        If `threads` is below 1.
    """
    if threads is None:
        return available_cores()
    if threads < 1:
        raise ParameterError(f"threads={threads}: give 1 or more, or None for all cores")
    return threads


class OneBlasThread:
    """Hold BLAS to one thread while any backend is at work, and set it back after the last.

    From 3.8 on, threadpoolctl lets only the first Python thread that sets a limit set others, and passes over the
    rest in silence. Backends may be at work in any thread, and the last to end need not be the first to begin: so
    control is freed before and after each of the two. The lock sees to it that nobody else here is in between.
    """

    _lock: ClassVar[threading.Lock] = threading.Lock()
    _users: ClassVar[int] = 0
    _limiter: ClassVar[Any] = None

    @classmethod
    def enter(cls) -> None:
        with cls._lock:
            if cls._users == 0:
                free_control_of_blas()
                cls._limiter = threadpoolctl.ThreadpoolController().limit(limits=1, user_api="blas")
                free_control_of_blas()
            cls._users += 1

    @classmethod
    def leave(cls) -> None:
        with cls._lock:
            cls._users -= 1
            if cls._users == 0:
                free_control_of_blas()
                cls._limiter.restore_original_limits()
                cls._limiter = None
                free_control_of_blas()

    def __enter__(self) -> None:
        self.enter()

    def __exit__(self, *_: object) -> None:
        self.leave()


def free_control_of_blas() -> None:
    """Let whichever Python thread comes next set BLAS's threads."""
    controller: Any = getattr(threadpoolctl, "OpenBLASController", None)
    if hasattr(controller, "clear_controlling_thread"):
        controller.clear_controlling_thread(force=True)
