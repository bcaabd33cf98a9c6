"""Conversion of ids and texts to arrays of numbers and back."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from halfstep._support.faults import LONGEST_ELEMENT, corrupted, elements_of_json
from halfstep.data.vocabulary import Vocabulary
from halfstep.errors import DataError

Arrays = dict[str, NDArray[Any]]

# Other ids than integers and strings are JSON, as {type: value} for types that JSON does not support.
_WRITERS: dict[type, Callable[[Any], Any]] = {
    bytes: bytes.hex,
    UUID: str,
    Decimal: str,
    dt.date: dt.date.isoformat,
    dt.datetime: dt.datetime.isoformat,
    dt.time: dt.time.isoformat,
    dt.timedelta: lambda delta: [delta.days, delta.seconds, delta.microseconds],
    np.datetime64: lambda time: [int(time.astype(np.int64)), *np.datetime_data(time)],
    np.timedelta64: lambda delta: [int(delta.astype(np.int64)), *np.datetime_data(delta)],
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
    """Convert a vocabulary to arrays of int64, of UTF-8 and ends of strings, or of JSON."""
    ids = vocabulary.ids
    if ids.dtype.kind == "i":
        return {f"{name}.integers": ids}
    objects = ids.tolist()
    if set(map(type, objects)) <= {str}:
        return pack_texts(objects, name)
    try:
        texts = [_json_of(item) for item in objects]
    except _CannotStoreError as error:
        item = error.args[0]
        raise DataError(
            f"the id {item!r:.200} in {name} is of type {type(item).__name__}, or too long, and cannot be "
            "stored: fit on ids that are integers, strings, UUIDs, bytes, numbers, dates, or tuples of these"
        ) from None
    return {f"{name}.json": np.frombuffer(f"[{','.join(texts)}]".encode(), dtype=np.uint8)}


def digest_of(vocabulary: Vocabulary) -> str:
    """Return a digest of the ids."""
    digest = hashlib.blake2b(digest_size=16)
    for name, array in pack_vocabulary(vocabulary, "ids").items():
        digest.update(name.encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def unpack_vocabulary(arrays: Arrays, name: str) -> Vocabulary:
    """Restore a vocabulary from the arrays of `pack_vocabulary`, and check that its ids are distinct.

    Raises
    ------
    Fault
        If the arrays are missing or invalid.
    """
    if f"{name}.integers" in arrays:
        ids = arrays[f"{name}.integers"]
        if ids.dtype != np.int64 or ids.ndim != 1:
            raise corrupted(f"{name}.integers has the dtype {ids.dtype} and the shape {ids.shape}")
        if (ids[1:] > ids[:-1]).all():  # the usual case
            return Vocabulary.of_distinct(ids)
    else:
        objects = _unpack_json(arrays, name) if f"{name}.json" in arrays else unpack_texts(arrays, name)
        ids = np.fromiter(objects, dtype=object, count=len(objects))
    try:
        if ids.dtype.kind == "O" and set(map(type, ids)) == {str} and len(set(ids)) == len(ids):
            return Vocabulary.of_distinct(ids)
        return Vocabulary(ids)
    except (ValueError, TypeError, ArithmeticError) as error:  # including unhashable ids
        raise corrupted(f"{name} is not a valid vocabulary: {error}") from error


def pack_texts(texts: Sequence[str], name: str) -> Arrays:
    """Convert texts to an array of UTF-8 and one of the end of each text."""
    joined = "".join(texts)
    # strings may contain lone surrogates, such as names of files
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
    """Restore texts from the arrays of `pack_texts`.

    Raises
    ------
    Fault
        If the arrays are missing or invalid.
    """
    utf8, ends = need(arrays, f"{name}.utf8", np.uint8), need(arrays, f"{name}.ends", np.int64)
    stops = [0, *ends.tolist()]
    if stops[-1] != len(utf8) or not (np.diff(ends, prepend=0) >= 0).all():
        raise corrupted(f"{name}.ends are not the ends of texts in {name}.utf8")
    encoded = utf8.tobytes()
    try:
        if encoded.isascii():
            whole = encoded.decode("ascii")
            return [whole[start:stop] for start, stop in pairwise(stops)]
        return [encoded[start:stop].decode("utf-8", "surrogatepass") for start, stop in pairwise(stops)]
    except UnicodeDecodeError as error:
        raise corrupted(f"{name}.utf8 is not UTF-8 ({error.reason})") from error


def need(arrays: Arrays, name: str, dtype: Any, *, shape: tuple[int, ...] | None = None) -> NDArray[Any]:
    """Return an array after checking that it exists, and its dtype and shape (by default one-dimensional)."""
    if name not in arrays:
        raise corrupted(f"{name} is missing")
    array = arrays[name]
    if array.dtype != np.dtype(dtype) or (array.ndim != 1 if shape is None else array.shape != shape):
        expected = f"{np.dtype(dtype)}" + ("" if shape is None else f" of shape {shape}")
        raise corrupted(f"{name} is {array.dtype} of shape {array.shape} instead of {expected}")
    return array


class _CannotStoreError(Exception):
    pass


def _json_of(item: Any) -> str:
    text = json.dumps(_jsonable(item), separators=(",", ":"))
    if len(text) >= LONGEST_ELEMENT:
        raise _CannotStoreError(item)
    return text


def _jsonable(item: Any) -> Any:
    """Convert an id to types that JSON supports, and NumPy's scalars to equal Python objects."""
    if isinstance(item, np.generic) and item.dtype.kind in "biufSU":
        item = item.item()
    kind = type(item)
    if kind in _SIMPLE or item is None:  # None is possible in tuples
        if kind is int and item.bit_length() > 4096:  # more digits than Python parses
            raise _CannotStoreError(item)
        return item
    if kind is tuple:
        return {"tuple": [_jsonable(part) for part in item]}
    if kind in (dt.datetime, dt.time) and not isinstance(item.tzinfo, dt.timezone | None):
        raise _CannotStoreError(item)  # a named time zone
    if kind not in _WRITERS:
        raise _CannotStoreError(item)
    return {kind.__name__: _WRITERS[kind](item)}


def _unpack_json(arrays: Arrays, name: str) -> list[Any]:
    text = need(arrays, f"{name}.json", np.uint8).tobytes()
    try:
        return [_from_json(element) for element in elements_of_json(text.decode())]
    except (ValueError, TypeError, ArithmeticError, LookupError, AttributeError, RecursionError) as error:
        raise corrupted(f"{name}.json has an id that cannot be read ({error})") from error


def _from_json(element: Any) -> Any:
    if not isinstance(element, dict):
        if isinstance(element, list):
            raise TypeError("a list is not an id")
        return element
    ((kind, content),) = element.items()
    if kind == "tuple":
        return tuple(_from_json(part) for part in content)
    return _READERS[kind](content)
