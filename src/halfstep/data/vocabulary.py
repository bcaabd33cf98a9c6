"""Vocabularies, which convert ids to positions and back."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from itertools import repeat
from typing import Any, Literal, Self, SupportsIndex, TypeVar

import numpy as np
from numpy.typing import NDArray

from halfstep._support.checks import check_choice
from halfstep._support.lazy import cached_property
from halfstep._support.locks import ForkSafeLock
from halfstep.data.columns import RowError, is_single, plural, with_value
from halfstep.data.id_columns import (
    PARSERS,
    PLAIN,
    as_ids,
    encode,
    factorize,
    is_dense,
    plain_id,
    type_in_words,
    type_of,
    types_of,
    unhashable,
)
from halfstep.errors import DataError, UnknownIdError

V = TypeVar("V")

_EXTENDING = ForkSafeLock()  # guards the arrays and dictionaries that extended vocabularies share
FEW = 16  # integers up to which Python is faster than NumPy


class Vocabulary:
    """The distinct ids of one side (users or items), numbered 0 to n − 1.

    Ids are any hashable objects: integers, strings, UUIDs, tuples. Integral floats become integers, bytes are decoded
    as UTF-8, and dates and times of NumPy and pandas become those of ``datetime``. Integers that fit in int64 are
    looked up by NumPy, other ids in a dictionary.

    Ids to look up must be of the types of the vocabulary: ``"12"`` and ``True`` are errors if its ids are integers.
    An empty vocabulary accepts ids of any type.

    Parameters
    ----------
    ids : array-like of n ids
        Distinct, in the order of their positions; use `encode` for a column of repeated ids.
    name : str
        The name of an id in error messages, such as "user id".

    Raises
    ------
    DataError
        If an id is missing (None, NaN, NaT, pandas.NA), not hashable, a bool among numbers, bytes that are not UTF-8,
        a float too large to represent every integer, or repeated.

    Examples
    --------
    >>> users, positions = Vocabulary.encode(["eve", "adam", "eve"])
    >>> positions
    array([1, 0, 1], dtype=int32)
    >>> users[0], users.position("eve"), "cain" in users, len(users)
    ('adam', 1, False, 2)
    """

    # Of an extended vocabulary: the original one, the positions of appended ids, and the array of all ids. The latter
    # two are shared with longer vocabularies.
    _root: Vocabulary | None = None
    _appended: dict[Any, int]
    _buffer: NDArray[Any]

    def __init__(self, ids: Any, *, name: str = "id") -> None:
        column = as_ids(ids, name)
        distinct, positions = factorize(column, name)
        if len(distinct) < len(column):
            _, first_rows = np.unique(positions, return_index=True)
            row = int(np.setdiff1d(np.arange(len(column)), first_rows)[0])
            raise RowError(name, row, _plain(column[row]), "a repeat; give each id once")
        self._set(column.copy())

    @classmethod
    def encode(cls, ids: Any, *, name: str = "id") -> tuple[Self, NDArray[np.int32]]:
        """Return the vocabulary of a column of ids, which may repeat, and their positions.

        Parameters
        ----------
        ids : array-like of n ids
        name : str
            The name of an id in error messages, such as "user id".

        Returns
        -------
        vocabulary : Vocabulary
            The distinct ids, ascending if they can be compared, otherwise in the order of first appearance.
        positions : ndarray of shape (n,)
            The position of each row's id, so that ``vocabulary.ids[positions]`` is the column.

        Raises
        ------
        DataError
            If an id is invalid, as for the constructor; the message names the first row.
        """
        distinct, positions = encode(ids, name)
        return cls.of_distinct(distinct), positions

    @classmethod
    def of_distinct(cls, ids: NDArray[Any]) -> Self:
        """Return the vocabulary of an int64 or object array of distinct ids, which is neither checked nor copied."""
        vocabulary = cls.__new__(cls)
        vocabulary._set(ids)
        return vocabulary

    def __getstate__(self) -> NDArray[Any]:
        return self._ids

    def __setstate__(self, ids: NDArray[Any]) -> None:
        self._set(ids)

    def _set(self, ids: NDArray[Any]) -> None:
        """Set the ids, known to be distinct, and make them read-only."""
        ids.setflags(write=False)
        self._ids = ids

    def extended(self, ids: Any, *, name: str = "id") -> Vocabulary:
        """Return a vocabulary with additional ids; positions stay unchanged.

        The amortized time is proportional to the number of these ids.

        Parameters
        ----------
        ids : array-like of ids
            Known ids are skipped.
        name : str
            The name of an id in error messages, such as "user id".

        Returns
        -------
        Vocabulary
            The same object if there are no new ids.

        Raises
        ------
        DataError
            If an id is invalid, or of another type than those of the vocabulary.
        """
        column, positions = self.look_up(ids, unknown="mark", name=name)
        new = list(dict.fromkeys(column[positions < 0].tolist()))
        if not new:
            return self
        with _EXTENDING.lock:
            longer = self._with_new(new, column.dtype)
        longer.__dict__["_types"] = self._types | types_of(column)
        return longer

    def _with_new(self, new: list[Any], dtype_of_new: np.dtype[Any]) -> Vocabulary:
        """Append new ids; vocabularies extended from the same one share its array and dictionary."""
        n, total = len(self), len(self) + len(new)
        root, appended, buffer = self, {}, self._ids
        if self._root is not None:
            root, appended, buffer = self._root, self._appended, self._buffer
            if len(appended) > n - len(root):  # the array already has the ids of another extension of this one
                buffer = self._ids
                appended = dict(zip(buffer[len(root) :].tolist(), range(len(root), n), strict=True))
        dtype = self._ids.dtype if dtype_of_new == self._ids.dtype or n == 0 else np.dtype(object)
        if buffer.dtype != dtype or len(buffer) < total:
            buffer = np.empty(2 * total, dtype_of_new if n == 0 else dtype)
            buffer[:n] = self._ids
        buffer[n:total] = np.fromiter(new, dtype=buffer.dtype, count=len(new))
        appended.update(zip(new, range(n, total), strict=True))
        longer = Vocabulary.__new__(Vocabulary)
        longer._set(buffer[:total])
        longer._root, longer._appended, longer._buffer = root, appended, buffer
        return longer

    @property
    def ids(self) -> NDArray[Any]:
        """All ids by position, as a read-only array of int64, or of objects if they are not all integers."""
        return self._ids

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._ids.tolist())

    def __getitem__(self, position: SupportsIndex) -> Any:
        index = operator.index(position)
        if not 0 <= index < len(self):  # −1 marks an unknown id
            raise IndexError(f"position {index} is outside of 0 to {len(self) - 1}")
        return _plain(self._ids[index])

    def __contains__(self, item: object) -> bool:
        try:
            plain = plain_id(item)
        except ValueError:
            return False
        return type_of(type(plain)) in self._types and bool(self._find(as_ids([plain], "id"), "id")[0] >= 0)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Vocabulary):
            return NotImplemented
        return self is other or bool(np.array_equal(self._ids, other._ids))

    __hash__ = None  # type: ignore[assignment]  # equality compares all ids, too many to hash

    def __repr__(self) -> str:
        if len(self) == 0:
            return "Vocabulary(no ids)"
        if len(self) == 1:
            return f"Vocabulary(1 id: {self[0]!r})"
        return f"Vocabulary({len(self):,} ids, {self[0]!r} to {self[len(self) - 1]!r})"

    def position(self, id: Any, *, name: str = "id") -> int:  # noqa: A002 - the word of the field
        """Return the position of one id.

        Raises
        ------
        DataError
            If the id is invalid, or of a type that the vocabulary does not have.
        UnknownIdError
            If the id is unknown.
        """
        return int(self.look_up([id[()] if isinstance(id, np.ndarray) and id.ndim == 0 else id], name=name)[1][0])

    def positions(
        self, ids: Any, unknown: Literal["raise", "mark"] = "raise", *, name: str = "id"
    ) -> NDArray[np.int32]:
        """Look up the positions of many ids.

        Parameters
        ----------
        ids : array-like of n ids, or a single id
            A tuple is a single id if the ids of the vocabulary are tuples, and a sequence of ids otherwise.
        unknown : {"raise", "mark"}
            How to handle unknown ids: raise `UnknownIdError`, or return −1.
        name : str
            The name of an id in error messages, such as "user id".

        Returns
        -------
        ndarray of shape (n,)

        Raises
        ------
        DataError
            If an id is invalid, or of another type than those of the vocabulary.
        UnknownIdError
            If ``unknown="raise"`` and an id is unknown; the message names the first.
        """
        return self.look_up(ids, unknown, name=name)[1]

    def look_up(
        self, ids: Any, unknown: Literal["raise", "mark"] = "raise", *, name: str = "id"
    ) -> tuple[NDArray[Any], NDArray[np.int32]]:
        """Look up positions as `positions` does; return also the ids as an array of int64 or objects.

        Returns
        -------
        ids, positions : ndarray of shape (n,)
        """
        check_choice("unknown", unknown, ("raise", "mark"))
        if self._is_single(ids):
            # not .item(), which converts datetime64[ns] to an integer
            ids = [np.asarray(ids)[()] if hasattr(ids, "__array__") else ids]
        column = as_ids(ids, name)
        self._check_types(column, name)
        positions = self._find(column, name)
        if unknown == "raise" and len(positions) and positions.min() < 0:
            raise self._unknown(_plain(column[int(np.argmax(positions < 0))]), name)
        return column, positions

    def shared(self, other: Vocabulary) -> NDArray[np.int32]:
        """Return the position of each id of another vocabulary; −1 for unknown ids of any type."""
        if self._types & other._types:
            return self._find(other.ids, "id")
        return np.full(len(other), -1, dtype=np.int32)

    def keyed(self, mapping: Mapping[Any, V], *, name: str = "id") -> Mapping[Any, V]:
        """Return a mapping from ids, possibly unknown ones, with its keys converted as those of the vocabulary.

        Raises
        ------
        DataError
            If a key is invalid, or of another type than those of the vocabulary, or if two keys are the same id.
        """
        if set(map(type, mapping)) <= self._types & PLAIN:  # the usual case, without a copy
            return mapping
        keys, _ = self.look_up(list(mapping), "mark", name=name)
        return dict(zip(Vocabulary(keys, name=name), mapping.values(), strict=True))

    def parse(self, text: str, *, name: str = "id") -> Any:
        """Parse an id of one of the vocabulary's types.

        Parameters
        ----------
        text : str
            The id as printed. If it can be parsed as several types, a known id is preferred.
        name : str
            The name of an id in error messages, such as "user id".

        Returns
        -------
        id
            Possibly an unknown id; the text itself if the vocabulary is empty.

        Raises
        ------
        DataError
            If the text cannot be parsed as any type of the vocabulary.
        """
        if len(self) == 0:
            return text
        readings = []
        for kind in sorted(self._types, key=lambda kind: (kind is not str, kind.__name__)):
            try:
                readings.append(plain_id(PARSERS[kind](text)))
            except (KeyError, ValueError, ArithmeticError):  # no parser for the type, or it fails
                continue
        known = [reading for reading in readings if reading in self]
        if not known and not self._types <= PARSERS.keys():
            known = [each for each in self if str(each) == text]
        if known or readings:
            return (known or readings)[0]
        raise DataError(
            f"{with_value(name, text)} cannot be parsed: the known {plural(name)} are {self._types_in_words()}; "
            "write it as these are printed"
        )

    def _check_types(self, column: NDArray[Any], name: str) -> None:
        """Raise an error if an id is of another type than those of the vocabulary."""
        if len(self) == 0 or column.dtype.kind == self._ids.dtype.kind == "i":
            return
        foreign = types_of(column) - self._accepted
        if not foreign:
            return
        item = next(each for each in column.tolist() if type_of(type(each)) in foreign)
        remedy = "one of these types"
        if len(self._types) == 1:
            _, remedy = type_in_words(*self._types)
        raise DataError(
            f"{with_value(name, item)} is {type_in_words(type_of(type(item)))[0]}, but the known "
            f"{name.partition(' in ')[0]}s are {self._types_in_words()}: convert the ids to "
            f"{remedy.removeprefix('of ')}"
        )

    def _types_in_words(self) -> str:
        """Return the names of the types of the ids, with an example of each."""
        examples: dict[type, Any] = {}
        for each in self:
            examples.setdefault(type_of(type(each)), each)
            if len(examples) == len(self._types):
                break
        return " and ".join(f"{type_in_words(kind)[1]} such as {each!r}" for kind, each in examples.items())

    def _is_single(self, ids: Any) -> bool:
        if isinstance(ids, tuple):
            return tuple in self._types
        return is_single(ids)

    def _unknown(self, item: Any, name: str) -> UnknownIdError:
        held = f"holds {len(self):,} ids, such as {self[0]!r}" if len(self) else "is empty"
        return UnknownIdError(f"unknown {with_value(name, item)}: the vocabulary {held}")

    @cached_property
    def _types(self) -> frozenset[type]:
        return types_of(self._ids)

    @property
    def _accepted(self) -> frozenset[type]:
        """The types of ids that may be looked up; with floats also integers, since 2.0 becomes one."""
        return self._types | {int} if float in self._types else self._types

    @cached_property
    def _numbers(self) -> dict[Any, int]:
        """The position of each id."""
        return dict(zip(self._ids.tolist(), range(len(self)), strict=True))

    @cached_property
    def _table(self) -> tuple[int, NDArray[np.int32]] | None:
        """Return the smallest id, and the positions of all integers up to the largest; None for sparse integers."""
        smallest, largest = int(self._ids.min()), int(self._ids.max())
        if not is_dense(smallest, largest, len(self)):
            return None
        table = np.full(largest - smallest + 1, -1, dtype=np.int32)
        table[self._ids - smallest] = np.arange(len(self), dtype=np.int32)
        return smallest, table

    @cached_property
    def _ascending(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Return the sorted ids, and the position of each."""
        order = np.argsort(self._ids, kind="stable")
        return self._ids[order], order.astype(np.int32)

    def _find(self, column: NDArray[Any], name: str) -> NDArray[np.int32]:
        """Return the positions of valid ids; −1 for unknown ones."""
        if self._root is not None:
            positions = self._root._find(column, name)
            others = (positions < 0).nonzero()[0]
            if len(others):
                positions[others] = self._find_in(self._appended, column[others], name)
            return positions
        if column.dtype.kind == "i" and self._ids.dtype.kind == "i":
            return self._find_integers(column)
        return self._find_in(self._numbers, column, name)

    def _find_in(self, numbers: dict[Any, int], column: NDArray[Any], name: str) -> NDArray[np.int32]:
        ids = column.tolist()
        try:
            positions = np.fromiter(map(numbers.get, ids, repeat(-1)), dtype=np.int32, count=len(ids))
        except TypeError:  # a tuple that contains an unhashable object
            raise unhashable(ids, name) from None
        positions[positions >= len(self)] = -1  # ids of a longer vocabulary that shares the dictionary
        return positions

    def _find_integers(self, column: NDArray[np.int64]) -> NDArray[np.int32]:
        if len(self) == 0:
            return np.full(len(column), -1, dtype=np.int32)
        if self._table is None:
            ids, positions = self._ascending
            at = np.minimum(np.searchsorted(ids, column), len(ids) - 1)
            return np.where(ids[at] == column, positions[at], np.int32(-1))
        smallest, table = self._table
        if len(column) < FEW:
            offsets = [each - smallest for each in column.tolist()]
            return np.array([table[each] if 0 <= each < len(table) else -1 for each in offsets], dtype=np.int32)
        inside = (column >= smallest) & (column <= smallest + len(table) - 1)
        # the difference may overflow outside: look up the smallest instead
        positions = table[np.where(inside, column, smallest) - smallest]
        return np.where(inside, positions, np.int32(-1))


def _plain(item: Any) -> Any:
    """Convert a NumPy integer to int, so that ids print and hash the same in all containers."""
    return int(item) if isinstance(item, np.int64) else item
