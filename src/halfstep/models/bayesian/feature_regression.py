"""Bayesian regression of rows on their side information: x_u ~ N(x̄ + βᵀ f_u, Λ⁻¹).

The prior mean of a row is linear in its features f_u (Macau: Simm et al. 2017). With the prior N(0, (λ Λ)⁻¹) of each
row of β, sampling β given the rows is a ridge regression with one target for each unknown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from halfstep.models.bayesian.hyperpriors import Hyperparameters, Moments
from halfstep.models.ridge import Ridge, chunked, times
from halfstep.solver.threads import Run

if TYPE_CHECKING:
    from halfstep.data.side_information import Sparse

Floats = NDArray[np.float64]

EXPECTED_REGULARIZATION = 5.0  # prior mean of λ ~ Gamma(1, 1/5)


class GivenRows(NamedTuple):
    """The distribution of β given the rows.

    Attributes
    ----------
    moments : Moments
        Sufficient statistics of the rows for x̄ and Λ.
    parts : ndarray of shape (n, 2 unknowns + 1)
        Terms of a sample of β, before products with x̄ and R: of X, of 1 and of the noise.
    prior : ndarray of shape (n_features, unknowns), or None
        Z2 / √λ.
    """

    moments: Moments
    parts: Floats
    prior: Floats | None


class SampledRegression:
    """Regression of one side's rows on their features, with the current sample of its coefficients.

    Parameters
    ----------
    F : sparse array of shape (n_rows, n_features)
    observed : ndarray of bool of shape (n_rows,)
        Rows with observations; only these are used to sample β.
    run : callable
        Function that runs tasks.
    dtype : dtype
        Data type of products with eigenvectors, which take most of the time with many features.

    Attributes
    ----------
    coefficients : ndarray of shape (n_features, unknowns)
        β; initially 0.
    regularization : float
        λ.
    fitted : ndarray of shape (n_rows, unknowns)
        F β.
    """

    def __init__(
        self, F: Sparse, observed: NDArray[np.bool_], unknowns: int, run: Run, dtype: DTypeLike = np.float64
    ) -> None:
        self._observed, self._unknowns = observed, unknowns
        self._run = run
        self._all = chunked(F)
        self._ridge = Ridge(F[np.flatnonzero(observed)], run, dtype=dtype)
        self.coefficients = np.zeros((F.shape[1], unknowns))
        self.regularization = EXPECTED_REGULARIZATION
        self.fitted = np.zeros((F.shape[0], unknowns))

    @property
    def noise_shapes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Shapes of the standard normal arrays that `given` takes."""
        n_rows, n_features = self._ridge.shape
        is_primal = self._ridge.basis is not None and not self._ridge.is_dual
        return (0 if is_primal else n_rows, self._unknowns), (n_features, self._unknowns)

    def given(self, X: NDArray[np.floating], noise: tuple[Floats, Floats]) -> GivenRows:
        """Condition on the rows X, with β integrated out, and prepare a sample of β.

        The marginal correlation of rows is M = I + F Fᵀ / λ, so that with
        M⁻¹ = I − F (FᵀF + λ I)⁻¹ Fᵀ = λ (F Fᵀ + λ I)⁻¹

            weight = 1ᵀ M⁻¹ 1,   total = Xᵀ M⁻¹ 1,   squares = Xᵀ M⁻¹ X.

        Sampling Λ given β (Simm et al. 2017) would mix slowly with many features, because Λ is also the precision of
        the rows of β. With standard normal Z1 and Z2, and Λ⁻¹ = R Rᵀ,

            β = Z2 Rᵀ / √λ + (FᵀF + λ I)⁻¹ Fᵀ (X − 1 x̄ᵀ + (Z1 − F Z2 / √λ) Rᵀ)

        is a sample of the posterior (Simm et al. 2017, eq. 6). It is linear in x̄ and R, so that one product with the
        eigenvectors of F Fᵀ is enough for the moments and for β; they do not change the distribution of Z1. Given the
        eigenvectors of FᵀF, one standard normal array is enough.
        """
        ridge, reg, basis = self._ridge, self.regularization, self._ridge.basis
        T = np.ones((ridge.shape[0], self._unknowns + 1))
        T[:, :-1] = X[self._observed, : self._unknowns]
        if basis is None:
            prior = noise[1] / np.sqrt(reg)
            parts = ridge.solve(np.hstack([T, noise[0] - ridge.times(prior)]), reg)
            sums = T.T @ T - ridge.transposed_times(T).T @ parts[:, : T.shape[1]]
        elif ridge.is_dual:
            prior = noise[1] / np.sqrt(reg)
            C = ridge.product(basis.vectors.T, np.hstack([T, -ridge.times(prior)]))
            C[:, T.shape[1] :] += noise[0]
            parts = C / (basis.values + reg)[:, None]
            sums = reg * (C[:, : T.shape[1]].T @ parts[:, : T.shape[1]])
        else:
            prior, scale = None, 1.0 / (basis.values + reg)[:, None]
            C = ridge.product(basis.vectors.T, ridge.transposed_times(T))
            parts = np.hstack([scale * C, np.sqrt(scale) * noise[1]])
            sums = T.T @ T - C.T @ (scale * C)
        sums = (sums + sums.T) / 2
        return GivenRows(Moments(len(T), float(sums[-1, -1]), sums[:-1, -1], sums[:-1, :-1]), parts, prior)

    def sample(self, given: GivenRows, hyper: Hyperparameters, rng: np.random.Generator) -> None:
        """Sample β given the rows, x̄ and Λ, then λ given β."""
        ridge = self._ridge
        B = given.parts @ np.vstack([np.eye(self._unknowns), -hyper.mean, hyper.root.T])
        if ridge.basis is not None:
            B = ridge.product(ridge.basis.vectors, B)
            if ridge.is_dual:
                B = ridge.transposed_times(B)
        if given.prior is not None:
            B += given.prior @ hyper.root.T
        self.coefficients = B
        self.fitted = times(self._all, B, len(self.fitted), self._run)
        self.regularization = sample_regularization(B, hyper.precision, rng)


def sample_regularization(B: Floats, precision: Floats, rng: np.random.Generator) -> float:
    """Sample λ ~ Gamma(1 + D K / 2, 1/5 + tr(β Λ βᵀ) / 2) for β of shape (D, K), whose rows are N(0, (λ Λ)⁻¹)."""
    squares = float(np.sum((B.T @ B) * precision))
    return float(rng.gamma(1.0 + B.size / 2) / (1.0 / EXPECTED_REGULARIZATION + squares / 2))
