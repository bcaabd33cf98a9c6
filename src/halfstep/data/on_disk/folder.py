"""The folder of interactions on disk.

``interactions.json`` describes the arrays, each of which is a file of little-endian numbers: columns in the order of
the interactions, the cells in compressed rows of users and of items with their values and weights, and ids. Columns
in which all numbers are equal have no file.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from halfstep._support.blocks import blocks, is_repeated, largest
from halfstep._support.disk_arrays import ArrayFile, open_array
from halfstep._support.faults import Fault
from halfstep._support.files import sync_folder
from halfstep._support.version import __version__
from halfstep.data.csr import Orientation, index_type
from halfstep.data.interactions import Interactions
from halfstep.data.packed_ids import pack_texts, pack_vocabulary, unpack_texts, unpack_vocabulary
from halfstep.data.stored_columns import Pair, StoredColumns
from halfstep.data.vocabulary import Vocabulary
from halfstep.errors import DataError

NAME = "interactions.json"
FORMAT = 1

SIDES = "by_user", "by_item"
_DTYPES = {"<i4": "int32", "<i8": "int64", "<f8": "float64", "|u1": "uint8"}


class FolderWriter:
    """Writes the files of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._arrays: dict[str, dict[str, Any]] = {}

    def write(self, name: str, column: NDArray[Any]) -> None:
        """Write a column, without a file if it repeats one number."""
        if is_repeated(column):
            (self._folder / f"{name}.bin").unlink(missing_ok=True)  # of an earlier attempt
            self._arrays[name] = {"constant": float(column[0])}
            return
        with self.opened({name: column.dtype}) as files:
            for block in blocks(len(column)):
                files[name].write(column[block])

    @contextmanager
    def opened(self, dtypes: Mapping[str, DTypeLike]) -> Iterator[dict[str, ArrayFile]]:
        """Open several arrays, which are written in parts."""
        files = {name: ArrayFile(self._folder / f"{name}.bin") for name in dtypes}
        try:
            yield files
        finally:
            for file in files.values():
                file.close()
        for name, file in files.items():
            dtype = np.dtype(dtypes[name]).newbyteorder("<").str
            self._arrays[name] = {"dtype": dtype, "length": file.length, "crc32": file.checksum}

    def write_ids(self, name: str, vocabulary: Vocabulary) -> None:
        """Write ids."""
        for packed, array in pack_vocabulary(vocabulary, name).items():
            self.write(packed, array)

    def write_titles(self, titles: Mapping[Any, str]) -> None:
        """Write titles of items."""
        self.write_ids("titles.items", Vocabulary(np.fromiter(titles, dtype=object, count=len(titles))))
        for packed, array in pack_texts(list(titles.values()), "titles.texts").items():
            self.write(packed, array)

    def finish(self, about: Mapping[str, Any]) -> None:
        """Write the description, with which the folder is complete."""
        arrays = dict(sorted(self._arrays.items()))
        described = {
            "format": FORMAT,
            "written_by": __version__,
            "identifier": _digest(arrays),
            **about,
            "arrays": arrays,
        }
        with (self._folder / NAME).open("w", encoding="utf-8") as file:
            json.dump(described, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        sync_folder(self._folder)


def _digest(arrays: Mapping[str, Any]) -> str:
    """Return a digest of the description of all arrays, which has their checksums."""
    return hashlib.blake2b(json.dumps(arrays).encode(), digest_size=16).hexdigest()


def describe(folder: Path) -> dict[str, Any]:
    """Return the description of a folder."""
    try:
        described = json.loads((folder / NAME).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{folder} has no {NAME}, so it has no interactions on disk: name another folder") from None
    except (ValueError, RecursionError) as error:
        raise _broken(folder, f"{NAME} cannot be parsed ({error})") from None
    if not isinstance(described, dict) or described.get("format") != FORMAT:
        found = described.get("format") if isinstance(described, dict) else None
        raise _broken(folder, f"{NAME} is of format {found!r} instead of {FORMAT}")
    return described


def open_folder(folder: Path) -> Interactions:
    """Map the interactions in a folder.

    Raises
    ------
    DataError
        If a file is missing, has another size, or has positions that are out of range.
    """
    about = describe(folder)
    try:
        return _opened(folder, about)
    except Fault as fault:
        raise _broken(folder, str(fault).removeprefix("is corrupted: ").partition(";")[0]) from None
    except FileNotFoundError as error:
        raise _broken(folder, f"{Path(error.filename).name} is missing") from None
    except ValueError as error:  # or DataError
        raise _broken(folder, str(error)) from None
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise _broken(folder, f"{type(error).__name__}: {error}") from None


def _broken(folder: Path, what: str) -> DataError:
    return DataError(
        f"the interactions in {folder} are incomplete or corrupted ({what}): delete the folder, and read the files "
        "again"
    )


class _Files:
    """The arrays of a folder."""

    def __init__(self, folder: Path, about: Mapping[str, Any]) -> None:
        self._folder, self._arrays, self.length = folder, about["arrays"], int(about["interactions"])

    def column(self, name: str, dtype: DTypeLike, length: int | None = None) -> NDArray[Any]:
        """Return an array of a given type and, by default, one element for each interaction."""
        about, length = self._arrays[name], self.length if length is None else length
        if "constant" in about:
            return np.broadcast_to(np.float64(about["constant"]), length)
        if _DTYPES[about["dtype"]] != np.dtype(dtype) or about["length"] != length:
            raise ValueError(f"{name} has {about['length']} elements of type {about['dtype']}")
        return open_array(self._folder / f"{name}.bin", dtype, length)

    def packed(self, prefix: str) -> dict[str, NDArray[Any]]:
        """Return the arrays of ids or texts, in memory."""
        return {
            name: np.array(self.column(name, _DTYPES[about["dtype"]], about["length"]))
            for name, about in self._arrays.items()
            if name.startswith(f"{prefix}.")
        }

    def orientation(self, side: str, n_rows: int, n_columns: int) -> Orientation:
        indptr = self.column(f"{side}.indptr", np.int64, n_rows + 1)
        indices = self.column(f"{side}.indices", np.int32)
        order = self.column(f"{side}.order", index_type(self.length))
        if indptr[0] != 0 or indptr[-1] != self.length or (indptr[1:] < indptr[:-1]).any():
            raise ValueError(f"{side}.indptr is not ascending to {self.length}")
        for name, numbers, count in (("indices", indices, n_columns), ("order", order, self.length)):
            # negative numbers are large if viewed as unsigned
            if largest(numbers.view(f"u{numbers.itemsize}")) >= count:
                raise ValueError(f"{side}.{name} has numbers outside of 0 to {count - 1}")
        return Orientation(indptr, indices, order)

    def pair(self, name: str) -> Pair:
        by_user, by_item = (self.column(f"{side}.{name}", np.float64) for side in SIDES)
        return by_user, by_item


def _opened(folder: Path, about: Mapping[str, Any]) -> Interactions:
    files = _Files(folder, about)
    if about["identifier"] != _digest(about["arrays"]):
        raise ValueError(f"{NAME} was changed")
    if files.length < 1:
        raise ValueError("there are no interactions")
    users, items = (unpack_vocabulary(files.packed(name), name) for name in ("users", "items"))
    titles = None
    if about["titles"]:
        ids = unpack_vocabulary(files.packed("titles.items"), "titles.items")
        titles = dict(zip(ids, unpack_texts(files.packed("titles.texts"), "titles.texts"), strict=True))
    timestamps = None
    if about["timestamps"] is not None:
        dtype = np.dtype(about["timestamps"])
        timestamps = files.column("timestamps", "float64" if dtype == "float64" else "int64").view(dtype)
    weights = "weights" in about["arrays"]
    data = Interactions(
        users=users,
        items=items,
        user_positions=files.column("user_positions", np.int32),
        item_positions=files.column("item_positions", np.int32),
        values=files.column("values", np.float64),
        timestamps=timestamps,
        weights=files.column("weights", np.float64) if weights else None,
        item_titles=titles,
        has_values=bool(about["has_values"]),
        source=about["source"],
    )
    by_user = files.orientation("by_user", len(users), len(items))
    by_item = files.orientation("by_item", len(items), len(users))
    stored = StoredColumns(
        folder.absolute(), str(about["identifier"]), files.pair("values"), files.pair("weights") if weights else None
    )
    return data.stored_as(stored, by_user, by_item)
