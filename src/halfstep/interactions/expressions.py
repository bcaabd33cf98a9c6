"""What the columns of a file are in SQL, by their types in the file, and what ids they make."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from halfstep.errors import DataError
from halfstep.interactions.instants import NUMBERS, Reading
from halfstep.interactions.vocabulary import Vocabulary

TEXT = "text"
"""The type of a column of a text file, in which everything is text."""
JSON = "JSON"
REAL = "real"
"""The type of a column of a text file that is read as numbers, which fails where one is none."""

_SMALL_INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER")
_LARGE_INTEGERS = ("UBIGINT", "HUGEINT", "UHUGEINT")
_REALS = ("FLOAT", "DOUBLE")
_STRINGS = ("VARCHAR", "BLOB")
_INSTANTS = ("TIMESTAMP", "DATE")


def base_of(kind: str) -> str:
    """Return the name of a type without its parameters: DECIMAL of ``DECIMAL(18,3)``."""
    if kind.endswith("]"):
        return "LIST"
    return "VARCHAR" if kind.startswith("ENUM") else re.split(r"[( ]", kind, maxsplit=1)[0]


def is_small_integer(kind: str) -> bool:
    """Whether all values of a type are integers of 64 bits."""
    return base_of(kind) in _SMALL_INTEGERS


def id_expression(kind: str, x: str) -> str | None:
    """Return what ids are read as: integers, or strings that `ids_of` understands; None if they cannot be ids."""
    base = base_of(kind)
    if base in _SMALL_INTEGERS:
        return f"CAST({x} AS BIGINT)"
    if base == "BLOB":
        return f"TRY(decode({x}))"
    if kind in (TEXT, "VARCHAR"):
        return x
    if base in (JSON, *_LARGE_INTEGERS, *_REALS, *_STRINGS, "DECIMAL", "UUID") or base.startswith(_INSTANTS):
        return f"CAST({x} AS VARCHAR)"
    return None


def text_expression(kind: str, x: str) -> str | None:
    """Return a column of text for people to read, such as titles; None if it is none."""
    if kind == JSON:
        return f"json_extract_string({x}, '$')"
    if base_of(kind) == "BLOB":
        return f"TRY(decode({x}))"
    return None if base_of(kind) in ("LIST", "STRUCT", "MAP", "UNION") else f"CAST({x} AS VARCHAR)"


def number_expression(kind: str, x: str, decimal: str) -> str | None:
    """Return a column of numbers as float64; None if it is none."""
    base = base_of(kind)
    if kind == JSON:
        x = f"json_extract_string({x}, '$')"
    elif base == "BLOB":
        x = f"TRY(decode({x}))"
    elif base in (REAL, *_SMALL_INTEGERS, *_LARGE_INTEGERS, *_REALS, "DECIMAL", "BOOLEAN"):
        return f"CAST({x} AS DOUBLE)"
    elif kind != TEXT and base not in _STRINGS:
        return None
    if decimal == ".":
        return f"TRY_CAST({x} AS DOUBLE)"
    return f"CASE WHEN contains({x}, '.') THEN NULL ELSE TRY_CAST(replace({x}, ',', '.') AS DOUBLE) END"


def is_instant(kind: str) -> bool:
    """Whether a type is one of dates and times, which need not be read from text."""
    return base_of(kind).startswith(_INSTANTS)


def timestamp_expressions(kind: str, x: str, readings: list[Reading]) -> list[str] | None:
    """Return the columns that `gathering.Instants` takes; None if the type is none of timestamps."""
    base = base_of(kind)
    if kind == REAL:
        return [x]
    if is_instant(kind):
        has_zone = base.startswith("TIMESTAMPTZ") or " WITH " in kind
        return [f"epoch_us(CAST({x} AS {'TIMESTAMPTZ' if has_zone else 'TIMESTAMP'}))"]
    if kind == JSON or base in _STRINGS:
        text = text_expression(kind, x)
    elif kind == TEXT or base in (*_SMALL_INTEGERS, *_LARGE_INTEGERS, *_REALS, "DECIMAL"):
        text = x
    else:
        return None
    if readings == [NUMBERS] and base in _SMALL_INTEGERS:
        return [f"CAST({text} AS BIGINT)"]
    if readings == [NUMBERS]:
        return [f"TRY_CAST({text} AS BIGINT)", f"TRY_CAST({text} AS DOUBLE)"]
    return [each.expression.format(x=text) for each in readings]


def ids_of(texts: list[str], kind: str) -> list[Any]:
    """Make ids of distinct strings, as `id_expression` gives them.

    Raises
    ------
    IdError
        If one of them is no id.
    """
    if kind == TEXT:
        return integers_if_all(texts)
    if base_of(kind) in _STRINGS:
        return list(texts)
    convert = next((each for name, each in _CONVERSIONS.items() if base_of(kind).startswith(name)), str)
    ids = []
    for number, text in enumerate(texts):
        try:
            ids.append(convert(text))
        except ValueError as error:
            raise IdError(number, text, str(error)) from None
    return ids


class IdError(DataError):
    """A string is no id.

    Attributes
    ----------
    number : int
        Its place among the distinct strings.
    """

    def __init__(self, number: int, text: object, fault: str) -> None:
        super().__init__(number, text, fault)
        self.number, self.text, self.fault = number, text, fault

    def __str__(self) -> str:
        return f"the id {self.text!r} {self.fault}"


def integers_if_all(texts: list[str]) -> list[Any]:
    """Make integers of strings if all are written as Python writes integers of 64 bits; else leave them."""
    try:
        integers = list(map(int, texts))
    except ValueError:
        return list(texts)
    fits = all(-(1 << 63) <= each < 1 << 63 for each in integers)
    return integers if fits and list(map(str, integers)) == texts else list(texts)


def with_types_of(vocabulary: Vocabulary, ids: list[Any], side: str) -> list[Any]:
    """Make ids of the types that a vocabulary's have.

    Parameters
    ----------
    vocabulary : Vocabulary
        If all its ids are strings or all integers, so are those returned. Else they are the ids of the vocabulary
        that are written alike, and strings where there are none.
    ids : list
        Distinct strings or integers, or ids of any other type that are returned as they are.
    side : str
        What they are called in errors: "user" or "item".

    Raises
    ------
    IdError
        If one is not written as integers are, and the vocabulary holds nothing else.
    """
    kinds = {int} if vocabulary.ids.dtype.kind == "i" else set(map(type, vocabulary.ids))
    if not kinds:
        return ids
    if kinds == {str}:
        return [str(each) if isinstance(each, int) else each for each in ids]
    if kinds == {int}:
        return [_as_integer(number, each, side) for number, each in enumerate(ids)]
    alike = {str(each): each for each in vocabulary}
    return [each if each in vocabulary else alike.get(str(each), each) for each in ids]


def _as_integer(number: int, item: Any, side: str) -> Any:
    if not isinstance(item, str):
        return item
    try:
        integer = int(item)
    except ValueError:
        integer = None
    if integer is None or str(integer) != item:
        fault = f"is a string, but the {side} ids that it is to be looked up in are integers; correct the file"
        raise IdError(number, item, fault)
    return integer


def _of_json(text: str) -> Any:
    item = json.loads(text)
    if item is None or isinstance(item, bool | list | dict):
        raise ValueError(f"is {type(item).__name__} in JSON; ids are strings or numbers")
    return item


def _of_decimal(text: str) -> Any:
    number = Decimal(text)
    return int(number) if number == number.to_integral_value() else number


_CONVERSIONS: Mapping[str, Callable[[str], Any]] = {
    JSON: _of_json,
    "UBIGINT": int,
    "HUGEINT": int,
    "UHUGEINT": int,
    "FLOAT": float,
    "DOUBLE": float,
    "DECIMAL": _of_decimal,
    "UUID": UUID,
    "DATE": date.fromisoformat,
    "TIMESTAMP": datetime.fromisoformat,
}
