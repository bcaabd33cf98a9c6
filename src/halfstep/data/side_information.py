"""What is known of users and items besides their ratings, as sparse matrices with a row for each.

Three sources, stacked side by side: *what they have* (a user's bag of items, an item's bag of users), a sparse matrix
of the caller's, and the columns of a dataframe: numbers are standardised, categories become indicators.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from halfstep.data import Interactions, Orientation, Vocabulary
from halfstep.data.frames import Column, column_names, feature_columns
from halfstep.data.sparse import is_sparse, stored_values
from halfstep.errors import DataError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    Sparse = csr_array[Any, tuple[int, int]]

SEPARATOR = "|"  # between the categories of one entry


@dataclass(frozen=True)
class Numbers:
    """A column of numbers, which becomes one feature: (number − center) / scale, and 0 where it is missing."""

    name: str
    center: float
    scale: float

    width = 1

    @classmethod
    def of(cls, column: Column) -> Numbers:
        """Find the mean and the standard deviation of what is there."""
        numbers = column.entries.astype(np.float64)
        there = numbers[~np.isnan(numbers)]
        if not np.isfinite(there).all():
            raise DataError(f"the feature {column.name!r} has infinite entries: mend them, or leave the column out")
        if len(there) == 0 or np.ptp(there) == 0:  # the mean of equal numbers may be another by rounding
            return cls(column.name, float(there[0]) if len(there) else 0.0, 1.0)
        with np.errstate(over="ignore", invalid="ignore"):
            center, spread = float(there.mean()), float(there.std())
        if not (0 < spread < np.inf):
            largest = float(there[np.argmax(np.abs(there))])
            raise DataError(
                f"the feature {column.name!r} has entries such as {largest:g}, whose squares cannot be summed: give "
                "it in other units, or as logarithms"
            )
        return cls(column.name, center, spread)

    def encoded(self, column: Column) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
        """Rows, columns and values of what is not 0."""
        numbers = (column.entries.astype(np.float64) - self.center) / self.scale
        rows = np.flatnonzero(~np.isnan(numbers) & (numbers != 0))
        return rows, np.zeros(len(rows), np.intp), numbers[rows]


@dataclass(frozen=True)
class Categories:
    """A column of categories, or of several in one entry ("a|b"): an indicator of each; none where it is missing."""

    name: str
    names: tuple[str, ...]

    @property
    def width(self) -> int:
        """How many features there are."""
        return len(self.names)

    @classmethod
    def of(cls, column: Column) -> Categories:
        """List the categories that occur."""
        return cls(column.name, tuple(sorted({name for entry in column.entries for name in _split(entry)})))

    def encoded(self, column: Column) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
        """Rows, columns and values of what is not 0; categories that are not listed are passed over."""
        place = {name: number for number, name in enumerate(self.names)}
        found = [
            (row, place[name])
            for row, entry in enumerate(column.entries)
            for name in dict.fromkeys(_split(entry))
            if name in place
        ]
        rows, columns = np.array(found, np.intp).reshape(-1, 2).T
        return rows, columns, np.ones(len(rows))


def _split(entry: Any) -> list[str]:
    return [] if entry is None else [name for part in entry.split(SEPARATOR) if (name := part.strip())]


class Given:
    """The features that a caller has given of one side: how they are read, and those of some rows.

    Attributes
    ----------
    side : {"user", "item"}
    columns : tuple of Numbers or Categories, or None
        Those of a dataframe; None for a sparse matrix, which is taken as it is.
    matrix : sparse array of shape (n_rows, n_features)
        Without features where nothing was given.
    """

    def __init__(
        self, side: Literal["user", "item"], columns: tuple[Numbers | Categories, ...] | None, matrix: Sparse
    ) -> None:
        self.side, self.columns, self.matrix = side, columns, matrix

    @classmethod
    def read(cls, data: Interactions, given: Any, side: Literal["user", "item"]) -> tuple[Interactions, Given]:
        """Learn how to read features; the vocabulary grows by ids that have features and no entries.

        Parameters
        ----------
        data : Interactions
        given : sparse matrix, dataframe or None
            A matrix has a row for each id of the vocabulary, in its order; a dataframe has the column ``user`` or
            ``item``, and features in all others. Ids without features have zeros.
        side : {"user", "item"}

        Raises
        ------
        DataError
            If the features are unusable, or are those of other ids or of ids of another type.
        """
        ids = data.users if side == "user" else data.items
        if given is None:
            return data, cls(side, (), _empty(len(ids), 0))
        if is_sparse(given):
            return data, cls(side, None, _checked(given, ids, side))
        keys, columns = _table(given, side)
        name = f"{side} id in {side}_features"
        given_ids = Vocabulary(keys, name=name)
        if len(ids) and len(given_ids) and (ids.positions(given_ids.ids, "mark", name=name) < 0).all():
            raise DataError(
                f"none of the {side}s in {side}_features, such as {given_ids[0]!r}, is in the data, whose {side}s "
                f"are such as {ids[0]!r}: give the features of these {side}s"
            )
        ids = ids.extended(given_ids.ids, name=name)
        learnt = tuple(Numbers.of(each) if each.is_numeric else Categories.of(each) for each in columns)
        matrix = _encoded(learnt, columns, ids.positions(given_ids.ids), len(ids))
        return data.rebased(**{f"{side}s": ids}), cls(side, learnt, matrix)

    def of_others(self, ids: Vocabulary, given: Any) -> Given:
        """Read the features of other ids in the same way; without any they have zeros.

        Raises
        ------
        DataError
            If there are none of the kind, or not those that were there before; or if an id is of another type.
        """
        name, width = f"{self.side}_features", self.matrix.shape[1]
        if given is None:
            return Given(self.side, self.columns, _empty(len(ids), width))
        if self.columns == ():
            refuse_features(name, given)
        if self.columns is None:
            if not is_sparse(given):
                raise DataError(f"{name}: the model was fitted on a sparse matrix, so give one here, too")
            F = _checked(given, ids, self.side)
            if F.shape[1] != width:
                raise DataError(f"{name} has {F.shape[1]:,} columns, and the model was fitted on {width:,}")
            return Given(self.side, None, F)
        keys, columns = _table(given, self.side)
        by_name = {column.name: column for column in columns}
        for each in self.columns:
            if each.name not in by_name:
                raise DataError(f"{name} has no column {each.name!r}, which the model was fitted on")
            if by_name[each.name].is_numeric != isinstance(each, Numbers):
                kind = "numbers" if isinstance(each, Numbers) else "strings"
                raise DataError(f"{name}: {each.name!r} held {kind} when the model was fitted")
        name_of_id = f"{self.side} id in {name}"
        places = ids.positions(Vocabulary(keys, name=name_of_id).ids, "mark", name=name_of_id)
        chosen = [by_name[each.name] for each in self.columns]
        return Given(self.side, self.columns, _encoded(self.columns, chosen, places, len(ids)))

    def beside(self, pattern: Orientation, n_columns: int, *, implicit: bool) -> Sparse | None:
        """All features of the rows: their bags, if implicit, and what is given; None where there are none."""
        from scipy.sparse import csr_array, hstack

        bag = bags(pattern, n_columns) if implicit else None
        if self.matrix.shape[1] == 0:
            return bag
        return self.matrix if bag is None else csr_array(hstack([bag, self.matrix], format="csr"))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """All of it as arrays, for a file."""
        described = None if self.columns is None else [asdict(each) for each in self.columns]
        F = self.matrix
        return {
            "columns": np.frombuffer(json.dumps(described).encode(), np.uint8),
            "shape": np.array(F.shape, np.int64),
            "indptr": F.indptr.astype(np.int64),
            "indices": F.indices.astype(np.int32),
            "data": F.data.astype(np.float64),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], side: Literal["user", "item"], n_rows: int) -> Given:
        """Make the same of them; ValueError if they are no features of so many rows."""
        from scipy.sparse import csr_array

        kinds = {"columns": np.uint8, "shape": np.int64, "indptr": np.int64, "indices": np.int32, "data": np.float64}
        if arrays.keys() != kinds.keys() or any(arrays[name].dtype != kind for name, kind in kinds.items()):
            raise ValueError(f"its features are incomplete: it has {sorted(arrays)}")
        shape, indptr, indices, data = (arrays[name] for name in ("shape", "indptr", "indices", "data"))
        columns = _columns_of(bytes(arrays["columns"]))
        if shape.shape != (2,) or shape[0] != n_rows or shape[1] < 0:
            raise ValueError(f"its features of shape {shape.tolist()} are not those of {n_rows} {side}s")
        width = int(shape[1])
        if columns is not None and sum(each.width for each in columns) != width:
            raise ValueError(f"its {width} features are not those that it describes")
        if indptr.shape != (n_rows + 1,) or indptr[0] != 0 or (np.diff(indptr) < 0).any():
            raise ValueError("its features have rows that do not follow one another")
        if indices.shape != (indptr[-1],) or data.shape != indices.shape or not np.isfinite(data).all():
            raise ValueError("its features have entries that are missing or not finite")
        if len(indices) and not (indices.min() >= 0 and indices.max() < width):
            raise ValueError(f"its features have columns outside of 0 to {width - 1}")
        return cls(side, columns, csr_array((data, indices, indptr), shape=(n_rows, width)))


def refuse_features(name: str, given: Any) -> None:
    """Refuse features for a model that was fitted without any."""
    if given is not None:
        raise DataError(f"{name}: the model was fitted without any")


def _columns_of(text: bytes) -> tuple[Numbers | Categories, ...] | None:
    described = json.loads(text)
    if described is None:
        return None
    columns: list[Numbers | Categories] = []
    for each in described if isinstance(described, list) else [None]:
        match each:
            case {"name": str(name), "center": float(center), "scale": float(scale)} if scale > 0:
                columns.append(Numbers(name, center, scale))
            case {"name": str(name), "names": list(names)} if all(isinstance(entry, str) for entry in names):
                columns.append(Categories(name, tuple(names)))
            case _:
                raise ValueError(f"its features are described as {each!r}")
    return tuple(columns)


def read_features(
    data: Interactions, user_features: Any, item_features: Any, *, implicit: bool
) -> tuple[Interactions, Given, tuple[Sparse | None, Sparse | None]]:
    """Read what is given of both sides, and set their bags beside it, if implicit.

    Returns
    -------
    data : Interactions
        With the ids that have features and no entries.
    of_users : Given
    linked : pair of sparse arrays
        All features of the users and of the items; None where there are none.

    Raises
    ------
    DataError
        As `Given.read` does.
    """
    data, of_users = Given.read(data, user_features, "user")
    data, of_items = Given.read(data, item_features, "item")
    users = of_users.beside(data.by_user, data.n_items, implicit=implicit)
    return data, of_users, (users, of_items.beside(data.by_item, data.n_users, implicit=implicit))


def bags(pattern: Orientation, n_columns: int) -> Sparse:
    """Give each row's observed columns as features: n^-½ for each of its n, so that every row has the length 1.

    Which columns a row has says something beyond their values (Koren 2008, as SVD++ has it).
    """
    from scipy.sparse import csr_array

    counts = np.diff(pattern.indptr)
    values = np.repeat(np.maximum(counts, 1) ** -0.5, counts)
    index = np.int32 if len(values) <= np.iinfo(np.int32).max else np.int64
    parts = values, pattern.indices.astype(index), pattern.indptr.astype(index)
    return csr_array(parts, shape=(len(counts), n_columns))


def _empty(n_rows: int, width: int) -> Sparse:
    from scipy.sparse import csr_array

    return csr_array((n_rows, width), dtype=np.float64)


def _checked(given: Any, ids: Vocabulary, side: str) -> Sparse:
    if len(given.shape) != 2:
        raise DataError(f"{side}_features is a sparse array of shape {given.shape}: give it a row for each {side}")
    if given.shape[0] != len(ids):
        raise DataError(
            f"{side}_features has {given.shape[0]:,} rows, and there are {len(ids):,} {side}s: a matrix has a row "
            f"for each, in the order of the vocabulary; a dataframe with the column {side!r} goes by ids"
        )

    def cell(row: int, column: int) -> str:
        return f"{side} {ids[row]!r} (row {row}), column {column}"

    return stored_values(given, f"{side}_features", cell).to_csr()


def _table(given: Any, side: str) -> tuple[Any, list[Column]]:
    names = column_names(given)
    if names is None:
        raise DataError(
            f"{side}_features is a {type(given).__name__}: give a dataframe with the column {side!r}, or a SciPy "
            "sparse matrix with a row for each"
        )
    if side not in names:
        raise DataError(
            f"{side}_features has no column {side!r} with the ids: there are {', '.join(map(repr, names))}"
        )
    return feature_columns(given, side)


def _encoded(
    encodings: Sequence[Numbers | Categories],
    columns: Sequence[Column],
    places: NDArray[np.integer],
    n_rows: int,
) -> Sparse:
    """A matrix in which the entries of the columns stand at these rows; those at −1 are passed over."""
    from scipy.sparse import csr_array

    width = 0
    parts = [(np.empty(0, np.intp), np.empty(0, np.intp), np.empty(0))]
    for encoding, column in zip(encodings, columns, strict=True):
        entries, offsets, values = encoding.encoded(column)
        parts.append((places[entries].astype(np.intp), width + offsets, values))
        width += encoding.width
    rows, features = (np.concatenate([part[n] for part in parts]) for n in (0, 1))
    numbers, known = np.concatenate([part[2] for part in parts]), rows >= 0
    at = rows[known].astype(np.int32), features[known].astype(np.int32)
    return csr_array((numbers[known], at), shape=(n_rows, width))
