"""Checks that requests fit into the memory of the machine."""

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
    """Return the memory limit of this process, in bytes, including swap; None if unknown."""
    limits = [_of_container(path) for path in CONTAINER_LIMITS] + [_of_machine()]
    return min((limit for limit in limits if limit is not None), default=None)


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
    except (OSError, ValueError):  # no limit
        return None


def check_memory(needed: int, what: str, remedy: str) -> None:
    """Check that there are `needed` bytes of memory; `what`, such as "rank=1000", and `remedy` are for the error."""
    available = machine_memory()
    if available is not None and needed > available:
        raise ParameterError(
            f"{what} requires at least {_shown(needed)} of memory, but only {_shown(available)} are available: "
            f"{remedy}"
        )


def check_rank(rank: int, n_users: int, n_items: int, *, itemsize: int, is_solved: bool) -> None:
    """Check that factors fit into memory, and a matrix of rank × rank if rows are solved; `itemsize` in bytes."""
    cells = (int(n_users) + int(n_items)) * int(rank) + (int(rank) ** 2 if is_solved else 0)
    what = f"rank={rank} for {n_users:,} users and {n_items:,} items"
    check_memory(cells * itemsize, what, "lower the rank")


def _shown(size: int) -> str:
    return f"{size / 1e9:,.1f} GB"
