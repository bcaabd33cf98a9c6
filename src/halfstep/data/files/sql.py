"""SQL expressions that convert columns of files, and conversion of their results to ids."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from halfstep.data.files.timestamps import NUMBERS, Reading
from halfstep.data.vocabulary import Vocabulary
from halfstep.errors import DataError

TEXT = "text"
"""The type of a column of a text file that is read as strings."""
JSON = "JSON"
REAL = "real"
"""The type of a column of a text file that is read as numbers, which fails for other fields."""

_SMALL_INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER")
_LARGE_INTEGERS = ("UBIGINT", "HUGEINT", "UHUGEINT")
_REALS = ("FLOAT", "DOUBLE")
_STRINGS = ("VARCHAR", "BLOB")
_TIMES = ("TIMESTAMP", "DATE")


def type_name(kind: str) -> str:
    """Return the name of a type without its parameters, such as DECIMAL for ``DECIMAL(18,3)``."""
    if kind.endswith("]"):
        return "LIST"
    return "VARCHAR" if kind.startswith("ENUM") else re.split(r"[( ]", kind, maxsplit=1)[0]


def is_small_integer(kind: str) -> bool:
    """Whether all values of a type are integers that fit in int64."""
    return type_name(kind) in _SMALL_INTEGERS


def id_expression(kind: str, x: str) -> str | None:
    """Return the expression of ids as integers, or as strings for `ids_of`; None for other types."""
    base = type_name(kind)
    if base in _SMALL_INTEGERS:
        return f"CAST({x} AS BIGINT)"
    if base in (TEXT, *_STRINGS):
        return text_expression(kind, x)
    if base in (JSON, *_LARGE_INTEGERS, *_REALS, "DECIMAL", "UUID") or base.startswith(_TIMES):
        return f"CAST({x} AS VARCHAR)"
    return None


def text_expression(kind: str, x: str) -> str | None:
    """Return the expression of a column as text; None for nested types."""
    if kind == JSON:
        return f"json_extract_string({x}, '$')"
    if type_name(kind) == "BLOB":
        return f"TRY(decode({x}))"
    return None if type_name(kind) in ("LIST", "STRUCT", "MAP", "UNION") else f"CAST({x} AS VARCHAR)"


def number_expression(kind: str, x: str, decimal: str) -> str | None:
    """Return the expression of a column as float64; None if the type is not numeric."""
    base = type_name(kind)
    if base in (REAL, *_SMALL_INTEGERS, *_LARGE_INTEGERS, *_REALS, "DECIMAL", "BOOLEAN"):
        return f"CAST({x} AS DOUBLE)"
    if base not in (TEXT, JSON, *_STRINGS):
        return None
    text = text_expression(kind, x)
    if decimal == ".":
        return f"TRY_CAST({text} AS DOUBLE)"
    return f"CASE WHEN contains({text}, '.') THEN NULL ELSE TRY_CAST(replace({text}, ',', '.') AS DOUBLE) END"


def is_time(kind: str) -> bool:
    """Whether a type is a date or a timestamp."""
    return type_name(kind).startswith(_TIMES)


def timestamp_expressions(kind: str, x: str, readings: list[Reading]) -> list[str] | None:
    """Return the expressions for `chunks.Timestamps`; None for other types."""
    base = type_name(kind)
    if kind == REAL:
        return [x]
    if is_time(kind):
        has_zone = base.startswith("TIMESTAMPTZ") or " WITH " in kind
        return [f"epoch_us(CAST({x} AS {'TIMESTAMPTZ' if has_zone else 'TIMESTAMP'}))"]
    if base in (TEXT, JSON, *_STRINGS):
        x = text_expression(kind, x) or x
    elif base in _SMALL_INTEGERS and readings == [NUMBERS]:
        return [f"CAST({x} AS BIGINT)"]
    elif base not in (*_SMALL_INTEGERS, *_LARGE_INTEGERS, *_REALS, "DECIMAL"):
        return None
    if readings == [NUMBERS]:
        return [f"TRY_CAST({x} AS BIGINT)", f"TRY_CAST({x} AS DOUBLE)"]
    return [each.expression.format(x=x) for each in readings]


def ids_of(texts: list[str], kind: str) -> list[Any]:
    """Convert the distinct strings from `id_expression` to ids.

    Raises
    ------
    IdError
        If a string is not a valid id.
    """
    if kind == TEXT:
        return integers_if_all(texts)
    if type_name(kind) in _STRINGS:
        return list(texts)
    convert = next((each for name, each in _CONVERSIONS.items() if type_name(kind).startswith(name)), str)
    ids = []
    for number, text in enumerate(texts):
        try:
            ids.append(convert(text))
        except ValueError as error:
            raise IdError(number, text, str(error)) from None
    return ids


class IdError(DataError):
    """A string is not a valid id.

    Attributes
    ----------
    number : int
        The index of the string among the distinct ones.
    """

    def __init__(self, number: int, text: object, fault: str) -> None:
        super().__init__(number, text, fault)
        self.number, self.text, self.fault = number, text, fault

    def __str__(self) -> str:
        return f"the id {self.text!r} {self.fault}"


def integers_if_all(texts: list[str]) -> list[Any]:
    """Convert strings to integers if all are canonical integers that fit in int64; otherwise return them."""
    try:
        integers = list(map(int, texts))
    except ValueError:
        return list(texts)
    fits = all(-(1 << 63) <= each < 1 << 63 for each in integers)
    return integers if fits and list(map(str, integers)) == texts else list(texts)


def with_types_of(vocabulary: Vocabulary, ids: list[Any], side: str) -> list[Any]:
    """Convert ids to the types of a vocabulary's ids.

    Parameters
    ----------
    vocabulary : Vocabulary
        If all its ids are strings, or all are integers, ids are converted to that type. If its types are mixed, an
        id is replaced by that of the vocabulary with the same text, if any.
    ids : list
        Distinct strings or integers; ids of other types are unchanged.
    side : {"user", "item"}
        The kind of ids, for errors.

    Raises
    ------
    IdError
        If the vocabulary has only integers, and a string is not a canonical integer.
    """
    kinds = {int} if vocabulary.ids.dtype.kind == "i" else set(map(type, vocabulary.ids))
    if not kinds:
        return ids
    if kinds == {str}:
        return [str(each) if isinstance(each, int) else each for each in ids]
    if kinds == {int}:
        return [_as_integer(number, each, side) for number, each in enumerate(ids)]
    by_text = {str(each): each for each in vocabulary}
    return [each if each in vocabulary else by_text.get(str(each), each) for each in ids]


def _as_integer(number: int, item: Any, side: str) -> Any:
    if not isinstance(item, str):
        return item
    try:
        integer = int(item)
    except ValueError:
        integer = None
    if integer is None or str(integer) != item:
        fault = f"is a string, but the model's {side} ids are integers; correct the file"
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
