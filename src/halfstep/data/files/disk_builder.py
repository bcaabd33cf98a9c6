"""Interactions from files of any size, in a folder on disk.

The columns are read into temporary arrays on the same disk, and sorted in parts; see `halfstep.data.on_disk`. A
folder is built next to its final location, under a lock, and renamed at the end.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from halfstep._support.blocks import all_equal, blocks, is_repeated
from halfstep._support.disk_arrays import Scratch, check_free_space
from halfstep._support.files import sync_folder
from halfstep._support.progress import progress_bar
from halfstep.data.csr import index_type
from halfstep.data.duplicates import Repeat, merge
from halfstep.data.files.request import Request, repeated_error
from halfstep.data.files.sources import Source
from halfstep.data.files.table_reader import Watcher, open_reader
from halfstep.data.interactions import Interactions
from halfstep.data.on_disk.folder import NAME, FolderWriter, describe, open_folder
from halfstep.data.on_disk.sorting import Columns, parts_of, row_starts
from halfstep.errors import DataError, ParameterError

fcntl: ModuleType | None
try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None

RELEASED_AFTER = 1 << 22  # rows
# bytes of a row: positions, cells in rows of both sides, and what is sorted; then those of a column of numbers, which
# is stored in three orders and sorted, and those of timestamps
PER_ROW, PER_NUMBER, PER_TIMESTAMP = 44, 40, 24


def built(folder: Path, request: Request) -> tuple[Interactions, int]:
    """Return the interactions in a folder, which is built if it does not exist, and the number of skipped lines.

    Raises
    ------
    DataError
        If the folder has interactions of other inputs, or other content.
    ParameterError
        If an input is not a regular file.
    OSError
        If the disk is full.
    """
    inputs = {"files": _described(request.sources), "options": request.described()}
    folder = folder.absolute()
    if not _is_complete(folder, inputs):
        with _locked(folder) as temporary:
            if not _is_complete(folder, inputs):  # another process may have built it meanwhile
                _clear(temporary)
                try:
                    _build(temporary, request, inputs)
                    if folder.is_dir():
                        folder.rmdir()  # it is empty
                    temporary.rename(folder)
                except BaseException:
                    shutil.rmtree(temporary, ignore_errors=True)
                    raise
                sync_folder(folder.parent)
    return open_folder(folder), int(describe(folder)["skipped"])


def _described(sources: Sequence[Source]) -> dict[str, list[int]]:
    """Return the size and the time of modification of each file."""
    files: dict[str, list[int]] = {}
    for source in sources:
        if source.name == "standard input" or not source.path.is_file():
            raise ParameterError(
                f"on_disk=... with {source.name}, which cannot be recognized by a later call: give regular files"
            )
        status = source.path.stat()
        files[str(source.path.absolute())] = [status.st_size, status.st_mtime_ns]
    return files


def _is_complete(folder: Path, inputs: Mapping[str, Any]) -> bool:
    """Return whether a folder has the interactions of these inputs; False if it is missing or empty."""
    if not folder.exists():
        return False
    if not folder.is_dir():
        raise DataError(f"on_disk={str(folder)!r} is a file: name a folder")
    if not (folder / NAME).exists() and not any(folder.iterdir()):
        return False
    stored = describe(folder).get("inputs")
    if stored != inputs:
        raise DataError(
            f"{folder} has the interactions of other inputs: {_difference(stored, inputs)}; delete the folder to "
            "build it again, or name another one"
        )
    return True


def _difference(stored: Any, inputs: Mapping[str, Any]) -> str:
    """Return the first difference between inputs in words."""
    if not isinstance(stored, dict) or not all(isinstance(stored.get(name), dict) for name in inputs):
        return "they are not recorded in the folder"
    for name, value in inputs["options"].items():
        was = stored["options"].get(name)
        if was != value:
            return f"{name}={was!r} instead of {value!r}"
    before, now = stored["files"], inputs["files"]
    for file in now:
        if file not in before:
            return f"it was built without {file}"
        if before[file] != now[file]:
            size, old_size = now[file][0], before[file][0]
            what = f"{size:,} bytes instead of {old_size:,}" if size != old_size else "another modification time"
            return f"{file} has {what}"
    return f"it was built with {next(file for file in before if file not in now)} as well"


@contextmanager
def _locked(folder: Path) -> Iterator[Path]:
    """Create the temporary folder next to a folder, and lock it; wait for another process that is building it."""
    if not folder.parent.is_dir():
        raise FileNotFoundError(f"on_disk={str(folder)!r}: there is no folder {str(folder.parent)!r}")
    temporary = folder.with_name(f".{folder.name}.building")
    while True:
        temporary.mkdir(exist_ok=True)
        if fcntl is None:
            yield temporary
            return
        with ExitStack() as stack:
            descriptor = os.open(temporary, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            with suppress(OSError):  # without locks, as in some network file systems
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            try:
                is_current = os.path.samestat(temporary.stat(), os.fstat(descriptor))
            except FileNotFoundError:
                is_current = False
            if is_current:
                try:
                    yield temporary
                finally:
                    with suppress(OSError):  # it was renamed
                        temporary.rmdir()
                return
        # another process has renamed or removed it


def _clear(folder: Path) -> None:
    """Remove the files that a killed process left."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


class _DiskWatcher(Watcher):
    """Checks the disk before files are read, shows the progress, and keeps resident memory small."""

    def __init__(self, folder: Path, scratch: Scratch, sizes: Sequence[int], bar: Any) -> None:
        self._folder, self._scratch, self._sizes, self._bar = folder, scratch, sizes, bar
        self._unreleased = 0

    def opened(self, columns: Collection[str], rows: int, sources: int) -> None:
        """Check that there is space for all files, which probably have as many rows per byte as those so far."""
        known = sum(self._sizes[:sources])
        expected = int(rows * sum(self._sizes) / max(known, 1))
        per_row = PER_ROW + PER_NUMBER * len({"value", "weight"} & {*columns})
        per_row += PER_TIMESTAMP * ("timestamp" in columns)
        if sources == 1 or self._bar.total < 3 * expected:
            needed = expected * per_row - self._scratch.size  # besides what has been read
            check_free_space(self._folder, needed, f"on_disk={str(self._folder.parent)!r}")
        self._bar.total = 3 * max(expected, rows)

    def read(self, rows: int) -> None:
        """Count rows."""
        self._bar.update(rows)
        self._unreleased += rows
        if self._unreleased >= RELEASED_AFTER:
            self._scratch.release()
            self._unreleased = 0


def _build(folder: Path, request: Request, inputs: Mapping[str, Any]) -> None:
    scratch, writer = Scratch(folder), FolderWriter(folder)
    sizes = [source.path.stat().st_size for source in request.sources]
    with (
        progress_bar(None, 0, "reading") as bar,
        open_reader(
            request.sources,
            request.options,
            empty=scratch.empty,
            watcher=_DiskWatcher(folder, scratch, sizes, bar),
            folder=folder,
        ) as reader,
    ):
        users, items, titles, columns, has_values = request.read(reader)
        columns = _without_equal(columns)
        sorter = _Sorter(writer, scratch, len(users), len(items), bar.update)
        repeat = sorter.write("by_user", columns, stop_at_repeats=request.duplicates != "error")
        if repeat is not None:
            if request.duplicates == "error":
                raise repeated_error(reader, repeat, users, items, columns)
            how = request.duplicates or ("last" if has_values else "sum")
            columns = _without_equal(sorter.merged(columns, how))
            sorter.write("by_user", columns)
        sorter.write("by_item", columns)
        skipped = reader.skipped
    timestamps = columns.pop("timestamps", None)
    if timestamps is not None:
        writer.write("timestamps", timestamps.view(np.int64) if timestamps.dtype.kind == "M" else timestamps)
    for name, column in columns.items():
        writer.write(name, column)
        scratch.release()
    writer.write_ids("users", users)
    writer.write_ids("items", items)
    if titles is not None:
        writer.write_titles(titles)
    writer.finish(
        {
            "interactions": len(columns["user_positions"]),
            "users": len(users),
            "items": len(items),
            "has_values": has_values,
            "timestamps": None if timestamps is None else str(timestamps.dtype),
            "titles": titles is not None,
            "source": request.source,
            "skipped": skipped,
            "inputs": inputs,
        }
    )


def _without_equal(columns: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return columns in which values and weights take no space if all are equal."""
    equal = {name for name in ("values", "weights") if name in columns and all_equal(columns[name])}
    return columns | {name: np.broadcast_to(columns[name][0], len(columns[name])) for name in equal}


class _Sorter:
    """Sorts cells into compressed rows of users and of items, and merges repeated ones."""

    def __init__(
        self, writer: FolderWriter, scratch: Scratch, n_users: int, n_items: int, done: Callable[[int], object]
    ) -> None:
        self._writer, self._scratch, self._done = writer, scratch, done
        self._sizes = n_users, n_items

    def write(
        self, side: Literal["by_user", "by_item"], columns: Columns, *, stop_at_repeats: bool = False
    ) -> Repeat | None:
        """Write the cells in compressed rows; return a repeat, the first that is found if `stop_at_repeats`."""
        names, (n_rows, n_columns) = ("user_positions", "item_positions"), self._sizes
        if side == "by_item":
            names, (n_rows, n_columns) = names[::-1], self._sizes[::-1]
        rows, cells_columns = (columns[name] for name in names)
        fields = {name: columns[name] for name in ("values", "weights") if name in columns}
        stored = {name: each for name, each in fields.items() if not is_repeated(each)}
        for name, each in fields.items():
            if is_repeated(each):
                self._writer.write(f"{side}.{name}", each)
        dtypes: dict[str, Any] = {"indices": np.int32, "order": index_type(len(rows))}
        dtypes |= dict.fromkeys(stored, np.float64)
        indptr, repeat = row_starts(rows, n_rows), None
        self._writer.write(f"{side}.indptr", indptr)
        with self._writer.opened({f"{side}.{name}": dtype for name, dtype in dtypes.items()}) as files:
            for part in parts_of(rows, cells_columns, indptr, stored, self._scratch):
                pattern = part.sorted(n_columns)
                numbers = part.numbers[pattern.order]
                repeat = _first(repeat, _repeat_in(pattern.indptr, pattern.indices, numbers))
                if repeat is not None and stop_at_repeats:
                    return repeat
                files[f"{side}.indices"].write(pattern.indices)
                files[f"{side}.order"].write(numbers)
                for name, column in part.fields.items():
                    files[f"{side}.{name}"].write(column[pattern.order])
                self._done(len(numbers))
        self._scratch.release()
        return repeat

    def merged(self, columns: Columns, how: Literal["last", "sum", "mean"]) -> dict[str, NDArray[Any]]:
        """Return columns with repeated cells merged as `Interactions.merged` does, by time."""
        rows, scratch, n = columns["user_positions"], self._scratch, len(columns["user_positions"])
        fields = {name: columns[name] for name in ("values", "weights", "timestamps") if name in columns}
        kept = scratch.empty(n, np.bool_)
        kept[:] = False
        merged = {name: scratch.empty(n, np.float64) for name in fields if name != "timestamps"}
        for part in parts_of(rows, columns["item_positions"], row_starts(rows, self._sizes[0]), fields, scratch):
            cells = (part.rows - part.first).astype(np.int64) * self._sizes[1] + part.columns
            latest, merge_column = merge(cells, how, part.fields.get("timestamps"))
            numbers = part.numbers[latest]
            kept[numbers] = True
            for name, column in merged.items():
                column[numbers] = merge_column(part.fields[name])
        count = int(np.count_nonzero(kept))
        return {name: self._compacted(merged.get(name, each), kept, count) for name, each in columns.items()}

    def _compacted(self, column: NDArray[Any], kept: NDArray[np.bool_], count: int) -> NDArray[Any]:
        compact, start = self._scratch.empty(count, column.dtype), 0
        for block in blocks(len(column)):
            chosen = column[block][kept[block]]
            compact[start : start + len(chosen)] = chosen
            start += len(chosen)
        self._scratch.release()
        return compact


def _repeat_in(indptr: NDArray[np.int64], columns: NDArray[np.int32], numbers: NDArray[np.integer]) -> Repeat | None:
    """Return the repeat of the first interaction whose cell occurs earlier, in sorted cells."""
    is_repeat = np.zeros(len(columns), np.bool_)
    np.equal(columns[1:], columns[:-1], out=is_repeat[1:])
    is_repeat[indptr[:-1][indptr[1:] > indptr[:-1]]] = False
    if not is_repeat.any():
        return None
    repeats = np.flatnonzero(is_repeat)
    at = int(repeats[np.argmin(numbers[repeats])])
    earliest = at
    while is_repeat[earliest]:
        earliest -= 1
    return Repeat(int(numbers[at]), int(numbers[earliest]), len(repeats))


def _first(one: Repeat | None, other: Repeat | None) -> Repeat | None:
    if one is None or other is None:
        return one or other
    first = one if one.row < other.row else other
    return first._replace(total=one.total + other.total)
