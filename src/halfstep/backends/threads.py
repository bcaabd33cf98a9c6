"""Cores to work on, and BLAS kept off them."""

from __future__ import annotations

import os
import threading
from typing import Any, ClassVar

from threadpoolctl import ThreadpoolController


def available_cores() -> int:
    """Cores that this process may use, which can be fewer than the machine has."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1


class OneBlasThread:
    """Hold BLAS to one thread while any backend is at work, and set it back after the last."""

    _lock: ClassVar[threading.Lock] = threading.Lock()
    _users: ClassVar[int] = 0
    _limiter: ClassVar[Any] = None

    @classmethod
    def enter(cls) -> None:
        with cls._lock:
            if cls._users == 0:
                cls._limiter = ThreadpoolController().limit(limits=1, user_api="blas")
            cls._users += 1

    @classmethod
    def leave(cls) -> None:
        with cls._lock:
            cls._users -= 1
            if cls._users == 0:
                cls._limiter.restore_original_limits()
                cls._limiter = None
