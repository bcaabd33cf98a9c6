"""How much memory there is: what can never fit is refused before a machine swaps or the system kills the process."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from halfstep.errors import ParameterError

MEMINFO = Path("/proc/meminfo")
CONTAINER_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)  # of control groups, version 2 and 1


@cache
def machine_memory() -> int | None:
    """Return how many bytes this process could ever have, swap included; None where the system does not say."""
    found = [_of_container(path) for path in CONTAINER_LIMITS] + [_of_machine()]
    return min((size for size in found if size is not None), default=None)


def _of_machine() -> int | None:
    try:
        lines = dict(line.split(":", 1) for line in MEMINFO.read_text().splitlines() if ":" in line)
        return sum(int(lines[name].split()[0]) * 1024 for name in ("MemTotal", "SwapTotal"))
    except (OSError, ValueError, KeyError, IndexError):
        pass  # not Linux
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _of_container(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # no such limit, or "max"
        return None


def check_memory(needed: int, what: str, remedy: str) -> None:
    """Refuse what takes more memory than there is.

    Parameters
    ----------
    needed : int
        Bytes, at least.
    what : str
        What takes them, as the beginning of a sentence, such as "rank=1000".
    remedy : str

    Raises
    ------
    ParameterError
    """
    there = machine_memory()
    if there is not None and needed > there:
        raise ParameterError(
            f"{what} takes at least {_shown(needed)} of memory, and there are {_shown(there)}: {remedy}"
        )


def check_rank(rank: int, n_users: int, n_items: int, *, itemsize: int, is_solved: bool) -> None:
    """Refuse a rank whose factors can never fit into memory.

    Parameters
    ----------
    rank, n_users, n_items : int
    itemsize : int
        Bytes of a factor.
    is_solved : bool
        Whether rows are solved for, which takes a matrix of rank × rank as well.

    Raises
    ------
    ParameterError
    """
    cells = (int(n_users) + int(n_items)) * int(rank) + (int(rank) ** 2 if is_solved else 0)
    what = f"rank={rank} for {n_users:,} users and {n_items:,} items"
    check_memory(cells * itemsize, what, "lower the rank")


def _shown(size: int) -> str:
    return f"{size / 1e9:,.1f} GB"
