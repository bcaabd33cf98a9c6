"""The result of a fit: factors and biases, their ids, and the training data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from halfstep.data import GrowableInteractions, IndexLists, Interactions, Vocabulary
from halfstep.errors import DataError
from halfstep.models.origin import Origin

if TYPE_CHECKING:
    from halfstep.data.side_information import SideInformation
    from halfstep.objective.objective import Objective
    from halfstep.objective.regularization import Regularization


@dataclass(frozen=True, eq=False, kw_only=True)
class Factorization:
    """A factorization, which scores a pair as ŷ_ui = μ + b_u + b_i + p_u·q_i.

    A model holds exactly one, which is replaced as a whole by fits and updates. Its arrays are never written to,
    except by incremental updates if no other model shares them; see `halfstep.models.live_array`.

    Attributes
    ----------
    users, items : Vocabulary
        Row k of the factors belongs to id k of these.
    user_factors, item_factors : ndarray of shape (n_users, rank) and (n_items, rank)
        P and Q.
    user_biases, item_biases : ndarray of shape (n_users,) and (n_items,)
    mean : float
        μ; 0 for models without biases.
    item_counts : ndarray of shape (n_items,)
        The number of users of each item in the training data.
    data : Interactions, GrowableInteractions or None
        The interactions of these users in the training data; None if unknown.
    values_are : str
        `Interactions.values_are` of the training data.
    origin : Origin
    is_folded : bool
        Whether the users were folded in, and the items were fitted on others.
    items_data : Interactions, GrowableInteractions or None
        If the users were folded in, the training data of the items, if known.
    history : sequence of tuple, or None
        A tuple for each iteration; None for models without iterations.
    objective : Objective or None
        The objective of the fit, for models with half-steps; None if it could not be stored in a file.
    regularization : Regularization or None
        The regularization of the fit of `ALS`, with all its values.
    missing_weight : float or None
        The weight of missing cells if it was computed from the training data.
    user_features : SideInformation or None
        The features of these users, of models with side information.
    coefficients : ndarray of shape (n_features, unknowns), or None
        β of the users in `ALS`.
    """

    users: Vocabulary
    items: Vocabulary
    user_factors: NDArray[np.floating]
    item_factors: NDArray[np.floating]
    user_biases: NDArray[np.floating]
    item_biases: NDArray[np.floating]
    mean: float
    item_counts: NDArray[np.int64]
    data: Interactions | GrowableInteractions | None
    values_are: str = "given"
    origin: Origin = field(default_factory=Origin)
    is_folded: bool = False
    items_data: Interactions | GrowableInteractions | None = None
    history: Sequence[tuple[Any, ...]] | None = None
    objective: Objective | None = None
    regularization: Regularization | None = None
    missing_weight: float | None = None
    user_features: SideInformation | None = None
    coefficients: NDArray[np.float64] | None = None

    @classmethod
    def fitted_now(cls, data: Interactions, **fitted: Any) -> Self:
        """Return the result of a fit to these interactions."""
        return cls(
            users=data.users,
            items=data.items,
            item_counts=data.item_counts,
            data=data,
            values_are=data.values_are,
            origin=Origin.fitted_now(),
            **fitted,
        )

    def of_users(
        self, data: Interactions, factors: NDArray[np.floating], biases: NDArray[np.floating], **more: Any
    ) -> Self:
        """Return the factorization of other users, with the items of this one."""
        return replace(
            self,
            users=data.users,
            user_factors=factors,
            user_biases=biases,
            data=data,
            is_folded=True,
            items_data=self.items_data if self.is_folded else self.data,
            **more,
        )

    @property
    def rank(self) -> int:
        """The number of factors."""
        rank: int = self.item_factors.shape[1]
        return rank

    @property
    def interactions(self) -> Interactions | None:
        """The interactions of these users in the training data."""
        return _interactions(self.data)

    @property
    def titles(self) -> Mapping[Any, str] | None:
        """Titles of items."""
        return None if self._base is None else self._base.item_titles

    @property
    def frame_kind(self) -> str | None:
        """The library of dataframes that the training data came from."""
        return None if self._base is None else self._base.frame_kind

    @property
    def _base(self) -> Interactions | None:
        """The training data before updates."""
        return self.data.base if isinstance(self.data, GrowableInteractions) else self.data

    def seen(self, u: NDArray[np.int32]) -> IndexLists:
        """Return the items that users have in the training data; none for the position −1."""
        if isinstance(self.data, GrowableInteractions):
            return self.data.seen(u)
        if self.data is None:
            raise DataError(
                "this model has no training interactions, so it cannot exclude seen items: set exclude_seen=False, "
                "or create or save the model with its interactions"
            )
        return IndexLists.of_rows(self.data.by_user, u)

    def scores(self, u: NDArray[np.int32], i: NDArray[np.int32]) -> NDArray[np.float64]:
        """Score pairs of positions; −1 stands for an unknown id, whose terms are 0."""
        p = rows_or_zeros(self.user_factors, u).astype(np.float64, copy=False)
        q = rows_or_zeros(self.item_factors, i).astype(np.float64, copy=False)
        scores: NDArray[np.float64] = np.einsum("nk,nk->n", p, q)
        scores += self.mean
        scores += rows_or_zeros(self.user_biases[:, None], u)[:, 0]
        scores += rows_or_zeros(self.item_biases[:, None], i)[:, 0]
        return scores

    def with_plain_interactions(self) -> Self:
        """Return the factorization with plain interactions, for a pickle."""
        return replace(self, data=_interactions(self.data), items_data=_interactions(self.items_data))


def rows_or_zeros(F: NDArray[np.floating], positions: NDArray[np.integer]) -> NDArray[np.floating]:
    """Return rows of factors, zeros for −1; all rows in order are not copied."""
    rows: NDArray[np.floating]
    if len(positions) == 1 and positions[0] >= 0:
        rows = F[positions]
        return rows
    if len(positions) == len(F) and np.array_equal(positions, np.arange(len(F))):
        return F
    rows = np.zeros((len(positions), F.shape[1]), F.dtype)
    known = positions >= 0
    rows[known] = F[positions[known]]
    return rows


def _interactions(data: Interactions | GrowableInteractions | None) -> Interactions | None:
    return data.interactions if isinstance(data, GrowableInteractions) else data
