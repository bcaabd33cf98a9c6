"""A ledger against interactions that are made of all entries at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import halfstep as hs
from halfstep.data import Growing, Ledger, overlay
from halfstep.errors import DataError

entries = st.lists(
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


def entries_of(ledger: Ledger, row: int, what: str) -> dict[object, tuple[float, float]]:
    """What a user or an item has, by the other side's id."""
    rows, ids = (ledger.user_rows, ledger.items) if what == "user" else (ledger.item_rows, ledger.users)
    _, indices, values, weights = rows(np.array([row]))
    return dict(zip((ids[int(k)] for k in indices), zip(values.tolist(), weights.tolist(), strict=True), strict=True))


# how much is searched one by one, how much is kept beside the base, how often the base is searched
LIMITS = {
    "searched": ((4096, 4096), 4096, 4096),
    "sorted": ((0, 0), 4096, 0),
    "merged": ((0, 0), 0, 0),
    "mixed": ((3, 6), 9, 3),
}


@pytest.mark.slow
@settings(max_examples=60)
@given(
    base=entries, batches=st.lists(entries, max_size=6), how=st.sampled_from(["last", "sum"]), weights=st.booleans()
)
@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)
def test_holds_what_python_would(limits: tuple, base: list, batches: list, how: str, weights: bool) -> None:
    ledger = Ledger.of(build(base, weights=weights))
    expected = as_dict(ledger.base)
    versions = [(ledger, dict(expected))]
    with pytest.MonkeyPatch.context() as patch:
        for name, limit in zip(("SEARCHED", "SMALL", "ROWS_SEARCHED"), limits, strict=True):
            patch.setattr(overlay, name, limit)
        for batch in batches:
            new = build(batch, weights=weights)
            ledger, u, i, is_new = ledger.added(new, how)
            assert ledger.users.ids[u].tolist() == new.user_ids.tolist()
            assert ledger.items.ids[i].tolist() == new.item_ids.tolist()
            for cell, is_fresh in zip(as_dict(new), is_new, strict=True):
                assert is_fresh == (cell not in expected)
            for cell, entry in as_dict(new).items():
                there = cell in expected
                old = expected.pop(cell, (0.0, 0.0))  # what is given again moves to the end
                old = old if how == "sum" else (0.0, 0.0)
                expected[cell] = (entry[0] + old[0], entry[1] + old[1] if weights or not there else 1.0)
            versions.append((ledger, dict(expected)))
            assert ledger.user_counts.tolist() == [sum(c[0] == user for c in expected) for user in ledger.users]
        for ledger, held in versions:  # those of before, too
            assert list(as_dict(ledger.interactions).items()) == list(held.items())
            assert ledger.interactions is ledger.interactions
            assert len(ledger) == len(held)
            for n, user in enumerate(ledger.users):
                of_user = {cell[1]: entry for cell, entry in held.items() if cell[0] == user}
                assert entries_of(ledger, n, "user") == of_user
                assert as_dict(ledger.of_user(n)) == {(user, item): entry for item, entry in of_user.items()}
                seen = ledger.seen(np.array([n], np.int32))
                assert seen.indptr.tolist() == [0, len(of_user)]
                assert seen.indices.tolist() == sorted(ledger.items.positions(list(of_user)).tolist())
            for n, item in enumerate(ledger.items):
                of_item = {cell[0]: entry for cell, entry in held.items() if cell[1] == item}
                assert entries_of(ledger, n, "item") == of_item
            everybody = ledger.user_rows(np.arange(len(ledger.users)))
            users = np.repeat(np.arange(len(ledger.users)), np.diff(everybody.indptr))
            cells = zip(users.tolist(), everybody.indices.tolist(), strict=True)
            found = {(ledger.users[user], ledger.items[item]): n for n, (user, item) in enumerate(cells)}
            assert {cell: everybody.values[n] for cell, n in found.items()} == {c: e[0] for c, e in held.items()}


def test_the_base_is_never_written_to() -> None:
    base = build([("a", 1, 1.0), ("b", 2, 2.0)], weights=False)
    before = as_dict(base)
    Ledger.of(base).added(build([("a", 1, 9.0), ("new", 2, 3.0)], weights=False), "last")
    assert as_dict(base) == before
    assert base.user_counts.tolist() == [1, 1]
    assert "new" not in base.users


def test_parted_ledgers_are_added_to_independently() -> None:
    start = (
        Ledger.of(build([("a", 1, 1.0)], weights=False)).added(build([("b", 2, 2.0)], weights=False), "last").ledger
    )
    left, right = start, start.parted()
    left = left.added(build([("b", 1, 3.0)], weights=False), "last").ledger
    right = right.added(build([("a", 2, 4.0)], weights=False), "last").ledger
    shared = {("a", 1): (1.0, 1.0), ("b", 2): (2.0, 1.0)}
    assert as_dict(left.interactions) == shared | {("b", 1): (3.0, 1.0)}
    assert as_dict(right.interactions) == shared | {("a", 2): (4.0, 1.0)}


def test_a_repeat_can_be_refused_before_anything_is_entered() -> None:
    ledger = Ledger.of(build([("a", 1, 1.0), ("b", 2, 2.0)], weights=False))
    with pytest.raises(DataError, match="user 'b' has item 2 already: set duplicates='last' or 'sum'"):
        ledger.added(build([("c", 1, 1.0), ("b", 2, 5.0)], weights=False), "error")
    assert len(ledger.interactions) == 2
    ledger = ledger.added(build([("c", 1, 1.0)], weights=False), "error").ledger
    assert ledger.interactions.users.ids.tolist() == ["a", "b", "c"]


def test_columns_have_to_fit() -> None:
    timed = Ledger.of(build([("a", 1, 1.0)], weights=False))
    with pytest.raises(DataError, match="timestamps of type int64, and the new interactions have none"):
        timed.added(hs.Interactions.from_arrays(["a"], [2]), "last")
    with pytest.raises(DataError, match=r"have some of type datetime64\[us\]"):
        timed.added(hs.Interactions.from_arrays(["a"], [2], timestamps=["2020-01-01"]), "last")
    with pytest.raises(DataError, match="leave the weights out"):
        timed.added(build([("a", 2, 1.0)], weights=True), "last")
    weighted = Ledger.of(hs.Interactions.from_arrays(["a"], [1], weights=[3.0]))
    weighted = weighted.added(hs.Interactions.from_arrays(["a"], [2]), "last").ledger
    assert weighted.interactions.weights.tolist() == [3.0, 1.0]


@pytest.mark.slow
def test_a_long_stream_is_kept_in_a_few_numbers_an_event() -> None:
    """Also where the same cells come again and again, or new ones all the time."""
    ledger = Ledger.of(build([("a", 1, 1.0)], weights=False))
    again = [build([("a", n, 1.0)], weights=False) for n in range(3)]
    for n in range(3000):
        ledger = ledger.added(again[n % 3], "sum").ledger
    assert len(ledger._log) < 1100  # of 3000, 3 are not superseded
    assert as_dict(ledger.interactions) == {("a", 0): (1000, 1), ("a", 1): (1001, 1), ("a", 2): (1000, 1)}
    numbers = np.arange(100_000)
    users = [f"user {n}" for n in (numbers % 5000).tolist()]
    bulk = hs.Interactions.from_arrays(users, numbers // 5000, np.ones(100_000), numbers)
    ledger = ledger.added(bulk, "last").ledger
    assert len(ledger._log) == 0  # it was longer than the base
    assert len(ledger.interactions) == 100_003


def test_seen() -> None:
    ledger = Ledger.of(build([("a", 1, 1.0), ("b", 2, 2.0)], weights=False))
    ledger = ledger.added(build([("a", 0, 1.0), ("c", 2, 1.0)], weights=False), "last").ledger
    lists = ledger.seen(np.array([0, -1, 2]))
    assert lists.indptr.tolist() == [0, 2, 2, 3]
    assert lists.indices.tolist() == [0, 2, 1]


def test_growing_arrays() -> None:
    start = np.arange(6.0).reshape(3, 2)
    growing = Growing(start)
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
