"""Posterior samples, and predictions from them: mean scores, intervals, and point factors.

Factors are identified only up to a rotation, so scores are averaged over samples, and factors are not.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from halfstep.models.bayesian.hyperpriors import Hyperparameters
from halfstep.models.factorization import Factorization
from halfstep.solver.kernels.posterior import SampleArrays, VarianceArrays, central_intervals, mean_scores
from halfstep.solver.threads import Run

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Float32Array = NDArray[np.float32]
Positions = NDArray[np.integer]

ROWS_PER_TASK = 4096  # of matrix products
PAIRS_PER_TASK = 4096
OVERSAMPLES = 8
POWER_ITERATIONS = 4
SINGULAR_TOLERANCE = 1e-6  # relative to the largest singular value


class Intervals(NamedTuple):
    """Predictions with prediction intervals, as arrays of shape (n,).

    Attributes
    ----------
    mean : ndarray
        The predictions, as without `interval`.
    lower, upper : ndarray
        Ends of the central intervals of the predictive distribution.
    """

    mean: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SideSamples:
    """Samples of the users, or of the items; the samples of a row are contiguous.

    Attributes
    ----------
    factors : ndarray of shape (n_rows, n_samples, rank)
        Rows without observations hold their prior mean.
    biases : ndarray of shape (n_rows, n_samples)
    means : ndarray of shape (n_samples, rank + 1)
        Prior means of the rows, [factors | bias]; used for unknown ids.
    roots : ndarray of shape (n_samples, rank + 1, rank + 1)
        R of the prior covariances R Rᵀ; in float64, because they may be ill-conditioned.
    is_new : ndarray of bool of shape (n_rows,)
        True for rows without observations.
    """

    factors: Float32Array
    biases: Float32Array
    means: Float32Array
    roots: NDArray[np.float64]
    is_new: NDArray[np.bool_]

    @classmethod
    def empty(cls, n_rows: int, n_samples: int, rank: int, is_new: NDArray[np.bool_]) -> Self:
        """Allocate samples, filled with zeros."""
        return cls(
            np.zeros((n_rows, n_samples, rank), np.float32),
            np.zeros((n_rows, n_samples), np.float32),
            np.zeros((n_samples, rank + 1), np.float32),
            np.zeros((n_samples, rank + 1, rank + 1)),
            is_new,
        )

    def write(self, number: int, X: NDArray[np.floating], hyper: Hyperparameters) -> None:
        """Store a sample; rows of X are [factors | bias | …]."""
        k, unknowns = self.factors.shape[2], len(hyper.mean)
        self.factors[:, number] = X[:, :k]
        if unknowns > k:
            self.biases[:, number] = X[:, k]
        self.means[number, :unknowns] = hyper.mean
        self.roots[number, :unknowns, :unknowns] = hyper.root

    def first(self, count: int) -> Self:
        """Return a copy of the first samples."""
        return type(self)(
            self.factors[:, :count].copy(),
            self.biases[:, :count].copy(),
            self.means[:count].copy(),
            self.roots[:count].copy(),
            self.is_new,
        )

    def hyperparameters(self, number: int, unknowns: int) -> Hyperparameters:
        """Return the prior of the rows in a sample."""
        mean: NDArray[np.float64] = self.means[number, :unknowns].astype(np.float64)
        return Hyperparameters.from_root(mean, self.roots[number, :unknowns, :unknowns])

    @property
    def kernel_arrays(self) -> SampleArrays:
        """Arrays for kernels, read-only as in loaded models, so that kernels are compiled once."""
        views = self.factors.view(), self.biases.view(), self.means.view()
        for view in views:
            view.flags.writeable = False
        return SampleArrays(*views)

    @property
    def covariances(self) -> NDArray[np.float64]:
        """Prior covariances R Rᵀ."""
        return self.roots @ self.roots.transpose(0, 2, 1)

    @property
    def stacked(self) -> Float32Array:
        """Factors of all samples as a matrix of shape (n_rows, n_samples · rank); a view."""
        return self.factors.reshape(len(self.factors), self.factors.shape[1] * self.factors.shape[2])


NO_THRESHOLDS, NO_CATEGORIES = np.empty((0, 0)), np.empty(0)


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples of the posterior of a factorization.

    Attributes
    ----------
    users, items : SideSamples
    noise : ndarray of shape (n_samples,)
        τ, the noise precision of an observation of weight 1.
    user_coefficients : ndarray of shape (n_samples, n_features, rank + 1)
        β of the users, for `fold_in` and `explain`.
    thresholds : ndarray of shape (n_samples, n_categories − 1)
        Thresholds of ordinal ratings.
    categories : ndarray of shape (n_categories,)
        Values of ordinal ratings, ascending; empty for other ratings.
    """

    users: SideSamples
    items: SideSamples
    noise: NDArray[np.float64]
    user_coefficients: Float32Array
    thresholds: NDArray[np.float64] = field(default_factory=lambda: NO_THRESHOLDS)
    categories: NDArray[np.float64] = field(default_factory=lambda: NO_CATEGORIES)

    def __len__(self) -> int:
        return len(self.noise)

    def write(
        self,
        number: int,
        P: NDArray[np.floating],
        Q: NDArray[np.floating],
        users: Hyperparameters,
        items: Hyperparameters,
        noise: float,
        user_coefficients: NDArray[np.floating] | None = None,
        thresholds: NDArray[np.float64] | None = None,
    ) -> None:
        """Store a sample."""
        self.users.write(number, P, users)
        self.items.write(number, Q, items)
        self.noise[number] = noise
        if user_coefficients is not None:
            self.user_coefficients[number, :, : user_coefficients.shape[1]] = user_coefficients
        if thresholds is not None:
            self.thresholds[number] = thresholds

    def first(self, count: int) -> Samples:
        """Return the first samples."""
        if count == len(self):
            return self
        return Samples(
            self.users.first(count),
            self.items.first(count),
            self.noise[:count].copy(),
            self.user_coefficients[:count].copy(),
            self.thresholds[:count].copy(),
            self.categories,
        )

    @property
    def is_ordinal(self) -> bool:
        """Whether ratings are ordinal, so that scores are those of latent targets."""
        return len(self.categories) > 0

    def prior_means(self, number: int, features: csr_array[Any, tuple[int, int]] | None) -> NDArray[np.float64]:
        """Return the prior means x̄ + βᵀ f of users in a sample, of shape (n_rows or 1, rank + 1)."""
        means: NDArray[np.float64] = self.users.means[number : number + 1].astype(np.float64)
        return means if features is None else means + features @ self.user_coefficients[number].astype(np.float64)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return all arrays by their names in model files."""
        arrays: dict[str, NDArray[Any]] = {"noise": self.noise, "link": self.user_coefficients}
        if self.is_ordinal:
            arrays |= {"cuts": self.thresholds, "categories": self.categories}
        for name, side in (("users", self.users), ("items", self.items)):
            arrays |= {f"{name}.{each.name}": getattr(side, each.name) for each in dataclasses.fields(side)}
        return arrays

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, NDArray[Any]], n_users: int, n_items: int, rank: int, n_features: int
    ) -> Samples:
        """Create samples from the arrays of a file; raise ValueError if they do not match the size of the model."""
        count = len(arrays["noise"]) if "noise" in arrays and arrays["noise"].ndim == 1 else 0
        expected: dict[str, tuple[tuple[int, ...], Any]] = {
            "noise": ((count,), np.dtype(np.float64)),
            "link": ((count, n_features, rank + 1), np.dtype(np.float32)),
        }
        thresholds, categories = arrays.get("cuts", NO_THRESHOLDS), arrays.get("categories", NO_CATEGORIES)
        if "cuts" in arrays or "categories" in arrays:
            n_categories = max(categories.size, 1)
            expected |= {
                "cuts": ((count, n_categories - 1), np.dtype(np.float64)),
                "categories": ((n_categories,), np.dtype(np.float64)),
            }
        for name, n in (("users", n_users), ("items", n_items)):
            expected |= {
                f"{name}.factors": ((n, count, rank), np.dtype(np.float32)),
                f"{name}.biases": ((n, count), np.dtype(np.float32)),
                f"{name}.means": ((count, rank + 1), np.dtype(np.float32)),
                f"{name}.roots": ((count, rank + 1, rank + 1), np.dtype(np.float64)),
                f"{name}.is_new": ((n,), np.dtype(np.bool_)),
            }
        found: dict[str, tuple[tuple[int, ...], Any]] = {
            name: (array.shape, array.dtype) for name, array in arrays.items()
        }
        if count == 0 or found != expected:
            raise ValueError(f"its samples {found} do not fit its factors")
        for name, ascending in (("thresholds", thresholds), ("categories", categories)):
            if not (np.isfinite(ascending).all() and (np.diff(ascending, axis=-1) > 0).all()):
                raise ValueError(f"its {name} are not finite or not ascending")
        if not (np.isfinite(arrays["noise"]).all() and (arrays["noise"] > 0).all()):
            raise ValueError("its samples have a noise precision that is not positive")
        for name in ("users", "items"):
            diagonals = arrays[f"{name}.roots"].diagonal(axis1=1, axis2=2)[:, :rank]
            if not (np.isfinite(arrays[f"{name}.roots"]).all() and (diagonals != 0).all()):
                raise ValueError(f"its samples have singular covariances of the {name}")
        users, items = (
            SideSamples(*(arrays[f"{name}.{each.name}"] for each in dataclasses.fields(SideSamples)))
            for name in ("users", "items")
        )
        return cls(users, items, arrays["noise"], arrays["link"], thresholds, categories)

    @staticmethod
    def bytes_per_sample(n_users: int, n_items: int, rank: int, n_features: int = 0, n_thresholds: int = 0) -> int:
        """Return the size of a sample in bytes."""
        unknowns = rank + 1
        return 4 * unknowns * (n_users + n_items + n_features + 2) + 8 * (2 * unknowns**2 + 1 + n_thresholds)

    @property
    def variance_arrays(self) -> VarianceArrays:
        """Components of the predictive variance, for kernels."""
        users, items = self.users, self.items
        new = np.array(users.is_new), np.array(items.is_new)
        return VarianceArrays(np.array(self.noise), users.covariances, items.covariances, *new)

    def scores(self, u: Positions, i: Positions, run: Run) -> NDArray[np.float64]:
        """Average the scores of pairs of positions over all samples; −1 is the position of an unknown id."""
        out = np.empty(len(u))
        u, i = np.array(u, np.int64), np.array(i, np.int64)
        users, items = self.users.kernel_arrays, self.items.kernel_arrays

        def score(some: slice) -> None:
            mean_scores(u[some], i[some], users, items, out[some])

        run([partial(score, some) for some in _slices(len(u), PAIRS_PER_TASK)])
        return out

    def intervals(self, u: Positions, i: Positions, probability: float, run: Run) -> NDArray[np.float64]:
        """Return the ends of central predictive intervals, of shape (n_pairs, 2).

        The predictive distribution is the mixture of N(score_s, 1/τ_s) over all samples; the prior variance of users
        and items without observations is added.
        """
        out = np.empty((len(u), 2))
        u, i = np.array(u, np.int64), np.array(i, np.int64)
        users, items, variances = self.users.kernel_arrays, self.items.kernel_arrays, self.variance_arrays
        normal_end = NormalDist().inv_cdf(0.5 * (1.0 + probability))

        def find(some: slice) -> None:
            central_intervals(u[some], i[some], users, items, variances, probability, normal_end, out[some])

        run([partial(find, some) for some in _slices(len(u), PAIRS_PER_TASK)])
        return out

    def point_factors(self, run: Run) -> tuple[Float32Array, Float32Array]:
        """Return the best approximation P Qᵀ, of the samples' rank, of the posterior mean of the products.

        mean_s P_s Q_sᵀ is one product of stacked factors, and its truncated SVD is computed by randomized subspace
        iteration (Halko, Martinsson & Tropp 2011), without a matrix of users × items. P and Q each get the square
        roots of the singular values.
        """
        k = self.users.factors.shape[2]
        A, B = self.users.stacked, self.items.stacked
        width = min(k + OVERSAMPLES, len(A), len(B), A.shape[1])
        V = np.random.default_rng(0).standard_normal((len(B), width), np.float32)
        for _ in range(POWER_ITERATIONS):
            U = np.linalg.qr(_times(A, _transposed_times(B, V, run), run))[0]
            V, R = np.linalg.qr(_times(B, _transposed_times(A, U, run), run))
        left, values, right = np.linalg.svd(R.T.astype(np.float64))
        roots = np.sqrt(np.where(values > SINGULAR_TOLERANCE * values[0], values, 0.0)[:k] / len(self))
        P, Q = np.zeros((len(A), k), np.float32), np.zeros((len(B), k), np.float32)
        P[:, : len(roots)], Q[:, : len(roots)] = (U @ left)[:, :k] * roots, (V @ right.T)[:, :k] * roots
        return P, Q

    def user_point_factors(self, Q: Float32Array, run: Run) -> Float32Array:
        """Return the users' point factors given those of the items, by least squares on the mean scores."""
        right_sides = _times(self.users.stacked, _transposed_times(self.items.stacked, Q, run), run) / len(self)
        gram = Q.astype(np.float64).T @ Q
        P = right_sides @ np.linalg.pinv(gram, rcond=SINGULAR_TOLERANCE, hermitian=True)
        rounded: Float32Array = P.astype(np.float32)
        return rounded


@dataclass(frozen=True, eq=False, kw_only=True)
class SampledFactorization(Factorization):
    """A factorization that summarizes samples of the posterior."""

    samples: Samples

    @classmethod
    def of(cls, fitted: Factorization, **more: Any) -> Self:
        """Add samples to a factorization."""
        fields = {field.name: getattr(fitted, field.name) for field in dataclasses.fields(fitted)}
        return cls(**(fields | more))

    @property
    def categories(self) -> NDArray[np.float64]:
        """The values of ordinal ratings, ascending; empty if ratings are not ordinal."""
        return self.samples.categories


def _slices(n: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


def _times(A: Float32Array, B: Float32Array, run: Run) -> Float32Array:
    """Compute A B in chunks of rows."""
    out = np.empty((len(A), B.shape[1]), np.float32)
    run([partial(np.matmul, A[some], B, out=out[some]) for some in _slices(len(A), ROWS_PER_TASK)])
    return out


def _transposed_times(A: Float32Array, B: Float32Array, run: Run) -> Float32Array:
    """Compute Aᵀ B in chunks of rows, which are summed in order."""
    slices = _slices(len(A), ROWS_PER_TASK)
    parts = np.empty((len(slices), A.shape[1], B.shape[1]), np.float32)
    run([partial(np.matmul, A[some].T, B[some], out=part) for some, part in zip(slices, parts, strict=True)])
    total: Float32Array = parts.sum(axis=0)
    return total
