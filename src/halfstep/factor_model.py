"""What any fitted factorisation can do, however it was fitted.

Every model of this library scores a pair as

    ŷ_ui = μ + b_u + b_i + p_u·q_i

ALS, SGD and the baselines differ only in how they find the numbers; a baseline is a factorisation of rank 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from halfstep.errors import DataError, NotFittedError, ParameterError
from halfstep.interactions import Interactions, Vocabulary

PAIRS_AT_ONCE = 1 << 16  # scored together, so that memory stays bounded whatever is asked for


FITTED = {
    "users_", "items_", "user_factors_", "item_factors_", "user_biases_", "item_biases_", "mean_", "history_"
}  # fmt: skip


class FactorModel:
    """Base of all models: biases and factors with the ids they belong to.

    Attributes
    ----------
    users_, items_ : Vocabulary
        The ids that the model was fitted on; row ``k`` of the factors belongs to id ``k`` of these.
    user_factors_ : ndarray of shape (n_users, rank)
    item_factors_ : ndarray of shape (n_items, rank)
    user_biases_ : ndarray of shape (n_users,)
    item_biases_ : ndarray of shape (n_items,)
    mean_ : float
        μ; 0 for models without biases.
    """

    users_: Vocabulary
    items_: Vocabulary
    user_factors_: NDArray[np.floating]
    item_factors_: NDArray[np.floating]
    user_biases_: NDArray[np.floating]
    item_biases_: NDArray[np.floating]
    mean_: float

    if not TYPE_CHECKING:  # or no type checker would notice a misspelt name

        def __getattr__(self, name: str) -> Any:
            kind = type(self).__name__
            if name in FITTED and name not in self.__dict__:
                raise NotFittedError(f"this {kind} has no {name!r} yet: call {kind}.fit(data) first")
            raise AttributeError(f"{kind!r} object has no attribute {name!r}")

    def predict(
        self,
        users: ArrayLike | Interactions,
        items: ArrayLike | None = None,
        *,
        unknown: Literal["baseline", "raise"] = "baseline",
    ) -> NDArray[np.float64]:
        """Score pairs of a user and an item.

        Parameters
        ----------
        users, items : array-like of ids, both of length n
            A single id on one side is paired with every id of the other. Interactions alone, in the place of
            `users`, stand for their own pairs.
        unknown : {"baseline", "raise"}
            What to do with an id that the model was not fitted on: score it by what is known of the pair
            (μ plus the bias of the known side), or raise `UnknownIdError`.

        Returns
        -------
        ndarray of shape (n,)
            ŷ_ui = μ + b_u + b_i + p_u·q_i, in the units of the fitted target.

        Raises
        ------
        DataError
            If `users` and `items` differ in length.
        UnknownIdError
            If an id is unknown and ``unknown="raise"``.
        """
        if unknown not in ("baseline", "raise"):
            raise ParameterError(f"unknown={unknown!r}: give 'baseline' or 'raise'")
        if isinstance(users, Interactions):
            pairs = users
            users, items = pairs.user_ids, pairs.item_ids
        elif items is None:
            raise DataError("items is missing: give as many items as users, or Interactions alone")
        missing: Literal["mark", "raise"] = "raise" if unknown == "raise" else "mark"
        user_positions = self.users_.positions(users, unknown=missing)
        item_positions = self.items_.positions(items, unknown=missing)
        if len(user_positions) != len(item_positions) and 1 not in (len(user_positions), len(item_positions)):
            raise DataError(
                f"users has {len(user_positions)} ids and items has {len(item_positions)}: "
                "give as many of one as of the other, or a single id on one side"
            )
        u, i = np.broadcast_arrays(user_positions, item_positions)
        scores = np.empty(len(u), dtype=np.float64)
        for start in range(0, len(u), PAIRS_AT_ONCE):
            part = slice(start, start + PAIRS_AT_ONCE)
            scores[part] = self._score(u[part], i[part])
        return scores

    def _score(self, u: NDArray[np.int32], i: NDArray[np.int32]) -> NDArray[np.float64]:
        """Score pairs of positions; −1 stands for an unknown id and adds nothing."""
        p = self.user_factors_[u].astype(np.float64, copy=False)
        q = self.item_factors_[i].astype(np.float64, copy=False)
        scores: NDArray[np.float64] = np.einsum("nk,nk->n", p, q)
        scores[(u < 0) | (i < 0)] = 0.0
        scores += self.mean_
        scores += np.where(u < 0, 0.0, self.user_biases_[u])
        scores += np.where(i < 0, 0.0, self.item_biases_[i])
        return scores

    def _remember(
        self,
        data: Interactions,
        *,
        mean: float,
        user_factors: NDArray[np.floating],
        item_factors: NDArray[np.floating],
        user_biases: NDArray[np.floating],
        item_biases: NDArray[np.floating],
    ) -> None:
        """Set all fitted attributes at once, so that a model is never half fitted."""
        self.__dict__.update(
            users_=data.users,
            items_=data.items,
            user_factors_=user_factors,
            item_factors_=item_factors,
            user_biases_=user_biases,
            item_biases_=item_biases,
            mean_=mean,
        )
