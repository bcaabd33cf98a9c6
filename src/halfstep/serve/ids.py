"""Conversion of ids in URLs, JSON and the log to the type of the ids of a model."""

from __future__ import annotations

import re
from typing import Literal

from halfstep.data import Vocabulary
from halfstep.errors import DataError, ParameterError

IdType = Literal["integer", "string"]
Id = int | str

LONGEST = 512  # characters of an id, a type, an event_id or a list_id
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,38}")  # canonical, so that 007 is not read as 7
_CONTROL = re.compile("[\x00-\x1f\x7f]")


def id_type(vocabulary: Vocabulary, name: str) -> IdType:
    """Return the type of the ids of a model to serve.

    Parameters
    ----------
    name : str
        What the ids identify, "user" or "item".
    """
    kinds = {type(each) for each in vocabulary.ids.tolist()}
    if kinds <= {int}:
        return "integer"
    if kinds == {str}:
        return "string"
    listed = ", ".join(sorted(kind.__name__ for kind in kinds))
    raise ParameterError(
        f"the {name} ids of this model are of type {listed}, which a URL cannot represent: convert them to "
        "strings or integers before fitting"
    )


def parse_id(text: str, kind: IdType, name: str) -> Id:
    """Return the id that a string in a URL or in the log represents."""
    if kind == "string":
        return checked_text(text, name)
    if _INTEGER.fullmatch(text) is None:
        raise DataError(f"{name} {short(text)} is not an integer, but the {name} ids of this model are integers")
    return int(text)


def checked_id(value: object, kind: IdType, name: str) -> Id:
    """Check an id from JSON, and return it."""
    if kind == "integer":
        if isinstance(value, int) and not isinstance(value, bool) and len(str(value)) <= 39:
            return value
        raise DataError(f"{name} {short(value)} is not an integer, but the {name} ids of this model are integers")
    if isinstance(value, str):
        return checked_text(value, name)
    raise DataError(f"{name} {short(value)} is not a string, but the {name} ids of this model are strings")


def checked_text(text: str, name: str) -> str:
    """Check that all databases can store a string, and return it."""
    if not text:
        raise DataError(f"{name} is empty: give an id")
    if len(text) > LONGEST:
        raise DataError(f"{name} has {len(text):,} characters: give at most {LONGEST}")
    if _CONTROL.search(text):
        raise DataError(f"{name} {short(text)} has control characters: remove them")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{name} has a lone surrogate, which is not a character: remove it") from error
    return text


def short(value: object) -> str:
    """Return a short, printable form of a value for an error."""
    text = ascii(value) if isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
