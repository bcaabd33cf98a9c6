"""Growable interactions, compared to interactions that are created at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import halfstep as hs
from halfstep.data import GrowableArray, GrowableInteractions, growable
from halfstep.errors import DataError
from thorough import examples

triples = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.integers(0, 6), st.sampled_from([1.0, 2.0, 5.0])), min_size=1, max_size=12
)


def build(rows: list[tuple[str, int, float]], *, weights: bool, duplicates: str = "last") -> hs.Interactions:
    users, items, values = zip(*rows, strict=True)
    return hs.Interactions.from_arrays(
        users,
        items,
        values,
        np.arange(len(rows)),
        [v + 1 for v in values] if weights else None,
        duplicates=duplicates,
    )


def as_dict(data: hs.Interactions) -> dict[tuple[str, int], tuple[float, float]]:
    weights = np.ones(len(data)) if data.weights is None else data.weights
    cells = zip(data.user_ids.tolist(), data.item_ids.tolist(), strict=True)
    return dict(zip(cells, zip(data.values.tolist(), weights.tolist(), strict=True), strict=True))


def row_of(data: GrowableInteractions, row: int, what: str) -> dict[object, tuple[float, float]]:
    """Return the value and weight of each interaction of a user or item."""
    rows, ids = (data.user_rows, data.items) if what == "user" else (data.item_rows, data.users)
    _, indices, values, weights = rows(np.array([row]))
    return dict(zip((ids[int(k)] for k in indices), zip(values.tolist(), weights.tolist(), strict=True), strict=True))


# SEARCHED, SMALL and ROWS_SEARCHED
LIMITS = {
    "searched": ((4096, 4096), 4096, 4096),
    "sorted": ((0, 0), 4096, 0),
    "merged": ((0, 0), 0, 0),
    "mixed": ((3, 6), 9, 3),
}


@pytest.mark.slow
@examples(60)
@given(
    base=triples, batches=st.lists(triples, max_size=6), how=st.sampled_from(["last", "sum"]), weights=st.booleans()
)
@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)
def test_equals_a_dictionary(limits: tuple, base: list, batches: list, how: str, weights: bool) -> None:
    data = GrowableInteractions.of(build(base, weights=weights))
    expected = as_dict(data.base)
    versions = [(data, dict(expected))]
    with pytest.MonkeyPatch.context() as patch:
        for name, limit in zip(("SEARCHED", "SMALL", "ROWS_SEARCHED"), limits, strict=True):
            patch.setattr(growable, name, limit)
        for batch in batches:
            new = build(batch, weights=weights)
            data, u, i, is_new = data.added(new, how)
            assert data.users.ids[u].tolist() == new.user_ids.tolist()
            assert data.items.ids[i].tolist() == new.item_ids.tolist()
            for cell, is_fresh in zip(as_dict(new), is_new, strict=True):
                assert is_fresh == (cell not in expected)
            for cell, (value, weight) in as_dict(new).items():
                is_repeat = cell in expected
                old = expected.pop(cell, (0.0, 0.0))  # replaced interactions move to the end
                old = old if how == "sum" else (0.0, 0.0)
                expected[cell] = (value + old[0], weight + old[1] if weights or not is_repeat else 1.0)
            versions.append((data, dict(expected)))
            assert data.user_counts.tolist() == [sum(c[0] == user for c in expected) for user in data.users]
        for data, held in versions:
            assert list(as_dict(data.interactions).items()) == list(held.items())
            assert data.interactions is data.interactions
            assert len(data) == len(held)
            for n, user in enumerate(data.users):
                of_user = {cell[1]: entry for cell, entry in held.items() if cell[0] == user}
                assert row_of(data, n, "user") == of_user
                assert as_dict(data.of_user(n)) == {(user, item): entry for item, entry in of_user.items()}
                seen = data.seen(np.array([n], np.int32))
                assert seen.indptr.tolist() == [0, len(of_user)]
                assert seen.indices.tolist() == sorted(data.items.positions(list(of_user)).tolist())
            for n, item in enumerate(data.items):
                of_item = {cell[0]: entry for cell, entry in held.items() if cell[1] == item}
                assert row_of(data, n, "item") == of_item
            all_rows = data.user_rows(np.arange(len(data.users)))
            users = np.repeat(np.arange(len(data.users)), np.diff(all_rows.indptr))
            cells = zip(users.tolist(), all_rows.indices.tolist(), strict=True)
            found = {(data.users[user], data.items[item]): n for n, (user, item) in enumerate(cells)}
            assert {cell: all_rows.values[n] for cell, n in found.items()} == {c: e[0] for c, e in held.items()}


def test_base_is_unchanged() -> None:
    base = build([("a", 1, 1.0), ("b", 2, 2.0)], weights=False)
    before = as_dict(base)
    GrowableInteractions.of(base).added(build([("a", 1, 9.0), ("new", 2, 3.0)], weights=False), "last")
    assert as_dict(base) == before
    assert base.user_counts.tolist() == [1, 1]
    assert "new" not in base.users


def test_independent_copy_shares_no_additions() -> None:
    start = GrowableInteractions.of(build([("a", 1, 1.0)], weights=False))
    start = start.added(build([("b", 2, 2.0)], weights=False), "last").data
    left, right = start, start.independent_copy()
    left = left.added(build([("b", 1, 3.0)], weights=False), "last").data
    right = right.added(build([("a", 2, 4.0)], weights=False), "last").data
    shared = {("a", 1): (1.0, 1.0), ("b", 2): (2.0, 1.0)}
    assert as_dict(left.interactions) == shared | {("b", 1): (3.0, 1.0)}
    assert as_dict(right.interactions) == shared | {("a", 2): (4.0, 1.0)}


def test_error_for_repeat_adds_nothing() -> None:
    data = GrowableInteractions.of(build([("a", 1, 1.0), ("b", 2, 2.0)], weights=False))
    with pytest.raises(DataError, match="user 'b' has item 2 already: set duplicates='last' or 'sum'"):
        data.added(build([("c", 1, 1.0), ("b", 2, 5.0)], weights=False), "error")
    assert len(data.interactions) == 2
    data = data.added(build([("c", 1, 1.0)], weights=False), "error").data
    assert data.interactions.users.ids.tolist() == ["a", "b", "c"]


def test_error_for_other_columns() -> None:
    timed = GrowableInteractions.of(build([("a", 1, 1.0)], weights=False))
    with pytest.raises(DataError, match="timestamps of type int64, but the new interactions have none"):
        timed.added(hs.Interactions.from_arrays(["a"], [2]), "last")
    with pytest.raises(DataError, match=r"the new interactions have timestamps of type datetime64\[us\]"):
        timed.added(hs.Interactions.from_arrays(["a"], [2], timestamps=["2020-01-01"]), "last")
    with pytest.raises(DataError, match="omit the weights"):
        timed.added(build([("a", 2, 1.0)], weights=True), "last")
    weighted = GrowableInteractions.of(hs.Interactions.from_arrays(["a"], [1], weights=[3.0]))
    weighted = weighted.added(hs.Interactions.from_arrays(["a"], [2]), "last").data
    assert weighted.interactions.weights.tolist() == [3.0, 1.0]


@pytest.mark.slow
def test_log_of_a_long_stream_is_short() -> None:
    data = GrowableInteractions.of(build([("a", 1, 1.0)], weights=False))
    repeats = [build([("a", n, 1.0)], weights=False) for n in range(3)]
    for n in range(3000):
        data = data.added(repeats[n % 3], "sum").data
    assert len(data._log["values"].array) < 1100
    assert as_dict(data.interactions) == {("a", 0): (1000, 1), ("a", 1): (1001, 1), ("a", 2): (1000, 1)}
    numbers = np.arange(100_000)
    users = [f"user {n}" for n in (numbers % 5000).tolist()]
    bulk = hs.Interactions.from_arrays(users, numbers // 5000, np.ones(100_000), numbers)
    data = data.added(bulk, "last").data
    assert len(data._log["values"].array) == 0  # it was longer than the base
    assert len(data.interactions) == 100_003


def test_seen_items() -> None:
    data = GrowableInteractions.of(build([("a", 1, 1.0), ("b", 2, 2.0)], weights=False))
    data = data.added(build([("a", 0, 1.0), ("c", 2, 1.0)], weights=False), "last").data
    lists = data.seen(np.array([0, -1, 2]))
    assert lists.indptr.tolist() == [0, 2, 2, 3]
    assert lists.indices.tolist() == [0, 2, 1]


def test_growable_array() -> None:
    start = np.arange(6.0).reshape(3, 2)
    growing = GrowableArray(start)
    growing.array[0] = 7
    assert start[0].tolist() == [0, 1]
    for length in (2, 4, 5, 40):
        growing.grow(length)
    assert growing.array.shape == (40, 2)
    assert growing.array[:3].tolist() == [[7, 7], [2, 3], [4, 5]]
    assert not growing.array[3:].any()
    growing.array[:] = 1
    growing.cut(2)
    growing.grow(4)
    assert growing.array.tolist() == [[1, 1], [1, 1], [0, 0], [0, 0]]
    longer = growing.appended(np.full((3, 2), 5.0))
    assert longer.array.tolist() == [[1, 1], [1, 1], [0, 0], [0, 0], [5, 5], [5, 5], [5, 5]]
    assert growing.array.shape == (4, 2)
