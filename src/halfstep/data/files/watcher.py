"""The progress of reading files, for those who follow it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol


class Watcher(Protocol):
    """Is told how far reading is, and may raise an error."""

    def opened(self, columns: Collection[str], rows: int, sources: int) -> None:
        """Take the roles, and the numbers of rows and of files so far, including those of the next file."""

    def read(self, rows: int) -> None:
        """Take the number of rows that were just read."""


class NoWatcher:
    """Does nothing."""

    def opened(self, columns: Collection[str], rows: int, sources: int) -> None:
        pass

    def read(self, rows: int) -> None:
        pass
