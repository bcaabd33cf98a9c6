"""Conjugate gradients on an emulated device against those of the CPU."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from emulated_device import ORDERS, EmulatedDevice
from halfstep.solver import schedule
from halfstep.solver.cpu_session import CPUBackend
from halfstep.solver.cuda.half_step import DeviceHalfStep
from halfstep.solver.cuda.session import CudaBackend
from halfstep.solver.schedule import HalfStepPlan
from halfstep.solver.session import Side
from halfstep.solvers import ConjugateGradient
from session_contract import start_of
from settings import SETTINGS, Setting, Table, half_step_and_loss
from steps_on_device import STEPS, factors, padded, steps_on_device, table

pytestmark = pytest.mark.slow
APPROXIMATED = [setting for setting in SETTINGS if setting.name not in {"plain", "without-a-base"}]


@pytest.mark.parametrize("setting", APPROXIMATED, ids=str)
@pytest.mark.parametrize(("rank", "dtype", "tolerance"), [(5, "float64", 1e-9), (20, "float32", 1e-5)])
def test_steps_are_those_of_the_cpu(setting: Setting, rank: int, dtype: str, tolerance: float) -> None:
    given = table()
    problem, _ = setting.half_problems(given, rank=rank, reg=2.0, rho=2.0, dtype=dtype)
    Y, X = factors(problem, given.observed.shape[1], dtype)
    expected, _ = half_step_and_loss(problem, Y, start=X, dtype=dtype, solver=ConjugateGradient(steps=STEPS))
    found, rows, _ = steps_on_device(EmulatedDevice(), problem, Y, X)
    assert rows.tolist() == [0, 1, 3, 5, 6, 7, 8]
    scale = np.abs(expected[rows]).max()
    np.testing.assert_allclose(found[rows], expected[rows], rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize("rank", [64, 130, 260, 1024])
def test_steps_are_those_of_the_cpu_for_groups_of_all_sizes(rank: int) -> None:
    given = table(6, 90)
    problem, _ = named("signed-biased-missing").half_problems(given, rank=rank, reg=2.0, rho=2.0, dtype="float64")
    Y, X = factors(problem, 90, "float64")
    expected, _ = half_step_and_loss(problem, Y, start=X, solver=ConjugateGradient(steps=STEPS))
    found, rows, _ = steps_on_device(EmulatedDevice(), problem, Y, X)
    assert rows.tolist() == [0, 1, 3, 5]
    np.testing.assert_allclose(found[rows], expected[rows], rtol=1e-9, atol=1e-9 * np.abs(expected[rows]).max())


def test_bits_do_not_depend_on_the_order_of_threads() -> None:
    given = table()
    problem, _ = named("signed-biased-missing").half_problems(given, rank=20, reg=2.0, rho=2.0, dtype="float32")
    Y, X = factors(problem, given.observed.shape[1], "float32")
    first, *others = (steps_on_device(EmulatedDevice(order), problem, Y, X)[0] for order in ORDERS)
    for other in others:
        np.testing.assert_array_equal(first, other)


@pytest.mark.parametrize("name", ["hu", "ials", "biased-weighted", "signed-biased-missing"])
def test_few_cells_are_solved_in_the_dual(name: str) -> None:
    """Rows with few observed cells, beside others."""
    rng = np.random.default_rng(3)
    observed = rng.random((60, 90)) < 0.5
    observed[:40, 8:] = False
    given = Table(observed, rng.integers(1, 6, observed.shape).astype(float))
    problems = named(name).half_problems(given, rank=20, reg=2.0, rho=2.0, dtype="float64")
    found, device = [], EmulatedDevice()
    for backend in CPUBackend(1), CudaBackend(device):
        with backend.open(*problems, start_of(problems)) as session:
            for _ in range(2):  # the second time, the lists of rows are those of the first
                session.half_step(Side.USERS, ConjugateGradient(steps=STEPS))
            session.accept()
            found.append(session.factors()[0][:, : problems[0].unknowns])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-8, atol=1e-9)
    assert device.launches == ["conjugate_gradients", "solve_dual"] * 2


@pytest.mark.parametrize("name", ["biased", "ials"])
def test_results_do_not_depend_on_the_memory_of_the_device(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows that are long, and thus solved exactly, are those of the whole problem."""
    monkeypatch.setattr(schedule, "LEAST_SEGMENT", 38)
    given, device, found = table(30), EmulatedDevice(), []
    problem, _ = named(name).half_problems(given, rank=20, reg=2.0, rho=2.0, dtype="float64")
    assert 0 < len(HalfStepPlan.of(problem).long_rows) < len(given.observed)
    Y, X = factors(problem, given.observed.shape[1], "float64")
    for cells in None, 200:
        side, solved = DeviceHalfStep(device, problem, cells), device.asarray(padded(X, problem))
        side.solve(device.asarray(padded(Y, problem)), solved, ConjugateGradient(steps=STEPS))
        found.append(device.asnumpy(solved))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-10, atol=1e-12)
    assert device.launches.count("conjugate_gradients") > 3


def test_rows_with_negative_weights_are_left_for_float64() -> None:
    """They weigh less than missing cells."""
    given = table()
    problem, _ = named("without-a-base").half_problems(given, rank=5, reg=2.0, rho=2.0, dtype="float32")
    weights = problem.weights.copy()
    weights[problem.indptr[5] : problem.indptr[8]] = 3.0
    problem = replace(problem, weights=np.where(weights > 0.5, np.maximum(weights, 1.5), weights))
    expected = [
        row
        for row in range(len(given.observed))
        if len(cells := problem.weights[problem.indptr[row] : problem.indptr[row + 1]]) > 12 and cells.min() < 1.0
    ]
    assert 0 < len(expected) < 6
    Y, X = factors(problem, given.observed.shape[1], "float32")
    assert steps_on_device(EmulatedDevice(), problem, Y, X)[2].tolist() == expected


def test_systems_that_are_not_definite_are_left_for_float64() -> None:
    given = table()
    problem, _ = named("als-wr").half_problems(given, rank=5, reg=2.0, rho=2.0, dtype="float64")
    regularization = problem.regularization.copy()
    regularization[3] = -1e9
    problem = replace(problem, regularization=regularization)
    Y, X = factors(problem, given.observed.shape[1], "float64")
    _, rows, in_float64 = steps_on_device(EmulatedDevice(), problem, Y, X)
    assert (rows.tolist(), in_float64.tolist()) == ([0, 1, 5, 6, 7, 8], [3])


def named(name: str) -> Setting:
    return next(each for each in SETTINGS if each.name == name)
