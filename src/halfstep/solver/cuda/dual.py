"""The launches of ``dual.cu``: rows with fewer observed cells than unknowns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from halfstep.objective.problem import HalfProblem
from halfstep.solver.cuda.device import Device
from halfstep.solver.cuda.layout import Layout, Shape
from halfstep.solver.cuda.row_lists import Parts
from halfstep.solver.cuda.rows import cell_arguments


def solve_in_dual(
    device: Device, rows: Mapping[Shape, Parts], problem: HalfProblem, g: Any, Y: Any, X: Any, status: Any
) -> None:
    """Solve some rows of X; status becomes 1 for those that lose precision, else 0.

    Parameters
    ----------
    rows : mapping
        The rows, on the device, for each shape of their systems.
    problem : HalfProblem
        With arrays of the device.
    g : array of the device, of shape (rank,) or (0,)
        The diagonal of the Gramian of Y, which has no other elements; empty if it is 0.
    Y, X : arrays of the device
        Factors in the precision of the problem.
    status : array of the device, of shape (len(X),)
    """
    layout, dtype = Layout.of(problem), Y.dtype
    for shape, listed in rows.items():
        constants, n_rows = shape.constants(layout, dtype, diagonal=len(g) > 0), len(listed.rows)
        per_block = int(constants["ROWS"])
        device.kernel("dual", "solve_dual", **constants)(
            -(-n_rows // per_block),
            shape.threads * per_block,
            np.int32(n_rows),
            *listed,
            *cell_arguments(problem),
            Y,
            g,
            problem.regularization,
            dtype.type(problem.bias_ratio),
            X,
            status,
        )
