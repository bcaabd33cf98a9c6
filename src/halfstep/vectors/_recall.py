"""The recall of approximate indexes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

import numpy as np

from halfstep._support.checks import as_generator, check_integer
from halfstep.data import Vocabulary
from halfstep.errors import DataError, ParameterError
from halfstep.vectors._vectors import Float32Array, Vectors, check_vectors

USERS_SAMPLED = 1000


def recall(
    vectors: Vectors,
    search: Callable[[Float32Array, int], Any],
    n: int = 10,
    *,
    random_state: int | np.random.Generator | None = 0,
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
    random_state : int, Generator or None, default=0
        Seed of the sample of at most 1,000 users.

    Returns
    -------
    float
        Between 0 and 1; the best items are those of an exact search of the vectors.

    Raises
    ------
    ParameterError
        If a parameter is invalid, or there are fewer than n items.
    DataError
        If there are no users; if the search does not return a list of ids for each user; or if an id is invalid, or
        of a different type than those of the items.
    """
    check_vectors(vectors)
    check_integer("n", n, minimum=1)
    if not callable(search):
        raise ParameterError(f"search={search!r}: give a function of the vectors of users and n")
    if n > len(vectors.item_ids):
        raise ParameterError(f"n={n}, but there are {len(vectors.item_ids):,} items: give at most this number")
    n = int(n)  # indexes do not accept integers of NumPy
    rng, n_users = as_generator(random_state), len(vectors.user_ids)
    if n_users == 0:
        raise DataError("there are no users to search for: give vectors of a model with users")
    users = rng.choice(n_users, min(n_users, USERS_SAMPLED), replace=False)
    asked = np.ascontiguousarray(vectors.user_vectors[users])
    lists = _lists(search(asked, n), len(users), n)
    positions = Vocabulary(vectors.item_ids).positions(
        list(chain(*lists)), "mark", name="item id in the result of the search"
    )
    found = np.split(positions, np.cumsum([len(each) for each in lists])[:-1])
    scores = asked.astype(np.float64) @ vectors.item_vectors.astype(np.float64).T
    least = -np.partition(-scores, n - 1, axis=1)[:, n - 1]  # ties with the n-th best count as found
    shares = []
    for row, bound, listed in zip(scores, least, found, strict=True):
        known = np.unique(listed[listed >= 0])
        shares.append(np.count_nonzero(row[known] >= bound) / n)
    return float(np.mean(shares))


def recall_if_any(vectors: Vectors, search: Callable[[Float32Array, int], Any], n: int) -> float | None:
    """Return the recall, or None if there are no users to search for."""
    return recall(vectors, search, n) if len(vectors.user_ids) > 0 else None


def _lists(found: Any, n_users: int, n: int) -> list[list[Any]]:
    """Return the first n ids that a search found for each user."""
    lists = list(found) if isinstance(found, Iterable) else []
    if len(lists) != n_users:
        what = f"{len(lists):,} lists" if isinstance(found, Iterable) else f"an object of type {type(found).__name__}"
        raise DataError(f"the search returned {what} for {n_users:,} users: return a list of ids for each")
    if not all(isinstance(each, Iterable) and not isinstance(each, str | bytes) for each in lists):
        raise DataError("the search returned single values for users: return a list of ids for each")
    return [list(each)[:n] for each in lists]
