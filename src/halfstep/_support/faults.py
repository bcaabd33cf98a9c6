"""Errors in model files, raised by code that does not know the name of the file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from halfstep.errors import ModelFileError

LONGEST_ELEMENT = 1 << 20  # characters of JSON
REMEDY = "take it from a backup, or fit and save the model again"


class Fault(Exception):  # noqa: N818 - converted to ModelFileError
    """A file is invalid; the message continues after the name of the file, such as "is empty: ..."."""


def corrupted(what: str) -> Fault:
    """Return the fault of a corrupted model file."""
    return Fault(f"is corrupted: {what}; {REMEDY}")


def has_drift() -> Fault:
    """Return the fault of a file of a model whose biases change with time."""
    return Fault("contains drifting biases, which are no longer supported: fit a model without them, and save it")


@contextmanager
def naming_the_file(path: Path) -> Iterator[None]:
    """Convert a fault to a ModelFileError with the name of the file."""
    try:
        yield
    except RecursionError as error:
        raise ModelFileError(f"{path} {corrupted('it is nested too deeply')}") from error
    except Fault as fault:
        raise ModelFileError(f"{path} {fault}") from fault


def parse_json(text: str | bytes, what: str) -> Any:
    """Parse untrusted JSON.

    Raises
    ------
    Fault
        If it is not JSON, has repeated names, or is nested too deeply.
    """
    try:
        return json.loads(text, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:
        raise corrupted(f"{what} cannot be parsed ({error})") from error


def elements_of_json(text: str) -> Iterator[Any]:
    """Parse a list one element at a time, since a parsed list takes up to 30 times the memory of the text."""
    if len(text) < 2 or text[0] != "[" or text[-1] != "]":
        raise ValueError("it is not a list")
    begin, end = 1, len(text) - 1
    while begin < end:
        part = text[begin : min(begin + LONGEST_ELEMENT, end)]
        is_last, at = begin + len(part) == end, 0
        while at < len(part):
            try:
                element, stop = _DECODER.raw_decode(part, at)
            except ValueError:
                if at == 0 or is_last:
                    raise
                break  # the element continues in the next part
            if stop == len(part) and not is_last:  # a number may continue in the next part
                if at == 0:
                    raise ValueError(f"an element is longer than {LONGEST_ELEMENT:,} characters")
                break
            if stop < len(part) and part[stop] != ",":
                if at == 0 or is_last:
                    raise ValueError(f"no comma at character {begin + stop:,}")
                break  # an error, or a number that is split, such as "1."
            yield element
            at = stop + 1
        begin += at


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    by_name = dict(pairs)
    if len(by_name) < len(pairs):
        raise ValueError("a name is repeated")
    return by_name


_DECODER = json.JSONDecoder(object_pairs_hook=_without_repeats)
