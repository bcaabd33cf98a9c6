"""Callbacks that follow the progress of reading files."""

from __future__ import annotations

from collections.abc import Collection


class Watcher:
    """Receives the progress of reading, and ignores it; methods of subclasses may raise errors."""

    def opened(self, columns: Collection[str], rows: int, sources: int) -> None:
        """Receive the roles, and the numbers of rows and of files so far, including those of the next file."""

    def read(self, rows: int) -> None:
        """Receive the number of rows that were just read."""
