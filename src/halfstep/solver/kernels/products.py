"""Products of all systems with a direction, summed over the rows of the fixed side.

If the rows of the fixed side are divided among machines, each can add its part of A_i p_i for all systems i, without
the factors of the others. Conjugate gradients need nothing else.

Legend: Y is fixed, with rows y_u = [p_u | 1] and offsets o_u; row i of P is the direction p_i of system i, whose
matrix is A_i = m_i G + Λ_i + Σ_Ω (w_ui − s_u m_i) y_u y_uᵀ. Here, cells are in rows of the fixed side, so that s
belongs to rows, and m to columns.

NumPy is not used, because it would store an array of all cells for each factor.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from halfstep._support.jit import kernel
from halfstep.solver.kernels._vector import ROW_PADDING, dot_rows
from halfstep.solver.kernels.argument_groups import CellArrays, Fixed
from halfstep.solver.kernels.observations import cell

Floats = NDArray[np.floating]
Float64Array = NDArray[np.float64]


@kernel
def add_products(
    cells: CellArrays, s: Floats, fixed: Fixed, P: Floats, products: Float64Array, right_hand_sides: Float64Array
) -> None:
    """Add Σ_Ω (w − s m) y yᵀ p_i to products[i], in float64, because popular columns have many cells.

    Unless `right_hand_sides` is empty, also add Σ_Ω w (t − o) y to its row i, followed by Σ_Ω w.
    """
    indptr, indices, targets, weights = cells
    Y, o, m, k, biases = fixed
    K = k + 1 if biases else k
    width = -(-K // ROW_PADDING) * ROW_PADDING
    is_missing, has_sides = len(s) > 0, len(right_hand_sides) > 0
    for u in range(len(indptr) - 1):
        for p in range(indptr[u], indptr[u + 1]):
            i = np.intp(indices[p])
            w = np.float64(cell(weights, p))
            yp = np.float64(dot_rows(Y, u, P, i, width))
            pull = w * yp
            if biases:
                products[i, k] += pull
            if is_missing:  # missing cells are predicted without biases
                pull -= s[u] * (m[i] if len(m) > 1 else m[0]) * (yp - P[i, k] if biases else yp)
            for a in range(k):
                products[i, a] += pull * Y[u, a]
            if has_sides:
                r = w * (np.float64(cell(targets, p)) - (o[u] if biases else 0.0))
                for a in range(K):
                    right_hand_sides[i, a] += r * Y[u, a]
                right_hand_sides[i, K] += w
