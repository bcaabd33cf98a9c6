"""Every row of a file is read, named in an error, or counted as skipped."""

from __future__ import annotations

import bz2
import contextlib
import csv
import gzip
import io
import lzma
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import hypothesis.strategies as st
import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from pyarrow import parquet as pq

import halfstep as hs
from benchmarks.stress import readers
from halfstep.data.columns import RowError
from halfstep.data.files.duckdb_engine import Engine
from halfstep.data.files.interaction_files import read_interactions
from halfstep.errors import DataError, ParameterError, SkippedLinesWarning
from thorough import examples

TABLE = "user,item,value,timestamp,weight\neve,20,5,400,1\nadam,10,0.5,300,0\neve,10,-3,200,2.5\n"
PLAIN = "user,item\n1,2\n3,4\n"


def write(folder: Path, content: str | bytes, name: str = "ratings.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def assert_is_table(path: Any, **options: Any) -> None:
    data = read_interactions(path, **options)
    assert data.user_ids.tolist() == ["eve", "adam", "eve"]
    assert data.item_ids.tolist() == [20, 10, 10]
    assert data.items.ids.dtype == np.int64
    assert data.values.tolist() == [5.0, 0.5, -3.0]
    assert data.timestamps.tolist() == [400, 300, 200]
    assert data.timestamps.dtype == np.int64
    assert data.weights.tolist() == [1.0, 0.0, 2.5]


def zipped(content: bytes, name: str = "ratings.csv") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, content)
    return file.getvalue()


def zstd(content: bytes) -> bytes:
    return pa.Codec("zstd").compress(content, asbytes=True)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("ratings.csv", TABLE),
        pytest.param("RATINGS.CSV", TABLE, marks=pytest.mark.slow),
        ("ratings.tsv", TABLE.replace(",", "\t")),
        ("ratings.csv", TABLE.replace("\n", "\r\n")),
        ("ratings.csv", TABLE.replace("\n", "\r")),
        pytest.param("ratings.csv", TABLE.replace("\n", "\r\n", 2), marks=pytest.mark.slow),
        pytest.param("ratings.csv", TABLE.rstrip("\n"), marks=pytest.mark.slow),
        ("ratings.csv", TABLE.replace("\n", "\n\n")),
        pytest.param("ratings.csv", TABLE.replace("\n", "\r\n\r\n"), marks=pytest.mark.slow),
        ("ratings.csv", "\ufeff" + TABLE),
        pytest.param("ratings.csv", TABLE.replace("eve", '"eve"'), marks=pytest.mark.slow),
        pytest.param("ratings.csv", TABLE.replace(",", ";"), marks=pytest.mark.slow),
        ("ratings.csv", "sep=;\n" + TABLE.replace(",", ";")),
        pytest.param("ratings.txt", TABLE.replace(",", "|"), marks=pytest.mark.slow),
        pytest.param("ratings", TABLE, marks=pytest.mark.slow),
        ("ratings.dat", TABLE.replace(",", "::")),
        ("ratings.csv", TABLE.encode("utf-16")),
        ("a[1]*.csv", TABLE),
    ],
    ids=[
        "csv",
        "capitals",
        "tsv",
        "crlf",
        "cr",
        "both line ends",
        "no last newline",
        "blank lines",
        "blank crlf",
        "byte order mark",
        "quotes",
        "semicolons",
        "sep=",
        "bars",
        "no suffix",
        "colons",
        "utf-16",
        "pattern",
    ],
)
def test_text_files(tmp_path: Path, name: str, content: str | bytes) -> None:
    write(tmp_path, "user,item\n7,7\n", "a1b.csv")  # which the pattern in the last name would match
    path = write(tmp_path, content, name)
    assert_is_table(path)
    assert_is_table(str(path), value="value", timestamp=3, weight="weight")
    assert read_interactions(path, value=None, timestamp=None, weight=None).values.tolist() == [1.0] * 3


@pytest.mark.parametrize(
    "name",
    [
        "ratings.csv",
        "ratings.csv.gz",
        *(pytest.param(each, marks=pytest.mark.slow) for each in ("ratings.zip", "ratings")),
    ],
)
@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress, zipped, zstd])
def test_compression_is_detected_from_content(tmp_path: Path, compress: Callable[[bytes], bytes], name: str) -> None:
    assert_is_table(write(tmp_path, compress(TABLE.encode()), name))


def test_text_with_the_suffix_of_a_compressed_file(tmp_path: Path) -> None:
    assert_is_table(write(tmp_path, TABLE, "ratings.csv.gz"))


@pytest.mark.parametrize(("name", "separator"), [("u.data", "\t"), ("ratings.dat", "::"), ("ratings.csv", "§")])
def test_files_without_a_header(tmp_path: Path, name: str, separator: str) -> None:
    lines = [["1", "7", "4.0", "100"], ["2", "7", "3.5", "200.5"]]
    path = write(tmp_path, "".join(separator.join(line) + "\n" for line in lines), name)
    data = read_interactions(path, user=0, item=1, value=2, timestamp=3, separator=separator, header=False)
    assert data.user_ids.tolist() == [1, 2]
    assert data.values.tolist() == [4.0, 3.5]
    assert data.timestamps.tolist() == [100.0, 200.5]


@pytest.mark.parametrize("name", ["ratings.txt", "ratings.csv", "ratings"])
def test_escaped_tab_as_separator(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, TABLE.replace(",", "\t"), name)
    assert_is_table(path, separator="\\t")


def test_decimal_commas(tmp_path: Path) -> None:
    path = write(tmp_path, "user;item;value;weight\n1;2;3,5;0,25\n4;5;6;1\n")
    data = read_interactions(path, decimal=",")
    assert data.values.tolist() == [3.5, 6.0]
    assert data.weights.tolist() == [0.25, 1.0]
    with pytest.raises(DataError, match=r"line 2: the value is '3,5', not a number \(set decimal=','"):
        read_interactions(path)
    with pytest.raises(DataError, match=r"line 2: the value is '1\.234,5', not a number"):
        read_interactions(write(tmp_path, "user;item;value\n1;2;1.234,5\n"), decimal=",")
    with pytest.raises(
        DataError, match=r"the value is '1\.5', not a number \(set decimal='\.' if the decimal separator is a point"
    ):
        read_interactions(write(tmp_path, "user;item;value\n1;2;1.5\n"), decimal=",")


def test_decimal_commas_in_a_file_separated_by_commas_are_not_guessed(tmp_path: Path) -> None:
    path = write(tmp_path, "1;2;3,5\n2;3;4,5\n")
    with pytest.raises(DataError, match=r"the fields may be separated by ',' and ';': set separator="):
        read_interactions(path, user=0, item=1, header=False)


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-16-le", "utf-8-sig"])
def test_other_encodings(tmp_path: Path, encoding: str) -> None:
    path = write(tmp_path, "user,item\né,3\nß,4\n".encode(encoding))
    assert read_interactions(path, encoding=encoding).user_ids.tolist() == ["é", "ß"]


@pytest.mark.parametrize("mark", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("said", ["latin-1", "cp1252", "utf-8", "utf-16-le"])
def test_byte_order_marks_take_precedence(tmp_path: Path, mark: str, said: str) -> None:
    path = write(tmp_path, "é,3\n".encode(mark))
    assert read_interactions(path, user=0, item=1, header=False, encoding=said).user_ids.tolist() == ["é"]


@pytest.mark.parametrize("rows", [3, 200_000])
def test_error_names_line_of_wrong_encoding(tmp_path: Path, rows: int) -> None:
    content = ("user,item\r\n" + "a,1\r\n" * rows).encode("utf-16")
    for rest, fault in ((b"x", "truncated data"), (b"\0\xdc,\0", "illegal encoding")):
        path = write(tmp_path, content + rest)
        with pytest.raises(DataError, match=rf"ratings\.csv, line {rows + 2}: this is not utf-16 \({fault}"):
            read_interactions(path)
    with pytest.raises(DataError, match=r"line 1: this is not utf-16 .*, such as encoding='latin-1' or 'utf-16-le'"):
        read_interactions(write(tmp_path, "user,item\n1,2\n".encode("utf-16-le")), encoding="utf-16")


@pytest.mark.slow
def test_long_files_of_carriage_returns(tmp_path: Path) -> None:
    path = write(tmp_path, "user,item\r" + "".join(f"é{k},{k}\r" for k in range(250_000)))
    assert len(read_interactions(path)) == 250_000


@pytest.mark.parametrize("mark", ["#", "//", "%"])
def test_comments(tmp_path: Path, mark: str) -> None:
    content = f"{mark} from the shop\nuser,item\n1,2\n{mark}3,4\n5,x{mark}6\n"
    path = write(tmp_path, content + "?,\n")
    with pytest.raises(DataError, match=r"ratings\.csv, line 6: the item id is missing"):
        read_interactions(path, comment=mark)
    path = write(tmp_path, content)
    assert read_interactions(path, comment=mark).item_ids.tolist() == ["2", f"x{mark}6"]


def test_repeated_column_names_by_position(tmp_path: Path) -> None:
    path = write(tmp_path, "user,movie,movie\n1,2,3\n")
    assert read_interactions(path, item=2).item_ids.tolist() == [3]


@pytest.mark.parametrize("users", [['"a', 'b"x"', '"c"'], ['a"'], ['""'], ['"a', 'b"']])
def test_quotes_as_ordinary_characters(tmp_path: Path, users: list[str]) -> None:
    path = write(tmp_path, "user,item\n" + "".join(f"{user},1\n" for user in users))
    assert read_interactions(path, quote=None).user_ids.tolist() == users


def test_other_quote_character(tmp_path: Path) -> None:
    assert read_interactions(write(tmp_path, "user,item\n'a,b',1\n"), quote="'").user_ids.tolist() == ["a,b"]


def test_line_breaks_in_values(tmp_path: Path) -> None:
    path = write(tmp_path, 'user,item\na,1\n"b\n\nc",2\nd,3\n')
    data = read_interactions(path, newlines_in_values=True)
    assert data.user_ids.tolist() == ["a", "b\n\nc", "d"]
    with pytest.raises(DataError, match=r"line 3: a quoted field is not closed .*, or set newlines_in_values=True"):
        read_interactions(path)
    path = write(tmp_path, 'user,item\na,1\n"b\nc",2\n,3\n')
    with pytest.raises(DataError, match=r"ratings\.csv, line 5: the user id is missing"):
        read_interactions(path, newlines_in_values=True)
    path = write(tmp_path, "user::item\na::1\n")
    with pytest.raises(DataError, match=r"separated by '::', but newlines_in_values=True requires a separator"):
        read_interactions(path, newlines_in_values=True)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    "encode", [str.encode, lambda text: gzip.compress(text.encode()), lambda x: x.encode("utf-16")]
)
def test_line_breaks_in_values_are_unchanged(tmp_path: Path, end: str, encode: Callable[[str], bytes]) -> None:
    users = ["a\rb", "c\nd", "e\r\nf", "g\r", "\n\n", "h"]
    path = write(tmp_path, encode(end.join(["user,item", *(f'"{user}",1' for user in users), "", ""])))
    assert read_interactions(path, newlines_in_values=True).user_ids.tolist() == users


def test_error_for_mixed_line_ends_with_newlines_in_values(tmp_path: Path) -> None:
    path = write(tmp_path, 'user,item\n"a\r\nb",1\nc,2\r\nd,3\n')
    with pytest.raises(
        DataError,
        match=r"line 4: the record that starts here ends with '\\r\\n', but the first with '\\n'",
    ):
        read_interactions(path, newlines_in_values=True)


@pytest.mark.parametrize("rows", [6, 20_000])
@pytest.mark.parametrize("closed_by", [None, '"'])
def test_error_for_unclosed_quote(tmp_path: Path, rows: int, closed_by: str | None) -> None:
    lines = [f"u{k},{k}" for k in range(rows)]
    place = rows // 3
    lines[place] = f'"{lines[place]}'
    if closed_by:
        lines[-2] = f'u{rows - 2}",{rows - 2}' if rows % 4 else f'"{lines[-2]}'
    path = write(tmp_path, "user,item\n" + "\n".join(lines) + "\n")
    with pytest.raises(
        DataError, match=rf"ratings\.csv, line {place + 2}: a quoted field is not closed in this line"
    ):
        read_interactions(path)
    assert len(read_interactions(path, quote=None)) == rows


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


def test_timestamps_of_text(tmp_path: Path) -> None:
    path = write(tmp_path, "user,item,timestamp\n1,1,2020-01-01T12:00:00\n2,1,2020-01-01T13:00:00+01:00\n")
    noon = np.datetime64("2020-01-01T12", "us")
    assert read_interactions(path, timestamp="timestamp").timestamps.tolist() == [noon.item()] * 2


def test_duplicates(tmp_path: Path) -> None:
    path = write(tmp_path, "user,item,value\n1,1,2\n3,1,4\n1,1,6\n")
    assert read_interactions(path, value="value", duplicates="mean").values.tolist() == [4.0, 4.0]


NOON = np.datetime64("2016-02-23T17:59", "us")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1456250340", 1456250340),
        ("1456250340000", 1456250340000),
        ("1456250340000000", 1456250340000000),
        ("1456250340000000001", 1456250340000000001),
        ("1456250340.5", 1456250340.5),
        ("2016-02-23T17:59:00Z", NOON),
        ("2016-02-23 17:59:00 UTC", NOON),
        ("2016-02-23 17:59", NOON),
        ("2016-02-23T18:59:00+01:00", NOON),
        ("2016-02-23T17:59:00.000000", NOON),
        ("2016/02/23 17:59", NOON),
        ("23 Feb 2016 17:59", NOON),
        ('"23 Feb 2016, 17:59"', NOON),
        ("02/23/2016 5:59 PM", NOON),
        ("2016-02-23 05:59:00 PM", NOON),
        ("23.02.2016 17:59", NOON),
        ('"February 23, 2016 17:59:00"', NOON),
        ("Tue Feb 23 17:59:00 +0000 2016", NOON),
        ("23 Feb 2016 17:59 UTC", NOON),
        ('"Tue, 23 Feb 2016 17:59:00 GMT"', NOON),
        ("20160223T175900Z", NOON),
        ("20160223 175900", NOON),
    ],
)
def test_timestamps_in_many_formats(tmp_path: Path, text: str, expected: Any) -> None:
    path = write(tmp_path, f"user,item,timestamp\n1,1,{text}\n2,1,{text}\n")
    timestamps = read_interactions(path).timestamps
    assert timestamps.tolist() == [expected.item() if isinstance(expected, np.datetime64) else expected] * 2
    assert timestamps.dtype.kind == {int: "i", float: "f"}.get(type(expected), "M")


@pytest.mark.slow
def test_error_for_ambiguous_day_and_month(tmp_path: Path) -> None:
    path = write(tmp_path, "user,item,timestamp\n1,1,03/03/2016\n2,1,01/02/2016\n")
    with pytest.raises(
        DataError, match=r"line 3: the timestamp can be read as '%d/%m/%Y' and as '%m/%d/%Y': set timestamp_format="
    ):
        read_interactions(path)
    first = read_interactions(path, timestamp_format="%m/%d/%Y").timestamps[1]
    assert first == np.datetime64("2016-01-02")
    decided = write(tmp_path, "user,item,timestamp\n1,1,01/02/2016\n2,1,23/02/2016\n")
    assert read_interactions(decided).timestamps[0] == np.datetime64("2016-02-01")
    with pytest.raises(ParameterError, match=r"timestamp_format='%Q' is not a valid format: give one in the codes"):
        read_interactions(path, timestamp_format="%Q")


@pytest.mark.slow
def test_years_of_two_digits(tmp_path: Path) -> None:
    path = write(tmp_path, "user,item,timestamp\n1,1,31-12-99\n2,1,01-02-16\n")
    assert read_interactions(path).timestamps.tolist() == [
        np.datetime64(day, "us").item() for day in ("1999-12-31", "2016-02-01")
    ]
    path = write(tmp_path, "user,item,timestamp\n1,1,31-12-15\n")
    with pytest.raises(DataError, match=r"line 2: the timestamp can be read as '%d-%m-%y' and as '%y-%m-%d': set"):
        read_interactions(path)


# --- an independent count of what was read ----------------------------------------------------------

FIELDS = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n"), min_size=1, max_size=6)


@pytest.mark.slow
@examples(60)
@given(st.lists(st.tuples(FIELDS, FIELDS, FIELDS), min_size=1, max_size=8), st.sampled_from(["\n", "\r\n"]))
def test_fields_of_any_characters(records: list[tuple[str, ...]], newline: str) -> None:
    content = io.StringIO(newline="")
    csv.writer(content, lineterminator=newline, quoting=csv.QUOTE_ALL).writerows(records)
    with TemporaryDirectory() as folder:
        path = write(Path(folder), content.getvalue())
        users = hs.Vocabulary(["text"])  # so that "7" stays a string
        data = read_interactions(
            path, user=2, item=0, header=False, separator=",", users=users, items=users, duplicates="sum"
        )
    assert set(zip(data.user_ids, data.item_ids, strict=True)) == {(record[2], record[0]) for record in records}
    assert data.values.sum() == len(records)


@pytest.mark.slow
@examples(60, 150)
@given(st.text('a1 ,"\r\n', max_size=40))
def test_malformed_text_is_an_error_or_read_completely(content: str) -> None:
    lines = [line for line in content.replace("\r\n", "\n").replace("\r", "\n").split("\n") if line]
    with TemporaryDirectory() as folder:
        path = write(Path(folder), content)
        with contextlib.suppress(DataError):
            data = read_interactions(path, user=0, item=1, header=False, duplicates="sum")
            assert data.values.sum() == len(lines)


@pytest.mark.slow
def test_damaged_files_are_errors_or_read_completely() -> None:
    became = readers.run(mutations=40, seed=1)
    assert sum(became.values()) == 40
    assert {what for _, what in became} == {"read", "refused"}


# --- lines that are skipped -------------------------------------------------------------------------


def test_lines_that_are_skipped_are_counted(tmp_path: Path) -> None:
    bad = ['"e,5,1', "a,b", "a,b,1,2,3", "a,b,?,4", ",b,1,4", "a,b,1,", "a,b,inf,3"]
    content = "user,item,value,timestamp\n" + "".join(f"u{k},{k},1,{k}\n{line}\n" for k, line in enumerate(bad))
    path = write(tmp_path, content)
    with pytest.raises(DataError, match=r"ratings\.csv, line 3: "):
        read_interactions(path)
    with pytest.warns(SkippedLinesWarning, match=r"ratings\.csv: 7 lines were skipped") as caught:
        data = read_interactions(path, bad_lines="skip")
    assert caught[0].filename == __file__
    assert data.user_ids.tolist() == [f"u{k}" for k in range(7)]
    assert len(data.users) == len(data.items) == 7  # and none that only the lines had that were skipped


def test_lines_after_skipped_ones_keep_their_numbers(tmp_path: Path) -> None:
    path = write(tmp_path, "user,item\n1,2\n1\n3,4\n\n1,2\n")
    with pytest.raises(DataError, match=r"line 6: the pair .* \(1, 2\) is already in .*ratings\.csv, line 2"):
        read_interactions(path, bad_lines="skip")


def test_error_if_all_lines_are_bad(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"the table is empty: give at least one interaction: all 2 rows were skipped"
    ):
        read_interactions(write(tmp_path, "user,item\n1\n2\n"), bad_lines="skip")


# --- several files, pipes ---------------------------------------------------------------------------


def test_folders_patterns_and_lists(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    write(folder, "user,item,value\n1,10,2\n007,20,3\n", "part-0.csv")
    write(folder, gzip.compress(b"value,item,user\n4,30,8\n"), "part-1.csv.gz")
    write(folder, "", "_SUCCESS")
    write(folder, "?", ".part-0.csv.crc")
    for path in (folder, folder / "part-*", [folder / "part-0.csv", str(folder / "part-1.csv.gz")]):
        data = read_interactions(path)
        assert data.user_ids.tolist() == ["1", "007", "8"]  # one rule for the ids of all parts
        assert data.item_ids.tolist() == [10, 20, 30]
        assert data.values.tolist() == [2.0, 3.0, 4.0]
    write(folder, "user,item,value\n5,6,?\n", "part-2.csv")
    with pytest.raises(DataError, match=r"part-2\.csv, line 2: the value is '\?'"):
        read_interactions(folder)
    write(folder, "user,item,value\n7,10,2\n1,10,5\n", "part-2.csv")
    with pytest.raises(DataError, match=r"part-2\.csv, line 3: the pair .* is already in .*part-0\.csv, line 2"):
        read_interactions(folder)
    write(folder, "user,item\n7,10\n", "part-2.csv")
    with pytest.raises(
        DataError, match=r"part-2\.csv: only one of this file and .*part-0\.csv has a column for value"
    ):
        read_interactions(folder)


def test_columns_in_the_names_of_folders(tmp_path: Path) -> None:
    for country, user in (("DE", "1"), ("FR", "2")):
        folder = tmp_path / "plays" / f"country={country}"
        folder.mkdir(parents=True)
        pl.DataFrame({"user": [user], "item": [3]}).write_parquet(folder / "0.parquet")
    data = read_interactions(tmp_path / "plays", item="country")
    assert data.user_ids.tolist() == ["1", "2"]
    assert data.item_ids.tolist() == ["DE", "FR"]


def test_names_of_folders_are_unescaped(tmp_path: Path) -> None:
    for name in ("user=a%20%2F b", "user=__HIVE_DEFAULT_PARTITION__", "user="):
        (tmp_path / name).mkdir()
        path = write(tmp_path / name, "item\n1\n")
        if name.endswith("b"):
            assert read_interactions(tmp_path).user_ids.tolist() == ["a / b"]
        else:
            with pytest.raises(DataError, match=r"ratings\.csv, line 2: the user id is missing"):
                read_interactions(tmp_path)
            path.unlink()


def test_linked_folders(tmp_path: Path) -> None:
    for name in ("plays", "elsewhere"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, f"user,item\n{name},1\n")
    (tmp_path / "plays" / "link").symlink_to(tmp_path / "elsewhere")
    assert read_interactions(tmp_path / "plays").user_ids.tolist() == ["elsewhere", "plays"]
    (tmp_path / "plays" / "gone.csv").symlink_to(tmp_path / "gone.csv")
    with pytest.raises(FileNotFoundError, match=r"gone\.csv"):
        read_interactions(tmp_path / "plays")
    (tmp_path / "plays" / "gone.csv").unlink()
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "plays")
    with pytest.raises(DataError, match=r"back' is a link to one of its parents: remove the link"):
        read_interactions(tmp_path / "plays")


def test_error_for_pipe_in_folder(tmp_path: Path) -> None:
    write(tmp_path, "user,item\n1,1\n")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match=r"pipe: this is a pipe or a device, not a file: remove it from"):
        read_interactions(tmp_path)


def test_a_file_that_a_pattern_matches_twice_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    write(tmp_path, "user,item\n1,1\n")
    write(tmp_path / "below", "user,item\n2,1\n")
    for pattern in ("**", "**/*", "*"):
        assert len(read_interactions(f"{tmp_path}/{pattern}")) == 2


def test_error_for_empty_path() -> None:
    with pytest.raises(FileNotFoundError, match=r"path='' is empty: give a file, or '\.' for the folder '/"):
        read_interactions("")


def test_error_for_empty_folders_and_patterns(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"the folder '.*empty' contains no files: give a file or a folder of csv"):
        read_interactions(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match=r"no file matches '.*\*\.csv'"):
        read_interactions(tmp_path / "*.csv")
    with pytest.raises(ParameterError, match=r"path=\[\]: give at least one path"):
        read_interactions([])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
@pytest.mark.parametrize("content", [TABLE.encode(), gzip.compress(TABLE.encode())], ids=["plain", "gzip"])
def test_named_pipes(tmp_path: Path, content: bytes) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(content,))
    writer.start()
    assert_is_table(pipe)
    writer.join()


@pytest.mark.slow
def test_the_standard_input() -> None:
    script = "import halfstep as hs; print(hs.read_interactions('-'))"
    done = subprocess.run([sys.executable, "-c", script], input=TABLE.encode(), capture_output=True, check=True)
    assert done.stdout.startswith(b"Interactions(3 interactions, 2 users")


@pytest.mark.slow
def test_bad_rows_of_the_standard_input_have_lines() -> None:
    script = "import halfstep as hs; hs.read_interactions('-')"
    done = subprocess.run([sys.executable, "-c", script], input=b"user,item\n1,2\n1,2\n", capture_output=True)
    assert b"standard input, line 3: the pair of user and item (1, 2)" in done.stderr


# --- ids of a model, titles -------------------------------------------------------------------------


def test_ids_are_read_with_the_types_of_a_model(tmp_path: Path) -> None:
    path = write(tmp_path, "user,item\n1,007\n2,8\n")
    data = read_interactions(path, users=hs.Vocabulary(["x9", "1"]), items=hs.Vocabulary(["7"]))
    assert data.user_ids.tolist() == ["1", "2"]
    assert data.item_ids.tolist() == ["007", "8"]
    with pytest.raises(
        DataError, match=r"line 2: the item id '007' is a string, but the model's item ids are integers"
    ):
        read_interactions(path, items=hs.Vocabulary([7, 8]))
    with pytest.raises(ParameterError, match=r"users=\[1\]: give a Vocabulary, such as model\.users_"):
        read_interactions(path, users=[1])


def test_ids_of_parquet_are_read_with_the_types_of_a_model(tmp_path: Path) -> None:
    path = tmp_path / "ratings.parquet"
    pl.DataFrame({"user": [12, 7], "item": ["1", "2"]}).write_parquet(path)
    data = read_interactions(path, users=hs.Vocabulary(["12", "x"]), items=hs.Vocabulary([1]))
    assert data.user_ids.tolist() == ["12", "7"]
    assert data.item_ids.tolist() == [1, 2]


def test_titles_of_a_column(tmp_path: Path) -> None:
    path = write(tmp_path, "user,item,name\n1,9,\n1,8,Acht\n2,9,Neun\n3,9,Nine\n4,7,\n")
    for column in ("name", 2):
        assert read_interactions(path, item_titles=column).item_titles == {8: "Acht", 9: "Neun"}


def test_titles_of_a_second_table(tmp_path: Path) -> None:
    path = write(tmp_path, "user,movieId\n1,9\n1,8\n")
    movies = write(tmp_path, 'year,movieId,title\n1,9,"Neun, die"\n2,7,Sieben\n', "movies.csv")
    for titles in (movies, str(movies)):
        assert read_interactions(path, item="movieId", item_titles=titles).item_titles == {9: "Neun, die"}
    items = write(tmp_path, "9|Nine|x\n8|Acht\xe9|y\n".encode("latin-1"), "u.item")
    data = write(tmp_path, "1\t9\n1\t8\n", "u.data")
    read = read_interactions(data, user=0, item=1, header=False, encoding="latin-1", item_titles=items)
    assert read.item_titles == {9: "Nine", 8: "Achté"}
    assert read_interactions(path, item="movieId", item_titles={9: "Neun"}).item_titles == {9: "Neun"}
    with pytest.raises(DataError, match=r"there is no column 'absent' for title: .* set item_titles="):
        read_interactions(path, item="movieId", item_titles="absent")


# --- what is refused --------------------------------------------------------------------------------


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no file '.*nothing\.csv'; relative paths start at"):
        read_interactions(tmp_path / "nothing.csv")


def test_unknown_suffix(tmp_path: Path) -> None:
    path = write(tmp_path, "user\neve\n", "ratings.xyz")
    with pytest.raises(DataError, match=r"the suffix '\.xyz' is none of \.csv, .*: set separator=\.\.\. if it is"):
        read_interactions(path)


@pytest.mark.parametrize("separator", ["", "\n", '"', ":::::"])
def test_bad_separators(tmp_path: Path, separator: str) -> None:
    with pytest.raises(ParameterError, match=r"separator=.*: give a field separator such as ','"):
        read_interactions(write(tmp_path, TABLE), separator=separator)


def test_unknown_columns(tmp_path: Path) -> None:
    path = write(tmp_path, "user,movie,movie\n1,2,3\n")
    fault = (
        r"ratings\.csv: there is no column 'item' for item: the columns are 0 'user', 1 'movie', 2 'movie'; set item="
    )
    with pytest.raises(DataError, match=fault):
        read_interactions(path)
    with pytest.raises(DataError, match="there is no column 3 for value: the columns are"):
        read_interactions(path, item=1, value=3)
    with pytest.raises(DataError, match="there is no column -1 for value: the columns are"):
        read_interactions(path, item=1, value=-1)
    with pytest.raises(DataError, match=r"there is more than one column 'movie' for item: .* to a name or position"):
        read_interactions(path, item="movie")
    with pytest.raises(DataError, match=r"user='user', but without a header there are no names: set user=.* 0 to 2"):
        read_interactions(path, header=False)


@pytest.mark.parametrize(
    ("content", "line", "fault"),
    [
        ("user,item,value\n1,2,3\n\n4,5\n", 4, r"the line has 2 fields, but the first has 3: correct the line, skip"),
        ("user,item\n1,2\n4,5,6\n", 3, "the line has 3 fields, but the first has 2"),
        ("user,item\n1,2\n4\n", 3, "the line has 1 field, but the first has 2"),
        (
            "user,item,value\n1,2,3\n\n4,5,?\n",
            4,
            r"the value is '\?', not a number: correct or drop such rows, or skip",
        ),
        ("user,item,value\n1,2,3\n4,5,nan\n", 3, "the value is 'nan', not a finite number"),
        ("user,item,value\n1,2,1e999\n", 2, "the value is '1e999', not a finite number"),
        ("user,item,value\n1,2,\n", 2, "the value is missing: .*; value=None ignores the column"),
        ("user,item,weight\n1,2,-3\n", 2, r"the weight is -3\.0, but weights are at least 0"),
        ("user,item\n1,2\n\n,5\n", 4, "the user id is missing: correct or drop such rows"),
        ('user,item\n1,2\n"",5\n', 3, "the user id is missing"),
        ("user,item,timestamp\n1,2,3\n4,5,\n", 3, "the timestamp is missing"),
        ("user,item,timestamp\n1,2,3\n4,5,2020-01-01\n", 3, "the timestamp is '2020-01-01', not a finite number"),
        (
            "user,item,timestamp\n1,2,2020-01-01\n4,5,soon\n",
            3,
            "the timestamp is 'soon', not a timestamp in the format",
        ),
        ("user,item,timestamp\n1,2,soon\n", 2, "the timestamp is 'soon', not a timestamp in the format ISO 8601"),
        (
            "user,item\n1,2\n3,4\n1,2\n",
            4,
            r".* \(1, 2\) is already in .*ratings\.csv, line 2 .*: set duplicates='last'",
        ),
        ('user,item\n1,2\n"3"x,4\n', 3, "a quoted field continues after its closing quote: .* set quote=None if"),
        ('user,item\n1,2\n"3,4\n5,6\n', 3, "a quoted field is not closed in this line: .* set quote=None if"),
        ('user,item\n1,2\n3,"4', 3, "a quoted field is not closed in this line"),
        ('user,"item\n1,2\n', 1, "a quoted field is not closed in this line: correct the line, or set quote=None"),
        ("user,item\n1,2\na\0b,4\n", 3, "there is a NUL character, as in binary files"),
        (f"user,item\n1,2\n3,{'4' * 2_000_001}\n", 3, "the line is longer than 2,000,000 bytes: shorten it"),
        (
            b"user,item\n1,2\n\xe9,3\n",
            3,
            "the byte 0xe9 is not UTF-8: set the encoding .* such as encoding='latin-1'",
        ),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, content: str | bytes, line: int, fault: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(DataError, match=rf"ratings\.csv, line {line}: {fault}") as caught:
        read_interactions(path)
    assert not isinstance(caught.value, RowError)


def test_long_fields_are_read(tmp_path: Path) -> None:
    path = write(tmp_path, f"user,item\n1,2\n3,{'4' * 1_900_000}\n")
    assert len(read_interactions(path).item_ids[1]) == 1_900_000


@pytest.mark.parametrize("rows", [0, 70_000])
def test_error_names_late_line_of_bad_value(tmp_path: Path, rows: int) -> None:
    lines = "".join(f"u{k},{k},1\n" for k in range(rows))
    path = write(tmp_path, f"user,item,value\n{lines}v,1,x\n")
    with pytest.raises(DataError, match=rf"ratings\.csv, line {rows + 2}: the value is 'x'"):
        read_interactions(path)


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"user": None}, "user=None: give the column that holds the ids of users"),
        ({"item": None}, "item=None: give the column that holds the ids of items"),
        ({"user": True}, "user=True: give the name of a column, or its position"),
        ({"value": 1.0}, r"value=1\.0: give the name of a column"),
        ({"header": 0}, "header=0: give True or False"),
        ({"header": None}, "header=None: give True or False"),
        ({"header": 1}, "header=1: give True or False"),
        ({"header": "no"}, "header='no': give True or False"),
        ({"newlines_in_values": 1}, "newlines_in_values=1: give True or False"),
        ({"quote": "''"}, "quote=\"''\": give a single ASCII character, or None"),
        ({"quote": ""}, "quote='': give a single ASCII character"),
        ({"decimal": ";"}, "decimal=';': give one of"),
        ({"bad_lines": "warn"}, "bad_lines='warn': give one of 'error', 'skip'"),
        ({"comment": ""}, "comment='': give the prefix of comment lines"),
        ({"encoding": "nope"}, "encoding='nope' is unknown: give the name of a text encoding"),
        ({"encoding": "base64"}, "encoding='base64' is unknown"),
        ({"newlines_in_values": True, "bad_lines": "skip"}, "cannot be combined with bad_lines='skip'"),
    ],
)
def test_invalid_options(tmp_path: Path, options: dict[str, Any], fault: str) -> None:
    with pytest.raises(ParameterError, match=fault):
        read_interactions(write(tmp_path, TABLE), **options)


def test_empty_files(tmp_path: Path) -> None:
    for content in ("", "\n\n"):
        with pytest.raises(DataError, match=r"ratings\.csv: the file is empty"):
            read_interactions(write(tmp_path, content))
    with pytest.raises(DataError, match=r"ratings\.csv: the table is empty: give at least one interaction"):
        read_interactions(write(tmp_path, "user,item\n"))


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress, zipped, zstd])
def test_broken_compressed_files(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    whole = compress(("user,item\n" + "".join(f"{k},{k * k}\n" for k in range(20_000))).encode())
    for content in (whole[: len(whole) // 2], whole[:-6]):
        path = write(tmp_path, content, "ratings.csv")
        with pytest.raises(DataError, match=r"ratings\.csv: broken \w+ file .*: download or write it again"):
            read_interactions(path)


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress, zstd])
def test_all_compressed_streams_are_read(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    first, second = compress(b"user,item\n1,2\n"), compress(b"3,4\n")
    assert len(read_interactions(write(tmp_path, first + second))) == 2
    for rest in (b"damaged" + second[7:], second[:-6], b"5,6\n"):
        with pytest.raises(DataError, match=r"ratings\.csv: broken \w+ file .*: download or write it again"):
            read_interactions(write(tmp_path, first + rest))


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_zeros_after_compressed_stream_are_padding(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    content = compress(b"user,item\n1,2\n") + bytes(8) + compress(b"3,4\n") + bytes(100_000)
    assert len(read_interactions(write(tmp_path, content))) == 2


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"SQLite format 3\0" + bytes(100), "an SQLite database; export the table as csv"),
        (b"\x80\x05\x95" + bytes(100), "a pickle, which is unsafe to load"),
        (b"ARROW1\0\0" + bytes(100), "an Arrow .* file"),
        (zipped(b"", "xl/workbook.xml"), "an Excel file; export the sheet as csv"),
        (bytes(257) + b"ustar" + bytes(300), "a tar archive; unpack it"),
    ],
    ids=["SQLite", "pickle", "Arrow", "Excel", "tar"],  # a zip file contains the time
)
def test_files_of_other_kinds(tmp_path: Path, content: bytes, fault: str) -> None:
    with pytest.raises(DataError, match=rf"ratings\.csv: this is {fault}"):
        read_interactions(write(tmp_path, content))


def test_archives_of_several_files(tmp_path: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.csv", TABLE)
        archive.writestr("b.csv", TABLE)
    with pytest.raises(DataError, match=r"the archive contains 2 files \(a\.csv, b\.csv\): unpack it"):
        read_interactions(write(tmp_path, file.getvalue(), "ratings.zip"))


# --- JSON -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstd])
@pytest.mark.parametrize("name", ["plays.jsonl", "plays.ndjson", "plays.json", "plays"])
def test_json_lines(tmp_path: Path, name: str, compress: Callable[[bytes], bytes]) -> None:
    lines = (
        '{"user": "007", "item": 7, "value": 2.5, "timestamp": "2020-01-01T00:00:00Z"}\n\n'
        '{"item": 8.0, "user": "\\u00e9", "value": "3", "timestamp": "2020-01-01T01:00:00+01:00", "more": [1]}\n'
    )
    data = read_interactions(write(tmp_path, compress(lines.encode()), name))
    assert data.user_ids.tolist() == ["007", "é"]
    assert data.item_ids.tolist() == [7, 8]
    assert data.values.tolist() == [2.5, 3.0]
    assert data.timestamps.tolist() == [np.datetime64("2020-01-01", "us").item()] * 2


def test_json_arrays(tmp_path: Path) -> None:
    path = write(tmp_path, '[{"user": 1, "item": "a"},\n {"user": 12345678901234567890, "item": "b"}]', "plays.json")
    data = read_interactions(path)
    assert data.user_ids.tolist() == [1, 12345678901234567890]
    path = write(tmp_path, '[{"user": 1, "item": "a"}, {"user": 2}]', "plays.json")
    with pytest.raises(DataError, match=r"plays\.json, object 1 \(counted from 0\): the item id is missing"):
        read_interactions(path)
    for cut in ('[{"user": 1, "item": 2},', '[{"user": 1, "item": 2}, \n', '[{"user": 1, "item": 2}', "["):
        with pytest.raises(DataError, match=r"plays\.json: the JSON array is not closed: the file is truncated"):
            read_interactions(write(tmp_path, cut, "plays.json"))


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('{"user": 1, "item": 2', "the line is not JSON"),
        ('{"user": 1, "item": 2} {"user": 3, "item": 4}', "the line is not JSON"),
        ("[1, 2]", "the line is not a JSON object"),
        ('{"user": 1}', "the item id is missing"),
        ('{"user": null, "item": 4}', "the user id is missing"),
        ('{"user": 1, "item": [4]}', r"the item id '\[4\]' is list in JSON; ids are strings or numbers"),
        ('{"user": true, "item": 4}', "the user id 'true' is bool in JSON"),
    ],
)
def test_bad_lines_of_json_are_named(tmp_path: Path, line: str, fault: str) -> None:
    path = write(tmp_path, f'{{"user": 7, "item": 7}}\n\n{line}\n', "plays.jsonl")
    with pytest.raises(DataError, match=rf"plays\.jsonl, line 3: {fault}"):
        read_interactions(path)


def test_bad_lines_of_json_are_skipped(tmp_path: Path) -> None:
    path = write(tmp_path, '{"user": 7, "item": 7}\n{"user"\n{"user": 8}\n{"user": 9, "item": 9}\n', "plays.jsonl")
    with pytest.warns(SkippedLinesWarning, match="2 lines were skipped"):
        data = read_interactions(path, bad_lines="skip")
    assert data.user_ids.tolist() == [7, 9]


# --- parquet ----------------------------------------------------------------------------------------


def parquet(folder: Path, **columns: Any) -> Path:
    columns = columns or {"user": ["eve", "adam"], "item": [20, 10], "value": [5.0, 1.0], "when": [400, 300]}
    pq.write_table(pa.table(columns), folder / "ratings.parquet")
    return folder / "ratings.parquet"


def test_parquet(tmp_path: Path) -> None:
    path = parquet(tmp_path)
    data = read_interactions(path, value=2, timestamp="when")
    assert data.user_ids.tolist() == ["eve", "adam"]
    assert data.items.ids.tolist() == [10, 20]
    assert data.values.tolist() == [5.0, 1.0]
    assert data.timestamps.tolist() == [400, 300]
    for name, content in (("ratings", path.read_bytes()), ("r.zip", zipped(path.read_bytes()))):
        assert len(read_interactions(write(tmp_path, content, name))) == 2


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([b"a", "é".encode()]), ["a", "é"]),
        (pa.array([b"a", b"b"], pa.large_binary()), ["a", "b"]),
        (pa.array(["7", "8"], pa.large_string()), ["7", "8"]),
        (pa.array(["x", "y"]).dictionary_encode(), ["x", "y"]),
        (pa.array([1, 2], pa.int8()), [1, 2]),
        (pa.array([1, 2**64 - 1], pa.uint64()), [1, 2**64 - 1]),
        (pa.array([1.0, 2.0]), [1, 2]),
        (pa.array([1, 2]).cast(pa.decimal128(25, 2)), [1, 2]),
    ],
)
def test_types_of_ids_in_parquet(tmp_path: Path, column: Any, expected: list[Any]) -> None:
    data = read_interactions(parquet(tmp_path, user=column, item=[1, 2]))
    assert data.user_ids.tolist() == expected
    assert set(map(type, data.user_ids.tolist())) == {type(expected[0])}


def test_large_dictionaries_in_parquet(tmp_path: Path) -> None:
    users = [f"u{k % 30_000}" for k in range(60_000)]
    path = parquet(tmp_path, user=pa.array(users).dictionary_encode(), item=list(range(60_000)))
    assert read_interactions(path).user_ids.tolist() == users


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_instants_of_parquet(tmp_path: Path, unit: str, zone: str | None) -> None:
    instants = pa.array([NOON.item()]).cast(pa.timestamp("us")).cast(pa.timestamp(unit, zone))
    data = read_interactions(parquet(tmp_path, user=["a"], item=[1], timestamp=instants))
    assert data.timestamps.tolist() == [NOON.item()]
    assert data.timestamps.dtype == "datetime64[us]"


@pytest.mark.parametrize(
    ("column", "kind"), [(pa.array([[1], [2]]), r"BIGINT\[\]"), (pa.array([{"a": 1}, {"a": 2}]), "STRUCT")]
)
def test_nested_columns_of_parquet_are_refused(tmp_path: Path, column: Any, kind: str) -> None:
    path = parquet(tmp_path, user=column, item=[1, 2], who=[1, 2], stars=column)
    with pytest.raises(
        DataError, match=rf"the column for user is of type {kind}.*, which cannot be read as user ids"
    ):
        read_interactions(path)
    with pytest.raises(DataError, match=rf"the column for value is of type {kind}.*, which cannot be read as values"):
        read_interactions(path, user="who", value="stars")


def test_parts_of_other_types_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    pl.DataFrame({"user": ["7"], "item": [1]}).write_parquet(folder / "0.parquet")
    pl.DataFrame({"user": [7], "item": [1]}).write_parquet(folder / "1.parquet")
    with pytest.raises(
        DataError, match=r"1\.parquet: the column for user is of type BIGINT, but of type VARCHAR in .*0\.par"
    ):
        read_interactions(folder)


def test_bad_parquet(tmp_path: Path) -> None:
    path = parquet(tmp_path)
    with pytest.raises(
        DataError, match=r"ratings\.parquet: there is no column 'stars' for value: the columns are 0 'user'"
    ):
        read_interactions(path, value="stars")
    for content in (path.read_bytes()[:-20], b"", b"user,item\n1,2\n"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"ratings\.parquet: invalid parquet file .*: write or download it again"):
            read_interactions(path)


def test_bad_rows_of_parquet(tmp_path: Path) -> None:
    path = parquet(tmp_path, user=["eve", None], item=[20, 10])
    with pytest.raises(DataError, match=r"ratings\.parquet, row 1 \(counted from 0\): the user id is missing"):
        read_interactions(path)
    with pytest.warns(SkippedLinesWarning, match="1 line was skipped"):
        assert read_interactions(path, bad_lines="skip").users.ids.tolist() == ["eve"]
    path = parquet(tmp_path, user=[b"eve", b"\xff"], item=[20, 10])
    with pytest.raises(DataError, match=r"row 1 .*: the user id is b'\\xff', which is not UTF-8"):
        read_interactions(path)


def test_columns_that_differ_by_case_in_parquet(tmp_path: Path) -> None:
    path = parquet(tmp_path, User=["wrong"], user=["right"], item=[1])
    assert read_interactions(path).user_ids.tolist() == ["right"]


# --- nothing else is touched ------------------------------------------------------------------------


def test_no_other_file_is_read(tmp_path: Path) -> None:
    from halfstep.data.files.duckdb_engine import Engine, EngineError

    allowed, other = write(tmp_path, PLAIN, "a.csv"), write(tmp_path, PLAIN, "b.csv")
    (tmp_path / "work").mkdir()
    engine = Engine([allowed], tmp_path / "work")
    assert engine.rows("SELECT count(*) FROM read_csv(?)", [str(allowed)]) == [(2,)]
    for path in (str(other), "https://example.com/a.csv", "s3://bucket/a.csv"):
        with pytest.raises(EngineError):
            engine.rows("SELECT count(*) FROM read_csv(?)", [path])
    for statement in ("SET enable_external_access = true", "INSTALL httpfs", "LOAD httpfs"):
        with pytest.raises(EngineError):
            engine.rows(statement, [])
    engine.close()


def test_temporary_files_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    assert_is_table(write(tmp_path, gzip.compress(TABLE.encode())))
    with pytest.raises(DataError):
        read_interactions(write(tmp_path, gzip.compress(b"user,item\n1\n")))
    assert list(temporary.iterdir()) == []


@pytest.mark.slow
def test_reading_imports_no_dataframe_library(tmp_path: Path) -> None:
    path = write(tmp_path, TABLE)
    script = (
        "import sys; sys.modules.update(dict.fromkeys(['pyarrow', 'pandas', 'polars']))\n"
        f"import halfstep as hs; print(hs.read_interactions({str(path)!r}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout.startswith(b"Interactions(3 interactions, 2 users")


def test_duckdb_prints_no_progress_bar(tmp_path: Path) -> None:
    engine = Engine([], tmp_path)
    try:
        assert engine.rows("SELECT current_setting('enable_progress_bar')", []) == [(False,)]
    finally:
        engine.close()


def test_the_source_of_interactions_is_the_name_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "plays.csv").write_text("user,item\n1,2\n")
    (tmp_path / "parts" / "1.csv").write_text("user,item\n1,3\n")
    assert hs.read_interactions(tmp_path / "plays.csv").source == "plays.csv"
    assert hs.read_interactions(f"{tmp_path}/parts/").source == "parts"
    assert hs.read_interactions(f"{tmp_path}/parts/*.csv").source == "*.csv"
    assert hs.read_interactions([tmp_path / "plays.csv", tmp_path / "parts"]).source == "2 files"
    assert hs.Interactions.from_arrays([1], [2]).source is None


def test_a_misspelt_column_is_suggested(tmp_path: Path) -> None:
    (tmp_path / "plays.csv").write_text("user,item\n1,2\n")
    with pytest.raises(
        DataError, match=r"no column 'itm' for item \(did you mean 'item'\?\): the columns are 0 'user'"
    ):
        hs.read_interactions(tmp_path / "plays.csv", item="itm")


def test_a_second_table_without_titles_of_the_items_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "plays.csv").write_text("user,item\n1,2\n")
    (tmp_path / "items.csv").write_text("year,title\n1990,Two\n")
    with pytest.raises(DataError, match=r"items.csv: the table has no titles of the items: its ids are such as 1990"):
        hs.read_interactions(tmp_path / "plays.csv", item_titles=tmp_path / "items.csv")


def test_line_breaks_in_values_of_files_in_folders_named_by_a_column(tmp_path: Path) -> None:
    folder = tmp_path / "ratings" / "country=DE"
    folder.mkdir(parents=True)
    (folder / "part.csv").write_text('"a\nb",x,1\nc,y\nd,z,3\n')
    with pytest.raises(DataError, match=r"part\.csv, line 3"):
        read_interactions(tmp_path / "ratings", header=False, newlines_in_values=True, user=0, item=1, value=2)
