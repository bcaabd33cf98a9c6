"""Validation of request bodies and ids."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import unquote

from fastapi import Request
from pydantic import TypeAdapter, ValidationError

from halfstep.errors import DataError
from halfstep.serve.event import Event
from halfstep.serve.ids import Id, IdType, checked_id, checked_text, parse_id, short
from halfstep.serve.messages import LATEST, MANY_EVENTS, ONE_EVENT, EventMessage
from halfstep.serve.problem import FieldError, ProblemError, of_field

T = TypeVar("T")
SHOWN = 20  # errors in a response


async def read_body(request: Request, kind: TypeAdapter[T]) -> T:
    """Return the body of a request.

    Raises
    ------
    ProblemError
        If the body is not a message of this kind.
    """
    return parse(await request.body(), kind)


def parse(body: bytes, kind: TypeAdapter[T], prefix: str = "") -> T:
    """Return JSON as a message of this kind."""
    try:
        return kind.validate_json(body)
    except ValidationError as error:
        raise _problem(error, prefix) from None
    except (ValueError, RecursionError):
        raise ProblemError(400, "the body is not valid JSON") from None


def parse_events(body: bytes, limit: int) -> list[EventMessage]:
    """Return one or many events."""
    if not body.lstrip(b" \t\r\n").startswith(b"["):
        return [parse(body, ONE_EVENT)]
    events = parse(body, MANY_EVENTS, "events")
    if len(events) > limit:
        raise of_field("events", str(len(events)), f"{len(events):,} events are too many: send at most {limit:,}")
    if not events:
        raise of_field("events", "[]", "the array is empty: send at least one event")
    return events


def as_event(message: EventMessage, kinds: tuple[IdType, IdType], prefix: str) -> Event:
    """Return an event, with ids of the types of the model."""
    return Event(
        event_id=text(message.event_id, f"{prefix}event_id"),
        user=body_id(message.user, kinds[0], "user", f"{prefix}user"),
        item=body_id(message.item, kinds[1], "item", f"{prefix}item"),
        value=message.value,
        type=text(message.type, f"{prefix}type"),
        time=event_time(message, f"{prefix}time"),
        list_id=None if message.list_id is None else text(message.list_id, f"{prefix}list_id"),
    )


def event_time(message: EventMessage, field: str) -> float | None:
    """Return the time of an event in POSIX seconds."""
    seconds = message.seconds()
    if seconds is not None and not 0 <= seconds < LATEST:
        last = datetime.fromtimestamp(LATEST, UTC).year
        raise of_field(field, short(str(message.time)), f"the time is out of range: send a time from 1970 to {last}")
    return seconds


def body_id(value: object, kind: IdType, name: str, field: str) -> Id:
    """Return an id from a body."""
    try:
        return checked_id(value, kind, name)
    except DataError as error:
        raise of_field(field, short(value), str(error)) from None


def path_id(segment: str, kind: IdType, name: str) -> Id:
    """Return an id from a segment of a path, which is percent-encoded."""
    return query_id(unquote(segment), kind, name)


def query_id(value: str, kind: IdType, name: str, field: str | None = None) -> Id:
    """Return an id from a parameter of a URL, which is named like the id by default."""
    try:
        return parse_id(value, kind, name)
    except DataError as error:
        raise of_field(field or name, short(value), str(error)) from None


def text(value: str, field: str) -> str:
    """Check that a string can be stored, and return it."""
    try:
        return checked_text(value, field.rsplit(".", 1)[-1])
    except DataError as error:
        raise of_field(field, short(value), str(error)) from None


def query_errors(errors: Any) -> ProblemError:
    """Return the error about parameters of a URL."""
    return _of_errors([(error["loc"][-1:], error.get("input"), error["msg"]) for error in errors], "")


def _problem(error: ValidationError, prefix: str) -> ProblemError:
    errors = error.errors(include_url=False, include_context=False)
    if errors[0]["type"] == "json_invalid":
        return ProblemError(400, f"the body is not valid JSON ({errors[0]['msg'].removeprefix('Invalid JSON: ')})")
    return _of_errors([(each["loc"], each["input"], each["msg"]) for each in errors], prefix)


def _of_errors(errors: list[tuple[tuple[int | str, ...], Any, str]], prefix: str) -> ProblemError:
    found: dict[str, FieldError] = {}
    for location, value, message in errors:
        parts = [part for part in location if part not in ("int", "str", "float", "datetime")]
        field = prefix + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
        field = field.lstrip(".").split("constrained-")[0].rstrip(".") or "body"
        said = message[0].lower() + message[1:]
        if field in found:  # of a field with several types
            said = f"{found[field].message} or {said.removeprefix('input should be ')}"
        found[field] = FieldError(field[:200], _short_json(value), said)
    first, *others = found.values()
    value = f", not {first.value}" if "should" in first.message else ""
    more = f" ({len(others)} more error{'s' if len(others) > 1 else ''})" if others else ""
    return ProblemError(422, f"{first.field}: {first.message}{value}{more}", [first, *others][:SHOWN])


def _short_json(value: Any) -> str:
    try:
        shown = json.dumps(value, ensure_ascii=True)
    except (TypeError, ValueError, RecursionError):
        shown = type(value).__name__
    return shown if len(shown) <= 60 else shown[:57] + "..."
