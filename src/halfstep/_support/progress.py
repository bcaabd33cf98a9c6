"""Progress bars, and warnings of interrupted fits."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from functools import cache
from typing import Any

from tqdm import TqdmWarning, tqdm
from tqdm.std import TqdmDefaultWriteLock  # type: ignore[attr-defined]

from halfstep._support.checks import check_flag
from halfstep.errors import FitInterruptedWarning, warn_caller

DELAY = 2.0  # seconds before a bar is shown by default


def warn_of_interruption(message: str) -> None:
    """Warn that a fit was interrupted, with the line of the caller outside halfstep."""
    warn_caller(message, FitInterruptedWarning)


def progress_bar(show: bool | None, steps: int, name: str) -> tqdm[Any]:
    """Return a progress bar; by default (None) it is shown in terminals and notebooks, after `DELAY` seconds."""
    check_flag("progress", show, optional=True)
    is_hidden = not (is_watched() if show is None else show)
    bar = _bar_class(in_notebook=not is_hidden and _is_notebook())
    delay = DELAY if show is None else 0.0
    return bar(total=steps, desc=name, leave=False, delay=delay, miniters=1, disable=is_hidden)


def is_watched() -> bool:
    """Whether standard error is a terminal or a notebook, rather than a pipe or a log."""
    return sys.stderr is not None and (sys.stderr.isatty() or _is_notebook())


def _is_notebook() -> bool:
    ipython = sys.modules.get("IPython")  # a notebook has imported it
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and "IPKernelApp" in shell.config


@cache
def _bar_class(*, in_notebook: bool) -> type[tqdm[Any]]:
    base = tqdm
    if in_notebook:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TqdmWarning)  # without ipywidgets the bar is plain text
            from tqdm.auto import tqdm as base

    class Bar(base):  # type: ignore[valid-type, misc]
        monitor_interval = 0  # no thread that outlives the bar

    return Bar


def _free_lock_in_child() -> None:
    """Replace tqdm's lock in the child of a fork, where the thread that held it does not exist."""
    lock = TqdmDefaultWriteLock.th_lock
    if lock.acquire(blocking=False):
        lock.release()
        return
    TqdmDefaultWriteLock.th_lock = threading.RLock()
    tqdm.set_lock(TqdmDefaultWriteLock.th_lock)
    _bar_class.cache_clear()  # their classes refer to the old lock


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_free_lock_in_child)
