"""The disk cache of compiled kernels.

Numba's cache is not used, since it ignores changes of functions that a kernel calls, can return the wrong code if two
processes compile a kernel at the same time for different types or machines, and only reads from writable folders.

Here a compiled kernel is one file, named by a hash of everything that its code depends on, without an index. It
starts with a checksum, so that corrupted files are ignored.

Kernels are read from the ``__pycache__`` of their source, the user's cache and a temporary folder, and written to
the first of these that is writable, so that read-only installations may contain kernels. ``NUMBA_CACHE_DIR`` replaces
all. Cached code is executed, so that the user's cache and the temporary folder are only used if nobody else can write
to them. If several processes need a kernel at the same time, as workers of a cluster do, one of them compiles it.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, Self

import llvmlite
import numba
import numpy as np

from halfstep._support.files import cache_folder, write_atomically

COMPILATION = Path(__file__).with_name("jit.py").absolute()  # the options of the compiler
DIGITS = 16  # of a hash
CHECKSUM_BYTES = hashlib.sha256().digest_size
SUFFIX = ".nbc"
OF_NUMBA = ("*.nbc", "*.nbi")  # including Numba's cache
UNFINISHED = f".*{SUFFIX}.*"  # temporary files of killed processes


class CacheContent(NamedTuple):
    """The compiled kernels in one folder.

    Attributes
    ----------
    folder : Path
    is_writable : bool
    current, stale : int
        Numbers of compiled kernels for this process, and for other sources, versions or processors.
    size : int
        Bytes.
    """

    folder: Path
    is_writable: bool
    current: int
    stale: int
    size: int


@dataclass(frozen=True)
class KernelFiles:
    """The compiled kernels of one folder of sources.

    Attributes
    ----------
    source : Path
        The folder of the sources.
    stamp : str
        A hash of the sources, and of the versions of Python and the compiler.
    """

    source: Path
    stamp: str

    @classmethod
    def of(cls, file: str) -> Self | None:
        """Return those of the folder of a source file; None if it does not exist, as in a frozen program."""
        path = Path(file).absolute()
        if not path.is_file():
            return None
        sources = [*sorted(path.parent.glob("*.py")), COMPILATION]
        versions = tuple((each, each.stat().st_mtime_ns, each.stat().st_size) for each in sources)
        return cls(path.parent, _stamp(versions))

    def folders(self) -> list[Path]:
        """Return the folders to search, in this order."""
        if numba.config.CACHE_DIR:
            return [Path(numba.config.CACHE_DIR).absolute() / self._name]
        try:
            return [self._pycache, cache_folder() / self._name, self.temporary]
        except OSError:  # this user has no home folder
            return [self._pycache, self.temporary]

    @property
    def temporary(self) -> Path:
        """The temporary folder, which also has the locks."""
        user = os.getuid() if hasattr(os, "getuid") else 0
        return Path(tempfile.gettempdir(), f"halfstep-{user}-{self._name}")

    @property
    def _name(self) -> str:
        return f"kernels-{_hash(str(self.source))}"

    @property
    def _pycache(self) -> Path:
        return self.source / "__pycache__"

    def name(self, kernel: str, target: tuple[str, ...], types: str) -> str:
        """Return the file name of a kernel for a processor and the types of its arguments."""
        return f"{kernel}.{_machine(target)}.{self.stamp}.{_hash(types)}{SUFFIX}"

    def read(self, name: str) -> bytes | None:
        """Return the content of a file, or None if it is missing or corrupted."""
        for folder in self.folders():
            try:
                if self._is_trusted(folder):
                    content = (folder / name).read_bytes()
                    if content[:CHECKSUM_BYTES] == hashlib.sha256(content[CHECKSUM_BYTES:]).digest():
                        return content[CHECKSUM_BYTES:]
            except OSError:
                continue
        return None

    def write(self, name: str, content: bytes) -> bool:
        """Write a file to the first writable folder; return False if there is none."""
        for folder in self.folders():
            try:
                folder.mkdir(mode=0o777 if folder == self._pycache else 0o700, parents=True, exist_ok=True)
                if not self._is_trusted(folder):
                    continue
                write_atomically(folder / name, hashlib.sha256(content).digest() + content)
                self._remove_stale(folder, name)
            except OSError:
                continue
            return True
        return False

    def is_current(self, name: str, target: tuple[str, ...]) -> bool:
        """Whether this is the file name of a kernel for this process."""
        _, *found = name.rsplit(".", 4)
        is_plain = not set(name) & set("/\\\0")
        return is_plain and found[:2] == [_machine(target), self.stamp] and found[3:] == [SUFFIX[1:]]

    def current(self, target: tuple[str, ...]) -> list[str]:
        """Return the names of the compiled kernels for this process."""
        names = {path.name for folder in self.folders() if folder.is_dir() for path in folder.glob(f"*{SUFFIX}")}
        return sorted(name for name in names if self.is_current(name, target))

    def _is_trusted(self, folder: Path) -> bool:
        """Whether code from a folder may be executed: it is that of the source, or writable only by this user."""
        if folder == self._pycache or not hasattr(os, "getuid"):
            return True
        status = folder.stat()
        return status.st_uid == os.getuid() and not status.st_mode & 0o022

    def _remove_stale(self, folder: Path, name: str) -> None:
        """Delete kernels of previous sources for this version of Python and processor."""
        machine, stamp = name.split(".")[-4:-2]
        for path in folder.glob(f"*.{machine}.*{SUFFIX}"):
            if f".{stamp}." not in path.name:
                path.unlink(missing_ok=True)

    def contents(self, target: tuple[str, ...]) -> list[CacheContent]:
        """Return the content of each folder; missing and untrusted folders are empty."""
        contents = []
        for folder in self.folders():
            trusted = folder.is_dir() and self._is_trusted(folder)
            files = [path for pattern in OF_NUMBA for path in folder.glob(pattern)] if trusted else []
            current = sum(f".{_machine(target)}.{self.stamp}." in path.name for path in files)
            size = sum(path.stat().st_size for path in files)
            contents.append(CacheContent(folder, self._is_writable(folder), current, len(files) - current, size))
        return contents

    def _is_writable(self, folder: Path) -> bool:
        existing = next(each for each in (folder, *folder.parents) if each.exists())
        is_safe = existing != folder or self._is_trusted(folder)
        return existing.is_dir() and os.access(existing, os.W_OK) and is_safe

    def clear(self) -> None:
        """Delete all compiled kernels of these sources.

        Raises
        ------
        OSError
            If a file cannot be deleted.
        """
        for folder in self.folders():
            for pattern in (*OF_NUMBA, UNFINISHED):
                for path in folder.glob(pattern):
                    path.unlink(missing_ok=True)


@lru_cache(maxsize=8)
def _stamp(files: tuple[tuple[Path, int, int], ...]) -> str:
    """Hash sources, given with their times and sizes, so that the cache of this function notices changes."""
    versions = (sys.version, numba.__version__, llvmlite.__version__, np.__version__)
    sources = tuple((path.name, path.read_bytes()) for path, _, _ in files)
    return _hash(repr((versions, sources)))


def _machine(target: tuple[str, ...]) -> str:
    return f"{sys.implementation.cache_tag}-{_hash(repr(target))}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]
