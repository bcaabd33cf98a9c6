"""Interactions from adjacency lists, which have a line of item ids for each user."""

from __future__ import annotations

import warnings
from array import array
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from halfstep.data.duplicates import Duplicates, find_repeat
from halfstep.data.files.interaction_files import AnyPath, check_parameters
from halfstep.data.files.sources import Source, TemporaryFolder, find_sources
from halfstep.data.files.sql import IdError, integers_if_all, with_types_of
from halfstep.data.files.table_format import BadLines, Options
from halfstep.data.files.text_lines import make_plain
from halfstep.data.interactions import Interactions
from halfstep.data.vocabulary import Vocabulary
from halfstep.errors import DataError, SkippedLinesWarning


def read_adjacency_lists(
    path: AnyPath | Sequence[AnyPath],
    *,
    users: Vocabulary | None = None,
    items: Vocabulary | None = None,
    duplicates: Duplicates | None = "error",
    separator: str | None = None,
    encoding: str = "utf-8",
    comment: str | None = None,
    bad_lines: BadLines = "error",
) -> Interactions:
    r"""Read interactions from text files with a line ``user item item …`` for each user.

    This is the format of the data sets of NGCF and LightGCN. To read training and test data with shared
    vocabularies::

        train = hs.read_adjacency_lists("train.txt")
        test = hs.read_adjacency_lists("test.txt", users=train.users, items=train.items)

    Parameters
    ----------
    path : str, path or sequence of them
        Text files, folders or patterns as for `read_interactions`, or ``"-"`` for standard input.
    users, items : Vocabulary, optional
        Vocabularies to extend, such as those of the training data. Ids are converted to their types. By default, ids
        become integers if all of them are canonical integers ("7", not "007"), and strings otherwise.
    duplicates : {"error", "last", "sum", "mean"} or None
        How to handle repeated items of a user: raise an error, count them once ("last" or "mean"), or count each
        ("sum" or None).
    separator : str, optional
        The separator of ids; by default, spaces and tabs. A separator at the end of a line is ignored.
    encoding : str
        The encoding of the files. A byte order mark takes precedence.
    comment : str, optional
        Ignore lines that begin with this, such as ``"#"``.
    bad_lines : {"error", "skip"}
        How to handle lines with a missing id (two separators in a row): raise an error that names the line, or skip
        them and issue a warning with their number.

    Returns
    -------
    Interactions
        Without values. Users without items are in the vocabulary; empty lines are ignored.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DataError
        If a file cannot be read or contains invalid data, or no line has an item; the message names the line.
    ParameterError
        If a parameter is invalid.

    Warns
    -----
    SkippedLinesWarning
        If lines were skipped; the message contains their number.
    """
    options = Options(separator=separator, quote=None, encoding=encoding, comment=comment, bad_lines=bad_lines)
    check_parameters(options, {}, {"users": users, "items": items}, duplicates)
    lists = _read(find_sources(path), options)
    data = lists.interactions(users, items)
    if duplicates == "error":
        lists.refuse_repeats(data)
    else:
        data = data.without_repeats(duplicates)
    if lists.skipped:
        what = "line was" if lists.skipped == 1 else "lines were"
        warnings.warn(f"{path}: {lists.skipped:,} {what} skipped", SkippedLinesWarning, stacklevel=2)
    return data


def _numbers() -> defaultdict[str, int]:
    """Return a dict that numbers new strings."""
    return defaultdict(count().__next__)


@dataclass
class _AdjacencyLists:
    """The lines of files, with numbers instead of ids.

    Attributes
    ----------
    user_numbers, item_numbers : dict from str to int
    users, lengths, numbers : array of int
        The user, the number of items and the number of each line.
    items : array of int
        The items of all lines.
    files : list of (str, int)
        The name of each file, and the number of lines before it.
    skipped : int
    """

    user_numbers: defaultdict[str, int] = field(default_factory=_numbers)
    item_numbers: defaultdict[str, int] = field(default_factory=_numbers)
    users: array[int] = field(default_factory=lambda: array("i"))
    lengths: array[int] = field(default_factory=lambda: array("q"))
    numbers: array[int] = field(default_factory=lambda: array("q"))
    items: array[int] = field(default_factory=lambda: array("i"))
    files: list[tuple[str, int]] = field(default_factory=list)
    skipped: int = 0

    def add(self, number: int, fields: list[str]) -> None:
        """Add a line."""
        self.users.append(self.user_numbers[fields[0]])
        self.lengths.append(len(fields) - 1)
        self.numbers.append(number)
        self.items.extend(map(self.item_numbers.__getitem__, fields[1:]))

    def interactions(self, users: Vocabulary | None, items: Vocabulary | None) -> Interactions:
        """Return all interactions, possibly with repeats, with vocabularies that extend the given ones."""
        user_vocabulary, of_users = self._vocabulary("user", self.user_numbers, users)
        item_vocabulary, of_items = self._vocabulary("item", self.item_numbers, items)
        positions = of_users[np.frombuffer(self.users, np.int32)]
        return Interactions(
            users=user_vocabulary,
            items=item_vocabulary,
            user_positions=np.repeat(positions, np.frombuffer(self.lengths, np.int64)),
            item_positions=of_items[np.frombuffer(self.items, np.int32)],
            values=np.broadcast_to(1.0, len(self.items)),
            has_values=False,
        )

    def refuse_repeats(self, data: Interactions) -> None:
        repeat = find_repeat(data.user_positions, data.item_positions)
        if repeat is None:
            return
        user, item = data.users[data.user_positions[repeat.row]], data.items[data.item_positions[repeat.row]]
        line, earlier = self._line_of(repeat.row), self._line_of(repeat.earlier)
        before = "in the same line" if line == earlier else f"in {self._where(earlier)}"
        raise DataError(
            f"{self._where(line)}: user {user!r} already has the item {item!r} {before} ({repeat.counted}): set "
            "duplicates='last' or 'sum'"
        )

    def _vocabulary(
        self, side: Literal["user", "item"], numbers: Mapping[str, int], given: Vocabulary | None
    ) -> tuple[Vocabulary, NDArray[np.int32]]:
        """Return a vocabulary that has all ids, and the position of each number."""
        ids = integers_if_all(list(numbers))
        if given is None:
            return Vocabulary.encode(ids, name=f"{side} id")
        try:
            ids = with_types_of(given, ids, side)
        except IdError as error:
            column = np.frombuffer(self.users if side == "user" else self.items, np.int32)
            row = int(np.argmax(column == error.number))
            where = self._where(row if side == "user" else self._line_of(row))
            raise DataError(f"{where}: the {side} id {error.text!r} {error.fault}") from None
        vocabulary = given.extended(ids, name=f"{side} id")
        return vocabulary, vocabulary.positions(ids)

    def _line_of(self, row: int) -> int:
        """Return the index of the line of an interaction."""
        return int(np.searchsorted(np.cumsum(np.frombuffer(self.lengths, np.int64)), row, side="right"))

    def _where(self, line: int) -> str:
        name = next(name for name, before in reversed(self.files) if before <= line)
        return f"{name}, line {self.numbers[line]}"


def _read(sources: Sequence[Source], options: Options) -> _AdjacencyLists:
    lists = _AdjacencyLists()
    with TemporaryDirectory(prefix="halfstep-", ignore_cleanup_errors=True) as folder:
        workspace = TemporaryFolder(Path(folder))
        for source in sources:
            lists.files.append((source.name, len(lists.users)))
            for number, line in make_plain(source, options.encoding, options.comment, workspace):
                fields = _fields_of(line, options.separator)
                if "" not in fields:
                    if fields:
                        lists.add(number, fields)
                elif options.bad_lines == "skip":
                    lists.skipped += 1
                else:
                    raise DataError(
                        f"{source.name}, line {number}: the {'item' if fields[0] else 'user'} id in field "
                        f"{fields.index('') + 1} is missing: correct or drop such lines, or skip them with "
                        "bad_lines='skip'"
                    )
            workspace.clear()
    if not lists.items:
        skipped = f"; {lists.skipped:,} lines were skipped" if lists.skipped else ""
        raise DataError(
            f"{sources[0].name}: no line has an item{skipped}: expected a user id and the ids of its items on "
            "each line, separated by spaces; set separator=... for another separator"
        )
    return lists


def _fields_of(line: str, separator: str | None) -> list[str]:
    """Split a line into ids; a missing id is an empty string."""
    line = line.rstrip("\r\n")
    if separator is None:
        return [each for each in line.replace("\t", " ").split(" ") if each]
    fields = [each.strip(" \t") for each in line.split(separator)]
    return fields if fields[-1] else fields[:-1]
