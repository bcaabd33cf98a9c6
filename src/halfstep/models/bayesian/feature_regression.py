"""Bayesian regression of rows on their side information: x_u ~ N(x̄ + βᵀ f_u, Λ⁻¹).

The prior mean of a row is linear in its features f_u (Macau: Simm et al. 2017). With the prior N(0, (λ Λ)⁻¹) of each
row of β, sampling β given the rows is a ridge regression with one target for each unknown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from halfstep.models.bayesian.hyperpriors import Hyperparameters, Moments
from halfstep.models.ridge import Ridge, chunked, times
from halfstep.solver.threads import Run

if TYPE_CHECKING:
    from halfstep.data.side_information import Sparse

Floats = NDArray[np.float64]

EXPECTED_REGULARIZATION = 5.0  # prior mean of λ ~ Gamma(1, 1/5)


class SampledRegression:
    """Regression of one side's rows on their features, with the current sample of its coefficients.

    Parameters
    ----------
    F : sparse array of shape (n_rows, n_features)
    observed : ndarray of bool of shape (n_rows,)
        Rows with observations; only these are used to sample β.
    unknowns : int
    run : callable
        Function that runs tasks.

    Attributes
    ----------
    coefficients : ndarray of shape (n_features, unknowns)
        β; initially 0.
    regularization : float
        λ.
    fitted : ndarray of shape (n_rows, unknowns)
        F β.
    """

    def __init__(self, F: Sparse, observed: NDArray[np.bool_], unknowns: int, run: Run) -> None:
        self._observed = observed
        self._run = run
        self._all = chunked(F)
        self._ridge = Ridge(F[np.flatnonzero(observed)], run)
        self.coefficients = np.zeros((F.shape[1], unknowns))
        self.regularization = EXPECTED_REGULARIZATION
        self.fitted = np.zeros((F.shape[0], unknowns))

    def moments(self, X: NDArray[np.floating]) -> Moments:
        """Return the sufficient statistics of the rows, with β integrated out.

        The marginal correlation of rows is M = I + F Fᵀ / λ, so that with M⁻¹ = I − F (FᵀF + λ I)⁻¹ Fᵀ

            weight = 1ᵀ M⁻¹ 1,   total = Xᵀ M⁻¹ 1,   squares = Xᵀ M⁻¹ X.

        Sampling Λ given β (Simm et al. 2017) would mix slowly with many features, because Λ is also the precision of
        the rows of β.
        """
        unknowns = self.coefficients.shape[1]
        T = np.ones((self._ridge.shape[0], unknowns + 1))
        T[:, :unknowns] = X[self._observed, :unknowns]
        sums = T.T @ (T - self._ridge.times(self._ridge.solve(T, self.regularization)))
        sums = (sums + sums.T) / 2
        return Moments(len(T), float(sums[unknowns, unknowns]), sums[:unknowns, unknowns], sums[:unknowns, :unknowns])

    @property
    def noise_shapes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Shapes of the standard normal arrays that `sample` takes."""
        unknowns = self.coefficients.shape[1]
        return (self._ridge.shape[0], unknowns), (self._ridge.shape[1], unknowns)

    def sample(
        self, X: NDArray[np.floating], hyper: Hyperparameters, noise: tuple[Floats, Floats], rng: np.random.Generator
    ) -> None:
        """Sample β given the rows X, x̄ and Λ, then λ given β.

        With rows of E1 and E2 from N(0, Λ⁻¹), β0 = E2 / √λ is a sample of the prior, and

            β = β0 + (FᵀF + λ I)⁻¹ Fᵀ (X − 1 x̄ᵀ + E1 − F β0)

        solves (FᵀF + λ I) β = Fᵀ (X − 1 x̄ᵀ + E1) + √λ E2: a sample of the posterior (Simm et al. 2017, eq. 6).
        """
        unknowns = self.coefficients.shape[1]
        E1, E2 = (each @ hyper.root.T for each in noise)
        prior = E2 / np.sqrt(self.regularization)
        rows = X[self._observed, :unknowns].astype(np.float64)
        targets = rows - hyper.mean + E1 - self._ridge.times(prior)
        B = self.coefficients = prior + self._ridge.solve(targets, self.regularization)
        self.fitted = times(self._all, B, len(self.fitted), self._run)
        self.regularization = sample_regularization(B, hyper.precision, rng)


def sample_regularization(B: Floats, precision: Floats, rng: np.random.Generator) -> float:
    """Sample λ ~ Gamma(1 + D K / 2, 1/5 + tr(β Λ βᵀ) / 2) for β of shape (D, K), whose rows are N(0, (λ Λ)⁻¹)."""
    squares = float(np.sum((B.T @ B) * precision))
    return float(rng.gamma(1.0 + B.size / 2) / (1.0 / EXPECTED_REGULARIZATION + squares / 2))
