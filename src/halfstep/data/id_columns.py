"""Columns of ids: validation, conversion to int64 or plain Python objects, and encoding as positions.

Equal ids have the same plain form: integers (including those of NumPy, and integral floats) are ``int``, strings
(including subclasses, and UTF-8 bytes) are ``str``, and dates, times and time deltas of NumPy and pandas are those
of ``datetime``, unless out of its range or precision. The type of an id is that of its plain form; see `type_of`.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import count
from numbers import Number
from operator import itemgetter
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from halfstep._support.blocks import blocks
from halfstep._support.integer_sets import distinct
from halfstep.data.columns import FIX_ROWS, RowError, as_column

# A table of all integers between the smallest and the largest id is faster than sorting if it fits in the cache or
# is fairly full.
_SMALL_TABLE = 1 << 16
_TABLE_PER_ID = 8
_LARGE_TABLE = 1 << 27
_PENDING = 1 << 24  # ids, before those that repeat are dropped

# The number of ids that are Python objects at a time, few enough to stay in the cache.
_PART = 1 << 12

PLAIN = frozenset({str, int, bool, UUID, tuple})  # never missing, and in plain form
_BASES = (dt.datetime, dt.date, dt.time, dt.timedelta, UUID, Decimal, tuple)  # their subclasses may be equal
_TIMES = (np.datetime64, np.timedelta64, dt.datetime, dt.timedelta)
_FINER = ("ns", "ps", "fs", "as")  # than microseconds, the precision of datetime
_TYPES_OF_TIMES: dict[type, type] = {np.datetime64: dt.datetime, np.timedelta64: dt.timedelta}
_NOUNS = {
    int: ("an integer", "integers"),
    str: ("a string", "strings"),
    float: ("a float", "floats"),
    bool: ("a bool", "bools"),
}


def as_ids(ids: Any, name: str) -> NDArray[Any]:
    """Return a column as int64 if all ids are integers that fit, otherwise as plain Python objects.

    Raises
    ------
    RowError
        If an id is missing, not hashable, not UTF-8, or a float too large to represent every integer.
    """
    column = _as_integers(as_column(ids, name), name)
    if column.dtype == np.int64:
        return column
    objects = _objects(column)
    kinds = set(map(type, objects))
    if column.dtype == object and kinds <= {str}:
        return column
    _refuse_bools_among_numbers(objects, kinds, name)
    return _plain_column(objects, kinds, name)


def encode(ids: Any, name: str) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """Combine `as_ids` and `factorize` without a Python object for each row."""
    if hasattr(ids, "__array__") and not isinstance(ids, np.ndarray):
        from halfstep.data.frames import encode_strings

        encoded = encode_strings(ids)
        if encoded is not None:
            texts, positions = encoded
            return np.fromiter(texts, dtype=object, count=len(texts)), positions
    column: Sequence[Any] | NDArray[Any] = ids
    if not (isinstance(ids, list | tuple) and ids and not _is_integral(type(ids[0]))):
        column = _as_integers(as_column(ids, name), name)
        if column.dtype == np.int64:
            return _factorized(column)
    objects, numbers = _number(column, name)
    kinds = set(map(type, objects))
    if kinds != {str}:
        rows = _objects(column)
        _refuse_bools_among_numbers(rows, set(map(type, rows)), name)
    try:
        plain = _plain_column(objects, kinds, name)
    except RowError as error:
        raise RowError(name, int(np.argmax(numbers == error.row)), *error.args[2:]) from None
    is_distinct = kinds <= PLAIN and plain.dtype != np.int64
    distinct, positions = _in_order(objects) if is_distinct else factorize(plain, name)
    return distinct, positions[numbers]


def factorize(column: NDArray[Any], name: str) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """Return the distinct ids, sorted if they can be compared, and the position of each row's."""
    if column.dtype == np.int64:
        return _factorized(column)
    distinct, numbers = _number(column, name)
    ids, rank = _in_order(distinct)
    return ids, rank[numbers]


def plain_id(item: Any) -> Any:
    """Return the plain form of an id."""
    kind = type(item)
    if kind in PLAIN:
        return item
    try:
        hash(item)
    except TypeError:
        raise ValueError(_UNHASHABLE) from None
    if is_missing(item):
        raise ValueError(f"a missing id; {FIX_ROWS}")
    if isinstance(item, str):
        return str.__str__(item)  # a subclass may override __str__
    if isinstance(item, np.bool_):
        return bool(item)
    if _is_integral(kind):
        return int(item)
    if isinstance(item, bytes):
        try:
            return item.decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"bytes that are not UTF-8 ({error.reason}); decode the ids first") from None
    if isinstance(item, float | np.floating):
        number, limit = float(item), _exact_below(kind)
        if not -limit < number < limit:
            raise ValueError(_INEXACT)
        if number == item:  # not always for longdouble
            return int(number) if number.is_integer() else number
    return _plain_time(item) if isinstance(item, _TIMES) else item


def _plain_time(item: Any) -> Any:
    """Convert a date, datetime or time delta to that of ``datetime`` if it is exact, otherwise to that of NumPy."""
    if hasattr(item, "to_numpy") and getattr(item, "tzinfo", None) is None:  # of pandas, in nanoseconds
        item = item.to_numpy()
    elif hasattr(item, "to_pydatetime") and item.nanosecond == 0:
        return item.to_pydatetime()
    if not isinstance(item, np.datetime64 | np.timedelta64):
        return item
    if np.datetime_data(item.dtype)[0] in _FINER:
        rounded = item.astype(f"{item.dtype.kind}8[us]")
        return rounded.item() if rounded == item else item
    try:
        plain = item.item()
    except OverflowError:
        return item
    if not isinstance(plain, dt.date | dt.timedelta):  # NumPy returns integers out of range
        return item
    # NumPy 1 converts days that overflow to other ones
    return plain if np.array(plain, dtype=item.dtype) == item else item


def type_of(kind: type) -> type:
    """Return the type of ids of a class: the class itself, or its base in `_BASES`."""
    if kind in PLAIN:
        return kind
    return _TYPES_OF_TIMES.get(kind) or next((base for base in _BASES if issubclass(kind, base)), kind)


def types_of(ids: NDArray[Any]) -> frozenset[type]:
    """Return the types of a column that `as_ids` returned."""
    if ids.dtype == np.int64:
        return frozenset({int} if len(ids) else ())
    return frozenset(map(type_of, set(map(type, ids.tolist()))))


def type_in_words(kind: type) -> tuple[str, str]:
    """Return the name of a type in errors, singular and plural."""
    name = f"of type {kind.__name__}"
    return _NOUNS.get(kind, (name, name))


def unhashable(ids: Sequence[Any], name: str) -> RowError:
    """Return the error about the first id that is not hashable."""
    for row, item in enumerate(ids):
        try:
            hash(item)
        except TypeError:
            return RowError(name, row, item, _UNHASHABLE)
    raise AssertionError("all ids are hashable")


def is_dense(smallest: int, largest: int, count: int) -> bool:
    """Whether `count` integers are dense enough for a lookup table."""
    return largest - smallest < max(_SMALL_TABLE, min(_TABLE_PER_ID * count, _LARGE_TABLE))


_UNHASHABLE = "not hashable; make ids integers, strings or tuples"
_INEXACT = "a float so large that integers are rounded; read such ids as integers or strings"


def _as_integers(column: NDArray[Any], name: str) -> NDArray[Any]:
    """Convert a column to int64 if all ids are integers that fit; otherwise return it unchanged."""
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
    if kind == "f":
        return _integral_floats(column, name)
    return column


def _integral_floats(column: NDArray[np.floating], name: str) -> NDArray[Any]:
    """Return floats as int64 if all are integral; else as they are."""
    exact = np.abs(column) < _exact_below(column.dtype.type)
    if not exact.all():
        row = int(np.argmin(exact))
        item = column[row].item()
        raise RowError(name, row, item, f"a missing id; {FIX_ROWS}" if is_missing(item) else _INEXACT)
    integers = column.astype(np.int64)
    return integers if np.array_equal(integers, column) else column


def _exact_below(kind: type) -> float:
    """Return the bound below which floats of a type represent every integer."""
    bits: int = np.finfo(kind if issubclass(kind, np.floating) else np.float64).nmant
    return float(2 ** min(bits + 1, 53))


def _objects(column: Sequence[Any] | NDArray[Any]) -> Sequence[Any]:
    """Return a column as Python objects."""
    if not isinstance(column, np.ndarray):
        return column
    return list(column) if column.dtype.kind in "mM" else column.tolist()  # tolist would lose the unit


def _plain_column(ids: Sequence[Any], kinds: set[type], name: str) -> NDArray[Any]:
    """Return ids of the given classes in plain form: int64 if all are integers that fit, otherwise objects."""
    if not kinds <= PLAIN:
        plain: list[Any] = []
        for item in ids:
            try:
                plain.append(plain_id(item))
            except ValueError as error:
                raise RowError(name, len(plain), item, str(error)) from None
        ids = plain
    return _as_integers(np.fromiter(ids, dtype=object, count=len(ids)), name)


def _refuse_bools_among_numbers(ids: Sequence[Any], kinds: set[type], name: str) -> None:
    """Raise an error if a column has both bools and numbers, since True equals 1."""
    bools = {kind for kind in kinds if issubclass(kind, bool | np.bool_)}
    if bools and any(issubclass(kind, Number) for kind in kinds - bools):
        row = next(row for row, item in enumerate(ids) if type(item) in bools)
        raise RowError(name, row, ids[row], "a bool among numbers; convert the ids to one type")


def _number(column: Sequence[Any] | NDArray[Any], name: str) -> tuple[list[Any], NDArray[np.int32]]:
    """Return the distinct objects of a column in order of appearance, and the number of each row's."""
    numbers: defaultdict[Any, int] = defaultdict(count().__next__)  # numbers new keys
    appearance = np.empty(len(column), dtype=np.int32)
    try:
        for start in range(0, len(column), _PART):
            part = _objects(column[start : start + _PART])
            deque(map(hash, part), maxlen=0)  # strings cache their hash
            # itemgetter overlaps cache misses of several lookups; the additional key, which is ignored, is needed
            # since it does not return a tuple for a single key
            found = itemgetter(*part, part[0])(numbers)
            appearance[start : start + _PART] = np.fromiter(found, dtype=np.int32, count=len(part))
    except TypeError:
        raise unhashable(_objects(column), name) from None
    return list(numbers), appearance


def _in_order(distinct: list[Any]) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """Return distinct objects, sorted if they can be compared, and the position of each."""
    try:
        order = sorted(range(len(distinct)), key=distinct.__getitem__)
    except TypeError:  # of different types
        order = list(range(len(distinct)))
    rank = np.empty(len(order), dtype=np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    ids = np.fromiter(map(distinct.__getitem__, order), dtype=object, count=len(order))
    return ids, rank


def _is_integral(kind: type) -> bool:
    return issubclass(kind, int | np.integer) and not issubclass(kind, np.timedelta64)  # a subclass of np.integer


def _factorized(column: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    positions = np.empty(len(column), np.int32)
    return factorize_integers(column, positions), positions


def factorize_integers(column: NDArray[np.int64], positions: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return the distinct ids, ascending, and write the position of each row's to `positions`."""
    if len(column) == 0:
        return column.copy()
    smallest, largest = int(column.min()), int(column.max())
    if not is_dense(smallest, largest, len(column)):
        ids = _distinct_of_blocks(column)
        for block in blocks(len(column)):
            positions[block] = np.searchsorted(ids, column[block])
        return ids
    present = np.zeros(largest - smallest + 1, dtype=bool)
    for block in blocks(len(column)):
        present[column[block] - smallest] = True
    numbers = np.cumsum(present, dtype=np.int32) - np.int32(1)
    for block in blocks(len(column)):
        positions[block] = numbers[column[block] - smallest]
    return np.flatnonzero(present) + smallest


def _distinct_of_blocks(column: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the distinct ids, ascending, in memory in proportion to their number."""
    found, pending, n_pending = column[:0], [], 0
    for block in blocks(len(column)):
        pending.append(distinct(column[block]))
        n_pending += len(pending[-1])
        if n_pending > max(_PENDING, len(found)):
            found, pending, n_pending = distinct(np.concatenate([found, *pending])), [], 0
    return distinct(np.concatenate([found, *pending]))


def is_missing(item: Any) -> bool:
    """Whether an id is None, NaN, NaT or pandas.NA."""
    if item is None:
        return True
    try:
        return bool(item != item)
    except TypeError:  # pandas.NA, whose comparisons have no truth value
        return True


def _parse_integer(text: str) -> int:
    number = int(text)
    if str(number) != text:  # "007" and 7 are different ids
        raise ValueError(text)
    return number


PARSERS: dict[type, Callable[[str], Any]] = {
    bool: {"True": True, "False": False}.__getitem__,
    int: _parse_integer,
    float: float,
    str: str,
    Decimal: Decimal,
    UUID: UUID,
    dt.date: dt.date.fromisoformat,
    dt.datetime: dt.datetime.fromisoformat,
}
