"""A child inherits no locked lock if a process forks while another thread computes."""

from __future__ import annotations

import inspect
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import threadpoolctl

import halfstep as hs
from blas import blas_threads
from halfstep._support import forks, progress
from halfstep._support.forks import busy, give_way, idle
from halfstep.data import Interactions
from halfstep.solver.threads import OneBlasThread, Team, working

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")]

PATIENCE = 60  # seconds after which a child hangs


def data() -> hs.Interactions:
    rng = np.random.default_rng(0)
    users, items = rng.integers(30, size=300), rng.integers(20, size=300)
    return hs.Interactions.from_arrays(users, items, rng.integers(1, 6, 300).astype(float), duplicates="last")


def fit() -> hs.ALS:
    return hs.ALS(hs.Implicit(missing_weight=0.1), rank=3, iterations=2, threads=2, random_state=0).fit(data())


def forked() -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks of threaded processes
        return os.fork()


def status_of_child(work: Callable[[], object]) -> int:
    """Fork, work in the child, and return its exit status: 0, 1 after an error, or −14 after a timeout."""
    pid = forked()
    if pid == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(PATIENCE)
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@contextmanager
def another_thread(run: Callable[[threading.Event, threading.Event], None]) -> Iterator[None]:
    """Run a function in another thread, which sets the first event and waits for the second."""
    there, done = threading.Event(), threading.Event()
    thread = threading.Thread(target=run, args=(there, done), daemon=True)
    thread.start()
    try:
        assert there.wait(PATIENCE)
        yield
    finally:
        done.set()
        thread.join(PATIENCE)


def test_a_child_fits_and_recommends_while_another_thread_fits() -> None:
    def keep_fitting(there: threading.Event, done: threading.Event) -> None:
        while not done.is_set():
            fit().recommend(n=3)
            there.set()

    expected = fit().recommend(n=3).positions

    def work() -> None:
        np.testing.assert_array_equal(fit().recommend(n=3).positions, expected)
        hs.BayesianALS(rank=2, iterations=2, burn_in=1, threads=2).fit(data()).predict([1], [2])
        hs.SGD(rank=2, iterations=1, progress=True).fit(data())

    work()  # compiles
    with another_thread(keep_fitting):
        assert [status_of_child(work) for _ in range(5)] == [0] * 5


def test_fork_waits_for_running_tasks_and_blocks_new_ones() -> None:
    order = []

    def first(there: threading.Event) -> None:
        there.set()
        while not forks._gate.forks:
            time.sleep(0.001)
        order.append("task")

    def run(there: threading.Event, done: threading.Event) -> None:
        with working(), Team(0) as team:
            team.run([lambda: first(there), lambda: done.wait(PATIENCE), lambda: order.append("next")])

    with another_thread(run):
        assert status_of_child(lambda: None) == 0
        assert order == ["task"]
    assert order == ["task", "next"]


def test_a_fork_does_not_wait_for_callbacks() -> None:
    def run(there: threading.Event, done: threading.Event) -> None:
        def callback(_: object) -> None:
            there.set()
            assert done.wait(PATIENCE)

        hs.ALS(rank=2, iterations=1, callbacks=[callback]).fit(data())

    with another_thread(run):
        assert status_of_child(fit) == 0


def test_child_of_callback_continues_the_fit() -> None:
    expected = fit().item_factors_

    def work() -> None:
        children = []

        def callback(_: object) -> None:
            if not children:
                children.append(forked())

        model = hs.ALS(
            hs.Implicit(missing_weight=0.1), rank=3, iterations=2, threads=3, random_state=0, callbacks=[callback]
        ).fit(data())
        np.testing.assert_array_equal(model.item_factors_, expected)
        if children[0] == 0:
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 0

    assert status_of_child(work) == 0


def test_a_child_has_as_many_blas_threads_as_its_parent_outside_of_fits() -> None:
    fit()

    def hold(there: threading.Event, done: threading.Event) -> None:
        with OneBlasThread():
            there.set()
            done.wait(PATIENCE)

    def work() -> None:
        assert blas_threads() == {3}
        fit()
        assert blas_threads() == {3}

    with threadpoolctl.threadpool_limits(3, user_api="blas"):
        with another_thread(hold):
            assert blas_threads() == {1}
            assert status_of_child(work) == 0
        assert blas_threads() == {3}


def test_a_child_of_another_thread_can_be_interrupted() -> None:
    """The main thread of the parent defers Ctrl-C; the child has another main thread."""
    statuses = []

    def interrupt() -> None:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt), working():
            signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with working(), idle():
            thread = threading.Thread(target=lambda: statuses.append(status_of_child(interrupt)))
            thread.start()
            thread.join()
    finally:
        signal.signal(signal.SIGINT, before)
    assert statuses == [0]


def test_locks_of_progress_bars_are_free_in_a_child() -> None:
    with progress.progress_bar(True, 3, "bar"):
        pass

    def hold(there: threading.Event, done: threading.Event) -> None:
        with progress.TqdmDefaultWriteLock.th_lock:
            there.set()
            done.wait(PATIENCE)

    def work() -> None:
        with progress.progress_bar(True, 3, "bar") as bar:
            bar.update()

    with another_thread(hold):
        assert status_of_child(work) == 0


def test_cached_properties_hold_no_lock_in_a_child() -> None:
    def compute(there: threading.Event, done: threading.Event) -> None:
        slow = inspect.getattr_static(Interactions, "by_user")
        function = slow.function if hasattr(slow, "function") else slow.func

        def slowly(self: Interactions) -> object:
            there.set()
            done.wait(PATIENCE)
            return function(self)

        name = "function" if hasattr(slow, "function") else "func"
        setattr(slow, name, slowly)
        try:
            _ = data().by_user
        finally:
            setattr(slow, name, function)

    def work() -> None:
        signal.alarm(5)
        other = inspect.getattr_static(Interactions, "by_user")
        name = "function" if hasattr(other, "function") else "func"
        setattr(other, name, lambda self: "computed")
        assert data().by_user == "computed"

    with another_thread(compute):
        assert status_of_child(work) == 0


def test_blocks_nest_and_a_thread_in_one_may_fork_itself() -> None:
    with busy(), busy():
        assert status_of_child(fit) == 0
        with idle():
            assert status_of_child(fit) == 0
        give_way()
    assert status_of_child(fit) == 0
