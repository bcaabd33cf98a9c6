"""A range of the rows of a half-problem, on a device."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from halfstep._support.blocks import all_equal
from halfstep._support.lazy import cached_property
from halfstep.objective.problem import HalfProblem
from halfstep.solver.cuda.device import Device
from halfstep.solver.cuda.layout import SHAPES, Shape
from halfstep.solver.cuda.row_lists import Parts, RowLists, divide, whole

PIECE_LENGTH = 2048  # observed cells whose losses one warp sums
ARRAYS = ("indptr", "indices", "targets", "weights", "row_missing", "column_missing", "regularization")


class ExactRows(NamedTuple):
    """Rows that are solved exactly.

    Attributes
    ----------
    rows : ndarray
        On the host.
    primal : RowLists
        Those that are not solved in the dual.
    dual : dict
        Those that are, for each shape of their systems.
    """

    rows: NDArray[np.integer]
    primal: RowLists
    dual: dict[Shape, Parts]


class DeviceRows:
    """Rows of a half-problem, and the lists of the launches that solve them.

    Parameters
    ----------
    problem : HalfProblem
        The problem of these rows, on the host.
    is_dual : ndarray of bool
        The rows that are solved in the dual.
    longest : int
        The number of observed cells above which a row is divided into parts.
    is_resident : bool
        Whether the observed cells stay on the device; otherwise they are copied for each half-step.

    Attributes
    ----------
    is_dual : ndarray of bool
    exact : ExactRows
        All rows with observed cells.
    empty : array of the device
        The others.
    """

    def __init__(
        self,
        device: Device,
        problem: HalfProblem,
        is_dual: NDArray[np.bool_],
        longest: int,
        *,
        is_resident: bool = True,
    ) -> None:
        self.device, self.problem = device, problem
        self.is_dual, self._longest = is_dual, longest
        m = problem.column_missing
        self._compact = replace(problem, column_missing=m[:1] if all_equal(m) else m)
        self._is_resident = is_resident
        self._resident: HalfProblem | None = None
        self._counts = np.diff(problem.indptr)
        self.exact = self._listed(np.flatnonzero(self._counts))
        self._some = self._listed(np.empty(0, np.intp))
        self.empty = device.asarray(np.flatnonzero(self._counts == 0))

    def listed(self, rows: NDArray[np.integer]) -> ExactRows:
        """Return the lists of the launches that solve some of the rows, which are often those of the last call."""
        if not np.array_equal(rows, self._some.rows):
            self._some = self._listed(rows)
        return self._some

    def _listed(self, rows: NDArray[np.integer]) -> ExactRows:
        is_dual = self.is_dual[rows]
        return ExactRows(rows, self.in_primal(rows[~is_dual]), self._by_shape(rows[is_dual]))

    def _by_shape(self, rows: NDArray[np.integer]) -> dict[Shape, Parts]:
        rows = rows[np.argsort(-self._counts[rows], kind="stable")]
        shapes = np.searchsorted([shape.size for shape in SHAPES], self._counts[rows])
        return {
            shape: on_device(self.device, whole(self.problem.indptr, rows[shapes == n]))
            for n, shape in enumerate(SHAPES)
            if (shapes == n).any()
        }

    def in_primal(self, rows: NDArray[np.integer]) -> RowLists:
        """Return the lists of the launches that solve some of the rows in the primal."""
        lists: RowLists = on_device(self.device, RowLists.of(self.problem.indptr, rows, self._longest))
        return lists

    @cached_property
    def pieces(self) -> Parts:
        """Pieces of the rows, for the loss."""
        pieces: Parts = on_device(self.device, divide(self.problem.indptr, PIECE_LENGTH))
        return pieces

    def arrays(self, dtype: np.dtype[Any]) -> HalfProblem:
        """Return the problem with arrays of the device, in this precision."""
        is_same = self.problem.weights.dtype == dtype
        if is_same and self._resident is not None:
            return self._resident
        given = self._compact if is_same else self._compact.astype(dtype)
        copied = replace(given, **{name: self.device.asarray(getattr(given, name)) for name in ARRAYS})
        if is_same and self._is_resident:
            self._resident = copied
        return copied


def on_device(device: Device, lists: Any) -> Any:
    """Copy the arrays of a named tuple to the device, and those of named tuples in it."""
    return type(lists)(
        *(device.asarray(each) if isinstance(each, np.ndarray) else on_device(device, each) for each in lists)
    )


def stepped(array: Any) -> tuple[Any, np.int32]:
    """Return an array and its stride, 0 if one element is shared by all cells or columns."""
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
