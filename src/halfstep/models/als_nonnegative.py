"""Checks of settings that fits with nonnegative factors do not support."""

from __future__ import annotations

from halfstep.errors import ParameterError
from halfstep.objective.objective import Objective
from halfstep.solver.backends import BackendName
from halfstep.solvers import Cholesky, Solver


def check_nonnegative(objective: Objective, solver: Solver, backend: BackendName, *, has_features: bool) -> None:
    """Check that a fit is supported if the objective is nonnegative."""
    if not objective.nonnegative:
        return
    what = "an objective with nonnegative=True"
    if not isinstance(solver, Cholesky):
        raise ParameterError(f"solver={solver.name!r} does not support {what}: set solver='auto' or 'cholesky'")
    if backend != "cpu":
        raise ParameterError(f"backend={backend!r} does not support {what}: set backend='cpu'")
    if has_features:
        raise ParameterError(f"side information does not support {what}: omit the side information")
