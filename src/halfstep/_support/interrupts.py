"""Deferral of Ctrl-C and other signals to safe points, while threads and BLAS are set up, used and torn down.

Python runs signal handlers between any two bytecodes of the main thread, so that a ``KeyboardInterrupt`` can
interrupt functions that set up or tear down resources. Inside ``deferred()``, signals are recorded, and their
handlers run at the next `deliver`, inside ``allowed()``, or at the end of the block. Python never interrupts other
threads, where these blocks have no effect.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

Handler = Callable[[int, FrameType | None], Any]

# Deferred if the handler is a Python function, which may raise; not every platform has all of these signals.
_NAMES = ("SIGINT", "SIGTERM", "SIGALRM", "SIGUSR1")
# The functions that those of signal wrap, ten times as fast without the conversion to enums.
_functions: Any = sys.modules.get("_signal", signal)
_get_handler: Callable[[int], Any] = _functions.getsignal
_set_handler: Callable[[int, Handler], Any] = _functions.signal
_NUMBERS: tuple[int, ...] = tuple(int(getattr(signal, name)) for name in _NAMES if hasattr(signal, name))


class _State:
    """The state of the main thread; a singleton.

    Attributes
    ----------
    depth : int
        The number of nested blocks of `deferred`.
    is_open : bool
        Whether signals are handled at once, as in a block of `allowed`.
    handlers : dict from int to function
        The original handlers.
    pending : list of int
        The signals that were deferred.
    owner : int
        The identity of the main thread; after a fork by another thread, that of a thread that no longer exists.
    """

    def __init__(self) -> None:
        self.depth = 0
        self.is_open = True
        self.handlers: dict[int, Handler] = {}
        self.pending: list[int] = []
        self.owner = 0

    def install(self) -> None:
        """Replace the handlers, so that signals are recorded from here on."""
        handlers = {number: _get_handler(number) for number in _NUMBERS}
        replaced = {n: each for n, each in handlers.items() if callable(each) and each is not _record_or_handle}
        self.handlers |= replaced
        self.pending.clear()
        self.owner = threading.get_ident()
        self.is_open = False
        try:
            for number in replaced:
                _set_handler(number, _record_or_handle)
            self.depth = 1
        except BaseException:  # a signal arrived before its handler was replaced
            self.is_open = True
            raise

    def uninstall(self) -> None:
        """Restore the handlers, which may raise from here on."""
        self.depth = 0
        try:
            self._restore()
        except BaseException:
            self._restore()
            raise
        finally:
            self.is_open = True

    def _restore(self) -> None:
        for number, handler in self.handlers.items():
            if _get_handler(number) is _record_or_handle:  # not if another one was installed in the meantime
                _set_handler(number, handler)


_state = _State()


def _record_or_handle(number: int, frame: FrameType | None) -> None:
    if not _state.is_open:
        if number not in _state.pending:
            _state.pending.append(number)
        return
    _state.is_open = False  # so that cleanup is not interrupted if the handler raises
    _state.handlers[number](number, frame)
    _state.is_open = True


def _is_main() -> bool:
    return threading.get_ident() == threading.main_thread().ident


class deferred:  # noqa: N801 - used as a statement
    """A block in which the main thread is interrupted only at a `deliver`, or inside `allowed`; blocks nest."""

    __slots__ = ("_is_active", "_was_open")

    def __enter__(self) -> None:
        self._is_active = _is_main()
        if not self._is_active:
            return
        if _state.depth == 0:
            self._was_open = False
            _state.install()
        else:
            self._was_open = _state.is_open
            _state.is_open = False
            _state.depth += 1

    def __exit__(self, *_: object) -> None:
        if not self._is_active or _state.depth == 0:  # 0 in the child of a fork
            return
        if _state.depth == 1:
            try:
                _state.uninstall()
            finally:
                _run_handlers()
            return
        _state.depth -= 1
        if self._was_open:
            _state.is_open = True
            _run_handlers()


class allowed:  # noqa: N801 - used as a statement
    """A block inside `deferred` in which signals are handled at once: for user code, and for output."""

    __slots__ = ("_is_active",)

    def __enter__(self) -> None:
        self._is_active = _state.depth > 0 and _is_main()
        if self._is_active:
            deliver()
            _state.is_open = True

    def __exit__(self, *_: object) -> None:
        if self._is_active:
            _state.is_open = False


def deliver() -> None:
    """Run the handlers of deferred signals, which usually raise ``KeyboardInterrupt``."""
    if _state.pending and _is_main():
        _run_handlers()


def _run_handlers() -> None:
    while _state.pending:
        number = _state.pending.pop(0)
        _state.handlers[number](number, sys._getframe())


def _reset_in_child() -> None:
    """Restore the handlers in the child of a fork by a thread other than the main thread."""
    if _state.depth > 0 and _state.owner != threading.get_ident():
        _state.pending.clear()
        _state.uninstall()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_in_child)
