"""A change of variables that makes the common part of all systems diagonal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cholesky, solve_triangular

from halfstep.solver.layout import Factors
from halfstep.solver.schedule import HalfStepPlan

Eigenvectors = Callable[[NDArray[np.float64]], tuple[NDArray[np.float64], NDArray[np.float64]]]


class Basis(NamedTuple):
    """A change of variables x = V v in which Vᵀ (s_u G + λ_u I) V = s_u diag(g) + λ_u I for each row u.

    If all rows have the same s and λ, it is I instead, with V = L^-ᵀ for s G + λ I = L Lᵀ. Otherwise V has the
    eigenvectors of G, which take longer to compute.

    Attributes
    ----------
    V : ndarray of shape (K, K)
    inverse : ndarray of shape (K, K)
        V^-1.
    g : ndarray of shape (K,)
        Empty if it is included in `reg`.
    reg : ndarray of shape (n_rows,)
        λ_u in these variables.
    bias_ratio : float
        The ratio of the regularization of biases to `reg`.
    """

    V: Factors
    inverse: Factors
    g: Factors
    reg: NDArray[np.floating]
    bias_ratio: float

    @classmethod
    def of(cls, plan: HalfStepPlan, G: Factors, eigenvectors: Eigenvectors = np.linalg.eigh) -> Basis:
        """Compute the basis for a plan, in the precision of G."""
        problem, G64 = plan.problem, G.astype(np.float64)
        if plan.shares_diagonal:
            reg = float(problem.regularization[0])
            A = problem.row_missing[0] * G64
            A[np.diag_indices_from(A)] += reg
            try:
                L = cholesky(A, lower=True, check_finite=False)
            except LinAlgError:
                L = np.zeros_like(A)
            if is_well_conditioned(L, A, G.dtype):  # else rounding V and its inverse loses precision
                V = solve_triangular(L, np.eye(len(L)), lower=True, check_finite=False).T
                ones, none = np.ones_like(problem.regularization), np.empty(0, G.dtype)
                return cls(V.astype(G.dtype), L.T.astype(G.dtype), none, ones, problem.bias_ratio * reg)
        eigenvalues, vectors = eigenvectors(G64)
        V = vectors.astype(G.dtype)
        return cls(V, V.T, np.maximum(eigenvalues, 0.0).astype(G.dtype), problem.regularization, problem.bias_ratio)


def is_well_conditioned(L: NDArray[np.float64], A: NDArray[np.float64], dtype: np.dtype[Any]) -> bool:
    """Return whether all pivots of A = L Lᵀ exceed the rounding error in the given precision."""
    return bool((np.diag(L) ** 2 > len(A) * np.finfo(dtype).eps * np.diag(A)).all())
