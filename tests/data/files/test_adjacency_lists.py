"""Every line of an adjacency list is read, named in an error, or counted as skipped."""

from __future__ import annotations

import gzip
import io
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import halfstep as hs
from halfstep.errors import DataError, HalfstepError, ParameterError, SkippedLinesWarning

LISTS = st.dictionaries(st.integers(-5, 30), st.lists(st.integers(0, 9), unique=True, max_size=6), max_size=8)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "train.txt"


def lists_of(data: hs.Interactions) -> dict[Any, list[Any]]:
    """The items of each user in the vocabulary, in the order given."""
    found: dict[Any, list[Any]] = {user: [] for user in data.users}
    for user, item in zip(data.user_ids.tolist(), data.item_ids.tolist(), strict=True):
        found[user].append(item)
    return found


@given(lists=LISTS, separator=st.sampled_from([None, ",", "::", "\t"]), end=st.sampled_from(["\n", "\r\n", "\r"]))
def test_round_trip(
    tmp_path_factory: pytest.TempPathFactory, lists: dict[int, list[int]], separator: str | None, end: str
) -> None:
    path = tmp_path_factory.mktemp("lists") / "train.txt"
    lines = [(separator or " ").join(map(str, [user, *items])) for user, items in lists.items()]
    path.write_text(end.join(lines), newline="")
    if not any(lists.values()):
        with pytest.raises(DataError, match=r"train.txt: no line has an item: expected a user id and the ids of"):
            hs.read_adjacency_lists(path, separator=separator)
        return
    data = hs.read_adjacency_lists(path, separator=separator)
    assert lists_of(data) == lists
    assert [*data.users] == sorted(lists)
    assert [*data.items] == sorted({item for items in lists.values() for item in items})
    assert not data.has_values
    assert (data.values == 1).all()
    assert data.timestamps is data.weights is None


@given(train=LISTS, test=LISTS)
def test_a_second_file_extends_the_vocabularies_of_the_first(
    tmp_path_factory: pytest.TempPathFactory, train: dict[int, list[int]], test: dict[int, list[int]]
) -> None:
    train, test = train | {31: [3]}, test | {31: [2]}
    path = tmp_path_factory.mktemp("lists") / "file.txt"
    sides = []
    for lists in (train, test):
        path.write_text("".join(" ".join(map(str, [user, *items])) + "\n" for user, items in lists.items()))
        given = {"users": sides[0].users, "items": sides[0].items} if sides else {}
        sides.append(hs.read_adjacency_lists(path, **given))
    first, second = sides
    for name, ids in (("users", test), ("items", {item for items in test.values() for item in items})):
        old, new = getattr(first, name), getattr(second, name)
        assert [*new][: len(old)] == [*old]
        assert {*new} == {*old} | {*ids}
        assert (new is old) == ({*ids} <= {*old})
    assert {user: items for user, items in lists_of(second).items() if items} == {u: i for u, i in test.items() if i}


def test_irregular_lines(path: Path) -> None:
    """Trailing and repeated spaces, empty lines, users without items, comments, and no final line end."""
    path.write_text("# user items\n0  10\t11 \n\n 1 \n2 10\n   \n0 12")
    data = hs.read_adjacency_lists(path, comment="#")
    assert lists_of(data) == {0: [10, 11, 12], 1: [], 2: [10]}


def test_ids_are_integers_only_if_all_are(path: Path) -> None:
    for text, expected in (("7 1 2\n", {7: [1, 2]}), ("07 1 2\n", {"07": [1, 2]}), ("7 1 x\n", {7: ["1", "x"]})):
        path.write_text(text)
        assert lists_of(hs.read_adjacency_lists(path)) == expected


def test_ids_have_types_of_given_vocabularies(path: Path) -> None:
    strings, integers = hs.Vocabulary(["7", "8"]), hs.Vocabulary([1, 2])
    path.write_text("7 1\n\n8 2 3\n")
    data = hs.read_adjacency_lists(path, users=strings, items=integers)
    assert data.users is strings
    assert [*data.items] == [1, 2, 3]
    path.write_text("1 1\n2 2 x\n")
    with pytest.raises(DataError, match=r"train.txt, line 2: the item id 'x' is a string, but the model's item ids"):
        hs.read_adjacency_lists(path, items=integers)
    path.write_text("1 1\n\nx 2\n")
    with pytest.raises(DataError, match=r"train.txt, line 3: the user id 'x' is a string"):
        hs.read_adjacency_lists(path, users=integers)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2\n3,,4\n", r"train.txt, line 2: the item id in field 2 is missing: correct or drop such lines, or skip"),
        ("1,2\n\n,3\n", r"train.txt, line 3: the user id in field 1 is missing"),
        ("1,2\n,\n", r"train.txt, line 2: the user id in field 1 is missing"),
        ("1,2\n2, ,5\n", r"train.txt, line 2: the item id in field 2 is missing"),
    ],
)
def test_bad_lines(path: Path, text: str, message: str) -> None:
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        hs.read_adjacency_lists(path, separator=",")
    with pytest.warns(SkippedLinesWarning, match=r"train.txt: 1 line was skipped") as told:
        data = hs.read_adjacency_lists(path, separator=",", bad_lines="skip")
    assert told[0].filename == __file__
    assert lists_of(data) == {1: [2]}
    path.write_text(",1\n,2\n")
    with pytest.raises(DataError, match="no line has an item; 2 lines were skipped"):
        hs.read_adjacency_lists(path, separator=",", bad_lines="skip")


def test_separator_at_end_of_line_is_ignored(path: Path) -> None:
    path.write_text("1,2,\n3,\n")
    assert lists_of(hs.read_adjacency_lists(path, separator=",")) == {1: [2], 3: []}


def test_repeats(path: Path) -> None:
    path.write_text("1 2 3\n4 2\n\n1 5 2 5\n")
    message = (
        r"line 4: user 1 already has the item 2 in .*train.txt, line 1 \(2 repeats in total\): set duplicates='last'"
    )
    with pytest.raises(DataError, match=message):
        hs.read_adjacency_lists(path)
    for duplicates, counts in (("last", [1] * 4), ("mean", [1] * 4), ("sum", [1, 1, 2, 2]), (None, [1, 1, 2, 2])):
        data = hs.read_adjacency_lists(path, duplicates=duplicates)  # type: ignore[arg-type]
        assert sorted(data.values.tolist()) == counts
        assert not data.has_values
    path.write_text("1 2\n4 2 7 2\n")
    with pytest.raises(
        DataError, match=r"line 2: user 4 already has the item 2 in the same line \(1 repeat in total\)"
    ):
        hs.read_adjacency_lists(path)


def test_several_files_are_one_table(tmp_path: Path) -> None:
    for name, text in (("a.txt", "1 2\n"), ("b.txt", ""), ("c.txt", "\n3 4\n1 2\n")):
        (tmp_path / name).write_text(text)
    message = r"c.txt, line 3: user 1 already has the item 2 in .*a.txt, line 1"
    for files in (tmp_path, tmp_path / "*.txt", [tmp_path / name for name in ("a.txt", "b.txt", "c.txt")]):
        with pytest.raises(DataError, match=message):
            hs.read_adjacency_lists(files)
        assert lists_of(hs.read_adjacency_lists(files, duplicates="last")) == {1: [2], 3: [4]}


def test_compressed_files_encodings_and_the_standard_input(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(gzip.compress("ä ö ü\n".encode("latin-1")))
    assert lists_of(hs.read_adjacency_lists(path, encoding="latin-1")) == {"ä": ["ö", "ü"]}
    with pytest.raises(DataError, match=r"line 1: the byte 0xe4 is not UTF-8"):
        hs.read_adjacency_lists(path)
    path.write_bytes("1 a\u00a0b\n".encode("utf-16"))  # with a byte order mark; only spaces and tabs separate
    assert lists_of(hs.read_adjacency_lists(path)) == {1: ["a\u00a0b"]}
    path.write_bytes(b"1 2\n3 \0 4\n")
    with pytest.raises(DataError, match=r"line 2: there is a NUL character"):
        hs.read_adjacency_lists(path)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"1 2\n3 3 3\n")))
    with pytest.raises(DataError, match="standard input, line 2: user 3 already has the item 3 in the same line"):
        hs.read_adjacency_lists("-")


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        ({"separator": ""}, "separator='': give a field separator"),
        ({"comment": "\n"}, r"comment='\\n': give the prefix"),
        ({"encoding": "latin-99"}, "encoding='latin-99' is unknown"),
        ({"bad_lines": "drop"}, "bad_lines='drop': give one of 'error', 'skip'"),
        ({"duplicates": "first"}, "duplicates='first': give one of"),
        ({"users": [1, 2]}, r"users=\[1, 2\]: give a Vocabulary"),
    ],
)
def test_parameters_are_checked(path: Path, parameter: Any, message: str) -> None:
    path.write_text("1 2\n")
    with pytest.raises(ParameterError, match=message):
        hs.read_adjacency_lists(path, **parameter)


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no file"):
        hs.read_adjacency_lists(tmp_path / "none.txt")
    with pytest.raises(HalfstepError, match="contains no files"):
        hs.read_adjacency_lists(tmp_path)


def test_fit_and_evaluate_published_split(tmp_path: Path) -> None:
    """A user without training items is treated as an unknown user."""
    (tmp_path / "train.txt").write_text("0 0 1 2\n1 0 1\n2 0 3\n3\n")
    (tmp_path / "test.txt").write_text("0 3\n1 2\n3 0\n")
    train = hs.read_adjacency_lists(tmp_path / "train.txt")
    test = hs.read_adjacency_lists(tmp_path / "test.txt", users=train.users, items=train.items)
    result = hs.evaluate(hs.Popularity().fit(train), test, "recall", 1, resamples=2)
    assert result.per_user("Popularity", "recall").tolist() == [1, 1, 1]
    assert result.unknown_users == 1 / 3
