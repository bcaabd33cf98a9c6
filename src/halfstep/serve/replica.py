"""The served model: one thread learns from the log, and another watches for a new model file.

Each process of the service has a replica of its own. All of them read the same log, and learning is deterministic, so
they hold the same model without exchanging anything else.
"""

from __future__ import annotations

import copy
import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from halfstep._support.files import write_atomically
from halfstep._support.printable import message_of
from halfstep.errors import HalfstepError, ModelFileError
from halfstep.models.factor_model import FactorModel
from halfstep.models.incremental_model import IncrementalModel
from halfstep.persistence import load
from halfstep.serve.conversion import Timestamps
from halfstep.serve.event import LogUnavailableError
from halfstep.serve.event_log import ERASED, EventLog, Group
from halfstep.serve.ids import IdType, id_type
from halfstep.serve.learner import Learner, LearningSettings, position_in, save
from halfstep.serve.schema import ERASURE
from halfstep.serve.signature import Signature
from halfstep.serve.snapshot import ModelFile, learner_of

LOG = logging.getLogger("halfstep.serve")
POLL_SECONDS = 0.2  # until events of other processes are seen
WATCH_SECONDS = 0.5  # until a new model file is seen
RETRY_SECONDS = 1.0  # after the log was unavailable
READ_BYTES = 1 << 20  # in one read of a file
READ_AT_ONCE = 1_000  # events, before a new model can take over
CLOSE_ENOUGH = 500  # events that a new model may lag behind when it takes over


@dataclass(frozen=True)
class Served:
    """A model that answers requests.

    Attributes
    ----------
    model : FactorModel
    digest : str
        SHA-256 of the model file.
    loaded : float
        When serving the model began, in POSIX seconds.
    reason : str or None
        Why the model does not learn; None if it does.
    unit : Timestamps or None
        The unit of the timestamps of the model; None if it has none.
    """

    model: FactorModel
    digest: str
    loaded: float
    reason: str | None
    unit: Timestamps | None


class Replica:
    """A model that is served and learns from a log.

    Parameters
    ----------
    path : Path
        The model file. If it is replaced, the new model takes over.
    settings_of : callable
        Returns the settings for a model, which may differ between a model and its successor.
    is_writer : bool
        Whether this process writes snapshots and erases events.

    Attributes
    ----------
    on_progress : callable
        Called from a thread with the offset up to which the model has learned; set before `start`.
    served : Served
        Replaced as a whole.
    turn : Lock
        Held while an update of the model is published. Readers hold it too, so that arrays that they read need not be
        copied.
    last_error : str or None
        Why the last new model file is not served; None if it is.
    """

    def __init__(
        self,
        path: Path,
        log: EventLog,
        settings_of: Callable[[FactorModel], LearningSettings],
        snapshot: Path,
        *,
        is_writer: bool,
    ) -> None:
        self.path, self.log, self.snapshot, self._settings_of = path, log, snapshot, settings_of
        self.turn, self._learning, self.last_error = threading.Lock(), threading.Lock(), None
        self._is_writer = is_writer
        self.on_progress: Callable[[int], None] = lambda offset: None
        file = ModelFile.read(path)
        self._signature: Signature | None = file.signature  # None if the file is missing
        self._learner = self._learner_of(file)
        self._successor: _Successor | None = None
        self._digest, self._loaded = file.digest, time.time()
        self._publish()
        self._wake, self._stop = threading.Event(), threading.Event()
        self._swapping = threading.Lock()
        self._saver = _Saver(snapshot, log) if is_writer else None
        self._threads = [
            threading.Thread(target=self._learn, name="halfstep-learn", daemon=True),
            threading.Thread(target=self._watch, name="halfstep-watch", daemon=True),
        ]

    last_error: str | None

    def start(self) -> None:
        """Learn from all events in the log, then continue in the background."""
        if self._is_writer:
            self.log.erase(self._learner.offset)  # what an earlier process did not finish
        while groups := self.log.read(self._learner.offset):
            for group in groups:
                self._apply(group)
        self._publish()
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop learning, after the current transaction."""
        self._stop.set()
        self._wake.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()
        if self._saver is not None:
            self._saver.close()

    def notify(self) -> None:
        """Look for new events now."""
        self._wake.set()

    def export(self, path: Path) -> int:
        """Write the current model with its offset to a file, and return the offset."""
        with self._learning:
            model, origin = copy.copy(self._learner.model), self._learner.origin
        save(model, origin, path)
        return self._learner.offset if origin.learned is None else origin.learned.offset

    @property
    def offset(self) -> int:
        """The offset up to which the model has learned."""
        return self._learner.offset

    @property
    def refused(self) -> int:
        """The number of events that the model could not learn from."""
        return self._learner.refused

    @property
    def largest_value(self) -> float:
        """The largest absolute value that an event may have."""
        return self._learner.largest_value

    def swap(self) -> str:
        """Load and serve the model file now if it was replaced, and return the digest of the served file.

        Raises
        ------
        HalfstepError, OSError
            If the file is not a model that can be served.
        """
        with self._swapping:
            return self._swap()

    def replace(self, new: Path) -> str:
        """Replace the model file by a copy of another file, and serve it.

        Raises
        ------
        HalfstepError, OSError
            If the other file is not a model that can be served; the model file is unchanged.
        """
        if not new.is_file():
            raise FileNotFoundError(f"there is no file {new.name}")
        served = self.path.resolve()
        copied = served.with_name(f".{served.name}.new")
        with self._swapping:
            try:
                write_atomically(copied, _chunks(new))
                model = _read_copy(copied, new)  # because the other file may still be written
                self._check_ids((id_type(model.users_, "user"), id_type(model.items_, "item")))
                position_in(self.log, model)
                shutil.copymode(served, copied)
                copied.replace(served)
            finally:
                copied.unlink(missing_ok=True)
            return self._swap()

    def _swap(self) -> str:
        """Load and serve the model file; the caller holds the lock `_swapping`."""
        signature = self._signature_now()
        if signature == self._signature:
            if self.last_error is not None:
                raise HalfstepError(self.last_error)
            return self._digest
        before, self._signature = self._signature, signature  # an invalid file is read only once
        try:
            file = ModelFile.read(self.path)
            self._signature = file.signature
            successor = _Successor(self._learner_of(file), file.digest)
            self._check_ids(successor.learner.id_types)
            while self.log.last - successor.learner.offset > CLOSE_ENOUGH and not self._stop.is_set():
                successor.learn(self.log)
        except LogUnavailableError:
            self._signature = before
            raise
        except (HalfstepError, OSError) as error:
            self.last_error = message_of(error)
            raise
        self._successor = successor
        self._wake.set()
        while self._successor is not None and not self._stop.is_set():
            time.sleep(0.002)
        self.last_error = None
        return self._digest

    def _signature_now(self) -> Signature | None:
        try:
            return Signature.of(self.path)
        except OSError:
            return None

    def _check_ids(self, id_types: tuple[IdType, IdType]) -> None:
        if id_types != self.id_types:
            old, new = (f"{kinds[0]} users and {kinds[1]} items" for kinds in (self.id_types, id_types))
            raise HalfstepError(
                f"the new model has ids of a different type ({new}) from the served model and the log ({old}): "
                "start another server for it, with a new log"
            )

    @property
    def id_types(self) -> tuple[IdType, IdType]:
        """The types of user ids and of item ids."""
        return self._learner.id_types

    @property
    def settings(self) -> LearningSettings:
        """How the served model learns."""
        return self._learner.settings

    def _learner_of(self, file: ModelFile) -> Learner:
        return learner_of(file, self.log, self._settings_of(file.model), self.snapshot)

    def _publish(self) -> None:
        if isinstance(self._learner.model, IncrementalModel):
            self._learner.model._no_readers = self.turn
        learner = self._learner
        self.served = Served(learner.model, self._digest, self._loaded, learner.reason, learner.unit)
        self.on_progress(self._learner.offset)

    def _learn(self) -> None:
        reporter = _Reporter("learning from the log failed")
        while not self._stop.is_set():
            try:
                self._take_over()
                self._wake.clear()
                groups = self.log.read(self._learner.offset, READ_AT_ONCE)
                for group in groups:
                    if self._stop.is_set():
                        return
                    self._apply(group)
                    self._publish()
                reporter.clear()
                if not groups:
                    self._wake.wait(POLL_SECONDS)
            except Exception as error:
                reporter.report(error)
                self._stop.wait(RETRY_SECONDS)

    def _apply(self, group: Group) -> None:
        """Learn from a transaction."""
        if not self._is_writer and any(entry.type == ERASED for entry in group.entries):
            self._reload()  # the writer has erased events that this process has not learned from yet
            if group.last <= self._learner.offset:
                return
        with self._learning:
            is_checkpoint = self._learner.apply(group)
        if self._saver is None:
            return
        if is_checkpoint:
            self._saver.save(copy.copy(self._learner.model), self._learner.offset)
        elif self._learner.reason is not None and any(entry.type == ERASURE for entry in group.entries):
            self.log.erase(self._learner.offset)

    def _reload(self) -> None:
        """Continue from the snapshot if it is ahead of this process."""
        learner = self._learner_of(ModelFile.read(self.path))
        if learner.offset > self._learner.offset:
            self._learner = learner

    def _take_over(self) -> None:
        """Let a new model take over, after it has learned up to the offset of the old one."""
        successor = self._successor
        if successor is None:
            return
        while successor.learner.offset < self._learner.offset:
            successor.learn(self.log)
        self._learner, self._digest, self._loaded = successor.learner, successor.digest, time.time()
        self._publish()
        if self._saver is not None and successor.checkpoint is not None:
            self._saver.save(*successor.checkpoint)  # before events that it has learned from are erased
        self._successor = None
        LOG.info("serving a new model")

    def _watch(self) -> None:
        reporter = _Reporter("the new model file is not served")
        while not self._stop.wait(WATCH_SECONDS):
            try:
                if self._signature_now() != self._signature:
                    self.swap()
                reporter.clear()
            except Exception as error:
                reporter.report(error)


class _Reporter:
    """Logs an error once until it is over, however often what failed is tried again."""

    def __init__(self, what: str) -> None:
        self._what, self._last = what, ""

    def report(self, error: Exception) -> None:
        """Log an error, unless it is the last one."""
        message = _plain(error)
        if message != self._last:
            LOG.error("%s: %s", self._what, message)
        self._last = message

    def clear(self) -> None:
        """Report the next error, because the last one is over."""
        self._last = ""


@dataclass
class _Successor:
    """A model that is about to take over, and its last checkpoint with the offset, if it has reached one."""

    learner: Learner
    digest: str
    checkpoint: tuple[FactorModel, int] | None = None

    def learn(self, log: EventLog) -> None:
        """Learn from the next transactions."""
        for group in log.read(self.learner.offset):
            if self.learner.apply(group):
                self.checkpoint = copy.copy(self.learner.model), self.learner.offset


class _Saver:
    """Writes snapshots in a thread; if several are waiting, only the last one is written."""

    def __init__(self, path: Path, log: EventLog) -> None:
        self._path, self._log = path, log
        self._waiting: tuple[FactorModel, int] | None = None
        self._changed, self._is_stopping = threading.Condition(), False
        self._thread = threading.Thread(target=self._run, name="halfstep-snapshot", daemon=True)
        self._thread.start()

    def save(self, model: FactorModel, offset: int) -> None:
        """Save a model that is not updated any more, then erase the events of the users removed from it."""
        with self._changed:
            self._waiting = model, offset
            self._changed.notify_all()

    def close(self) -> None:
        """Write the waiting snapshot, then stop."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                while self._waiting is None and not self._is_stopping:
                    self._changed.wait()
                if self._waiting is None:
                    return
                (model, offset), self._waiting = self._waiting, None
            try:
                if not _is_later(self._path, model):  # while this process is being replaced by another
                    model.save(self._path)
                self._log.erase(offset)
            except (HalfstepError, OSError) as error:
                LOG.error("the snapshot was not written: %s", _plain(error))


def _is_later(path: Path, model: FactorModel) -> bool:
    """Return whether the model of a file has learned more, from the same log and initial model."""
    try:
        stored = load(path, verify=False)._fitted.origin.learned
    except OSError:
        return False
    own = model._fitted.origin.learned
    assert own is not None
    return stored is not None and (stored.log, stored.base) == (own.log, own.base) and stored.offset > own.offset


def _read_copy(copied: Path, original: Path) -> FactorModel:
    """Return the model of a copied file; errors name the original."""
    try:
        return ModelFile.read(copied).model
    except ModelFileError as error:
        raise ModelFileError(str(error).replace(str(copied), str(original))) from None


def _chunks(path: Path) -> Iterator[memoryview]:
    with path.open("rb") as file:
        while chunk := file.read(READ_BYTES):
            yield memoryview(chunk)


def _plain(error: Exception) -> str:
    """Return the message of an error of halfstep or of a file; only the type of others, which may contain ids."""
    return message_of(error) if isinstance(error, HalfstepError | OSError) else type(error).__name__
