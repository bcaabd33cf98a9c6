"""The working folder of a fit, on storage that all machines of a cluster share."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from halfstep._support.faults import Fault
from halfstep._support.files import lock_until_closed, write_atomically
from halfstep.errors import DataError, ModelFileError, ParameterError
from halfstep.models.storage.container import read_container, storable_array, write_container


@dataclass(frozen=True)
class Folder:
    """A folder of files of arrays, which are replaced atomically.

    Parameters
    ----------
    url : str
        A path that is valid on all machines, or a URL for fsspec, such as ``s3://bucket/folder``. Files at URLs are
        copied to the temporary folder of each machine when they are first read.
    stamp : str
        Identifies these copies. Other objects for the same URL do not use them, since files may have been replaced;
        objects that are sent to workers keep the stamp.
    """

    url: str
    stamp: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def is_remote(self) -> bool:
        """Whether files are read through fsspec."""
        return "://" in self.url

    def write(self, name: str, arrays: Mapping[str, NDArray[Any]], **metadata: Any) -> None:
        """Write arrays, and metadata that can be converted to JSON, to a file.

        Raises
        ------
        ModelFileError
            If the file cannot be written.
        """
        stored = {key: _storable(key, array) for key, array in arrays.items()}
        self.write_file(name, lambda path: write_container(path, stored, {"content": json.dumps(metadata)}))

    def read(self, name: str) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Map the arrays of a file into memory, and return them with the metadata.

        The arrays are writable like those in memory, since kernels are compiled for writable arrays; changes stay in
        memory, and the file is unchanged.

        Raises
        ------
        DataError
            If the file is missing or invalid.
        """
        try:
            content = read_container(self.local_path(name), verify=False)
            return {key: _writable(content, key) for key in content.arrays}, json.loads(content.metadata["content"])
        except (OSError, Fault, KeyError, ValueError) as error:
            raise self._unreadable(name, error) from error

    def _unreadable(self, name: str, error: Exception) -> DataError:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        return DataError(
            f"{name} in the working folder {self.url} cannot be read ({reason}): remove the folder, and fit again"
        )

    def write_array(self, name: str, array: NDArray[Any], *, sync: bool = False) -> None:
        """Write one array in NumPy's format, without checksums, which take as long as a short half-step.

        Parameters
        ----------
        sync : bool
            Whether to wait until it is on disk, so that a power failure does not lose it.
        """

        def save(path: Path) -> None:
            temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
            try:
                with temporary.open("wb") as file:
                    np.save(file, array, allow_pickle=False)
                    if sync:
                        file.flush()
                        os.fsync(file.fileno())
                temporary.replace(path)
            except OSError as error:
                raise ModelFileError(
                    f"{name} in the working folder {self.url} was not written ({error.strerror or error}): free disk "
                    "space, and fit again"
                ) from error
            finally:
                temporary.unlink(missing_ok=True)

        self.write_file(name, save)

    def sync(self, name: str) -> None:
        """Wait until a file is on disk."""
        if not self.is_remote:
            with Path(self.url, name).open("rb") as file:
                os.fsync(file.fileno())

    def read_array(self, name: str) -> NDArray[Any]:
        """Map the array of a file into memory, writable as by `read`.

        Raises
        ------
        DataError
            If the file is missing or invalid.
        """
        try:
            return np.asarray(np.load(self.local_path(name), mmap_mode="c", allow_pickle=False))
        except (OSError, ValueError, EOFError) as error:
            raise self._unreadable(name, error) from error

    def write_file(self, name: str, write: Callable[[Path], object]) -> None:
        """Write a file of any format by a function that takes its path on this machine."""
        path = self._local(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path)
        if self.is_remote:
            _upload(path, self._remote(name))

    def local_path(self, name: str) -> Path:
        """Return the path of a file on this machine."""
        path = self._local(name)
        if self.is_remote and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            _download(self._remote(name), path)
        return path

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        if self.is_remote:
            fs, path = _fsspec(self._remote(name))
            return bool(fs.exists(path))
        return self._local(name).exists()

    def names(self, folder: str) -> list[str]:
        """Return the names of all files in a folder of this one, in ascending order."""
        if self.is_remote:
            fs, path = _fsspec(self._remote(folder))
            found = [Path(each).name for each in fs.ls(path, detail=False)] if fs.exists(path) else []
        else:
            local = Path(self.url, folder)
            found = [each.name for each in local.iterdir()] if local.is_dir() else []
        return sorted(f"{folder}/{name}" for name in found if not name.startswith("."))

    def remove(self, name: str) -> None:
        """Remove a file or a folder, if it exists."""
        if self.is_remote:
            fs, path = _fsspec(self._remote(name))
            with suppress(FileNotFoundError):
                fs.rm(path, recursive=True)
        local = self._local(name)
        if local.is_dir():
            shutil.rmtree(local, ignore_errors=True)
        else:
            local.unlink(missing_ok=True)

    def scratch(self) -> Path:
        """Return a folder on this machine for files that are derived from those in this folder."""
        path = Path(tempfile.gettempdir(), f"halfstep-{os.getuid() if hasattr(os, 'getuid') else 0}-{self._digest}")
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if hasattr(os, "getuid") and path.stat().st_uid != os.getuid():
            raise PermissionError(errno.EPERM, "it belongs to another user: set TMPDIR to another folder", str(path))
        return path

    @property
    def _digest(self) -> str:
        return hashlib.blake2b(f"{self.stamp} {self.url}".encode(), digest_size=8).hexdigest()

    def _local(self, name: str) -> Path:
        return self.scratch() / name if self.is_remote else Path(self.url, name)

    def _remote(self, name: str) -> str:
        return f"{self.url.rstrip('/')}/{name}"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait until no other process of this machine is in such a block with the same file."""
    with path.open("wb") as file:
        lock_until_closed(file, wait=True)  # without locks, processes do the same work at the same time
        yield


def _storable(name: str, array: NDArray[Any]) -> NDArray[Any]:
    stored = storable_array(array)
    assert stored is not None, f"{name} has the unsupported type {array.dtype}"
    return stored


def _writable(content: Any, name: str) -> NDArray[Any]:
    array: NDArray[Any] = content.arrays[name]
    copy = content.copies[name]() if name in content.copies else None
    return array.copy() if copy is None else copy[: len(array)]


def _fsspec(url: str) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs
    except ModuleNotFoundError as error:
        raise ParameterError(
            f"the working folder {url} requires fsspec: install the package for this storage, such as pip install "
            "s3fs"
        ) from error
    fs, path = url_to_fs(url)
    return fs, path


def _upload(local: Path, url: str) -> None:
    fs, path = _fsspec(url)
    fs.makedirs(path.rpartition("/")[0], exist_ok=True)
    fs.put_file(str(local), path)  # objects appear atomically


def _download(url: str, local: Path) -> None:
    """Copy a file to this machine, where other processes may do the same at the same time."""
    fs, path = _fsspec(url)
    write_atomically(local, fs.cat_file(path))
