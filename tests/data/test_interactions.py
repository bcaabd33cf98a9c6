"""Conversion of tables, arrays and sparse matrices to interactions and back, and its errors."""

from __future__ import annotations

import dataclasses
import datetime as dt
import pickle
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, ClassVar

import hypothesis.strategies as st
import narwhals
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse as sp
from hypothesis import given

from halfstep.data import Interactions, as_interactions, tables
from halfstep.errors import DataError, ParameterError

COLUMNS = {
    "user": ["eve", "adam", "eve", "cain"],
    "item": [20, 10, 10, 30],
    "value": [5.0, 0.0, -3.5, 1.0],
    "timestamp": [400, 300, 200, 100],
    "weight": [1.0, 0.0, 2.0, 0.5],
}
FRAMES: list[Callable[..., Any]] = [
    pd.DataFrame,
    pl.DataFrame,
    pl.LazyFrame,
    pa.table,
    lambda columns: narwhals.from_native(pl.DataFrame(columns)),
]
FRAME_NAMES = ["pandas", "polars", "polars lazy", "pyarrow", "narwhals"]

cells = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 4)), min_size=1, max_size=40)


def some_data(**columns: Any) -> Interactions:
    given_columns = {**COLUMNS, **columns}
    return Interactions.from_arrays(*given_columns.values())


def assert_is_the_table(data: Interactions) -> None:
    assert data.user_ids.tolist() == COLUMNS["user"]
    assert data.item_ids.tolist() == COLUMNS["item"]
    assert data.values.tolist() == COLUMNS["value"]
    assert data.timestamps is not None
    assert data.timestamps.tolist() == COLUMNS["timestamp"]
    assert data.weights is not None
    assert data.weights.tolist() == COLUMNS["weight"]


# --- made of columns ------------------------------------------------------------------------------


def test_from_arrays() -> None:
    data = some_data()
    assert_is_the_table(data)
    assert (len(data), data.n_users, data.n_items) == (4, 3, 3)
    assert list(data.users) == ["adam", "cain", "eve"]
    assert data.user_positions.dtype == data.item_positions.dtype == np.int32
    assert data.values.dtype == data.weights.dtype == np.float64
    assert data.timestamps.dtype == np.int64


def test_optional_columns() -> None:
    data = Interactions.from_arrays([1, 2], ["a", "a"])
    assert data.values.tolist() == [1.0, 1.0]
    assert data.values.strides == (0,)  # all of them in the memory of one
    assert data.timestamps is data.weights is data.item_titles is None


@pytest.mark.parametrize("make", FRAMES, ids=FRAME_NAMES)
def test_from_frame_of_any_library(make: Callable[..., Any]) -> None:
    renamed = {f"{role} id": column for role, column in COLUMNS.items()}
    data = Interactions.from_frame(
        make({"other": ["x"] * 4, **renamed}),
        user="user id",
        item="item id",
        value="value id",
        timestamp="timestamp id",
        weight="weight id",
    )
    assert_is_the_table(data)
    assert_is_the_table(as_interactions(make(COLUMNS)))


@pytest.mark.parametrize("make", FRAMES, ids=FRAME_NAMES)
def test_default_columns_are_used_unless_none(make: Callable[..., Any]) -> None:
    assert_is_the_table(Interactions.from_frame(make(COLUMNS)))
    bare = Interactions.from_frame(make(COLUMNS), value=None, timestamp=None, weight=None)
    assert (bare.values.tolist(), bare.has_values) == ([1.0] * 4, False)
    assert bare.timestamps is bare.weights is None
    assert as_interactions(make({"user": [1], "item": [2]})).timestamps is None
    with pytest.raises(DataError, match="there is no column 'value' for value"):
        Interactions.from_frame(make({"user": [1], "item": [2]}), value="value")


def test_input_arrays_are_copied() -> None:
    values, timestamps, weights = np.array([1.0, 2.0]), np.array([3, 4]), np.array([5.0, 6.0])
    data = Interactions.from_arrays([1, 2], [1, 2], values, timestamps, weights)
    for column in (values, timestamps, weights):
        column[:] = 0
    assert data.values.tolist() == [1.0, 2.0]
    assert data.timestamps.tolist() == [3, 4]
    assert data.weights.tolist() == [5.0, 6.0]


@pytest.mark.parametrize(
    "values",
    [
        [4, True, Decimal("0.5"), np.float32(2)],
        np.array([4, 1, 0.5, 2], dtype=np.float16),
        pd.Series([4, 1, 0.5, 2], dtype="Float64"),
        pl.Series([4.0, 1.0, 0.5, 2.0]).cast(pl.Decimal(9, 1)),
    ],
    ids=["list", "float16", "nullable", "decimal"],
)
def test_values_are_any_numbers(values: Any) -> None:
    assert some_data(value=values).values.tolist() == [4.0, 1.0, 0.5, 2.0]


# --- timestamps -----------------------------------------------------------------------------------

NOON = np.datetime64("2020-01-01T12:00:00", "us")
PARIS = dt.timezone(dt.timedelta(hours=1))
IN_PARIS = dt.datetime(2020, 1, 1, 13, tzinfo=PARIS)


@pytest.mark.parametrize(
    "timestamp",
    [
        "2020-01-01T12:00:00",
        "2020-01-01 13:00:00+01:00",
        "2020-01-01T12:00:00Z",
        dt.datetime(2020, 1, 1, 12),
        IN_PARIS,
        np.datetime64("2020-01-01T12"),
        pd.Timestamp("2020-01-01T12:00:00"),
        pd.Timestamp("2020-01-01T13:00:00+01:00"),
    ],
    ids=repr,
)
def test_timestamps_of_datetimes(timestamp: Any) -> None:
    data = Interactions.from_arrays([1], [2], timestamps=[timestamp])
    assert data.timestamps.dtype == np.dtype("datetime64[us]")
    assert data.timestamps[0] == NOON


@pytest.mark.parametrize(
    "column",
    [
        np.array(["2020-01-01T12"], dtype="datetime64[ns]"),
        np.array(["2020-01-01T12:00"]),
        pd.Series([pd.Timestamp("2020-01-01T12")]),
        pd.Series([IN_PARIS]),
        pl.Series([IN_PARIS], dtype=pl.Datetime("ns", "Europe/Paris")),
        pa.chunked_array([pa.array([IN_PARIS], type=pa.timestamp("ms", "Europe/Paris"))]),
    ],
    ids=["ns", "str", "pandas", "pandas with zone", "polars with zone", "pyarrow with zone"],
)
def test_timestamps_of_typed_columns(column: Any) -> None:
    data = Interactions.from_arrays([1], [2], timestamps=column)
    assert data.timestamps.dtype == np.dtype("datetime64[us]")
    assert data.timestamps[0] == NOON


def test_dates_become_midnight() -> None:
    for column in ([dt.date(2020, 1, 1)], pl.Series([dt.date(2020, 1, 1)]), ["2020-01-01"]):
        data = Interactions.from_arrays([1], [2], timestamps=column)
        assert data.timestamps[0] == np.datetime64("2020-01-01T00:00:00")


@pytest.mark.parametrize(
    ("column", "dtype"),
    [
        ([3, 4], np.int64),
        (np.array([3, 4], np.uint32), np.int64),
        ([3, 4.5], np.float64),
        ([0.5, 1], np.float64),
    ],
)
def test_numeric_timestamps_stay_numbers(column: Any, dtype: type) -> None:
    timestamps = Interactions.from_arrays([1, 2], [1, 2], timestamps=column).timestamps
    assert timestamps.dtype == dtype
    assert timestamps.tolist() == list(column)


@pytest.mark.parametrize(
    ("column", "row", "fault"),
    [
        (
            ["2020-01-01", "yesterday"],
            1,
            "'yesterday': not a time; write times as ISO 8601, such as 1997",
        ),
        (["2020-01-01", ""], 1, "'': not a time"),
        (["2020-01-01", 7], 1, "7: not a time"),
        (["2020-01-01", None], 1, "None: not a time"),
        ([7, "2020-01-01"], 0, "7: not a time"),
        ([None, "2020-01-01"], 0, "None: not a time"),
        ([1, 2**63], 1, "too large for int64; choose a coarser unit"),
        (np.array([1, 2**63], dtype=np.uint64), 1, "too large for int64"),
        ([None, 7], 0, "None: not a number"),
        ([7.0, float("nan")], 1, "nan: not a finite number"),
        ([7.0, float("inf")], 1, "inf: not a finite number"),
        ([pd.Timestamp("2020"), pd.NaT], 1, "NaT: not a time"),
        (np.array(["2020", "NaT"], dtype="datetime64[D]"), 1, "missing; drop or correct such rows"),
        (pl.Series([dt.datetime(2020, 1, 1), None]), 1, "missing"),
        (pd.Series([pd.NaT, IN_PARIS]), 0, "missing"),
        (np.array([True, False]), 0, "True: not a time"),
        (np.array([1, 2], dtype="timedelta64[s]"), 0, "not a number"),
    ],
)
def test_invalid_timestamps(column: Any, row: int, fault: str) -> None:
    with pytest.raises(DataError, match=rf"the timestamp in row {row} \(counted from 0\) is .*{fault}"):
        Interactions.from_arrays([1, 2], [1, 2], timestamps=column)


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_error_for_values_that_are_not_finite(bad: float) -> None:
    fault = rf"the value in row 2 \(counted from 0\) is {bad}: not a finite number; drop or correct such rows"
    for make in (list, np.array, pd.Series, pl.Series):
        with pytest.raises(DataError, match=fault):
            some_data(value=make([1.0, 2.0, bad, bad]))
    with pytest.raises(DataError, match=fault):
        some_data().with_values([1.0, 2.0, bad, bad])


@pytest.mark.parametrize(
    ("values", "row", "shown"),
    [
        ([1.0, "2.5", 3.0, 4.0], 1, "'2.5'"),
        ([1.0, 2.0, None, 4.0], 2, "None"),
        ([[1], [2], [3], [4]], 0, r"\[1\]"),
        (np.array(["1", "2", "3", "4"]), 0, r"(np\.str_\()?'1'\)?"),
        (pd.Series(["a", "b", "c", "d"]), 0, "'a'"),
        (np.array([1, 2, 3, 4j]), 0, ".*1.*"),
    ],
)
def test_error_for_values_that_are_not_numbers(values: Any, row: int, shown: str) -> None:
    fault = (
        rf"the value in row {row} \(counted from 0\) is {shown}: not a number; drop or correct such rows, or convert"
    )
    with pytest.raises(DataError, match=fault):
        some_data(value=values)


def test_null_values_of_frames() -> None:
    for value in (pd.Series([1, None], dtype="Int64"), pl.Series([1, None]), pa.chunked_array([[1, None]])):
        with pytest.raises(DataError, match=r"the value in row 1 .* is (nan|<NA>): not a"):
            Interactions.from_arrays([1, 2], [1, 2], value)


def test_bad_weights() -> None:
    with pytest.raises(DataError, match=r"the weight in row 1 .* is -0.5: weights are at least 0; drop interactions"):
        some_data(weight=[0, -0.5, 1, 1])
    with pytest.raises(DataError, match=r"the weight in row 3 .* is nan: not a finite number"):
        some_data(weight=[0, 1, 1, np.nan])
    with pytest.raises(DataError, match=r"the weight in row 0 .* is -1.0"):
        some_data().with_weights([-1, 1, 1, 1])


@pytest.mark.parametrize("side", ["user", "item"])
def test_missing_ids(side: str) -> None:
    with pytest.raises(DataError, match=rf"the {side} id in row 2 \(counted from 0\) is None: a missing id; drop or"):
        some_data(**{side: ["a", "b", None, "d"]})
    frame = pl.DataFrame({**COLUMNS, side: [1, 2, None, 4]})
    with pytest.raises(DataError, match=rf"the {side} id in row 2 .* is nan: a missing id"):
        as_interactions(frame)


def test_unequal_lengths() -> None:
    with pytest.raises(DataError, match=r"differ in length \(2 users, 2 items, 3 values\): give one value of each"):
        Interactions.from_arrays([1, 2], [3, 4], [5, 6, 7])


@pytest.mark.parametrize("make", FRAMES, ids=FRAME_NAMES)
def test_unknown_column(make: Callable[..., Any]) -> None:
    frame = make({"user": [1], "movie": [2]})
    with pytest.raises(
        DataError, match=r"there is no column 'item' for item: the columns are 'user', 'movie'; set item=..."
    ):
        Interactions.from_frame(frame)
    with pytest.raises(DataError, match="no column 'stars' for value"):
        Interactions.from_frame(frame, item="movie", value="stars")


def test_repeated_column_names() -> None:
    for frame in (
        pd.DataFrame([[1, 2]], columns=["user", "user"]),
        pa.table([[1], [2]], names=["user", "user"]),
    ):
        with pytest.raises(DataError, match="'user' 2 times: give each column another name"):
            Interactions.from_frame(frame)


def test_column_names_that_are_numbers() -> None:
    data = Interactions.from_frame(pd.DataFrame([[1, 2], [3, 4]]), user=0, item=1)  # type: ignore[arg-type]
    assert data.user_ids.tolist() == [1, 3]


@pytest.mark.parametrize("make", FRAMES, ids=FRAME_NAMES)
def test_empty_tables(make: Callable[..., Any]) -> None:
    with pytest.raises(DataError, match="the table is empty: give at least one interaction"):
        as_interactions(make({"user": [], "item": []}))


def test_empty_arrays() -> None:
    with pytest.raises(DataError, match="the table is empty"):
        Interactions.from_arrays([], [], [], [], [])


def test_wrong_shapes() -> None:
    with pytest.raises(DataError, match=r"the users have the shape \(2, 1\): give a one-dimensional array"):
        Interactions.from_arrays(np.ones((2, 1)), [1, 2])
    with pytest.raises(DataError, match=r"the values have the shape \(\)"):
        Interactions.from_arrays([1], [1], np.array(3.0))
    with pytest.raises(DataError, match="the items are 'ab' of type str: give an array, a series or a list"):
        Interactions.from_arrays([1], "ab")
    with pytest.raises(DataError, match="the users are None of type NoneType: give an array"):
        Interactions.from_arrays(None, [1])


def test_errors_about_a_row_can_be_pickled() -> None:
    with pytest.raises(DataError) as caught:
        Interactions.from_arrays([1, 2], [1, 2], [0.5, np.nan])
    copied = pickle.loads(pickle.dumps(caught.value))
    assert str(copied) == str(caught.value)
    assert copied.row == 1


@pytest.mark.parametrize("data", [np.eye(2), [(1, 2)], None, "ratings.csv", pd.Series([1])], ids=repr)
def test_error_for_other_types_of_data(data: Any) -> None:
    with pytest.raises(
        DataError, match=r"is not supported: give Interactions, a SciPy sparse matrix .* or a dataframe"
    ):
        as_interactions(data)
    with pytest.raises(DataError, match=r"expected a table .* pass arrays and lists to Interactions.from_arrays"):
        Interactions.from_frame(data)
    with pytest.raises(DataError, match=r"takes a two-dimensional SciPy sparse matrix, not .* convert a dense one"):
        Interactions.from_sparse(data)


# --- duplicates -----------------------------------------------------------------------------------


def test_duplicates_are_errors_by_default() -> None:
    fault = r"in row 3 .* is \('eve', 10\): the same as in row 1 \(2 repeats in total\); set duplicates='last', 'sum'"
    with pytest.raises(DataError, match=fault):
        Interactions.from_arrays(["adam", "eve", "adam", "eve", "adam"], [10, 10, 20, 10, 10])
    with pytest.raises(ParameterError, match="duplicates='first': give one of 'error', 'last', 'sum', 'mean'"):
        Interactions.from_arrays([1], [1], duplicates="first")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("how", "value", "weight"), [("last", 3.0, 7.0), ("sum", 9.0, 21.0), ("mean", 3.0, 7.0)], ids=str
)
def test_merged_duplicates_have_the_position_of_the_latest(how: Any, value: float, weight: float) -> None:
    data = Interactions.from_arrays(
        [1, 9, 1, 8, 1],
        [2, 2, 2, 2, 2],
        [5, 0, 3, 0, 1],
        [10, 0, 30, 0, 20],
        [6, 1, 7, 1, 8],
        duplicates=how,
    )
    assert data.user_ids.tolist() == [9, 1, 8]
    assert data.values.tolist() == [0.0, value, 0.0]
    assert data.timestamps.tolist() == [0, 30, 0]
    assert data.weights.tolist() == [1.0, weight, 1.0]


@pytest.mark.parametrize("timestamps", [None, [7, 7, 7]], ids=["no time", "ties"])
def test_ties_of_timestamps_keep_the_last(timestamps: Any) -> None:
    data = Interactions.from_arrays([1, 1, 2], [1, 1, 1], [5, 6, 7], timestamps, duplicates="last")
    assert data.values.tolist() == [6.0, 7.0]


@pytest.mark.slow
@given(cells, st.sampled_from(["last", "sum", "mean"]), st.booleans())
def test_merging_equals_plain_loop(pairs: list[tuple[int, int]], how: Any, timed: bool) -> None:
    values = [float(3 * k % 7) for k in range(len(pairs))]
    times = [k % 3 for k in range(len(pairs))] if timed else [0] * len(pairs)
    data = Interactions.from_arrays(*zip(*pairs, strict=True), values, times if timed else None, duplicates=how)
    groups: dict[tuple[int, int], list[int]] = {}
    for row, pair in enumerate(pairs):
        groups.setdefault(pair, []).append(row)
    latest = {max(rows, key=lambda row: (times[row], row)): rows for rows in groups.values()}
    expected = {
        "last": [values[row] for row in sorted(latest)],
        "sum": [sum(values[row] for row in latest[place]) for place in sorted(latest)],
        "mean": [sum(values[row] for row in latest[place]) / len(latest[place]) for place in sorted(latest)],
    }
    assert list(zip(data.user_ids, data.item_ids, strict=True)) == [pairs[row] for row in sorted(latest)]
    np.testing.assert_allclose(data.values, expected[how])


# --- sparse matrices ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [sp.csr_array, sp.csc_array, sp.coo_array, sp.lil_array, sp.dok_array, sp.csr_matrix, sp.coo_matrix],
    ids=lambda make: make.__name__,
)
def test_from_sparse(make: Callable[..., Any]) -> None:
    matrix = make(sp.csr_array(np.array([[0, 2, 0], [0, 0, 0], [1, 0, -1.5]])))
    data = as_interactions(matrix)
    assert (data.n_users, data.n_items, len(data)) == (3, 3, 3)
    assert data.user_counts.tolist() == [1, 0, 2]
    np.testing.assert_array_equal(data.to_sparse().toarray(), matrix.toarray())


def test_explicit_zeros_are_observed_cells() -> None:
    matrix = sp.csr_array((np.array([0.0, 3.0]), np.array([1, 0]), np.array([0, 1, 2])), shape=(2, 2))
    data = Interactions.from_sparse(matrix)
    assert len(data) == 2
    back = data.to_sparse()
    assert isinstance(back, sp.csr_array)
    assert back.nnz == 2
    assert back.has_canonical_format
    assert back.indices.dtype == back.indptr.dtype == np.int32


def test_sparse_matrices_are_independent() -> None:
    matrix = sp.csr_array(np.array([[1.0, 2.0]]))
    data = Interactions.from_sparse(matrix)
    matrix.data[:] = 0
    out = data.to_sparse()
    out.data[0] = 0
    out.eliminate_zeros()
    assert data.values.tolist() == [1.0, 2.0]
    assert data.by_user.indices.tolist() == [0, 1]


# --- derived --------------------------------------------------------------------------------------


def test_subset_keeps_vocabularies_titles_and_order() -> None:
    data = dataclasses.replace(some_data(), item_titles={20: "Alien"})
    part = data.subset([3, 0])
    assert part.users is data.users
    assert part.items is data.items
    assert part.item_titles is data.item_titles
    assert part.user_ids.tolist() == ["cain", "eve"]
    assert part.values.tolist() == [1.0, 5.0]
    assert part.timestamps.tolist() == [100, 400]
    assert part.weights.tolist() == [0.5, 1.0]
    assert part.user_counts.tolist() == [0, 1, 1]
    assert data.subset(np.array([True, False, False, True])).user_ids.tolist() == ["eve", "cain"]


@pytest.mark.parametrize("rows", [[], np.zeros(4, bool)], ids=["no rows", "no marks"])
def test_empty_subset(rows: Any) -> None:
    part = some_data().subset(rows)
    assert len(part) == 0
    assert part.by_user.indptr.tolist() == [0, 0, 0, 0]
    assert part.to_sparse().shape == (3, 3)
    assert repr(part) == "Interactions(0 interactions, 3 users, 3 items)"


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ([0, 4], "there is no row 4: rows are numbered 0 to 3"),
        ([-1], "there is no row -1"),
        ([1, 1], "row 1 is selected twice: .* by with_weights"),
        ([True, False], "a mask of 2 rows for 4 interactions"),
        ([0.5], r"rows is an array of float64 of shape \(1,\)"),
        ([[0]], r"rows is an array of int64 of shape \(1, 1\)"),
    ],
)
def test_bad_subsets(rows: Any, fault: str) -> None:
    with pytest.raises(DataError, match=fault):
        some_data().subset(rows)


def test_with_values_and_with_weights_keep_orientations() -> None:
    data = some_data()
    pattern, counts = data.by_user, data.item_counts
    signs = data.with_values(np.sign(data.values))
    assert signs.values.tolist() == [1.0, 0.0, -1.0, 1.0]
    assert data.values.tolist() == COLUMNS["value"]
    assert signs.by_user is pattern
    assert signs.item_counts is counts
    assert signs.by_item.indices.tolist() == data.by_item.indices.tolist()
    assert data.with_weights([1, 2, 3, 4]).weights.tolist() == [1.0, 2.0, 3.0, 4.0]
    assert data.with_weights(None).weights is None
    with pytest.raises(DataError, match="3 values for 4 interactions: give one for each"):
        data.with_values([1, 2, 3])
    with pytest.raises(DataError, match="1 weights for 4 interactions"):
        data.with_weights([1])


def test_as_interactions_returns_interactions_unchanged() -> None:
    data = some_data()
    assert as_interactions(data) is data


def test_repr() -> None:
    assert repr(some_data()) == (
        "Interactions(4 interactions, 3 users, 3 items, values -3.5 to 5, timestamps 100 to 400, weights 0 to 2)"
    )
    dated = Interactions.from_arrays(range(1000), range(1000), timestamps=["1997-09-20"] * 999 + ["1998-04-22"])
    assert repr(dated) == (
        "Interactions(1,000 interactions, 1,000 users, 1,000 items, no values, 1997-09-20 to 1998-04-22)"
    )


class TestUnusualDataframes:
    @pytest.mark.parametrize("n", [10, 12_000])
    def test_dictionaries_of_arrow_in_pandas(self, n: int) -> None:
        """Strings of 10,000 rows or more are encoded by the dataframe's library."""

        def dictionary(values: list[Any]) -> Any:
            return pd.Series(pd.arrays.ArrowExtensionArray(pa.array(values).dictionary_encode()))  # type: ignore[attr-defined]

        frame = pd.DataFrame(
            {
                "user": dictionary([f"u{k % 7}" for k in range(n)]),
                "item": dictionary(list(range(n))),
                "value": dictionary([0.5 + k % 3 for k in range(n)]),
            }
        )
        data = Interactions.from_frame(frame)
        assert data.user_ids.tolist() == [f"u{k % 7}" for k in range(n)]
        assert data.item_ids.tolist() == list(range(n))
        assert data.values.tolist() == [0.5 + k % 3 for k in range(n)]
        frame["user"] = dictionary(["u0", None] + ["u1"] * (n - 2))
        with pytest.raises(DataError, match=r"user id in row 1 .* a missing id"):
            Interactions.from_frame(frame)

    @pytest.mark.parametrize("n", [9_999, 10_000])
    @pytest.mark.parametrize("role", ["user", "item"])
    @pytest.mark.parametrize("values", [["a", "b"], [1, 2]], ids=["strings", "integers"])
    def test_dictionaries_of_arrow_in_pandas_on_either_side(self, n: int, role: str, values: list[Any]) -> None:
        column = [values[k % 2] for k in range(n)]
        dictionary = pd.Series(pd.arrays.ArrowExtensionArray(pa.array(column).dictionary_encode()))  # type: ignore[attr-defined]
        columns = {"user": range(n), "item": range(n), role: dictionary}
        for data in (
            Interactions.from_frame(pd.DataFrame(columns)),
            Interactions.from_arrays(columns["user"], columns["item"]),
        ):
            assert getattr(data, f"{role}_ids").tolist() == column

    @pytest.mark.parametrize("kind", [pl.Int128, pl.UInt128, pl.UInt64, pl.Decimal(38, 0)])
    def test_128_bit_integers(self, kind: Any) -> None:
        numbers = pl.Series([3, 1, 2], dtype=kind)
        data = Interactions.from_frame(pl.DataFrame(dict.fromkeys(COLUMNS, numbers)))
        assert data.user_ids.tolist() == data.values.tolist() == data.weights.tolist() == [3, 1, 2]
        assert data.timestamps.tolist() == [3, 1, 2]

    def test_integers_beyond_64_bits_as_ids(self) -> None:
        wide = pl.Series([2**100, 1], dtype=pl.Int128)
        data = Interactions.from_frame(pl.DataFrame({"user": wide, "item": [1, 2], "value": wide}))
        assert data.user_ids.tolist() == [2**100, 1]
        assert data.values.tolist() == [2.0**100, 1.0]
        with pytest.raises(DataError, match=r"user id in row 1 .* a missing id"):
            Interactions.from_frame(pl.DataFrame({"user": pl.Series([1, None], dtype=pl.Int128), "item": [1, 2]}))

    @pytest.mark.parametrize("kind", [pl.Int128, pl.UInt128])
    @pytest.mark.parametrize("role", list(COLUMNS))
    def test_columns_of_128_bits(self, kind: Any, role: str) -> None:
        columns = {**COLUMNS, "weight": [1, 2, 3, 4], role: pl.Series([3, 1, 2, 4], dtype=kind)}
        for data in (Interactions.from_frame(pl.DataFrame(columns)), Interactions.from_arrays(*columns.values())):
            attribute = f"{role}_ids" if role in ("user", "item") else f"{role}s"
            assert getattr(data, attribute).tolist() == [3, 1, 2, 4]

    def test_column_names_that_are_not_strings(self) -> None:
        numbered = pd.DataFrame({0: ["ann"], 1: ["tea"], 2: [3.0]})
        data = Interactions.from_frame(numbered, user=0, item=1, value=2)
        assert (data.user_ids.tolist(), data.values.tolist()) == (["ann"], [3.0])
        with pytest.raises(DataError, match="there is no column 'user' for user: the columns are 0, 1, 2"):
            as_interactions(numbered)

    @pytest.mark.parametrize("name", [2, ("c", 1), None, dt.date(2020, 1, 1)], ids=str)
    def test_column_names_that_cannot_be_compared(self, name: Any) -> None:
        mixed = pd.DataFrame([["ann", "tea", 1.0, 2.0]], columns=pd.Index(["user", "item", name, "b"], dtype=object))
        with pytest.raises(DataError, match=rf"no column 'value', but {re.escape(repr(name))}, 'b': name the column"):
            as_interactions(mixed)
        assert len(Interactions.from_frame(mixed)) == 1

    @pytest.mark.parametrize("column", [None, 1.5, True, ["user"], b"user"])
    def test_columns_are_named(self, column: Any) -> None:
        frame = pd.DataFrame({"user": [1], "item": [2]})
        with pytest.raises(ParameterError, match=r"user=.*: give the"):
            Interactions.from_frame(frame, user=column)


ROWS = [dict(zip(COLUMNS, row, strict=True)) for row in zip(*COLUMNS.values(), strict=True)]
RECORDS = np.array(
    [tuple(row.values()) for row in ROWS],
    dtype=[("user", "U4"), ("item", "i8"), ("value", "f8"), ("timestamp", "i8"), ("weight", "f8")],
)


class OnlyAnArray:
    """An object that only exports Arrow data as a single array."""

    def __arrow_c_array__(self, requested_schema: Any = None) -> Any:
        return pa.RecordBatch.from_pylist(ROWS).__arrow_c_array__(requested_schema)


class OnlyAStream:
    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return pa.table(COLUMNS).__arrow_c_stream__(requested_schema)


TABLES: dict[str, Callable[[], Any]] = {
    "record batch": lambda: pa.RecordBatch.from_pylist(ROWS),
    "reader": lambda: pa.table(COLUMNS).to_reader(max_chunksize=2),
    "Arrow stream": OnlyAStream,
    "Arrow array": OnlyAnArray,
    "dict of lists": lambda: COLUMNS,
    "dict of columns": lambda: {**COLUMNS, "user": pl.Series(COLUMNS["user"]), "item": np.array(COLUMNS["item"])},
    "structured array": lambda: RECORDS,
    "record array": lambda: RECORDS.view(np.recarray),
    "records of pandas": lambda: pd.DataFrame(COLUMNS).to_records(),
    "list of dicts": lambda: ROWS,
    "tuple of dicts": lambda: tuple(ROWS),
}


class TestOtherTables:
    @pytest.mark.parametrize("make", TABLES.values(), ids=list(TABLES))
    def test_equal_dataframes(self, make: Callable[[], Any]) -> None:
        assert_is_the_table(Interactions.from_frame(make()))
        assert_is_the_table(as_interactions(make()))
        renamed = Interactions.from_frame(make(), user="item", item="user", value=None)
        assert renamed.user_ids.tolist() == COLUMNS["item"]
        assert not renamed.has_values

    def test_arrow_is_read_by_polars_without_pyarrow(self, monkeypatch: pytest.MonkeyPatch) -> None:
        found = tables.find_spec
        monkeypatch.setattr(tables, "find_spec", lambda name: None if name == "pyarrow" else found(name))
        data = Interactions.from_frame(OnlyAStream())
        assert_is_the_table(data)
        assert data.frame_kind == "polars"
        monkeypatch.setattr(tables, "find_spec", lambda name: None)
        with pytest.raises(DataError, match="reading data of type OnlyAStream requires PyArrow or Polars"):
            Interactions.from_frame(OnlyAStream())

    def test_error_without_columns(self) -> None:
        class Broken:
            def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
                raise OSError("the connection was lost")

        for thing, fault in (
            (Broken(), r"the Broken is not a table that can be read \(the connection was lost\)"),
            (pa.array([1, 2]), "is not a table that can be read"),
            ([], "expected a table"),
            ([1, 2], "expected a table"),
            (np.ones((2, 2)), "expected a table"),
            (RECORDS.reshape(2, 2), r"the record array has the shape \(2, 2\)"),
            ({}, "there is no column 'user'"),
            ({"user": "ann", "item": ["tea"]}, "the users are 'ann' of type str"),
            ({"user": ["ann", "bob"], "item": ["tea"]}, "the columns differ in length"),
            ([*ROWS, {"user": "eve", "item": 10}], r"row 4 \(counted from 0\) has no 'value', unlike other rows"),
        ):
            with pytest.raises(DataError, match=fault):
                Interactions.from_frame(thing)

    def test_consumed_reader_is_empty(self) -> None:
        reader = pa.table(COLUMNS).to_reader()
        reader.read_all()
        with pytest.raises(DataError, match="the table is empty"):
            Interactions.from_frame(reader)


class TestTitles:
    TITLES: ClassVar[dict[Any, str]] = {10: "Ten", 20: "Twenty", 30: "Thirty"}

    def test_of_column_are_first_of_each_item(self) -> None:
        items = [10, 20, 10, 30, 20, 30]
        titles = ["Ten", None, "Other", float("nan"), "Twenty", "Thirty"]
        frame = {"user": range(6), "item": items, "name": titles}
        for make in (dict, pd.DataFrame):
            assert Interactions.from_frame(make(frame), item_titles="name").item_titles == self.TITLES
        assert Interactions.from_arrays(range(6), items, item_titles=titles).item_titles == self.TITLES
        assert Interactions.from_arrays([1], [10], item_titles=[None]).item_titles == {}

    @pytest.mark.parametrize("make", FRAMES, ids=FRAME_NAMES)
    def test_of_a_column_of_any_library(self, make: Callable[..., Any]) -> None:
        frame = make({**COLUMNS, "title": [f"No {item}" for item in COLUMNS["item"]]})
        data = Interactions.from_frame(frame, item_titles="title")
        assert data.item_titles == {item: f"No {item}" for item in COLUMNS["item"]}
        assert_is_the_table(dataclasses.replace(data, item_titles=None))

    def test_of_mapping_or_second_table(self) -> None:
        for titles in (
            self.TITLES,
            {float(item): title for item, title in self.TITLES.items()},
            pd.DataFrame({"title": list(self.TITLES.values()), "item": list(self.TITLES), "year": [1, 2, 3]}),
            pl.DataFrame({"id": list(self.TITLES), "name": list(self.TITLES.values())}),
            [{"item": item, "title": title} for item, title in self.TITLES.items()],
        ):
            for data in (
                Interactions.from_frame(COLUMNS, item_titles=titles),
                Interactions.from_arrays(COLUMNS["user"], COLUMNS["item"], item_titles=titles),
            ):
                assert data.item_titles == self.TITLES

    def test_error_for_invalid_titles(self) -> None:
        for titles, fault in (
            ({"10": "Ten"}, "item id '10' in item_titles is a string, but the known item ids are integers"),
            ({10: ["Ten"]}, r"the title of item 10 is \['Ten'\]: give a string"),
            (pd.DataFrame({"title": ["Ten"]}), r"item_titles has only the columns \['title'\]: give a table of ids"),
            ("name", "there is no column 'name' for title: .* set item_titles="),
        ):
            with pytest.raises(DataError, match=fault):
                Interactions.from_frame(COLUMNS, item_titles=titles)
        for wrong in ("name", 3):
            with pytest.raises(ParameterError, match=f"item_titles={wrong!r}: give a mapping"):
                Interactions.from_arrays([1], [10], item_titles=wrong)
        with pytest.raises(DataError, match=r"the columns differ in length .*2 titles"):
            Interactions.from_arrays([1], [10], item_titles=["a", "b"])

    def test_are_kept_when_repeats_are_merged(self) -> None:
        data = Interactions.from_arrays([1, 1], [10, 10], item_titles=["Ten", "Other"], duplicates="last")
        assert data.item_titles == {10: "Ten"}


def test_a_misspelt_column_is_suggested() -> None:
    with pytest.raises(
        DataError, match=r"no column 'usr' for user \(did you mean 'user'\?\): the columns are 'user'"
    ):
        Interactions.from_frame({"user": [1], "item": [2]}, user="usr")
