"""The recall of approximate indexes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from halfstep._support.checks import check_integer
from halfstep.errors import DataError, ParameterError
from halfstep.vectors._vectors import Float32Array, Vectors

USERS_SAMPLED = 1000


def recall(
    vectors: Vectors, search: Callable[[Float32Array, int], Any], n: int = 10, *, random_state: int = 0
) -> float:
    """Return the recall of an approximate index: the mean share of the n best items that it finds.

    Parameters
    ----------
    vectors : Vectors
        The vectors of the indexed items, and of users to search for.
    search : callable
        ``search(user_vectors, n)`` returns, for each row of an array of shape (n_users, dimensions), the ids of the n
        items that the index finds.
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
