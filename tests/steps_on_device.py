"""Conjugate gradients on an emulated device, for tests."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np

from emulated_device import EmulatedDevice
from halfstep.objective.problem import HalfProblem
from halfstep.solver.cuda.cg import Division, take_steps
from halfstep.solver.cuda.fixed_side import FixedSide, RowsInBasis
from halfstep.solver.cuda.layout import Layout
from halfstep.solver.gram import gramian
from halfstep.solver.schedule import HalfStepPlan
from settings import Table

STEPS = 3


def table(rows: int = 9, columns: int = 60) -> Table:
    rng = np.random.default_rng(0)
    observed = rng.random((rows, columns)) < 0.6
    observed[2], observed[4, 5:] = False, False  # a row without observations, and one with few
    return Table(observed, rng.integers(1, 6, observed.shape).astype(float))


def on_device(device: EmulatedDevice, problem: HalfProblem) -> HalfProblem:
    arrays = {field.name: getattr(problem, field.name) for field in fields(problem)}
    return replace(
        problem, **{name: device.asarray(array) for name, array in arrays.items() if isinstance(array, np.ndarray)}
    )


def padded(F: np.ndarray, problem: HalfProblem) -> np.ndarray:
    out = np.zeros((len(F), Layout.of(problem).width), problem.weights.dtype)
    out[:, : F.shape[1]] = F
    return out


def steps_on_device(
    device: EmulatedDevice, problem: HalfProblem, Y: np.ndarray, X: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the solution, the rows that were solved, and those for float64."""
    plan = HalfStepPlan.of(problem)
    fixed, solved = device.asarray(padded(Y, problem)), device.asarray(padded(X, problem))
    G = gramian(problem.column_missing, problem.rank, padded(Y, problem), lambda tasks: [task() for task in tasks])
    side = FixedSide(device, plan, G, fixed)
    division = Division.of(device, plan, side, STEPS)
    in_basis = RowsInBasis(device, side, solved, is_start=True)
    given = on_device(device, problem), side, 0, in_basis.factors, division.by_steps
    in_float64 = np.union1d(division.in_float64, take_steps(device, *given, STEPS))
    in_basis.add(division.by_steps)
    in_basis.transform_back()
    found = device.asnumpy(solved)
    assert not found[:, problem.unknowns :].any(), "the padding must stay 0"
    return found[:, : problem.unknowns], np.setdiff1d(division.by_steps, in_float64), in_float64


def factors(problem: HalfProblem, columns: int, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    rows = len(problem.indptr) - 1
    Y, X = (0.5 * rng.normal(size=(n, problem.unknowns)).astype(dtype) for n in (columns, rows))
    return Y, X
