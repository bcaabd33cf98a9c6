"""Refits: a model is fitted again, to its training data and the events of the log."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from halfstep.data import GrowableInteractions, Interactions
from halfstep.data.split_parts import without_users
from halfstep.errors import DataError, ParameterError
from halfstep.models.factor_model import FactorModel
from halfstep.models.origin import Learned
from halfstep.serve.conversion import Conversion
from halfstep.serve.event_log import Entry, EventLog
from halfstep.serve.ids import IdType
from halfstep.serve.learner import LearningSettings, needs_values, position_in, with_learned
from halfstep.serve.schema import ERASURE

READ_AT_ONCE = 50_000


@dataclass(frozen=True)
class RefitData:
    """The data to fit a model to.

    Attributes
    ----------
    data : Interactions
    offset : int
        The offset of the last event in the data.
    events : int
        The number of events that were added to the data of the model.
    erased_users : int
        The number of users who were removed from the data because their erasure was requested.
    ignored : int
        The number of events without a value, if the model needs values.
    """

    data: Interactions
    offset: int
    events: int
    erased_users: int
    ignored: int


def data_of(model: FactorModel, log: EventLog, settings: LearningSettings) -> RefitData:
    """Return the training data of a model and all later events of a log."""
    if model.interactions_ is None:
        raise DataError("the model was saved without its interactions, which a refit requires: save it with them")
    if _has_side_information(model):
        raise DataError(
            "the model was fitted with side information, which its file does not contain: fit it again in Python, "
            "with the side information"
        )
    conversion = Conversion.of(model, settings.duplicates)
    check_id_types(log, (conversion.user_ids, conversion.item_ids))
    data = GrowableInteractions.of(model.interactions_)
    offset, events, erased = position_in(log, model), 0, 0
    waiting: list[Entry] = []
    needs = needs_values(model, settings.duplicates)
    ignored = 0

    def added() -> GrowableInteractions:
        return data.added(conversion.interactions(waiting), settings.duplicates).data if waiting else data

    while groups := log.read(offset, READ_AT_ONCE):
        for entry in (entry for group in groups for entry in group.entries):
            if entry.type == ERASURE:
                data, waiting = added(), []
                users = data.users.ids.tolist()
                gone = [position for position, user in enumerate(users) if log.digest(str(user)) == entry.item]
                if gone:
                    data = GrowableInteractions.of(without_users(data.interactions, np.array(gone)))
                    erased += len(gone)
            elif settings.learns(entry) and needs and entry.value is None:
                ignored += 1
            elif settings.learns(entry):
                waiting.append(entry)
                events += 1
        data, waiting = added(), []
        offset = groups[-1].last
    return RefitData(data.interactions, offset, events, erased, ignored)


def _has_side_information(model: FactorModel) -> bool:
    """Return whether features were given to the fit, as far as a fitted model shows it."""
    fitted, parameters = model._fitted, model.get_params(deep=False)
    of_users = fitted.user_features is not None and fitted.user_features.columns != ()
    return of_users or (fitted.coefficients is not None and not parameters["implicit_features"])


def check_id_types(log: EventLog, id_types: tuple[IdType, IdType]) -> None:
    """Raise an error if the ids of a log and those of a model have different types."""
    for name, kind in zip(("user_ids", "item_ids"), id_types, strict=True):
        stored = log.get_setting(name)
        if stored not in (None, kind):
            raise DataError(
                f"the {name.replace('_', ' ')} in the event log are of type {stored}, but those of the model are of "
                f"type {kind}: use the log of this model, or a new one"
            )


def new_estimator(model: FactorModel) -> Any:
    """Return an unfitted model with the same parameters."""
    return type(model)(**model.get_params(deep=False))


def save_refitted(model: FactorModel, log: EventLog, offset: int, path: Path) -> None:
    """Save a model that was fitted to all events up to an offset."""
    with_learned(model, Learned(log.id, offset)).save(path)


def model_of(log: EventLog) -> Path:
    """Return the model file that was last served with a log.

    Raises
    ------
    ParameterError
        If no model was served with the log.
    """
    path = log.get_setting("model")
    if path is None:
        raise ParameterError("the event log does not name a model, because no model was served with it: give --model")
    return Path(path)
