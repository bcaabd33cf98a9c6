"""The messages of the API, as its OpenAPI document describes them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, TypeAdapter

from halfstep.serve.ids import LONGEST

LARGEST = 1e9  # larger values overflow in the systems of rows, which then fail in all later updates
LATEST = 1e11  # POSIX seconds, in the year 5138; larger numbers are probably milliseconds

AnyId = Annotated[StrictInt | StrictStr, Field(description="An id, of the type of the ids of the model.")]
Text = Annotated[StrictStr, Field(min_length=1, max_length=LONGEST)]
Value = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=-LARGEST, le=LARGEST)]
Seconds = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=0, lt=LATEST)]


class Request(BaseModel):
    """A message from a client; unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class EventMessage(Request):
    """An event."""

    event_id: Annotated[
        Text, Field(description="Unique for each event, such as a UUID. An event that is sent again counts once.")
    ]
    user: AnyId
    item: AnyId
    value: Annotated[Value | None, Field(description="A rating or a number of plays, for example.")] = None
    type: Annotated[Text, Field(pattern=r"^[^$]", description="The type of the event, such as play.")] = "interaction"
    time: Annotated[
        Seconds | Annotated[datetime, Field(strict=True)] | None,
        Field(description="The time of the event: POSIX seconds, or ISO 8601. Default: the time of arrival."),
    ] = None
    list_id: Annotated[Text | None, Field(description="The id of the list that led to the event.")] = None

    def seconds(self) -> float | None:
        """Return the time in POSIX seconds; a time without an offset is in UTC."""
        if not isinstance(self.time, datetime):
            return None if self.time is None else float(self.time)
        return (self.time if self.time.tzinfo else self.time.replace(tzinfo=UTC)).timestamp()


EVENTS: TypeAdapter[EventMessage | list[EventMessage]] = TypeAdapter(EventMessage | list[EventMessage])
ONE_EVENT = TypeAdapter(EventMessage)
MANY_EVENTS = TypeAdapter(list[EventMessage])


class HistoryItem(Request):
    """An interaction of an anonymous visitor."""

    item: AnyId
    value: Value | None = None


class RecommendationsMessage(Request):
    """A request for lists, for users or for a history."""

    users: Annotated[list[AnyId] | None, Field(description="The users, unless a history is given.")] = None
    history: Annotated[list[HistoryItem] | None, Field(description="The interactions of an anonymous visitor.")] = (
        None
    )
    n: Annotated[StrictInt, Field(ge=1)] = 10
    exclude_seen: bool = True
    candidates: Annotated[list[AnyId] | None, Field(description="Restrict the lists to these items.")] = None


RECOMMENDATIONS = TypeAdapter(RecommendationsMessage)


class ModelMessage(Request):
    """A request to serve a new model."""

    path: Annotated[
        Text | None,
        Field(
            description="A file in the folder of the served model, to replace it. Default: the served file itself."
        ),
    ] = None


MODEL = TypeAdapter(ModelMessage)


class ListedItem(BaseModel):
    """An item of a list."""

    item: AnyId
    score: float
    title: str | None = None


class RecommendedList(BaseModel):
    """A list of recommendations."""

    list_id: Annotated[str, Field(description="To send with events that this list leads to.")]
    user: Annotated[AnyId | None, Field(description="Null for a history.")]
    known: Annotated[
        bool,
        Field(
            description="Whether the user, or an item of the history, is in the model. If not, the list is the one "
            "for unknown users."
        ),
    ]
    items: list[ListedItem]


class RecommendedLists(BaseModel):
    """Lists of recommendations."""

    lists: list[RecommendedList]


class SimilarItemsMessage(BaseModel):
    """Similar items."""

    item: AnyId
    title: str | None = None
    items: list[ListedItem]


class Reason(BaseModel):
    """An interaction that contributes to a score."""

    item: AnyId
    title: str | None = None
    value: float
    contribution: float


class ExplanationMessage(BaseModel):
    """The score of an item for a user as a sum."""

    user: AnyId
    item: AnyId
    title: str | None = None
    score: float
    baseline: float
    because: list[Reason]


class StoredEvent(BaseModel):
    """The result of storing an event."""

    event_id: str
    offset: int
    status: Literal["stored", "repeated"]


class StoredEvents(BaseModel):
    """The response to events, which are on disk."""

    offset: Annotated[
        int,
        Field(description="The offset of the last event. With after=OFFSET, requests wait until it is learned."),
    ]
    events: list[StoredEvent]


class ErasureMessage(BaseModel):
    """The response to a request to erase a user."""

    offset: int


class UserInteraction(BaseModel):
    """An interaction of a user."""

    item: AnyId
    title: str | None = None
    value: float | None
    time: float | None


class HistoryMessage(BaseModel):
    """The interactions of a user, most recent first."""

    user: AnyId
    count: int
    items: list[UserInteraction]


class FoundItem(BaseModel):
    """An item that matches a search."""

    item: AnyId
    title: str | None = None


class FoundItems(BaseModel):
    """Items that match a search, most popular first."""

    items: list[FoundItem]


class FoundUsers(BaseModel):
    """Users that match a search."""

    users: list[AnyId]


class ModelDescription(BaseModel):
    """The served model."""

    description: str
    users: int
    items: int
    rank: int
    user_ids: Literal["integer", "string"]
    item_ids: Literal["integer", "string"]
    values: Annotated[Literal["needed", "optional"], Field(description="Whether events need a value.")]
    digest: Annotated[str, Field(description="SHA-256 of the model file.")]
    fitted: datetime | None
    loaded: datetime
    offset: Annotated[int, Field(description="The offset up to which the model has learned.")]
    lag: Annotated[int, Field(description="Number of events that the model has not learned from yet.")]
    learns: bool
    reason: Annotated[str | None, Field(description="Why the model does not learn from events.")]
    refused_events: int
    last_error: Annotated[str | None, Field(description="Why a new model file is not served.")]


class MinuteMessage(BaseModel):
    """Statistics of one minute."""

    time: Annotated[int, Field(description="The start of the minute, in POSIX seconds.")]
    events: int
    lists: int
    hits: Annotated[int, Field(description="Lists that led to their first event.")]


class StatisticsMessage(BaseModel):
    """Statistics of the last minutes."""

    minutes: list[MinuteMessage]


class Health(BaseModel):
    """The state of the server."""

    status: Literal["ok", "behind", "stopping"]
    lag: int = 0


class FieldProblem(BaseModel):
    """What is wrong with a field."""

    field: str
    value: str
    message: str


class Problem(BaseModel):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldProblem] = []
