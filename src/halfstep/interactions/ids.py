"""A column of ids, distrusted: made int64 or objects, and numbered."""

from __future__ import annotations

from collections import defaultdict
from itertools import count
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from halfstep.interactions.columns import MEND_ROWS, RowError, as_column

# A table of all integers between the smallest and the largest id beats sorting, as long as it fits in the
# cache or is fairly full.
_SMALL_TABLE = 1 << 16
_TABLE_PER_ID = 8

_NEVER_MISSING = frozenset({str, int, bytes, bool, UUID, tuple})


def as_ids(ids: Any, name: str) -> NDArray[Any]:
    """Make a column of int64 where all ids are integers that fit, else of Python objects."""
    column = as_column(ids, name)
    kind = column.dtype.kind
    if kind == "O":
        kinds = set(map(type, column))
        if not kinds or bool in kinds or not all(map(_is_integral, kinds)):
            return column
        try:
            return column.astype(np.int64)
        except OverflowError:
            return column
    if kind == "i" or (kind == "u" and (len(column) == 0 or column.max() <= np.iinfo(np.int64).max)):
        return column.astype(np.int64, copy=False)
    if kind in "mM":  # as NumPy's own scalars: tolist() would lose their unit
        return np.fromiter(column, dtype=object, count=len(column))
    return np.fromiter(column.tolist(), dtype=object, count=len(column))


def factorise(column: NDArray[Any], name: str) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """Give the distinct ids and the position of each entry's among them."""
    if column.dtype.kind == "i":
        return _factorise_integers(column)
    entries = column.tolist()
    numbers: defaultdict[Any, int] = defaultdict(count().__next__)  # numbered as they appear, without a Python loop
    try:
        appearance = np.fromiter(map(numbers.__getitem__, entries), dtype=np.int32, count=len(entries))
    except TypeError:
        raise unhashable(entries, name) from None
    distinct = list(numbers)
    if not set(map(type, distinct)) <= _NEVER_MISSING and any(map(_is_missing, distinct)):
        row = next(row for row, item in enumerate(entries) if _is_missing(item))
        raise RowError(name, row, entries[row], f"a missing id; {MEND_ROWS}")
    try:
        order = sorted(range(len(distinct)), key=distinct.__getitem__)
    except TypeError:  # ids of kinds that cannot be compared stay in the order of first appearance
        order = list(range(len(distinct)))
    rank = np.empty(len(order), dtype=np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    ids = np.fromiter(map(distinct.__getitem__, order), dtype=object, count=len(order))
    return ids, rank[appearance]


def _is_integral(kind: type) -> bool:
    return issubclass(kind, int | np.integer) and not issubclass(kind, np.timedelta64)  # which NumPy derives from it


def _factorise_integers(column: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    if len(column) == 0:
        return column.copy(), np.empty(0, dtype=np.int32)
    smallest, largest = int(column.min()), int(column.max())
    if not is_dense(smallest, largest, len(column)):
        ids, inverse = np.unique(column, return_inverse=True)
        return ids, inverse.astype(np.int32)
    offsets = column - smallest
    present = np.zeros(largest - smallest + 1, dtype=bool)
    present[offsets] = True
    numbers = np.cumsum(present, dtype=np.int32) - np.int32(1)
    return np.flatnonzero(present) + smallest, numbers[offsets]


def refuse_missing(column: NDArray[Any], unknown: NDArray[np.bool_], name: str) -> None:
    """Raise an error if one of the ids that are unknown is missing rather than new."""
    if column.dtype.kind == "O":
        for row in np.flatnonzero(unknown).tolist():
            if _is_missing(column[row]):
                raise RowError(name, row, column[row], f"a missing id; {MEND_ROWS}")


def _is_missing(item: Any) -> bool:
    """Whether an id is None, NaN, NaT or pandas.NA."""
    if item is None:
        return True
    try:
        return bool(item != item)
    except TypeError:  # pandas.NA, which will not say whether it equals itself
        return True


def unhashable(entries: list[Any], name: str) -> RowError:
    """Name the first id that has no hash."""
    for row, item in enumerate(entries):
        try:
            hash(item)
        except TypeError:
            return RowError(name, row, item, "not hashable; make ids integers, strings or tuples")
    raise AssertionError("all ids are hashable")


def is_dense(smallest: int, largest: int, count: int) -> bool:
    """Whether a table from the smallest to the largest of `count` integers is worth its memory."""
    return largest - smallest < max(_SMALL_TABLE, _TABLE_PER_ID * count)
