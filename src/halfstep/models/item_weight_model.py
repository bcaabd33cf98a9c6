"""Base class of models that score an item by its weights to the items of a user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from halfstep._support.checks import check_choice, check_integer
from halfstep.data import IndexLists, Interactions, interactions_to_fit
from halfstep.data.recommendations import Explanation
from halfstep.errors import DataError, ParameterError
from halfstep.models.factor_model import FactorModel
from halfstep.models.factorization import Factorization
from halfstep.models.histories import NO_INTERACTIONS, with_items_checked, with_items_of
from halfstep.models.top_items import UserScores
from halfstep.solver.top_n import Ranked

Weights = NDArray[np.float32] | csr_array
SCORES_AT_ONCE = 1 << 24  # of users and all items, in float32
PREFIX = "item_weights."  # of arrays in model files
NO_HISTORIES = (
    "this model was saved without its interactions, which its scores are computed from: give the items of users to "
    "fold_in, or save the model with its interactions"
)


@dataclass(frozen=True, eq=False, kw_only=True)
class ItemWeights(Factorization):
    """A factorization of rank 0 with weights between items.

    Attributes
    ----------
    weights : ndarray of float32 or csr_array, of shape (n_items, n_items)
        W; row j is an item of the user, column i the item that is scored.
    """

    weights: Weights

    @classmethod
    def of(cls, fitted: Factorization, weights: Weights) -> Self:
        """Add weights, which become read-only, to a factorization."""
        arrays = [weights] if isinstance(weights, np.ndarray) else [weights.data, weights.indices, weights.indptr]
        for array in arrays:
            array.flags.writeable = False
        return cls(**{field.name: getattr(fitted, field.name) for field in fields(fitted)}, weights=weights)

    def seen(self, u: NDArray[np.int32]) -> IndexLists:
        if self.data is None:
            raise DataError(NO_HISTORIES)
        return super().seen(u)

    def histories(self, u: NDArray[np.integer]) -> csr_array:
        """Return the items of users as a matrix of zeros and ones; none for the position −1."""
        lists = self.seen(np.asarray(u, np.int32))
        ones = np.ones(len(lists.indices), np.float32)
        return csr_array((ones, lists.indices, lists.indptr), shape=(len(u), len(self.items)))

    def scores_of(self, histories: csr_array) -> NDArray[np.float32]:
        """Return the scores of all items for each row."""
        scores = histories @ self.weights
        return scores if isinstance(scores, np.ndarray) else scores.toarray()

    def scores(self, u: NDArray[np.int32], i: NDArray[np.int32]) -> NDArray[np.float64]:
        users, rows = np.unique(u, return_inverse=True)
        scores, at_once = np.zeros(len(u)), max(1, SCORES_AT_ONCE // max(len(self.items), 1))
        order = np.argsort(rows, kind="stable")
        bounds = np.searchsorted(rows[order], np.arange(0, len(users) + at_once, at_once))
        for block, (begin, end) in enumerate(pairwise(bounds.tolist())):
            first, pairs = block * at_once, order[begin:end]
            of_users = self.scores_of(self.histories(users[first : first + at_once]))
            known = pairs[i[pairs] >= 0]
            scores[known] = of_users[rows[known] - first, i[known]]
        return scores


class HistoryScores(UserScores):
    """Scores of users, computed from their items.

    Parameters
    ----------
    u : ndarray of shape (n_rows,)
        Positions of users, −1 for an unknown one.
    """

    def __init__(self, fitted: ItemWeights, u: NDArray[np.int32]) -> None:
        self._fitted, self._u = fitted, u

    def are_zero(self) -> NDArray[np.bool_]:
        empty: NDArray[np.bool_] = np.diff(self._fitted.seen(self._u).indptr) == 0
        return empty

    def best(
        self,
        rows: NDArray[np.intp],
        c: NDArray[np.float64],
        n: int,
        skip: IndexLists,
        columns: NDArray[np.integer] | None,
    ) -> Ranked:
        return self._best(rows, c, n, skip, columns, listed="excluded")

    def best_of(self, rows: NDArray[np.intp], c: NDArray[np.float64], n: int, given: IndexLists) -> Ranked:
        return self._best(rows, c, n, given, None, listed="ranked")

    def _best(
        self,
        rows: NDArray[np.intp],
        c: NDArray[np.float64],
        n: int,
        lists: IndexLists,
        columns: NDArray[np.integer] | None,
        *,
        listed: Literal["excluded", "ranked"],
    ) -> Ranked:
        fitted, found = self._fitted, []
        size = max(1, SCORES_AT_ONCE // max(len(fitted.items), 1))
        for start in range(0, len(rows), size):
            some = rows[start : start + size]
            S = fitted.scores_of(fitted.histories(self._u[some])).astype(np.float64)
            S += c
            S = S if columns is None else S[:, columns]
            part = lists.rows(np.arange(start, start + len(some)))
            cells = np.repeat(np.arange(len(some)), np.diff(part.indptr)), part.indices
            if listed == "ranked":
                scores_of_listed, S = S[cells], np.full_like(S, -np.inf)
                S[cells] = scores_of_listed
            else:
                S[cells] = -np.inf
            found.append(best_of_scores(S, n))
        return _joined(found, n)


class ItemWeightModel(FactorModel):
    """Base class of `EASE` and `ItemKNN`: ŷ_ui = Σ_j W_ji over the items j of the user.

    Values and weights of interactions are ignored. Users are represented by their items alone, so that new users
    require no fit. For other attributes, see `FactorModel`; factors are of rank 0, and biases are 0.

    Attributes
    ----------
    item_weights_ : ndarray or scipy.sparse.csr_array, of shape (n_items, n_items)
        W.
    """

    def fit(self, data: Any, y: None = None) -> Self:
        """Fit the model to the observed cells.

        Parameters
        ----------
        data : Interactions, scipy.sparse matrix or dataframe
            As for `ALS.fit`. Values and weights are ignored.
        y : None
            Ignored, present for compatibility with scikit-learn.

        Returns
        -------
        self

        Raises
        ------
        DataError
            If there are no interactions.
        ParameterError
            If a parameter is invalid, y is not None, or there are too many items for the memory of this machine.
        """
        self._check_before_fit(y)
        interactions = interactions_to_fit(data)
        pattern = interactions.by_user
        X = csr_array(
            (np.ones(len(pattern.indices), np.float32), pattern.indices, pattern.indptr),
            shape=(interactions.n_users, interactions.n_items),
        )
        n_users, n_items = X.shape
        fitted = Factorization.fitted_now(
            interactions,
            mean=0.0,
            user_factors=np.empty((n_users, 0)),
            item_factors=np.empty((n_items, 0)),
            user_biases=np.zeros(n_users),
            item_biases=np.zeros(n_items),
        )
        self._set_result(ItemWeights.of(fitted, self._weights_of(X)))
        return self

    def _weights_of(self, X: csr_array) -> Weights:
        """Return W for the observed cells, a matrix of ones."""
        raise NotImplementedError

    def _similarities(self, weights: Any, items: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return the similarities of all items to each of some items; 0 if they are not similar."""
        raise NotImplementedError

    @property
    def item_weights_(self) -> Weights:
        """The weights between items."""
        return self._item_weights("item_weights_").weights

    def _item_weights(self, name: str = "user_factors_") -> ItemWeights:
        fitted = self._fitted_for(name)
        assert isinstance(fitted, ItemWeights)
        return fitted

    def _predicts_values(self, data: Interactions) -> bool:
        return False

    def _user_scores(self, u: NDArray[np.int32], threads: int | None) -> HistoryScores:
        return HistoryScores(self._item_weights(), u)

    def fold_in(self, histories: Any, *, unknown_items: Literal["ignore", "raise"] = "ignore") -> Self:
        """Return a model of new users, or of known users with new histories.

        Parameters
        ----------
        histories : Interactions, sparse matrix, dataframe or mapping
            All interactions of each user, as for `fit`; or a mapping from user id to a list of item ids. The columns
            of a sparse matrix are the items of the model, in the order of `items_`.
        unknown_items : {"ignore", "raise"}
            Whether to ignore items that the model was not fitted on, or to raise `UnknownIdError`.

        Returns
        -------
        EASE or ItemKNN
            A model of these users only, with the items and weights of this one, which is unchanged.

        Raises
        ------
        DataError
            If the histories are invalid, or an item id is of a different type than those of the model.
        UnknownIdError
            If an item is unknown and ``unknown_items="raise"``.
        """
        check_choice("unknown_items", unknown_items, ("ignore", "raise"))
        self = self._snapshot()
        items = self._fitted_for("user_factors_").items
        given = with_items_checked(items, histories, unknown_items)
        data = with_items_of(self._fitted, given)
        return self._of_users(data, np.empty((data.n_users, 0)), np.zeros(data.n_users))

    def explain(self, user: Any, item: Any, n: int = 5) -> Explanation:
        """Return the contribution W_ji of each item j of a user to the score of item i.

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
        self = self._snapshot()
        fitted = self._item_weights()
        u, i = fitted.users.position(user, name="user id"), fitted.items.position(item, name="item id")
        if fitted.interactions is None:
            raise DataError(NO_INTERACTIONS)
        pattern = fitted.interactions.by_user
        cells = slice(pattern.indptr[u], pattern.indptr[u + 1])
        items = pattern.indices[cells]
        column = fitted.weights[:, [i]]
        weights = column if isinstance(column, np.ndarray) else column.toarray()
        contributions = weights[items, 0].astype(np.float64)
        return Explanation(
            user=fitted.users[u],
            item=fitted.items[i],
            score=float(contributions.sum()),
            baseline=0.0,
            item_ids=fitted.items.ids[items],
            values=fitted.interactions.values[pattern.order[cells]],
            contributions=contributions,
            titles=fitted.titles,
            shown=n,
        )

    def _most_similar(
        self, side: Literal["user", "item"], asked: Any, n: int, metric: Literal["cosine", "dot"], threads: int | None
    ) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.float64]]:
        """Return the items with the largest weights; see `FactorModel`."""
        if side == "user":
            return super()._most_similar(side, asked, n, metric, threads)
        check_integer("n", n, minimum=1)
        check_choice("metric", metric, ("cosine", "dot"))
        if metric != "cosine":
            raise ParameterError(
                f"metric={metric!r}: similar items are those with the largest weights, so leave it out"
            )
        fitted = self._item_weights()
        if asked is None:
            ids, rows = fitted.items.ids, np.arange(len(fitted.items), dtype=np.int32)
        else:
            ids, rows = fitted.items.look_up(asked, name="item id")
        found, n = [], min(n, len(fitted.items))
        size = max(1, SCORES_AT_ONCE // len(fitted.items))
        for start in range(0, len(rows), size):
            S = self._similarities(fitted.weights, rows[start : start + size]).astype(np.float64)
            S[S == 0.0] = -np.inf
            found.append(best_of_scores(S, n))
        return ids, *_joined(found, n)

    def _to_arrays(self) -> dict[str, NDArray[Any]]:
        weights = self._item_weights().weights
        if isinstance(weights, np.ndarray):
            return {f"{PREFIX}dense": weights}
        return {
            f"{PREFIX}{name}": np.asarray(getattr(weights, name), kind)
            for name, kind in (("data", np.float32), ("indices", np.int32), ("indptr", np.int64))
        }

    def _from_arrays(self, fitted: Factorization, arrays: Mapping[str, NDArray[Any]]) -> ItemWeights:
        n = len(fitted.items)
        of = {name.removeprefix(PREFIX): array for name, array in arrays.items() if name.startswith(PREFIX)}
        if of.keys() == {"dense"}:
            dense = of["dense"]
            if dense.shape != (n, n) or dense.dtype != np.float32 or not np.isfinite(dense).all():
                raise ValueError(f"its item weights are not {n} × {n} finite numbers")
            return ItemWeights.of(fitted, dense)
        if of.keys() != {"data", "indices", "indptr"}:
            raise ValueError("it has no item weights")
        data, indices, indptr = (of[name] for name in ("data", "indices", "indptr"))
        lists = IndexLists(indptr.astype(np.int64), indices.astype(np.int32)).checked(n, n)
        if data.shape != indices.shape or len(lists.indices) != len(indices) or not np.isfinite(data).all():
            raise ValueError("its item weights do not match their positions")
        return ItemWeights.of(fitted, csr_array((data.astype(np.float32), lists.indices, lists.indptr), shape=(n, n)))


def best_of_scores(S: NDArray[np.float64], n: int) -> Ranked:
    """Rank the n best columns of each row of S, as `best_columns` does; −∞ excludes a column."""
    best, scores = np.full((len(S), n), -1, np.int64), np.full((len(S), n), np.nan)
    if n == 0 or len(S) == 0:
        return best, scores
    least = np.partition(S, S.shape[1] - n, axis=1)[:, S.shape[1] - n]  # the n-th best
    for row, (values, bound) in enumerate(zip(S, least, strict=True)):
        columns = np.flatnonzero((values >= bound) & (values > -np.inf))
        order = np.argsort(-values[columns], kind="stable")[:n]  # stable: the lower column comes first
        best[row, : len(order)] = columns[order]
        scores[row, : len(order)] = values[columns[order]]
    return best, scores


def _joined(parts: Sequence[Ranked], n: int) -> Ranked:
    """Return the lists of all blocks of rows."""
    none = np.empty((0, n), np.int64), np.empty((0, n))
    best, scores = (np.concatenate([first, *others]) for first, *others in zip(none, *parts, strict=True))
    return best, scores
