"""Conversion of ids to positions and back."""

from __future__ import annotations

import copy
import datetime as dt
import pickle
import re
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from uuid import UUID

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given

from halfstep.data.frames import MANY, encode_strings
from halfstep.data.vocabulary import Vocabulary
from halfstep.errors import DataError, ParameterError, UnknownIdError
from thorough import examples

INT64 = st.integers(-(2**63), 2**63 - 1)


@given(st.lists(st.one_of(INT64, st.integers(0, 20)), max_size=50))
def test_integers_round_trip_in_ascending_order(column: list[int]) -> None:
    vocabulary, positions = Vocabulary.encode(np.array(column, dtype=np.int64))
    assert vocabulary.ids.dtype == np.int64
    assert positions.dtype == np.int32
    assert vocabulary.ids.tolist() == sorted(set(column))
    assert vocabulary.ids[positions].tolist() == column
    assert vocabulary.positions(column).tolist() == positions.tolist()


@pytest.mark.slow
@given(st.lists(st.one_of(st.text(), st.just("")), max_size=30))
def test_strings_round_trip_in_ascending_order(column: list[str]) -> None:
    vocabulary, positions = Vocabulary.encode(column)
    assert list(vocabulary) == sorted(set(column))
    assert vocabulary.ids[positions].tolist() == column
    assert vocabulary.positions(column).tolist() == positions.tolist()


@given(
    st.lists(st.one_of(INT64, st.integers(-5, 5)), unique=True),
    st.lists(st.one_of(INT64, st.integers(-9, 9))),
)
def test_unknown_integers_are_marked(ids: list[int], wanted: list[int]) -> None:
    positions = Vocabulary(ids).positions(np.array(wanted, dtype=np.int64), unknown="mark")
    assert positions.tolist() == [ids.index(each) if each in ids else -1 for each in wanted]


@pytest.mark.parametrize(
    "column",
    [
        [UUID(int=2), UUID(int=1), UUID(int=2)],
        [("b", 2), ("a", 1), ("b", 2)],
        [2**64 - 1, 2**63, 2**64 - 1],
        [2.5, -1.0, 2.5],
        [Decimal("2.5"), Decimal(1), Decimal("2.5")],
        [dt.date(2020, 1, 2), dt.date(2020, 1, 1), dt.date(2020, 1, 2)],
        [True, False, True],
    ],
    ids=lambda column: type(column[0]).__name__,
)
def test_ids_of_any_hashable_type(column: list[object]) -> None:
    vocabulary, positions = Vocabulary.encode(column)
    assert vocabulary.ids.dtype == object
    assert list(vocabulary) == [column[1], column[0]]
    assert positions.tolist() == [1, 0, 1]
    assert vocabulary.positions(column[0]).tolist() == [1]  # a single id, tuples too


def test_ids_that_cannot_be_compared_keep_the_order_of_appearance() -> None:
    vocabulary, positions = Vocabulary.encode(["b", 7, ("a",), 7, "a"])
    assert list(vocabulary) == ["b", 7, ("a",), "a"]
    assert positions.tolist() == [0, 1, 2, 1, 3]


@pytest.mark.parametrize(
    "column",
    [
        np.array([3, 1, 3], dtype=np.uint8),
        np.array([3, 1, 3], dtype=np.uint64),
        np.array([3, 1, 3], dtype=object),
        [np.int32(3), 1, 3],
        (3, 1, 3),
        (each for each in (3, 1, 3)),
        np.ma.array([3, 1, 3], mask=[False, False, False]),
        pd.Series([3, 1, 3], dtype="Int64"),
        pd.Series([3, 1, 3], index=[9, 8, 7]),
        pl.Series([3, 1, 3]),
        pa.chunked_array([[3], [1, 3]]),
    ],
    ids=lambda column: f"{type(column).__module__}.{type(column).__name__}",
)
def test_integers_in_any_container_become_int64(column: object) -> None:
    vocabulary, positions = Vocabulary.encode(column)
    assert vocabulary.ids.dtype == np.int64
    assert vocabulary.ids.tolist() == [1, 3]
    assert positions.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    "column",
    [
        np.array(["y", "x", "y"]),
        np.array(["y", "x", "y"], dtype=object),
        pd.Series(["y", "x", "y"]),
        pd.Series(["y", "x", "y"], dtype="category"),
        pl.Series(["y", "x", "y"]),
        pl.Series(["y", "x", "y"], dtype=pl.Categorical),
        pa.array(["y", "x", "y"]),
    ],
    ids=lambda column: f"{type(column).__module__}.{getattr(column, 'dtype', 'string')}",
)
def test_strings_in_any_container_become_str(column: object) -> None:
    vocabulary, positions = Vocabulary.encode(column)
    assert [type(each) for each in vocabulary] == [str, str]
    assert list(vocabulary) == ["x", "y"]
    assert positions.tolist() == [1, 0, 1]


def test_datetime_ids_keep_their_precision() -> None:
    column = np.array(["2020-01-01T00:00:00.000000002", "2020-01-01T00:00:00.000000001"], dtype="datetime64[ns]")
    vocabulary, positions = Vocabulary.encode(column)
    assert list(vocabulary) == [column[1], column[0]]
    assert positions.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("column", "row", "shown"),
    [
        ([1, None, 3], 1, "None"),
        (["a", "b", float("nan")], 2, "nan"),
        (np.array([1.0, np.nan]), 1, "nan"),
        (pd.Series([1, None], dtype="Int64"), 1, "nan"),
        (pd.Series(["a", pd.NA], dtype=object), 1, "<NA>"),
        (pd.Series(["a", None]), 1, "nan|None"),
        (pd.Series([pd.NaT, pd.Timestamp("2020")]), 0, "NaT"),
        (np.array(["2020", "NaT"], dtype="datetime64[D]"), 1, "NaT"),
        (pl.Series([1, None]), 1, "nan"),
        (pl.Series(["a", None]), 1, "None"),
        (pa.array(["a", None]), 1, "None"),
        (pa.chunked_array([["a", None]]).dictionary_encode(), 1, "None"),  # of which NumPy is given the first, twice
        (pa.chunked_array([[7, None]]).dictionary_encode(), 1, "nan"),
        (np.ma.array([1, 2, 3], mask=[False, True, False]), 1, "None"),
    ],
)
def test_a_missing_id_is_named_by_its_first_row(column: object, row: int, shown: str) -> None:
    with pytest.raises(
        DataError, match=rf"the user id in row {row} \(counted from 0\) is .*(?:{shown}).*: a missing id"
    ):
        Vocabulary.encode(column, name="user id")
    with pytest.raises(DataError, match=rf"the id in row {row} .* drop or correct such rows"):
        Vocabulary(column)


@pytest.mark.parametrize("strange", [[1], ([],)], ids=["list", "tuple of list"])
def test_an_unhashable_id_is_named(strange: object) -> None:
    with pytest.raises(DataError, match=r"the id in row 1 .* not hashable; make ids integers, strings or tuples"):
        Vocabulary.encode(["a", strange])
    with pytest.raises(DataError, match=r"the id in row 1 .* not hashable"):
        Vocabulary(["a", ("a",)]).positions(["a", strange], unknown="mark")


@pytest.mark.parametrize("ids", [[5, 6, 5, 6], ["a", "b", "a", "b"]])
def test_repeated_ids_are_refused(ids: list[object]) -> None:
    with pytest.raises(DataError, match=rf"the id in row 2 .* is {ids[2]!r}: a repeat; give each id once"):
        Vocabulary(ids)


@pytest.mark.parametrize(("ids", "fault"), [(np.zeros((2, 2)), r"the shape \(2, 2\)"), (7, "7 of type int")])
def test_error_for_non_columns(ids: object, fault: str) -> None:
    with pytest.raises(DataError, match=fault):
        Vocabulary.encode(ids)


def test_given_order_is_kept() -> None:
    vocabulary = Vocabulary([30, 10, 20])
    assert [vocabulary.position(each) for each in (10, 20, 30)] == [1, 2, 0]
    assert vocabulary.positions([10, 20, 30]).tolist() == [1, 2, 0]
    assert list(vocabulary) == [30, 10, 20]
    assert type(vocabulary[0]) is int


def test_lookup_of_single_id() -> None:
    assert Vocabulary([30, 10]).positions(10).tolist() == [1]
    assert Vocabulary([30, 10]).positions(np.int8(10)).tolist() == [1]
    assert Vocabulary(["ab", "c"]).positions("ab").tolist() == [0]
    assert Vocabulary([30, 10]).positions((10, 30)).tolist() == [1, 0]  # no tuples among the ids: a sequence


@pytest.mark.parametrize(("ids", "far"), [([1, 2], [2**63 - 1, -(2**63)]), ([-(2**63), 2**63 - 1], [0, 1])])
def test_lookup_at_the_ends_of_int64(ids: list[int], far: list[int]) -> None:
    assert Vocabulary(ids).positions(far + ids, unknown="mark").tolist() == [-1, -1, 0, 1]


def test_unknown_ids() -> None:
    vocabulary = Vocabulary([30, 10])
    with pytest.raises(UnknownIdError, match=r"^unknown id 40: the vocabulary holds 2 ids, such as 30$"):
        vocabulary.positions([10, 40, 50])
    with pytest.raises(UnknownIdError, match=r"^unknown user id 40: the vocabulary"):
        vocabulary.position(40, name="user id")
    with pytest.raises(UnknownIdError, match="the vocabulary is empty"):
        Vocabulary([]).positions([1])
    with pytest.raises(ParameterError, match="unknown='ignore': give one of 'raise', 'mark'"):
        vocabulary.positions([10], unknown="ignore")  # type: ignore[arg-type]


# --- types ------------------------------------------------------------------------------------------

KINDS: dict[str, tuple[list, object]] = {  # ids of one type, and one more
    "integer": ([1, 2], 7),
    "string": (["1", "2"], "7"),
    "float": ([1.5, 2.5], 7.5),
    "bool": ([False], True),
    "Decimal": ([Decimal("1.5"), Decimal(2)], Decimal(7)),
    "UUID": ([UUID(int=1), UUID(int=2)], UUID(int=7)),
    "tuple": ([(1, "a"), (2, "b")], (7, "c")),
    "date": ([dt.date(2020, 1, 1), dt.date(2020, 1, 2)], dt.date(2020, 1, 7)),
    "datetime": ([dt.datetime(2020, 1, 1), dt.datetime(2020, 1, 2)], dt.datetime(2020, 1, 7)),
    "timedelta": ([np.timedelta64(1, "s"), dt.timedelta(seconds=2)], pd.Timedelta(seconds=7)),
}


@pytest.mark.parametrize("asked", KINDS)
@pytest.mark.parametrize("held", KINDS)
def test_id_of_another_type_is_an_error_but_unknown_id_is_not(held: str, asked: str) -> None:
    ids, one = Vocabulary(KINDS[held][0]), KINDS[asked][1]
    if held == asked or (held, asked) == ("float", "integer"):  # since 7.0 is the integer 7
        assert ids.positions([one], unknown="mark").tolist() == [-1]
        assert ids.positions([*KINDS[held][0], one], unknown="mark").tolist() == [*range(len(ids)), -1]
        assert one not in ids
        with pytest.raises(UnknownIdError):
            ids.position(one)
        return
    assert one not in ids
    for look_up in (
        lambda: ids.position(one),
        lambda: ids.positions([one], unknown="mark"),
        lambda: ids.positions([KINDS[held][0][0], one], unknown="mark"),
        lambda: ids.positions([one]),
        lambda: ids.extended([one]),
        lambda: ids.keyed({one: "x"}),
    ):
        with pytest.raises(DataError, match=r"(but the known ids are|a bool among numbers).* convert the ids to"):
            look_up()


def test_error_names_both_types_and_remedy() -> None:
    with pytest.raises(DataError) as caught:
        Vocabulary([12, 5]).positions([5, "12"], name="user id")
    assert str(caught.value) == (
        "user id '12' is a string, but the known user ids are integers such as 12: convert the ids to integers"
    )
    with pytest.raises(DataError) as caught:
        Vocabulary(["a", 12, UUID(int=1)]).position(2.5, name="item id in exclude")
    assert str(caught.value) == (
        "item id 2.5 in exclude is a float, but the known item ids are strings such as 'a' and integers such as 12 "
        "and of type UUID such as UUID('00000000-0000-0000-0000-000000000001'): convert the ids to one of these types"
    )
    with pytest.raises(
        DataError, match=r"\('a', 1\) is of type tuple, but .* of type UUID such as .*: convert the ids to"
    ):
        Vocabulary([UUID(int=1)]).positions([("a", 1)])


def test_types_of_mixed_and_empty_vocabularies() -> None:
    assert Vocabulary(["a", 7]).positions([7, "7", 8, "a"], unknown="mark").tolist() == [1, -1, -1, 0]
    assert Vocabulary([]).positions(["a", 7, 2.5], unknown="mark").tolist() == [-1, -1, -1]


class Colour(StrEnum):
    red = "red"


class Legacy(str, Enum):  # noqa: UP042 - prints as its name
    red = "red"


class Number(IntEnum):
    four = 4


@pytest.mark.parametrize(
    ("forms", "plain"),
    [
        ([4, 4.0, np.int8(4), np.uint64(4), np.float32(4), np.float64(4), Number.four], 4),
        (["red", b"red", np.str_("red"), np.bytes_(b"red"), Colour.red, Legacy.red], "red"),
        (["é", "é".encode()], "é"),
        ([2**63, np.uint64(2**63)], 2**63),
        ([True, np.True_], True),
        ([2.5, np.float32(2.5), np.float64(2.5)], 2.5),
        ([0, -0.0], 0),
    ],
)
def test_plain_form_alone_and_in_column(forms: list, plain: object) -> None:
    for form in forms:
        vocabulary, positions = Vocabulary.encode([form, *forms])
        assert (vocabulary.ids.tolist(), positions.tolist()) == ([plain], [0] * (len(forms) + 1))
        assert type(vocabulary[0]) is type(plain)
        assert (Vocabulary([form]).ids.tolist(), type(Vocabulary([form])[0])) == ([plain], type(plain))
        assert Vocabulary([plain]).positions(forms).tolist() == [0] * len(forms)
        assert form in Vocabulary([plain])
        assert list(Vocabulary([plain]).keyed({form: "x"})) == [plain]


def test_error_for_keys_that_are_equal_ids() -> None:
    with pytest.raises(DataError, match=r"the user id in row 1 .* is 'a': a repeat; give each id once"):
        Vocabulary(["a", "b"]).keyed({b"a": 1, "a": 2}, name="user id")


@pytest.mark.parametrize(
    ("column", "ids"),
    [
        (np.array([4.0, 2.0, 4.0]), [2, 4]),
        (np.array([4.0, 2.0, 4.0], dtype=np.float32), [2, 4]),
        (pd.Series([4.0, 2.0]), [2, 4]),
        (pl.Series([4.0, 2.0]), [2, 4]),
        (pa.array([4.0, 2.0]), [2, 4]),
        (np.array([4.0, 2.5]), [2.5, 4]),
        (np.array([b"y", b"x"]), ["x", "y"]),
        (np.array([b"y", "x"], dtype=object), ["x", "y"]),
        (pa.array([b"y", b"x"]), ["x", "y"]),
        (pl.Series([b"y", b"x"]), ["x", "y"]),
    ],
)
def test_integral_floats_become_integers_and_bytes_strings_in_any_container(column: object, ids: list) -> None:
    vocabulary, positions = Vocabulary.encode(column)
    assert vocabulary.ids.tolist() == ids
    assert [type(each) for each in vocabulary] == [type(each) for each in ids]
    assert vocabulary.ids.dtype == (np.int64 if set(map(type, ids)) == {int} else object)
    assert vocabulary.positions(column).tolist() == positions.tolist()


@pytest.mark.parametrize(
    ("column", "row", "fault"),
    [
        ([b"ok", b"\xff"], 1, "bytes that are not UTF-8"),
        (np.array([b"ok", b"ok", b"\xe9"]), 2, "bytes that are not UTF-8"),
        ([3, 5, True], 2, "a bool among numbers"),
        ([True, 1], 0, "a bool among numbers"),
        ([2.5, np.False_], 1, "a bool among numbers"),
        (np.array([1.0, 2.0**53]), 1, "a float so large that integers are rounded"),
        (np.array([1.0, 2.0**24], dtype=np.float32), 1, "a float so large that integers are rounded"),
        (["a", 1e300], 1, "a float so large that integers are rounded"),
        ([1.5, float("inf")], 1, "a float so large that integers are rounded"),
        ([1.5, float("nan")], 1, "a missing id"),
    ],
)
def test_error_names_row_of_invalid_id(column: object, row: int, fault: str) -> None:
    for make in (Vocabulary, Vocabulary.encode, Vocabulary([]).positions, lambda ids: Vocabulary([]).extended(ids)):
        with pytest.raises(DataError, match=rf"the id in row {row} \(counted from 0\) is .*: {fault}"):
            make(column)


@pytest.mark.parametrize("missing", [None, float("nan"), np.nan, pd.NA, pd.NaT, np.datetime64("NaT")])
@pytest.mark.parametrize("held", [[1, 2], ["a"], [2.5], []], ids=["integers", "strings", "floats", "none"])
def test_lookup_of_missing_id_is_an_error(held: list, missing: object) -> None:
    vocabulary = Vocabulary(held)
    assert missing not in vocabulary
    for look_up in (
        vocabulary.position,
        vocabulary.positions,
        lambda each: vocabulary.positions([*held, each], "mark"),
    ):
        with pytest.raises(DataError, match=r"the id in row .* a missing id"):
            look_up(missing)


def test_single_datetime64_keeps_its_unit() -> None:
    instants = np.array(["2020-01-01T00:00:00.000000002", "2020-01-01T00:00:00.000000001"], dtype="datetime64[ns]")
    assert Vocabulary(instants).positions(instants[0]).tolist() == [0]


IDS = st.one_of(
    st.integers(), st.text(), st.floats(-(2.0**52), 2.0**52), st.uuids(), st.tuples(st.text()), st.dates()
)


@given(st.lists(IDS, unique=True, max_size=6), st.lists(IDS, max_size=6))
def test_known_unknown_or_of_another_type(held: list, asked: list) -> None:
    """Compare to plain forms, the set of their types, and linear search."""

    def plain(item: object) -> object:
        return int(item) if isinstance(item, float) and item.is_integer() else item

    held = list(dict.fromkeys(map(plain, held)))
    types = set(map(type, held)) | ({int} if float in set(map(type, held)) else set())
    vocabulary, asked_plain = Vocabulary(held), list(map(plain, asked))
    if held and not set(map(type, asked_plain)) <= types:
        first = next(each for each in asked_plain if type(each) not in types)
        with pytest.raises(DataError) as caught:
            vocabulary.positions(asked, unknown="mark")
        assert str(caught.value).startswith(f"id {first!r} is ")
    else:
        expected = [held.index(each) if each in held else -1 for each in asked_plain]
        assert vocabulary.positions(asked, unknown="mark").tolist() == expected


@given(st.lists(IDS, max_size=20))
def test_encode_equals_plain_forms(column: list) -> None:
    vocabulary, positions = Vocabulary.encode(column)
    assert vocabulary.ids[positions].tolist() == column
    assert not any(isinstance(each, float) and each.is_integer() for each in vocabulary)
    assert vocabulary.positions(column).tolist() == positions.tolist()


def test_shared_ids_of_vocabularies_of_any_types() -> None:
    assert Vocabulary([5, 7]).shared(Vocabulary([7, 8, 5])).tolist() == [1, -1, 0]
    assert Vocabulary([5, 7]).shared(Vocabulary([7, "x"])).tolist() == [1, -1]
    assert Vocabulary([5, 1]).shared(Vocabulary([True, False])).tolist() == [-1, -1]
    assert Vocabulary([]).shared(Vocabulary(["x"])).tolist() == [-1]


@pytest.mark.parametrize(
    ("held", "text", "meant"),
    [
        ([7, 12], "7", 7),
        ([7, 12], "-5", -5),
        (["7", "x9"], "7", "7"),
        (["007", "7"], "007", "007"),
        (["a"], "new", "new"),
        (["a", 7], "7", 7),
        (["a", 7], "new", "new"),
        ([2.5], "2.5", 2.5),
        ([2.5, 4], "4", 4),
        ([UUID(int=1)], str(UUID(int=2)), UUID(int=2)),
        ([dt.date(2020, 1, 1)], "2020-02-03", dt.date(2020, 2, 3)),
        ([Decimal("2.50")], "2.5", Decimal("2.5")),
        ([(1, "a"), (2, "b")], "(2, 'b')", (2, "b")),
        ([], "7", "7"),
    ],
)
def test_parse(held: list, text: str, meant: object) -> None:
    read = Vocabulary(held).parse(text)
    assert (read, type(read)) == (meant, type(meant))


@pytest.mark.parametrize(
    ("held", "text"), [([7], "x9"), ([7], "007"), ([7], "7.0"), ([(1, "a")], "a"), ([UUID(int=1)], "7")]
)
def test_parse_error_for_another_type(held: list, text: str) -> None:
    with pytest.raises(DataError, match=re.escape(f"user id {text!r} cannot be parsed: the known user ids are")):
        Vocabulary(held).parse(text, name="user id")


INSTANT, DAY, SPAN = dt.datetime(2020, 1, 2, 3), dt.date(2020, 1, 2), dt.timedelta(seconds=2)
PLAIN_TIMES: dict[str, tuple[object, object]] = {  # what is given, and the id that it is
    "datetime64[s]": (np.datetime64(INSTANT, "s"), INSTANT),
    "datetime64[ns]": (np.datetime64(INSTANT, "ns"), INSTANT),
    "datetime64[D]": (np.datetime64(DAY), DAY),
    "pandas Timestamp": (pd.Timestamp(INSTANT), INSTANT),
    "pandas Timestamp with a zone": (pd.Timestamp(INSTANT, tz="UTC"), INSTANT.replace(tzinfo=dt.UTC)),
    "timedelta64[ns]": (np.timedelta64(SPAN, "ns"), SPAN),
    "pandas Timedelta": (pd.Timedelta(SPAN), SPAN),
    "nanoseconds": (pd.Timestamp(1), np.datetime64(1, "ns")),
    "span of nanoseconds": (pd.Timedelta(1), np.timedelta64(1, "ns")),
    "year 20000": (np.datetime64("20000-01-01"), np.datetime64("20000-01-01")),
    "largest": (np.datetime64(2**62, "s"), np.datetime64(2**62, "s")),
    "longest": (np.timedelta64(2**62, "D"), np.timedelta64(2**62, "D")),
    "months": (np.timedelta64(1, "M"), np.timedelta64(1, "M")),
}


@pytest.mark.parametrize(("given", "plain"), PLAIN_TIMES.values(), ids=PLAIN_TIMES)
def test_plain_form_of_dates_and_times(given: object, plain: object) -> None:
    for ids in (Vocabulary([given]), Vocabulary.encode([given])[0], Vocabulary(np.array([given], dtype=object))):
        assert (list(ids), [type(each) for each in ids]) == ([plain], [type(plain)])
        assert ids.position(plain) == ids.position(given) == 0
        assert plain in ids
        assert given in ids


@pytest.mark.parametrize(
    "column",
    [
        pd.Series(pd.to_datetime(["2020-01-02", "2020-01-01"])),
        pd.DatetimeIndex(["2020-01-02", "2020-01-01"]),
        pl.Series([dt.datetime(2020, 1, 2), dt.datetime(2020, 1, 1)]),
        pa.array([dt.datetime(2020, 1, 2), dt.datetime(2020, 1, 1)]),
        np.array(["2020-01-02T00", "2020-01-01T00"], dtype="M8[h]"),
        [pd.Timestamp("2020-01-02"), pd.Timestamp("2020-01-01")],
    ],
    ids=["pandas", "index", "polars", "pyarrow", "numpy", "list"],
)
def test_datetimes_of_different_libraries_are_equal(column: object) -> None:
    ids, positions = Vocabulary.encode(column)
    assert list(ids) == [dt.datetime(2020, 1, 1), dt.datetime(2020, 1, 2)]
    assert positions.tolist() == [1, 0]
    for day in (dt.datetime(2020, 1, 2), pd.Timestamp("2020-01-02"), np.datetime64("2020-01-02", "ns")):
        assert ids.position(day) == 1


def test_nanosecond_datetimes_have_the_type_of_datetimes() -> None:
    ids = Vocabulary(np.array([1, 2], dtype="M8[ns]"))
    assert ids.positions([dt.datetime(2020, 1, 1), pd.Timestamp(2)], unknown="mark").tolist() == [-1, 1]


def test_time_deltas_as_ids() -> None:
    spans = Vocabulary(np.array([2, 1], dtype="m8[s]"))
    assert spans[0] == np.timedelta64(2, "s")
    assert repr(spans).startswith("Vocabulary(2 ids, ")


def test_error_for_index_minus_one() -> None:
    with pytest.raises(IndexError, match="position -1 is outside of 0 to 1"):
        Vocabulary(["a", "b"])[-1]


def test_immutable() -> None:
    given_ids = np.array([3, 4])
    vocabulary = Vocabulary(given_ids)
    given_ids[0] = 9
    assert list(vocabulary) == [3, 4]
    with pytest.raises(ValueError, match="read-only"):
        vocabulary.ids[0] = 9
    with pytest.raises(AttributeError):
        vocabulary.ids = given_ids  # type: ignore[misc]


def test_equality_membership_and_size() -> None:
    assert Vocabulary([1, 2]) == Vocabulary(np.array([1, 2], dtype=np.int8))
    assert Vocabulary([1, 2]) != Vocabulary([2, 1])
    assert Vocabulary([1, 2]) != Vocabulary(["1", "2"])
    assert Vocabulary([1, 2]) != [1, 2]
    assert Vocabulary([("a", 1), ("b", 2)]) == Vocabulary([("a", 1), ("b", 2)])
    assert 2 in Vocabulary([1, 2])
    assert "2" not in Vocabulary([1, 2])
    assert len(Vocabulary([])) == 0


def test_copies_and_pickles() -> None:
    vocabulary = Vocabulary(["b", "a"])
    for twin in (copy.deepcopy(vocabulary), pickle.loads(pickle.dumps(vocabulary))):
        assert twin == vocabulary
        assert twin.position("a") == 1


def test_repr() -> None:
    assert repr(Vocabulary(range(1000, 3000))) == "Vocabulary(2,000 ids, 1000 to 2999)"
    assert repr(Vocabulary(["a"])) == "Vocabulary(1 id: 'a')"
    assert repr(Vocabulary([])) == "Vocabulary(no ids)"


@given(
    start=st.lists(st.integers(-5, 20), unique=True),
    batches=st.lists(st.lists(st.integers(-5, 40), max_size=6), max_size=6),
    as_strings=st.booleans(),
)
def test_extended_keeps_positions(start, batches, as_strings):
    of = (lambda ids: [f"id {k}" for k in ids]) if as_strings else list
    vocabularies = [Vocabulary(of(start))]
    contents = [of(start)]
    for batch in batches:
        vocabularies.append(vocabularies[-1].extended(of(batch)))
        contents.append(contents[-1] + [k for k in dict.fromkeys(of(batch)) if k not in contents[-1]])
    for vocabulary, ids in zip(vocabularies, contents, strict=True):
        assert vocabulary.ids.tolist() == ids
        assert len(vocabulary) == len(ids)
        everything = contents[-1] + of([99])
        expected = [ids.index(k) if k in ids else -1 for k in everything]
        assert vocabulary.positions(everything, unknown="mark").tolist() == expected
        assert [k in vocabulary for k in everything] == [k in ids for k in everything]


def test_two_extensions_of_one_vocabulary():
    root = Vocabulary(["a"]).extended(["b"])
    left, right = root.extended(["x", "y"]), root.extended(["y"])
    assert left.ids.tolist() == ["a", "b", "x", "y"]
    assert right.ids.tolist() == ["a", "b", "y"]
    assert (left.position("y"), right.position("y"), "y" in root) == (3, 2, False)
    with pytest.raises(UnknownIdError):
        root.position("x")
    assert left.extended(["z"]).ids.tolist() == ["a", "b", "x", "y", "z"]


def test_extended_error_for_ids_of_another_type():
    mixed = Vocabulary([1, "movie"]).extended([2, "book"])
    assert mixed.ids.tolist() == [1, "movie", 2, "book"]
    assert mixed.positions([2, "movie", 3], unknown="mark").tolist() == [2, 1, -1]
    assert mixed.extended([1, 2, "movie"]) is mixed
    with pytest.raises(DataError, match="missing"):
        mixed.extended([None])
    with pytest.raises(DataError, match="id 'movie' is a string, but the known ids are integers such as 1"):
        Vocabulary([1]).extended([2, "movie"])
    grown = Vocabulary([]).extended(["movie"])
    with pytest.raises(DataError, match="id 2 is an integer, but the known ids are strings such as 'movie'"):
        grown.extended(["book"]).extended([2])
    assert Vocabulary([1]).extended([2**64]).extended([3]).ids.tolist() == [1, 2**64, 3]


# --- many strings ---------------------------------------------------------------------------------

ARROW = pd.ArrowDtype(pa.string())
SERIES = {
    "pandas str": lambda column: pd.Series(column, dtype="str", index=range(7, 7 + len(column))),
    "pandas string": lambda column: pd.Series(column, dtype="string[pyarrow]"),
    "pandas Arrow": lambda column: pd.Series(column, dtype=ARROW),
    "pandas category": lambda column: pd.Series(column, dtype="str").astype("category"),
    "pandas, more categories": lambda column: pd.Series(column, dtype=pd.CategoricalDtype(more_than(column))),
    "pandas, ordered": lambda column: pd.Series(column, dtype=pd.CategoricalDtype(more_than(column), ordered=True)),
    "polars": lambda column: pl.Series(column, dtype=pl.String),
    "polars categorical": lambda column: pl.Series(column, dtype=pl.Categorical),
    "polars enum": lambda column: pl.Series(column, dtype=pl.Enum(more_than(column))),
    "pyarrow": lambda column: pa.chunked_array([column[:99], column[99:]]),
    "pyarrow large": lambda column: pa.chunked_array([column], pa.large_string()),
    "pyarrow dictionary": lambda column: pa.chunked_array([column]).dictionary_encode(),
    "pyarrow dictionaries": lambda column: pa.chunked_array(
        [pa.array(column[:99]).dictionary_encode(), pa.array(column[99:]).dictionary_encode()]
    ),
}
OF_STR = ("pandas str", "pandas category", "pandas, more categories", "pandas, ordered")
of_each_series = pytest.mark.parametrize("make", SERIES.values(), ids=SERIES.keys())


def more_than(column: list) -> list:
    """Return the strings of a column, and one that is not in it."""
    return ["\U0010ffff" * 9, *dict.fromkeys(text for text in column if text is not None)]


def many(column: list) -> list:
    """Repeat a column until it is long enough for the dataframe's library."""
    return (column * MANY)[:MANY]


def assert_encoded(column: object, entries: list) -> None:
    vocabulary, positions = Vocabulary.encode(column)
    number_of = {text: number for number, text in enumerate(sorted(set(entries)))}
    assert vocabulary.ids.tolist() == list(number_of)
    assert set(map(type, vocabulary)) == {str}
    assert positions.dtype == np.int32
    assert positions.tolist() == [number_of[text] for text in entries]


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(
            make,
            id=name,
            marks=pytest.mark.skipif(
                name in OF_STR and pd.Series(dtype="str").dtype == object,
                reason="pandas before 3 has no type str, but Python objects",
            ),
        )
        for name, make in SERIES.items()
    ],
)
@examples(10)
@given(texts=st.lists(st.text(), min_size=1, max_size=40))
def test_strings_of_libraries_are_numbered_like_in_python(make, texts):
    column = many(texts)
    assert encode_strings(make(column)) is not None
    assert_encoded(make(column), column)


@of_each_series
def test_error_names_row_of_missing_id_of_libraries(make):
    column = many(["b", "a"])
    column[MANY - 3] = None
    with pytest.raises(DataError, match=rf"the user id in row {MANY - 3} \(counted from 0\) is .*: a missing id"):
        Vocabulary.encode(make(column), name="user id")


@pytest.mark.parametrize(
    "column",
    [
        pd.Series(many(["b", "a"]), dtype=object),
        pd.Series([*many(["b", "a"]), 7], dtype=object),  # of which the first hundred look like strings
        pd.Series(many(["b", "a"]), dtype=pd.StringDtype("python")),
        pd.Series(many([20, 10])).astype("category"),
        pd.Series([*many(["b", "a"]), 7], dtype="category"),
        pl.Series(many([20, 10])),
        pa.chunked_array([many([20, 10])]).dictionary_encode(),
        pl.Series(["b", "a"]),  # so few that Python is done before
        pa.chunked_array([["b", "a"]]),
    ],
    ids=lambda column: f"{type(column).__module__}.{getattr(column, 'dtype', 'column')}, {len(column)}",
)
def test_other_columns_are_numbered_by_python(column):
    assert encode_strings(column) is None
    entries = column.to_pylist() if isinstance(column, pa.ChunkedArray) else column.to_list()
    vocabulary, positions = Vocabulary.encode(column)
    expected, places = Vocabulary.encode(entries)
    assert vocabulary.ids.tolist() == expected.ids.tolist()
    assert list(map(type, vocabulary)) == list(map(type, expected))
    assert positions.tolist() == places.tolist()


WITH_SURROGATES = st.text(st.characters(exclude_categories=()))
LONGER = 20_000  # than what is made Python objects at a time


@examples(20)
@given(st.lists(WITH_SURROGATES, min_size=1, max_size=20))
def test_many_strings_of_python_and_numpy(texts):
    column = (texts * LONGER)[:LONGER]
    for given_column in (column, tuple(column), np.array(column, dtype=object), pd.Series(column, dtype=object)):
        assert_encoded(given_column, column)
    fixed = np.array(column, dtype="U")  # without the NULs at an end
    assert_encoded(fixed, [text.rstrip("\0") for text in column])


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="NumPy before 2 has no StringDType")
@examples(20)
@given(st.lists(st.text(), min_size=1, max_size=20))
def test_many_strings_of_variable_width(texts):
    column = (texts * LONGER)[:LONGER]
    assert_encoded(np.array(column, dtype=np.dtypes.StringDType()), column)


@pytest.mark.parametrize("kind", [list, tuple, lambda column: np.array(column, dtype=object)])
@pytest.mark.parametrize("strange", [None, float("nan"), pd.NA, pd.NaT])
def test_error_names_late_row_of_missing_id(kind, strange):
    column = [f"id {n}" for n in range(LONGER)]
    column[LONGER - 2] = strange
    with pytest.raises(DataError, match=rf"the id in row {LONGER - 2} .*: a missing id"):
        Vocabulary.encode(kind(column))


def test_first_ids_are_integers_but_not_all():
    for column in ([1, "a"], ["a", 1], [True, "a"], [np.int8(1), 2.5], [1, 2**64]):
        vocabulary, positions = Vocabulary.encode(column)
        assert vocabulary.ids.dtype == object
        assert vocabulary.ids[positions].tolist() == column
        assert all(type(each) in (int, str, bool, float) for each in vocabulary)
