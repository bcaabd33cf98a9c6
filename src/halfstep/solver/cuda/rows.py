"""A range of the rows of a half-problem, on a device."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from halfstep._support.blocks import all_equal
from halfstep._support.lazy import cached_property
from halfstep.objective.problem import HalfProblem
from halfstep.solver.cuda.device import Device
from halfstep.solver.cuda.row_lists import Parts, RowLists, divide
from halfstep.solver.schedule import HalfStepPlan

PIECE_LENGTH = 2048  # observed cells whose losses one warp sums
ARRAYS = ("indptr", "indices", "targets", "weights", "row_missing", "column_missing", "regularization")


class DeviceRows:
    """Rows of a half-problem, and the lists of the launches that solve them.

    Parameters
    ----------
    device : Device
    problem : HalfProblem
        Of these rows, on the host.
    is_resident : bool
        Whether the observed cells stay on the device; otherwise they are copied for each half-step.

    Attributes
    ----------
    lists : RowLists
        Those with observed cells.
    empty : array of the device
        The others.
    """

    def __init__(self, device: Device, problem: HalfProblem, *, is_resident: bool = True) -> None:
        self.device, self.problem = device, problem
        m = problem.column_missing
        self._compact = replace(problem, column_missing=m[:1] if all_equal(m) else m)
        self._is_resident = is_resident
        self._resident: HalfProblem | None = None
        counts = np.diff(problem.indptr)
        self.lists = self.listed(np.flatnonzero(counts))
        self.empty = device.asarray(np.flatnonzero(counts == 0))

    def listed(self, rows: NDArray[np.integer]) -> RowLists:
        """Return the lists of the launches that solve some of the rows."""
        lists: RowLists = on_device(self.device, RowLists.of(self.problem.indptr, rows))
        return lists

    @cached_property
    def plan(self) -> HalfStepPlan:
        """The plan of the rows, for approximate solvers."""
        return HalfStepPlan.of(self.problem)

    @cached_property
    def pieces(self) -> Parts:
        """Pieces of the rows, for the loss."""
        pieces: Parts = on_device(self.device, divide(self.problem.indptr, PIECE_LENGTH))
        return pieces

    def arrays(self, dtype: DTypeLike) -> HalfProblem:
        """Return the problem with arrays of the device, in this precision."""
        if self._resident is not None and self._resident.weights.dtype == dtype:
            return self._resident
        given = self._compact.astype(dtype)
        copied = replace(given, **{name: self.device.asarray(getattr(given, name)) for name in ARRAYS})
        if self._is_resident and self.problem.weights.dtype == dtype:
            self._resident = copied
        return copied


def on_device(device: Device, lists: Any) -> Any:
    """Copy the arrays of a named tuple to the device, and those of named tuples in it."""
    return type(lists)(
        *(device.asarray(each) if isinstance(each, np.ndarray) else on_device(device, each) for each in lists)
    )


def stepped(array: Any) -> tuple[Any, np.int32]:
    """Return an array and the distance of its elements, 0 if one element is that of all cells or columns."""
    return array, np.int32(len(array) > 1)


def cell_arguments(problem: HalfProblem) -> tuple[Any, ...]:
    """Return the arguments of kernels that describe observed cells and the weights of missing ones."""
    return (
        problem.indices,
        *stepped(problem.targets),
        *stepped(problem.weights),
        problem.row_missing,
        *stepped(problem.column_missing),
    )
