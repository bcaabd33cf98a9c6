"""Find out whether a file was replaced."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Self


class Signature(NamedTuple):
    """Properties of a file that change when it is replaced."""

    device: int
    inode: int
    size: int
    modified: int

    @classmethod
    def of(cls, path: Path) -> Self:
        """Return the signature of a file.

        Raises
        ------
        OSError
            If the file cannot be read.
        """
        status = path.stat()
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
