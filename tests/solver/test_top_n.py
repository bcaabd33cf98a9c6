"""Top-n in blocks against sorted float64 scores of all pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference
from halfstep.data import IndexLists
from halfstep.solver import top_n
from halfstep.solver.top_n import best_columns, best_of_given
from thorough import examples


def lists_of(marks: np.ndarray) -> IndexLists:
    rows, columns = np.nonzero(marks)
    counts = np.bincount(rows, minlength=len(marks))
    return IndexLists(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), columns.astype(np.int32))


def listed(best: np.ndarray) -> list[list[int]]:
    return [[int(i) for i in row if i >= 0] for row in best]


@examples(150)
@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 150), st.integers(0, 5)),
    seed=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from(["float32", "float64"]),
    with_c=st.booleans(),
    coarse=st.booleans(),
    exponents=st.tuples(st.sampled_from([-90, -9, 0, 9, 90]), st.sampled_from([-90, 0, 20, 90])),
    share=st.sampled_from([0.0, 0.3, 1.0]),
    sizes=st.sampled_from([(1024, 4, 512), (16, 2, 8), (7, 1, 0)]),  # of tiles and of buffers for candidates
    is_sorted=st.booleans(),
)
def test_best_columns_equal_sorted_float64_scores(
    shape, seed, dtype, with_c, coarse, exponents, share, sizes, is_sorted
) -> None:
    """With ties, different magnitudes, rows that skip all columns, and excluded columns."""
    rows, columns, rank = shape
    rng = np.random.default_rng(seed)
    P, Q = rng.normal(size=(rows, rank)), rng.normal(size=(columns, rank))
    if coarse:
        P, Q = np.round(P), np.round(Q)
    P, Q = (P * 2.0 ** exponents[0]).astype(dtype), (Q * 2.0 ** exponents[1]).astype(dtype)
    c = np.round(rng.normal(size=columns)) * 2.0 ** sum(exponents) if with_c else np.zeros(columns)
    skipped, excluded = rng.random((rows, columns)) < share, rng.random(columns) < 0.2
    n = int(rng.integers(1, columns + 1))
    expected = reference.best(P, Q, c, n, ~skipped & ~excluded)
    with pytest.MonkeyPatch.context() as patch:
        for name, size in zip(("COLUMNS_AT_ONCE", "CANDIDATES_PER_ENTRY", "LEAST_CANDIDATES"), sizes, strict=True):
            patch.setattr(top_n, name, size)
        patch.setattr(top_n, "SORTED_FROM_ROWS", 0 if is_sorted else rows + 1)
        patch.setattr(top_n, "SORTED_FROM_TILES", 0)
        found, scores = best_columns(P, Q, np.where(excluded, -np.inf, c), n, skip=lists_of(skipped), threads=1)
    assert listed(found) == expected
    exact = P.astype(float) @ Q.astype(float).T + c
    for u, row in enumerate(found):
        scale = np.abs(exact).max(initial=0.0)
        np.testing.assert_allclose(scores[u, row >= 0], exact[u, row[row >= 0]], rtol=1e-9, atol=1e-14 * scale)
        assert np.isnan(scores[u, row < 0]).all()


@examples(30)
@given(seed=st.integers(0, 2**32 - 1), share=st.sampled_from([0.0, 0.3, 1.0]))
def test_best_of_given_equals_sorted_float64_scores(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    P, Q, c = np.round(rng.normal(size=(5, 3))), np.round(rng.normal(size=(20, 3))), np.zeros(20)
    marks = rng.random((5, 20)) < share
    found, _ = best_of_given(P, Q, c, 7, given=lists_of(marks), threads=1)
    assert listed(found) == reference.best(P, Q, c, 7, marks)


def test_best_columns_are_bitwise_independent_of_threads_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    P, Q = (rng.normal(size=(n, 24)).astype(np.float32) for n in (900, 4000))
    c, skip = rng.normal(size=4000), lists_of(rng.random((900, 4000)) < 0.05)
    monkeypatch.setattr(top_n, "MAX_MEMORY", 1)
    first = best_columns(P, Q, c, 50, skip=skip, threads=1)
    assert first[0].min() >= 0
    for memory, threads in ((1 << 20, 1), (100 << 20, 3)):
        monkeypatch.setattr(top_n, "MAX_MEMORY", memory)
        again = best_columns(P, Q, c, 50, skip=skip, threads=threads)
        for one, other in zip(first, again, strict=True):
            np.testing.assert_array_equal(one, other)


def test_columns_whose_bounds_are_too_low_are_not_scanned(monkeypatch: pytest.MonkeyPatch) -> None:
    rng, scanned = np.random.default_rng(0), []
    P, Q = (rng.normal(size=(n, 8)).astype(np.float32) for n in (300, 10_000))
    Q[rng.permutation(10_000)[:9000]] *= 0.01
    plain = top_n.scan_tile

    def counting(rows: np.ndarray, begin: int, *rest: object) -> None:
        scanned.append(begin)
        plain(rows, begin, *rest)

    monkeypatch.setattr(top_n, "scan_tile", counting)
    best_columns(P, Q, np.zeros(10_000), 5, skip=IndexLists.empty(300))
    assert set(scanned) == {0}


@pytest.mark.parametrize(("p_size", "q_size"), [(1e-200, 1e100), (1e200, 1e-180), (1e170, 1e120)])
def test_factors_whose_squares_underflow_or_overflow_are_ranked(p_size: float, q_size: float) -> None:
    rng = np.random.default_rng(0)
    P, Q = p_size * rng.normal(size=(300, 3)), q_size * rng.normal(size=(3500, 3))
    P[::3] = 0.0
    c = p_size * q_size * rng.normal(size=3500)
    S = P @ Q.T + c
    best, scores = best_columns(P, Q, c, 5, skip=IndexLists.empty(300))
    expected = -np.sort(-S, axis=1)[:, :5]
    np.testing.assert_allclose(scores, expected, rtol=1e-12)
    np.testing.assert_allclose(np.take_along_axis(S, best, axis=1), expected, rtol=1e-12)


def test_scores_equal_in_float32_are_ranked_in_float64() -> None:
    """All products agree to eight digits."""
    Q = 1.0 + 1e-10 * np.random.default_rng(1).permutation(500)[:, None]
    found, _ = best_columns(np.ones((1, 1)), Q, np.zeros(500), 20, skip=IndexLists.empty(1))
    np.testing.assert_array_equal(found[0], np.argsort(-Q[:, 0])[:20])


@pytest.mark.parametrize("rank", [0, 3])
def test_best_columns_of_no_rows_are_empty(rank: int) -> None:
    found, scores = best_columns(np.empty((0, rank)), np.ones((4, rank)), np.zeros(4), 2, skip=IndexLists.empty(0))
    assert found.shape == scores.shape == (0, 2)
