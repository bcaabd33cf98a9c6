"""The fixed side of a half-step on a device, and its change of variables."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from halfstep._support.blocks import blocks
from halfstep._support.lazy import cached_property
from halfstep.objective.problem import HalfProblem
from halfstep.solver.basis import Basis
from halfstep.solver.cuda.device import Device
from halfstep.solver.precision import least_curvature
from halfstep.solver.schedule import HalfStepPlan

ROWS_PER_PRODUCT = 1 << 16  # that are transformed at once


class DeviceBasis(NamedTuple):
    """A `Basis`, in which G is diagonal, on a device.

    Attributes
    ----------
    Y : array of the device
        The fixed factors in this basis.
    into, back : arrays of the device, of shape (width, width)
        Solutions times `into` are in this basis, and then times `back` in the original one.
    g : array of the device
        The diagonal of G; empty if it is included in `reg`.
    reg : array of the device
        λ_u in this basis.
    bias_ratio : float
    floor : ndarray of shape (n_rows,)
        The least curvature of each row, on the host.
    is_singular : ndarray of shape (n_rows,)
        Marks rows whose least curvature is noise, on the host.
    """

    Y: Any
    into: Any
    back: Any
    g: Any
    reg: Any
    bias_ratio: float
    floor: NDArray[np.floating]
    is_singular: NDArray[np.bool_]

    @classmethod
    def of(cls, device: Device, plan: HalfStepPlan, G: NDArray[np.float64], Y: Any) -> Self:
        """Return the basis for a plan in the precision of Y."""
        k, dtype = plan.problem.rank, Y.dtype
        basis = Basis.of(plan, G.astype(dtype))
        matrices = []
        for V in basis.V, basis.inverse.T, basis.V.T:
            whole = np.eye(Y.shape[1], dtype=dtype)
            whole[:k, :k] = V
            matrices.append(device.asarray(whole))
        forward, into, back = matrices
        g, reg = device.asarray(basis.g), device.asarray(basis.reg.astype(dtype))
        floor, is_singular = least_curvature(basis.reg, plan.problem.row_missing, basis.g, k)
        return cls(device.xp.matmul(Y, forward), into, back, g, reg, basis.bias_ratio, floor, is_singular)

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
    def any_basis(self) -> DeviceBasis | None:
        """A basis in which G is diagonal, if missing cells have weight."""
        return DeviceBasis.of(self._device, self._plan, self.G, self.Y) if len(self.G) > 0 else None

    @property
    def basis(self) -> DeviceBasis | None:
        """The same basis, if no row loses precision in it."""
        return None if self.any_basis is None or self.any_basis.is_singular.any() else self.any_basis

    @cached_property
    def common_basis(self) -> DeviceBasis | None:
        """The basis in which the common part of all systems is I, if there is one.

        It takes little time to compute, and systems are better conditioned in it.
        """
        if len(self._plan.problem.regularization) < self._plan.problem.rank or not self._plan.shares_diagonal:
            return None
        return self.basis if self.basis is not None and len(self.basis.g) == 0 else None


class RowsInBasis:
    """Rows of X that are solved in the basis of the fixed side, if it has one, and then transformed back together.

    With ranges of rows, which depend on the memory of the device, the products would be of other shapes, and could
    be rounded differently.

    Parameters
    ----------
    X : array of the device
        All rows of the half-problem, in the original basis.
    is_start : bool
        Whether X is the start of an iterative solver.
    """

    def __init__(self, device: Device, fixed: FixedSide, X: Any, *, is_start: bool) -> None:
        self._device, self._fixed, self._X, self._is_start = device, fixed, X, is_start
        self._solved: list[NDArray[np.integer]] = []

    @cached_property
    def factors(self) -> Any:
        """All rows, in the basis; X itself if there is none."""
        xp, basis = self._device.xp, self._fixed.any_basis
        if basis is None:
            return self._X
        return xp.matmul(self._X, basis.into) if self._is_start else xp.zeros_like(self._X)

    def add(self, rows: NDArray[np.integer]) -> None:
        """Add the positions of solved rows."""
        self._solved.append(rows)

    def transform_back(self) -> None:
        """Write the solved rows to X, in the original basis."""
        if not self._solved or self._fixed.any_basis is None:
            return
        back, rows = self._fixed.any_basis.back, np.sort(np.concatenate(self._solved))
        for block in blocks(len(rows), ROWS_PER_PRODUCT):
            chosen = block if len(rows) == len(self._X) else self._device.asarray(rows[block])
            self._X[chosen] = self._device.xp.matmul(self.factors[chosen], back)
