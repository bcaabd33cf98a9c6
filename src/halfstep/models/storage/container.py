"""Named arrays and texts in a file of the safetensors format, with checksums.

The format, with little-endian numbers:

    8 bytes     N, the length of the header
    N bytes     the header: {"__metadata__": {text: text, ...}, name: {dtype, shape, data_offsets}, ...}
    the rest    the arrays, in the order of the header, without gaps

The metadata start with ``format`` and ``checksum``, which is at a fixed offset, and covers all N + 8 bytes with its
own digits as zeros. These and ``version`` are the same in all versions of the format. ``checksums`` has the CRC-32 of
each array, since a slower cryptographic hash would not prevent forgery either.

The safetensors library only checks the header, since it would copy the arrays, which are memory-mapped here.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import mmap
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple
from weakref import finalize

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from halfstep._support.faults import REMEDY, Fault, corrupted, parse_json
from halfstep._support.files import open_regular, write_atomically
from halfstep.errors import ModelFileError, ParameterError

VERSION = 2  # 1: with other parameters of ALS
LARGEST_HEADER = 8_000_000  # bytes; parsed JSON takes up to 30 times as much memory
MOST_DIMENSIONS = 8
NUMBERS_AT_ONCE = 1 << 20  # to check, which limits memory

_START = b'{"__metadata__":{"format":"halfstep","checksum":"'
_DIGITS = 32  # of the header's checksum
_CHECKSUM_AT = slice(8 + len(_START), 8 + len(_START) + _DIGITS)
_ALIGNMENT = 64  # bytes, of the first array

_DTYPES = {
    "F64": "<f8", "I64": "<i8", "U64": "<u8", "F32": "<f4", "I32": "<i4", "U32": "<u4",
    "F16": "<f2", "I16": "<i2", "U16": "<u2", "I8": "<i1", "U8": "<u1", "BOOL": "|b1",
}  # fmt: skip
_NAMES = {np.dtype(dtype): name for name, dtype in _DTYPES.items()}


Copies = Mapping[str, Callable[[], NDArray[Any] | None]]


class Container(NamedTuple):
    """The content of a file.

    Attributes
    ----------
    arrays : mapping from str to ndarray
        Read-only arrays, possibly memory-mapped.
    metadata : mapping from str to str
    copies : mapping from str to callable
        Return a writable copy of a memory-mapped array; see `_CopyOnWrite`.
    """

    arrays: Mapping[str, NDArray[Any]]
    metadata: Mapping[str, str]
    copies: Copies


def storable_array(array: NDArray[Any]) -> NDArray[Any] | None:
    """Convert an array to little-endian, contiguous numbers; return None if its type is not supported."""
    little = array.dtype.newbyteorder("<")
    if little not in _NAMES or array.ndim > MOST_DIMENSIONS:
        return None
    return np.asarray(array, dtype=little, order="C")


def write_container(path: Path, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> None:
    """Write arrays from `storable_array`, and texts, atomically.

    Raises
    ------
    ParameterError
        If the texts are too long.
    ModelFileError
        If the file cannot be written; an old file is then unchanged.
    """
    # the widest data types first, so that all arrays are aligned without gaps
    ordered = dict(sorted(arrays.items(), key=lambda each: -each[1].itemsize))
    header = _header(ordered, metadata)
    try:
        write_atomically(path, _chunks(header, ordered))
    except OSError as error:
        raise _not_written(path, error) from error


def _chunks(header: bytes, arrays: Mapping[str, NDArray[Any]]) -> Iterator[memoryview]:
    yield memoryview(header)
    yield from map(_bytes_of, arrays.values())


def _bytes_of(array: NDArray[Any]) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _header(arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> bytes:
    """Return the length and the JSON of the header."""
    checksums = {name: zlib.crc32(_bytes_of(array)) for name, array in arrays.items()}
    texts = {
        "format": "halfstep",
        "checksum": "0" * _DIGITS,
        "version": str(VERSION),
        "checksums": json.dumps(checksums),
    }
    described: dict[str, Any] = {"__metadata__": texts | dict(metadata)}
    start = 0
    for name, array in arrays.items():
        offsets = [start, start + array.nbytes]
        described[name] = {"dtype": _NAMES[array.dtype], "shape": list(array.shape), "data_offsets": offsets}
        start += array.nbytes
    text = json.dumps(described, separators=(",", ":")).encode()
    if len(text) > LARGEST_HEADER:
        raise ParameterError(
            f"the parameters take {len(text):,} bytes, more than {LARGEST_HEADER:,}: give large ones, such as init, "
            "as NumPy arrays instead of lists"
        )
    text += b" " * (-(8 + len(text)) % _ALIGNMENT)
    header = bytearray(len(text).to_bytes(8, "little") + text)
    header[_CHECKSUM_AT] = _checksum(bytes(header)).encode()
    return bytes(header)


def _checksum(header: bytes) -> str:
    """Return the checksum of a header, in which its digits are zeros."""
    return hashlib.blake2b(header, digest_size=_DIGITS // 2).hexdigest()


_FREE = "free disk space, or save to another folder; an existing file is unchanged"
_REMEDIES = {
    errno.ENOENT: "create the folder, or save to another one",
    errno.EISDIR: "give the path of a file",
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), _FREE),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "make it writable, or save to another folder"),
}


def _not_written(path: Path, error: OSError) -> ModelFileError:
    reason = error.strerror or str(error)
    remedy = _REMEDIES.get(error.errno or 0, "save to another folder; an existing file is unchanged")
    failure = ModelFileError(f"{path} was not written ({reason}): {remedy}")
    failure.errno = error.errno
    return failure


def read_container(path: Path, *, verify: bool, copy: bool = False) -> Container:
    """Map or read a file, and check its header before allocating memory.

    Parameters
    ----------
    verify : bool
        Whether to check all content against the checksums.
    copy : bool
        Whether to read the file into memory instead of mapping it.

    Raises
    ------
    OSError
        If the file cannot be opened.
    Fault
        If the file is invalid.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        header = _read_header(file, size)
        described = parse_json(header[8:], "its header")
        metadata = _metadata(described)
        if verify:
            _check_header(header)
        _check_version(metadata)
        _check_by_safetensors(path)
        spans = _spans(described, len(header), size)
        content: bytes | mmap.mmap
        copies: Copies = {} if copy else _copies(file, spans)
        if copy:
            file.seek(0)
            content = file.read(size)
        else:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if len(content) < size:
        raise corrupted("it was truncated while it was read")
    arrays = {name: span.of(content) for name, span in spans.items()}
    if verify:
        _check_arrays(arrays, metadata)
        _check_numbers(arrays)
    return Container(arrays, metadata, copies)


def _read_header(file: BinaryIO, size: int) -> bytes:
    """Return the length and the JSON of the header."""
    start = file.read(8 + len(_START))
    is_model = start[8:] == _START
    length = int.from_bytes(start[:8], "little")
    if size == 0:
        raise Fault(f"is empty: {REMEDY}")
    if start[:4] == b"PK\x03\x04":
        raise Fault(
            "is a zip archive, such as NumPy's npz: halfstep.persistence.from_implicit reads those of implicit"
        )
    if not is_model and (length > min(size - 8, LARGEST_HEADER) or start[8:9] != b"{"):
        raise Fault(
            "is neither a model file nor another safetensors file: give a file written by model.save or halfstep fit"
        )
    if length > LARGEST_HEADER:
        raise corrupted(f"its header claims {length:,} bytes")
    if length > size - 8:
        raise Fault(f"is truncated or corrupted: it has {size:,} bytes, but its header claims {length:,}; {REMEDY}")
    file.seek(0)
    return file.read(8 + length)


def _metadata(described: Any) -> dict[str, str]:
    metadata = described.get("__metadata__") if isinstance(described, dict) else None
    if not isinstance(metadata, dict) or metadata.get("format") != "halfstep":
        raise Fault(
            "is a safetensors file, but not a model file: read it with the library that wrote it, and pass its "
            "arrays to halfstep.persistence.from_arrays"
        )
    if not all(isinstance(text, str) for text in metadata.values()):
        raise corrupted("its metadata are not all strings")
    return metadata


def _check_header(header: bytes) -> None:
    blank = bytearray(header)
    blank[_CHECKSUM_AT] = b"0" * _DIGITS
    if not header[8:].startswith(_START) or header[_CHECKSUM_AT] != _checksum(bytes(blank)).encode():
        raise corrupted("its header does not match its checksum")


def _check_version(metadata: Mapping[str, str]) -> None:
    version = metadata.get("version", "")
    if not (version.isascii() and version.isdigit() and len(version) < 10):
        raise corrupted(f"the version of its format is {version!r}")
    if int(version) > VERSION:
        by = metadata.get("written_by", "of unknown version")
        raise Fault(
            f"was written by halfstep {by} in version {version} of the format, but only versions up to {VERSION} are "
            "supported: update halfstep"
        )


def _check_by_safetensors(path: Path) -> None:
    """Check the header for gaps, overlaps and sizes."""
    try:
        with safe_open(str(path), framework="np"):
            pass
    except SafetensorError as error:
        raise Fault(f"is truncated or corrupted: safetensors reports {error}; {REMEDY}") from error


@dataclass(frozen=True)
class _Span:
    """The bytes of an array in the file."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    start: int
    stop: int

    def of(self, content: bytes | mmap.mmap) -> NDArray[Any]:
        if self.start == self.stop:  # an empty array cannot be mapped
            try:
                array = np.empty(self.shape, self.dtype)
            except ValueError as error:  # 0 × 2**61
                raise corrupted(f"an array has the shape {self.shape}") from error
            array.flags.writeable = False
            return array
        count = math.prod(self.shape)
        return np.frombuffer(content, self.dtype, count, self.start).reshape(self.shape)


class _OpenFile:
    """A file that is open as long as this object exists."""

    def __init__(self, file: BinaryIO) -> None:
        self.descriptor = os.dup(file.fileno())
        finalize(self, os.close, self.descriptor)


@dataclass(frozen=True)
class _CopyOnWrite:
    """Makes a private copy of an array in a file, of which the system copies only pages that are written.

    The rest of the file after the array is capacity for more rows.
    """

    file: _OpenFile
    span: _Span

    def __call__(self) -> NDArray[Any] | None:
        """Return the array with the rest of the file; None if the system does not support it."""
        span = self.span
        try:
            content = mmap.mmap(self.file.descriptor, 0, access=mmap.ACCESS_COPY)
        except OSError:  # some systems reserve memory for all pages
            return None
        rows = (len(content) - span.start) // (math.prod(span.shape[1:]) * span.dtype.itemsize)
        return np.ndarray((rows, *span.shape[1:]), span.dtype, content, span.start)


def _copies(file: BinaryIO, spans: Mapping[str, _Span]) -> Copies:
    shared = _OpenFile(file)
    return {name: _CopyOnWrite(shared, span) for name, span in spans.items() if span.start < span.stop}


def _spans(described: Mapping[str, Any], start: int, size: int) -> dict[str, _Span]:
    """Return the span of every array, and check that they fill the file from `start` without gaps."""
    spans = {name: _span(name, each, start) for name, each in described.items() if name != "__metadata__"}
    end = start
    for name, span in sorted(spans.items(), key=lambda each: (each[1].start, each[1].stop)):
        if span.start != end:
            raise corrupted(f"{name} starts at byte {span.start:,} instead of {end:,}")
        end = span.stop
    if end > size:
        raise Fault(f"is truncated: it has {size:,} bytes instead of {end:,}; {REMEDY}")
    if end < size:
        raise corrupted(f"it has {size:,} bytes instead of {end:,}")
    return spans


def _span(name: str, described: Any, start: int) -> _Span:
    if not isinstance(described, dict) or described.keys() != {"dtype", "shape", "data_offsets"}:
        raise corrupted(f"{name} has no dtype, shape or data_offsets")
    dtype, shape, offsets = described["dtype"], described["shape"], described["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise corrupted(f"{name} has the unknown dtype {dtype!r}")
    if not _are_sizes(shape) or not _are_sizes(offsets) or len(offsets) != 2 or len(shape) > MOST_DIMENSIONS:
        raise corrupted(f"{name} has the shape {shape!r} and the offsets {offsets!r}")
    span = _Span(np.dtype(_DTYPES[dtype]), tuple(shape), start + offsets[0], start + offsets[1])
    if math.prod(shape) * span.dtype.itemsize != span.stop - span.start:
        raise corrupted(f"{name} of shape {shape} and dtype {dtype} does not match the offsets {offsets}")
    if span.start % span.dtype.itemsize:
        raise corrupted(f"{name} is not aligned")
    return span


def _are_sizes(numbers: Any) -> bool:
    if not isinstance(numbers, list):
        return False
    return all(type(number) is int and 0 <= number < 1 << 62 for number in numbers)


def _check_arrays(arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> None:
    expected = parse_json(metadata.get("checksums", ""), "the table of checksums")
    if not isinstance(expected, dict) or expected.keys() != arrays.keys():
        raise corrupted("its checksums are incomplete")
    for name, array in arrays.items():
        if zlib.crc32(_bytes_of(array)) != expected[name]:
            raise corrupted(f"{name} does not match its checksum")


def _check_numbers(arrays: Mapping[str, NDArray[Any]]) -> None:
    """Check that numbers are finite, and bools 0 or 1."""
    for name, array in arrays.items():
        flat = array.reshape(-1)
        for start in range(0, len(flat), NUMBERS_AT_ONCE):
            part = flat[start : start + NUMBERS_AT_ONCE]
            if array.dtype.kind == "f" and not np.isfinite(part).all():
                raise corrupted(f"{name} has numbers that are not finite")
            if array.dtype.kind == "b" and (part.view(np.uint8) > 1).any():
                raise corrupted(f"{name} has bools that are neither 0 nor 1")
