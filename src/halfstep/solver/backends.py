"""Backends by name, as models take them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

from halfstep.errors import ParameterError
from halfstep.objective.problem import HalfProblem, Prior
from halfstep.solver.cpu import CPU
from halfstep.solver.cpu_session import CPUBackend
from halfstep.solver.cuda import top_n as cuda_top_n
from halfstep.solver.cuda.cupy_device import default_device
from halfstep.solver.cuda.new_rows import solve_new_rows
from halfstep.solver.cuda.session import CudaBackend
from halfstep.solver.layout import Factors
from halfstep.solver.session import Backend
from halfstep.solver.top_n import Ranked, best_columns
from halfstep.solvers import Cholesky, Solver, Subspace

BackendName = Literal["cpu", "cuda"]
RankColumns = Callable[..., Ranked]
"""`best_columns` without its parameter `threads`."""

RANKED_ON_GPU = 1024  # number of rows from which a GPU ranks columns faster, including copies


def check_backend(name: BackendName, solver: Solver, *, has_features: bool, nonnegative: bool) -> None:
    """Check that a backend supports a solver, with side information or nonnegative factors if there are any."""
    if name != "cpu" and has_features:
        raise ParameterError(f"backend={name!r} does not support side information: set backend='cpu'")
    if name != "cpu" and isinstance(solver, Subspace):
        raise ParameterError(
            f"backend={name!r} does not support solver='subspace': set solver='cg', or backend='cpu'"
        )
    what = "an objective with nonnegative=True"
    if nonnegative and not isinstance(solver, Cholesky):
        raise ParameterError(f"solver={solver.name!r} does not support {what}: set solver='auto' or 'cholesky'")
    if nonnegative and name != "cpu":
        raise ParameterError(f"backend={name!r} does not support {what}: set backend='cpu'")
    if nonnegative and has_features:
        raise ParameterError(f"side information does not support {what}: omit the side information")


def need_device(name: BackendName) -> None:
    """Raise an error now, before data are read, if the device of a backend cannot be used.

    Raises
    ------
    ModuleNotFoundError, DeviceError
        As `default_device`.
    """
    if name == "cuda":
        default_device()


def backend_of(name: BackendName, threads: int | None) -> Backend:
    """Return a backend.

    Raises
    ------
    ModuleNotFoundError, DeviceError
        As `default_device`.
    """
    return CudaBackend(default_device()) if name == "cuda" else CPUBackend(threads)


def half_step_on(
    name: BackendName, problem: HalfProblem, Y: Factors, X: Factors, *, threads: int | None, prior: Prior | None
) -> None:
    """Solve every row of X exactly while Y is held fixed; always on the CPU if there is a prior or X is nonnegative.

    Raises
    ------
    NumericalError
        If a system is not positive definite, with the position of the first such row.
    ModuleNotFoundError, DeviceError
        As `default_device`.
    """
    if name == "cuda" and prior is None and not problem.nonnegative:
        solve_new_rows(default_device(), problem, Y, X)
        return
    with CPU(threads) as cpu:
        cpu.half_step(cpu.plan(problem), Y, X, prior=prior)


def ranking_of(name: BackendName, rows: int, threads: int | None) -> RankColumns:
    """Return the function that ranks columns for this number of rows.

    Raises
    ------
    ModuleNotFoundError, DeviceError
        As `default_device`.
    """
    if name == "cuda" and rows >= RANKED_ON_GPU:
        return partial(cuda_top_n.best_columns, default_device())
    return partial(best_columns, threads=threads)
