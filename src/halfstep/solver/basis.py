"""Unknowns in which what all rows have in common is diagonal, so that only a row's observations are left to add."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cholesky, solve_triangular

from halfstep.solver.layout import Factors
from halfstep.solver.schedule import HalfStepPlan


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
    def of(cls, plan: HalfStepPlan, G: Factors) -> Basis:
        """Find one for rows whose missing cells add s_u G, in the precision of G."""
        problem, in_doubles = plan.problem, G.astype(np.float64)
        if plan.shares_diagonal:
            ridge = float(problem.regularization[0])
            A = problem.row_missing[0] * in_doubles
            A[np.diag_indices_from(A)] += ridge
            try:
                L = cholesky(A, lower=True, check_finite=False)
            except LinAlgError:
                L = np.zeros_like(A)
            if is_well_conditioned(
                L, A, G.dtype
            ):  # V and its inverse are rounded to that, and rows go there and back
                V = solve_triangular(L, np.eye(len(L)), lower=True, check_finite=False).T
                ones, none = np.ones_like(problem.regularization), np.empty(0, G.dtype)
                return cls(V.astype(G.dtype), L.T.astype(G.dtype), none, ones, problem.bias_ratio * ridge)
        eigenvalues, vectors = np.linalg.eigh(in_doubles)
        V = vectors.astype(G.dtype)
        return cls(V, V.T, np.maximum(eigenvalues, 0.0).astype(G.dtype), problem.regularization, problem.bias_ratio)


def is_well_conditioned(L: NDArray[np.float64], A: NDArray[np.float64], dtype: np.dtype[Any]) -> bool:
    """Whether no pivot of A = L Lᵀ is mere rounding in some precision, as it is if A is singular."""
    return bool((np.diag(L) ** 2 > len(A) * np.finfo(dtype).eps * np.diag(A)).all())
