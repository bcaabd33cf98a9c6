"""``os.fork`` while other threads compute: the fork waits until they hold no locks.

A child process has only the thread that forked. Locks that another thread holds stay locked in the child, including
those of Numba's compiler and of BLAS, which cannot be reset. Therefore a fork waits until every thread inside a block
of `busy` has left it or has reached a `give_way`, where threads wait for the fork.
"""

from __future__ import annotations

import os
import threading


class _Gate:
    """The state of threads that compute and fork.

    Attributes
    ----------
    busy : dict from int to int
        Threads inside blocks of `busy`, and the number of these blocks.
    forks : int
        The number of threads that are about to fork.
    changed : Condition
        Notified when a thread leaves its last block, and when a fork is done.
    """

    def __init__(self) -> None:
        self.busy: dict[int, int] = {}
        self.forks = 0
        self.changed = threading.Condition(threading.Lock())

    def enter(self, depth: int = 1) -> None:
        me = threading.get_ident()
        with self.changed:
            while self.forks and me not in self.busy:
                self.changed.wait()
            self.busy[me] = self.busy.get(me, 0) + depth

    def leave(self, depth: int = 1) -> None:
        """Leave a number of blocks, or all if there are fewer, since Ctrl-C can prevent reentering."""
        me = threading.get_ident()
        with self.changed:
            remaining = self.busy.get(me, 0) - depth
            if remaining > 0:
                self.busy[me] = remaining
                return
            self.busy.pop(me, None)
            if self.forks:
                self.changed.notify_all()

    def before(self) -> None:
        me = threading.get_ident()
        with self.changed:
            self.forks += 1
            while any(thread != me for thread in self.busy):
                self.changed.wait()

    def after_in_parent(self) -> None:
        with self.changed:
            self.forks -= 1
            self.changed.notify_all()

    def after_in_child(self) -> None:
        me = threading.get_ident()
        own = self.busy.get(me, 0)
        self.__init__()  # type: ignore[misc]
        if own:
            self.busy[me] = own


_gate = _Gate()


class busy:  # noqa: N801 - used as a statement
    """A block during which no other thread forks; blocks nest."""

    __slots__ = ()

    def __enter__(self) -> None:
        _gate.enter()

    def __exit__(self, *_: object) -> None:
        _gate.leave()


class idle:  # noqa: N801 - used as a statement
    """A block inside `busy` that holds no locks, in which other threads may fork: for waiting, and for user code."""

    __slots__ = ("_depth",)

    def __enter__(self) -> None:
        self._depth = _gate.busy.get(threading.get_ident(), 0)
        if self._depth:
            _gate.leave(self._depth)

    def __exit__(self, *_: object) -> None:
        if self._depth:
            _gate.enter(self._depth)


def give_way() -> None:
    """Let a waiting fork proceed; to be called inside `busy` while no locks are held."""
    if _gate.forks:
        with idle():
            pass


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_gate.before, after_in_parent=_gate.after_in_parent, after_in_child=_gate.after_in_child
    )
