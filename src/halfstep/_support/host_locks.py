"""Locks among the processes of a user on one machine.

They are free again when a process ends, and a forked child does not hold those of its parent. Waiting is limited, so
that a process that hangs does not stop others: the locks save work, and correctness does not depend on them.
"""

from __future__ import annotations

import errno
import hashlib
import os
import time
from functools import lru_cache
from pathlib import Path
from types import ModuleType

fcntl: ModuleType | None
try:
    import fcntl
except ModuleNotFoundError:  # on Windows, all locks are free
    fcntl = None

MOST_SECONDS, INTERVAL = 120.0, 0.02
BUSY = errno.EACCES, errno.EAGAIN


def acquire(folder: Path, name: str) -> None:
    """Wait until no other process holds the lock of this name and folder, for at most `MOST_SECONDS`."""
    file = _file(folder, os.getpid())
    if fcntl is None or file is None:
        return
    end = time.monotonic() + MOST_SECONDS
    while time.monotonic() < end:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _offset(name))
        except OSError as error:
            if error.errno not in BUSY:  # not supported by the file system
                return
            time.sleep(INTERVAL)
        else:
            return


def release(folder: Path, name: str) -> None:
    """Release a lock, if this process holds it."""
    file = _file(folder, os.getpid())
    if fcntl is not None and file is not None:
        fcntl.lockf(file, fcntl.LOCK_UN, 1, _offset(name))


@lru_cache
def _file(folder: Path, process: int) -> int | None:
    """Open the file of the locks of a folder, which are its bytes; it stays open, since closing would release all.

    This is a file descriptor, because Python would warn of a file object that is still open when a process ends.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(folder / "locks", os.O_WRONLY | os.O_CREAT, 0o600)
    except OSError:
        return None


def _offset(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest())
