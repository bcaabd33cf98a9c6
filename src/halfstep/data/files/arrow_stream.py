"""The Arrow C stream interface, to read results of DuckDB in chunks without PyArrow.

See https://arrow.apache.org/docs/format/CStreamInterface.html for the structures.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_NAME = b"arrow_array_stream"


class StreamError(Exception):
    """The producer of a stream failed; the message is the producer's."""


class _Array(ctypes.Structure):
    pass


class _Stream(ctypes.Structure):
    pass


_Array._fields_ = [
    ("length", ctypes.c_int64),
    ("null_count", ctypes.c_int64),
    ("offset", ctypes.c_int64),
    ("n_buffers", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.POINTER(ctypes.POINTER(_Array))),
    ("dictionary", ctypes.c_void_p),
    ("release", ctypes.CFUNCTYPE(None, ctypes.POINTER(_Array))),
    ("private_data", ctypes.c_void_p),
]
_Stream._fields_ = [
    ("get_schema", ctypes.c_void_p),
    ("get_next", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(_Stream), ctypes.POINTER(_Array))),
    ("get_last_error", ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.POINTER(_Stream))),
    ("release", ctypes.CFUNCTYPE(None, ctypes.POINTER(_Stream))),
    ("private_data", ctypes.c_void_p),
]


@dataclass(frozen=True)
class Strings:
    """A chunk of a column of strings; string k is ``data[offsets[k]:offsets[k + 1]]``."""

    data: NDArray[np.uint8]
    offsets: NDArray[np.int32]
    missing: NDArray[np.bool_] | None

    def __len__(self) -> int:
        return len(self.offsets) - 1


@dataclass(frozen=True)
class NumberArray:
    """A chunk of a column of numbers; missing ones have arbitrary values."""

    values: NDArray[Any]
    missing: NDArray[np.bool_] | None

    def __len__(self) -> int:
        return len(self.values)


Chunk = Strings | NumberArray


def chunks(exporter: Any, dtypes: list[np.dtype[Any] | None]) -> Iterator[list[Chunk]]:
    """Iterate over a stream of record batches.

    Parameters
    ----------
    exporter : object with ``__arrow_c_stream__``
    dtypes : list
        The type of each column of numbers, or None for strings with 32-bit offsets. The types of the stream are not
        checked: callers must cast in their queries.

    Yields
    ------
    list of Strings or NumberArray
        Views of memory that is valid until the next iteration.

    Raises
    ------
    StreamError
        If the producer fails.
    """
    capsule = exporter.__arrow_c_stream__()
    address = ctypes.pythonapi.PyCapsule_GetPointer
    address.restype, address.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    stream = _Stream.from_address(address(capsule, _NAME))
    try:
        while True:
            batch = _Array()
            if stream.get_next(stream, batch):
                raise StreamError((stream.get_last_error(stream) or b"").decode(errors="replace"))
            if not batch.release:
                return
            try:
                columns = [batch.children[k].contents for k in range(batch.n_children)]
                yield [_chunk(column, dtype) for column, dtype in zip(columns, dtypes, strict=True)]
            finally:
                batch.release(batch)
    finally:
        stream.release(stream)


def _chunk(array: _Array, dtype: np.dtype[Any] | None) -> Chunk:
    start, length = array.offset, array.length
    missing = None
    if array.null_count != 0 and array.buffers[0]:
        bits = _view(array.buffers[0], (start + length + 7) // 8, np.dtype(np.uint8))
        missing = ~np.unpackbits(bits, bitorder="little")[start : start + length].view(np.bool_)
    if dtype is not None:
        return NumberArray(_view(array.buffers[1], start + length, dtype)[start:], missing)
    offsets = _view(array.buffers[1], start + length + 1, np.dtype(np.int32))[start:]
    return Strings(_view(array.buffers[2], int(offsets[-1]), np.dtype(np.uint8)), offsets, missing)


def _view(address: int | None, count: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    if count == 0 or not address:
        return np.zeros(count, dtype)
    return np.frombuffer(memoryview((ctypes.c_char * (count * dtype.itemsize)).from_address(address)), dtype)
