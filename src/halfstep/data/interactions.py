"""The table of interactions, and conversions to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from halfstep._support.blocks import all_equal
from halfstep._support.checks import check_choice
from halfstep._support.html_table import Cell, and_more, html_table
from halfstep._support.plurals import with_count
from halfstep.data.column_roles import TIMESTAMP, VALUE, WEIGHT, check_columns, columns_by_role, suggesting_none
from halfstep.data.columns import RowError, as_numbers, as_rows, as_weights, check_table
from halfstep.data.csr import Orientation
from halfstep.data.duplicates import Duplicates, find_repeat, merge
from halfstep.data.observed_cells import ObservedCells
from halfstep.data.stored_columns import StoredColumns
from halfstep.data.tables import Columns, columns_in, type_and_shape
from halfstep.data.titles import is_column_of_titles, read_titles, titles_in_column
from halfstep.data.user_item_matrix import check_is_user_item_matrix, read_user_item_matrix
from halfstep.data.vocabulary import Vocabulary
from halfstep.errors import DataError, ParameterError

ROWS_SHOWN = 5  # in HTML

if TYPE_CHECKING:
    from scipy.sparse import csr_array


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Interactions(ObservedCells):
    """Interactions of users with items, with values, and optionally timestamps and weights.

    Created by `from_frame`, `from_arrays`, `from_sparse` or `read_interactions`, which validate their input; the
    constructor checks only positions and lengths. A user interacts with an item at most once. Interactions keep
    their order. Objects are immutable: methods, and `dataclasses.replace`, return new ones.

    Attributes
    ----------
    users, items : Vocabulary
        The ids by position, possibly including ids without interactions.
    user_positions, item_positions : ndarray of shape (n_interactions,), int32
    values : ndarray of shape (n_interactions,), float64
        A stored 0 is an observation of 0.
    has_values : bool
        Whether values were given. Otherwise each interaction counts as 1, and `values` are counts.
    timestamps : ndarray of shape (n_interactions,) or None
        int64, float64 or datetime64[us], the latter in UTC.
    weights : ndarray of shape (n_interactions,), float64, or None
        Weights of the interactions, for objectives that do not compute weights; finite and at least 0.
    item_titles : mapping from item id to str, or None
        Titles to display with the ids.
    frame_kind : str or None
        The library of the original dataframe, which is also used for results.
    source : str or None
        The name of the original file, without its folder.
    """

    values: NDArray[np.float64]
    timestamps: NDArray[Any] | None = None
    weights: NDArray[np.float64] | None = None
    item_titles: Mapping[Any, str] | None = None
    frame_kind: str | None = None
    has_values: bool = True
    source: str | None = None

    def __post_init__(self) -> None:
        """Check positions and lengths, which compiled code relies on, and make the arrays read-only."""
        super().__post_init__()
        for name in ("values", "timestamps", "weights"):
            column = getattr(self, name)
            if column is not None:
                self._check_length(name, column)
                column.flags.writeable = False

    @classmethod
    def from_arrays(
        cls,
        users: ArrayLike,
        items: ArrayLike,
        values: ArrayLike | None = None,
        timestamps: ArrayLike | None = None,
        weights: ArrayLike | None = None,
        *,
        item_titles: Any = None,
        duplicates: Duplicates | None = "error",
    ) -> Self:
        """Create interactions from columns of the same length: arrays, series or lists.

        Parameters
        ----------
        users, items : array-like of ids
            Anything hashable; see `Vocabulary`.
        values : array-like of float, optional
            Ratings, counts, durations; finite. By default, each interaction counts as 1 (`has_values` is False).
        timestamps : array-like, optional
            Numbers (in any unit), dates and datetimes, or ISO 8601 strings.
        weights : array-like of float, optional
            Weights of the interactions; finite and at least 0.
        item_titles : array-like of str, mapping from item id to str, or table, optional
            Titles of items, displayed with their ids: one for each interaction, of which the first of each item is
            used; a mapping; or a table with the columns ``item`` (or the first) and ``title`` (or the second).
            Missing titles are skipped.
        duplicates : {"error", "last", "sum", "mean"} or None
            How to handle repeated pairs of a user and an item: "error" raises an error; "last" keeps the latest
            interaction (by timestamp; by order for ties and without timestamps); "sum" and "mean" keep it with the
            sum or mean of the values and weights. None means "last" with values, and "sum" without, which counts.

        Raises
        ------
        DataError
            If the columns differ in length, are empty, or contain an invalid value; the message names the first row.
        ParameterError
            If `duplicates` is invalid.
        """
        columns = {"user": users, "item": items, "value": values, "timestamp": timestamps, "weight": weights}
        if is_column_of_titles(item_titles):
            columns["title"], item_titles = item_titles, None
        return cls._from_columns(columns, duplicates).with_titles(item_titles)

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        *,
        user: str = "user",
        item: str = "item",
        value: str | None = VALUE,
        timestamp: str | None = TIMESTAMP,
        weight: str | None = WEIGHT,
        item_titles: Any = None,
        duplicates: Duplicates | None = "error",
    ) -> Self:
        """Create interactions from the columns of a dataframe or another table.

        Parameters
        ----------
        frame : dataframe, Arrow data, dict of columns, record array or list of dicts
            A dataframe of any library that narwhals supports, such as pandas, Polars (eager or lazy), PyArrow or
            DuckDB. Arrow data are record batches, record batch readers (which are consumed) and other objects with
            ``__arrow_c_stream__`` or ``__arrow_c_array__``. A dict maps names to columns; the dicts of a list are
            rows with the same keys.
        user, item : str
            The names of the columns of ids.
        value, timestamp, weight : str or None
            The names of further columns; see `from_arrays`. By default, columns named ``value``, ``timestamp`` and
            ``weight`` are used if present; None ignores the column.
        item_titles : str, mapping from item id to str, or table, optional
            Titles of items, displayed with their ids: the name of a column, of which the first title of each item
            is used; or a mapping or a second table as in `from_arrays`.
        duplicates : {"error", "last", "sum", "mean"} or None
            As in `from_arrays`.

        Raises
        ------
        DataError
            If `frame` is not a table or lacks a column, and as `from_arrays`.
        """
        table = columns_in(frame)
        if table is None:
            raise DataError(
                "expected a table (a dataframe, Arrow data, a dict of columns or the like), not "
                f"{type_and_shape(frame)}: pass arrays and lists to Interactions.from_arrays"
            )
        return cls._from_table(
            table,
            {"user": user, "item": item, "value": value, "timestamp": timestamp, "weight": weight},
            item_titles,
            duplicates,
        )

    @classmethod
    def _from_table(
        cls, table: Columns, asked: Mapping[str, Any], item_titles: Any, duplicates: Duplicates | None
    ) -> Self:
        check_columns(asked, (str, int, np.integer, tuple))
        names = columns_by_role(asked, table.names)
        if isinstance(item_titles, str):
            names["title"], item_titles = item_titles, None
        with suggesting_none(asked):
            data = cls._from_columns(table.by_role(names), duplicates)
        return replace(data.with_titles(item_titles, asked["item"]), frame_kind=table.kind)

    @classmethod
    def from_sparse(cls, matrix: Any, *, users: Any = None, items: Any = None) -> Self:
        """Create interactions from the stored values of a SciPy sparse matrix whose rows are users.

        Parameters
        ----------
        matrix : scipy.sparse matrix or array of shape (n_users, n_items)
            A matrix of any format. Stored values are observed, including explicit zeros, except zeros of a BSR or
            DIA matrix, which are padding. All other cells are missing.
        users, items : Vocabulary or array-like of ids, optional
            The ids of all rows and columns, including empty ones; by default 0 to n − 1.

        Raises
        ------
        DataError
            If `matrix` is not sparse or not valid, has no stored value, repeated cells, or values that are not
            finite, or if the number of ids does not match its shape.
        """
        check_is_user_item_matrix(matrix)
        data = cls.of_stored(matrix, users=users, items=items)
        if len(data) == 0:
            raise DataError("the matrix has no stored value: store at least one observed cell")
        return data

    @classmethod
    def of_stored(cls, matrix: Any, *, users: Any = None, items: Any = None) -> Self:
        """Create interactions from a sparse matrix that may be empty, or one-dimensional for a single row."""
        user_ids, item_ids, stored = read_user_item_matrix(matrix, users, items)
        return cls(
            users=user_ids,
            items=item_ids,
            user_positions=stored.rows,
            item_positions=stored.columns,
            values=stored.values,
        )

    @classmethod
    def _from_columns(cls, columns: Mapping[str, Any], duplicates: Duplicates | None) -> Self:
        """Check and convert columns by role; optional ones may be absent or None."""
        if duplicates is not None:
            check_choice("duplicates", duplicates, ("error", "last", "sum", "mean"))
        table = check_table(columns)
        has_values = "value" in table
        users, user_positions = Vocabulary.encode(table["user"], name="user id")
        items, item_positions = Vocabulary.encode(table["item"], name="item id")
        data = cls(
            users=users,
            items=items,
            user_positions=user_positions,
            item_positions=item_positions,
            values=table["value"] if has_values else np.broadcast_to(1.0, len(user_positions)),
            timestamps=table.get("timestamp"),
            weights=table.get("weight"),
            item_titles=titles_in_column(items, item_positions, table["title"]) if "title" in table else None,
            has_values=has_values,
        )
        return data.without_repeats(duplicates)

    @property
    def stored(self) -> StoredColumns | None:
        """The columns in the order of compressed rows, of interactions on disk; None for those in memory."""
        return self.__dict__.get("_stored")

    def stored_as(self, stored: StoredColumns, by_user: Orientation, by_item: Orientation) -> Self:
        """Set what belongs to these interactions on disk, and return them."""
        counts = {"user_counts": np.diff(by_user.indptr), "item_counts": np.diff(by_item.indptr)}
        self.__dict__.update(_stored=stored, by_user=by_user, by_item=by_item, **counts)
        return self

    def with_same_storage(self, other: Self) -> Self:
        """Copy what belongs to interactions with the same cells, values and weights to `other`, and return it."""
        if self.stored is not None:
            other.__dict__["_stored"] = self.stored
        return self._with_same_cells(other)

    def without_repeats(self, duplicates: Duplicates | None) -> Self:
        """Merge repeated interactions of a user with an item, or raise an error.

        Parameters
        ----------
        duplicates : {"error", "last", "sum", "mean"} or None
            As in `from_arrays`.

        Raises
        ------
        RowError
            If there are repeats and ``duplicates="error"``.
        """
        if duplicates is None:
            duplicates = "last" if self.has_values else "sum"
        repeat = find_repeat(self.user_positions, self.item_positions)
        if repeat is None:
            return self
        if duplicates == "error":
            row = repeat.row
            pair = (self.users[self.user_positions[row]], self.items[self.item_positions[row]])
            fault = f"the same as in row {repeat.earlier} ({repeat.counted})"
            raise RowError("pair of user and item", row, pair, f"{fault}; set duplicates='last', 'sum' or 'mean'")
        return self.merged(duplicates, by_time=True)

    def merged(self, how: Literal["last", "sum", "mean"], *, by_time: bool = False) -> Self:
        """Merge repeated interactions; `by_time`, the last one is the latest instead of the last in order."""
        rows, merged = merge(self.cells, how, self.timestamps if by_time else None)
        return replace(
            self.subset(rows),
            values=merged(self.values),
            weights=None if self.weights is None else merged(self.weights),
        )

    def __repr__(self) -> str:
        return f"Interactions({', '.join(self._summary())})"

    def _repr_html_(self) -> str:
        first = slice(ROWS_SHOWN)
        items = [self.items[k] for k in self.item_positions[first]]
        columns: dict[str, list[Cell]] = {
            "user": [str(self.users[k]) for k in self.user_positions[first]],
            "item": [str(item) for item in items],
        }
        if self.item_titles is not None:
            columns["title"] = [self.item_titles.get(item) for item in items]
        if self.has_values or self.values_are != "one":
            columns["value" if self.has_values else "count"] = self.values[first].tolist()
        if self.timestamps is not None:
            columns["timestamp"] = [str(time) for time in self.timestamps[first]]
        if self.weights is not None:
            columns["weight"] = self.weights[first].tolist()
        title, more = f"Interactions: {', '.join(self._summary())}", len(self) - len(items)
        return html_table(
            title, list(columns), zip(*columns.values(), strict=True), notes=and_more(more, "interaction")
        )

    def _summary(self) -> list[str]:
        counts = {"interaction": len(self), "user": self.n_users, "item": self.n_items}
        parts = [with_count(count, noun) for noun, count in counts.items()]
        if len(self) == 0:
            return parts
        parts += self._value_summary()
        if self.timestamps is not None:
            first, last = self.timestamps.min(), self.timestamps.max()
            if self.timestamps.dtype.kind == "M":
                parts.append(f"{first.astype('datetime64[D]')} to {last.astype('datetime64[D]')}")
            else:
                parts.append(f"timestamps {first} to {last}")
        if self.weights is not None:
            parts.append(f"weights {self.weights.min():g} to {self.weights.max():g}")
        return parts

    def _value_summary(self) -> list[str]:
        low, high = self.values.min(), self.values.max()
        if not self.has_values:
            return ["no values"] if high == 1 else ["no values", f"counts {low:g} to {high:g}"]
        return [f"all values {low:g}" if low == high else f"values {low:g} to {high:g}"]

    @property
    def values_are(self) -> Literal["given", "counted", "one"]:
        """Whether values were given or count interactions; "one" if all values are 1."""
        if len(self) == 0 or (all_equal(self.values) and self.values[0] == 1):
            return "one"
        return "given" if self.has_values else "counted"

    def to_sparse(self) -> csr_array[Any, tuple[int, int]]:
        """Return the values as a sparse array of users × items; values of 0 are stored explicitly."""
        from scipy.sparse import csr_array

        pattern = self.by_user
        # int32 if possible, since many libraries require it; copies, since some methods of SciPy work in place
        index = np.int32 if len(self) <= np.iinfo(np.int32).max else np.int64
        stored = (self.values[pattern.order], pattern.indices.astype(index), pattern.indptr.astype(index))
        return csr_array(stored, shape=(self.n_users, self.n_items))

    def subset(self, rows: ArrayLike) -> Self:
        """Return some of the interactions, with unchanged vocabularies.

        Parameters
        ----------
        rows : array-like of int or of bool
            Distinct row numbers, in the desired order, or a mask of all interactions.

        Raises
        ------
        DataError
            If `rows` has the wrong length or type, or a row number is repeated or out of range.
        """
        chosen = as_rows(rows, len(self))
        return replace(
            self,
            user_positions=self.user_positions[chosen],
            item_positions=self.item_positions[chosen],
            values=self.values[chosen],
            timestamps=None if self.timestamps is None else self.timestamps[chosen],
            weights=None if self.weights is None else self.weights[chosen],
        )

    def rebased(self, *, users: Vocabulary | None = None, items: Vocabulary | None = None) -> Self:
        """Return the interactions with other vocabularies, without interactions whose ids are unknown to these.

        Raises
        ------
        DataError
            If an id is of another type than those of the new vocabulary.
        """
        for name, vocabulary in (("users", users), ("items", items)):
            if vocabulary is not None and not isinstance(vocabulary, Vocabulary):
                raise ParameterError(f"{name} is of type {type(vocabulary).__name__}: give a Vocabulary")
        u, i = self.user_positions, self.item_positions
        if users is not None:
            u = _positions_in(users, self.users, self.user_counts, "user id")[u]
        if items is not None:
            i = _positions_in(items, self.items, self.item_counts, "item id")[i]
        known = (u >= 0) & (i >= 0)
        return replace(
            self.subset(known),
            users=self.users if users is None else users,
            items=self.items if items is None else items,
            user_positions=u[known],
            item_positions=i[known],
        )

    def with_values(self, values: ArrayLike) -> Self:
        """Return the interactions with other values, which must be finite."""
        return self._with_same_cells(replace(self, values=as_numbers(values, "value"), has_values=True))

    def with_weights(self, weights: ArrayLike | None) -> Self:
        """Return the interactions with other weights, finite and at least 0, or without weights."""
        return self._with_same_cells(replace(self, weights=None if weights is None else as_weights(weights)))

    def with_titles(self, item_titles: Any, item: str = "item") -> Self:
        """Return the interactions with titles of items.

        Parameters
        ----------
        item_titles : mapping from item id to str, table, or None
            As in `from_arrays`. With None, the interactions are unchanged.
        item : str
            The name of the column of ids in a table.
        """
        if item_titles is None:
            return self
        return self.with_same_storage(replace(self, item_titles=read_titles(item_titles, self.items, item)))

    def with_titles_of(self, other: Interactions) -> Self:
        """Return the interactions with the titles of other interactions added, for items without a title."""
        more, known = other.item_titles, self.item_titles or {}
        if more is None or more is known or more.keys() <= known.keys():
            return self
        return self.with_same_storage(replace(self, item_titles={**more, **known}))


def _positions_in(new: Vocabulary, old: Vocabulary, counts: NDArray[np.int64], name: str) -> NDArray[np.int32]:
    """Return the new position of each old id; −1 for ids that are unknown or without interactions."""
    positions, used = np.full(len(old), -1, dtype=np.int32), counts > 0
    positions[used] = new.positions(old.ids[used], "mark", name=name)
    return positions
