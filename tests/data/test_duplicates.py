"""Repeated cells, compared to a dictionary."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from halfstep.data import duplicates
from halfstep.data.duplicates import Repeat, find_repeat
from thorough import examples

CELLS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=30)


def twin(cells: list[tuple[int, int]]) -> Repeat | None:
    first: dict[tuple[int, int], int] = {}
    repeats = [(row, first[cell]) for row, cell in enumerate(cells) if first.setdefault(cell, row) != row]
    return Repeat(*repeats[0], len(repeats)) if repeats else None


def find(cells: list[tuple[int, int]]) -> Repeat | None:
    rows, columns = np.array(cells, np.int32).reshape(-1, 2).T.copy()
    return find_repeat(rows, columns)


@pytest.mark.slow
@examples(200)
@given(CELLS, st.sampled_from([1, 2, 3]))
def test_first_repeat_with_and_without_kernel(cells: list[tuple[int, int]], threads: int) -> None:
    expected = twin(cells)
    assert find(cells) == expected
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "MANY", 1)
        patch.setattr(duplicates, "THREADS", threads)
        assert find(cells) == expected


@pytest.mark.slow
@pytest.mark.parametrize("place", [1, 777_777, 1_199_999])
def test_single_repeat_among_many_cells(place: int) -> None:
    cells = np.random.default_rng(0).permutation(4_000_000)[:1_200_000]
    cells[place] = cells[0]
    rows, columns = (cells // 2000).astype(np.int32), (cells % 2000).astype(np.int32)
    assert find_repeat(rows, columns) == Repeat(place, 0, 1)
    assert find_repeat(np.delete(rows, place), np.delete(columns, place)) is None
