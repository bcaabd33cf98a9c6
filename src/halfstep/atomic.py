"""A file written whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
import uuid
from collections.abc import Iterable
from pathlib import Path

AT_ONCE = 1 << 24  # bytes handed to the system in one call, so that Ctrl-C is noticed between two


def write_atomically(path: Path, content: bytes | Iterable[memoryview]) -> None:
    """Create or replace a file such that nobody ever sees half of it.

    The bytes go to a temporary file beside `path`, which takes the place of the old file once all of them have
    reached the disk. Whatever happens before, an error, Ctrl-C or a power cut, leaves the old file as it was. Only a
    process that is killed leaves its temporary file behind, hidden and named after `path`; it may be deleted.

    A program that reads or maps the old file keeps the old contents. The permissions of the old file stay; a symbolic
    link stays one, and the file that it leads to is replaced.

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
    path = Path(os.path.realpath(path))
    temporary = path.with_name(f".{path.name[:64]}.{uuid.uuid4().hex}")
    try:
        with temporary.open("xb") as file:
            for chunk in [content] if isinstance(content, bytes) else content:
                view = memoryview(chunk).cast("B")
                for start in range(0, len(view), AT_ONCE):
                    file.write(view[start : start + AT_ONCE])
            file.flush()
            _keep_permissions(path, temporary)
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)  # where the replacement did not happen
    _sync_folder(path.parent)


def _keep_permissions(old: Path, new: Path) -> None:
    try:
        mode = stat.S_IMODE(old.stat().st_mode)
    except FileNotFoundError:
        return
    new.chmod(mode)


def _sync_folder(folder: Path) -> None:
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
