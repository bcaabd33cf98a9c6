"""Groups of arrays that kernels take as arguments, with the notation of ``small_systems.py``.

Kernels unpack a group once, before their loops, because Numba counts references wherever a field is read.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]


class CellArrays(NamedTuple):
    """The observed cells, as in a CSR matrix.

    Attributes
    ----------
    indptr, indices : ndarray
        ``indices[indptr[u]:indptr[u + 1]]`` are the columns of row u.
    targets, weights : ndarray of shape (n_cells,) or (1,)
        t and w; a single element if all are equal.
    """

    indptr: Ints
    indices: Ints
    targets: Floats
    weights: Floats


class Fixed(NamedTuple):
    """The fixed side.

    Attributes
    ----------
    Y : ndarray of shape (n_columns, padded width)
    o : ndarray of shape (n_columns,) or (1,)
        Offsets.
    m : ndarray of shape (n_columns,), (1,) or (0,)
        Column factors of the weights of missing cells; empty if these have no weight.
    k : int
        The rank.
    biases : bool
    """

    Y: Floats
    o: Floats
    m: Floats
    k: int
    biases: bool


class Base(NamedTuple):
    """The part of a row's system that does not depend on its observed cells: s_u G + λ_u D.

    Attributes
    ----------
    s : ndarray of shape (n_rows,) or (0,)
        Row factors of the weights of missing cells; empty, like G, if these have no weight.
    G : ndarray of shape (k, k) or (k,)
        The Gramian; a vector if it is diagonal, as in a `Basis`.
    reg : ndarray of shape (n_rows,)
        λ_u.
    bias_ratio : float
        ρ.
    """

    s: Floats
    G: Floats
    reg: Floats
    bias_ratio: float


class PriorArrays(NamedTuple):
    """A prior of the rows; all arrays are empty without one.

    Attributes
    ----------
    mean : ndarray of shape (n_rows, K) or (1, K)
        x̄; a single row if it is the same for all.
    precision : ndarray of shape (K, K)
        Λ.
    noise : ndarray of shape (n_rows, K) or (0, 0)
        ε of each row; empty if rows are solved instead of sampled.
    """

    mean: Floats
    precision: Floats
    noise: Floats
