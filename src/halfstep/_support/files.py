"""Files that are written whole or not at all, regular files, and the folder for caches."""

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

AT_ONCE = 1 << 24  # bytes handed to the system in one call, so that Ctrl-C is noticed between two
PRIVATE, BY_UMASK = 0o600, 0o666
LONGEST_STEM = 64  # bytes of a name in that of its temporary file, as names are limited to 255

_DESCRIPTORS = re.compile(r"/dev/fd|/proc/(self|thread-self|[0-9]+)/fd")
_MOST_LINKS = 40  # that are followed; the system's own limit


def write_atomically(path: Path, content: bytes | Iterable[memoryview]) -> None:
    """Create or replace a file such that nobody ever sees half of it.

    The bytes go to a temporary file beside `path`, which takes the place of the old file once all of them have
    reached the disk. Whatever happens before, an error, Ctrl-C or a power cut, leaves the old file as it was. Only a
    process that is killed leaves its temporary file behind, hidden and named after `path`; the next write to `path`
    deletes it.

    A program that reads or maps the old file keeps the old contents. The mode of the old file stays, and its owner
    where this process may set it; the temporary file is private until it has them. A new file has the mode that the
    umask leaves. A symbolic link stays one, and the file that it leads to is replaced.

    Files that are not regular cannot be replaced: named pipes, terminals, ``/dev/null`` and ``/dev/stdout`` are
    written to; folders, sockets and disks are errors.

    Parameters
    ----------
    path : Path
    content : bytes, or iterable of contiguous memoryview
        Views are written one after the other, without a copy; the iterable is used once.

    Raises
    ------
    OSError
        If the file cannot be written.
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
    for stream in (sys.stdout, sys.stderr):  # their buffers come first if they are the same file
        if stream is not None:
            stream.flush()
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        for view in _pieces(chunks):
            while view:  # pipes take a part at a time
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
            _take_over(file, temporary, old)
        os.fsync(file.fileno())
        if fcntl is None:
            file.close()  # else Windows does not rename it; elsewhere it stays locked until it is renamed
        temporary.replace(path)
    except OSError as error:
        if created is not None and error.filename == str(created[0]):
            error.filename = str(path)
        raise
    finally:
        if created is not None:
            with suppress(OSError):  # flushing fails on a full disk
                created[1].close()
            created[0].unlink(missing_ok=True)  # where the replacement did not happen
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
        temporary = path.with_name(f"{_beginning(path)}{uuid.uuid4().hex}")
        try:
            file = cast(BinaryIO, os.fdopen(os.open(temporary, flags, mode), "wb"))
        except OSError as error:
            error.filename = str(path)
            raise
        if _is_locked(file, temporary):
            return temporary, file
        file.close()  # another process deleted it as a leftover before it was locked


def _beginning(path: Path) -> str:
    """Return the prefix of the names of temporary files for a target."""
    stem = path.name.encode(errors="ignore")[:LONGEST_STEM].decode(errors="ignore")
    return f".{stem}."


def _is_locked(file: BinaryIO, path: Path) -> bool:
    """Lock a file that was just created; False if it has been deleted since."""
    if fcntl is None:
        return True
    with suppress(OSError):  # without locks, as in some network file systems, leftovers are not deleted either
        fcntl.flock(file, fcntl.LOCK_EX)
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _remove_leftovers(path: Path) -> None:
    """Delete temporary files for a target that were left by killed processes, and are open in none."""
    pattern = re.compile(re.escape(_beginning(path)) + "[0-9a-f]{32}")
    with suppress(OSError), os.scandir(path.parent) as entries:  # a folder may be written to, but not listed
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


def _take_over(file: BinaryIO, path: Path, old: os.stat_result) -> None:
    """Give a file the owner and the mode of the one that it replaces."""
    if hasattr(os, "fchown"):
        new = os.fstat(file.fileno())
        if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid):
            with suppress(PermissionError):  # only root may give files away
                os.fchown(file.fileno(), old.st_uid, old.st_gid)
    path.chmod(stat.S_IMODE(old.st_mode))


def sync_folder(folder: Path) -> None:
    """Make the new name survive a power cut; where the system can (Windows cannot open folders)."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems have no such call
            raise
    finally:
        os.close(descriptor)


def open_regular(path: Path, flags: int = os.O_RDONLY, mode: str = "rb") -> BinaryIO:
    """Open a regular file in binary mode.

    Parameters
    ----------
    path : Path
    flags, mode : int and str
        As `os.open` and `os.fdopen` take them.

    Raises
    ------
    OSError
        If it is a folder, a named pipe, a device or a socket, or cannot be opened.
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
    """``HALFSTEP_CACHE``, else the platform's usual place for caches.

    Raises
    ------
    OSError
        If the folder is in the home folder, and the user has none.
    """
    if chosen := os.environ.get("HALFSTEP_CACHE"):
        return expanded(chosen, "HALFSTEP_CACHE").absolute()
    xdg = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if xdg.is_absolute():  # the XDG specification has relative ones ignored
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
            errno.ENOENT, f"{variable}={path}: there is no such home folder; give a path without ~"
        ) from error


def _home() -> Path:
    try:
        home = Path.home()
    except RuntimeError:
        home = Path()
    if not home.is_absolute() or os.environ.get("HOME") == "":  # this user has none
        raise FileNotFoundError(
            errno.ENOENT, "the user has no home folder: set HALFSTEP_CACHE to a folder for the cache"
        )
    return home
