"""Interactions on disk equal those in memory, and a folder is complete or not there."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet as pq

import halfstep as hs
from halfstep._support import disk_arrays
from halfstep.data.duplicates import Duplicates
from halfstep.data.files import disk_builder
from halfstep.data.files.interaction_files import read_interactions
from halfstep.data.on_disk import sorting
from halfstep.errors import DataError, ParameterError, SkippedLinesWarning

N = 3000


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sort in many parts."""
    monkeypatch.setattr(sorting, "MOST", 150)
    monkeypatch.setattr(sorting, "AT_ONCE", 170)


@pytest.fixture(scope="module")
def table() -> pa.Table:
    rng = np.random.default_rng(0)
    return pa.table(
        {
            "user": rng.zipf(1.5, N) % 90,
            "item": rng.zipf(1.3, N) % 60,
            "value": rng.integers(1, 6, N).astype(float) + 0.1,
            "timestamp": rng.integers(0, 300, N),
            "weight": rng.random(N),
            "title": [None if k % 3 == 0 else f"title {k}" for k in range(N)],
        }
    )


@pytest.fixture
def file(table: pa.Table, tmp_path: Path) -> Path:
    pq.write_table(table, tmp_path / "ratings.parquet", row_group_size=700)
    return tmp_path / "ratings.parquet"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder to build, beside which nothing may be left."""
    before = {path.name for path in tmp_path.iterdir()}
    yield tmp_path / "disk"
    left = {path.name for path in tmp_path.iterdir() if path.name.startswith(".")}
    assert left <= before


def assert_same(one: hs.Interactions, other: hs.Interactions) -> None:
    assert one.users == other.users
    assert one.items == other.items
    for name in ("user_positions", "item_positions", "values", "timestamps", "weights", "user_counts", "item_counts"):
        expected, found = getattr(one, name), getattr(other, name)
        assert (expected is None) == (found is None), name
        if expected is not None:
            assert expected.dtype == found.dtype, name
            np.testing.assert_array_equal(expected, found, err_msg=name)
    for side in ("by_user", "by_item"):
        for name in ("indptr", "indices", "order"):
            expected, found = getattr(getattr(one, side), name), getattr(getattr(other, side), name)
            assert expected.dtype == found.dtype
            np.testing.assert_array_equal(expected, found, err_msg=f"{side}.{name}")
    for name in ("item_titles", "has_values", "source", "values_are", "frame_kind"):
        assert getattr(one, name) == getattr(other, name), name


def assert_same_on_disk(folder: Path, path: Any, **parameters: Any) -> hs.Interactions:
    expected = read_interactions(path, **parameters)
    data = read_interactions(path, on_disk=folder, **parameters)
    assert_same(expected, data)
    stored = data.stored
    assert stored is not None
    for k, orientation in enumerate((data.by_user, data.by_item)):
        np.testing.assert_array_equal(stored.values[k], data.values[orientation.order])
        if data.weights is not None:
            assert stored.weights is not None
            np.testing.assert_array_equal(stored.weights[k], data.weights[orientation.order])
    assert_same(expected, read_interactions(path, on_disk=folder, **parameters))  # from the folder
    return data


@pytest.mark.slow
@pytest.mark.parametrize("duplicates", ["last", "sum", "mean", None])
@pytest.mark.parametrize("ignored", [(), ("value",), ("timestamp",), ("weight",), ("value", "timestamp", "weight")])
def test_columns_and_duplicates(
    file: Path, folder: Path, duplicates: Duplicates | None, ignored: tuple[str, ...]
) -> None:
    assert_same_on_disk(folder, file, duplicates=duplicates, **dict.fromkeys(ignored))


@pytest.mark.parametrize("duplicates", ["error", "last"])
def test_without_duplicates(file: Path, folder: Path, table: pa.Table, duplicates: Duplicates) -> None:
    pq.write_table(table.group_by(["user", "item"]).aggregate([("value", "sum")]).slice(0), file)
    assert_same_on_disk(folder, file, value="value_sum", duplicates=duplicates)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [pa.uint8(), pa.int64(), pa.uint64(), pa.float64(), pa.string(), pa.binary(), pa.decimal128(20, 2), pa.date32(),
     pa.timestamp("us"), "uuid", "large"],
)  # fmt: skip
def test_types_of_ids(file: Path, folder: Path, table: pa.Table, kind: Any) -> None:
    ids = table["user"].to_pylist()
    if kind == "uuid" and not hasattr(pa, "uuid"):
        pytest.skip("this version of PyArrow has no such type")
    if kind == "uuid":
        column = pa.array([UUID(int=each).bytes for each in ids], pa.uuid())
    elif kind == "large":  # too sparse for a table
        column = pa.array([each * 10**12 - 10**13 for each in ids])
    elif kind in (pa.string(), pa.binary()):
        column = pa.array([f"ü{each}" for each in ids]).cast(kind)
    elif kind == pa.decimal128(20, 2):
        column = pa.array([Decimal(each) / 4 for each in ids], kind)
    else:
        column = pa.array(ids).cast(pa.int32() if kind == pa.date32() else pa.int64()).cast(kind)
    pq.write_table(table.set_column(0, "user", column), file)
    assert_same_on_disk(folder, file, duplicates="last")


@pytest.mark.parametrize("ids", ["{}", "u{}", "00{}"])
def test_text(tmp_path: Path, folder: Path, table: pa.Table, ids: str) -> None:
    rows = zip(*(table[name].to_pylist() for name in ("user", "item", "value", "timestamp")), strict=True)
    lines = [f"{ids.format(user)},{item},{value},{time}" for user, item, value, time in rows]
    (tmp_path / "ratings.csv").write_text("\n".join(["user,item,value,timestamp", *lines]))
    assert_same_on_disk(folder, tmp_path / "ratings.csv", duplicates="mean")


def test_json_lines_with_mixed_ids(tmp_path: Path, folder: Path) -> None:
    rows = [{"user": k % 7 if k % 2 else f"user {k % 5}", "item": k % 11 / 2, "value": k} for k in range(300)]
    (tmp_path / "plays.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert_same_on_disk(folder, tmp_path / "plays.jsonl", duplicates="sum")


def test_parts_of_a_folder(tmp_path: Path, folder: Path, table: pa.Table) -> None:
    for k in range(3):
        (tmp_path / "parts" / f"country={k}").mkdir(parents=True)
        pq.write_table(table.slice(k * 1000, 1000), tmp_path / "parts" / f"country={k}" / "part.parquet")
    assert_same_on_disk(folder, tmp_path / "parts", duplicates="last", item="country")


def test_times_in_text(tmp_path: Path, folder: Path) -> None:
    lines = [f"{k % 13},{k},2024-01-{1 + k % 28:02} 10:{k % 60:02}" for k in range(400)]
    (tmp_path / "a.csv").write_text("\n".join(["user,item,timestamp", *lines]))
    data = assert_same_on_disk(folder, tmp_path / "a.csv")
    assert data.timestamps is not None
    assert data.timestamps.dtype == "datetime64[us]"


@pytest.mark.parametrize("titles", ["title", "table", {1: "one", 2: "two"}])
def test_titles(file: Path, folder: Path, titles: Any) -> None:
    if titles == "table":
        titles = file.with_name("titles.csv")
        titles.write_text("item,title\n1,one\n2,two\n")
    data = assert_same_on_disk(folder, file, duplicates="last", item_titles=titles)
    assert data.item_titles


def test_types_of_a_model(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "a.csv").write_text("user,item\n" + "\n".join(f"{k % 9},{k}" for k in range(200)))
    texts = hs.Vocabulary([str(k) for k in range(5)])
    data = assert_same_on_disk(folder, tmp_path / "a.csv", users=texts, items=texts)
    assert data.users[0] == "0"
    with pytest.raises(DataError, match="users="):
        read_interactions(tmp_path / "a.csv", on_disk=folder)


def test_equal_numbers_take_no_space(file: Path, folder: Path, table: pa.Table) -> None:
    equal = table.set_column(2, "value", pa.array(np.full(N, 2.5))).set_column(4, "weight", pa.array(np.ones(N)))
    pq.write_table(equal, file)
    data = assert_same_on_disk(folder, file, duplicates="last")
    assert data.stored is not None
    assert data.values.strides == data.stored.values[0].strides == data.stored.values[1].strides == (0,)
    assert data.weights is not None
    assert data.weights.strides == (0,)
    assert not [path for path in folder.iterdir() if "values" in path.name or "weights" in path.name]


def test_skipped_lines_are_reported_again(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "a.csv").write_text("user,item,value\n1,2,3\n1,3,x\n2,3,4\n,3,4\n")
    for _ in range(2):
        with pytest.warns(SkippedLinesWarning, match="2 lines"):
            data = read_interactions(tmp_path / "a.csv", bad_lines="skip", on_disk=folder)
        assert len(data) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "content",
    ["", "user,item\n", "user,item,value\n1,2,3\n1,3,nan\n", "user,item,value\n1,2,3\n1,3,inf\n",
     "user,item,weight\n1,2,-1\n", "user,item\n1,2\n,3\n", "user,item\n1,2\n1,3\n1,2\n1,2\n",
     "user,item\n1,2\n1,2,3\n"],
)  # fmt: skip
def test_errors_are_those_of_reading_into_memory(tmp_path: Path, folder: Path, content: str) -> None:
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(DataError) as expected:
        read_interactions(tmp_path / "a.csv")
    with pytest.raises(DataError) as found:
        read_interactions(tmp_path / "a.csv", on_disk=folder)
    assert str(found.value) == str(expected.value)
    assert not folder.exists()


def test_a_folder_is_used_again(file: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir()  # an empty folder is as good as none
    read_interactions(file, duplicates="last", on_disk=folder)
    monkeypatch.delattr(disk_builder, "_build")
    assert len(read_interactions(str(file), duplicates="last", on_disk=str(folder)))


def test_a_folder_of_other_inputs(file: Path, folder: Path, table: pa.Table) -> None:
    read_interactions(file, duplicates="last", on_disk=folder)
    with pytest.raises(DataError, match=r"other inputs: duplicates='last' instead of 'sum'; delete the folder"):
        read_interactions(file, duplicates="sum", on_disk=folder)
    with pytest.raises(DataError, match=r"value='value' instead of None"):
        read_interactions(file, value=None, duplicates="last", on_disk=folder)
    status = file.stat()
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1000))
    with pytest.raises(DataError, match=r"ratings.parquet has another modification time"):
        read_interactions(file, duplicates="last", on_disk=folder)
    pq.write_table(table.slice(0, 100), file)
    with pytest.raises(DataError, match=r"bytes instead of"):
        read_interactions(file, duplicates="last", on_disk=folder)
    shutil.copy(file, file.with_name("more.parquet"))
    with pytest.raises(DataError, match=r"built without .*more.parquet"):
        read_interactions(file.with_name("more.parquet"), duplicates="last", on_disk=folder)


def test_what_is_not_a_folder_of_interactions(file: Path, folder: Path) -> None:
    folder.mkdir()
    (folder / "mine").touch()
    with pytest.raises(DataError, match=r"no interactions on disk: name another folder"):
        read_interactions(file, duplicates="last", on_disk=folder)
    assert [path.name for path in folder.iterdir()] == ["mine"]
    with pytest.raises(DataError, match="is a file"):
        read_interactions(file, duplicates="last", on_disk=file)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        read_interactions(file, duplicates="last", on_disk=folder / "no" / "such")
    with pytest.raises(ParameterError, match="standard input"):
        read_interactions("-", on_disk=folder.with_name("other"))
    with pytest.raises(ParameterError, match="on_disk=3"):
        read_interactions(file, on_disk=3)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("by_user.indices.bin", lambda content: content[:-4]),
        ("values.bin", lambda content: content + bytes(8)),
        ("by_item.order.bin", lambda content: b"\xff" * 4 + content[4:]),
        ("by_item.indices.bin", lambda content: content[:-4] + b"\x00\x01\x00\x00"),
        ("by_user.indptr.bin", lambda content: content[:8] + b"\xff" * 8 + content[16:]),
        ("user_positions.bin", lambda content: b"\x00\x00\x00\x70" + content[4:]),
        ("users.integers.bin", lambda content: content[:-8]),
        ("users.integers.bin", lambda content: content[:8] + content[:8] + content[16:]),
        ("interactions.json", lambda content: content[:-20]),
        ("interactions.json", lambda content: content.replace(b'"format": 1', b'"format": 2')),
        ("interactions.json", lambda content: content.replace(b'"weights": {', b'"wrong": {')),
        ("interactions.json", lambda content: content.replace(b'"<f8"', b'"<f4"')),
        ("interactions.json", lambda content: b"[]"),
        ("timestamps.bin", None),
    ],
)
def test_damaged_folders(file: Path, folder: Path, name: str, damage: Any) -> None:
    read_interactions(file, duplicates="last", on_disk=folder)
    path = folder / name
    if damage is None:
        path.unlink()
    else:
        changed = damage(path.read_bytes())
        assert changed != path.read_bytes()
        path.write_bytes(changed)
    with pytest.raises(DataError, match=r"incomplete or corrupted \(.*delete the folder, and read the files again"):
        read_interactions(file, duplicates="last", on_disk=folder)


def test_arrays_can_be_written_without_changing_the_files(file: Path, folder: Path) -> None:
    data = read_interactions(file, duplicates="last", on_disk=folder)
    data.by_user.indices[:] = 0
    assert read_interactions(file, duplicates="last", on_disk=folder).by_user.indices.any()


def run(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Run code that has the file and the folder in a new process."""
    begin = "import os, signal, sys, halfstep as hs\nfile, folder = sys.argv[1:]\n"
    command = [sys.executable, "-c", begin + code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


READ = "print(hs.read_interactions(file, duplicates='last', on_disk=folder))\n"


@pytest.mark.slow
@pytest.mark.parametrize("where", ["FolderWriter.finish", "FolderWriter.write_ids", "FolderWriter.write"])
def test_a_killed_process_leaves_nothing_that_matters(file: Path, folder: Path, where: str) -> None:
    kill = (
        "from halfstep.data.on_disk.folder import FolderWriter\n"
        f"{where} = lambda *args, **kwargs: os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    process = run(kill + READ, file, folder)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not folder.exists()
    assert (folder.parent / ".disk.building").is_dir()
    assert_same_on_disk(folder, file, duplicates="last")
    assert not (folder.parent / ".disk.building").exists()


@pytest.mark.slow
def test_two_processes_at_once(file: Path, folder: Path) -> None:
    processes = [run(READ, file, folder) for _ in range(3)]
    outputs = {process.communicate() for process in processes}
    assert outputs == {(f"{read_interactions(file, duplicates='last')}\n", "")}


def test_the_disk_is_checked_beforehand(file: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(folder.parent)._replace(free=1000)
    monkeypatch.setattr(disk_arrays.shutil, "disk_usage", lambda path: usage)
    needed = N * (disk_builder.PER_ROW + 2 * disk_builder.PER_NUMBER + disk_builder.PER_TIMESTAMP)
    with pytest.raises(OSError, match=rf"requires {needed:,} bytes .* only 1,000 are free") as raised:
        read_interactions(file, duplicates="last", on_disk=folder)
    assert raised.value.errno == errno.ENOSPC
    assert not folder.exists()


def test_space_in_use_already_is_not_required_again(
    table: pa.Table, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The expected number of rows grows with each file."""
    stated, in_use = [], []

    def check(folder: Path, needed: int, what: str) -> None:
        stated.append(needed)

    def space_of(self: disk_arrays.Scratch) -> int:
        in_use.append(sum(map(len, self._maps)))
        return in_use[-1]

    monkeypatch.setattr(disk_builder, "check_free_space", check)
    monkeypatch.setattr(disk_arrays.Scratch, "size", property(space_of))
    parts = tmp_path / "parts"
    parts.mkdir()
    for k in range(3):
        pq.write_table(
            table.slice(1000 * k, 500 * (k + 1)), parts / f"{k}.parquet", compression=("NONE", "GZIP")[k > 0]
        )
    read_interactions(parts, duplicates="last", on_disk=folder)
    per_row = disk_builder.PER_ROW + 2 * disk_builder.PER_NUMBER + disk_builder.PER_TIMESTAMP
    assert len(stated) > 1
    assert in_use[-1] > 0
    assert all((needed + used) % per_row == 0 for needed, used in zip(stated, in_use, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("limit", [5_000, 20_000, 23_000])
@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="no limit of file sizes")
def test_a_full_disk(file: Path, folder: Path, limit: int) -> None:
    """A limit on the size of files has the same effects as a full disk."""
    limits = f"import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
    catch = f"try:\n    {READ}except OSError as error:\n    print(error)\n"
    output, _ = run(limits + catch, file, folder).communicate()
    assert "GB more are needed: free disk space" in output
    assert not folder.exists()
    assert_same_on_disk(folder, file, duplicates="last")


def test_the_space_stated_is_enough(file: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stated, used, sizes = [], [0], []
    empty = disk_arrays.Scratch.empty
    monkeypatch.setattr(disk_builder, "check_free_space", lambda folder, needed, what: stated.append(needed))

    def counted(self: disk_arrays.Scratch, length: int, dtype: Any) -> Any:
        array = empty(self, length, dtype)
        in_files = sum(path.stat().st_size for path in self.folder.iterdir() if path.is_file())
        used[0] = max(used[0], sum(map(len, self._maps)) + in_files)
        return array

    monkeypatch.setattr(disk_arrays.Scratch, "empty", counted)
    read_interactions(file, duplicates="last", on_disk=folder)
    sizes.append(sum(path.stat().st_size for path in folder.iterdir() if path.suffix == ".bin"))
    assert max(used[0], sizes[0]) <= stated[0] <= 2 * max(used[0], sizes[0])
