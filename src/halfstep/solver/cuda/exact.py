"""The launches of ``exact.cu`` and ``large.cu``: rows that are solved by Cholesky factorization."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from halfstep.objective.problem import HalfProblem
from halfstep.solver.cuda.device import Device
from halfstep.solver.cuda.layout import BLOCKS_OF_LARGE_ROWS, LARGE_THREADS, Layout
from halfstep.solver.cuda.row_lists import RowLists
from halfstep.solver.cuda.rows import cell_arguments


def solve_rows(
    device: Device, lists: RowLists, problem: HalfProblem, G: NDArray[np.float64], Y: Any, X: Any, status: Any
) -> None:
    """Solve some rows of X; status becomes 1 for those whose systems are singular to working precision, else 0.

    Parameters
    ----------
    lists : RowLists
        The rows, on the device; none is divided into parts at ranks of ``large.cu``.
    problem : HalfProblem
        With arrays of the device.
    G : ndarray of shape (rank, rank)
        The Gramian of Y, on the host; empty if missing cells have no weight.
    Y, X : arrays of the device
        Factors in the precision of the problem.
    status : array of the device, of shape (len(X),)
    """
    if len(lists.rows) == 0:
        return
    layout, dtype, xp = Layout.of(problem), Y.dtype, device.xp
    given = (
        *cell_arguments(problem),
        Y,
        device.asarray(padded(G, layout, dtype)),
        problem.regularization,
        dtype.type(problem.bias_ratio),
        X,
        status,
    )
    if layout.is_large:
        blocks = min(len(lists.rows), BLOCKS_OF_LARGE_ROWS * device.processors)
        L, taken = xp.empty((blocks, layout.large_pitch, layout.large_pitch), dtype), xp.zeros(1, np.int32)
        kernel = device.kernel("large", "solve_large_rows", **layout.large_constants(dtype))
        kernel(blocks, LARGE_THREADS, np.int32(len(lists.rows)), *lists[:3], *given, L, taken)
        return
    constants, n_parts = layout.tile_constants(dtype), len(lists.parts.rows)
    parts = xp.empty((max(n_parts, 1), layout.part_size), dtype)
    if n_parts > 0:
        sum_parts = device.kernel("exact", "sum_parts", **constants)
        sum_parts(n_parts, layout.threads, *lists.parts, *cell_arguments(problem), Y, parts)
    kernel = device.kernel("exact", "solve_rows", **constants)
    kernel(len(lists.rows), layout.threads, *lists[:5], parts, *given)


def padded(G: NDArray[np.float64], layout: Layout, dtype: np.dtype[Any]) -> NDArray[np.floating]:
    """Return G with zeros for the bias and the padding."""
    whole = np.zeros((layout.width, layout.width), dtype)
    whole[: len(G), : len(G)] = G
    return whole
