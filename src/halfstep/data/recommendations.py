"""Results of models: recommendations, similar items and users, and explanations of scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from halfstep._support.html_table import Cell, and_more, html_table
from halfstep._support.printable import printable
from halfstep.data import Vocabulary
from halfstep.data.frames import new_frame
from halfstep.data.id_columns import plain_id, type_of
from halfstep.errors import UnknownIdError

ROWS_SHOWN, COLUMNS_SHOWN = 10, 5  # when printed
LISTED_SHOWN = 20  # in the HTML of a single list


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Ranking:
    """The top-n ids of a catalog for each query.

    Attributes
    ----------
    queries : ndarray of shape (n_queries,)
        The ids of the queries.
    catalog : Vocabulary
        The ids to choose from.
    positions : ndarray of shape (n_queries, n), int64
        Positions in the catalog by descending score, then by position; lists shorter than n are padded with −1.
    scores : ndarray of shape (n_queries, n)
        Padded with NaN.
    titles : mapping from an id of the catalog to str, optional
    frame_kind : str, optional
        The default library of `to_frame`.
    """

    queries: NDArray[Any]
    catalog: Vocabulary
    positions: NDArray[np.int64]
    scores: NDArray[np.float64]
    titles: Mapping[Any, str] | None = None
    frame_kind: str | None = None

    QUERY: ClassVar[str] = "query"  # the names of columns
    LISTED: ClassVar[str] = "listed"
    SCORE: ClassVar[str] = "score"

    def __len__(self) -> int:
        return len(self.queries)

    @property
    def counts(self) -> NDArray[np.int64]:
        """Length of each list; shape (n_queries,)."""
        counts: NDArray[np.int64] = (self.positions >= 0).sum(axis=1)
        return counts

    @property
    def ids(self) -> NDArray[Any]:
        """The ids in the lists, as objects of shape (n_queries, n), padded with None."""
        listed = np.full(self.positions.shape, None, dtype=object)
        is_id = self.positions >= 0
        listed[is_id] = self.catalog.ids[self.positions[is_id]].astype(object)
        return listed

    def __iter__(self) -> Iterator[tuple[Any, list[tuple[Any, float]]]]:
        """Iterate over pairs of a query and its list of (id, score)."""
        return ((query, self._listed(row)) for row, query in enumerate(self.queries.tolist()))

    def __getitem__(self, query: Any) -> list[tuple[Any, float]]:
        """Return the list of one query as pairs of id and score.

        Raises
        ------
        UnknownIdError
            If the id is not one of the queries.
        """
        with suppress(ValueError):  # it is not a valid id
            plain = plain_id(query)
            kind = type_of(type(plain))  # True == 1, but they are different ids
            for row, each in enumerate(self.queries.tolist()):
                if each == plain and type_of(type(each)) is kind:
                    return self._listed(row)
        raise UnknownIdError(f"{query!r} is not among the {len(self):,} {self.QUERY}s of this table")

    def _listed(self, row: int) -> list[tuple[Any, float]]:
        count = int((self.positions[row] >= 0).sum())
        ids = self.catalog.ids[self.positions[row, :count]].tolist()
        return list(zip(ids, self.scores[row, :count].tolist(), strict=True))

    def to_frame(self, kind: str | None = None) -> Any:
        """Convert to a dataframe with a row for each id in a list.

        Parameters
        ----------
        kind : {"pandas", "polars", "pyarrow", "modin", "cudf"}, optional
            The library. By default that of the dataframe that the model was fitted on, else the first of pandas,
            Polars and PyArrow that is installed.

        Returns
        -------
        dataframe
            The columns are the id of the query, the id in the list, the rank from 1, the score, and titles if known.
        """
        rows, ranks = np.nonzero(self.positions >= 0)
        ids = self.catalog.ids[self.positions[rows, ranks]]
        columns = {
            self.QUERY: self.queries[rows],
            self.LISTED: ids,
            "rank": ranks + 1,
            self.SCORE: self.scores[rows, ranks],
        }
        if self.titles is not None:
            columns["title"] = titles_of(self.titles, ids)
        return new_frame(columns, self.frame_kind if kind is None else kind)

    def __repr__(self) -> str:
        width = self.positions.shape[1]
        lines = [f"{type(self).__name__} for {len(self):,} {self.QUERY}{'s' * (len(self) != 1)}, up to {width} each"]
        shown = width if len(self) == 1 else min(width, COLUMNS_SHOWN)
        for row, query in enumerate(self.queries[:ROWS_SHOWN].tolist()):
            items = [f"{with_title(self.titles, listed)} {score:.4g}" for listed, score in self._listed(row)]
            lines.append(f"{printable(repr(query))}: " + (", ".join(items[:shown]) or "nothing"))
            lines[-1] += ", …" * (len(items) > shown)
        return "\n".join(lines + ["…"] * (len(self) > ROWS_SHOWN))

    def _repr_html_(self) -> str:
        kind = type(self).__name__
        if len(self) == 1:
            return self._html_of_one(f"{kind} for {self.QUERY} ")
        width = min(self.positions.shape[1], COLUMNS_SHOWN)
        rows = []
        for row, query in enumerate(self.queries[:ROWS_SHOWN].tolist()):
            cells = [
                f"{with_title(self.titles, listed)} ·\u00a0{score:.4g}" for listed, score in self._listed(row)[:width]
            ]
            rows.append([str(query), *cells, *[None] * (width - len(cells))])
        longest = self.positions.shape[1]
        title = f"{kind} for {len(self):,} {self.QUERY}s, up to {longest} each"
        listed = self.LISTED.replace("_", " ")
        more = [*and_more(len(self) - len(rows), self.QUERY), *and_more(longest - width, listed, " of each")]
        return html_table(title, [self.QUERY, *map(str, range(1, width + 1))], rows, notes=more)

    def _html_of_one(self, title: str) -> str:
        ((query, pairs),) = self
        columns: dict[str, list[Cell]] = {
            "rank": list(range(1, len(pairs) + 1)),
            self.LISTED: [str(listed) for listed, _ in pairs],
        }
        if self.titles is not None:
            columns["title"] = [self.titles.get(listed) for listed, _ in pairs]
        columns[self.SCORE] = [score for _, score in pairs]
        rows = list(zip(*columns.values(), strict=True))[:LISTED_SHOWN]
        title_of_query = with_title(self.titles if self.QUERY == "item" else None, query)
        more = and_more(len(pairs) - len(rows), self.LISTED.replace("_", " "))
        return html_table(f"{title}{title_of_query}", list(columns), rows, notes=more)


class Recommendations(Ranking):
    """Recommended items of users; see `Ranking` for further attributes."""

    QUERY, LISTED, SCORE = "user", "item", "score"

    @property
    def user_ids(self) -> NDArray[Any]:
        """The ids of the users; shape (n_users,)."""
        return self.queries

    @property
    def items(self) -> Vocabulary:
        """The vocabulary of items."""
        return self.catalog

    @property
    def item_positions(self) -> NDArray[np.int64]:
        """Positions of items, of shape (n_users, n), padded with −1."""
        return self.positions

    @property
    def item_ids(self) -> NDArray[Any]:
        """Ids of items, of shape (n_users, n), padded with None."""
        return self.ids


class SimilarItems(Ranking):
    """Similar items; see `Ranking` for the attributes."""

    QUERY, LISTED, SCORE = "item", "similar_item", "similarity"


class SimilarUsers(Ranking):
    """Similar users; see `Ranking` for the attributes."""

    QUERY, LISTED, SCORE = "user", "similar_user", "similarity"


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Explanation:
    """Explanation of a score as the sum of a baseline, contributions and a remainder.

    Attributes
    ----------
    user, item : id
    score : float
        The prediction.
    baseline : float
        The score of a user without interactions: μ + b_i, and the contribution of the user's features or of a prior.
    item_ids : ndarray of shape (n,)
        The items of the user.
    values : ndarray of shape (n,)
        The values of these interactions.
    contributions : ndarray of shape (n,)
        The contributions of these items to the score.
    titles : mapping from item id to str, optional
    shown : int
        The number of items to print.
    """

    user: Any
    item: Any
    score: float
    baseline: float
    item_ids: NDArray[Any]
    values: NDArray[np.float64]
    contributions: NDArray[np.float64]
    titles: Mapping[Any, str] | None = None
    shown: int = 5

    @property
    def remainder(self) -> float:
        """The remainder of the score, close to 0 unless item factors have changed since the user was solved."""
        return self.score - self.baseline - float(self.contributions.sum())

    @property
    def largest(self) -> list[tuple[Any, float]]:
        """The items with the largest absolute contributions, and these."""
        order = np.argsort(-np.abs(self.contributions), kind="stable")[: self.shown]
        return list(zip(self.item_ids[order].tolist(), self.contributions[order].tolist(), strict=True))

    def to_frame(self, kind: str | None = None) -> Any:
        """Convert to a dataframe, sorted by absolute contribution; see `Ranking.to_frame`."""
        order = np.argsort(-np.abs(self.contributions), kind="stable")
        columns = {
            "item": self.item_ids[order],
            "value": self.values[order],
            "contribution": self.contributions[order],
        }
        if self.titles is not None:
            columns["title"] = titles_of(self.titles, columns["item"])
        return new_frame(columns, kind)

    def __repr__(self) -> str:
        user, item = printable(repr(self.user)), with_title(self.titles, self.item)
        parts = [f"  {contribution:+.4g}  {name}" for name, contribution in self._parts()]
        return "\n".join([f"{self.score:.4g} for user {user}, item {item}, of which", *parts])

    def _parts(self) -> list[tuple[str, float]]:
        """Return the names and contributions of the largest items, of all others, and of the baseline."""
        parts = [(with_title(self.titles, item), contribution) for item, contribution in self.largest]
        others = len(self.item_ids) - len(parts)
        if others:
            rest = float(self.contributions.sum()) - sum(contribution for _, contribution in parts)
            parts.append((f"{others:,} other item{'s' * (others != 1)} of the user", rest))
        return [*parts, ("baseline", self.baseline)]

    def _repr_html_(self) -> str:
        rows: list[list[Cell]] = [[*part] for part in [*self._parts(), ("score", self.score)]]
        title = f"Explanation of the score of item {with_title(self.titles, self.item)} for user {self.user!r}"
        return html_table(title, ["item", "contribution"], rows, bold=[len(rows) - 1])


def with_title(titles: Mapping[Any, str] | None, item: Any) -> str:
    """Return an id with its title, if known, as printable text."""
    title = None if titles is None else titles.get(item)
    return printable(repr(item) if title is None else f"{item!r} {title}")


def titles_of(titles: Mapping[Any, str], ids: NDArray[Any]) -> NDArray[Any]:
    """Return the title of each id, or None."""
    return np.array([titles.get(each) for each in ids.tolist()], dtype=object)
