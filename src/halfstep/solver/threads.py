"""Threads that share tasks, and limits on the threads of BLAS."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from queue import SimpleQueue
from typing import Any, ClassVar, Self

import threadpoolctl

from halfstep._support.checks import check_threads
from halfstep._support.forks import busy, give_way, idle
from halfstep._support.interrupts import allowed, deferred, deliver

Task = Callable[[], None]
Run = Callable[[Sequence[Task]], None]
"""Runs tasks on some threads."""


class working:  # noqa: N801 - used as a statement
    """Defer forks, and Ctrl-C until the end of a task, while threads and BLAS are used. Blocks can be nested.

    See `halfstep._support.interrupts` and `halfstep._support.forks`.
    """

    __slots__ = ("_busy", "_deferred")

    def __init__(self) -> None:
        self._deferred, self._busy = deferred(), busy()

    def __enter__(self) -> None:
        self._deferred.__enter__()
        self._busy.__enter__()

    def __exit__(self, *_: object) -> None:
        self._busy.__exit__()
        self._deferred.__exit__()


class paused:  # noqa: N801 - used as a statement
    """Allow forks and Ctrl-C inside `working`, for user code."""

    __slots__ = ("_allowed", "_idle")

    def __init__(self) -> None:
        self._allowed, self._idle = allowed(), idle()

    def __enter__(self) -> None:
        self._idle.__enter__()
        try:
            self._allowed.__enter__()
        except BaseException:
            self._idle.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        self._allowed.__exit__()
        self._idle.__exit__()


class Team:
    """The calling thread and helpers, which take tasks from a shared list.

    Futures would do the same, but half-steps on small data take a few hundred microseconds, and the overhead of a
    future is a tenth of that.

    Parameters
    ----------
    helpers : int
        Threads besides the calling one. There are fewer if the system refuses to start them.
    """

    def __init__(self, helpers: int) -> None:
        self._lists: SimpleQueue[deque[Task] | None] = SimpleQueue()
        self._outcomes: SimpleQueue[BaseException | None] = SimpleQueue()
        self._helpers: list[threading.Thread] = []
        for n in range(helpers):
            helper = threading.Thread(target=self._help, name=f"halfstep-{n}", daemon=True)
            try:
                helper.start()
            except RuntimeError as error:  # a limit of the system; results do not depend on the number of threads
                warnings.warn(
                    f"only {n} of {helpers} additional threads could be started ({error}), so fewer are used: lower "
                    "threads, or raise the system's limit on processes and threads",
                    RuntimeWarning,
                    stacklevel=4,
                )
                break
            self._helpers.append(helper)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, tasks: Sequence[Task]) -> None:
        """Run all tasks. After an error or Ctrl-C, no further tasks are started, and the error is raised here."""
        waiting = deque(tasks)
        alive = sum(helper.is_alive() for helper in self._helpers)  # none in the child of a fork
        helpers = min(alive, len(tasks) - 1)
        with working() if helpers > 0 else nullcontext():
            for _ in range(helpers):
                self._lists.put(waiting)
            outcomes = [work_through(waiting)]
            if helpers > 0:
                with idle():  # tasks must not write after this call returns
                    outcomes += [self._outcomes.get() for _ in range(helpers)]
            for error in filter(None, outcomes):
                raise error
            deliver()

    def close(self) -> None:
        """Stop the helpers."""
        for _ in self._helpers:
            self._lists.put(None)
        for helper in self._helpers:
            helper.join()
        self._helpers.clear()

    def _help(self) -> None:
        while (waiting := self._lists.get()) is not None:
            with busy():
                outcome = work_through(waiting)
            self._outcomes.put(outcome)


def work_through(waiting: deque[Task]) -> BaseException | None:
    """Run tasks until none is left; after an error or Ctrl-C, drop the others and return it."""
    while waiting:
        try:
            task = waiting.popleft()
        except IndexError:  # another thread took the last one
            break
        try:
            give_way()
            deliver()
            task()
        except BaseException as error:
            waiting.clear()
            return error
    return None


def available_cores() -> int:
    """Return the number of cores that are available to the process."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1


def threads_to_use(threads: int | None) -> int:
    """Return the number of threads; all available cores for None.

    Raises
    ------
    ParameterError
        If `threads` is not a possible number of threads.
    """
    check_threads(threads)
    return available_cores() if threads is None else threads


class OneBlasThread:
    """Limit BLAS to one thread while at least one block is active; the last block restores the limits.

    Since version 3.8, threadpoolctl ignores limits unless they are set by the Python thread that set the first ones.
    Blocks may be in any thread and end in any order, so control is released before and after each change, under a
    lock.

    To be used inside `working`, so that it is not interrupted by Ctrl-C or a fork.
    """

    _lock: ClassVar[threading.Lock] = threading.Lock()
    _users: ClassVar[Counter[int]] = Counter()  # number of blocks that each thread is in
    _limiter: ClassVar[Any] = None
    _found: ClassVar[tuple[int, Any] | None] = None  # number of modules at the search for libraries, and these

    @classmethod
    def enter(cls) -> None:
        with cls._lock:
            if not cls._users:
                free_control_of_blas()
                cls._limiter = cls._libraries().limit(limits=1, user_api="blas")
                free_control_of_blas()
            cls._users[threading.get_ident()] += 1

    @classmethod
    def leave(cls) -> None:
        with cls._lock:
            cls._users -= Counter([threading.get_ident()])
            cls._restore_if_unused()

    @classmethod
    def _libraries(cls) -> Any:
        """Return the loaded BLAS libraries; a search takes milliseconds, and is repeated after imports."""
        modules = len(sys.modules)
        if cls._found is None or cls._found[0] != modules:
            cls._found = modules, threadpoolctl.ThreadpoolController().select(user_api="blas")
        return cls._found[1]

    @classmethod
    def reset_in_child(cls) -> None:
        """Reset the state in the child of a fork, which has a single thread."""
        cls._lock = threading.Lock()
        me = threading.get_ident()
        cls._users = Counter({me: cls._users[me]} if me in cls._users else ())
        cls._restore_if_unused()

    @classmethod
    def _restore_if_unused(cls) -> None:
        if not cls._users and cls._limiter is not None:
            free_control_of_blas()
            cls._limiter.restore_original_limits()
            cls._limiter = None
            free_control_of_blas()

    def __enter__(self) -> None:
        self.enter()

    def __exit__(self, *_: object) -> None:
        self.leave()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=OneBlasThread.reset_in_child)


def free_control_of_blas() -> None:
    """Let any Python thread set the threads of BLAS next."""
    controller: Any = getattr(threadpoolctl, "OpenBLASController", None)
    if hasattr(controller, "clear_controlling_thread"):
        controller.clear_controlling_thread(force=True)
