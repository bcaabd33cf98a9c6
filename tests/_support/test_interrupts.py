"""Ctrl-C at any time restores threads, BLAS and signal handlers."""

from __future__ import annotations

import contextlib
import inspect
import itertools
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
import threadpoolctl

import halfstep as hs
from blas import blas_threads
from halfstep._support.interrupts import deferred, deliver
from halfstep.errors import FitInterruptedWarning
from halfstep.solver import threads
from halfstep.solver.threads import OneBlasThread, Team, paused, working
from thorough import THOROUGH

pytestmark = pytest.mark.slow

OURS = str(Path(hs.__file__).parent)


@pytest.fixture(autouse=True)
def python_handler() -> Iterator[None]:
    """Install the default handler of programs in a terminal."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def three_blas_threads() -> Iterator[None]:
    MODELS["ALS"]().fit(data())  # loads all that has BLAS in it
    with threadpoolctl.threadpool_limits(3, user_api="blas"):
        yield


def data() -> hs.Interactions:
    rng = np.random.default_rng(0)
    users, items = rng.integers(30, size=300), rng.integers(20, size=300)
    return hs.Interactions.from_arrays(users, items, rng.integers(1, 6, 300).astype(float), duplicates="last")


def helpers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("halfstep-")]


def is_iterator(frame: FrameType) -> bool:
    """Whether a frame is that of a generator, except of a context manager.

    When Python closes an unfinished generator, it calls the trace function, whose exceptions it ignores, but runs no
    signal handlers.
    """
    is_generator = bool(frame.f_code.co_flags & inspect.CO_GENERATOR)
    return is_generator and (frame.f_back is None or frame.f_back.f_code.co_filename != contextlib.__file__)


def interrupted_at(number: int, run: Callable[[], object]) -> bool:
    """Run with a Ctrl-C before the bytecode of this number in halfstep; return False if there are fewer."""
    count = itertools.count()

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.startswith(OURS) or is_iterator(frame):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event in ("call", "opcode") and next(count) == number:
            signal.raise_signal(signal.SIGINT)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run()
    finally:
        sys.settrace(before)
    return next(count) > number


MODELS = {
    "ALS": lambda: hs.ALS(hs.Implicit(missing_weight=0.1), rank=3, iterations=1, threads=3, random_state=0),
    "BayesianALS": lambda: hs.BayesianALS(rank=2, iterations=2, burn_in=1, threads=2, random_state=0),
    "SGD": lambda: hs.SGD(rank=2, iterations=1, random_state=0),
}


STRIDES = {"ALS": 97, "BayesianALS": 331, "SGD": 23} if THOROUGH else {"ALS": 197, "BayesianALS": 661, "SGD": 47}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.usefixtures("three_blas_threads")
def test_interrupt_of_fit_restores_state(name: str) -> None:
    """``python -m benchmarks.stress.interrupts`` interrupts at random times."""
    interactions, stride = data(), STRIDES[name]
    expected = MODELS[name]().fit(interactions).item_factors_
    for number in range(0, 1_000_000, stride):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", FitInterruptedWarning)
                was_there = interrupted_at(number, lambda: MODELS[name]().fit(interactions))
        except (KeyboardInterrupt, FitInterruptedWarning):
            pass
        else:
            assert not was_there, f"the interrupt at bytecode {number} was lost"
            break
        assert blas_threads() == {3}, number
        assert helpers() == [], number
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert number > stride * 10
    np.testing.assert_array_equal(MODELS[name]().fit(interactions).item_factors_, expected)


@pytest.mark.usefixtures("three_blas_threads")
def test_interrupt_of_ranking_restores_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("halfstep.solver.top_n.ROWS_PER_BLOCK", 8)  # several tasks, hence threads
    model = MODELS["ALS"]().fit(data())
    expected = model.recommend(n=3).positions
    for number in range(0, 1_000_000, 29):
        try:
            was_there = interrupted_at(number, lambda: model.recommend(n=3))
        except KeyboardInterrupt:
            pass
        else:
            assert not was_there
            break
        assert (blas_threads(), helpers()) == ({3}, []), number
    assert number > 29 * 10
    np.testing.assert_array_equal(model.recommend(n=3).positions, expected)


@pytest.mark.usefixtures("three_blas_threads")
@pytest.mark.parametrize("name", ["ALS", "BayesianALS", "ranking"])
@pytest.mark.parametrize(("kind", "end"), [(Team, "close"), (OneBlasThread, "leave")])
def test_interrupt_during_cleanup_is_deferred(
    monkeypatch: pytest.MonkeyPatch, name: str, kind: type, end: str
) -> None:
    """Ctrl-C while threads end, or while the threads of BLAS are restored."""
    monkeypatch.setattr("halfstep.solver.top_n.ROWS_PER_BLOCK", 8)
    run = MODELS["ALS"]().fit(data()).recommend if name == "ranking" else lambda: MODELS[name]().fit(data())
    ended, finish = [], getattr(kind, end)

    def interrupt_and_finish(*given: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        finish(*given if kind is Team else ())
        ended.append(True)

    with monkeypatch.context() as patched:
        patched.setattr(kind, end, interrupt_and_finish)
        with pytest.raises(KeyboardInterrupt):
            run()
    assert ended
    assert (blas_threads(), helpers()) == ({3}, [])


def test_callback_is_interrupted_at_once_with_the_original_handler() -> None:
    reached = []

    def callback(model: hs.ALS) -> None:
        try:
            signal.raise_signal(signal.SIGINT)
            reached.append("after")
        finally:
            reached.append("cleaned up")

    model = hs.ALS(rank=2, iterations=5, callbacks=[callback])
    with pytest.warns(FitInterruptedWarning, match="after 1 of 5"):
        model.fit(data())
    assert reached == ["cleaned up"]


def test_fit_continues_after_handler_that_does_not_raise() -> None:
    seen: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
    with pytest.MonkeyPatch.context() as patched:
        run = Team.run
        patched.setattr(Team, "run", lambda self, tasks: (signal.raise_signal(signal.SIGINT), run(self, tasks))[1])
        model = MODELS["ALS"]().fit(data())
    assert seen
    np.testing.assert_array_equal(model.item_factors_, MODELS["ALS"]().fit(data()).item_factors_)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGALRM"])
def test_other_signals_that_raise_are_deferred_too(name: str) -> None:
    """Signals of time limits, or of servers that shut down."""
    number = getattr(signal, name, None)
    if number is None:
        pytest.skip(f"no {name} here")

    def stop(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(number, stop)
    done = []

    def run() -> None:
        with working():
            signal.raise_signal(number)
            done.append("the rest of the block")

    try:
        with pytest.raises(TimeoutError):
            run()
        assert signal.getsignal(number) is stop
    finally:
        signal.signal(number, before)
    assert done == ["the rest of the block"]


def test_interrupts_are_deferred_to_the_end_of_the_outermost_block() -> None:
    done = []

    def run() -> None:
        with deferred():
            with deferred():
                signal.raise_signal(signal.SIGINT)
                done.append("inner")
            done.append("outer")

    with pytest.raises(KeyboardInterrupt):
        run()
    assert done == ["inner", "outer"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_interrupts_are_delivered_once_at_a_safe_point() -> None:
    done = []

    def run() -> None:
        with deferred():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            with pytest.raises(KeyboardInterrupt):
                deliver()
            deliver()
            done.append("rest")

    run()
    assert done == ["rest"]


def test_allowed_block_is_interrupted_at_once() -> None:
    done = []

    def run() -> None:
        with working(), paused():
            signal.raise_signal(signal.SIGINT)
            done.append("never")

    with pytest.raises(KeyboardInterrupt):
        run()
    assert done == []


def test_handler_installed_in_a_block_is_kept() -> None:
    def mine(*_: object) -> None: ...

    with deferred():
        signal.signal(signal.SIGINT, mine)
    assert signal.getsignal(signal.SIGINT) is mine


def test_other_threads_do_not_change_handlers() -> None:
    seen = []

    def run() -> None:
        with working():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]


class TestThreadLimit:
    def allow_helpers(self, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
        """Limit the number of threads that can be started."""
        start = threading.Thread.start

        def start_if_there_is_room(self: threading.Thread) -> None:
            if len(helpers()) >= count:
                raise RuntimeError("can't start new thread")
            start(self)

        monkeypatch.setattr(threads.threading.Thread, "start", start_if_there_is_room)

    @pytest.mark.parametrize("count", [0, 1, 2])
    def test_fit_uses_available_threads(self, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
        expected = hs.ALS(rank=3, iterations=2, threads=1, random_state=0).fit(data())
        self.allow_helpers(monkeypatch, count)
        for _ in range(3):  # and so does every later one
            with pytest.warns(RuntimeWarning, match=f"only {count} of 3 additional threads could be started"):
                model = hs.ALS(rank=3, iterations=2, threads=4, random_state=0).fit(data())
            np.testing.assert_array_equal(model.item_factors_, expected.item_factors_)
            assert helpers() == []

    @pytest.mark.usefixtures("three_blas_threads")
    def test_ranking_and_sampler_use_available_threads(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.allow_helpers(monkeypatch, 1)
        with pytest.warns(RuntimeWarning, match="only 1 of 3"):
            model = hs.BayesianALS(rank=2, iterations=3, burn_in=1, threads=4, random_state=0).fit(data())
        expected = model.recommend(n=3).positions
        monkeypatch.setattr("halfstep.solver.top_n.ROWS_PER_BLOCK", 4)
        monkeypatch.setattr(threads, "available_cores", lambda: 4)
        with pytest.warns(RuntimeWarning, match="only 1 of 3"):
            np.testing.assert_array_equal(model.recommend(n=3).positions, expected)
        assert (blas_threads(), helpers()) == ({3}, [])
