"""Conversion of events in the log to interactions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from halfstep.data import Interactions, Vocabulary
from halfstep.models.factor_model import FactorModel
from halfstep.serve.event_log import Entry
from halfstep.serve.ids import Id, IdType, id_type, parse_id

_SECONDS_BELOW = 1e11  # larger numeric timestamps are in milliseconds or finer units


@dataclass(frozen=True)
class Timestamps:
    """The data type and the unit of the timestamps of a model.

    Attributes
    ----------
    dtype : numpy.dtype
    per_second : float
        Number of units in a second, such as 1000 for milliseconds.
    """

    dtype: np.dtype[Any]
    per_second: float

    @classmethod
    def like(cls, times: NDArray[Any]) -> Self:
        """Return the data type and the unit of timestamps; the unit of numbers is inferred from their size."""
        if times.dtype.kind == "M":
            return cls(times.dtype, 1e6)
        largest = float(np.abs(times).max(initial=0))
        scale = 1.0
        while largest >= _SECONDS_BELOW * scale and scale < 1e9:
            scale *= 1e3
        return cls(times.dtype, scale)

    def of_seconds(self, seconds: NDArray[np.float64]) -> NDArray[Any]:
        """Convert POSIX seconds; times that the data type cannot represent become the last one that it can."""
        scaled = seconds * self.per_second
        if self.dtype.kind in "iu":
            scaled = np.minimum(scaled, np.nextafter(float(np.iinfo(self.dtype).max), 0.0))
        if self.dtype.kind == "M":
            return np.round(scaled).astype(np.int64).view("datetime64[us]").astype(self.dtype)
        return scaled.astype(self.dtype)

    def seconds(self, times: NDArray[Any]) -> NDArray[np.float64]:
        """Convert timestamps to POSIX seconds."""
        if self.dtype.kind == "M":
            return times.astype("datetime64[us]").astype(np.int64) / self.per_second
        return times / self.per_second


@dataclass(frozen=True)
class Conversion:
    """Converts events to interactions with the types of ids and timestamps of a model.

    Attributes
    ----------
    user_ids, item_ids : {"integer", "string"}
    times : Timestamps or None
        None if the interactions of the model have no timestamps.
    duplicates : {"last", "sum"}
        How events of the same user and item are combined.
    """

    user_ids: IdType
    item_ids: IdType
    times: Timestamps | None
    duplicates: Literal["last", "sum"]

    @classmethod
    def of(cls, model: FactorModel, duplicates: Literal["last", "sum"]) -> Self:
        """Return the conversion for a model.

        Raises
        ------
        ParameterError
            If the ids of the model are neither integers nor strings.
        """
        times = None if model.interactions_ is None else model.interactions_.timestamps
        return cls(
            id_type(model.users_, "user"),
            id_type(model.items_, "item"),
            None if times is None else Timestamps.like(times),
            duplicates,
        )

    def interactions(self, events: Sequence[Entry]) -> Interactions:
        """Convert events to interactions, one for each user and item that occur together."""
        cells: dict[tuple[Id, Id], tuple[float, float]] = {}
        for each in events:
            assert each.user is not None
            assert each.item is not None
            cell = parse_id(each.user, self.user_ids, "user"), parse_id(each.item, self.item_ids, "item")
            value = 1.0 if each.value is None else each.value
            if self.duplicates == "sum" and cell in cells:
                value += cells[cell][0]
            cells[cell] = value, each.received if each.time is None else each.time
        users, user_positions = Vocabulary.encode([user for user, _ in cells], name="user id")
        items, item_positions = Vocabulary.encode([item for _, item in cells], name="item id")
        times = None
        if self.times is not None:
            times = self.times.of_seconds(np.array([time for _, time in cells.values()]))
        return Interactions(
            users=users,
            items=items,
            user_positions=user_positions,
            item_positions=item_positions,
            values=np.array([value for value, _ in cells.values()]),
            timestamps=times,
            has_values=any(each.value is not None for each in events),
        )
