"""Vectors of a model, whose similarity ranks items as the model does."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, Protocol, get_args, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from halfstep._support.checks import check_choice
from halfstep.errors import DataError, ParameterError

Metric = Literal["dot", "cosine"]
Float32Array = NDArray[np.float32]


@runtime_checkable
class _Model(Protocol):
    """A `FactorModel`, which is in a package that imports this one."""

    def _snapshot(self) -> Any: ...


class Vectors(NamedTuple):
    """Vectors whose similarity ranks the items for each user as the model does.

    Attributes
    ----------
    metric : {"dot", "cosine"}
    user_ids, item_ids : ndarray of shape (n_users,) and (n_items,)
        Only items with interactions.
    user_vectors, item_vectors : ndarray of float32, of shape (n_users, dimensions) and (n_items, dimensions)
        Of length 1 if the metric is "cosine". The vector of a user without factors is zero, unless items have biases.
    """

    metric: Metric
    user_ids: NDArray[Any]
    user_vectors: Float32Array
    item_ids: NDArray[Any]
    item_vectors: Float32Array


def check_vectors(vectors: object) -> None:
    """Check that an argument is a `Vectors`."""
    if not isinstance(vectors, Vectors):
        raise ParameterError(
            f"vectors is of type {type(vectors).__name__}: give the result of halfstep.vectors.of_model(model)"
        )


def of_model(model: _Model, metric: Metric = "dot") -> Vectors:
    """Return vectors of users and items whose similarity ranks items as the model does.

    With "dot", vectors are [p_u, 1] and [q_i, b_i], so that their inner product is the score of the model without the
    mean and the bias of the user, which are the same for all items. The last component is omitted if all biases of
    items are 0. With "cosine", vectors of items have one more component, √(M² − ‖[q_i, b_i]‖²) with the largest
    length M, and those of users have 0 (Bachrach et al. [1]_); they are then divided by their lengths. The order by
    cosine or by Euclidean distance is then the order by inner product.

    Parameters
    ----------
    model : FactorModel
        A fitted model with factors.
    metric : {"dot", "cosine"}
        The similarity that the database or index computes; "cosine" also suits Euclidean distances.

    Returns
    -------
    Vectors

    Raises
    ------
    ParameterError
        If a parameter is invalid.
    NotFittedError
        If the model is not fitted.
    DataError
        If the model has neither factors nor biases of items, such as `EASE`.

    References
    ----------
    .. [1] Y. Bachrach et al., "Speeding up the Xbox recommender system using a Euclidean transformation for
       inner-product spaces", RecSys 2014.
    """
    if not isinstance(model, _Model) or isinstance(model, type):
        raise ParameterError(f"model={model!r}: give a fitted model, such as ALS().fit(data)")
    check_choice("metric", metric, get_args(Metric))
    fitted = model._snapshot()._fitted
    if fitted.rank == 0 and not fitted.item_biases.any():
        raise DataError(f"this {type(model).__name__} has no factors: use a model with factors, such as ALS")
    known = fitted.item_counts > 0
    P, Q = fitted.user_factors.astype(np.float64), fitted.item_factors[known].astype(np.float64)
    if fitted.item_biases.any():
        P = np.column_stack([P, np.ones(len(P))])
        Q = np.column_stack([Q, fitted.item_biases[known]])
    if metric == "cosine":
        lengths = np.linalg.norm(Q, axis=1)
        longest = float(lengths.max(initial=0.0)) or 1.0
        rest = np.sqrt(np.maximum(longest**2 - lengths**2, 0.0))
        Q = np.column_stack([Q, rest]) / longest
        P = np.column_stack([P, np.zeros(len(P))])
        P /= np.maximum(np.linalg.norm(P, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    return Vectors(
        metric,
        fitted.users.ids,
        np.ascontiguousarray(P, np.float32),
        fitted.items.ids[known],
        np.ascontiguousarray(Q, np.float32),
    )
