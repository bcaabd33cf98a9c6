"""A ledger against interactions that are made of all entries at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import halfstep as hs
from halfstep.errors import DataError
from halfstep.interactions import Growing, Ledger
from halfstep.interactions import ledger as room

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


@settings(max_examples=60)
@given(
    base=entries, batches=st.lists(entries, max_size=4), how=st.sampled_from(["last", "sum"]), weights=st.booleans()
)
@pytest.mark.parametrize("few", [0, 256])  # every batch in bulk; every one entry by entry
def test_holds_what_python_would(few: int, base: list, batches: list, how: str, weights: bool) -> None:
    ledger = Ledger(build(base, weights=weights))
    expected = as_dict(ledger.base)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "FEW", few)
        for batch in batches:
            new = build(batch, weights=weights)
            u, i = ledger.add(new, how)
            assert ledger.users.ids[u].tolist() == new.user_ids.tolist()
            assert ledger.items.ids[i].tolist() == new.item_ids.tolist()
            for cell, entry in as_dict(new).items():
                old = expected.get(cell, (0.0, 0.0)) if how == "sum" else (0.0, 0.0)
                there = cell in expected
                expected[cell] = (entry[0] + old[0], entry[1] + old[1] if weights or not there else 1.0)
            counts = ledger.user_counts.array.tolist(), ledger.item_counts.array.tolist()
            assert counts[0] == [sum(cell[0] == user for cell in expected) for user in ledger.users]
            assert counts[1] == [sum(cell[1] == item for cell in expected) for item in ledger.items]
            for user in ledger.users:
                row = ledger.user_row(ledger.users.position(user))
                items = [ledger.items[int(k)] for k in row.indices]
                held = dict(zip(items, zip(row.values, row.weights, strict=True), strict=True))
                assert held == {cell[1]: entry for cell, entry in expected.items() if cell[0] == user}
    assert as_dict(ledger.interactions) == expected
    assert ledger.interactions is ledger.interactions
    for item in ledger.items:
        row = ledger.item_row(ledger.items.position(item))
        assert sorted(ledger.users[int(k)] for k in row.indices) == sorted(c[0] for c in expected if c[1] == item)


def test_the_base_is_never_written_to() -> None:
    base = build([("a", 1, 1.0), ("b", 2, 2.0)], weights=False)
    before = as_dict(base)
    Ledger(base).add(build([("a", 1, 9.0), ("new", 2, 3.0)], weights=False), "last")
    assert as_dict(base) == before
    assert base.user_counts.tolist() == [1, 1]
    assert "new" not in base.users


@pytest.mark.parametrize("few", [0, 256])
def test_a_repeat_can_be_refused_before_anything_is_entered(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "FEW", few)
    ledger = Ledger(build([("a", 1, 1.0), ("b", 2, 2.0)], weights=False))
    with pytest.raises(DataError, match="user 'b' has item 2 already: say duplicates='last' or 'sum'"):
        ledger.add(build([("c", 1, 1.0), ("b", 2, 5.0)], weights=False), "error")
    assert len(ledger.interactions) == 2
    ledger.add(build([("c", 1, 1.0)], weights=False), "error")
    assert ledger.interactions.users.ids.tolist() == ["a", "b", "c"]


def test_columns_have_to_fit() -> None:
    timed = Ledger(build([("a", 1, 1.0)], weights=False))
    with pytest.raises(DataError, match="timestamps of type int64, and the new interactions have none"):
        timed.add(hs.Interactions.from_arrays(["a"], [2]), "last")
    with pytest.raises(DataError, match=r"have timestamps of type datetime64\[us\]"):
        timed.add(hs.Interactions.from_arrays(["a"], [2], timestamps=["2020-01-01"]), "last")
    with pytest.raises(DataError, match="leave them out"):
        timed.add(build([("a", 2, 1.0)], weights=True), "last")
    assert len(timed.interactions) == 1
    weighted = Ledger(hs.Interactions.from_arrays(["a"], [1], weights=[3.0]))
    weighted.add(hs.Interactions.from_arrays(["a"], [2]), "last")
    assert weighted.interactions.weights.tolist() == [3.0, 1.0]


def test_interrupted_it_has_entered_all_or_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(build([("a", 1, 1.0), ("b", 2, 2.0)], weights=False))

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(room, "_with", interrupt)
        with pytest.raises(KeyboardInterrupt):
            ledger.add(build([("a", 2, 7.0), ("c", 1, 8.0)], weights=False), "last")
    assert as_dict(ledger.interactions) == {
        ("a", 1): (1, 1), ("b", 2): (2, 1), ("a", 2): (7, 1), ("c", 1): (8, 1)
    }  # fmt: skip
    assert ledger.user_counts.array.tolist() == [2, 1, 1]
    assert ledger.user_row(0).indices.tolist() == [0, 1]


def test_seen() -> None:
    ledger = Ledger(build([("a", 1, 1.0), ("b", 2, 2.0)], weights=False))
    ledger.add(build([("a", 0, 1.0), ("c", 2, 1.0)], weights=False), "last")
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
