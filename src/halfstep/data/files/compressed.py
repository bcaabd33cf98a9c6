"""Compressed files of several streams."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

_PIECE = 1 << 16  # bytes


class Streams(io.RawIOBase):
    """The decompressed content of a file of one or more compressed streams.

    Python's modules ignore any bytes after a stream that do not start another one, and would lose the rows of a
    damaged stream. Here only zeros are ignored, and it is an EOFError if the file ends within a stream.
    `new_decompressor` returns an object such as `bz2.BZ2Decompressor`.
    """

    def __init__(self, path: Path, new_decompressor: Callable[[], Any]) -> None:
        self._file = path.open("rb")
        self._new = new_decompressor
        self._decompressor: Any = None  # between two streams
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            if self._decompressor is None and not self._begin():
                return 0
            needs_input = self._decompressor.needs_input
            piece, self._rest = (self._rest or self._file.read(_PIECE), b"") if needs_input else (b"", self._rest)
            if needs_input and not piece:
                raise EOFError("unexpected end of compressed data")
            content = self._decompressor.decompress(piece, len(buffer))
            if self._decompressor.eof:
                self._decompressor, self._rest = None, self._decompressor.unused_data
            if content:
                buffer[: len(content)] = content
                return len(content)

    def close(self) -> None:
        self._file.close()
        super().close()

    def _begin(self) -> bool:
        """Start the next stream; return False if there is none."""
        while not self._rest.strip(b"\0"):
            self._rest = self._file.read(_PIECE)
            if not self._rest:
                return False
        self._rest = self._rest.lstrip(b"\0")
        self._decompressor = self._new()
        return True
