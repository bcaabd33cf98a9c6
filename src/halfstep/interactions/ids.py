"""A column of ids, distrusted: made int64 or objects, and numbered."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from itertools import count
from operator import itemgetter
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from halfstep.interactions.columns import MEND_ROWS, RowError, as_column

# A table of all integers between the smallest and the largest id beats sorting, as long as it fits in the
# cache or is fairly full.
_SMALL_TABLE = 1 << 16
_TABLE_PER_ID = 8

# So many entries are Python objects at a time where they need not be: they are used and freed while in the cache.
_PART = 1 << 12

_NEVER_MISSING = frozenset({str, int, bytes, bool, UUID, tuple})


def as_ids(ids: Any, name: str) -> NDArray[Any]:
    """Make a column of int64 where all ids are integers that fit, else of Python objects."""
    column = _as_integers(as_column(ids, name))
    return column if column.dtype.kind in "iO" else np.fromiter(_objects(column), dtype=object, count=len(column))


def encode(ids: Any, name: str) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """Make ids of a column, and number them as `factorise` does, with no Python object for each entry.

    Strings that a dataframe's library holds are numbered by it.
    """
    if hasattr(ids, "__array__") and not isinstance(ids, np.ndarray):
        from halfstep.interactions.frames import encode_strings

        encoded = encode_strings(ids)
        if encoded is not None:
            distinct, positions = encoded
            return np.fromiter(distinct, dtype=object, count=len(distinct)), positions
    if isinstance(ids, list | tuple) and ids and not _is_integral(type(ids[0])):
        return _factorise_objects(ids, name)
    return factorise(_as_integers(as_column(ids, name)), name)


def factorise(column: NDArray[Any], name: str) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """Give the distinct ids, ascending where they compare and else as they appear, and each entry's position."""
    return _factorise_integers(column) if column.dtype == np.int64 else _factorise_objects(column, name)


def _as_integers(column: NDArray[Any]) -> NDArray[Any]:
    """Make int64 of a column whose ids all are integers that fit; leave others as they are."""
    kind = column.dtype.kind
    if kind == "O" and len(column) and _is_integral(type(column[0])):
        kinds = set(map(type, column))
        if bool in kinds or not all(map(_is_integral, kinds)):
            return column
        try:
            return column.astype(np.int64)
        except OverflowError:
            return column
    if kind == "i" or (kind == "u" and (len(column) == 0 or column.max() <= np.iinfo(np.int64).max)):
        return column.astype(np.int64, copy=False)
    return column


def _objects(column: Sequence[Any] | NDArray[Any]) -> Sequence[Any]:
    """Give a column as Python objects."""
    if not isinstance(column, np.ndarray):
        return column
    return list(column) if column.dtype.kind in "mM" else column.tolist()  # which would lose the unit of instants


def _factorise_objects(column: Sequence[Any] | NDArray[Any], name: str) -> tuple[NDArray[Any], NDArray[np.int32]]:
    numbers: defaultdict[Any, int] = defaultdict(count().__next__)  # numbered as they appear, without a Python loop
    appearance = np.empty(len(column), dtype=np.int32)
    try:
        for start in range(0, len(column), _PART):
            part = _objects(column[start : start + _PART])
            deque(map(hash, part), maxlen=0)  # strings keep their hash: apart from looking up, this runs in the cache
            # Looking up is waiting for keys to come from memory: itemgetter has several on their way. It makes no
            # tuple of a single number, hence one more, which is left.
            found = itemgetter(*part, part[0])(numbers)
            appearance[start : start + _PART] = np.fromiter(found, dtype=np.int32, count=len(part))
    except TypeError:
        raise unhashable(_objects(column), name) from None
    distinct = list(numbers)
    if not set(map(type, distinct)) <= _NEVER_MISSING and any(map(_is_missing, distinct)):
        row, item = next((row, item) for row, item in enumerate(_objects(column)) if _is_missing(item))
        raise RowError(name, row, item, f"a missing id; {MEND_ROWS}")
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


def unhashable(entries: Sequence[Any], name: str) -> RowError:
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
