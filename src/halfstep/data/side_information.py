"""Side information: features of users and items as sparse matrices with a row for each.

Features are the columns of a dataframe (numbers are standardized, categories become indicators) or of a sparse
matrix, and optionally implicit features: the items of a user or the users of an item.
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

SEPARATOR = "|"  # between several categories


@dataclass(frozen=True)
class Numbers:
    """The encoding of a column of numbers as one feature, (number − center) / scale, or 0 if missing."""

    name: str
    center: float
    scale: float

    width = 1

    @classmethod
    def of(cls, column: Column) -> Numbers:
        """Compute the mean and standard deviation of a column."""
        numbers = column.values.astype(np.float64)
        numbers = numbers[~np.isnan(numbers)]
        if not np.isfinite(numbers).all():
            raise DataError(f"the feature {column.name!r} has infinite values: correct them, or drop the column")
        if len(numbers) == 0 or np.ptp(numbers) == 0:  # the mean of equal numbers may differ by rounding
            return cls(column.name, float(numbers[0]) if len(numbers) else 0.0, 1.0)
        with np.errstate(over="ignore", invalid="ignore"):
            center, spread = float(numbers.mean()), float(numbers.std())
        if not (0 < spread < np.inf):
            largest = float(numbers[np.argmax(np.abs(numbers))])
            raise DataError(
                f"the feature {column.name!r} has values such as {largest:g}, whose squares overflow or underflow: "
                "give it in other units, or as logarithms"
            )
        return cls(column.name, center, spread)

    def encoded(self, column: Column) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
        """Return the rows, columns and values of nonzero features."""
        numbers = (column.values.astype(np.float64) - self.center) / self.scale
        rows = np.flatnonzero(~np.isnan(numbers) & (numbers != 0))
        return rows, np.zeros(len(rows), np.intp), numbers[rows]


@dataclass(frozen=True)
class Categories:
    """The encoding of a column of categories ("a"), or several of them ("a|b"), as indicators."""

    name: str
    names: tuple[str, ...]

    @property
    def width(self) -> int:
        """Number of features."""
        return len(self.names)

    @classmethod
    def of(cls, column: Column) -> Categories:
        """List the categories of a column."""
        return cls(column.name, tuple(sorted({name for value in column.values for name in _split(value)})))

    def encoded(self, column: Column) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
        """Return the rows, columns and values of nonzero features; unknown categories are skipped."""
        numbers = {name: number for number, name in enumerate(self.names)}
        cells = [
            (row, numbers[name])
            for row, value in enumerate(column.values)
            for name in dict.fromkeys(_split(value))
            if name in numbers
        ]
        rows, columns = np.array(cells, np.intp).reshape(-1, 2).T
        return rows, columns, np.ones(len(rows))


def _split(value: Any) -> list[str]:
    return [] if value is None else [name for part in value.split(SEPARATOR) if (name := part.strip())]


class SideInformation:
    """The features of users or items, and their encoding.

    Attributes
    ----------
    side : {"user", "item"}
    columns : tuple of Numbers or Categories, or None
        The encodings of the columns of a dataframe; None for a sparse matrix.
    matrix : sparse array of shape (n_rows, n_features)
        Without columns if there are no features.
    """

    def __init__(
        self, side: Literal["user", "item"], columns: tuple[Numbers | Categories, ...] | None, matrix: Sparse
    ) -> None:
        self.side, self.columns, self.matrix = side, columns, matrix

    @classmethod
    def read(
        cls, data: Interactions, given: Any, side: Literal["user", "item"]
    ) -> tuple[Interactions, SideInformation]:
        """Fit the encoding of features; ids without interactions are added to the vocabulary.

        Parameters
        ----------
        given : sparse matrix, dataframe or None
            A matrix has a row for each id of the vocabulary, in its order; a dataframe has the column ``user`` or
            ``item``, and features in all others. Ids without features have zeros.
        side : {"user", "item"}
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
                f"none of the {side}s in {side}_features, such as {given_ids[0]!r}, is in the data, which has "
                f"{side}s such as {ids[0]!r}: give the features of these {side}s"
            )
        ids = ids.extended(given_ids.ids, name=name)
        encodings = tuple(Numbers.of(each) if each.is_numeric else Categories.of(each) for each in columns)
        matrix = _encoded(encodings, columns, ids.positions(given_ids.ids), len(ids))
        return data.rebased(**{f"{side}s": ids}), cls(side, encodings, matrix)

    def encode_others(self, ids: Vocabulary, given: Any) -> SideInformation:
        """Encode the features of other ids in the same way; ids without features have zeros."""
        name, width = f"{self.side}_features", self.matrix.shape[1]
        if given is None:
            return SideInformation(self.side, self.columns, _empty(len(ids), width))
        if self.columns == ():
            refuse_features(name, given)
        if self.columns is None:
            if not is_sparse(given):
                raise DataError(
                    f"{name} is not a sparse matrix, but the model was fitted on one: give a sparse matrix"
                )
            F = _checked(given, ids, self.side)
            if F.shape[1] != width:
                raise DataError(
                    f"{name} has {F.shape[1]:,} columns, but the model was fitted on {width:,}: give the same columns"
                )
            return SideInformation(self.side, None, F)
        if is_sparse(given):
            raise DataError(f"{name} is a sparse matrix, but the model was fitted on a dataframe: give a dataframe")
        keys, columns = _table(given, self.side)
        by_name = {column.name: column for column in columns}
        for each in self.columns:
            if each.name not in by_name:
                raise DataError(f"{name} has no column {each.name!r}, which the model was fitted on: add it")
            if by_name[each.name].is_numeric != isinstance(each, Numbers):
                kind = "numbers" if isinstance(each, Numbers) else "strings"
                raise DataError(
                    f"{name} has no {kind} in the column {each.name!r}, which the model was fitted on: give {kind}"
                )
        name_of_id = f"{self.side} id in {name}"
        positions = ids.positions(Vocabulary(keys, name=name_of_id).ids, "mark", name=name_of_id)
        chosen = [by_name[each.name] for each in self.columns]
        return SideInformation(self.side, self.columns, _encoded(self.columns, chosen, positions, len(ids)))

    def with_implicit(self, pattern: Orientation, n_columns: int, *, implicit: bool) -> Sparse | None:
        """Return the implicit and other features side by side; None if there are none."""
        from scipy.sparse import csr_array, hstack

        bag = bags(pattern, n_columns) if implicit else None
        if self.matrix.shape[1] == 0:
            return bag
        return self.matrix if bag is None else csr_array(hstack([bag, self.matrix], format="csr"))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return arrays to store in a file."""
        columns = None if self.columns is None else [asdict(each) for each in self.columns]
        F = self.matrix
        return {
            "columns": np.frombuffer(json.dumps(columns).encode(), np.uint8),
            "shape": np.array(F.shape, np.int64),
            "indptr": F.indptr.astype(np.int64),
            "indices": F.indices.astype(np.int32),
            "data": F.data.astype(np.float64),
        }

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, NDArray[Any]], side: Literal["user", "item"], n_rows: int
    ) -> SideInformation:
        """Restore features from arrays; raise ValueError if they are invalid."""
        from scipy.sparse import csr_array

        kinds = {"columns": np.uint8, "shape": np.int64, "indptr": np.int64, "indices": np.int32, "data": np.float64}
        if arrays.keys() != kinds.keys() or any(arrays[name].dtype != kind for name, kind in kinds.items()):
            raise ValueError(f"its features are incomplete: it has {sorted(arrays)}")
        shape, indptr, indices, data = (arrays[name] for name in ("shape", "indptr", "indices", "data"))
        columns = _columns_of(bytes(arrays["columns"]))
        if shape.shape != (2,) or shape[0] != n_rows or shape[1] < 0:
            raise ValueError(f"its features have the shape {shape.tolist()}, but there are {n_rows} {side}s")
        width = int(shape[1])
        if columns is not None and sum(each.width for each in columns) != width:
            raise ValueError(f"its {width} features do not match their description")
        if indptr.shape != (n_rows + 1,) or indptr[0] != 0 or (np.diff(indptr) < 0).any():
            raise ValueError("its features have an invalid indptr")
        if indices.shape != (indptr[-1],) or data.shape != indices.shape or not np.isfinite(data).all():
            raise ValueError("its features have values that are missing or not finite")
        if len(indices) and not (indices.min() >= 0 and indices.max() < width):
            raise ValueError(f"its features have columns outside of 0 to {width - 1}")
        return cls(side, columns, csr_array((data, indices, indptr), shape=(n_rows, width)))


def refuse_features(name: str, given: Any) -> None:
    """Raise an error if features are given for a model that was fitted without them."""
    if given is not None:
        raise DataError(f"{name}: the model was fitted without features: omit them, or fit the model with features")


def _columns_of(text: bytes) -> tuple[Numbers | Categories, ...] | None:
    described = json.loads(text)
    if described is None:
        return None
    columns: list[Numbers | Categories] = []
    for each in described if isinstance(described, list) else [None]:
        match each:
            case {"name": str(name), "center": float(center), "scale": float(scale)} if scale > 0:
                columns.append(Numbers(name, center, scale))
            case {"name": str(name), "names": list(names)} if all(isinstance(each, str) for each in names):
                columns.append(Categories(name, tuple(names)))
            case _:
                raise ValueError(f"its features have the invalid description {each!r}")
    return tuple(columns)


def read_features(
    data: Interactions, user_features: Any, item_features: Any, *, implicit: bool
) -> tuple[Interactions, SideInformation, tuple[Sparse | None, Sparse | None]]:
    """Encode the features of both sides, and optionally add implicit features.

    Returns
    -------
    data : Interactions
        With ids that have features but no interactions.
    features : pair of sparse arrays
        All features of users and of items; None if there are none.

    Raises
    ------
    DataError
        As `SideInformation.read` does.
    """
    data, of_users = SideInformation.read(data, user_features, "user")
    data, of_items = SideInformation.read(data, item_features, "item")
    users = of_users.with_implicit(data.by_user, data.n_items, implicit=implicit)
    return data, of_users, (users, of_items.with_implicit(data.by_item, data.n_users, implicit=implicit))


def bags(pattern: Orientation, n_columns: int) -> Sparse:
    """Return the observed columns of each row as implicit features (Koren 2008), scaled to rows of unit norm."""
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
        raise DataError(f"{side}_features is a sparse array of shape {given.shape}: give a row for each {side}")
    if given.shape[0] != len(ids):
        raise DataError(
            f"{side}_features has {given.shape[0]:,} rows, but there are {len(ids):,} {side}s: give a row for each, "
            f"in the order of the vocabulary, or a dataframe with the column {side!r}"
        )

    def cell(row: int, column: int) -> str:
        return f"{side} {ids[row]!r} (row {row}), column {column}"

    return stored_values(given, f"{side}_features", cell).to_csr()


def _table(given: Any, side: str) -> tuple[Any, list[Column]]:
    names = column_names(given)
    if names is None:
        raise DataError(
            f"{side}_features is of type {type(given).__name__}: give a dataframe with the column {side!r}, or a "
            "SciPy sparse matrix with a row for each"
        )
    if side not in names:
        raise DataError(
            f"{side}_features has no column {side!r} of ids: rename one of its columns, {', '.join(map(repr, names))}"
        )
    return feature_columns(given, side)


def _encoded(
    encodings: Sequence[Numbers | Categories], columns: Sequence[Column], positions: NDArray[np.integer], n_rows: int
) -> Sparse:
    """Return the features of columns whose values belong to the given rows of the result; −1 are skipped."""
    from scipy.sparse import csr_array

    width = 0
    parts = [(np.empty(0, np.intp), np.empty(0, np.intp), np.empty(0))]
    for encoding, column in zip(encodings, columns, strict=True):
        rows, offsets, values = encoding.encoded(column)
        parts.append((positions[rows].astype(np.intp), width + offsets, values))
        width += encoding.width
    rows, features = (np.concatenate([part[n] for part in parts]) for n in (0, 1))
    numbers, known = np.concatenate([part[2] for part in parts]), rows >= 0
    at = rows[known].astype(np.int32), features[known].astype(np.int32)
    return csr_array((numbers[known], at), shape=(n_rows, width))
