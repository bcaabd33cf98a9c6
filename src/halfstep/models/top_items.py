"""The top-n items of each user."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from halfstep.data import IndexLists, Interactions, Vocabulary
from halfstep.data.tables import columns_in
from halfstep.errors import DataError
from halfstep.models.factorization import Factorization, rows_or_zeros
from halfstep.solver.backends import BackendName, ranking_of
from halfstep.solver.top_n import Ranked, best_of_given

Ids = ArrayLike | Iterable[Any]


class UserScores(Protocol):
    """Scores of all items for some users, the rows."""

    def are_zero(self) -> NDArray[np.bool_]:
        """Return a mask of the rows whose scores are 0, except for biases."""
        ...

    def best(
        self,
        rows: NDArray[np.intp],
        c: NDArray[np.float64],
        n: int,
        skip: IndexLists,
        columns: NDArray[np.integer] | None,
    ) -> Ranked:
        """Rank all items, or those of some columns, for some rows by score plus c.

        Results are positions in `columns`, if they are given, of which `skip` lists those to exclude for each row.
        """
        ...

    def best_of(self, rows: NDArray[np.intp], c: NDArray[np.float64], n: int, given: IndexLists) -> Ranked:
        """Rank the given items of each row."""
        ...


class FactorScores(UserScores):
    """Scores P Qᵀ.

    Parameters
    ----------
    u : ndarray of shape (n_rows,)
        Positions of users, −1 for an unknown one.
    threads, backend
        As in `ALS`.
    """

    def __init__(
        self, fitted: Factorization, u: NDArray[np.int32], threads: int | None, backend: BackendName
    ) -> None:
        self._P, self._Q = rows_or_zeros(fitted.user_factors, u), fitted.item_factors
        self._threads, self._backend = threads, backend

    def are_zero(self) -> NDArray[np.bool_]:
        return np.asarray(~self._P.any(axis=1), np.bool_)

    def best(
        self,
        rows: NDArray[np.intp],
        c: NDArray[np.float64],
        n: int,
        skip: IndexLists,
        columns: NDArray[np.integer] | None,
    ) -> Ranked:
        rank_columns = ranking_of(self._backend, len(rows), self._threads)
        Q, c = (self._Q, c) if columns is None else (self._Q[columns], c[columns])
        return rank_columns(rows_or_zeros(self._P, rows), Q, c, n, skip=skip)

    def best_of(self, rows: NDArray[np.intp], c: NDArray[np.float64], n: int, given: IndexLists) -> Ranked:
        return best_of_given(rows_or_zeros(self._P, rows), self._Q, c, n, given=given, threads=self._threads)


ItemLists = Iterable[Any] | Mapping[Any, Iterable[Any]]


def top_items(
    fitted: Factorization,
    scores_of_users: UserScores,
    ids: NDArray[Any],
    u: NDArray[np.int32],
    n: int,
    *,
    skip: IndexLists,
    exclude: ItemLists | None,
    candidates: ItemLists | None,
) -> Ranked:
    """Return the positions of the top-n items of each user, and their scores, see `FactorModel.recommend`.

    Parameters
    ----------
    ids : ndarray of shape (n_rows,)
        The ids of the users, as in `exclude` and `candidates`.
    u : ndarray of shape (n_rows,)
        Their positions, −1 for an unknown user.
    skip : IndexLists
        Items to exclude for each user, in addition to `exclude`.
    exclude, candidates
        As in `FactorModel.recommend`.
    """
    b = fitted.item_biases.astype(np.float64)
    if candidates is None:
        b[fitted.item_counts == 0] = -np.inf
    if isinstance(exclude, Mapping):
        skip = skip.joined_with(_listed(fitted, exclude, ids, "exclude"))
    elif exclude is not None:
        b[_known(fitted.items, exclude, "exclude")] = -np.inf
    given = columns = None
    if isinstance(candidates, Mapping):
        given = _listed(fitted, candidates, ids, "candidates").without(skip).where(b > -np.inf)
    elif candidates is not None:
        columns = _known(fitted.items, candidates, "candidates")

    def rank(rows: NDArray[np.intp], c: NDArray[np.float64]) -> Ranked:
        if given is not None:
            return scores_of_users.best_of(rows, c, min(n, len(c)), given.rows(rows))
        left_out = skip.rows(rows)
        if columns is None:
            return scores_of_users.best(rows, c, min(n, len(c)), left_out, None)
        left_out = left_out.within(columns, len(c))
        best, scores = scores_of_users.best(rows, c, min(n, len(columns)), left_out, columns)
        return np.append(columns, -1)[best].astype(np.int64), scores

    positions, scores = rank(np.arange(len(u)), b)
    unknown = np.flatnonzero(scores_of_users.are_zero())
    if len(unknown) and not fitted.item_biases.any():  # all scores are equal
        positions[unknown] = rank(unknown, np.where(b > -np.inf, fitted.item_counts, -np.inf))[0]
        scores[unknown] = np.where(positions[unknown] >= 0, 0.0, np.nan)
    scores += fitted.mean + rows_or_zeros(fitted.user_biases[:, None], u).astype(np.float64)
    return positions, scores


def distinct_users(users: Any) -> Any:
    """Return the distinct users of interactions or of a table; other ids unchanged."""
    if hasattr(users, "tocsr"):
        raise DataError(
            "users is a sparse matrix: give ids of users, or call fold_in(matrix).recommend() for new users"
        )
    if isinstance(users, Interactions):
        ids, positions = users.users.ids, users.user_positions
    elif _is_table(users):
        table = columns_in(users)
        if table is None:
            return users
        if "user" not in table.names:
            listed = ", ".join(map(repr, table.names))
            raise DataError(f"the table has no column 'user', but {listed}: give the column of user ids")
        vocabulary, positions = Vocabulary.encode(table.take({"user": "user"})["user"], name="user id")
        ids = vocabulary.ids
    else:
        return users
    _, first = np.unique(positions, return_index=True)
    return ids[positions[np.sort(first)]]


def _is_table(users: Any) -> bool:
    """Whether users are given as a dataframe, or as another table with the column ``user``; fast for ids."""
    if isinstance(users, Mapping):
        return "user" in users
    if isinstance(users, np.ndarray):
        return users.dtype.names is not None
    return hasattr(type(users), "columns")


def _known(vocabulary: Vocabulary, ids: Any, name: str) -> NDArray[np.int32]:
    """Look up the distinct positions of those ids that are known, ascending."""
    positions = np.unique(vocabulary.positions(ids, "mark", name=f"item id in {name}"))
    return positions[positions >= 0]


def _listed(fitted: Factorization, lists: Mapping[Any, Iterable[Any]], ids: NDArray[Any], name: str) -> IndexLists:
    """Look up lists of items for each of some users."""
    return IndexLists.of_mapping(lists, ids.tolist(), fitted.users, fitted.items, name=name)
