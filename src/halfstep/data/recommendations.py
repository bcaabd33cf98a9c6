"""What a model recommends: a small table that prints, that converts to a dataframe, and that holds plain arrays."""

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
    """The best of a catalogue for each of some queries.

    Attributes
    ----------
    queries : ndarray of shape (n_queries,)
        The ids that were asked for.
    catalogue : Vocabulary
        What could be listed.
    positions : ndarray of shape (n_queries, n), int64
        Positions in the catalogue, the best first; −1 where a list is short. Of equal scores, the lower position
        comes first.
    scores : ndarray of shape (n_queries, n)
        NaN where a list is short.
    titles : mapping from an id of the catalogue to str, optional
    frame_kind : str, optional
        The dataframe library that `to_frame` uses where it is not told one.
    """

    queries: NDArray[Any]
    catalogue: Vocabulary
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
        """How many are listed for each query; shape (n_queries,)."""
        counts: NDArray[np.int64] = (self.positions >= 0).sum(axis=1)
        return counts

    @property
    def ids(self) -> NDArray[Any]:
        """The ids that are listed, of shape (n_queries, n): objects, with None where a list is short."""
        listed = np.full(self.positions.shape, None, dtype=object)
        there = self.positions >= 0
        listed[there] = self.catalogue.ids[self.positions[there]].astype(object)
        return listed

    def __iter__(self) -> Iterator[tuple[Any, list[tuple[Any, float]]]]:
        """Go through the queries: each with its list of (id, score)."""
        return ((query, self._listed(row)) for row, query in enumerate(self.queries.tolist()))

    def __getitem__(self, query: Any) -> list[tuple[Any, float]]:
        """Give the list of one query, by its id: pairs of id and score, the best first.

        Raises
        ------
        UnknownIdError
            If it was not asked for.
        """
        with suppress(ValueError):  # it is not a valid id
            plain = plain_id(query)
            kind = type_of(type(plain))  # True == 1, but they are different ids
            for row, asked in enumerate(self.queries.tolist()):
                if asked == plain and type_of(type(asked)) is kind:
                    return self._listed(row)
        raise UnknownIdError(f"{query!r} is not among the {len(self):,} {self.QUERY}s of this table")

    def _listed(self, row: int) -> list[tuple[Any, float]]:
        count = int(self.counts[row]) if len(self) == 1 else int((self.positions[row] >= 0).sum())
        ids = self.catalogue.ids[self.positions[row, :count]].tolist()
        return list(zip(ids, self.scores[row, :count].tolist(), strict=True))

    def to_frame(self, kind: str | None = None) -> Any:
        """Make a long dataframe: a row for each that is listed.

        Parameters
        ----------
        kind : {"pandas", "polars", "pyarrow", "modin", "cudf"}, optional
            Its library. By default that of the dataframe which the model was fitted on, else the first of pandas,
            Polars and PyArrow that is installed.

        Returns
        -------
        dataframe
            With the query's id, the listed id, the rank from 1, the score, and the title if titles are known.
        """
        rows, places = np.nonzero(self.positions >= 0)
        ids = self.catalogue.ids[self.positions[rows, places]]
        columns = {
            self.QUERY: self.queries[rows],
            self.LISTED: ids,
            "rank": places + 1,
            self.SCORE: self.scores[rows, places],
        }
        if self.titles is not None:
            columns["title"] = titles_of(self.titles, ids)
        return new_frame(columns, self.frame_kind if kind is None else kind)

    def __repr__(self) -> str:
        width = self.positions.shape[1]
        lines = [f"{type(self).__name__} for {len(self):,} {self.QUERY}{'s' * (len(self) != 1)}, up to {width} each"]
        shown = width if len(self) == 1 else min(width, COLUMNS_SHOWN)
        for query, row in zip(self.queries[:ROWS_SHOWN].tolist(), range(len(self)), strict=False):
            entries = [f"{named(self.titles, listed)} {score:.4g}" for listed, score in self._listed(row)]
            lines.append(f"{printable(repr(query))}: " + (", ".join(entries[:shown]) or "nothing"))
            lines[-1] += ", …" * (len(entries) > shown)
        return "\n".join(lines + ["…"] * (len(self) > ROWS_SHOWN))

    def _repr_html_(self) -> str:
        kind = type(self).__name__
        if len(self) == 1:
            return self._html_of_one(f"{kind} for {self.QUERY} ")
        width = min(self.positions.shape[1], COLUMNS_SHOWN)
        rows = []
        for row, query in enumerate(self.queries[:ROWS_SHOWN].tolist()):
            entries = [
                f"{named(self.titles, listed)} ·\u00a0{score:.4g}" for listed, score in self._listed(row)[:width]
            ]
            rows.append([str(query), *entries, *[None] * (width - len(entries))])
        longest = self.positions.shape[1]
        title = f"{kind} for {len(self):,} {self.QUERY}s, up to {longest} each"
        listed = self.LISTED.replace("_", " ")
        more = [*and_more(len(self) - len(rows), self.QUERY), *and_more(longest - width, listed, " of each")]
        return html_table(title, [self.QUERY, *map(str, range(1, width + 1))], rows, notes=more)

    def _html_of_one(self, title: str) -> str:
        """Return a table of the list of a single query."""
        ((query, entries),) = self
        columns: dict[str, list[Cell]] = {
            "rank": list(range(1, len(entries) + 1)),
            self.LISTED: [str(listed) for listed, _ in entries],
        }
        if self.titles is not None:
            columns["title"] = [self.titles.get(listed) for listed, _ in entries]
        columns[self.SCORE] = [score for _, score in entries]
        rows = list(zip(*columns.values(), strict=True))[:LISTED_SHOWN]
        asked = named(self.titles if self.QUERY == "item" else None, query)
        more = and_more(len(entries) - len(rows), self.LISTED.replace("_", " "))
        return html_table(f"{title}{asked}", list(columns), rows, notes=more)


class Recommendations(Ranking):
    """Items for users; see `Ranking` for the attributes that all tables have."""

    QUERY, LISTED, SCORE = "user", "item", "score"

    @property
    def user_ids(self) -> NDArray[Any]:
        """The users that were asked for; shape (n_users,)."""
        return self.queries

    @property
    def items(self) -> Vocabulary:
        """The catalogue."""
        return self.catalogue

    @property
    def item_positions(self) -> NDArray[np.int64]:
        """Positions of items in the catalogue, of shape (n_users, n); −1 where a list is short."""
        return self.positions

    @property
    def item_ids(self) -> NDArray[Any]:
        """The items' ids, of shape (n_users, n); None where a list is short."""
        return self.ids


class SimilarItems(Ranking):
    """Items that are alike; see `Ranking` for the attributes that all tables have."""

    QUERY, LISTED, SCORE = "item", "similar_item", "similarity"


class SimilarUsers(Ranking):
    """Users that are alike; see `Ranking` for the attributes that all tables have."""

    QUERY, LISTED, SCORE = "user", "similar_user", "similarity"


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Explanation:
    """What a score is made of: score = baseline + Σ contributions + remainder.

    Attributes
    ----------
    user, item : id
    score : float
        What `predict` says.
    baseline : float
        What is there without any interaction: μ + b_i; and what the user's own features say, or a prior.
    item_ids : ndarray of shape (n,)
        The items that the user has.
    values : ndarray of shape (n,)
        Their values.
    contributions : ndarray of shape (n,)
        What each of them adds to the score.
    titles : mapping from item id to str, optional
    shown : int
        How many to show when printed.
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
        """What is left over: next to 0, unless the items have moved since the user was solved."""
        return self.score - self.baseline - float(self.contributions.sum())

    @property
    def largest(self) -> list[tuple[Any, float]]:
        """The items that count most for or against, with their contributions."""
        order = np.argsort(-np.abs(self.contributions), kind="stable")[: self.shown]
        return list(zip(self.item_ids[order].tolist(), self.contributions[order].tolist(), strict=True))

    def to_frame(self, kind: str | None = None) -> Any:
        """Make a dataframe of all contributions, the largest first; see `Ranking.to_frame`."""
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
        largest = self.largest
        lines = [
            f"{self.score:.4g} for user {printable(repr(self.user))}, item {named(self.titles, self.item)}, of which"
        ]
        lines += [f"  {contribution:+.4g}  {named(self.titles, item)}" for item, contribution in largest]
        others = len(self.item_ids) - len(largest)
        if others:
            rest = float(self.contributions.sum()) - sum(contribution for _, contribution in largest)
            lines.append(f"  {rest:+.4g}  {others:,} other item{'s' * (others != 1)} of theirs")
        return "\n".join([*lines, f"  {self.baseline:+.4g}  without any of these"])

    def _repr_html_(self) -> str:
        largest = self.largest
        others = len(self.item_ids) - len(largest)
        rows: list[list[Cell]] = [[named(self.titles, item), each] for item, each in largest]
        if others:
            rest = float(self.contributions.sum()) - sum(contribution for _, contribution in largest)
            rows.append([f"{others:,} other item{'s' * (others != 1)} of the user", rest])
        rows += [["without any of these", self.baseline], ["score", self.score]]
        title = f"Explanation of the score of item {named(self.titles, self.item)} for user {self.user!r}"
        return html_table(title, ["item", "contribution"], rows, bold=[len(rows) - 1])


def named(titles: Mapping[Any, str] | None, item: Any) -> str:
    """Describe an item by its id, and its title if there is one, safe to print."""
    title = None if titles is None else titles.get(item)
    return printable(repr(item) if title is None else f"{item!r} {title}")


def titles_of(titles: Mapping[Any, str], ids: NDArray[Any]) -> NDArray[Any]:
    """The title of each id; None where there is none."""
    return np.array([titles.get(each) for each in ids.tolist()], dtype=object)
