"""Unknowns in which what all rows have in common is diagonal, so that only a row's observations are left to add."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cholesky, solve_triangular

from halfstep.solver.layout import Factors
from halfstep.solver.schedule import LoadedSide


class Basis(NamedTuple):
    """Unknowns v for the factors x = V v of rows, in which Vᵀ (s_u G + λ_u I) V is s_u g + λ, diagonal.

    Where all rows share s and λ it is the unit matrix, for V = L^-ᵀ with s G + λ I = L Lᵀ. Else V are the
    eigenvectors of G, which take longer to find.

    Attributes
    ----------
    V : ndarray of shape (K, K)
    inverse : ndarray of shape (K, K)
        V^-1.
    g : ndarray of shape (K,)
        Empty if there is nothing to add to λ.
    ridge : ndarray of shape (n_rows,)
        λ, in these unknowns.
    bias_ratio : float
        How much more than that biases are regularised.
    """

    V: Factors
    inverse: Factors
    g: Factors
    ridge: NDArray[np.floating]
    bias_ratio: float

    @classmethod
    def of(cls, loaded: LoadedSide, G: Factors) -> Basis:
        """Find one for rows whose missing cells add s_u G, in the precision of G."""
        side, in_doubles = loaded.side, G.astype(np.float64)
        if loaded.shares_diagonal:
            ridge = float(side.regularization[0])
            A = side.row_missing[0] * in_doubles
            A[np.diag_indices_from(A)] += ridge
            try:
                L = cholesky(A, lower=True, check_finite=False)
            except LinAlgError:
                L = np.zeros_like(A)
            if keeps_digits(L, A, G.dtype):  # V and its inverse are rounded to that, and rows go there and back
                V = solve_triangular(L, np.eye(len(L)), lower=True, check_finite=False).T
                ones, none = np.ones_like(side.regularization), np.empty(0, G.dtype)
                return cls(V.astype(G.dtype), L.T.astype(G.dtype), none, ones, side.bias_ratio * ridge)
        eigenvalues, vectors = np.linalg.eigh(in_doubles)
        V = vectors.astype(G.dtype)
        return cls(V, V.T, np.maximum(eigenvalues, 0.0).astype(G.dtype), side.regularization, side.bias_ratio)


def keeps_digits(L: NDArray[np.float64], A: NDArray[np.float64], dtype: np.dtype[Any]) -> bool:
    """Whether no pivot of A = L Lᵀ is mere rounding in some precision, as it is if A is singular."""
    return bool((np.diag(L) ** 2 > len(A) * np.finfo(dtype).eps * np.diag(A)).all())
