"""Top-n on an emulated device against that of the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulated_device import ORDERS, EmulatedDevice
from halfstep.data import IndexLists
from halfstep.solver import top_n as on_cpu
from halfstep.solver.cuda import top_n
from halfstep.solver.top_n import Ranked
from thorough import examples


def lists_of(marks: np.ndarray) -> IndexLists:
    rows, columns = np.nonzero(marks)
    counts = np.bincount(rows, minlength=len(marks))
    return IndexLists(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), columns.astype(np.int32))


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(top_n, "THREADS", 64)


def assert_equal(found: Ranked, expected: Ranked) -> None:
    np.testing.assert_array_equal(found[0], expected[0])
    scale = np.nan_to_num(np.abs(expected[1])).max(initial=0.0)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-12, atol=1e-14 * scale)


@examples(60)
@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 150), st.integers(1, 5)),
    seed=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from(["float32", "float64"]),
    with_c=st.booleans(),
    coarse=st.booleans(),
    exponents=st.tuples(st.sampled_from([-90, -9, 0, 9, 90]), st.sampled_from([-90, 0, 20, 90])),
    share=st.sampled_from([0.0, 0.3, 1.0]),
    memory=st.sampled_from([1 << 20, 1]),
)
def test_lists_are_those_of_the_cpu(shape, seed, dtype, with_c, coarse, exponents, share, memory) -> None:
    """With ties, different magnitudes, rows that skip all columns, and excluded columns."""
    rows, columns, rank = shape
    rng = np.random.default_rng(seed)
    P, Q = rng.normal(size=(rows, rank)), rng.normal(size=(columns, rank))
    if coarse:
        P, Q = np.round(P), np.round(Q)
    P, Q = (P * 2.0 ** exponents[0]).astype(dtype), (Q * 2.0 ** exponents[1]).astype(dtype)
    c = np.round(rng.normal(size=columns)) * 2.0 ** sum(exponents) if with_c else np.zeros(columns)
    skip, excluded = lists_of(rng.random((rows, columns)) < share), rng.random(columns) < 0.2
    c = np.where(excluded, -np.inf, c) if rng.random() < 0.5 else c
    n = int(rng.integers(1, min(columns, 32) + 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(top_n, "ROOM", 40)
        found = top_n.best_columns(EmulatedDevice(memory=memory), P, Q, c, n, skip=skip)
    assert_equal(found, on_cpu.best_columns(P, Q, c, n, skip=skip, threads=1))


@pytest.fixture
def scored() -> tuple[Any, ...]:
    rng = np.random.default_rng(0)
    P, Q = rng.normal(size=(5, 24)).astype(np.float32), rng.normal(size=(700, 24)).astype(np.float32)
    return P, Q, rng.normal(size=700), lists_of(rng.random((5, 700)) < 0.1)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("n", [8, 20])
def test_no_row_of_usual_scores_is_left_to_the_cpu(
    order: str, n: int, scored: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    P, Q, c, skip = scored
    expected = on_cpu.best_columns(P, Q, c, n, skip=skip, threads=1)
    monkeypatch.setattr(on_cpu, "best_columns", None)
    assert_equal(top_n.best_columns(EmulatedDevice(order), P, Q, c, n, skip=skip), expected)


def test_equal_scores_are_ranked_on_the_cpu(scored: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """All products agree to eight digits, so that all columns are candidates."""
    monkeypatch.setattr(top_n, "ROOM", 100)
    Q = 1.0 + 1e-10 * np.random.default_rng(1).permutation(500)[:, None]
    found, _ = top_n.best_columns(EmulatedDevice(), np.ones((1, 1)), Q, np.zeros(500), 20, skip=IndexLists.empty(1))
    np.testing.assert_array_equal(found[0], np.argsort(-Q[:, 0])[:20])


@pytest.mark.parametrize(("rows", "rank", "n"), [(0, 3, 2), (2, 0, 2), (2, 3, 0), (2, 3, 300)])
def test_other_lists_are_those_of_the_cpu(rows: int, rank: int, n: int) -> None:
    rng, device = np.random.default_rng(0), EmulatedDevice()
    given = rng.normal(size=(rows, rank)), rng.normal(size=(400, rank)), rng.normal(size=400), n
    found = top_n.best_columns(device, *given, skip=IndexLists.empty(rows))
    assert_equal(found, on_cpu.best_columns(*given, skip=IndexLists.empty(rows)))
    assert device.launches == []
