"""Exact solutions of rows that do not belong to a session."""

from __future__ import annotations

import numpy as np

from halfstep.objective.problem import HalfProblem
from halfstep.solver.cuda.device import Device
from halfstep.solver.cuda.half_step import DeviceHalfStep
from halfstep.solver.layout import Factors
from halfstep.solvers import Cholesky


def solve_new_rows(device: Device, problem: HalfProblem, Y: Factors, X: Factors) -> None:
    """Solve every row of X while Y is held fixed, as `halfstep.solver.cpu.CPU.half_step` does.

    Raises
    ------
    NumericalError
        If a system is not positive definite, with the position of the first such row.
    """
    dtype, side = problem.weights.dtype, DeviceHalfStep(device, problem)
    fixed = side.layout.upload(device, Y, dtype)
    solved = device.xp.zeros((len(X), side.layout.width), dtype)
    side.solve(fixed, solved, Cholesky())
    X[:, : problem.unknowns] = np.asarray(device.asnumpy(solved))[:, : problem.unknowns]
