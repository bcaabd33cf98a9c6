"""The link between what is known of a row and where it is drawn around: x_u ~ N(x̄ + βᵀ f_u, Λ⁻¹).

Features f_u of a row move the mean of its prior, linearly (Macau: Simm et al. 2017). With a normal prior on β, whose
rows are N(0, (λ Λ)⁻¹), β given the rows is a ridge regression with as many right-hand sides as there are unknowns.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from halfstep.backends.basis import keeps_digits
from halfstep.backends.threads import Run
from halfstep.conditionals import Hyperparameters, Moments

if TYPE_CHECKING:
    from halfstep.features import Sparse

Floats = NDArray[np.float64]

LARGEST_BASIS = 4096  # rows of FᵀF, or of FFᵀ, up to which its eigenvectors are found
SPARSE_AT_ONCE = 1024  # rows of a product that one task multiplies
DENSE_AT_ONCE = 256
TOLERANCE = 1e-4  # of what conjugate gradients leave, relative to the right-hand sides
STEPS = 200  # of conjugate gradients at most

EXPECTED_STRENGTH = 5.0  # of λ, which is drawn from Gamma(1, 1/5) before anything is known


class Ridge:
    """Least squares of many targets on the same features, with a ridge: B = (FᵀF + λ I)⁻¹ Fᵀ T.

    The eigenvectors of the smaller of FᵀF and FFᵀ are found once where they are not too many: any λ then costs two
    products. If there is but one λ, Cholesky's factor takes their place where it keeps its digits. Of larger matrices
    neither is made: conjugate gradients go on all targets at once.

    Parameters
    ----------
    F : sparse array of shape (n_rows, n_features)
    run : callable
        Runs tasks.
    only_strength : float, optional
        λ, if no other will be asked for.
    """

    def __init__(self, F: Sparse, run: Run, *, only_strength: float | None = None) -> None:
        self._run = run
        self._rows, self._columns = chunked(F), chunked(F.T.tocsr())
        self.shape: tuple[int, int] = F.shape
        self._is_dual = F.shape[0] < F.shape[1]
        self._basis: tuple[Floats, Floats] | None = None
        self._factor: Floats | None = None
        if min(F.shape) <= LARGEST_BASIS:
            square = (F @ F.T if self._is_dual else F.T @ F).toarray()
            if only_strength is not None:
                self._factor = _factor(square, only_strength)
            if self._factor is None:
                values, V = np.linalg.eigh(square)
                self._basis = np.maximum(values, 0.0), V
        else:
            squares = F.multiply(F)
            self._diagonals = [np.asarray(squares.sum(axis=axis), dtype=np.float64).ravel() for axis in (0, 1)]

    def times(self, B: Floats) -> Floats:
        """F B."""
        return times(self._rows, B, self.shape[0], self._run)

    def transposed_times(self, T: Floats) -> Floats:
        """Fᵀ T."""
        return times(self._columns, T, self.shape[1], self._run)

    def solve(self, T: Floats, strength: float, *, start: Floats | None = None) -> Floats:
        """B for the targets T, of shape (n_rows, n_targets); in the dual B = Fᵀ (FFᵀ + λ I)⁻¹ T.

        Where conjugate gradients find it, they may be given a B to start from. Then they go on B itself, never in the
        dual, so that what they stop at is no worse than the start in the sum of squares that the ridge minimises.
        """
        if start is not None and self._basis is None and self._factor is None:
            return self._conjugate_gradients(self.transposed_times(T), strength, is_dual=False, start=start)
        if self._is_dual:
            return self.transposed_times(self._inverse_times(T, strength))
        return self._inverse_times(self.transposed_times(T), strength)

    def _inverse_times(self, C: Floats, strength: float) -> Floats:
        if self._factor is not None:
            solved: Floats = cho_solve((self._factor, True), C, check_finite=False)
            return solved
        if self._basis is None:
            return self._conjugate_gradients(C, strength, is_dual=self._is_dual)
        values, V = self._basis
        scaled = self._product(V.T, C) / (values + strength)[:, None]
        return self._product(V, scaled)

    def _product(self, A: Floats, C: Floats) -> Floats:
        out = np.empty((len(A), C.shape[1]))
        slices = [slice(start, start + DENSE_AT_ONCE) for start in range(0, len(A), DENSE_AT_ONCE)]
        self._run([partial(np.matmul, A[some], C, out=out[some]) for some in slices])
        return out

    def _conjugate_gradients(
        self, C: Floats, strength: float, *, is_dual: bool, start: Floats | None = None
    ) -> Floats:
        """Solve for all columns at once, each with steps of its own, preconditioned by the diagonal."""

        def times_matrix(D: Floats) -> Floats:
            A = self.times(self.transposed_times(D)) if is_dual else self.transposed_times(self.times(D))
            A += strength * D
            return A

        inverse = 1.0 / (self._diagonals[is_dual] + strength)[:, None]
        X, R = np.zeros_like(C), C.copy()
        enough = TOLERANCE**2 * np.einsum("nk,nk->k", R, inverse * R)
        if start is not None:
            X[...] = start
            R -= times_matrix(X)
        Z = inverse * R
        D = Z.copy()
        rz = np.einsum("nk,nk->k", R, Z)
        for number in range(STEPS):
            if (rz <= enough).all() and (number > 0 or start is None):  # from a start, always some way on
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


class Link:
    """The link of one side, as a chain draws it.

    Parameters
    ----------
    F : sparse array of shape (n_rows, n_features)
    observed : ndarray of bool of shape (n_rows,)
        Rows that have observations; the others are predicted from their features, and say nothing about β.
    unknowns : int
    run : callable
        Runs tasks.

    Attributes
    ----------
    coefficients : ndarray of shape (n_features, unknowns)
        β; 0 until it is drawn.
    strength : float
        λ, of the prior precision λ Λ of each of its rows.
    fitted : ndarray of shape (n_rows, unknowns)
        F β.
    """

    def __init__(self, F: Sparse, observed: NDArray[np.bool_], unknowns: int, run: Run) -> None:
        self._observed = observed
        self._run = run
        self._all = chunked(F)
        self._ridge = Ridge(F[np.flatnonzero(observed)], run)
        self.coefficients = np.zeros((F.shape[1], unknowns))
        self.strength = EXPECTED_STRENGTH
        self.fitted = np.zeros((F.shape[0], unknowns))

    def moments(self, X: NDArray[np.floating]) -> Moments:
        """What the rows say of x̄ and Λ, whatever β is.

        Over all β that the prior allows, rows are correlated as far as their features are alike: for each unknown as
        in M = I + F Fᵀ / λ. So sums of rows become sums with M⁻¹ = I − F (FᵀF + λ I)⁻¹ Fᵀ,

            weight = 1ᵀ M⁻¹ 1,   total = Xᵀ M⁻¹ 1,   squares = Xᵀ M⁻¹ X.

        Given β, Λ could be drawn as well (Simm et al. 2017), but would hardly move where features are many: it is
        that of all rows of β, too, of which most follow Λ and nothing else.
        """
        unknowns = self.coefficients.shape[1]
        T = np.ones((self._ridge.shape[0], unknowns + 1))
        T[:, :unknowns] = X[self._observed, :unknowns]
        sums = T.T @ (T - self._ridge.times(self._ridge.solve(T, self.strength)))
        sums = (sums + sums.T) / 2
        return Moments(len(T), float(sums[unknowns, unknowns]), sums[:unknowns, unknowns], sums[:unknowns, :unknowns])

    @property
    def noise_shapes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Of the standard normal numbers that a draw takes."""
        unknowns = self.coefficients.shape[1]
        return (self._ridge.shape[0], unknowns), (self._ridge.shape[1], unknowns)

    def draw(
        self, X: NDArray[np.floating], hyper: Hyperparameters, noise: tuple[Floats, Floats], rng: np.random.Generator
    ) -> None:
        """Draw β given the rows X, x̄ and Λ; then λ.

        With rows of E1 and E2 from N(0, Λ⁻¹), β0 = E2 / √λ is a draw from the prior, and

            β = β0 + (FᵀF + λ I)⁻¹ Fᵀ (X − 1 x̄ᵀ + E1 − F β0)

        solves (FᵀF + λ I) β = Fᵀ (X − 1 x̄ᵀ + E1) + √λ E2: a draw from the posterior (Simm et al. 2017, eq. 6).
        """
        unknowns = self.coefficients.shape[1]
        E1, E2 = (each @ hyper.root.T for each in noise)
        prior = E2 / np.sqrt(self.strength)
        rows = X[self._observed, :unknowns].astype(np.float64)
        targets = rows - hyper.mean + E1 - self._ridge.times(prior)
        B = self.coefficients = prior + self._ridge.solve(targets, self.strength)
        self.fitted = times(self._all, B, len(self.fitted), self._run)
        self.strength = draw_strength(B, hyper.precision, rng)


def draw_strength(B: Floats, precision: Floats, rng: np.random.Generator) -> float:
    """Draw λ ~ Gamma(1 + D K / 2, 1/5 + tr(β Λ βᵀ) / 2) for β of shape (D, K), whose rows are N(0, (λ Λ)⁻¹)."""
    squares = float(np.sum((B.T @ B) * precision))
    return float(rng.gamma(1.0 + B.size / 2) / (1.0 / EXPECTED_STRENGTH + squares / 2))


def _factor(square: Floats, strength: float) -> Floats | None:
    """Cholesky's factor of a matrix + λ I, its lower triangle; None where λ is next to nothing beside the matrix."""
    A = square + strength * np.eye(len(square))
    try:
        factor, _ = cho_factor(A, lower=True, check_finite=False)
    except LinAlgError:
        return None
    return np.asarray(factor, dtype=np.float64) if keeps_digits(factor, A, A.dtype) else None


def chunked(F: Sparse) -> list[tuple[slice, Sparse]]:
    """Cut a matrix into rows that one task multiplies at a time, with their places."""
    slices = [slice(start, min(start + SPARSE_AT_ONCE, F.shape[0])) for start in range(0, F.shape[0], SPARSE_AT_ONCE)]
    return [(some, F[some]) for some in slices]


def times(chunks: Sequence[tuple[slice, Sparse]], B: Floats, n_rows: int, run: Run) -> Floats:
    """Multiply a matrix that was cut with B."""
    out = np.empty((n_rows, B.shape[1]))

    def multiply(some: slice, chunk: Sparse) -> None:
        out[some] = chunk @ B

    run([partial(multiply, *chunk) for chunk in chunks])
    return out
