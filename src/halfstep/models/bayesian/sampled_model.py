"""Base class of models with posterior samples: predictions, folding in and explanations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, Self, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from halfstep.data import Interactions
from halfstep.data.named_rows import naming_the_row
from halfstep.data.side_information import SideInformation
from halfstep.errors import ParameterError
from halfstep.models.bayesian.gibbs import fold_in
from halfstep.models.bayesian.ordinal import Ratings, category_quantiles, probabilities, refuse_weights
from halfstep.models.bayesian.samples import Intervals, SampledFactorization, Samples
from halfstep.models.factorization import Factorization
from halfstep.models.fitted_attribute import FittedAttribute
from halfstep.models.half_step_model import HalfStepModel
from halfstep.models.pairs import positions_of_pairs
from halfstep.objective.regularization import RowRegularization
from halfstep.solver.cpu import CPU
from halfstep.solver.subset import system

if TYPE_CHECKING:
    from halfstep.data.side_information import Sparse

NO_REGULARIZATION = RowRegularization(0.0, 0.0)  # there is a prior instead
PREFIX = "features."  # of arrays of the users' features in model files
WORTH_THREADS = 1_000_000  # multiply-adds from which several threads are faster


class SampledModel(HalfStepModel):
    """Base class of `BayesianALS`, with the methods that use posterior samples."""

    rank: int
    implicit_features: bool
    ordinal: bool

    samples_ = FittedAttribute[Samples]()
    categories_ = FittedAttribute[NDArray[np.float64]]()

    @overload
    def predict(
        self,
        users: ArrayLike | Interactions,
        items: ArrayLike | None = None,
        *,
        unknown: Literal["baseline", "raise"] = "baseline",
        interval: None = None,
    ) -> NDArray[np.float64]: ...

    @overload
    def predict(
        self,
        users: ArrayLike | Interactions,
        items: ArrayLike | None = None,
        *,
        unknown: Literal["baseline", "raise"] = "baseline",
        interval: float,
    ) -> Intervals: ...

    def predict(
        self,
        users: ArrayLike | Interactions,
        items: ArrayLike | None = None,
        *,
        unknown: Literal["baseline", "raise"] = "baseline",
        interval: float | None = None,
    ) -> NDArray[np.float64] | Intervals:
        """Score pairs of a user and an item by the mean over all samples, optionally with intervals.

        Parameters
        ----------
        users, items : array-like of ids, both of length n
            A single id is paired with every id of the other side. If `users` is Interactions, their pairs are scored,
            and `items` is omitted.
        unknown : {"baseline", "raise"}
            How ids that the model was not fitted on are handled: "baseline" predicts them from the prior, "raise"
            raises `UnknownIdError`.
        interval : float, optional
            The probability of an observation of weight 1 in the interval, such as 0.9.

        Returns
        -------
        ndarray of shape (n,), or Intervals with ``interval``
            Means, or a tuple (mean, lower, upper) of arrays. The bounds are quantiles of the predictive distribution,
            a mixture over the samples s of N(score_s, 1/τ_s); for users and items without observations, the prior
            variance is added. With ``ordinal=True``, means and bounds are of the distribution over the categories;
            the bounds are categories, and the probability beyond each is at most (1 − interval) / 2.

        Raises
        ------
        ParameterError
            If `interval` is not between 0 and 1.
        DataError
            If `users` and `items` differ in length.
        UnknownIdError
            If an id is unknown and ``unknown="raise"``.
        """
        if interval is None:
            return super().predict(users, items, unknown=unknown)
        if not (isinstance(interval, float | np.floating) and 0 < interval < 1):
            raise ParameterError(f"interval={interval!r}: give a probability between 0 and 1, such as 0.9")
        self = self._snapshot()
        u, i = positions_of_pairs(self._fitted, users, items, unknown)
        if self.samples_.is_ordinal:
            shares, tail = self._probabilities(u, i), 0.5 * (1.0 - float(interval))
            ends = (category_quantiles(shares, self.categories_, share) for share in (tail, 1.0 - tail))
            return Intervals(shares @ self.categories_, *ends)
        with self._helpers(len(u)) as backend:
            mean = self.samples_.scores(u, i, backend.run) + self.mean_
            lower, upper = self.samples_.intervals(u, i, float(interval), backend.run).T + self.mean_
        return Intervals(mean, lower, upper)

    def predict_proba(
        self,
        users: ArrayLike | Interactions,
        items: ArrayLike | None = None,
        *,
        unknown: Literal["baseline", "raise"] = "baseline",
    ) -> NDArray[np.float64]:
        """Return the probability of each category for pairs of a user and an item, with ``ordinal=True``.

        Parameters
        ----------
        users, items, unknown
            As in `predict`.

        Returns
        -------
        ndarray of shape (n, n_categories)
            For each of `categories_`, the mean over all samples of Φ(c_r − score) − Φ(c_{r−1} − score), with the
            thresholds c. For users and items without observations, the prior variance is added to the variance, 1.

        Raises
        ------
        ParameterError
            If the model has no categories.
        DataError
            If `users` and `items` differ in length.
        UnknownIdError
            If an id is unknown and ``unknown="raise"``.
        """
        self = self._snapshot()
        if not self.samples_.is_ordinal:
            raise ParameterError(
                "the model was fitted with ordinal=False, so it has no categories: fit it with ordinal=True"
            )
        return self._probabilities(*positions_of_pairs(self._fitted, users, items, unknown))

    def _probabilities(self, u: NDArray[np.int32], i: NDArray[np.int32]) -> NDArray[np.float64]:
        with self._helpers(len(u)) as backend:
            return probabilities(self.samples_, u, i, backend.run)

    def _score(self, u: NDArray[np.int32], i: NDArray[np.int32]) -> NDArray[np.float64]:
        if self.samples_.is_ordinal:
            means: NDArray[np.float64] = self._probabilities(u, i) @ self.categories_
            return means
        with self._helpers(len(u)) as backend:
            return self.samples_.scores(u, i, backend.run) + self.mean_

    def _helpers(self, pairs: int) -> CPU:
        """Return the threads for scoring a number of pairs."""
        return CPU(self.threads if pairs * len(self.samples_) * self.rank > WORTH_THREADS else 1)

    def fold_in(
        self, histories: Any, *, unknown_items: Literal["ignore", "raise"] = "ignore", user_features: Any = None
    ) -> Self:
        """Return a model of new users, or of known users with new histories.

        For each sample, users are sampled as in `fit`, given its items, noise and hyperparameters; with
        ``ordinal=True``, alternately with their latent targets, a few times. Items are not updated. The result for a
        user does not depend on the other users.

        Parameters
        ----------
        histories : Interactions, sparse matrix, dataframe or mapping
            Histories as for `ALS.fold_in`.
        unknown_items : {"ignore", "raise"}
            Whether to ignore items that the model was not fitted on, or to raise `UnknownIdError`.
        user_features : dataframe or scipy sparse matrix, optional
            Features of these users, if the model was fitted with `user_features`: a dataframe with the same columns
            (others are ignored), or a matrix with a row for each user. New categories, and users without features,
            are treated as missing. (Implicit features are derived from the histories.)

        Returns
        -------
        BayesianALS
            A model of these users only, with the items of this one. This model is unchanged.

        Raises
        ------
        DataError
            If the histories or the features are invalid, the number of columns of a matrix is not the number of items
            of the model, or an item id is of a different type than those of the model; with ``ordinal=True``, also if
            a value is not one of `categories_`.
        UnknownIdError
            If an item is unknown and ``unknown_items="raise"``.
        """
        self._check_parameters()
        self = self._snapshot()
        data = self._histories(histories, unknown_items)
        of_users = self._features.encode_others(data.users, user_features)
        features = self._with_implicit(data, of_users)
        side, samples, codes = self._user_problem(data), self.samples_, None
        if samples.is_ordinal:
            refuse_weights(side.weights)
            codes = Ratings.of(data, samples.categories).codes[data.by_user.order]
        work = len(samples) * (len(side.indices) * self.rank**2 + len(data.user_counts) * self.rank**3)
        with CPU(self.threads if work > WORTH_THREADS else 1) as backend, naming_the_row("user", data.users):
            users = fold_in(backend, side, samples, data.user_counts == 0, features, codes)
            folded_samples = replace(samples, users=users)
            factors = folded_samples.user_point_factors(self.item_factors_, backend.run)
        return self._of_users(
            data, factors, users.biases.mean(axis=1), samples=folded_samples, user_features=of_users
        )

    def _contributions(self, history: Interactions, u: int, i: int) -> tuple[NDArray[np.floating], float]:
        """Return means over all samples.

        Terms of the prior mean for implicit features are included in the contributions, the others in the baseline.
        """
        samples = self.samples_
        if samples.is_ordinal:
            raise ParameterError(
                "explain does not support ordinal=True, because the expected value is not a sum over interactions: "
                "fit a model with ordinal=False, whose predictions are similar"
            )
        side = self._user_problem(history).take(np.array([u]))
        K, items = side.unknowns, side.indices
        share = max(len(history), 1) ** -0.5 if self.implicit_features else 0.0  # value of a feature
        given, n_implicit = self._features.matrix[[u]], len(self.items_) if self.implicit_features else 0
        contributions, baseline = np.zeros(len(history)), 0.0
        for s, noise in enumerate(samples.noise):
            hyper = samples.users.hyperparameters(s, K)
            Q, c = samples.items.factors[:, s], samples.items.biases[:, s]
            y = np.append(Q[i], [1.0] * side.biases).astype(np.float64)
            prior = hyper.precision / noise
            A, Y, pull = system(side, Q, c)
            weights = np.linalg.solve(A + prior, y)
            contributions += pull * (Y @ weights)
            of_prior, coefficients = prior @ weights, samples.user_coefficients[s, :, :K].astype(np.float64)
            if share:
                contributions += share * (coefficients[items] @ of_prior)
            mean = hyper.mean + (given @ coefficients[n_implicit:])[0]
            baseline += float(mean @ of_prior) + float(c[i])
        return contributions / len(samples), baseline / len(samples)

    @property
    def _regularization(self) -> RowRegularization:
        return NO_REGULARIZATION

    @property
    def _features(self) -> SideInformation:
        """The features of the users; without columns if they have none."""
        features = self._fitted.user_features
        assert features is not None
        return features

    def _to_arrays(self) -> dict[str, NDArray[Any]]:
        return self.samples_.to_arrays() | {f"{PREFIX}{name}": a for name, a in self._features.to_arrays().items()}

    def _from_arrays(self, fitted: Factorization, arrays: Mapping[str, NDArray[Any]]) -> SampledFactorization:
        n_users, n_items = len(fitted.users), len(fitted.items)
        of_users = {name.removeprefix(PREFIX): a for name, a in arrays.items() if name.startswith(PREFIX)}
        features = SideInformation.from_arrays(of_users, "user", n_users)
        n_features = features.matrix.shape[1] + (n_items if self.implicit_features else 0)
        sampled = {name: a for name, a in arrays.items() if not name.startswith(PREFIX)}
        samples = Samples.from_arrays(sampled, n_users, n_items, fitted.rank, n_features)
        if samples.is_ordinal != bool(self.ordinal):
            raise ValueError(f"its samples are not those of ordinal={self.ordinal}")
        return SampledFactorization.of(fitted, samples=samples, user_features=features)

    def _with_implicit(self, data: Interactions, given: SideInformation) -> Sparse | None:
        """Return the given and implicit features of users, with a row for each."""
        return given.with_implicit(data.by_user, data.n_items, implicit=bool(self.implicit_features))
