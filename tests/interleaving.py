"""Run something in one thread while another stands at a given line, and interrupt a thread at a given line."""

from __future__ import annotations

import linecache
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import halfstep

SOURCE = Path(halfstep.__file__).parent
TRACED = {  # what reads and changes a model's state
    str(SOURCE / name)
    for name in (
        "models/factor_model.py",
        "models/fitted_attribute.py",
        "models/half_step_model.py",
        "models/incremental_model.py",
        "models/gramians.py",
        "models/top_items.py",
        "models/updates.py",
        "models/live_array.py",
        "models/factorization.py",
        "data/growable.py",
        "data/growable_array.py",
        "data/vocabulary.py",
    )
}
assert all(Path(name).is_file() for name in TRACED)
BLOCKED = 0.01  # seconds after which a thread counts as waiting for a lock that the other one holds


def at_line(number: int, action: Callable[[], object], run: Callable[[], Any]) -> tuple[Any, bool]:
    """Run something, and `action` when it comes to its line of that number; say whether it came there.

    Lines that begin with ``with`` do not count: Python handles Ctrl-C before such a line, and after its block, but a
    trace function could raise in between, with the lock taken.
    """
    seen = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal seen
        if frame.f_code.co_filename not in TRACED:
            return None
        if event == "line":
            line = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
            if not line.lstrip().startswith("with "):
                seen += 1
                if seen == number + 1:
                    action()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        result = run()
    finally:
        sys.settrace(before)
    return result, seen > number


def interrupt() -> None:
    """Raise what Ctrl-C raises."""
    raise KeyboardInterrupt


class Meanwhile:
    """Something that another thread does while this one waits; or later, if it needs a lock that this one has."""

    def __init__(self, run: Callable[[], Any]) -> None:
        self._run, self._thread = run, threading.Thread(target=self._catch, daemon=True)
        self._result: Any = None
        self._error: BaseException | None = None

    def _catch(self) -> None:
        try:
            self._result = self._run()
        except BaseException as error:
            self._error = error

    def __call__(self) -> None:
        self._thread.start()
        self._thread.join(BLOCKED)

    @property
    def result(self) -> Any:
        """The outcome of a command."""
        self._thread.join(60)
        assert not self._thread.is_alive(), "the threads wait for each other"
        if self._error is not None:
            raise self._error
        return self._result


def every_line(step: int = 1, first: int = 0) -> Iterator[int]:
    """Count lines, `step` at a time, until the caller has seen all.

    Tests of similar functions begin at different lines, so that together they come to more lines.
    """
    number = first % step
    while True:
        yield number
        number += step
