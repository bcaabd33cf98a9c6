"""Locks that a forked child finds free."""

from __future__ import annotations

import os
import threading
from weakref import WeakSet


class ForkSafeLock:
    """A reentrant lock that a forked child gets anew: the thread that holds it in the parent does not exist there.

    Attributes
    ----------
    lock : threading.RLock
        Taken by ``with fork_safe.lock:``, which Ctrl-C cannot leave half taken, as it could a method written here.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        _ALL.add(self)


_ALL: WeakSet[ForkSafeLock] = WeakSet()


def _renew_all() -> None:
    for each in list(_ALL):
        each.lock = threading.RLock()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_renew_all)


class ModelLocks:
    """The two locks of a model. Who takes both takes `writing` first.

    Attributes
    ----------
    writing : ForkSafeLock
        Held by who changes the model, from reading its state to replacing it.
    state : ForkSafeLock
        Held for the moment in which the state is replaced, or taken for reading.
    """

    def __init__(self) -> None:
        self.writing, self.state = ForkSafeLock(), ForkSafeLock()
