"""Detection of the format of timestamps in text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import product

from halfstep.data.files.duckdb_engine import Engine, EngineError, literal
from halfstep.errors import ParameterError

_DATES = (
    "%d %b %Y", "%d %B %Y", "%d-%b-%Y", "%d/%b/%Y", "%b %d %Y", "%b %d, %Y", "%B %d %Y", "%B %d, %Y", "%a %d %b %Y",
    "%a, %d %b %Y", "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%d.%m.%Y",
    "%d/%m/%y", "%m/%d/%y", "%d.%m.%y", "%d-%m-%y", "%m-%d-%y", "%y-%m-%d",
)  # fmt: skip
_TIMES = ("%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%I:%M %p", "%I:%M:%S %p", "%I:%M%p", "%I:%M:%S%p")
_JOINS = (" ", ", ", "T", ":")
_ZONES = ("", " %z", "%z")
_UTC = (" UTC", " GMT", "Z")  # suffixes
_OTHERS = (
    "%a %b %d %H:%M:%S %Y", "%a %b %d %H:%M:%S %z %Y", "%a %b %d %H:%M:%S UTC %Y", "%Y%m%dT%H%M%S", "%Y%m%dT%H%M%S%z",
    "%Y%m%dT%H%M%SZ", "%Y%m%d %H:%M:%S", "%Y%m%d %H%M%S",
)  # fmt: skip


@dataclass(frozen=True)
class Reading:
    """A format of timestamps.

    Attributes
    ----------
    name : str
        Its name in errors.
    expression : str
        The SQL expression of microseconds since 1970 in UTC from the column ``{x}``; NULL for other formats.
    """

    name: str
    expression: str


NUMBERS = Reading("numbers", "")
_SHORT_YEAR = re.compile(r"\s*\d{1,3}-")  # DuckDB reads it literally
ISO = Reading("ISO 8601", "epoch_us(TRY_CAST({x} AS TIMESTAMPTZ))")


def readings_of(engine: Engine, sample: Sequence[str], timestamp_format: str | None) -> list[Reading]:
    """Return the formats that match most of a sample of a column.

    Raises
    ------
    ParameterError
        If `timestamp_format` is not a valid format.
    """
    if timestamp_format is not None:
        try:
            engine.rows("SELECT try_strptime('', ?)", [timestamp_format])
        except EngineError:
            raise ParameterError(
                f"timestamp_format={timestamp_format!r} is not a valid format: give one in the codes of "
                "strptime, such as '%d/%m/%Y %H:%M'"
            ) from None
        return [_of_format(timestamp_format)]
    if not sample or _count(engine, "TRY_CAST(x AS DOUBLE)", sample[:1]):
        return [NUMBERS]
    short = any(map(_SHORT_YEAR.match, sample))
    if not short and _count(engine, ISO.expression.format(x="x"), sample[:1]):
        return [ISO]
    end = next((each for each in _UTC if sample[0].endswith(each)), None)
    dates = [each for each in _DATES if _matches(sample[0], each, start=True)]  # strptime is slow for new patterns
    composed = map("".join, product(dates, _JOINS, _TIMES, _ZONES if end is None else (end,)))
    readings = [_of_format(each) for each in (*_DATES, *_OTHERS, *composed) if _matches(sample[0], each)]
    counts = [_count(engine, each.expression.format(x="x"), sample) for each in readings]
    return [each for each, count in zip(readings, counts, strict=True) if 0 < count == max(counts)] or [ISO]


def _matches(text: str, pattern: str, *, start: bool = False) -> bool:
    """Whether a pattern matches a text, or its start."""
    try:
        datetime.strptime(text.strip(), pattern)
    except ValueError as error:
        return start and str(error).startswith("unconverted data remains")
    return True


def _of_format(pattern: str) -> Reading:
    escaped = literal(pattern).replace("{", "{{").replace("}", "}}")
    return Reading(repr(pattern), f"epoch_us(try_strptime({{x}}, {escaped}))")


def _count(engine: Engine, expression: str, sample: Sequence[str]) -> int:
    """Count the strings for which an expression is not NULL."""
    query = f"SELECT count({expression}) FROM (SELECT unnest(?::VARCHAR[]) AS x)"
    return int(engine.rows(query, [list(sample)])[0][0])
