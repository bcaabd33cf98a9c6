"""Long arrays in blocks, which bounds the memory of intermediate results."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from halfstep._support.disk_arrays import drop_pages

BLOCK = 1 << 20  # elements


def blocks(length: int, size: int = BLOCK) -> Iterator[slice]:
    """Iterate over the blocks of an array of a given length; drop the pages of arrays on disk after each."""
    for start in range(0, length, size):
        yield slice(start, min(start + size, length))
        drop_pages()


def is_repeated(numbers: NDArray[Any]) -> bool:
    """Return whether an array repeats one element, in constant memory, as those of `np.broadcast_to` do."""
    return numbers.strides == (0,) and len(numbers) > 0


def all_equal(numbers: NDArray[Any]) -> bool:
    """Return whether all elements are equal; False if there are none."""
    if len(numbers) < 2 or is_repeated(numbers):
        return len(numbers) > 0
    return all(bool((numbers[block] == numbers[0]).all()) for block in blocks(len(numbers)))


def total(numbers: NDArray[np.floating]) -> float:
    """Return the sum."""
    return float(sum(numbers[block].sum() for block in blocks(len(numbers))))


def largest(numbers: NDArray[Any]) -> Any:
    """Return the largest element."""
    return max(numbers[block].max() for block in blocks(len(numbers)))


def counts_of(positions: NDArray[np.integer], length: int) -> NDArray[np.int64]:
    """Return how often each of the positions 0 … `length` − 1 occurs."""
    counts = np.zeros(length, np.int64)
    size = max(BLOCK, length)  # each block takes time for all positions
    for block in blocks(len(positions), size):
        counts += np.bincount(positions[block], minlength=length)
    return counts
