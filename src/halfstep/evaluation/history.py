"""The history of evaluations: an append-only file with a line of JSON for each."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from halfstep._support.files import lock_until_closed, open_regular, sync_folder
from halfstep.errors import DataError
from halfstep.evaluation.report import Report

BEGINNING = b'{"time":'
LONGEST_LINE = 10_000_000  # bytes


def metrics_of(report: Report, model: str) -> dict[str, float | None]:
    """Return the metrics of a model by label, such as "ndcg@10"; None for those that are not defined for it."""
    return {row.label: None if row.value != row.value else row.value for row in report if row.model == model}


def check_history(path: Path) -> None:
    """Check that a file is a history, is empty, or does not exist.

    Raises
    ------
    DataError
        If it is not a history.
    OSError
        If it is not a regular file, or cannot be read.
    """
    if not path.exists():
        return
    with open_regular(path) as file:
        beginning = file.read(len(BEGINNING))
    if not BEGINNING.startswith(beginning):
        raise DataError(
            f"{path} is not a history of evaluations, whose lines begin with {BEGINNING.decode()}: name another file"
        )


def append_to_history(path: Path, record: Mapping[str, Any]) -> None:
    """Append a line to a history, and wait until it is on disk; the first key of the record is "time".

    An incomplete last line, left by a killed process or a power failure, is removed. Several processes may append at
    the same time.
    """
    line = json.dumps(record, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    is_new = not path.exists()
    with open_regular(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, "a+b") as file:
        lock_until_closed(file, wait=True)
        _end_last_line(file)
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
    if is_new:
        sync_folder(path.parent)


def _end_last_line(file: BinaryIO) -> None:
    """Remove an incomplete last line, or add its missing line end."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - LONGEST_LINE, 0))
    tail = file.read()
    rest = tail[tail.rfind(b"\n") + 1 :]
    if not rest:
        return
    try:
        json.loads(rest)
    except ValueError:
        file.truncate(size - len(rest))
    else:
        file.write(b"\n")
