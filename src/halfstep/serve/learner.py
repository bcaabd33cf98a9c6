"""Online learning from the event log, deterministic in the order of its transactions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from halfstep.errors import DataError, NumericalError, ParameterError
from halfstep.models.baselines import GlobalMean, ItemBias, UserItemBias
from halfstep.models.factor_model import FactorModel
from halfstep.models.incremental_model import IncrementalModel
from halfstep.models.origin import Learned, Origin
from halfstep.models.sgd import SGD
from halfstep.serve.config import CHECKPOINT_EVERY
from halfstep.serve.conversion import Conversion, Timestamps
from halfstep.serve.event_log import ERASED, Entry, EventLog, Group
from halfstep.serve.ids import Id, IdType, parse_id
from halfstep.serve.messages import LARGEST
from halfstep.serve.schema import ERASURE

M = TypeVar("M", bound=FactorModel)
_USING_VALUES = (GlobalMean, ItemBias, UserItemBias, SGD)  # models without an objective
SCALE = 1_000  # ratio of values of events to training values, above which systems may be ill-conditioned


@dataclass(frozen=True)
class LearningSettings:
    """How a model learns from events.

    Attributes
    ----------
    duplicates : {"last", "sum"}
        Whether the value of a repeated interaction replaces the old one, or is added to it.
    types : tuple of str, or None
        The types of events to learn from; all if None.
    checkpoint_every : int
        Number of events after which the model continues in the state after saving and loading it.
    """

    duplicates: Literal["last", "sum"]
    types: tuple[str, ...] | None = None
    checkpoint_every: int = CHECKPOINT_EVERY

    @classmethod
    def of_model(
        cls,
        model: FactorModel,
        duplicates: Literal["last", "sum"] | None = None,
        types: Sequence[str] = (),
        checkpoint_every: int = CHECKPOINT_EVERY,
    ) -> LearningSettings:
        """Return the settings for a model; by default, counts are added and ratings are replaced."""
        if duplicates is None:
            duplicates = "sum" if _counts(model) else "last"
        return cls(duplicates, tuple(sorted(set(types))) or None, checkpoint_every)

    def learns(self, entry: Entry) -> bool:
        """Return whether to learn from an event."""
        return entry.type != ERASED and (self.types is None or entry.type in self.types)

    def base_of(self, digest: str) -> str:
        """Return `Learned.base` of a model that starts from the model file with this digest."""
        text = json.dumps([digest, asdict(self)])
        return hashlib.sha256(text.encode()).hexdigest()


class Learner:
    """A model that learns from a log.

    The state after each transaction is a function of the initial model, the settings, and the log up to this
    transaction. It is bitwise identical whether the learner started with the initial model or with a snapshot. To
    achieve this, the model is replaced by `IncrementalModel.as_saved` at offsets that depend only on the log.

    Parameters
    ----------
    base : str
        See `halfstep.models.origin.Learned`.
    offset : int
        The offset up to which the model has learned from this log.

    Attributes
    ----------
    model : FactorModel
        Replaced at checkpoints; otherwise updated in place.
    offset : int
    settings : LearningSettings
    refused : int
        The number of events that the model could not learn from.
    reason : str or None
        Why the model does not learn; None if it does.
    largest_value : float
        The largest absolute value that an event may have.
    """

    def __init__(self, model: FactorModel, log: EventLog, settings: LearningSettings, base: str, offset: int) -> None:
        self.model, self.offset, self.refused = model, offset, 0
        self._log, self._base, self.settings = log, base, settings
        self._conversion = Conversion.of(model, settings.duplicates)
        self.reason = why_not_learning(model)
        self.largest_value = largest_value(model, settings.duplicates)
        self._updated = model._fitted.origin.updated

    @property
    def id_types(self) -> tuple[IdType, IdType]:
        """The types of user ids and of item ids."""
        return self._conversion.user_ids, self._conversion.item_ids

    @property
    def unit(self) -> Timestamps | None:
        """The unit of the timestamps of the model; None if it has none."""
        return self._conversion.times

    @property
    def origin(self) -> Origin:
        """The origin of the current model."""
        learned = Learned(self._log.id, self.offset, self._base)
        return replace(self.model._fitted.origin, updated=self._updated, learned=learned)

    def apply(self, group: Group) -> bool:
        """Learn from the next transaction, and return whether the model is at a checkpoint."""
        before = self.offset
        if self.reason is not None:
            self.offset = group.last
            return False
        erasures = [entry for entry in group.entries if entry.type == ERASURE]
        events = [entry for entry in group.entries if entry.type != ERASURE and self.settings.learns(entry)]
        if needs_values(self.model, self.settings.duplicates):
            self.refused += sum(entry.value is None for entry in events)
            events = [entry for entry in events if entry.value is not None]
        if events:
            self._learn(events)
        for entry in erasures:
            self._erase(entry)
        if events or erasures:
            self._updated = datetime.fromtimestamp(int(group.entries[-1].received), UTC)
        self.offset = group.last
        every = self.settings.checkpoint_every
        if not erasures and before // every == self.offset // every:
            return False
        assert isinstance(self.model, IncrementalModel)
        self.model = self.model.as_saved(self.origin)
        warm(self.model)
        return True

    def save(self, path: Path) -> None:
        """Write the current model, with its offset."""
        save(self.model, self.origin, path)

    def _learn(self, events: Sequence[Entry]) -> None:
        """Learn from events in one update; if it is refused, one by one, skipping those that are refused."""
        assert isinstance(self.model, IncrementalModel)
        try:
            self.model.partial_fit(self._conversion.interactions(events), duplicates=self.settings.duplicates)
        except NumericalError:  # the other rows are updated
            self.refused += 1
        except DataError:
            if len(events) == 1:
                self.refused += 1
                return
            for each in events:
                self._learn([each])

    def _erase(self, entry: Entry) -> None:
        assert isinstance(self.model, IncrementalModel)
        users = self.model.users_
        if entry.user is not None:
            user = parse_id(entry.user, self._conversion.user_ids, "user")
            found: Iterable[Id] = [user] if user in users else []
        else:  # the id was erased from the log
            found = [user for user in users.ids.tolist() if self._log.digest(str(user)) == entry.item]
        for user in found:
            try:
                self.model.remove_users([user])
            except NumericalError:
                self.refused += 1


def why_not_learning(model: FactorModel) -> str | None:
    """Return the reason why a model does not support incremental updates; None if it does."""
    if not isinstance(model, IncrementalModel):
        return f"{type(model).__name__} does not support incremental updates"
    try:
        model._check_updates()
    except (DataError, ParameterError) as error:
        return str(error)
    return None


def needs_values(model: FactorModel, duplicates: str) -> bool:
    """Return whether the model learns only from events with values, such as ratings."""
    objective = getattr(model, "_objective", None)
    uses_values = isinstance(model, _USING_VALUES) if objective is None else objective.uses_values
    if not uses_values or model._fitted.values_are == "one":
        return False
    counts = model._fitted.values_are == "counted" or (objective is not None and objective.counts_events)
    return not (counts and duplicates != "last")


def largest_value(model: FactorModel, duplicates: str) -> float:
    """Return the largest absolute value of an event that a model can learn.

    A rating on a different scale does more than make the model inaccurate: the systems of affected rows may become so
    ill-conditioned that all later updates of these rows fail. Counts are weights, for which solutions are bounded.
    """
    data = model.interactions_
    if data is None or len(data) == 0 or not needs_values(model, duplicates):
        return LARGEST
    largest = float(np.abs(data.values).max())
    return min(LARGEST, SCALE * largest) if largest else LARGEST


def position_in(log: EventLog, model: FactorModel) -> int:
    """Return the offset up to which a model has learned from a log.

    Raises
    ------
    DataError
        If the log ends before this offset, so that the model would skip new events.
    """
    learned = model._fitted.origin.learned
    if learned is None or learned.log != log.id:
        return 0
    if learned.offset > log.last:
        raise DataError(
            f"the model has learned up to event {learned.offset:,} of this log, which has only {log.last:,}: restore "
            "a later backup of the log, or serve the model with a new log"
        )
    return learned.offset


def with_learned(model: M, learned: Learned) -> M:
    """Record in a fitted model what it has learned from a log."""
    fitted = model._fitted
    model._set_result(replace(fitted, origin=replace(fitted.origin, learned=learned)))
    return model


def save(model: FactorModel, origin: Origin, path: Path) -> None:
    """Write a model with this origin."""
    (model.as_saved(origin) if isinstance(model, IncrementalModel) else model).save(path)


def warm(model: FactorModel) -> None:
    """Compile kernels and fill caches, so that the first request is as fast as later ones."""
    if len(model.users_) and len(model.items_):
        model.recommend([model.users_[0]], 1, exclude_seen=model.interactions_ is not None, threads=1)
        if model.item_factors_.shape[1]:
            model.similar_items([model.items_[0]], 1, threads=1)


def _counts(model: FactorModel) -> bool:
    """Return whether values are counts of events."""
    values_are = model._fitted.values_are
    objective = getattr(model, "_objective", None)
    return values_are == "counted" or (values_are == "given" and objective is not None and objective.counts_events)
