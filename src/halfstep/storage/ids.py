"""Ids and texts to arrays of numbers, and back to the same objects."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from halfstep.data import Vocabulary
from halfstep.errors import DataError
from halfstep.storage.faults import LONGEST_ENTRY, corrupted, entries_of_json

Arrays = dict[str, NDArray[Any]]

# Ids that are neither integers nor strings are JSON, where JSON has them, else {name of the type: text}.
_WRITERS: dict[type, Callable[[Any], Any]] = {
    bytes: bytes.hex,
    UUID: str,
    Decimal: str,
    dt.date: dt.date.isoformat,
    dt.datetime: dt.datetime.isoformat,
    dt.time: dt.time.isoformat,
    dt.timedelta: lambda span: [span.days, span.seconds, span.microseconds],
    np.datetime64: lambda instant: [int(instant.astype(np.int64)), *np.datetime_data(instant)],
    np.timedelta64: lambda span: [int(span.astype(np.int64)), *np.datetime_data(span)],
}
_READERS: dict[str, Callable[[Any], Any]] = {
    "bytes": bytes.fromhex,
    "UUID": UUID,
    "Decimal": Decimal,
    "date": dt.date.fromisoformat,
    "datetime": dt.datetime.fromisoformat,
    "time": dt.time.fromisoformat,
    "timedelta": lambda parts: dt.timedelta(*parts),
    "datetime64": lambda parts: np.datetime64(parts[0], (parts[1], parts[2])),
    "timedelta64": lambda parts: np.timedelta64(parts[0], (parts[1], parts[2])),
}
_SIMPLE = (str, int, float, bool)


def pack_vocabulary(vocabulary: Vocabulary, name: str) -> Arrays:
    """Make arrays of a vocabulary: int64, UTF-8 with the length of each string, or JSON.

    Raises
    ------
    DataError
        If an id is of a type that cannot be stored.
    """
    ids = vocabulary.ids
    if ids.dtype.kind == "i":
        return {f"{name}.integers": ids}
    entries = ids.tolist()
    if set(map(type, entries)) <= {str}:
        return pack_texts(entries, name)
    try:
        texts = [_json_of(entry) for entry in entries]
    except _CannotStoreError as error:
        item = error.args[0]
        raise DataError(
            f"the id {item!r:.200} in {name} is of type {type(item).__name__}, or too long, and cannot be "
            "stored: make ids integers, strings, UUIDs, bytes, numbers, dates, or tuples of these before you fit"
        ) from None
    return {f"{name}.json": np.frombuffer(f"[{','.join(texts)}]".encode(), dtype=np.uint8)}


def unpack_vocabulary(arrays: Arrays, name: str) -> Vocabulary:
    """Make a vocabulary of what `pack_vocabulary` made, and make sure that its ids are distinct.

    Raises
    ------
    Fault
        If the arrays are missing, or make no vocabulary.
    """
    if f"{name}.integers" in arrays:
        ids = arrays[f"{name}.integers"]
        if ids.dtype != np.int64 or ids.ndim != 1:
            raise corrupted(f"{name}.integers has the dtype {ids.dtype} and the shape {ids.shape}")
        if (ids[1:] > ids[:-1]).all():  # ascending, as they are unless somebody chose another order
            return Vocabulary.of_distinct(ids)
    else:
        entries = _unpack_json(arrays, name) if f"{name}.json" in arrays else unpack_texts(arrays, name)
        ids = np.fromiter(entries, dtype=object, count=len(entries))
    try:
        if ids.dtype.kind == "O" and set(map(type, ids)) == {str} and len(set(ids)) == len(ids):
            return Vocabulary.of_distinct(ids)
        return Vocabulary(ids)
    except (ValueError, TypeError, ArithmeticError) as error:  # ids that cannot be hashed or compared, too
        raise corrupted(f"{name} makes no vocabulary: {error}") from error


def pack_texts(texts: Sequence[str], name: str) -> Arrays:
    """Make one array of UTF-8 and one of the bytes where each text ends."""
    joined = "".join(texts)
    # a string of Python may hold half of a surrogate pair, as names of files do
    encoded = joined.encode("utf-8", "surrogatepass")
    if len(encoded) == len(joined):  # ASCII
        lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
    else:
        sizes = (len(text.encode("utf-8", "surrogatepass")) for text in texts)
        lengths = np.fromiter(sizes, dtype=np.int64, count=len(texts))
    return {
        f"{name}.utf8": np.frombuffer(encoded, dtype=np.uint8),
        f"{name}.ends": np.cumsum(lengths, dtype=np.int64),
    }


def unpack_texts(arrays: Arrays, name: str) -> list[str]:
    """Make texts of what `pack_texts` made.

    Raises
    ------
    Fault
        If the arrays are missing, or make no texts.
    """
    utf8, ends = need(arrays, f"{name}.utf8", np.uint8), need(arrays, f"{name}.ends", np.int64)
    stops = [0, *ends.tolist()]
    if stops[-1] != len(utf8) or not (np.diff(ends, prepend=0) >= 0).all():
        raise corrupted(f"{name}.ends does not cut {name}.utf8 into texts")
    encoded = utf8.tobytes()
    try:
        if encoded.isascii():
            whole = encoded.decode("ascii")
            return [whole[start:stop] for start, stop in pairwise(stops)]
        return [encoded[start:stop].decode("utf-8", "surrogatepass") for start, stop in pairwise(stops)]
    except UnicodeDecodeError as error:
        raise corrupted(f"{name}.utf8 is no UTF-8 ({error.reason})") from error


def need(arrays: Arrays, name: str, dtype: Any, *, shape: tuple[int, ...] | None = None) -> NDArray[Any]:
    """Give an array that has to be there, of a dtype and of a shape (one-dimensional by default)."""
    if name not in arrays:
        raise corrupted(f"it has no {name}")
    array = arrays[name]
    if array.dtype != np.dtype(dtype) or (array.ndim != 1 if shape is None else array.shape != shape):
        expected = f"{np.dtype(dtype)}" + ("" if shape is None else f" of shape {shape}")
        raise corrupted(f"{name} is {array.dtype} of shape {array.shape} instead of {expected}")
    return array


class _CannotStoreError(Exception):
    pass


def _json_of(item: Any) -> str:
    text = json.dumps(_jsonable(item), separators=(",", ":"))
    if len(text) >= LONGEST_ENTRY:
        raise _CannotStoreError(item)
    return text


def _jsonable(item: Any) -> Any:
    """Make JSON of an id; of NumPy's scalars what equals and hashes the same in Python."""
    if isinstance(item, np.generic) and item.dtype.kind in "biufSU":
        item = item.item()
    kind = type(item)
    if kind in _SIMPLE or item is None:  # None inside a tuple
        if kind is int and item.bit_length() > 4096:  # more digits than Python reads
            raise _CannotStoreError(item)
        return item
    if kind is tuple:
        return {"tuple": [_jsonable(part) for part in item]}
    if kind in (dt.datetime, dt.time) and not isinstance(item.tzinfo, dt.timezone | None):
        raise _CannotStoreError(item)  # a zone by name: the offset alone would not be the same
    if kind not in _WRITERS:
        raise _CannotStoreError(item)
    return {kind.__name__: _WRITERS[kind](item)}


def _unpack_json(arrays: Arrays, name: str) -> list[Any]:
    text = need(arrays, f"{name}.json", np.uint8).tobytes()
    try:
        return [_from_json(entry) for entry in entries_of_json(text.decode())]
    except (ValueError, TypeError, ArithmeticError, LookupError, AttributeError, RecursionError) as error:
        raise corrupted(f"{name}.json holds an id that cannot be read ({error})") from error


def _from_json(entry: Any) -> Any:
    if not isinstance(entry, dict):
        if isinstance(entry, list):
            raise TypeError("a list is no id")
        return entry
    ((kind, content),) = entry.items()
    if kind == "tuple":
        return tuple(_from_json(part) for part in content)
    return _READERS[kind](content)
