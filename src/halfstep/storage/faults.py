"""What is wrong with a file, said by those who see it and do not know its name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from halfstep.errors import ModelFileError

LONGEST_ENTRY = 1 << 20  # characters of JSON
REMEDY = "take it from a backup, or fit and save the model again"


class Fault(Exception):  # noqa: N818 - of the file; callers see a ModelFileError
    """A file is unusable; the message goes on after its name: "is empty: ..."."""


def corrupted(what: str) -> Fault:
    """The fault of a file that was a model's once."""
    return Fault(f"is corrupted: {what}; {REMEDY}")


def has_drift() -> Fault:
    """Return the fault of a file of a model whose biases change with time."""
    return Fault("contains drifting biases, which are no longer supported: fit a model without them, and save it")


@contextmanager
def naming_the_file(path: Path) -> Iterator[None]:
    """Turn a fault into the error that callers know, with the name of the file."""
    try:
        yield
    except RecursionError as error:
        raise ModelFileError(f"{path} {corrupted('it is nested too deeply')}") from error
    except Fault as fault:
        raise ModelFileError(f"{path} {fault}") from fault


def parse_json(text: str | bytes, what: str) -> Any:
    """Parse JSON that nobody vouches for.

    Raises
    ------
    Fault
        If it is no JSON, names something twice, or is nested too deeply.
    """
    try:
        return json.loads(text, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:
        raise corrupted(f"{what} cannot be parsed ({error})") from error


def entries_of_json(text: str) -> Iterator[Any]:
    """Parse a list one element at a time, since a whole parsed list takes up to 30 times the memory of the text.

    Raises
    ------
    ValueError
        If the text is not a list as `json.dumps` writes it without spaces, or an element exceeds `LONGEST_ENTRY`.
    """
    if len(text) < 2 or text[0] != "[" or text[-1] != "]":
        raise ValueError("it is no list")
    begin, end = 1, len(text) - 1
    while begin < end:
        part = text[begin : min(begin + LONGEST_ENTRY, end)]
        is_last, at = begin + len(part) == end, 0
        while at < len(part):
            try:
                entry, stop = _DECODER.raw_decode(part, at)
            except ValueError:
                if at == 0 or is_last:
                    raise
                break  # it continues in the next part
            if stop == len(part) and not is_last:  # a number may continue in the next part
                if at == 0:
                    raise ValueError(f"an entry is longer than {LONGEST_ENTRY:,} characters")
                break
            if stop < len(part) and part[stop] != ",":
                if at == 0 or is_last:
                    raise ValueError(f"no comma at character {begin + stop:,}")
                break  # a number that is cut after its point or exponent sign, such as "1.", or an error
            yield entry
            at = stop + 1
        begin += at


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        raise ValueError("a name occurs twice")
    return entries


_DECODER = json.JSONDecoder(object_pairs_hook=_without_repeats)
