"""Where compiled kernels are kept from one process to the next, and which of them are still good.

Numba has a cache of its own, which does not do here. It looks at the file that a kernel is in, not at the files of
what the kernel calls. Two processes that compile one kernel at once, for other types or on other machines, can leave
an index that gives the one the other's code. And it reads only from where it can write.

Here a compiled kernel is one file, named after all that its code depends on: what is found under the right name is
right, and there is no index. It begins with a checksum of the rest, so that nothing torn or corrupted is ever read.

Kernels are looked for beside their source, as Python's own compiled files are, then in the user's cache; they are
written to the first of the two that can be written to. So an installation that is only read finds what was compiled
when it was made. ``NUMBA_CACHE_DIR`` stands in for both. What lies in a cache is run, hence a folder away from the
source counts only if it is the user's own, and nobody else may write to it.
"""

from __future__ import annotations

import hashlib
import os
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, Self

import llvmlite
import numba
import numpy as np

from halfstep._support.files import cache_folder, write_atomically

COMPILATION = Path(__file__).with_name("jit.py").absolute()  # the options of the compiler
DIGITS = 16  # of a hash in a name
CHECKSUM_BYTES = hashlib.sha256().digest_size
SUFFIX = ".nbc"
OF_NUMBA = ("*.nbc", "*.nbi")  # also what earlier releases left to Numba's own cache
UNFINISHED = f".*{SUFFIX}.*"  # of processes that were killed


class Holding(NamedTuple):
    """What one folder holds.

    Attributes
    ----------
    folder : Path
    is_writable : bool
    current, stale : int
        Compiled kernels that this process could use, and those that it could not: of another source, Python, Numba
        or processor.
    size : int
        Bytes, of both.
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
        A hash of the sources, and of the versions of what compiles them.
    """

    source: Path
    stamp: str

    @classmethod
    def of(cls, file: str) -> Self | None:
        """Those of a source file and its neighbours; None if there is no such file, as in a frozen program."""
        path = Path(file).absolute()
        if not path.is_file():
            return None
        sources = [*sorted(path.parent.glob("*.py")), COMPILATION]
        looks = tuple((each, each.stat().st_mtime_ns, each.stat().st_size) for each in sources)
        return cls(path.parent, _stamp(looks))

    def folders(self) -> list[Path]:
        """Where kernels are looked for, in this order."""
        away = f"kernels-{_hash(str(self.source))}"
        if numba.config.CACHE_DIR:
            return [Path(numba.config.CACHE_DIR).absolute() / away]
        try:
            return [self._beside, cache_folder() / away]
        except OSError:  # this user has no home folder
            return [self._beside]

    @property
    def _beside(self) -> Path:
        return self.source / "__pycache__"

    def name(self, kernel: str, target: tuple[str, ...], types: str) -> str:
        """Name the file of a kernel for a processor and the types of its arguments."""
        return f"{kernel}.{_machine(target)}.{self.stamp}.{_hash(types)}{SUFFIX}"

    def read(self, name: str) -> bytes | None:
        """Get what was written under a name, if it is all there."""
        for folder in self.folders():
            try:
                if self._is_trusted(folder):
                    content = (folder / name).read_bytes()
                    if content[:CHECKSUM_BYTES] == hashlib.sha256(content[CHECKSUM_BYTES:]).digest():
                        return content[CHECKSUM_BYTES:]
            except OSError:
                continue
        return None

    def write(self, name: str, content: bytes) -> None:
        """Keep something under a name; where nothing can be written, nothing is kept."""
        for folder in self.folders():
            try:
                folder.mkdir(mode=0o777 if folder == self._beside else 0o700, parents=True, exist_ok=True)
                if not self._is_trusted(folder):
                    continue
                write_atomically(folder / name, hashlib.sha256(content).digest() + content)
                self._tidy(folder, name)
            except OSError:
                continue
            return

    def _is_trusted(self, folder: Path) -> bool:
        """Whether what lies there may be run: whoever can write beside the source can write to the source."""
        if folder == self._beside or not hasattr(os, "getuid"):
            return True
        status = folder.stat()
        return status.st_uid == os.getuid() and not status.st_mode & 0o022

    def _tidy(self, folder: Path, name: str) -> None:
        """Delete what this Python compiled on this processor from sources that are no more."""
        machine, stamp = name.split(".")[-4:-2]
        for path in folder.glob(f"*.{machine}.*{SUFFIX}"):
            if f".{stamp}." not in path.name:
                path.unlink(missing_ok=True)

    def holdings(self, target: tuple[str, ...]) -> list[Holding]:
        """Say what each folder holds; folders that are not there, or not to be trusted, hold nothing."""
        found = []
        for folder in self.folders():
            trusted = folder.is_dir() and self._is_trusted(folder)
            files = [path for pattern in OF_NUMBA for path in folder.glob(pattern)] if trusted else []
            current = sum(f".{_machine(target)}.{self.stamp}." in path.name for path in files)
            size = sum(path.stat().st_size for path in files)
            found.append(Holding(folder, self._is_writable(folder), current, len(files) - current, size))
        return found

    def _is_writable(self, folder: Path) -> bool:
        there = next(each for each in (folder, *folder.parents) if each.exists())
        return there.is_dir() and os.access(there, os.W_OK) and (there != folder or self._is_trusted(folder))

    def clear(self) -> None:
        """Delete all compiled kernels of these sources.

        Raises
        ------
        OSError
            If one cannot be deleted.
        """
        for folder in self.folders():
            for pattern in (*OF_NUMBA, UNFINISHED):
                for path in folder.glob(pattern):
                    path.unlink(missing_ok=True)


@lru_cache(maxsize=8)
def _stamp(looks: tuple[tuple[Path, int, int], ...]) -> str:
    """Hash the sources; how they look is part of the question, so that an edit is noticed in a running process."""
    versions = (sys.version, numba.__version__, llvmlite.__version__, np.__version__)
    sources = tuple((path.name, path.read_bytes()) for path, _, _ in looks)
    return _hash(repr((versions, sources)))


def _machine(target: tuple[str, ...]) -> str:
    return f"{sys.implementation.cache_tag}-{_hash(repr(target))}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]
