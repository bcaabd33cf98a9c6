"""Base class of models with half-steps: folding in and explanations."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from halfstep._support.checks import check_choice, check_integer
from halfstep.data import GrowableInteractions, Interactions
from halfstep.data.named_rows import naming_the_row
from halfstep.data.recommendations import Explanation
from halfstep.data.side_information import refuse_features
from halfstep.errors import DataError
from halfstep.models.als_features import FittedFeatures
from halfstep.models.factor_model import FactorModel
from halfstep.models.histories import NO_INTERACTIONS, with_items_checked, with_items_of
from halfstep.models.storage import NotStored
from halfstep.objective.objective import Objective, Statistics
from halfstep.objective.problem import HalfProblem, user_problem
from halfstep.objective.regularization import RowRegularization
from halfstep.solver.precision import not_definite
from halfstep.solver.subset import solve_subset, system


class HalfStepModel(FactorModel):
    """Base class of models that minimize an `Objective`; for attributes and thread safety, see `FactorModel`."""

    objective: Objective
    threads: int | None

    @property
    def _fitted_features(self) -> FittedFeatures | None:
        """The features of users, and their coefficients; None without side information."""
        fitted = self._fitted
        if fitted.user_features is None or fitted.coefficients is None:
            return None
        return FittedFeatures(fitted.user_features, fitted.coefficients)

    @property
    def _objective(self) -> Objective:
        """The objective that the model was fitted with, without parameters that depend on the data."""
        return self.objective

    @property
    def _regularization(self) -> RowRegularization:
        raise NotImplementedError

    def fit(self, data: Any, y: None = None) -> Self:
        """Fit the model. Calling `fit` again starts from scratch."""
        raise NotImplementedError

    def fold_in(
        self, histories: Any, *, unknown_items: Literal["ignore", "raise"] = "ignore", user_features: Any = None
    ) -> Self:
        """Return a model of new users, or of known users with new histories.

        Users are solved by the half-step of `fit` while the items are held fixed, with λ and weights from the
        statistics of the training data. Items are not updated, unlike in `partial_fit`.

        Parameters
        ----------
        histories : Interactions, sparse matrix, dataframe or mapping
            All interactions of each user, as for `fit`; or a mapping from user id to a mapping or pandas Series from
            item ids to values, or to a list of item ids, each of which is one event for `Implicit` and an error if
            the targets of the model are values, such as ratings. The columns of a sparse matrix are the items of the
            model, in the order of `items_`; a one-dimensional sparse array is the history of one user, with id 0.
        unknown_items : {"ignore", "raise"}
            Whether to ignore items that the model was not fitted on, or to raise `UnknownIdError`.
        user_features : dataframe or scipy sparse matrix, optional
            Features of these users, if the model was fitted with `user_features`: a dataframe with the same columns
            (others are ignored), or a matrix with a row for each user. New categories, and users without features,
            are treated as missing. (Implicit features are derived from the histories.)

        Returns
        -------
        ALS
            A model of these users only, with the items of this one: ``fold_in(h).recommend()`` returns
            recommendations for histories. Users without known items have the factors predicted from their features,
            or zeros. This model is unchanged.

        Raises
        ------
        DataError
            If the histories or the features are invalid, values are missing, the number of columns of a matrix is not
            the number of items of the model, or an item id is of a different type than those of the model. User ids
            may be of any type.
        UnknownIdError
            If an item is unknown and ``unknown_items="raise"``.
        NumericalError
            If a user's system is not positive definite.
        """
        self._check_parameters()
        self = self._snapshot()
        data = self._histories(histories, unknown_items)
        features, of_users, prior = self._fitted_features, None, None
        if features is None:
            refuse_features("user_features", user_features)
        else:
            features = features.of_others(data, user_features)
            of_users, prior = features.given, features.prior(data)
        side = self._user_problem(data)
        with naming_the_row("user", data.users):
            factors, biases = solve_subset(
                side, self.item_factors_, self.item_biases_, threads=self.threads, backend=self.backend, prior=prior
            )
        return self._of_users(data, factors, biases, user_features=of_users)

    def _histories(self, histories: Any, unknown_items: Literal["ignore", "raise"]) -> Interactions:
        """Return the histories of users to be folded in, with the items of the model."""
        check_choice("unknown_items", unknown_items, ("ignore", "raise"))
        given = with_items_checked(self.items_, histories, unknown_items)
        if self._fitted.values_are == "given" and not self._objective.counts_events:
            self._refuse_without_values(
                given, "the histories", "each item's value, as in {user: {item: 4.0}}, or a column of values"
            )
        return with_items_of(self._fitted, given)

    def _refuse_without_values(self, data: Interactions, what: str, remedy: str) -> None:
        """Raise an error if interactions have no values and the objective uses them."""
        if len(data) and not data.has_values and self._objective.uses_values:
            fitted_on = "values" if self._fitted.values_are == "given" else "counts"
            raise DataError(
                f"{what} have no values, but the objective of the model, {type(self._objective).__name__}, uses "
                f"them, and the model was fitted on {fitted_on}: give {remedy}"
            )

    def _predicts_values(self, data: Interactions) -> bool:
        """Whether the targets are the values of the interactions, such as ratings, instead of preferences."""
        objective = self._objective
        if isinstance(objective, NotStored) or isinstance(getattr(objective, "target", None), NotStored):
            return False
        known = data.rebased(items=self.items_)
        cells, _ = Statistics(self.mean_, self.item_counts_, self.users_).locate(known)
        return super()._predicts_values(data) and objective.predicts_values(cells)

    def explain(self, user: Any, item: Any, n: int = 5) -> Explanation:
        """Return the contribution of each interaction of a user to the score of an item (Hu et al. 2008, §5).

        The user's factors are x_u = A_u⁻¹ Σ_j w_uj (t_uj − o_j) y_j, so the score is a sum over the user's
        interactions j:

            y_i·x_u = Σ_j  w_uj (t_uj − o_j) · y_iᵀ A_u⁻¹ y_j

        where y_iᵀ A_u⁻¹ y_j is the similarity of i and j for this user. If the objective is nonnegative, A_u and y
        have only the factors that are above 0 for this user. With side information, the prior mean adds
        y_iᵀ A_u⁻¹ λ_u D βᵀ f_u: its terms for implicit features are included in the contributions, the others in the
        baseline.

        Parameters
        ----------
        user, item : id
        n : int
            Number of contributions that are printed; the result contains all.

        Returns
        -------
        Explanation

        Raises
        ------
        UnknownIdError
            If the user or the item is unknown. For new users, call ``fold_in(history).explain(...)``.
        DataError
            If the model was saved without its interactions, or an id is of a different type than those of the model.
        """
        check_integer("n", n, minimum=1)
        self._check_parameters()
        self = self._snapshot()
        u, i = self.users_.position(user, name="user id"), self.items_.position(item, name="item id")
        data = self._fitted.data
        if data is None:
            raise DataError(NO_INTERACTIONS)
        history = data.of_user(u) if isinstance(data, GrowableInteractions) else data.subset(data.user_positions == u)
        contributions, baseline = self._contributions(history, u, i)
        pattern = history.by_user
        return Explanation(
            user=self.users_[u],
            item=self.items_[i],
            score=float(self.predict([self.users_[u]], [self.items_[i]])[0]),
            baseline=self.mean_ + baseline,
            item_ids=self.items_.ids[pattern.indices],
            values=history.values[pattern.order],
            contributions=contributions.astype(np.float64),
            titles=self._fitted.titles,
            shown=n,
        )

    def _contributions(self, history: Interactions, u: int, i: int) -> tuple[NDArray[np.floating], float]:
        """Return the contribution of each interaction of user u to the score of item i, and the baseline."""
        side = self._user_problem(history).take(np.array([u]))
        A, Y, pull = system(side, self.item_factors_, self.item_biases_)
        y = np.append(self.item_factors_[i], [1.0] * (len(A) - self.item_factors_.shape[1])).astype(A.dtype)
        if side.nonnegative:
            is_free = np.append(self.user_factors_[u] > 0, np.full(int(side.biases), True))
            A, Y, y = A[np.ix_(is_free, is_free)], Y[:, is_free], y[is_free]
        try:
            weights = np.linalg.solve(A, y) if len(history) else np.zeros_like(y)
        except np.linalg.LinAlgError as error:
            with naming_the_row("user", [self.users_[u]]):
                raise not_definite(side, np.diag(A), 0) from error
        contributions, baseline = pull * (Y @ weights), float(self.item_biases_[i])
        features = self._fitted_features
        if features is None:
            return contributions, baseline
        diagonal = float(side.regularization[0]) * np.append(np.ones(side.rank), [side.bias_ratio] * side.biases)
        of_mean = diagonal * weights if len(history) else y  # without history, users are at their prior means
        if len(features.of_implicit) and len(history):
            contributions += len(history) ** -0.5 * (features.of_implicit[side.indices] @ of_mean)
        from_given = features.given.matrix[[u]] @ features.of_given
        return contributions, baseline + float((from_given @ of_mean).sum())

    def _user_problem(self, data: Interactions) -> HalfProblem:
        """Return the half-step of some users, with the items of this model."""
        cost = self._objective.cost(data, Statistics(self.mean_, self.item_counts_, self.users_))
        if self._fitted.coefficients is not None:
            cost = cost.without_missing_of(data.user_counts == 0, self.item_counts_ == 0)
        return user_problem(
            data, cost, rank=self.item_factors_.shape[1], regularization=self._regularization, dtype=np.float64
        )
