"""The launches of ``exact.cu``: rows that are solved by Cholesky factorization."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from halfstep.objective.problem import HalfProblem
from halfstep.solver.cuda.device import Device
from halfstep.solver.cuda.layout import Layout
from halfstep.solver.cuda.row_lists import RowLists
from halfstep.solver.cuda.rows import cell_arguments


def solve_rows(
    device: Device, lists: RowLists, problem: HalfProblem, G: NDArray[np.float64], Y: Any, X: Any, status: Any
) -> None:
    """Solve some rows of X; status becomes 1 for those whose systems are singular to working precision, else 0.

    Parameters
    ----------
    device : Device
    lists : RowLists
        The rows, on the device.
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
    layout, dtype = Layout.of(problem), Y.dtype
    constants, cells = layout.tile_constants(dtype), cell_arguments(problem)
    n_parts = len(lists.parts.rows)
    parts = device.xp.empty((max(n_parts, 1), layout.part_size), dtype)
    if n_parts > 0:
        sum_parts = device.kernel("exact", "sum_parts", **constants)
        sum_parts(n_parts, layout.threads, *lists.parts, *cells, Y, parts)
    device.kernel("exact", "solve_rows", **constants)(
        len(lists.rows),
        layout.threads,
        *lists[:5],
        parts,
        *cells,
        Y,
        device.asarray(padded(G, layout, dtype)),
        problem.regularization,
        dtype.type(problem.bias_ratio),
        X,
        status,
    )


def padded(G: NDArray[np.float64], layout: Layout, dtype: np.dtype[Any]) -> NDArray[np.floating]:
    """Return G with zeros for the bias and the padding."""
    whole = np.zeros((layout.width, layout.width), dtype)
    whole[: len(G), : len(G)] = G
    return whole
