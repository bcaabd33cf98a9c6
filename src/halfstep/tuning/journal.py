"""The file that a search keeps its trials in: lines of JSON, each on the disk before the next trial begins."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np

from halfstep._support.files import open_regular
from halfstep.data import Interactions
from halfstep.errors import JournalError

VERSION = 1
BEGINNING = b'{"journal"'
LONGEST_LINE = 10_000_000  # bytes of the first line


class Journal:
    """A file of trials, which is read when it is opened and only ever appended to.

    The first line says what is searched; each other line is a trial. A line that was cut off, because the process was
    killed or the power went while it was written, is dropped. Only one process at a time may have it open.

    Attributes
    ----------
    records : list of dict
        The trials that it holds, from 0.

    Parameters
    ----------
    path : Path
    identity : mapping
        What is searched, made of what JSON knows: a journal of anything else is refused.

    Raises
    ------
    JournalError
        If it is a journal of another search, or none at all, or another process has it open.
    OSError
        If it cannot be read or written.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        self._path = path
        self._file = open_regular(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, "a+b")
        try:
            _lock(self._file, path)
            self.records = self._read(json.loads(json.dumps(identity)))
        except BaseException:
            self._file.close()
            raise

    def append(self, record: Mapping[str, Any]) -> None:
        """Write a trial, and wait until it is on the disk."""
        try:
            self._file.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise JournalError(
                f"{self._path} cannot be written ({error.strerror}): free space and run the search again, which "
                "continues from there, or name another file"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _read(self, identity: Mapping[str, Any]) -> list[dict[str, Any]]:
        self._file.seek(0)
        if not BEGINNING.startswith(self._file.read(len(BEGINNING))):  # without reading a large file
            raise self._no_journal()
        self._file.seek(0)
        content = self._file.read()
        whole = content[: content.rfind(b"\n") + 1]
        lines = [self._parsed(line) for line in whole.splitlines()]
        if lines:
            self._compare(lines[0], identity)
            for number, record in enumerate(lines[1:]):
                if record.get("trial") != number:
                    raise JournalError(
                        f"{self._path}, line {number + 2}: expected trial {number}, found {record.get('trial')!r}; "
                        "the file was changed: delete it, or name another"
                    )
        self._file.truncate(len(whole))
        if not lines:
            self.append({"journal": VERSION, **identity})
        return lines[1:]

    def _parsed(self, line: bytes) -> dict[str, Any]:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict):
            raise self._no_journal()
        return record

    def _no_journal(self) -> JournalError:
        return JournalError(f"{self._path} is no journal of a search, or was changed: delete it, or name another")

    def _compare(self, found: dict[str, Any], identity: Mapping[str, Any]) -> None:
        if "journal" not in found:
            raise self._no_journal()
        if found.pop("journal") != VERSION:
            raise JournalError(f"{self._path} is the journal of another version of halfstep: name another file")
        for name, wanted in identity.items():
            if found.get(name) != wanted:
                raise JournalError(
                    f"{self._path} is the journal of another search: its {name} is {_brief(found.get(name))}, and "
                    f"this one's is {_brief(wanted)}; go on with the same {name}, or name another file"
                )


def journal_path(given: str | os.PathLike[str]) -> Path:
    """Return the path of a journal, which must be a regular file if it exists.

    Raises
    ------
    JournalError
        If the path is a folder, a pipe or a device.
    """
    path = Path(given)
    if path.exists() and not path.is_file():
        raise JournalError(f"the journal {path} is not a regular file: name another file")
    return path


def seed_of(path: Path) -> int | None:
    """Read the seed of the search that a journal is of; None where there is no such file yet, or nothing in it."""
    try:
        with open_regular(path) as file:
            seed = json.loads(file.readline(LONGEST_LINE))["seed"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return seed if type(seed) is int else None


def digest(data: Interactions) -> str:
    """Tell data apart by all that models learn from: positions, values, times and weights, in their order."""
    hashed = hashlib.sha256(f"{data.n_users} {data.n_items} {len(data)}".encode())
    for column in (data.user_positions, data.item_positions, data.values, data.timestamps, data.weights):
        if column is not None:
            hashed.update(np.ascontiguousarray(column).view(np.uint8).data)
        hashed.update(b"|")
    return hashed.hexdigest()


def _brief(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else f"{text[:199]}…"


def _lock(file: BinaryIO, path: Path) -> None:
    """Keep other processes out until the file is closed; where the system can (Windows has no such call)."""
    try:
        import fcntl
    except ModuleNotFoundError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise JournalError(f"{path} is in use by another search: wait for it, or name another file") from None
    except OSError:
        pass  # some network file systems have no locks
