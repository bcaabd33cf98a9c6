"""The link between what is known of a row and where it is drawn around: x_u ~ N(x̄ + βᵀ f_u, Λ⁻¹).

Features f_u of a row move the mean of its prior, linearly (Macau: Simm et al. 2017). With a normal prior on β, whose
rows are N(0, (λ Λ)⁻¹), β given the rows is a ridge regression with as many right-hand sides as there are unknowns.
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

EXPECTED_STRENGTH = 5.0  # of λ, which is drawn from Gamma(1, 1/5) before anything is known


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
