"""Arrays in files, mapped into memory: pages are read when they are used, and dropped when memory is short."""

from __future__ import annotations

import errno
import math
import mmap
import os
import shutil
import sys
import tempfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Self
from weakref import WeakSet, ref

import numpy as np
from numpy.typing import DTypeLike, NDArray

from halfstep._support.files import open_regular

# pages that are never written need no memory that the system would have to promise
_NO_RESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)


_open: dict[int, ref[FileMap]] = {}  # by id; changed in single steps, since Ctrl-C could leave a lock held


def drop_pages() -> None:
    """Drop the pages of all files that are mapped by this module from the memory of this process."""
    for reference in list(_open.values()):
        mapped = reference()
        if mapped is not None:
            mapped.drop()


class Scratch:
    """Temporary arrays in files without a name, which disappear with the arrays, even if the process is killed.

    Parameters
    ----------
    folder : Path
        A folder on the disk to use.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._maps: WeakSet[FileMap] = WeakSet()

    def empty(self, length: int, dtype: DTypeLike) -> NDArray[Any]:
        """Return a writable array with arbitrary content.

        Raises
        ------
        OSError
            If the disk is full.
        """
        kind = np.dtype(dtype)
        size = length * kind.itemsize
        if size == 0:
            return np.empty(length, kind)
        with tempfile.TemporaryFile(dir=self.folder) as file:
            try:
                reserve(file, size)
            except OSError as error:
                raise disk_error(error, self.folder, size) from None
            mapped = FileMap(file.fileno(), size)
        self._maps.add(mapped)
        return np.frombuffer(mapped, kind)

    @property
    def size(self) -> int:
        """The bytes of all arrays."""
        return sum(map(len, list(self._maps)))

    def release(self) -> None:
        """Drop the pages of all arrays from the memory of this process; their content stays."""
        for mapped in list(self._maps):
            mapped.drop()


class FileMap(mmap.mmap):
    """A file mapped by this module; it is not written to, or writes go to the file, so that pages can be dropped."""

    def __init__(self, *_: Any, **__: Any) -> None:
        key = id(self)
        _open[key] = ref(self, lambda _: _open.pop(key, None))

    def drop(self, start: int = 0, stop: int | None = None) -> None:
        """Drop the whole pages between two positions from the memory of this process.

        They stay in the cache of the system as long as there is memory for it, so that reading them again is fast.
        """
        first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
        size = len(self) - first if stop is None else stop // mmap.PAGESIZE * mmap.PAGESIZE - first
        if size > 0 and sys.platform == "linux":  # elsewhere it may lose what was written
            self.madvise(mmap.MADV_DONTNEED, first, size)


class MappedArray(NamedTuple):
    """An array in a mapped file."""

    array: NDArray[Any]
    mapped: FileMap

    @classmethod
    def of(cls, array: NDArray[Any]) -> Self | None:
        """Return the array with its file, or None if it has none."""
        base: Any = array
        while isinstance(base, np.ndarray | memoryview):
            base = base.base if isinstance(base, np.ndarray) else base.obj
        return cls(array, base) if isinstance(base, FileMap) else None

    def drop(self, first: int, last: int) -> None:
        """Drop the pages of the elements ``first:last``."""
        start = self.array.ctypes.data - np.frombuffer(self.mapped, np.uint8).ctypes.data
        size = self.array.itemsize
        self.mapped.drop(start + first * size, start + last * size)


def reserve(file: BinaryIO, size: int) -> None:
    """Make a file of this size; an OSError now is better than a crash when mapped pages are written."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
    else:
        zeros = bytes(1 << 20)
        for start in range(0, size, len(zeros)):
            file.write(zeros[: size - start])
        file.flush()


def disk_error(error: OSError, folder: Path, size: int) -> OSError:
    """Return an error that says how much space was needed, if the disk is full."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return error
    needed = f"{error.strerror}; {size / 1e9:,.3f} GB more are needed: free disk space"
    return OSError(error.errno, needed, str(folder))


def writable_folder(preferred: Path) -> Path:
    """Return a folder for temporary files: the preferred one if it can be written, else the system's."""
    return preferred if os.access(preferred, os.W_OK) else Path(tempfile.gettempdir())


def check_free_space(folder: Path, needed: int, what: str) -> None:
    """Check that a disk has enough free space."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OSError(
            errno.ENOSPC,
            f"{what} requires {needed:,} bytes ({needed / 1e9:,.1f} GB) of disk space, but only {free:,} are free: "
            "free disk space, or name a folder on another disk",
            str(folder),
        )


class ArrayFile:
    """A file of little-endian numbers without a header, which is written in parts.

    Attributes
    ----------
    length : int
        The number of elements so far.
    checksum : int
        Their CRC-32.
    """

    def __init__(self, path: Path) -> None:
        self.length = self.checksum = 0
        self._path, self._file = path, path.open("wb")

    def write(self, part: NDArray[Any]) -> None:
        """Append some elements.

        Raises
        ------
        OSError
            If the disk is full.
        """
        content = np.ascontiguousarray(part, part.dtype.newbyteorder("<")).view(np.uint8).data
        try:
            self._file.write(content)
        except OSError as error:
            raise disk_error(error, self._path.parent, part.nbytes) from None
        self.length += len(part)
        self.checksum = zlib.crc32(content, self.checksum)

    def close(self) -> None:
        """Write the rest to disk, and close the file."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        finally:
            self._file.close()


def open_array(path: Path, dtype: DTypeLike, length: int) -> NDArray[Any]:
    """Map an `ArrayFile`.

    The array is writable like one in memory, since kernels are compiled for writable arrays, but it should not be
    written to: the file does not change, and what is written is lost when its pages are dropped.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If it has another size.
    """
    kind = np.dtype(dtype).newbyteorder("<")
    with open_regular(path) as file:
        size, expected = os.fstat(file.fileno()).st_size, math.prod((length, kind.itemsize))
        if size != expected:
            raise ValueError(f"{path.name} has {size:,} bytes instead of {expected:,}")
        if size == 0:
            return np.empty(0, dtype)
        if sys.platform == "win32":
            mapped = FileMap(file.fileno(), size, access=mmap.ACCESS_COPY)
        else:
            flags, protection = mmap.MAP_PRIVATE | _NO_RESERVE, mmap.PROT_READ | mmap.PROT_WRITE
            mapped = FileMap(file.fileno(), size, flags=flags, prot=protection)
    return np.frombuffer(mapped, np.dtype(dtype))
