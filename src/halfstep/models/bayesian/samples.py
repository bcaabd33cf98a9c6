"""Samples of a posterior, and what is known from them: mean scores, intervals, and point factors.

The factors of one sample may be turned against those of the next (p·q does not change if both are rotated), so they
are never averaged: scores are.
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
from halfstep.solver.kernels.posterior import SampleArrays, VarianceArrays, central_intervals, mean_scores
from halfstep.solver.threads import Run

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Singles = NDArray[np.float32]
Positions = NDArray[np.integer]

ROWS_AT_ONCE = 4096  # in products that BLAS does
PAIRS_AT_ONCE = 4096  # scored by one task
SPARE = 8  # directions more than are asked for, which make the search for these quicker
PASSES = 4  # of subspace iteration
RELATIVE_RANK = 1e-6  # of the largest singular value: what is below it is rounding


class Intervals(NamedTuple):
    """Predictions with their uncertainty; each an ndarray of shape (n,).

    Attributes
    ----------
    mean : ndarray
        What `predict` says without an interval.
    lower, upper : ndarray
        The ends: the same share of the predictive distribution lies below the one as above the other.
    """

    mean: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SideSamples:
    """The users of each sample, or its items. A row's samples lie side by side, in single precision.

    Attributes
    ----------
    factors : ndarray of shape (n_rows, n_samples, rank)
        Rows without observations have the mean of what rows are drawn from.
    biases : ndarray of shape (n_rows, n_samples)
    means : ndarray of shape (n_samples, rank + 1)
        What rows, [factors | bias], are drawn around: all that is known of an id never seen.
    roots : ndarray of shape (n_samples, rank + 1, rank + 1)
        R of the covariances R Rᵀ with which they are; in double precision, for they may be ill-conditioned.
    is_new : ndarray of bool of shape (n_rows,)
        Which rows have no observations.
    """

    factors: Singles
    biases: Singles
    means: Singles
    roots: NDArray[np.float64]
    is_new: NDArray[np.bool_]

    @classmethod
    def empty(cls, n_rows: int, n_samples: int, rank: int, is_new: NDArray[np.bool_]) -> Self:
        """Make room for samples, all zeros until they are written."""
        return cls(
            np.zeros((n_rows, n_samples, rank), np.float32),
            np.zeros((n_rows, n_samples), np.float32),
            np.zeros((n_samples, rank + 1), np.float32),
            np.zeros((n_samples, rank + 1, rank + 1)),
            is_new,
        )

    def write(self, number: int, X: NDArray[np.floating], hyper: Hyperparameters) -> None:
        """Keep a sample; rows of X are [factors | bias | …]."""
        k, unknowns = self.factors.shape[2], len(hyper.mean)
        self.factors[:, number] = X[:, :k]
        if unknowns > k:
            self.biases[:, number] = X[:, k]
        self.means[number, :unknowns] = hyper.mean
        self.roots[number, :unknowns, :unknowns] = hyper.root

    def first(self, count: int) -> Self:
        """Keep the first samples only."""
        return type(self)(
            self.factors[:, :count].copy(),
            self.biases[:, :count].copy(),
            self.means[:count].copy(),
            self.roots[:count].copy(),
            self.is_new,
        )

    def hyperparameters(self, number: int, unknowns: int) -> Hyperparameters:
        """What the rows of a sample were drawn around."""
        mean: NDArray[np.float64] = self.means[number, :unknowns].astype(np.float64)
        return Hyperparameters.of_root(mean, self.roots[number, :unknowns, :unknowns])

    @property
    def sampled(self) -> SampleArrays:
        """Factors, biases and means as kernels take them: read-only, as those of a file are."""
        views = self.factors.view(), self.biases.view(), self.means.view()
        for view in views:
            view.flags.writeable = False
        return SampleArrays(*views)

    @property
    def covariances(self) -> NDArray[np.float64]:
        """The covariances R Rᵀ."""
        return self.roots @ self.roots.transpose(0, 2, 1)

    @property
    def stacked(self) -> Singles:
        """The factors of all samples as one matrix of shape (n_rows, n_samples · rank); a view."""
        return self.factors.reshape(len(self.factors), self.factors.shape[1] * self.factors.shape[2])


NO_CUTS, NO_CATEGORIES = np.empty((0, 0)), np.empty(0)


@dataclass(frozen=True, eq=False)
class Samples:
    """Draws from the posterior of a factorisation.

    Attributes
    ----------
    users, items : SideSamples
    noise : ndarray of shape (n_samples,)
        τ of each, the precision of an observation of weight 1.
    link : ndarray of shape (n_samples, n_features, rank + 1)
        β of the users, for those who are folded in and for explanations; without features where there is no link.
        (That of the items has done its work: their rows are here.)
    cuts : ndarray of shape (n_samples, n_categories − 1)
        Between the latent targets of ordinal ratings; without categories where scores are of the values themselves.
    categories : ndarray of shape (n_categories,)
        The values of ordinal ratings, ascending.
    """

    users: SideSamples
    items: SideSamples
    noise: NDArray[np.float64]
    link: Singles
    cuts: NDArray[np.float64] = field(default_factory=lambda: NO_CUTS)
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
        link: NDArray[np.floating] | None = None,
        cuts: NDArray[np.float64] | None = None,
    ) -> None:
        """Keep a sample."""
        self.users.write(number, P, users)
        self.items.write(number, Q, items)
        self.noise[number] = noise
        if link is not None:
            self.link[number, :, : link.shape[1]] = link
        if cuts is not None:
            self.cuts[number] = cuts

    def first(self, count: int) -> Samples:
        """Keep the first samples only."""
        if count == len(self):
            return self
        return Samples(
            self.users.first(count),
            self.items.first(count),
            self.noise[:count].copy(),
            self.link[:count].copy(),
            self.cuts[:count].copy(),
            self.categories,
        )

    @property
    def is_ordinal(self) -> bool:
        """Whether ratings are ordinal, and scores are of latent targets."""
        return len(self.categories) > 0

    def linked_means(self, number: int, features: csr_array[Any, tuple[int, int]] | None) -> NDArray[np.float64]:
        """What users of these features are drawn around in a sample: x̄ + βᵀ f, of shape (n_rows or 1, rank + 1)."""
        means: NDArray[np.float64] = self.users.means[number : number + 1].astype(np.float64)
        return means if features is None else means + features @ self.link[number].astype(np.float64)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """All arrays by name."""
        arrays: dict[str, NDArray[Any]] = {"noise": self.noise, "link": self.link}
        if self.is_ordinal:
            arrays |= {"cuts": self.cuts, "categories": self.categories}
        for name, side in (("users", self.users), ("items", self.items)):
            arrays |= {f"{name}.{each.name}": getattr(side, each.name) for each in dataclasses.fields(side)}
        return arrays

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, NDArray[Any]], n_users: int, n_items: int, rank: int, n_features: int
    ) -> Samples:
        """Take arrays from a file; ValueError if they are no samples of a model of this size."""
        count = len(arrays["noise"]) if "noise" in arrays and arrays["noise"].ndim == 1 else 0
        expected: dict[str, tuple[tuple[int, ...], Any]] = {
            "noise": ((count,), np.dtype(np.float64)),
            "link": ((count, n_features, rank + 1), np.dtype(np.float32)),
        }
        cuts, categories = arrays.get("cuts", NO_CUTS), arrays.get("categories", NO_CATEGORIES)
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
        for name, ascending in (("cuts", cuts), ("categories", categories)):
            if not (np.isfinite(ascending).all() and (np.diff(ascending, axis=-1) > 0).all()):
                raise ValueError(f"its {name} are not finite, or do not ascend")
        if not (np.isfinite(arrays["noise"]).all() and (arrays["noise"] > 0).all()):
            raise ValueError("its samples have a noise that is not positive")
        for name in ("users", "items"):
            spreads = arrays[f"{name}.roots"].diagonal(axis1=1, axis2=2)[:, :rank]
            if not (np.isfinite(arrays[f"{name}.roots"]).all() and (spreads != 0).all()):
                raise ValueError(f"its samples have covariances of the {name} that are singular")
        users, items = (
            SideSamples(*(arrays[f"{name}.{each.name}"] for each in dataclasses.fields(SideSamples)))
            for name in ("users", "items")
        )
        return cls(users, items, arrays["noise"], arrays["link"], cuts, categories)

    @staticmethod
    def bytes_of_one(n_users: int, n_items: int, rank: int, n_features: int = 0, n_cuts: int = 0) -> int:
        """Bytes that a sample takes."""
        unknowns = rank + 1
        return 4 * unknowns * (n_users + n_items + n_features + 2) + 8 * (2 * unknowns**2 + 1 + n_cuts)

    @property
    def spread(self) -> VarianceArrays:
        """What is not known of a score, as kernels take it."""
        users, items = self.users, self.items
        new = np.array(users.is_new), np.array(items.is_new)
        return VarianceArrays(np.array(self.noise), users.covariances, items.covariances, *new)

    def scores(self, u: Positions, i: Positions, run: Run) -> NDArray[np.float64]:
        """The mean score of pairs of positions over all samples; −1 stands for an id never seen."""
        out = np.empty(len(u))
        u, i = np.array(u, np.int64), np.array(i, np.int64)
        users, items = self.users.sampled, self.items.sampled

        def score(some: slice) -> None:
            mean_scores(u[some], i[some], users, items, out[some])

        run([partial(score, some) for some in _slices(len(u), PAIRS_AT_ONCE)])
        return out

    def intervals(self, u: Positions, i: Positions, share: float, run: Run) -> NDArray[np.float64]:
        """Lower and upper end of the mixture of N(score_s, 1/τ_s) over all samples, of shape (n_pairs, 2).

        What is not known of a user or an item without observations is added to the variance.
        """
        out = np.empty((len(u), 2))
        u, i = np.array(u, np.int64), np.array(i, np.int64)
        users, items, spread = self.users.sampled, self.items.sampled, self.spread
        normal = NormalDist().inv_cdf(0.5 * (1.0 + share))

        def find(some: slice) -> None:
            central_intervals(u[some], i[some], users, items, spread, share, normal, out[some])

        run([partial(find, some) for some in _slices(len(u), PAIRS_AT_ONCE)])
        return out

    def point_factors(self, run: Run) -> tuple[Singles, Singles]:
        """The factors P, Q of the samples' rank whose product is nearest to the mean of their products.

        mean_s P_s Q_sᵀ is one product of stacked factors, whose largest singular vectors are found by subspace
        iteration (Halko, Martinsson & Tropp 2011); no matrix of users × items is made. Both get the square root of
        the singular values.
        """
        k = self.users.factors.shape[2]
        A, B = self.users.stacked, self.items.stacked
        width = min(k + SPARE, len(A), len(B), A.shape[1])
        V = np.random.default_rng(0).standard_normal((len(B), width), np.float32)
        for _ in range(PASSES):
            U = np.linalg.qr(_times(A, _transposed_times(B, V, run), run))[0]
            V, R = np.linalg.qr(_times(B, _transposed_times(A, U, run), run))
        left, values, right = np.linalg.svd(R.T.astype(np.float64))
        roots = np.sqrt(np.where(values > RELATIVE_RANK * values[0], values, 0.0)[:k] / len(self))
        P, Q = np.zeros((len(A), k), np.float32), np.zeros((len(B), k), np.float32)
        P[:, : len(roots)], Q[:, : len(roots)] = (U @ left)[:, :k] * roots, (V @ right.T)[:, :k] * roots
        return P, Q

    def projected(self, Q: Singles, run: Run) -> Singles:
        """The users' point factors for given ones of the items: the least squares of Q pᵀ to each mean score."""
        pulled = _times(self.users.stacked, _transposed_times(self.items.stacked, Q, run), run) / len(self)
        gram = Q.astype(np.float64).T @ Q
        found: Singles = (pulled @ np.linalg.pinv(gram, rcond=RELATIVE_RANK, hermitian=True)).astype(np.float32)
        return found


def _slices(n: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


def _times(A: Singles, B: Singles, run: Run) -> Singles:
    """A B, some rows at a time."""
    out = np.empty((len(A), B.shape[1]), np.float32)
    run([partial(np.matmul, A[some], B, out=out[some]) for some in _slices(len(A), ROWS_AT_ONCE)])
    return out


def _transposed_times(A: Singles, B: Singles, run: Run) -> Singles:
    """Aᵀ B, some rows at a time, added up in order."""
    slices = _slices(len(A), ROWS_AT_ONCE)
    parts = np.empty((len(slices), A.shape[1], B.shape[1]), np.float32)
    run([partial(np.matmul, A[some].T, B[some], out=part) for some, part in zip(slices, parts, strict=True)])
    total: Singles = parts.sum(axis=0)
    return total
