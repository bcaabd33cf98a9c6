"""Named arrays and texts in one file of the safetensors format, with checksums.

The file, numbers little-endian:

    8 bytes           N, the length of the header
    N bytes           the header, JSON: {"__metadata__": {text: text, ...}, name: {dtype, shape, data_offsets}, ...}
    all that follows  the arrays, in the order of the header, without gaps

The metadata begin with the name of the format and the header's checksum, always at the same place, so that the
checksum can be told from what it covers: all N + 8 bytes, its own digits taken as zeros. Those two, and ``version``,
stay the same in all versions of the format. ``checksums`` holds the CRC-32 of each array: five times as fast as a
cryptographic hash, which would not keep out a forger either, who can write it anew.

The safetensors library only checks the header. It would copy the arrays, which here stay on the disk until somebody
looks at them.
"""

from __future__ import annotations

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

from halfstep._support.files import open_regular, write_atomically
from halfstep.errors import ModelFileError, ParameterError
from halfstep.storage.faults import REMEDY, Fault, corrupted, parse_json

VERSION = 2  # 1: with other parameters of ALS
LARGEST_HEADER = 8_000_000  # bytes; JSON takes up to 30 times its size once it is parsed
MOST_DIMENSIONS = 8
NUMBERS_AT_ONCE = 1 << 20  # checked at a time, to limit memory

_BEGINNING = b'{"__metadata__":{"format":"halfstep","checksum":"'
_DIGITS = 32  # of the header's checksum, hexadecimal
_CHECKSUM_AT = slice(8 + len(_BEGINNING), 8 + len(_BEGINNING) + _DIGITS)
_ALIGNMENT = 64  # of the first array: a cache line

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
        Read-only arrays, which are read from the disk when they are used.
    metadata : mapping from str to str
    copies : mapping from str to callable
        Return a writable copy of a mapped array; see `_CopyOnWrite`. Empty if the file was read into memory.
    """

    arrays: Mapping[str, NDArray[Any]]
    metadata: Mapping[str, str]
    copies: Copies


def storable_array(array: NDArray[Any]) -> NDArray[Any] | None:
    """Give the array as it would come back, little-endian and contiguous; None if the format has no such numbers."""
    little = array.dtype.newbyteorder("<")
    if little not in _NAMES or array.ndim > MOST_DIMENSIONS:
        return None
    return np.asarray(array, dtype=little, order="C")


def write_container(path: Path, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> None:
    """Write arrays that `storable_array` gave, and texts, whole or not at all.

    Raises
    ------
    ParameterError
        If the texts are too long.
    ModelFileError
        If the file cannot be written; the old one is still there then.
    """
    # The widest numbers first, so that all arrays are aligned without gaps, which the format does not allow.
    ordered = dict(sorted(arrays.items(), key=lambda entry: -entry[1].itemsize))
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
    """Length and JSON of the header."""
    checksums = {name: zlib.crc32(_bytes_of(array)) for name, array in arrays.items()}
    texts = {
        "format": "halfstep",
        "checksum": "0" * _DIGITS,
        "version": str(VERSION),
        "checksums": json.dumps(checksums),
    }
    entries: dict[str, Any] = {"__metadata__": texts | dict(metadata)}
    start = 0
    for name, array in arrays.items():
        offsets = [start, start + array.nbytes]
        entries[name] = {"dtype": _NAMES[array.dtype], "shape": list(array.shape), "data_offsets": offsets}
        start += array.nbytes
    text = json.dumps(entries, separators=(",", ":")).encode()
    if len(text) > LARGEST_HEADER:
        raise ParameterError(
            f"the parameters take {len(text):,} bytes, more than a file's header can hold: give large ones, such as "
            "init, as NumPy arrays instead of lists"
        )
    text += b" " * (-(8 + len(text)) % _ALIGNMENT)
    header = bytearray(len(text).to_bytes(8, "little") + text)
    header[_CHECKSUM_AT] = _checksum(bytes(header)).encode()
    return bytes(header)


def _checksum(header: bytes) -> str:
    """The checksum of a header whose own digits are zeros."""
    return hashlib.blake2b(header, digest_size=_DIGITS // 2).hexdigest()


def _not_written(path: Path, error: OSError) -> ModelFileError:
    reason = error.strerror or str(error)
    failure = ModelFileError(
        f"{path} was not written ({reason}): make room there, or save to a folder that can be written; "
        "a file that existed before is unchanged"
    )
    failure.errno = error.errno
    return failure


def read_container(path: Path, *, verify: bool, copy: bool = False) -> Container:
    """Map or read a file that `write_container` wrote.

    Whatever the file says is checked against its size before anything is allocated.

    Parameters
    ----------
    path : Path
    verify : bool
        Whether to read all of it and compare the checksums.
    copy : bool
        Whether to read it into memory instead of mapping it.

    Raises
    ------
    OSError
        If the file cannot be opened.
    Fault
        If it is not such a file, or no longer; it says which.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        header = _read_header(file, size)
        entries = parse_json(header[8:], "its header")
        metadata = _metadata(entries)
        if verify:
            _check_header(header)
        _check_version(metadata)
        _check_by_safetensors(path)
        places = _places(entries, len(header), size)
        content: bytes | mmap.mmap
        copies: Copies = {} if copy else _copies(file, places)
        if copy:
            file.seek(0)
            content = file.read(size)
        else:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if len(content) < size:
        raise corrupted("it was truncated while it was read")
    arrays = {name: place.of(content) for name, place in places.items()}
    if verify:
        _check_arrays(arrays, metadata)
        _check_numbers(arrays)
    return Container(arrays, metadata, copies)


def _read_header(file: BinaryIO, size: int) -> bytes:
    """Length and JSON of the header."""
    start = file.read(8 + len(_BEGINNING))
    is_ours = start[8:] == _BEGINNING
    length = int.from_bytes(start[:8], "little")
    if size == 0:
        raise Fault(f"is empty: {REMEDY}")
    if start[:4] == b"PK\x03\x04":
        raise Fault(
            "is a zip archive, such as NumPy's npz: halfstep.persistence.from_implicit reads those of implicit"
        )
    if not is_ours and (length > min(size - 8, LARGEST_HEADER) or start[8:9] != b"{"):
        raise Fault("is no model of halfstep, nor any other safetensors file: give one that model.save wrote")
    if length > LARGEST_HEADER:
        raise corrupted(f"its header claims {length:,} bytes")
    if length > size - 8:
        raise Fault(
            f"is truncated, or corrupted: it has {size:,} bytes, its header alone claims {length:,}; {REMEDY}"
        )
    file.seek(0)
    return file.read(8 + length)


def _metadata(entries: Any) -> dict[str, str]:
    metadata = entries.get("__metadata__") if isinstance(entries, dict) else None
    if not isinstance(metadata, dict) or metadata.get("format") != "halfstep":
        raise Fault(
            "is a safetensors file, but no model of halfstep: read it with the library that wrote it, and give its "
            "arrays to halfstep.persistence.from_arrays"
        )
    if not all(isinstance(text, str) for text in metadata.values()):
        raise corrupted("its metadata are not all texts")
    return metadata


def _check_header(header: bytes) -> None:
    blank = bytearray(header)
    blank[_CHECKSUM_AT] = b"0" * _DIGITS
    if not header[8:].startswith(_BEGINNING) or header[_CHECKSUM_AT] != _checksum(bytes(blank)).encode():
        raise corrupted("its header does not match its checksum")


def _check_version(metadata: Mapping[str, str]) -> None:
    version = metadata.get("version", "")
    if not (version.isascii() and version.isdigit() and len(version) < 10):
        raise corrupted(f"the version of its format is {version!r}")
    if int(version) > VERSION:
        by = metadata.get("written_by", "of unknown version")
        raise Fault(
            f"was written by halfstep {by}, in version {version} of the format, and this halfstep reads up to "
            f"version {VERSION}: update halfstep"
        )


def _check_by_safetensors(path: Path) -> None:
    """Let the format's own library check the header: gaps, overlaps, sizes."""
    try:
        with safe_open(str(path), framework="np"):
            pass
    except SafetensorError as error:
        raise Fault(f"is truncated, or corrupted: safetensors says {error}; {REMEDY}") from error


@dataclass(frozen=True)
class _Place:
    """Where an array lies in the file."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    start: int
    stop: int

    def of(self, content: bytes | mmap.mmap) -> NDArray[Any]:
        if self.start == self.stop:  # nothing to map
            try:
                array = np.empty(self.shape, self.dtype)
            except ValueError as error:  # 0 × 2**61
                raise corrupted(f"an array has the shape {self.shape}") from error
            array.flags.writeable = False
            return array
        count = math.prod(self.shape)
        return np.frombuffer(content, self.dtype, count, self.start).reshape(self.shape)


class _OpenFile:
    """A file that stays open as long as this object exists, even if it is replaced."""

    def __init__(self, file: BinaryIO) -> None:
        self.descriptor = os.dup(file.fileno())
        finalize(self, os.close, self.descriptor)


@dataclass(frozen=True)
class _CopyOnWrite:
    """Makes a copy of an array in a file that shares memory with it: the system copies pages that are written.

    What follows in the file is capacity for more rows, since nobody else sees what is written to this copy.
    """

    file: _OpenFile
    place: _Place

    def __call__(self) -> NDArray[Any] | None:
        """Return the array and all that follows; None if the system refuses."""
        place = self.place
        try:
            content = mmap.mmap(self.file.descriptor, 0, access=mmap.ACCESS_COPY)
        except OSError:  # such as for a lack of memory, of which some systems reserve as much as could be written
            return None
        rows = (len(content) - place.start) // (math.prod(place.shape[1:]) * place.dtype.itemsize)
        return np.ndarray((rows, *place.shape[1:]), place.dtype, content, place.start)


def _copies(file: BinaryIO, places: Mapping[str, _Place]) -> Copies:
    shared = _OpenFile(file)
    return {name: _CopyOnWrite(shared, place) for name, place in places.items() if place.start < place.stop}


def _places(entries: Mapping[str, Any], start: int, size: int) -> dict[str, _Place]:
    """Find every array, and make sure that they fill the file from `start` on, one after the other."""
    places = {name: _place(name, entry, start) for name, entry in entries.items() if name != "__metadata__"}
    end = start
    for name, place in sorted(places.items(), key=lambda entry: (entry[1].start, entry[1].stop)):
        if place.start != end:
            raise corrupted(f"{name} begins at byte {place.start:,} instead of {end:,}")
        end = place.stop
    if end > size:
        raise Fault(f"is truncated: it has {size:,} bytes instead of {end:,}; {REMEDY}")
    if end < size:
        raise corrupted(f"it has {size:,} bytes instead of {end:,}")
    return places


def _place(name: str, entry: Any, start: int) -> _Place:
    expected = {"dtype", "shape", "data_offsets"}
    if not isinstance(entry, dict) or entry.keys() != expected:
        raise corrupted(f"{name} lacks its dtype, shape or data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise corrupted(f"{name} has the unknown dtype {dtype!r}")
    if not _are_sizes(shape) or not _are_sizes(offsets) or len(offsets) != 2 or len(shape) > MOST_DIMENSIONS:
        raise corrupted(f"{name} has the shape {shape!r} and the offsets {offsets!r}")
    place = _Place(np.dtype(_DTYPES[dtype]), tuple(shape), start + offsets[0], start + offsets[1])
    if math.prod(shape) * place.dtype.itemsize != place.stop - place.start:
        raise corrupted(f"{name} of shape {shape} and dtype {dtype} does not fill {offsets}")
    if place.start % place.dtype.itemsize:
        raise corrupted(f"{name} is not aligned")
    return place


def _are_sizes(numbers: Any) -> bool:
    if not isinstance(numbers, list):
        return False
    return all(type(number) is int and 0 <= number < 1 << 62 for number in numbers)


def _check_arrays(arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> None:
    expected = parse_json(metadata.get("checksums", ""), "the table of checksums")
    if not isinstance(expected, dict) or expected.keys() != arrays.keys():
        raise corrupted("its checksums are not those of its arrays")
    for name, array in arrays.items():
        if zlib.crc32(_bytes_of(array)) != expected[name]:
            raise corrupted(f"{name} does not match its checksum")


def _check_numbers(arrays: Mapping[str, NDArray[Any]]) -> None:
    """Check that numbers are finite, and bools 0 or 1."""
    for name, array in arrays.items():
        flat = array.reshape(-1)
        for start in range(0, len(flat), NUMBERS_AT_ONCE):
            some = flat[start : start + NUMBERS_AT_ONCE]
            if array.dtype.kind == "f" and not np.isfinite(some).all():
                raise corrupted(f"{name} has numbers that are not finite")
            if array.dtype.kind == "b" and (some.view(np.uint8) > 1).any():
                raise corrupted(f"{name} has bools that are neither 0 nor 1")
