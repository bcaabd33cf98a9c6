"""The files of a served model: the model file, and the snapshot with what the model has learned since."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from halfstep.errors import ModelFileError
from halfstep.models.factor_model import FactorModel
from halfstep.persistence import load
from halfstep.serve.event_log import EventLog
from halfstep.serve.learner import Learner, LearningSettings, position_in, warm
from halfstep.serve.signature import Signature


@dataclass(frozen=True)
class ModelFile:
    """A loaded model, with its file.

    Attributes
    ----------
    path : Path
    signature : Signature
    digest : str
        SHA-256 of the file.
    model : FactorModel
    """

    path: Path
    signature: Signature
    digest: str
    model: FactorModel

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file.

        Raises
        ------
        OSError, ModelFileError
            If the file cannot be read, is not a model, or is replaced in the meantime.
        """
        signature = Signature.of(path)
        model = load(path, copy=True)  # the file may be overwritten in place
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if Signature.of(path) != signature:
            raise ModelFileError(f"{path} was replaced while it was read: read it again")
        return cls(path, signature, digest, model)


def learner_of(file: ModelFile, log: EventLog, settings: LearningSettings, snapshot: Path) -> Learner:
    """Return the learner that continues from the snapshot, if it belongs to this file and this log.

    Otherwise, the learner starts with the model of the file.
    """
    base = settings.base_of(file.digest)
    model = _stored_snapshot(snapshot, log, base) or file.model
    learner = Learner(model, log, settings, base, position_in(log, model))
    warm(model)
    return learner


def _stored_snapshot(path: Path, log: EventLog, base: str) -> FactorModel | None:
    try:
        model = load(path)
    except OSError:  # missing or corrupted: the log has all events
        return None
    learned = model._fitted.origin.learned
    if learned is None or learned.log != log.id or learned.base != base or learned.offset > log.last:
        return None
    return model
