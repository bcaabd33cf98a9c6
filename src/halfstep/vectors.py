"""Vectors of users and items for vector databases and indexes of nearest neighbors.

>>> import halfstep as hs
>>> data = hs.Interactions.from_arrays(["ann", "ann", "bob"], ["tea", "milk", "tea"], [5.0, 1.0, 4.0])
>>> model = hs.ALS(hs.Explicit(), rank=2, random_state=0).fit(data)
>>> found = hs.vectors.of_model(model, "cosine")
>>> found.item_vectors.shape  # the factors, the bias, and a number that makes all lengths equal
(2, 4)
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from halfstep._support.checks import as_path, check_choice, check_integer
from halfstep._support.files import write_atomically
from halfstep.errors import DataError, ParameterError
from halfstep.models.factor_model import FactorModel

Metric = Literal["dot", "cosine"]
Format = Literal["parquet", "npy"]
Float32Array = NDArray[np.float32]

USERS_SAMPLED = 1000  # by `recall`


class Vectors(NamedTuple):
    """Vectors whose similarity ranks the items for each user as the model does.

    Attributes
    ----------
    metric : {"dot", "cosine"}
    user_ids, item_ids : ndarray of shape (n_users,) and (n_items,)
        Only items with interactions.
    user_vectors, item_vectors : ndarray of float32, of shape (n_users, dimensions) and (n_items, dimensions)
        Of length 1 if the metric is "cosine"; users without factors have zeros.
    """

    metric: Metric
    user_ids: NDArray[Any]
    user_vectors: Float32Array
    item_ids: NDArray[Any]
    item_vectors: Float32Array

    def save(self, folder: str | os.PathLike[str], format: Format = "parquet") -> None:  # noqa: A002
        """Write the vectors to a folder.

        Parameters
        ----------
        folder : path
            Created if it does not exist. Files in it are replaced.
        format : {"parquet", "npy"}
            ``users.parquet`` and ``items.parquet`` with the columns ``id`` and ``vector``; or ``users.npy`` and
            ``items.npy`` with the vectors, and ``user-ids.npy`` and ``item-ids.npy``.

        Raises
        ------
        OSError
            If a file cannot be written.
        DataError
            If the ids are of a type that the format cannot store.
        ModuleNotFoundError
            If PyArrow, which writes parquet, is not installed.
        """
        where = as_path("folder", folder)
        check_choice("format", format, get_args(Format))
        files: dict[str, bytes] = {}
        for name, ids, vectors in (
            ("user", self.user_ids, self.user_vectors),
            ("item", self.item_ids, self.item_vectors),
        ):
            if format == "parquet":
                files[f"{name}s.parquet"] = _as_parquet(ids, vectors)
            else:
                files[f"{name}s.npy"] = _as_npy(vectors)
                files[f"{name}-ids.npy"] = _as_npy(_plain(ids))
        where.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            write_atomically(where / name, content)


def of_model(model: FactorModel, metric: Metric = "dot") -> Vectors:
    """Return vectors of users and items whose similarity ranks items as the model does.

    With "dot", vectors are [p_u, 1] and [q_i, b_i], so that their inner product is the score of the model without
    the mean and the bias of the user, which are the same for all items. The last number is left out if all biases of
    items are 0. With "cosine", vectors of items have one more number, √(M² − ‖[q_i, b_i]‖²) with the largest length
    M, and those of users have 0 (Bachrach et al. [1]_); they are then divided by their lengths. The order by cosine,
    or by Euclidean distance, is that by inner product.

    Parameters
    ----------
    model : FactorModel
        A fitted model with factors.
    metric : {"dot", "cosine"}
        What the database or index computes; "cosine" suits Euclidean distances as well.

    Returns
    -------
    Vectors

    Raises
    ------
    DataError
        If the model has neither factors nor biases of items, such as `EASE`.

    References
    ----------
    .. [1] Y. Bachrach et al., "Speeding up the Xbox recommender system using a Euclidean transformation for
       inner-product spaces", RecSys 2014.
    """
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


def recall(
    vectors: Vectors, search: Callable[[Float32Array, int], Any], n: int = 10, *, random_state: int = 0
) -> float:
    """Return the recall of an approximate index: the mean share of the n best items that it finds.

    Parameters
    ----------
    vectors : Vectors
        The index has the vectors of their items.
    search : callable
        Returns the ids of the n items that the index finds for each of some vectors of users, given these vectors, of
        shape (n_users, dimensions), and n.
    n : int, default=10
    random_state : int, default=0
        Seed of the sample of at most 1,000 users.

    Returns
    -------
    float
        Between 0 and 1; the best items are those of an exact search of the vectors.

    Raises
    ------
    ParameterError
        If there are fewer than n items.
    DataError
        If the search does not return a list of ids for each user.
    """
    check_integer("n", n, minimum=1)
    if n > len(vectors.item_ids):
        raise ParameterError(f"n={n}, but there are {len(vectors.item_ids):,} items: give at most this number")
    rng, n_users = np.random.default_rng(random_state), len(vectors.user_ids)
    users = rng.choice(n_users, min(n_users, USERS_SAMPLED), replace=False)
    asked = np.ascontiguousarray(vectors.user_vectors[users])
    found = list(search(asked, n))
    if len(found) != len(users):
        raise DataError(f"the search returned {len(found):,} lists for {len(users):,} users: return one for each")
    scores = asked.astype(np.float64) @ vectors.item_vectors.astype(np.float64).T
    least = -np.partition(-scores, n - 1, axis=1)[:, n - 1]  # ties with the n-th best are as good
    positions = {id_: k for k, id_ in enumerate(vectors.item_ids.tolist())}
    shares = []
    for row, bound, ids in zip(scores, least, found, strict=True):
        listed = {positions[id_] for id_ in np.asarray(ids).tolist()[:n] if id_ in positions}
        shares.append(sum(bool(row[k] >= bound) for k in listed) / n)
    return float(np.mean(shares))


def _as_npy(array: NDArray[Any]) -> bytes:
    content = io.BytesIO()
    np.save(content, array, allow_pickle=False)
    return content.getvalue()


def _plain(ids: NDArray[Any]) -> NDArray[Any]:
    """Return ids as an array that needs no pickle."""
    if ids.dtype != object:
        return ids
    if all(isinstance(each, str) for each in ids.tolist()):
        return ids.astype(np.str_)
    raise DataError(
        "ids other than integers and strings cannot be stored in .npy files: save as parquet, or convert them"
    )


def _as_parquet(ids: NDArray[Any], vectors: Float32Array) -> bytes:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("parquet files require PyArrow: run pip install pyarrow", name="pyarrow") from error
    try:
        column = pa.array(ids.tolist())
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataError(
            f"the ids cannot be stored in parquet ({error}): convert them to integers or strings"
        ) from None
    flat = pa.array(np.ascontiguousarray(vectors).reshape(-1))
    table = pa.table({"id": column, "vector": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])})
    content = io.BytesIO()
    pq.write_table(table, content)
    return content.getvalue()
