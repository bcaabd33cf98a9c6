"""Interactions from files of delimited text, JSON or parquet."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from halfstep._support.checks import as_path, check_choice
from halfstep.data.column_roles import TIMESTAMP, VALUE, WEIGHT, check_columns
from halfstep.data.duplicates import Duplicates, find_repeat
from halfstep.data.files.disk_builder import built
from halfstep.data.files.id_tables import read_title_table
from halfstep.data.files.request import Request, repeated_error
from halfstep.data.files.sources import find_sources
from halfstep.data.files.table_format import BadLines, Options
from halfstep.data.files.table_reader import open_reader
from halfstep.data.interactions import Interactions
from halfstep.data.vocabulary import Vocabulary
from halfstep.errors import ParameterError, SkippedLinesWarning

AnyPath = str | os.PathLike[str]


def read_interactions(
    path: AnyPath | Sequence[AnyPath],
    *,
    user: str | int = "user",
    item: str | int = "item",
    value: str | int | None = VALUE,
    timestamp: str | int | None = TIMESTAMP,
    weight: str | int | None = WEIGHT,
    item_titles: str | int | os.PathLike[str] | Mapping[Any, str] | None = None,
    users: Vocabulary | None = None,
    items: Vocabulary | None = None,
    duplicates: Duplicates | None = "error",
    separator: str | None = None,
    header: bool = True,
    quote: str | None = '"',
    encoding: str = "utf-8",
    decimal: str = ".",
    comment: str | None = None,
    newlines_in_values: bool = False,
    timestamp_format: str | None = None,
    bad_lines: BadLines = "error",
    on_disk: AnyPath | None = None,
) -> Interactions:
    r"""Read interactions from files of delimited text, JSON or parquet.

    Every line of a text file is read, named in an error, or counted as skipped: it is an error if the number of rows
    that the parser returns differs from an independent count of the lines.

    Parameters
    ----------
    path : str, path or sequence of them
        A file of delimited text, JSON (an object per line, or an array of objects) or parquet, optionally compressed
        (gzip, bzip2, xz, zstd, or a zip archive of one file); the format is detected from the content. Alternatively,
        a pattern such as ``"plays-*.csv"``, a list of paths, ``"-"`` for standard input, or a folder, whose files are
        parts of one table, with columns in the names of subfolders (``country=DE/part-0.parquet``).
    user, item : str or int
        The columns of ids, by name or position (from 0).
    value, timestamp, weight : str, int or None
        Further columns; see `Interactions.from_arrays`. By default, columns named ``value``, ``timestamp`` and
        ``weight`` are used if present; None ignores the column. Timestamps are numbers in any unit, dates and times
        of parquet, or text in ISO 8601 or other common formats such as ``23 Feb 2016 17:59`` and
        ``02/23/2016 5:59 PM``.
    item_titles : str, int, path, or mapping from item id to str, optional
        Titles of items, displayed with their ids: a column of the file; the path of a second table, with the columns
        `item` (or the first) and ``title`` (or the second); or a mapping.
    users, items : Vocabulary, optional
        The ids of a model (``model.users_`` and ``model.items_``), to whose types the ids of the file are converted.
    duplicates : {"error", "last", "sum", "mean"} or None
        As in `Interactions.from_arrays`.
    separator : str, optional
        The field separator of text, of at most 4 bytes: ``","``, ``"\t"``, ``"::"``. By default, it is detected from
        the suffix and the first lines.
    header : bool
        Whether the first line of text contains the names of the columns. Otherwise, give columns by position.
    quote : str or None
        The character that may enclose fields of text, if the separator is a single character. With None, quotes are
        ordinary characters.
    encoding : str
        The encoding of text. A byte order mark takes precedence.
    decimal : {".", ","}
        The decimal separator of values and weights in text.
    comment : str, optional
        Ignore lines of text that begin with this, such as ``"#"``.
    newlines_in_values : bool
        Whether quoted fields of text may contain line breaks. By default this is an error, since an unclosed quote
        would merge all lines up to the next quote. If True, reading is slower.
    timestamp_format : str, optional
        The format of timestamps in text for `datetime.datetime.strptime`, such as ``"%d/%m/%Y %H:%M"``; required only
        if several formats match.
    bad_lines : {"error", "skip"}
        How to handle lines that are not records, or whose id, value, timestamp or weight is invalid: raise an error
        that names the line, or skip them and issue a warning with their number.
    on_disk : path of a folder, optional
        Read into memory-mapped arrays in this folder, for interactions that do not fit in memory. The folder must be
        new or empty, or have the interactions of the same files (with the same sizes and times of modification) and
        parameters, which are then used without reading the files again. It is created atomically; files that a killed
        process leaves next to it are removed by the next call. By default, interactions are in memory.

    Returns
    -------
    Interactions
        Ids of text files become integers if all ids of the column are canonical integers ("7", not "007"), and are
        strings otherwise. Ids of JSON and parquet keep their types.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DataError
        If a file cannot be read or contains invalid data; the message names the file, and the line of a text file.
        If the folder `on_disk` has other interactions, or is incomplete.
    ParameterError
        If a parameter is invalid.
    OSError
        If the disk of `on_disk` is full; the message states the space that is needed.

    Warns
    -----
    SkippedLinesWarning
        If lines were skipped; the message contains their number.
    """
    options = Options(
        separator="\t" if isinstance(separator, str) and separator == "\\t" else separator,  # as passed by shells
        header=header,
        quote=quote,
        encoding=encoding,
        decimal=decimal,
        comment=comment,
        newlines_in_values=newlines_in_values,
        timestamp_format=timestamp_format,
        bad_lines=bad_lines,
    )
    asked = {"user": user, "item": item, "value": value, "timestamp": timestamp, "weight": weight}
    check_parameters(options, asked, {"users": users, "items": items}, duplicates)
    request = Request(find_sources(path), _name_of(path), options, asked, item_titles, users, items, duplicates)
    data, skipped = _read(request) if on_disk is None else built(as_path("on_disk", on_disk), request)
    if skipped:
        what = "line was" if skipped == 1 else "lines were"
        warnings.warn(f"{path}: {skipped:,} {what} skipped", SkippedLinesWarning, stacklevel=2)
    if item_titles is None or data.item_titles is not None:
        return data
    if isinstance(item_titles, int) or not isinstance(item_titles, str | os.PathLike):
        return data.with_titles(item_titles)
    of_table = replace(options, separator=None, comment=None)
    known = data.items if items is None else items.extended(data.items.ids)
    titles = read_title_table(item_titles, known, of_table, usual_item=item)
    return data.with_same_storage(replace(data, item_titles=titles))


def _read(request: Request) -> tuple[Interactions, int]:
    """Return interactions in memory, and the number of skipped lines."""
    with open_reader(request.sources, request.options) as reader:
        users, items, titles, columns, has_values = request.read(reader)
        data = Interactions(
            users=users, items=items, item_titles=titles, has_values=has_values, source=request.source, **columns
        )
        repeat = find_repeat(data.user_positions, data.item_positions) if request.duplicates == "error" else None
        if repeat is not None:
            raise repeated_error(reader, repeat, users, items, columns)
    return data if request.duplicates == "error" else data.without_repeats(request.duplicates), reader.skipped


def _name_of(path: Any) -> str:
    """Return the name of a file without its folder, or the number of files."""
    if not isinstance(path, str | os.PathLike):
        return f"{len(path)} files"
    name = os.fsdecode(path)
    return "standard input" if name == "-" else Path(name).name or name


def check_parameters(
    options: Options,
    asked: Mapping[str, Any],
    vocabularies: Mapping[str, Any],
    duplicates: Duplicates | None,
) -> None:
    """Check the parameters of a reader."""
    check_columns(asked, (str, int))
    for name, vocabulary in vocabularies.items():
        if vocabulary is not None and not isinstance(vocabulary, Vocabulary):
            raise ParameterError(f"{name}={vocabulary!r}: give a Vocabulary, such as model.{name}_")
    for name in ("header", "newlines_in_values"):
        if not isinstance(getattr(options, name), bool):
            raise ParameterError(f"{name}={getattr(options, name)!r}: give True or False")
    if duplicates is not None:
        check_choice("duplicates", duplicates, ("error", "last", "sum", "mean"))
    check_choice("bad_lines", options.bad_lines, ("error", "skip"))
    check_choice("decimal", options.decimal, (".", ","))
    _check_characters(options)


def _check_characters(options: Options) -> None:
    quote, separator, comment = options.quote, options.separator, options.comment
    if quote is not None and (
        not isinstance(quote, str) or len(quote) != 1 or not quote.isascii() or quote in "\r\n"
    ):
        raise ParameterError(f"quote={quote!r}: give a single ASCII character, or None for no quotes")
    if separator is not None:
        usable = isinstance(separator, str) and separator != "" and not set(separator) & {"\r", "\n", quote}
        if not usable or len(separator.encode()) > 4:
            raise ParameterError(
                f"separator={separator!r}: give a field separator such as ',', of at most 4 bytes, without "
                "line breaks and quotes"
            )
    if comment is not None and (not isinstance(comment, str) or not comment or set(comment) & {"\r", "\n"}):
        raise ParameterError(f"comment={comment!r}: give the prefix of comment lines, such as '#'")
    if options.newlines_in_values and (comment is not None or options.bad_lines == "skip"):
        other = "comment" if comment is not None else "bad_lines='skip'"
        raise ParameterError(
            f"newlines_in_values=True cannot be combined with {other}, since records then span lines: omit one of "
            "them"
        )
    if options.newlines_in_values and (quote is None or (separator is not None and len(separator) > 1)):
        raise ParameterError("newlines_in_values=True requires a quote and a separator of a single character")
