"""The conditional distributions that a Gibbs sampler draws from, beside the rows', which are half-steps.

Rows x (factors, followed by the bias) are normal around what their side has in common, and observations around their
scores (Salakhutdinov & Mnih 2008):

    t_ui ~ N(score, 1 / (τ w_ui)),   x_u ~ N(x̄, Λ⁻¹),   x̄, Λ ~ Normal–Wishart,   τ ~ Gamma

Hyperpriors are stated for targets with a standard deviation of 1, and carried over to those at hand: with targets in
units of σ, biases are too, and factors in units of √σ. So values in cents give a hundred times the predictions of
values in euros.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MEAN_RIDGE = 2.0  # b0: the mean x̄ has the prior precision b0 Λ around 0
SHAPE, RATE = 1.0, 1.0  # of the noise's precision τ, in units of 1 / σ²
BLOCK = 512  # rows whose noise comes from one generator


@dataclass(frozen=True)
class Moments:
    """What a side's hyperparameters depend on: how many rows there are, their sum, and the sum of their squares.

    Attributes
    ----------
    count : int
    weight : float
        The rows' together: their number, or less where features explain some of them.
    total : ndarray of shape (unknowns,)
        Σ x.
    squares : ndarray of shape (unknowns, unknowns)
        Σ x xᵀ.
    """

    count: int
    weight: float
    total: Floats
    squares: Floats


@dataclass(frozen=True)
class Hyperparameters:
    """What the rows of a side have in common: x ~ N(mean, covariance).

    Attributes
    ----------
    mean : ndarray of shape (unknowns,)
        x̄.
    precision : ndarray of shape (unknowns, unknowns)
        Λ.
    root : ndarray of shape (unknowns, unknowns)
        R of the covariance Λ⁻¹ = R Rᵀ.
    """

    mean: Floats
    precision: Floats
    root: Floats

    @property
    def covariance(self) -> Floats:
        """Λ⁻¹."""
        return self.root @ self.root.T

    @classmethod
    def of_root(cls, mean: Floats, root: Floats) -> Hyperparameters:
        """Take R alone, of which Λ = R⁻ᵀ R⁻¹ is made, positive definite however ill-conditioned it is."""
        half = np.linalg.inv(root).astype(np.float64)
        return cls(mean, half.T @ half, root)


@dataclass(frozen=True)
class NormalWishart:
    """The hyperprior of one side: Λ ~ Wishart(W0, ν0) with ν0 = unknowns, x̄ ~ N(0, (b0 Λ)⁻¹).

    Attributes
    ----------
    scale : ndarray of shape (unknowns,)
        The diagonal of W0⁻¹: 1 where targets have a standard deviation of 1.
    """

    scale: Floats

    @classmethod
    def of(cls, rank: int, *, biases: bool, unit: float) -> NormalWishart:
        """Give the hyperprior of targets whose standard deviation is `unit`."""
        return cls(np.array([unit] * rank + [unit**2] * biases))

    @property
    def expected(self) -> Hyperparameters:
        """What to start from: Λ as it is expected, around 0."""
        unknowns = len(self.scale)
        precision = unknowns / self.scale
        return Hyperparameters(np.zeros(unknowns), np.diag(precision), np.diag(precision**-0.5))

    def draw(self, rows: Moments, rng: np.random.Generator) -> Hyperparameters:
        """Draw from the conditional of x̄ and Λ given the rows.

        Λ ~ Wishart(W, ν0 + n),  x̄ ~ N(Σ x / (b0 + n), ((b0 + n) Λ)⁻¹),  with
        W⁻¹ = W0⁻¹ + Σ x xᵀ − (Σ x)(Σ x)ᵀ / (b0 + n), the prior mean being 0 (Salakhutdinov & Mnih 2008, eq. 14).
        """
        unknowns, weight = len(self.scale), MEAN_RIDGE + rows.weight
        center = rows.total / weight
        C = np.linalg.cholesky(np.diag(self.scale) + rows.squares - weight * np.outer(center, center))
        # Bartlett: with W⁻¹ = C Cᵀ, Λ = C⁻ᵀ B Bᵀ C⁻¹, and its inverse is R Rᵀ with R = C B⁻ᵀ.
        B = np.tril(rng.standard_normal((unknowns, unknowns)), -1)
        B[np.diag_indices(unknowns)] = np.sqrt(rng.chisquare(unknowns + rows.count - np.arange(unknowns)))
        R = np.linalg.solve(B, C.T).T
        half = np.linalg.solve(C.T, B)
        mean = center + R @ rng.standard_normal(unknowns) / np.sqrt(weight)
        return Hyperparameters(mean, half @ half.T, R)


def draw_noise_precision(loss: float, count: int, unit: float, rng: np.random.Generator) -> float:
    """Draw τ ~ Gamma(1 + n/2, σ² + Σ w e² / 2) given the loss Σ w e² of n observations."""
    return float(rng.gamma(SHAPE + count / 2) / (RATE * unit**2 + loss / 2))


@dataclass(frozen=True)
class Dice:
    """Random numbers that depend on the seed and on what they are for, and on nothing else.

    Attributes
    ----------
    seed : int
    """

    seed: int

    def generator(self, *purpose: int) -> np.random.Generator:
        """Give the generator for a purpose, such as (iteration, side, block)."""
        return np.random.Generator(np.random.SFC64(np.random.SeedSequence(self.seed, spawn_key=purpose)))

    def noise(self, out: NDArray[np.floating], spread: float, *purpose: int) -> Sequence[Callable[[], None]]:
        """Give tasks that fill `out` with draws from N(0, spread²), by blocks of rows, for any thread to run."""
        return [
            partial(self._fill, out[start : start + BLOCK], spread, (*purpose, start // BLOCK))
            for start in range(0, len(out), BLOCK)
        ]

    def _fill(self, out: NDArray[np.floating], spread: float, purpose: tuple[int, ...]) -> None:
        rng = self.generator(*purpose)
        if out.dtype == np.float32:
            rng.standard_normal(out=out, dtype=np.float32)
        else:
            rng.standard_normal(out=out)
        out *= spread
