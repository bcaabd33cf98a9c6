"""Ridge regression of many targets on sparse features."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from halfstep.solver.basis import is_well_conditioned
from halfstep.solver.threads import Run

if TYPE_CHECKING:
    from halfstep.data.side_information import Sparse

Floats = NDArray[np.float64]

LARGEST_BASIS = 4096  # largest size of FᵀF or FFᵀ that is decomposed
SPARSE_AT_ONCE = 1024  # rows of a product in a task
DENSE_AT_ONCE = 256
TARGETS_AT_ONCE = 32
TOLERANCE = 1e-4  # of residuals of conjugate gradients, relative to the right-hand sides
STEPS = 200  # of conjugate gradients, at most


class Basis(NamedTuple):
    """Eigenvalues of the smaller of FᵀF and FFᵀ, at least 0, and its eigenvectors as columns."""

    values: Floats
    vectors: NDArray[np.floating]


class Ridge:
    """Ridge regression of many targets on the same features: B = (FᵀF + λ I)⁻¹ Fᵀ T.

    The smaller of FᵀF and FFᵀ is decomposed once if it is not too large: into eigenvectors, with which any λ takes
    two products, or by Cholesky if λ is fixed and the matrix well-conditioned. Otherwise, all targets are solved by
    conjugate gradients without forming a matrix.

    Parameters
    ----------
    F : sparse array of shape (n_rows, n_features)
    run : callable
        Runs tasks.
    fixed_reg : float, optional
        λ, if it is the same in all calls of `solve`.
    dtype : dtype
        Data type of the eigenvectors.

    Attributes
    ----------
    shape : tuple of int
    is_dual : bool
        Whether F Fᵀ is the smaller matrix.
    basis : Basis or None
        The eigenvectors, if they are used.
    """

    def __init__(self, F: Sparse, run: Run, *, fixed_reg: float | None = None, dtype: DTypeLike = np.float64) -> None:
        self._run = run
        self._rows, self._columns = chunked(F), chunked(F.T.tocsr())
        self.shape: tuple[int, int] = F.shape
        self.is_dual = F.shape[0] < F.shape[1]
        self.basis: Basis | None = None
        self._factor: Floats | None = None
        if min(F.shape) <= LARGEST_BASIS:
            square = (F @ F.T if self.is_dual else F.T @ F).toarray()
            if fixed_reg is not None:
                self._factor = _factor(square, fixed_reg)
            if self._factor is None:
                values, V = np.linalg.eigh(square)
                self.basis = Basis(np.maximum(values, 0.0), V.astype(dtype))
        else:
            squares = F.multiply(F)
            self._diagonals = [np.asarray(squares.sum(axis=axis), dtype=np.float64).ravel() for axis in (0, 1)]

    def times(self, B: Floats) -> Floats:
        """Return F B."""
        return times(self._rows, B, self.shape[0], self._run)

    def transposed_times(self, T: Floats) -> Floats:
        """Return Fᵀ T."""
        return times(self._columns, T, self.shape[1], self._run)

    def solve(self, T: Floats, reg: float, *, start: Floats | None = None) -> Floats:
        """Return B for targets T of shape (n_rows, n_targets); in the dual B = Fᵀ (FFᵀ + λ I)⁻¹ T.

        Conjugate gradients can start from a given B. They then solve the primal, so that the objective of the
        regression is not above that of the start.
        """
        if start is not None and self.basis is None and self._factor is None:
            return self._conjugate_gradients(self.transposed_times(T), reg, is_dual=False, start=start)
        if self.is_dual:
            return self.transposed_times(self._inverse_times(T, reg))
        return self._inverse_times(self.transposed_times(T), reg)

    def _inverse_times(self, C: Floats, reg: float) -> Floats:
        if self._factor is not None:
            return self._factor_solve(self._factor, C)
        if self.basis is None:
            return self._conjugate_gradients(C, reg, is_dual=self.is_dual)
        values, V = self.basis
        scaled = self.product(V.T, C) / (values + reg)[:, None]
        return self.product(V, scaled)

    def _factor_solve(self, factor: Floats, C: Floats) -> Floats:
        solved = np.empty_like(C)

        def solve(columns: slice) -> None:
            solved[:, columns] = cho_solve((factor, True), C[:, columns], check_finite=False)

        starts = range(0, C.shape[1], TARGETS_AT_ONCE)
        self._run([partial(solve, slice(start, start + TARGETS_AT_ONCE)) for start in starts])
        return solved

    def product(self, A: NDArray[np.floating], C: Floats) -> Floats:
        """Return the product A C of dense matrices, computed in the data type of A."""
        out, C = np.empty((len(A), C.shape[1]), A.dtype), C.astype(A.dtype, copy=False)
        slices = [slice(start, start + DENSE_AT_ONCE) for start in range(0, len(A), DENSE_AT_ONCE)]
        self._run([partial(np.matmul, A[some], C, out=out[some]) for some in slices])
        return out.astype(np.float64, copy=False)

    def _conjugate_gradients(self, C: Floats, reg: float, *, is_dual: bool, start: Floats | None = None) -> Floats:
        """Solve for all columns at once, with separate step lengths, preconditioned by the diagonal."""

        def times_matrix(D: Floats) -> Floats:
            A = self.times(self.transposed_times(D)) if is_dual else self.transposed_times(self.times(D))
            A += reg * D
            return A

        inverse = 1.0 / (self._diagonals[is_dual] + reg)[:, None]
        X, R = np.zeros_like(C), C.copy()
        enough = TOLERANCE**2 * np.einsum("nk,nk->k", R, inverse * R)
        if start is not None:
            X[...] = start
            R -= times_matrix(X)
        Z = inverse * R
        D = Z.copy()
        rz = np.einsum("nk,nk->k", R, Z)
        for number in range(STEPS):
            if (rz <= enough).all() and (number > 0 or start is None):  # at least one step from a given start
                break
            A = times_matrix(D)
            curvature = np.einsum("nk,nk->k", D, A)
            step = np.divide(rz, curvature, out=np.zeros_like(rz), where=curvature > 0)
            X += step * D
            R -= step * A
            Z = inverse * R
            before, rz = rz, np.einsum("nk,nk->k", R, Z)
            D *= np.divide(rz, before, out=np.zeros_like(rz), where=before > 0)
            D += Z
        return X


def _factor(square: Floats, reg: float) -> Floats | None:
    """Return the lower Cholesky factor of a matrix + λ I; None if it is ill-conditioned."""
    A = square + reg * np.eye(len(square))
    try:
        factor, _ = cho_factor(A, lower=True, check_finite=False)
    except LinAlgError:
        return None
    return np.asarray(factor, dtype=np.float64) if is_well_conditioned(factor, A, A.dtype) else None


def chunked(F: Sparse) -> list[tuple[slice, Sparse]]:
    """Split a matrix into chunks of rows for tasks, with their positions."""
    slices = [slice(start, min(start + SPARSE_AT_ONCE, F.shape[0])) for start in range(0, F.shape[0], SPARSE_AT_ONCE)]
    return [(some, F[some]) for some in slices]


def times(chunks: Sequence[tuple[slice, Sparse]], B: Floats, n_rows: int, run: Run) -> Floats:
    """Return the product of a matrix in chunks with B."""
    out = np.empty((n_rows, B.shape[1]))

    def multiply(some: slice, chunk: Sparse) -> None:
        out[some] = chunk @ B

    run([partial(multiply, *chunk) for chunk in chunks])
    return out
