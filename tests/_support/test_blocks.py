"""Sums, counts and comparisons of long arrays in blocks."""

from __future__ import annotations

import numpy as np
import pytest

from halfstep._support import blocks


@pytest.mark.parametrize("n", [0, 1, 5, 6, 10, 11])
def test_blocks_cover_all(n: int) -> None:
    assert np.concatenate([np.arange(n)[each] for each in blocks.blocks(n, 5)] or [[]]).tolist() == list(range(n))


def test_all_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks.blocks, "__defaults__", (3,))
    assert not blocks.all_equal(np.empty(0))
    assert blocks.all_equal(np.ones(10))
    assert blocks.all_equal(np.broadcast_to(1.0, 10))
    for k in range(10):
        assert not blocks.all_equal(np.arange(10) == k)


def test_total_and_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks.blocks, "__defaults__", (3,))
    monkeypatch.setattr(blocks, "BLOCK", 3)
    assert blocks.total(np.arange(10.0)) == 45
    assert blocks.counts_of(np.array([3, 1, 3, 0, 3, 3, 1], np.int32), 5).tolist() == [1, 2, 0, 4, 0]
