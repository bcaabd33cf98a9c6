"""Metrics of predictions on arrays, computed in float64."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from halfstep.data.sparse import is_sparse, stored_values
from halfstep.errors import DataError

if TYPE_CHECKING:
    from scipy.sparse import sparray, spmatrix


def rmse(targets: ArrayLike, predictions: ArrayLike) -> float:
    """Compute the root mean squared error: √( (1/n) Σ (t − ŷ)² ).

    Parameters
    ----------
    targets, predictions : array-like of shape (n,)
        Observed and predicted values, in the same units.

    Returns
    -------
    float
        In units of the targets; 0 is perfect.

    Raises
    ------
    DataError
        If the arrays are empty, their lengths differ, or a value is not a finite number.
    """
    t, y = _pairs(targets, predictions)
    return float(np.sqrt(np.mean((t - y) ** 2)))


def mae(targets: ArrayLike, predictions: ArrayLike) -> float:
    """Compute the mean absolute error: (1/n) Σ |t − ŷ|. See `rmse` for parameters, return values and errors."""
    t, y = _pairs(targets, predictions)
    return float(np.mean(np.abs(t - y)))


def weighted_rmse(targets: ArrayLike, predictions: ArrayLike, weights: ArrayLike) -> float:
    """Compute the weighted root mean squared error: √( Σ w (t − ŷ)² / Σ w ).

    Weights that decrease with popularity are very large for items without training interactions, which then dominate
    the result: give these the weight 0.

    Parameters
    ----------
    targets, predictions : array-like of shape (n,)
        Observed and predicted values, in the same units.
    weights : array-like of shape (n,)
        Weights of at least 0, not all 0.

    Returns
    -------
    float
        In units of the targets; 0 is perfect. Equals `rmse` for equal weights.

    Raises
    ------
    DataError
        If the arrays are empty, their lengths differ, a value is not a finite number, a weight is negative, or all
        weights are 0.
    """
    t, y = _pairs(targets, predictions)
    w = _numbers("weights", weights, dimensions=1)
    if len(w) != len(t):
        raise DataError(f"targets has {len(t)} values, but weights has {len(w)}: give one weight per target")
    if (w < 0).any():
        first = int(np.argmax(w < 0))
        raise DataError(f"weights[{first}] is {w[first]:g}: give weights of at least 0")
    largest = w.max()
    if largest == 0:
        raise DataError("all weights are 0: give at least one positive weight")
    w = w / largest  # sums of extreme weights neither overflow nor underflow
    return float(np.sqrt(np.sum(w * (t - y) ** 2) / np.sum(w)))


def sign_accuracy(targets: ArrayLike, predictions: ArrayLike) -> float:
    """Compute the accuracy of signs: (1/n) Σ [sign t = sign ŷ], where the sign of 0 is +1.

    It is a metric for signed preferences, between 0 and 1. See `rmse` for parameters and errors.
    """
    t, y = _pairs(targets, predictions)
    return float(np.mean((t >= 0) == (y >= 0)))


def frobenius(matrix: sparray | spmatrix | ArrayLike, user_factors: ArrayLike, item_factors: ArrayLike) -> float:
    """Compute the Frobenius norm of the residual matrix, ‖R − P Qᵀ‖_F, over *all* cells.

    For a sparse R, whose missing cells count as 0, no dense matrix is formed:

        ‖R − P Qᵀ‖² = ‖R‖² − 2 ⟨R Q, P⟩ + ⟨PᵀP, QᵀQ⟩

    The cost is (stored cells)·rank + (users + items)·rank². Due to cancellation, norms below about 1e-7·‖R‖ are
    rounding errors.

    Parameters
    ----------
    matrix : sparse matrix, sparse array or array-like of shape (n_users, n_items)
        R. Repeated cells of a sparse matrix are summed, as in SciPy.
    user_factors : array-like of shape (n_users, rank)
        P.
    item_factors : array-like of shape (n_items, rank)
        Q.

    Returns
    -------
    float
        In units of the matrix; 0 is perfect.

    Raises
    ------
    DataError
        If the shapes do not match, the matrix has no cells, or a value is not a finite number.
    """
    P = _numbers("user_factors", user_factors, dimensions=2)
    Q = _numbers("item_factors", item_factors, dimensions=2)
    if not is_sparse(matrix):
        dense = _numbers("matrix", matrix, dimensions=2)
        _check_factorization(dense.shape, P, Q)
        return float(np.linalg.norm(dense - P @ Q.T))

    stored = stored_values(matrix, "matrix")
    _check_factorization(stored.shape, P, Q)
    R = stored.to_csr()
    squared = float(R.data @ R.data - 2.0 * np.sum((R @ Q) * P) + np.sum((P.T @ P) * (Q.T @ Q)))
    return math.sqrt(max(squared, 0.0))  # may be negative by rounding


def _pairs(targets: ArrayLike, predictions: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    t = _numbers("targets", targets, dimensions=1)
    y = _numbers("predictions", predictions, dimensions=1)
    if len(t) != len(y):
        raise DataError(
            f"targets has {len(t)} values, but predictions has {len(y)}: give one prediction for each target"
        )
    if len(t) == 0:
        raise DataError("there is no data to score: targets and predictions are empty")
    return t, y


def _numbers(name: str, values: object, *, dimensions: int) -> NDArray[np.float64]:
    """Convert to an array of finite float64."""
    if np.ma.isMaskedArray(values):
        raise DataError(f"{name} is a masked array: remove masked values with .compressed()")
    if hasattr(values, "__array__") and not isinstance(values, np.ndarray):
        from halfstep.data.frames import for_numpy

        values = for_numpy(values)
    given: NDArray[Any] = np.asarray(values)
    if given.ndim != dimensions:
        dimension = "dimension" if dimensions == 1 else "dimensions"
        raise DataError(f"{name} has shape {given.shape}: give an array with {dimensions} {dimension}")
    if given.dtype.kind not in "biufO":
        raise DataError(f"{name} has the data type {given.dtype}: give real numbers")
    try:
        numbers = given.astype(np.float64, copy=False)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} has a value that is not a real number ({error}): give real numbers") from error
    _check_finite(name, numbers)
    return numbers


def _check_finite(name: str, numbers: NDArray[np.float64]) -> None:
    bad = ~np.isfinite(numbers)
    if bad.any():
        where = tuple(int(k) for k in np.argwhere(bad)[0])
        raise DataError(f"{name}: the value at {list(where)} is {numbers[where]}; correct or remove such values")


def _check_factorization(
    shape: tuple[int, ...], user_factors: NDArray[np.float64], item_factors: NDArray[np.float64]
) -> None:
    users, items = shape
    fits = (
        user_factors.shape[0] == users
        and item_factors.shape[0] == items
        and user_factors.shape[1] == item_factors.shape[1]
    )
    if not fits:
        raise DataError(
            f"matrix has shape {shape}, user_factors {user_factors.shape} and "
            f"item_factors {item_factors.shape}: give the shapes (users, items), (users, rank) and (items, rank)"
        )
    if users * items == 0:
        raise DataError(f"there is no data to score: matrix has shape {shape}")
