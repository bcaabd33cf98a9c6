"""Interactions from files, the same whichever library is installed to read them."""

from __future__ import annotations

import csv
import gzip
import io
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import hypothesis.strategies as st
import numpy as np
import polars as pl
import pytest
from hypothesis import given

from halfstep.errors import DataError, ParameterError
from halfstep.interactions.columns import RowError
from halfstep.interactions.delimited import DelimitedText
from halfstep.interactions.reading import read_interactions

TABLE = "user,item,value,timestamp,weight\neve,20,5,400,1\nadam,10,0.5,300,0\neve,10,-3,200,2.5\n"


@pytest.fixture(params=["pyarrow", "python"])
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Read with PyArrow, and as if it were not installed."""
    if request.param == "python":
        monkeypatch.setitem(sys.modules, "pyarrow", None)
    return str(request.param)


def write(folder: Path, content: str | bytes, name: str = "ratings.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("ratings.csv", TABLE),
        ("RATINGS.CSV", TABLE),
        ("ratings.tsv", TABLE.replace(",", "\t")),
        ("ratings.csv.gz", gzip.compress(TABLE.encode())),
        ("ratings.csv", TABLE.replace("\n", "\r\n")),
        ("ratings.csv", TABLE.rstrip("\n")),
        ("ratings.csv", TABLE.replace("\n", "\n\n")),
        ("ratings.csv", "\ufeff" + TABLE),
        ("ratings.csv", TABLE.replace("eve", '"eve"')),
    ],
    ids=["csv", "capitals", "tsv", "gz", "crlf", "no last newline", "blank lines", "byte order mark", "quotes"],
)
def test_text_files(tmp_path: Path, name: str, content: str | bytes) -> None:
    path = write(tmp_path, content, name)
    data = read_interactions(path, value="value", timestamp=3, weight="weight")
    assert data.user_ids.tolist() == ["eve", "adam", "eve"]
    assert data.item_ids.tolist() == [20, 10, 10]
    assert data.items.ids.dtype == np.int64
    assert data.values.tolist() == [5.0, 0.5, -3.0]
    assert data.timestamps.tolist() == [400, 300, 200]
    assert data.timestamps.dtype == np.int64
    assert data.weights.tolist() == [1.0, 0.0, 2.5]
    same = read_interactions(str(path))  # the columns have the default names
    assert (same.values.tolist(), same.timestamps.tolist()) == ([5.0, 0.5, -3.0], [400, 300, 200])
    bare = read_interactions(path, value=None, timestamp=None, weight=None)
    assert (bare.values.tolist(), bare.has_values) == ([1.0] * 3, False)
    assert bare.timestamps is bare.weights is None


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize(("name", "separator"), [("u.data", "\t"), ("ratings.dat", "::"), ("ratings.csv", "§")])
def test_files_without_a_header(tmp_path: Path, name: str, separator: str) -> None:
    lines = [["1", "7", "4.0", "100"], ["2", "7", "3.5", "200.5"]]
    path = write(tmp_path, "".join(separator.join(line) + "\n" for line in lines), name)
    data = read_interactions(path, user=0, item=1, value=2, timestamp=3, separator=separator, header=False)
    assert data.user_ids.tolist() == [1, 2]
    assert data.values.tolist() == [4.0, 3.5]
    assert data.timestamps.tolist() == [100.0, 200.5]


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (["7", "-3", "0"], [7, -3, 0]),
        (["7", "007", "0"], ["7", "007", "0"]),
        (["7", "+3", "0"], ["7", "+3", "0"]),
        (["7", " 3", "0"], ["7", " 3", "0"]),
        (["7", "1_0", "0"], ["7", "1_0", "0"]),
        (["7", "-0", "0"], ["7", "-0", "0"]),
        (["7", "3.0", "0"], ["7", "3.0", "0"]),
        (["7", "٣", "0"], ["7", "٣", "0"]),
        (["7", "NA", "nan"], ["7", "NA", "nan"]),
        (["7", "9223372036854775807", "0"], [7, 2**63 - 1, 0]),
        (["7", "9223372036854775808", "0"], ["7", "9223372036854775808", "0"]),
    ],
)
def test_ids_are_integers_only_if_all_are_written_so(tmp_path: Path, ids: list[str], expected: list[Any]) -> None:
    path = write(tmp_path, "user,item\n" + "".join(f"{each},1\n" for each in ids))
    assert read_interactions(path).user_ids.tolist() == expected


@pytest.mark.usefixtures("reader")
def test_timestamps_of_text(tmp_path: Path) -> None:
    path = write(tmp_path, "user,item,timestamp\n1,1,2020-01-01T12:00:00\n2,1,2020-01-01T13:00:00+01:00\n")
    noon = np.datetime64("2020-01-01T12", "us")
    assert read_interactions(path, timestamp="timestamp").timestamps.tolist() == [noon.item()] * 2


@pytest.mark.usefixtures("reader")
def test_duplicates_are_passed_on(tmp_path: Path) -> None:
    path = write(tmp_path, "user,item,value\n1,1,2\n3,1,4\n1,1,6\n")
    assert read_interactions(path, value="value", duplicates="mean").values.tolist() == [4.0, 4.0]


FIELDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)


@given(st.lists(st.tuples(FIELDS, FIELDS, FIELDS), min_size=1, max_size=8), st.sampled_from(["\n", "\r\n"]))
def test_pyarrow_and_python_read_the_same(records: list[tuple[str, ...]], newline: str) -> None:
    content = io.StringIO(newline="")
    csv.writer(content, lineterminator=newline, quoting=csv.QUOTE_ALL).writerows(records)
    with TemporaryDirectory() as folder:
        text = DelimitedText(write(Path(folder), content.getvalue()), ",", header=False)
        ours = text.columns([2, 0])
        with mock.patch.dict(sys.modules, {"pyarrow": None}):
            assert text.columns([2, 0]) == ours
        assert ours == [[record[place] for record in records] for place in (2, 0)]


@given(st.text('a1 ,"\r\n', max_size=40))
def test_pyarrow_and_python_read_the_same_of_malformed_text(content: str) -> None:
    with TemporaryDirectory() as folder:
        text = DelimitedText(write(Path(folder), content), ",", header=False)

        def outcome() -> list[list[str]] | str:
            try:
                return text.columns([0])
            except DataError as error:
                return str(error)

        with_pyarrow = outcome()
        with mock.patch.dict(sys.modules, {"pyarrow": None}):
            assert outcome() == with_pyarrow


def test_pyarrow_is_used_where_it_is_installed(tmp_path: Path) -> None:
    path = write(tmp_path, TABLE)
    with mock.patch.object(DelimitedText, "_columns_by_python", side_effect=AssertionError):
        assert len(read_interactions(path)) == 3


# --- what is refused --------------------------------------------------------------------------------


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no file '.*nothing\.csv'; relative paths start at"):
        read_interactions(tmp_path / "nothing.csv")


def test_unknown_suffix(tmp_path: Path) -> None:
    path = write(tmp_path, TABLE, "ratings.xlsx")
    with pytest.raises(DataError, match=r"the suffix '\.xlsx' is none of \.csv, .*: say separator=\.\.\. if it is"):
        read_interactions(path)


@pytest.mark.parametrize("separator", ["", "\n", '"'])
def test_bad_separators(tmp_path: Path, separator: str) -> None:
    with pytest.raises(ParameterError, match=r"separator=.*: give what stands between the fields, such as ','"):
        read_interactions(write(tmp_path, TABLE), separator=separator)


@pytest.mark.usefixtures("reader")
def test_unknown_columns(tmp_path: Path) -> None:
    path = write(tmp_path, "user,film,film\n1,2,3\n")
    fault = (
        r"ratings\.csv: there is no column 'item' for item: there are 0 'user', 1 'film', 2 'film'; say item=\.\.\."
    )
    with pytest.raises(DataError, match=fault):
        read_interactions(path)
    with pytest.raises(DataError, match="there is no column 3 for value: there are"):
        read_interactions(path, item=1, value=3)
    with pytest.raises(DataError, match="there is no column -1 for value: there are"):
        read_interactions(path, item=1, value=-1)
    with pytest.raises(DataError, match=r"there is more than one column 'film' for item: .* with a name or position"):
        read_interactions(path, item="film")
    with pytest.raises(DataError, match=r"user='user', but without a header there are no names: say user=.* 0 to 2"):
        read_interactions(path, header=False)


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize(
    ("content", "line", "fault"),
    [
        (
            "user,item,value\n1,2,3\n\n4,5\n",
            4,
            "there are 2 fields, but 3 in line 1: mend the line, or say separator=",
        ),
        ("user,item\n1,2\n4,5,6\n", 3, "there are 3 fields, but 2 in line 1"),
        ("user,item,value\n1,2,3\n\n4,5,?\n", 4, r"the value in row 1 \(counted from 0\) is '\?': not a number"),
        ("user,item,value\n1,2,3\n4,5,nan\n", 3, "the value in row 1 .* is nan: not a finite number"),
        ("user,item,value\n1,2,\n", 2, "the value in row 0 .* is '': not a number; drop or mend such rows"),
        ("user,item,weight\n1,2,-3\n", 2, r"the weight in row 0 .* is -3\.0: a weight is at least 0"),
        ('user,item\n1,"2\n"\n,5\n', 4, "the user id in row 1 .* is '': a missing id; drop or mend such rows"),
        ("user,item,timestamp\n1,2,3\n4,5,\n", 3, "the timestamp in row 1 .* is '': not a number"),
        ("user,item,timestamp\n1,2,2020-01-01\n4,5,soon\n", 3, "the timestamp in row 1 .* is 'soon': not an instant"),
        (
            "user,item\n1,2\n3,4\n1,2\n",
            4,
            r".* in row 2 .* is \(1, 2\): the same as in row 0, .*; say duplicates='last'",
        ),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, content: str, line: int, fault: str) -> None:
    path = write(tmp_path, content)
    roles = {role: role for role in ("value", "timestamp", "weight") if role in content}
    with pytest.raises(DataError, match=rf"ratings\.csv, line {line}: {fault}") as caught:
        read_interactions(path, **roles)
    assert not isinstance(caught.value, RowError)  # the row has become a line


def test_lines_that_the_csv_module_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    path = write(tmp_path, f"user,item\n1,2\n3,{'4' * 200_000}\n")
    with pytest.raises(DataError, match=r"ratings\.csv, line 3: field larger than field limit .*: mend the line"):
        read_interactions(path)


@pytest.mark.usefixtures("reader")
def test_empty_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"ratings\.csv: the file is empty"):
        read_interactions(write(tmp_path, ""))
    with pytest.raises(DataError, match=r"ratings\.csv: the table is empty: give at least one interaction"):
        read_interactions(write(tmp_path, "user,item\n"))


@pytest.mark.usefixtures("reader")
def test_other_encodings(tmp_path: Path) -> None:
    path = write(tmp_path, "user,item\n1,2\né,3\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"ratings\.csv, after line \d: not UTF-8 .*: convert the file to UTF-8"):
        read_interactions(path)


@pytest.mark.usefixtures("reader")
def test_broken_gzip_files(tmp_path: Path) -> None:
    lines = "user,item\n" + "".join(f"{k},{k * k}\n" for k in range(20_000))
    whole = gzip.compress(lines.encode())
    for content in (whole[: len(whole) // 2], TABLE.encode(), whole[:-6]):
        path = write(tmp_path, content, "ratings.csv.gz")
        with pytest.raises(
            DataError, match=r"ratings\.csv\.gz, after line \d+: broken gzip file .*: fetch or write it"
        ):
            read_interactions(path)


# --- parquet ----------------------------------------------------------------------------------------


def parquet(folder: Path) -> Path:
    columns = {"user": ["eve", "adam"], "item": [20, 10], "value": [5.0, 1.0], "when": [400, 300]}
    pl.DataFrame(columns).write_parquet(folder / "ratings.parquet")
    return folder / "ratings.parquet"


@pytest.mark.usefixtures("reader")  # without PyArrow, Polars reads it
def test_parquet(tmp_path: Path) -> None:
    data = read_interactions(parquet(tmp_path), value=2, timestamp="when")
    assert data.user_ids.tolist() == ["eve", "adam"]
    assert data.items.ids.tolist() == [10, 20]
    assert data.values.tolist() == [5.0, 1.0]
    assert data.timestamps.tolist() == [400, 300]


@pytest.mark.usefixtures("reader")
def test_bad_parquet(tmp_path: Path) -> None:
    path = parquet(tmp_path)
    with pytest.raises(
        DataError, match=r"ratings\.parquet: there is no column 'stars' for value: there are 0 'user'"
    ):
        read_interactions(path, value="stars")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"ratings\.parquet: no readable parquet file .*: write or fetch it again"):
        read_interactions(path)


def test_bad_rows_of_parquet(tmp_path: Path) -> None:
    path = tmp_path / "ratings.parquet"
    pl.DataFrame({"user": ["eve", None], "item": [20, 10]}).write_parquet(path)
    with pytest.raises(DataError, match=r"ratings\.parquet: the user id in row 1 .* is None: a missing id"):
        read_interactions(path)


def test_parquet_without_a_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = parquet(tmp_path)
    for library in ("pyarrow", "polars"):
        monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(DataError, match="reading parquet takes pyarrow or polars: run pip install pyarrow"):
        read_interactions(path)
