"""Files of a table: folders, patterns, pipes and compressed files."""

from __future__ import annotations

import bz2
import glob
import gzip
import io
import lzma
import os
import shutil
import sys
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote

from halfstep.data.files.compressed import Streams
from halfstep.errors import DataError, ParameterError

JSON_LINES = (".jsonl", ".ndjson")
PARQUET = (".parquet", ".pq")
_HEAD = 512  # bytes to detect the type of a file
_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",
}
_FOREIGN = {
    b"ARROW1": "an Arrow (Feather) file; read it with pyarrow or polars",
    b"SQLite format 3": "an SQLite database; export the table as csv",
    b"\x89HDF": "an HDF5 file; read it with pandas",
    b"\xd0\xcf\x11\xe0": "an old Excel file; export the sheet as csv",
    b"ORC": "an ORC file; convert it to parquet",
    b"Obj\x01": "an Avro file; convert it to parquet",
    b"\x80\x04": "a pickle, which is unsafe to load; write csv or parquet",
    b"\x80\x05": "a pickle, which is unsafe to load; write csv or parquet",
    b"%PDF": "a PDF; export the table as csv",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive; unpack it",
    b"Rar!": "a RAR archive; unpack it",
}
_BROKEN = (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile)


@dataclass(frozen=True)
class Source:
    """One file of a table.

    Attributes
    ----------
    name : str
        Its name in errors: the path as given.
    path : Path
    partitions : mapping from str to str
        Unescaped columns in the names of its folders, as in ``country=DE/part-0.parquet``.
    """

    name: str
    path: Path
    partitions: Mapping[str, str] = field(default_factory=dict)


def find_sources(path: Any) -> list[Source]:
    """Return the files of one or more paths.

    Parameters
    ----------
    path : str, path or sequence of them
        A file; a folder, whose files are parts of one table; a pattern with ``*``, ``?``, ``[…]`` or ``**``, unless a
        file has this name; ``"-"`` for standard input.

    Raises
    ------
    FileNotFoundError
        If a file does not exist, or no file matches a pattern.
    DataError
        If a folder is empty.
    ParameterError
        If `path` is not a path.
    """
    paths = [path] if isinstance(path, str | os.PathLike) else path
    if not isinstance(paths, Iterable) or isinstance(paths, bytes) or getattr(paths, "ndim", 1) == 0:
        raise ParameterError(f"path={path!r}: give a path, or a list of paths")
    sources = [source for each in paths for source in _sources_of(each)]
    if not sources:
        raise ParameterError(f"path={path!r}: give at least one path")
    return sources


def _sources_of(path: Any) -> list[Source]:
    if not isinstance(path, str | os.PathLike):
        raise ParameterError(f"path={path!r}: give a path as a string or a pathlib.Path")
    name = os.fsdecode(path)
    here = Path(name)
    if name == "-":
        return [Source("standard input", here)]
    if not name:
        raise FileNotFoundError(f"path={path!r} is empty: give a file, or '.' for the folder {str(Path.cwd())!r}")
    if here.is_dir():
        return _parts_of(name, here)
    if here.exists():
        return [Source(name, here)]
    if glob.has_magic(name):
        matches = sorted(glob.glob(name, recursive=True))  # noqa: PTH207 - Path.glob accepts no absolute patterns
        if not matches:
            raise FileNotFoundError(f"no file matches {name!r}; relative paths start at {str(Path.cwd())!r}")
        sources = [source for each in matches for source in _sources_of(each)]
        return list({os.path.abspath(source.path): source for source in sources}.values())  # noqa: PTH100 - each file once
    raise FileNotFoundError(f"there is no file {name!r}; relative paths start at {str(Path.cwd())!r}")


def _parts_of(name: str, folder: Path) -> list[Source]:
    """List the files below a folder by name, except hidden files and files of metadata."""
    paths = sorted(_files_below(folder, frozenset()))
    if not paths:
        raise DataError(
            f"the folder {name!r} contains no files: give a file or a folder of csv, json or parquet files"
        )
    sources = []
    for path in paths:
        keys = (part.partition("=") for part in path.relative_to(folder).parts[:-1] if "=" in part)
        sources.append(Source(str(path), path, {unquote(key): unquote(value) for key, _, value in keys}))
    return sources


def _files_below(folder: Path, above: frozenset[Path]) -> Iterator[Path]:
    """Iterate over the files below a folder, including links."""
    real = folder.resolve()
    if real in above:
        raise DataError(f"the folder {str(folder)!r} is a link to one of its parents: remove the link")
    for path in folder.iterdir():
        if path.name.startswith((".", "_")):
            continue
        if path.is_dir():
            yield from _files_below(path, above | {real})
        elif path.exists() and not path.is_file():
            raise DataError(
                f"{path}: this is a pipe or a device, not a file: remove it from the folder, or give its path"
            )
        else:
            yield path


class TemporaryFolder:
    """A temporary folder for copies of sources that DuckDB cannot read directly."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._count = 0
        self._pipes: dict[str, Path] = {}

    def new_path(self, suffix: str = "") -> Path:
        """Return a path for a new file."""
        self._count += 1
        return self.folder / f"{self._count}{suffix}"

    def seekable(self, source: Source) -> Path:
        """Return the path of a regular file with the content of a source, possibly compressed.

        Pipes are copied. Reading a named pipe blocks until there is a writer.
        """
        if source.path.is_file() and source.name != "standard input":
            return source.path
        if source.name in self._pipes:
            return self._pipes[source.name]
        path = self._pipes[source.name] = self.new_path()
        with path.open("wb") as copy:
            if source.name == "standard input":
                shutil.copyfileobj(sys.stdin.buffer, copy)
            else:
                with source.path.open("rb") as pipe:
                    shutil.copyfileobj(pipe, copy)
        return path

    def clear(self) -> None:
        """Remove all files except copies of pipes, which cannot be read again."""
        for path in self.folder.iterdir():
            if path not in self._pipes.values() and not path.is_dir():
                path.unlink()

    def linked(self, path: Path) -> Path:
        """Return a path of the same file that DuckDB does not interpret as a pattern."""
        if not glob.has_magic(str(path)):
            return path
        link = self.new_path(path.suffix if not glob.has_magic(path.suffix) else "")
        link.symlink_to(path)
        return link


def compression_of(path: Path, name: str) -> str | None:
    """Return the compression of a file, detected from its first bytes; None if it is not compressed.

    Raises
    ------
    DataError
        If the first bytes are those of an unsupported format.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    for magic, what in _FOREIGN.items():
        if head.startswith(magic):
            raise DataError(f"{name}: this is {what}")
    if head[257:262] == b"ustar":
        raise DataError(f"{name}: this is a tar archive; unpack it, and give the folder or the files")
    return next((kind for magic, kind in _COMPRESSED.items() if head.startswith(magic)), None)


@contextmanager
def open_plain(path: Path, name: str) -> Iterator[IO[bytes]]:
    """Open a file for reading its decompressed content.

    Raises
    ------
    DataError
        If the compressed file is corrupted, or a zip archive does not contain exactly one file.
    """
    kind = compression_of(path, name)
    try:
        if kind == "zip":
            with zipfile.ZipFile(path) as archive, _member(archive, name) as member:
                yield member
        else:
            with _opened(path, kind) as file:
                yield file
    except (*_BROKEN, OSError) as error:
        if isinstance(error, OSError) and (kind is None or error.errno is not None):
            raise
        raise DataError(f"{name}: broken {kind} file ({error}): download or write it again") from None


def _member(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    """Open the only file of an archive."""
    members = [each for each in archive.infolist() if not each.is_dir() and "__MACOSX" not in each.filename]
    names = ", ".join(each.filename for each in members[:5])
    if any(each.filename.startswith("xl/") for each in members):
        raise DataError(f"{name}: this is an Excel file; export the sheet as csv")
    if any(each.filename.endswith(".npy") for each in members):
        raise DataError(
            f"{name}: this is an .npz of arrays; load it with NumPy or SciPy, and use Interactions.from_sparse"
        )
    if len(members) != 1:
        raise DataError(f"{name}: the archive contains {len(members)} files ({names}): unpack it, and give one")
    if members[0].flag_bits & 1:
        raise DataError(f"{name}: {names} is encrypted: unpack the archive")
    try:
        return archive.open(members[0])
    except NotImplementedError as error:  # the compression is not supported
        raise DataError(f"{name}: this zip file cannot be read ({error}): unpack it, and give the file") from None


def _opened(path: Path, kind: str | None) -> Any:
    """Open a plain file, or one compressed by anything but zip."""
    if kind is None:
        return path.open("rb")
    if kind == "gzip":
        return gzip.open(path)
    if kind in ("bzip2", "xz"):
        return io.BufferedReader(Streams(path, bz2.BZ2Decompressor if kind == "bzip2" else lzma.LZMADecompressor))
    if find_spec("compression"):
        from compression import zstd  # type: ignore[import-not-found,unused-ignore] # Python 3.14

        return io.BufferedReader(Streams(path, zstd.ZstdDecompressor))
    if find_spec("pyarrow"):
        import pyarrow

        return pyarrow.input_stream(str(path), compression="zstd")
    raise DataError(f"{path}: reading zstd files requires pyarrow: run pip install pyarrow")
