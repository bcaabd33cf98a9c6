"""A model of given factors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from halfstep._support.checks import check_finite
from halfstep._support.plurals import with_count
from halfstep.data import Interactions, Vocabulary, as_interactions
from halfstep.data.sparse import is_sparse
from halfstep.errors import DataError, ParameterError
from halfstep.models.factor_model import FactorModel
from halfstep.models.factorization import Factorization


@dataclass(eq=False, repr=False)
class PretrainedFactors(FactorModel):
    """A factorization fitted by another library.

    Created by `halfstep.persistence.from_arrays`, `from_implicit` and `from_spark`. It can predict, recommend and be
    saved, but has no objective and cannot be fitted. `FactorModel` describes the attributes; `item_counts_` is at
    least 1 for every item with a nonzero factor or bias.
    """

    def fit(self, data: object, y: object = None) -> NoReturn:
        """Raise an error, because there is no objective.

        Raises
        ------
        ParameterError
            Always.
        """
        raise ParameterError(
            "PretrainedFactors has factors but no objective, so it cannot be fitted: give the factors to a model "
            "that has one, as in ALS(objective, rank=..., init=(model.user_factors_, model.item_factors_)).fit(data)"
        )


def from_arrays(
    user_factors: ArrayLike,
    item_factors: ArrayLike,
    *,
    users: Any = None,
    items: Any = None,
    user_biases: ArrayLike | None = None,
    item_biases: ArrayLike | None = None,
    mean: float = 0.0,
    interactions: Any = None,
) -> PretrainedFactors:
    """Create a model from factors.

    Parameters
    ----------
    user_factors, item_factors : array-like of shape (n_users, rank) and (n_items, rank)
        float32 is kept; other types are converted to float64.
    users, items : Vocabulary or array-like of ids, optional
        Id of each row, by default 0 to n − 1.
    user_biases, item_biases : array-like of shape (n_users,) and (n_items,), optional
        By default 0.
    mean : float
        μ in ŷ_ui = μ + b_u + b_i + p_u·q_i.
    interactions : Interactions, scipy sparse matrix or dataframe, optional
        Training data, used to exclude seen items from recommendations. The rows and columns of a sparse matrix are
        those of the factors.

    Returns
    -------
    PretrainedFactors

    Raises
    ------
    DataError
        If shapes do not match, values are not finite, ids repeat, or the interactions have ids without factors.
    """
    P, Q = _matrix(user_factors, "user_factors"), _matrix(item_factors, "item_factors")
    if P.shape[1] != Q.shape[1]:
        raise DataError(
            f"user_factors has {P.shape[1]} columns and item_factors {Q.shape[1]}: give both the same number of "
            "columns, and one row for each user or item"
        )
    check_finite("mean", mean)
    known_users, known_items = _vocabulary(users, len(P), "users"), _vocabulary(items, len(Q), "items")
    data = None if interactions is None else _matching(interactions, known_users, known_items)
    b = _biases(item_biases, Q, "item_biases")
    # most libraries set the factors of items without observations to 0
    counts = ((Q != 0).any(axis=1) | (b != 0)).astype(np.int64)
    model = PretrainedFactors()
    model._set_result(
        Factorization(
            users=known_users,
            items=known_items,
            user_factors=P,
            item_factors=Q,
            user_biases=_biases(user_biases, P, "user_biases"),
            item_biases=b,
            mean=float(mean),
            item_counts=counts if data is None else np.maximum(counts, data.item_counts),
            data=data,
        )
    )
    return model


def _matrix(given: ArrayLike, name: str) -> NDArray[np.floating]:
    matrix = _numbers(given, name)
    if matrix.ndim != 2:
        raise DataError(f"{name} has the shape {matrix.shape}: give a matrix with a row for each id")
    return matrix


def _biases(given: ArrayLike | None, factors: NDArray[np.floating], name: str) -> NDArray[np.floating]:
    if given is None:
        return np.zeros(len(factors), factors.dtype)
    biases = _numbers(given, name)
    if biases.shape != (len(factors),):
        raise DataError(
            f"{name} has the shape {biases.shape}: give {len(factors):,} numbers, one for each row of factors"
        )
    return biases


def _numbers(given: ArrayLike, name: str) -> NDArray[np.floating]:
    """Copy an array, so that the model does not share memory with the caller."""
    if np.ma.isMaskedArray(given):
        raise DataError(f"{name} is a masked array: fill the masked values first, with .filled(0)")
    array = np.asarray(given)
    if array.dtype.kind not in "fiub":
        raise DataError(f"{name} has the dtype {array.dtype}: give numbers")
    array = np.array(array, dtype=np.float32 if array.dtype == np.float32 else np.float64, order="C")
    if not np.isfinite(array).all():
        raise DataError(f"{name} has values that are not finite: fix them first")
    return array


def _vocabulary(ids: Any, count: int, name: str) -> Vocabulary:
    if not isinstance(ids, Vocabulary):
        ids = Vocabulary(np.arange(count) if ids is None else ids, name=f"{name.removesuffix('s')} id")
    vocabulary: Vocabulary = ids
    if len(vocabulary) != count:
        raise DataError(f"{name} has {len(vocabulary):,} ids for {count:,} rows of factors: give one for each")
    return vocabulary


def _matching(given: Any, users: Vocabulary, items: Vocabulary) -> Interactions:
    """Convert interactions to the positions of the given vocabularies."""
    if is_sparse(given):
        return Interactions.from_sparse(given, users=users, items=items)
    data = as_interactions(given)
    positions = []
    for vocabulary, others, column, name in (
        (users, data.users, data.user_positions, "users"),
        (items, data.items, data.item_positions, "items"),
    ):
        known = vocabulary.positions(others.ids, "mark", name=f"{name.removesuffix('s')} id")
        unknown = np.setdiff1d(column, np.flatnonzero(known >= 0))
        if len(unknown):
            raise DataError(
                f"the interactions have {with_count(len(unknown), name.removesuffix('s'))} without factors, such as "
                f"{others[unknown[0]]!r}: "
                f"drop them, or give the ids of the rows of the factors as {name}"
            )
        positions.append(known[column])
    return replace(data, users=users, items=items, user_positions=positions[0], item_positions=positions[1])
