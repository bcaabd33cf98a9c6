"""Hyperpriors of the Gibbs sampler, and their full conditional distributions.

The model is that of Salakhutdinov & Mnih (2008), for rows x of the factors, followed by the bias:

    t_ui ~ N(score, 1 / (τ w_ui)),   x_u ~ N(x̄, Λ⁻¹),   x̄, Λ ~ Normal–Wishart,   τ ~ Gamma

The hyperpriors are defined for targets with standard deviation 1. For a standard deviation σ, biases scale with σ and
factors with √σ, so that predictions scale with the values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MEAN_PRECISION = 2.0  # b0 of x̄ ~ N(0, (b0 Λ)⁻¹)
NOISE_SHAPE, NOISE_RATE = 1.0, 1.0  # of the gamma prior of τ, in units of 1 / σ²
ROWS_PER_STREAM = 512


@dataclass(frozen=True)
class Moments:
    """Sufficient statistics of the rows of a side.

    Attributes
    ----------
    count : int
    weight : float
        Effective number of rows: `count`, or less if the mean depends on features.
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
    """Parameters of the prior of a side's rows, x ~ N(mean, covariance).

    Attributes
    ----------
    mean : ndarray of shape (unknowns,)
        x̄.
    precision : ndarray of shape (unknowns, unknowns)
        Λ.
    root : ndarray of shape (unknowns, unknowns)
        R with Λ⁻¹ = R Rᵀ.
    """

    mean: Floats
    precision: Floats
    root: Floats

    @property
    def covariance(self) -> Floats:
        """Λ⁻¹."""
        return self.root @ self.root.T

    @classmethod
    def from_root(cls, mean: Floats, root: Floats) -> Hyperparameters:
        """Compute Λ = R⁻ᵀ R⁻¹, which is positive definite even if R is ill-conditioned."""
        half = np.linalg.inv(root).astype(np.float64)
        return cls(mean, half.T @ half, root)


@dataclass(frozen=True)
class NormalWishart:
    """Hyperprior of one side: Λ ~ Wishart(W0, ν0) with ν0 = unknowns, x̄ ~ N(0, (b0 Λ)⁻¹).

    Attributes
    ----------
    scale : ndarray of shape (unknowns,)
        Diagonal of W0⁻¹; all 1 for targets with standard deviation 1.
    """

    scale: Floats

    @classmethod
    def of(cls, rank: int, *, biases: bool, target_scale: float) -> NormalWishart:
        """Return the hyperprior for targets with standard deviation `target_scale`."""
        return cls(np.array([target_scale] * rank + [target_scale**2] * biases))

    @property
    def expected(self) -> Hyperparameters:
        """Prior expectation of Λ, with mean 0; the initial state."""
        unknowns = len(self.scale)
        precision = unknowns / self.scale
        return Hyperparameters(np.zeros(unknowns), np.diag(precision), np.diag(precision**-0.5))

    def sample(self, rows: Moments, rng: np.random.Generator) -> Hyperparameters:
        """Sample x̄ and Λ from their conditional distribution given the rows.

        Λ ~ Wishart(W, ν0 + n),  x̄ ~ N(Σ x / (b0 + n), ((b0 + n) Λ)⁻¹),  with
        W⁻¹ = W0⁻¹ + Σ x xᵀ − (Σ x)(Σ x)ᵀ / (b0 + n), the prior mean being 0 (Salakhutdinov & Mnih 2008, eq. 14).
        """
        unknowns, weight = len(self.scale), MEAN_PRECISION + rows.weight
        center = rows.total / weight
        C = np.linalg.cholesky(np.diag(self.scale) + rows.squares - weight * np.outer(center, center))
        # Bartlett's decomposition: with W⁻¹ = C Cᵀ, Λ = C⁻ᵀ B Bᵀ C⁻¹ and Λ⁻¹ = R Rᵀ for R = C B⁻ᵀ
        B = np.tril(rng.standard_normal((unknowns, unknowns)), -1)
        B[np.diag_indices(unknowns)] = np.sqrt(rng.chisquare(unknowns + rows.count - np.arange(unknowns)))
        R = np.linalg.solve(B, C.T).T
        half = np.linalg.solve(C.T, B)
        mean = center + R @ rng.standard_normal(unknowns) / np.sqrt(weight)
        return Hyperparameters(mean, half @ half.T, R)


def sample_noise_precision(loss: float, count: int, target_scale: float, rng: np.random.Generator) -> float:
    """Sample τ ~ Gamma(1 + n/2, σ² + Σ w e² / 2) given the loss Σ w e² of n observations."""
    return float(rng.gamma(NOISE_SHAPE + count / 2) / (NOISE_RATE * target_scale**2 + loss / 2))


@dataclass(frozen=True)
class RandomStreams:
    """Independent random generators, one for each purpose, so that results do not depend on the order of threads."""

    seed: int

    def generator(self, *purpose: int) -> np.random.Generator:
        """Return the generator of a purpose, such as (iteration, side, block)."""
        return np.random.Generator(np.random.SFC64(np.random.SeedSequence(self.seed, spawn_key=purpose)))

    def normal_tasks(self, out: NDArray[np.floating], scale: float, *purpose: int) -> Sequence[Callable[[], None]]:
        """Return tasks, one for each block of rows, that fill `out` with samples of N(0, scale²)."""
        return [
            partial(self._fill, out[start : start + ROWS_PER_STREAM], scale, (*purpose, start // ROWS_PER_STREAM))
            for start in range(0, len(out), ROWS_PER_STREAM)
        ]

    def _fill(self, out: NDArray[np.floating], scale: float, purpose: tuple[int, ...]) -> None:
        rng = self.generator(*purpose)
        if out.dtype == np.float32:
            rng.standard_normal(out=out, dtype=np.float32)
        else:
            rng.standard_normal(out=out)
        out *= scale
