"""The layout of factors in memory."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import DTypeLike, NDArray

from halfstep.solver.kernels._vector import padded_width

Factors = NDArray[np.floating]
"""Rows ``[factors | bias | 0 …]``: `HalfProblem.unknowns` numbers, padded with zeros as by `empty_factors`."""


LINE_BYTES = 64  # of the caches: a vector that lies across two lines takes twice as long to load


def aligned_zeros(shape: tuple[int, ...], dtype: DTypeLike) -> Factors:
    """Zeros that begin with a line of the caches, which NumPy leaves to chance."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    room = np.zeros(size + LINE_BYTES, np.uint8)
    start = -room.__array_interface__["data"][0] % LINE_BYTES  # in a third of the time of room.ctypes
    zeros: Factors = room[start : start + size].view(dtype).reshape(shape)
    return zeros


def empty_factors(rows: int, unknowns: int, dtype: DTypeLike) -> Factors:
    """Zeros in the layout that half-steps read and write: padded to whole vectors."""
    return aligned_zeros((rows, padded_width(unknowns)), dtype)
