"""The fixed side of a half-step on a device, and its change of variables."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from halfstep._support.lazy import cached_property
from halfstep.objective.problem import HalfProblem
from halfstep.solver.basis import Basis
from halfstep.solver.cuda.device import Device
from halfstep.solver.exact_rows import least_curvature
from halfstep.solver.schedule import HalfStepPlan


class DeviceBasis(NamedTuple):
    """A `Basis`, in which G is diagonal, on a device.

    Attributes
    ----------
    Y : array of the device
        The fixed factors in this basis.
    back : array of the device, of shape (width, width)
        Solutions times `back` are in the original basis.
    g : array of the device
        The diagonal of G; empty if it is included in `reg`.
    reg : array of the device
        λ_u in this basis.
    bias_ratio : float
    """

    Y: Any
    back: Any
    g: Any
    reg: Any
    bias_ratio: float

    @classmethod
    def of(cls, device: Device, plan: HalfStepPlan, G: NDArray[np.float64], Y: Any) -> Self | None:
        """Return the basis for a plan in the precision of Y; None if the curvature of some rows would be noise."""
        k, dtype, width = plan.problem.rank, Y.dtype, Y.shape[1]
        basis = Basis.of(plan, G.astype(dtype))
        if least_curvature(basis.reg, plan.problem.row_missing, basis.g, k)[1].any():
            return None
        forward, back = np.eye(width, dtype=dtype), np.eye(width, dtype=dtype)
        forward[:k, :k], back[:k, :k] = basis.V, basis.V.T
        arrays = (device.asarray(each) for each in (forward, back, basis.g, basis.reg.astype(dtype)))
        forward, back, g, reg = arrays
        return cls(device.xp.matmul(Y, forward), back, g, reg, basis.bias_ratio)

    def problem(self, problem: HalfProblem, first: int) -> HalfProblem:
        """Return the problem of rows from `first` on, with arrays of the device, in this basis."""
        reg = self.reg[first : first + len(problem.regularization)]
        return replace(problem, regularization=reg, bias_ratio=self.bias_ratio)


class FixedSide:
    """The fixed side of a half-step.

    Attributes
    ----------
    G : ndarray of shape (rank, rank)
        The Gramian, on the host; empty if missing cells have no weight.
    Y : array of the device
        The factors.
    """

    def __init__(self, device: Device, plan: HalfStepPlan, G: NDArray[np.float64], Y: Any) -> None:
        self.G, self.Y = G, Y
        self._device, self._plan = device, plan

    @cached_property
    def basis(self) -> DeviceBasis | None:
        """A basis in which G is diagonal, if there is one in which no row loses precision."""
        return DeviceBasis.of(self._device, self._plan, self.G, self.Y) if len(self.G) > 0 else None

    @cached_property
    def common_basis(self) -> DeviceBasis | None:
        """The basis in which the common part of all systems is I, if there is one.

        It takes little time to compute, and systems are better conditioned in it.
        """
        if len(self._plan.problem.regularization) < self._plan.problem.rank or not self._plan.shares_diagonal:
            return None
        return self.basis if self.basis is not None and len(self.basis.g) == 0 else None
