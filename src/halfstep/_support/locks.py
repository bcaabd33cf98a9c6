"""Locks that are free in a forked child."""

from __future__ import annotations

import os
import threading
from weakref import WeakSet


class ForkSafeLock:
    """A reentrant lock that is replaced in a forked child, where the thread that holds it does not exist.

    Attributes
    ----------
    lock : threading.RLock
        Used as ``with fork_safe.lock:``, which Ctrl-C cannot interrupt halfway, as it could methods of this class.
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
    """The two locks of a model. If both are needed, `writing` is acquired first.

    Attributes
    ----------
    writing : ForkSafeLock
        Held during a whole update, from reading the state of the model to replacing it.
    state : ForkSafeLock
        Held briefly, while the state is replaced or copied.
    """

    def __init__(self) -> None:
        self.writing, self.state = ForkSafeLock(), ForkSafeLock()
