from __future__ import annotations

import sys
import threading
from contextlib import closing
from itertools import pairwise
from types import ModuleType

import numpy as np
import pytest
import threadpoolctl
from hypothesis import example, given
from hypothesis import strategies as st

import halfstep as hs
from halfstep.errors import ParameterError
from halfstep.objective.problem import half_problems
from halfstep.objective.regularization import RowRegularization
from halfstep.solver.cpu import CPU
from halfstep.solver.layout import empty_factors
from halfstep.solver.schedule import CHUNKS, LEAST_WORK, cut
from halfstep.solver.threads import OneBlasThread, Team, available_cores, working


@given(st.lists(st.floats(0, 10 * LEAST_WORK), min_size=1, max_size=300))
@example(
    [640.0, 0.0, 19999364.0, 2e7, 19999999.971907258, 19999999.44181787, 1.2, 9032745.6, 19999999.575952604, 2e7]
)
def test_cut_covers_all_rows_in_ranges_of_about_equal_work(work: list[float]) -> None:
    amounts = np.array(work)
    ranges = cut(amounts)
    assert ranges[0][0] == 0
    assert ranges[-1][1] == len(amounts)
    assert all(before[1] == after[0] for before, after in pairwise(ranges))
    assert all(first < last for first, last in ranges)
    piece = max(LEAST_WORK, amounts.sum() / CHUNKS)
    for first, last in ranges:  # a range exceeds it only by its last row
        assert amounts[first : last - 1].sum() <= piece * (1 + 1e-9)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_team_runs_every_task_once(threads: int) -> None:
    done: list[int] = []
    with closing(Team(threads - 1)) as team:
        team.run([lambda n=n: done.append(n) for n in range(100)])
    assert sorted(done) == list(range(100))


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_error_in_a_task_is_raised_and_drops_other_tasks(threads: int) -> None:
    done: list[int] = []

    def fail() -> None:
        raise ZeroDivisionError("from a task")

    with closing(Team(threads - 1)) as team, pytest.raises(ZeroDivisionError, match="from a task"):
        team.run([fail] * threads + [lambda: done.append(1)] * 1000)
    assert not done


def test_error_in_a_helper_is_raised_in_the_caller() -> None:
    here = threading.current_thread()
    both_began = threading.Barrier(2)

    def fail_elsewhere() -> None:
        both_began.wait(10)
        if threading.current_thread() is not here:
            raise ZeroDivisionError("from another thread")

    with closing(Team(1)) as team, pytest.raises(ZeroDivisionError, match="from another thread"):
        team.run([fail_elsewhere] * 2)


def test_half_step_does_not_depend_on_the_previous_one() -> None:
    """Buffers are reused, so they must not contain values of the previous half-step."""
    data = hs.Interactions.from_arrays([0, 0, 1, 2], [0, 1, 1, 2], [1.0, 2.0, 3.0, 4.0])
    reg = RowRegularization(1.0, 1.0)
    plain, biased = (
        half_problems(data, hs.Explicit(biases=biases).cost(data), rank=3, regularization=reg, dtype="float64")[0]
        for biases in (False, True)
    )
    Y = empty_factors(3, 4, "float64")
    Y[:, :4] = np.random.default_rng(0).normal(size=(3, 4))
    alone, after = (empty_factors(3, 4, "float64") for _ in range(2))
    with CPU(1) as backend:
        backend.half_step(backend.plan(plain), Y, alone)
    with CPU(1) as backend:
        backend.half_step(backend.plan(biased), Y, after)
        backend.half_step(backend.plan(plain), Y, after)
    np.testing.assert_array_equal(alone[:, :3], after[:, :3])


def test_default_threads_are_the_available_cores() -> None:
    assert CPU().threads == available_cores() >= 1
    with pytest.raises(ParameterError, match="threads=0"):
        CPU(0)


def test_blas_libraries_are_searched_again_after_imports_only(monkeypatch: pytest.MonkeyPatch) -> None:
    searches = []

    class Controller(threadpoolctl.ThreadpoolController):
        def __init__(self) -> None:
            searches.append(self)
            super().__init__()

    monkeypatch.setattr(threadpoolctl, "ThreadpoolController", Controller)
    monkeypatch.setattr(OneBlasThread, "_found", None)
    for _ in range(2):
        with working(), OneBlasThread():
            pass
    assert len(searches) == 1
    monkeypatch.setitem(sys.modules, "new", ModuleType("new"))
    with working(), OneBlasThread():
        pass
    assert len(searches) == 2
