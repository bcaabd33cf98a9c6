"""Ids to positions and back: what a row of the factors is called outside."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from datetime import date
from functools import cached_property
from itertools import repeat
from numbers import Number
from typing import Any, Literal, Self, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from halfstep.errors import ParameterError, UnknownIdError
from halfstep.interactions.columns import RowError
from halfstep.interactions.ids import as_ids, encode, factorise, is_dense, refuse_missing, unhashable

ALIKE = (Number, str, bytes, date)  # of whose subclasses ids may be equal
FEW = 16  # integers that one dictionary finds faster than NumPy does


class Vocabulary:
    """The distinct ids of one side (users or items), numbered 0 to n − 1.

    Ids are whatever hashes: integers, strings, UUIDs, tuples. Integers that fit in int64 are handled in bulk
    by NumPy, everything else through one dictionary. Two ids are the same where Python says they are equal.

    Parameters
    ----------
    ids : array-like of n ids
        Distinct; an id's position is its place in this order. A column of ids that repeat is for `encode`.

    Raises
    ------
    DataError
        If an id is missing (None, NaN, NaT, pandas.NA), not hashable, or there twice.

    Examples
    --------
    >>> users, positions = Vocabulary.encode(["eve", "adam", "eve"])
    >>> positions
    array([1, 0, 1], dtype=int32)
    >>> users[0], users.position("eve"), "cain" in users, len(users)
    ('adam', 1, False, 2)
    """

    _room: NDArray[Any] | None = None  # what the ids lie in, with places left for a longer vocabulary

    def __init__(self, ids: Any) -> None:
        column = as_ids(ids, "id")
        distinct, positions = factorise(column, "id")
        if len(distinct) < len(column):
            _, first_rows = np.unique(positions, return_index=True)
            row = int(np.setdiff1d(np.arange(len(column)), first_rows)[0])
            raise RowError("id", row, _plain(column[row]), "there before; Vocabulary.encode takes ids that repeat")
        self._set(column.copy())

    @classmethod
    def encode(cls, ids: Any, *, name: str = "id") -> tuple[Self, NDArray[np.int32]]:
        """Number the ids of a column in which they may repeat.

        Parameters
        ----------
        ids : array-like of n ids
        name : str
            What an id is called in error messages, such as "user id".

        Returns
        -------
        vocabulary : Vocabulary
            The distinct ids, ascending where they can be compared, else in the order of first appearance.
        positions : ndarray of shape (n,)
            The position of each entry's id, so that ``vocabulary.ids[positions]`` is the column again.

        Raises
        ------
        DataError
            If an id is missing (None, NaN, NaT, pandas.NA) or not hashable; it names the first such row.
        """
        distinct, positions = encode(ids, name)
        return cls.of_distinct(distinct), positions

    @classmethod
    def of_distinct(cls, ids: NDArray[Any]) -> Self:
        """Take over an array of int64 or of objects, without a copy, for a caller that knows its ids to be distinct.

        It is not looked at; everybody else calls the constructor, which checks.
        """
        vocabulary = cls.__new__(cls)
        vocabulary._set(ids)
        return vocabulary

    def _set(self, ids: NDArray[Any]) -> None:
        """Take over ids that are known to be distinct, and lock them."""
        ids.setflags(write=False)
        self._ids = ids

    def extended(self, ids: Any) -> Vocabulary:
        """Append ids, at no more cost than theirs (amortised): positions stay as they are.

        Parameters
        ----------
        ids : array-like of ids
            Those that are here already are passed over.

        Returns
        -------
        Vocabulary
            This one, where there is nothing new.
        """
        column, positions = self.look_up(ids, unknown="mark")
        refuse_missing(column, positions < 0, "id")
        new = list(dict.fromkeys(column[positions < 0].tolist()))
        if not new:
            return self
        n, total = len(self), len(self) + len(new)
        numbers = self._numbers
        if len(numbers) > n:  # another vocabulary grew from this one, and has the places from here on
            numbers = dict(zip(self._ids.tolist(), range(n), strict=True))
        dtype = self._ids.dtype if column.dtype == self._ids.dtype or n == 0 else np.dtype(object)
        room = self._room
        if room is None or room.dtype != dtype or len(room) < total or numbers is not self._numbers:
            room = np.empty(2 * total, column.dtype if n == 0 else dtype)
            room[:n] = self._ids
        room[n:total] = np.fromiter(new, dtype=room.dtype, count=len(new))
        numbers.update(zip(new, range(n, total), strict=True))
        longer = Vocabulary.__new__(Vocabulary)
        longer._set(room[:total])
        longer._room = room
        longer.__dict__["_numbers"] = numbers
        return longer

    @property
    def ids(self) -> NDArray[Any]:
        """All ids by position: int64, or objects where the ids are anything but integers. Read-only."""
        return self._ids

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._ids.tolist())

    def __getitem__(self, position: SupportsIndex) -> Any:
        index = operator.index(position)
        if not 0 <= index < len(self):  # −1 marks an unknown id: it must never come back as the last one
            raise IndexError(f"position {index} is outside of 0 to {len(self) - 1}")
        return _plain(self._ids[index])

    def __contains__(self, item: object) -> bool:
        return self._numbers.get(item, len(self)) < len(self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Vocabulary):
            return NotImplemented
        return self is other or bool(np.array_equal(self._ids, other._ids))

    __hash__ = None  # type: ignore[assignment]  # equal by content, which is too much to hash

    def __repr__(self) -> str:
        if len(self) == 0:
            return "Vocabulary(no ids)"
        if len(self) == 1:
            return f"Vocabulary(1 id: {self[0]!r})"
        return f"Vocabulary({len(self):,} ids, {self[0]!r} to {self[len(self) - 1]!r})"

    def position(self, id: Any) -> int:  # noqa: A002 - the word of the field
        """Give the position of one id, whatever its type.

        Raises
        ------
        UnknownIdError
            If the vocabulary does not hold it.
        """
        found = self._numbers.get(id)
        if found is None or found >= len(self):
            raise self._unknown(id)
        return found

    def positions(self, ids: Any, unknown: Literal["raise", "mark"] = "raise") -> NDArray[np.int32]:
        """Look up the positions of many ids.

        Parameters
        ----------
        ids : array-like of n ids, or a single id
            A single id counts as a list of one. A tuple is a single id where this vocabulary's ids are
            tuples, and a sequence of ids elsewhere.
        unknown : {"raise", "mark"}
            What to do with an id that the vocabulary does not hold: raise `UnknownIdError`, or give −1.

        Returns
        -------
        ndarray of shape (n,)

        Raises
        ------
        UnknownIdError
            If ``unknown="raise"`` and an id is unknown; it names the first.
        """
        return self.look_up(ids, unknown)[1]

    def look_up(
        self, ids: Any, unknown: Literal["raise", "mark"] = "raise"
    ) -> tuple[NDArray[Any], NDArray[np.int32]]:
        """Do the same, and give the ids as an array, too: int64 or objects.

        Returns
        -------
        ids, positions : ndarray of shape (n,)
        """
        if unknown not in ("raise", "mark"):
            raise ParameterError(f"unknown must be 'raise' or 'mark', not {unknown!r}")
        if self._is_single(ids):
            ids = [ids.item() if hasattr(ids, "__array__") else ids]
        column = as_ids(ids, "id")
        if (
            column.dtype.kind == "i"
            and self._ids.dtype.kind == "i"
            and not (len(column) < FEW and "_numbers" in self.__dict__)
        ):
            positions = self._find_integers(column)
        else:
            entries = column.tolist()
            try:
                found = map(self._numbers.get, entries, repeat(-1))
                positions = np.fromiter(found, dtype=np.int32, count=len(entries))
            except TypeError:
                raise unhashable(entries, "id") from None
            positions[positions >= len(self)] = -1
        if unknown == "raise" and len(positions) and positions.min() < 0:
            raise self._unknown(_plain(column[int(np.argmax(positions < 0))]))
        return column, positions

    def type_mistake(self, ids: NDArray[Any], positions: NDArray[np.integer], name: str) -> str | None:
        """Say what is wrong where no id is known and all are of a type that no id here is of, as "7" is for 7.

        Parameters
        ----------
        ids, positions : ndarray of shape (n,)
            As `look_up` gives them.
        name : str
            What an id is called in the message, such as "user id".
        """
        if len(self) == 0 or len(ids) == 0 or positions.max() >= 0 or _kinds(ids) & self._kinds:
            return None
        return (
            f"no {name} is known: they are such as {_plain(ids[0])!r}, and {self[0]!r} would be one; give ids of the "
            "same type"
        )

    def _is_single(self, ids: Any) -> bool:
        if isinstance(ids, tuple):
            return self._holds_tuples
        if hasattr(ids, "__array__"):
            return bool(np.ndim(ids) == 0)
        return isinstance(ids, str | bytes) or not hasattr(ids, "__iter__")

    def _unknown(self, item: Any) -> UnknownIdError:
        held = f"holds {len(self):,} ids, such as {self[0]!r}" if len(self) else "is empty"
        hint = ""
        if len(self) and not isinstance(item, type(self[0])):
            hint = f"; ids of type {type(item).__name__} equal none of type {type(self[0]).__name__}"
        return UnknownIdError(f"unknown id {item!r}: the vocabulary {held}{hint}")

    @cached_property
    def _holds_tuples(self) -> bool:
        return self._ids.dtype.kind == "O" and tuple in set(map(type, self._ids))

    @cached_property
    def _kinds(self) -> set[type]:
        return _kinds(self._ids)

    @cached_property
    def _numbers(self) -> dict[Any, int]:
        """The dictionary from id to position; of a longer vocabulary, maybe, that grew from this one."""
        return dict(zip(self._ids.tolist(), range(len(self)), strict=True))

    @cached_property
    def _table(self) -> NDArray[np.int32] | None:
        """For integers close together: the position of each from the smallest on, −1 where it is no id."""
        smallest, largest = int(self._ids.min()), int(self._ids.max())
        if not is_dense(smallest, largest, len(self)):
            return None
        table = np.full(largest - smallest + 1, -1, dtype=np.int32)
        table[self._ids - smallest] = np.arange(len(self), dtype=np.int32)
        return table

    @cached_property
    def _ascending(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """For integers far apart: the ids sorted, and the position of each."""
        order = np.argsort(self._ids, kind="stable")
        return self._ids[order], order.astype(np.int32)

    def _find_integers(self, column: NDArray[np.int64]) -> NDArray[np.int32]:
        if len(self) == 0:
            return np.full(len(column), -1, dtype=np.int32)
        if self._table is not None:
            smallest, largest = int(self._ids.min()), int(self._ids.max())
            inside = (column >= smallest) & (column <= largest)
            # outside, the difference may overflow: look up any place at all there, and mark it
            offsets = np.where(inside, column, smallest) - smallest
            return np.where(inside, self._table[offsets], np.int32(-1))
        ids, positions = self._ascending
        places = np.minimum(np.searchsorted(ids, column), len(ids) - 1)
        return np.where(ids[places] == column, positions[places], np.int32(-1))


def _kinds(ids: NDArray[Any]) -> set[type]:
    """The types of ids, those as one of which Python says that they may be equal."""
    if ids.dtype.kind != "O":
        return {Number}
    return {next((base for base in ALIKE if issubclass(kind, base)), kind) for kind in set(map(type, ids))}


def _plain(item: Any) -> Any:
    """Make a Python int of NumPy's, so that ids look and hash the same wherever they come from."""
    return int(item) if isinstance(item, np.integer) else item
