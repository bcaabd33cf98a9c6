"""Groups of arrays that kernels take: the rows' observed cells, the fixed side, and what rows have besides.

The letters are those of ``small_systems.py``. A kernel takes what it needs from a group once, before its loops: where
it does so in a loop, it counts references there.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]


class Cells(NamedTuple):
    """The observed cells, row by row, as in a CSR matrix.

    Attributes
    ----------
    indptr, indices : ndarray
        Row u has the cells ``indptr[u]`` … ``indptr[u + 1] − 1``, in the columns that `indices` lists.
    targets, weights : ndarray of shape (n_cells,) or (1,)
        t and w; of one element where all are equal.
    """

    indptr: Ints
    indices: Ints
    targets: Floats
    weights: Floats


class Fixed(NamedTuple):
    """The side that is held fixed.

    Attributes
    ----------
    Y : ndarray of shape (n_columns, padded width)
    o : ndarray of shape (n_columns,) or (1,)
        Offsets.
    m : ndarray of shape (n_columns,), (1,) or (0,)
        Column factors of the missing cells' weights; empty where these have no weight.
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
    """What a row's system has besides its observations: s_u G + λ_u D.

    Attributes
    ----------
    s : ndarray of shape (n_rows,) or (0,)
        Row factors of the missing cells' weights; empty, as G is, where these have no weight.
    G : ndarray of shape (k, k) or (k,)
        A vector where G is diagonal, as it is in the unknowns of a `Basis`.
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
    """A prior of the rows; all arrays are empty where there is none.

    Attributes
    ----------
    mean : ndarray of shape (n_rows, K) or (1, K)
        x̄; of one row where it is that of all rows.
    precision : ndarray of shape (K, K)
        Λ.
    noise : ndarray of shape (n_rows, K) or (0, 0)
        ε of each row; empty where rows are solved rather than sampled.
    """

    mean: Floats
    precision: Floats
    noise: Floats
