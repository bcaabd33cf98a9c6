"""Atomic writes, regular files, and the cache folder."""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import BinaryIO, cast

from halfstep._support.interrupts import deferred

fcntl: ModuleType | None
try:
    import fcntl
except ModuleNotFoundError:  # Windows, which does not delete a file that is open
    fcntl = None

AT_ONCE = 1 << 24  # bytes per system call, between which Ctrl-C is handled
PRIVATE, BY_UMASK = 0o600, 0o666
LONGEST_STEM = 64  # bytes of the name in that of the temporary file, since names are limited to 255

_DESCRIPTORS = re.compile(r"/dev/fd|/proc/(self|thread-self|[0-9]+)/fd")
_MOST_LINKS = 40  # to follow, the limit of Linux


def write_atomically(path: Path, content: bytes | Iterable[memoryview]) -> None:
    """Create or replace a file atomically.

    The content is written to a temporary file in the same folder, which replaces the old file once it is on disk.
    Errors, Ctrl-C and power failures before leave the old file unchanged. The temporary file of a killed process is
    deleted by the next write to `path`.

    Programs that read or map the old file keep its content. The mode of the old file is kept, and its owner if
    permitted; the temporary file is private until then. Symbolic links are followed. Named pipes, terminals,
    ``/dev/null`` and ``/dev/stdout`` are written to directly; folders, sockets and disks are errors.
    """
    chunks = [memoryview(content)] if isinstance(content, bytes) else content
    if (descriptor := _descriptor(path)) is not None:
        _write_directly(os.dup(descriptor), chunks)
        return
    old = _status(path)
    if old is None or stat.S_ISREG(old.st_mode):
        _replace(Path(os.path.realpath(path)), old, chunks)
        return
    if stat.S_ISDIR(old.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
    if not (stat.S_ISCHR(old.st_mode) or stat.S_ISFIFO(old.st_mode)):
        kind = "a socket" if stat.S_ISSOCK(old.st_mode) else "a disk"
        raise OSError(errno.EINVAL, f"it is {kind}, not a file", str(path))
    _write_directly(os.open(path, os.O_WRONLY), chunks)


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _descriptor(path: Path) -> int | None:
    """Return the file descriptor that a path such as ``/dev/stdout`` refers to; None for other paths."""
    for _ in range(_MOST_LINKS):
        if path.name.isdecimal() and _DESCRIPTORS.fullmatch(str(path.parent)):
            return int(path.name)
        if not path.is_symlink():
            return None
        path = path.parent / path.readlink()
    return None


def _write_directly(descriptor: int, chunks: Iterable[memoryview]) -> None:
    for stream in (sys.stdout, sys.stderr):  # possibly the same file
        if stream is not None:
            stream.flush()
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        for view in _pieces(chunks):
            while view:  # pipes accept parts
                view = view[file.write(view) :]


def _replace(path: Path, old: os.stat_result | None, chunks: Iterable[memoryview]) -> None:
    if old is not None and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, "it is read-only", str(path))
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, f"there is no folder {path.parent}", str(path))
    _remove_leftovers(path)
    created: tuple[Path, BinaryIO] | None = None
    try:
        with deferred():  # so that a created file is always deleted below
            created = _create_beside(path, BY_UMASK if old is None else PRIVATE)
        temporary, file = created
        for view in _pieces(chunks):
            file.write(view)
        file.flush()
        if old is not None:
            _copy_owner_and_mode(file, temporary, old)
        os.fsync(file.fileno())
        if fcntl is None:
            file.close()  # Windows cannot rename open files; elsewhere it stays locked until it is renamed
        temporary.replace(path)
    except OSError as error:
        if created is not None and error.filename == str(created[0]):
            error.filename = str(path)
        raise
    finally:
        if created is not None:
            with suppress(OSError):  # flushing fails on a full disk
                created[1].close()
            created[0].unlink(missing_ok=True)  # after an error
    sync_folder(path.parent)


def _pieces(chunks: Iterable[memoryview]) -> Iterator[memoryview]:
    for chunk in chunks:
        view = memoryview(chunk).cast("B")
        for start in range(0, len(view), AT_ONCE):
            yield view[start : start + AT_ONCE]


def _create_beside(path: Path, mode: int) -> tuple[Path, BinaryIO]:
    """Create a temporary file for a target, and lock it for as long as it is open."""
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
    while True:
        temporary = path.with_name(f"{_prefix(path)}{uuid.uuid4().hex}")
        try:
            file = cast(BinaryIO, os.fdopen(os.open(temporary, flags, mode), "wb"))
        except OSError as error:
            error.filename = str(path)
            raise
        if _is_locked(file, temporary):
            return temporary, file
        file.close()  # another process deleted it as a leftover before it was locked


def _prefix(path: Path) -> str:
    """Return the prefix of the names of temporary files for a target."""
    stem = path.name.encode(errors="ignore")[:LONGEST_STEM].decode(errors="ignore")
    return f".{stem}."


def _is_locked(file: BinaryIO, path: Path) -> bool:
    """Lock a file that was just created; return False if it was deleted in the meantime."""
    if fcntl is None:
        return True
    lock_until_closed(file, wait=True)  # without locks, leftovers are not deleted either
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def lock_until_closed(file: BinaryIO, *, wait: bool) -> None:
    """Lock a file against other processes; not on Windows, and in network file systems without locks.

    If another process has locked it, wait, or raise BlockingIOError.
    """
    if fcntl is None:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        pass


def _remove_leftovers(path: Path) -> None:
    """Delete temporary files for a target that killed processes left."""
    pattern = re.compile(re.escape(_prefix(path)) + "[0-9a-f]{32}")
    with suppress(OSError), os.scandir(path.parent) as entries:  # the folder may not be readable
        for name in [entry.name for entry in entries if pattern.fullmatch(entry.name)]:
            with suppress(OSError):  # in use, owned by another user, or deleted
                _remove_if_abandoned(path.with_name(name))


def _remove_if_abandoned(path: Path) -> None:
    if fcntl is None:
        path.unlink()
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
    finally:
        os.close(descriptor)


def _copy_owner_and_mode(file: BinaryIO, path: Path, old: os.stat_result) -> None:
    """Set the owner and the mode of a file to those of the file that it replaces."""
    if hasattr(os, "fchown"):
        new = os.fstat(file.fileno())
        if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid):
            with suppress(PermissionError):  # only root may give files away
                os.fchown(file.fileno(), old.st_uid, old.st_gid)
    path.chmod(stat.S_IMODE(old.st_mode))


def sync_folder(folder: Path) -> None:
    """Sync a folder to disk, except on Windows, which does not support this."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # not supported by some network file systems
            raise
    finally:
        os.close(descriptor)


def open_regular(path: Path, flags: int = os.O_RDONLY, mode: str = "rb") -> BinaryIO:
    """Open a regular file in binary mode.

    Parameters
    ----------
    flags, mode : int and str
        See `os.open` and `os.fdopen`.
    """
    extra = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # so that a named pipe does not block
    descriptor = os.open(path, flags | extra, 0o666)
    try:
        kind = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(kind):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(kind):
            what = "a named pipe" if stat.S_ISFIFO(kind) else "a device"
            raise OSError(errno.EINVAL, f"it is {what}, not a regular file", str(path))
        return cast(BinaryIO, os.fdopen(descriptor, mode))
    except BaseException:
        os.close(descriptor)
        raise


def cache_folder() -> Path:
    """Return the folder ``HALFSTEP_CACHE``, by default the cache folder of the platform.

    Raises
    ------
    OSError
        If the user has no home folder.
    """
    if chosen := os.environ.get("HALFSTEP_CACHE"):
        return expanded(chosen, "HALFSTEP_CACHE").absolute()
    xdg = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if xdg.is_absolute():  # relative paths are ignored according to the XDG specification
        return xdg / "halfstep"
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else _home() / "AppData" / "Local") / "halfstep" / "Cache"
    if sys.platform == "darwin":
        return _home() / "Library" / "Caches" / "halfstep"
    return _home() / ".cache" / "halfstep"


def expanded(path: str, variable: str) -> Path:
    """Expand ``~`` and ``~name`` in the value of an environment variable; OSError if the home folder is unknown."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise FileNotFoundError(
            errno.ENOENT, f"{variable}={path}: the home folder does not exist; give a path without ~"
        ) from error


def _home() -> Path:
    try:
        home = Path.home()
    except RuntimeError:
        home = Path()
    if not home.is_absolute() or os.environ.get("HOME") == "":
        raise FileNotFoundError(
            errno.ENOENT, "the user has no home folder: set HALFSTEP_CACHE to a folder for the cache"
        )
    return home
