"""The file of a search: its finished trials, as Optuna's `JournalStorage` writes and reads them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial

from halfstep._support.files import lock_until_closed, open_regular
from halfstep.data import Interactions
from halfstep.errors import JournalError
from halfstep.evaluation.tuning.folds import Fold
from halfstep.evaluation.tuning.search import new_study
from halfstep.evaluation.tuning.space import NOT_TUNED, Space
from halfstep.models.storage.values import pack_value

NAME = "halfstep.tune"
BEGINNING = b'{"op_code":0,'  # of each file that Optuna's JournalStorage writes


class _File(JournalFileBackend):
    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        try:
            super().append_logs(logs)
        except OSError as error:
            raise JournalError(
                f"{self._file_path} cannot be written ({error.strerror}): free disk space and run the search again, "
                "which resumes from this file, or name another file"
            ) from error


@contextmanager
def open_journal(path: Path, maximize: bool) -> Iterator[optuna.Study]:
    """Open a study of finished trials in a file, to which each added trial is written immediately.

    The search runs in memory: unfinished trials are not recorded. An incomplete last line, left by a killed process,
    is removed.
    """
    if path.exists() and not path.is_file():
        raise JournalError(f"the journal {path} is not a regular file: name another file")
    with open_regular(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, "a+b") as file:
        _lock(file, path)
        yield _read(file, path, maximize)


def _read(file: BinaryIO, path: Path, maximize: bool) -> optuna.Study:
    no_journal = JournalError(f"{path} is not a journal of a search, or was changed: delete it, or name another file")
    file.seek(0)
    if not BEGINNING.startswith(file.read(len(BEGINNING))):  # without reading a large file
        raise no_journal
    file.seek(0)
    content = file.read()
    whole = content[: content.rfind(b"\n") + 1]
    try:
        for line in whole.splitlines():
            json.loads(line)  # Optuna skips a last line that it cannot read
        # The file is locked until it is closed.
        storage = JournalStorage(_File(str(path), threading.Lock()))  # type: ignore[arg-type]
        names = [study.study_name for study in storage.get_all_studies()]
    except Exception as error:
        raise no_journal from error
    if names not in ([], [NAME]):
        raise no_journal
    file.truncate(len(whole))
    if names:
        return optuna.load_study(study_name=NAME, storage=storage)
    return new_study(maximize, study_name=NAME, storage=storage)


def seed_of(journal: optuna.Study) -> int | None:
    """Return the seed of the search that a journal records; None if it is new."""
    seed: int | None = journal.user_attrs.get("search", {}).get("seed")
    return seed


def recorded_trials(journal: optuna.Study, path: Path | None, search: Mapping[str, Any]) -> list[FrozenTrial]:
    """Return the recorded trials of a search, whose description has types that JSON supports."""
    found, wanted = journal.user_attrs.get("search"), json.loads(json.dumps(search))
    if found is None:
        journal.set_user_attr("search", wanted)
        return []
    for name, value in wanted.items():
        if found.get(name) != value:
            raise JournalError(
                f"{path} is the journal of another search, with {name}={_brief(found.get(name))} instead of "
                f"{_brief(value)}: continue with the same {name}, or name another file"
            )
    return journal.get_trials(deepcopy=False)


def identity_of(data: Interactions, folds: Sequence[Fold], estimator: Any, space: Space) -> dict[str, Any]:
    """Describe the search."""
    return {
        "data": _digest(data),
        "folds": [[_digest(fold.train), _digest(fold.test)] for fold in folds],
        "estimator": _described(estimator),
        "space": {name: _described(each) for name, each in space.dimensions.items()},
    }


def _digest(data: Interactions) -> str:
    """Return a hash of the positions, values, timestamps and weights, in their order."""
    hashed = hashlib.sha256(f"{data.n_users} {data.n_items} {len(data)}".encode())
    for column in (data.user_positions, data.item_positions, data.values, data.timestamps, data.weights):
        if column is not None:
            hashed.update(np.ascontiguousarray(column).view(np.uint8).data)
        hashed.update(b"|")
    return hashed.hexdigest()


def _described(thing: Any) -> Any:
    """Describe a dataclass for comparison with a journal; arrays by their hash."""
    arrays: dict[str, Any] = {}
    fields = {
        field.name: pack_value(getattr(thing, field.name), field.name, arrays)
        for field in dataclasses.fields(thing)
        if field.name not in NOT_TUNED or field.name in ("init", "random_state")
    }
    hashes = {name: hashlib.sha256(np.ascontiguousarray(each).tobytes()).hexdigest() for name, each in arrays.items()}
    return {"class": type(thing).__name__, **fields, **({"arrays": hashes} if hashes else {})}


def _brief(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else f"{text[:199]}…"


def _lock(file: BinaryIO, path: Path) -> None:
    try:
        lock_until_closed(file, wait=False)
    except BlockingIOError:
        raise JournalError(f"{path} is in use by another search: wait for it, or name another file") from None
