"""``os.fork`` while other threads compute: it waits until they hold no lock, and the child starts afresh.

A child has only the thread that forked. What another thread had locked stays locked in it for good: locks of Python,
of Numba's compiler, and of BLAS, which nobody can reset from outside. So a fork waits until every thread inside a
block of `busy` has left it, or has reached a `give_way`, and threads wait there until the fork is done.
"""

from __future__ import annotations

import os
import threading


class _Gate:
    """Who is busy, and who forks.

    Attributes
    ----------
    busy : dict from int to int
        Threads inside a block of `busy`, and how many they are in.
    forks : int
        Threads that are about to fork.
    changed : Condition
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
        """Leave so many blocks; those that are left already, as Ctrl-C kept one from being entered again, count."""
        me = threading.get_ident()
        with self.changed:
            left = self.busy.get(me, 0) - depth
            if left > 0:
                self.busy[me] = left
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
    """A block inside `busy` during which others may fork, as nothing is locked: for waiting, and for user code."""

    __slots__ = ("_depth",)

    def __enter__(self) -> None:
        self._depth = _gate.busy.get(threading.get_ident(), 0)
        if self._depth:
            _gate.leave(self._depth)

    def __exit__(self, *_: object) -> None:
        if self._depth:
            _gate.enter(self._depth)


def give_way() -> None:
    """Let a fork that waits go ahead; to be called inside `busy` where nothing is locked."""
    if _gate.forks:
        with idle():
            pass


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_gate.before, after_in_parent=_gate.after_in_parent, after_in_child=_gate.after_in_child
    )
