"""Events, and the results and errors of appending them to the log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from halfstep.errors import HalfstepError
from halfstep.serve.ids import Id


class Event(NamedTuple):
    """An interaction that a client reports.

    Attributes
    ----------
    event_id : str
        Chosen by the client, unique for each event. An event that is sent again with the same id counts once.
    user, item : int or str
    value : float or None
        A rating or a number of plays, for example; None counts as 1.
    type : str
        The type of the event, such as "play".
    time : float or None
        When the event happened, in POSIX seconds; None for the time at which the server received it.
    list_id : str or None
        The id of the list of recommendations that led to the event.
    """

    event_id: str
    user: Id
    item: Id
    value: float | None = None
    type: str = "interaction"
    time: float | None = None
    list_id: str | None = None


@dataclass(frozen=True)
class Appended:
    """The result of appending the events of a request.

    Attributes
    ----------
    offsets : list of int
        The offset of each event.
    repeated : list of bool
        Whether each event was already in the log.
    """

    offsets: list[int]
    repeated: list[bool]


class ConflictError(HalfstepError, ValueError):
    """An event has the id of a different event in the log.

    Attributes
    ----------
    index : int
        The position of the event in its request.
    field : str
        A field in which the two events differ.
    """

    def __init__(self, index: int, event_id: str, field: str) -> None:
        self.index, self.event_id, self.field = index, event_id, field
        super().__init__(
            f"the log or this request already has a different event with event_id {event_id!r}, whose {field} "
            "differs: use a new event_id for each event"
        )


class LogUnavailableError(HalfstepError, OSError):
    """The log could not be read or written; only sending events again shows whether they were stored.

    Attributes
    ----------
    is_full : bool
        Whether the disk is full.
    """

    def __init__(self, message: str, *, is_full: bool = False) -> None:
        super().__init__(message)
        self.is_full = is_full


class BusyError(HalfstepError, RuntimeError):
    """The server does not accept events now, because too many are waiting or it is stopping."""
