"""The layout of factors in memory."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import DTypeLike, NDArray

from halfstep.solver.kernels._vector import LINE_BYTES, padded_width

Factors = NDArray[np.floating]
"""Rows ``[factors | bias | 0 …]``: `HalfProblem.unknowns` numbers, padded with zeros as by `empty_factors`."""


def aligned_zeros(shape: tuple[int, ...], dtype: DTypeLike) -> Factors:
    """Allocate zeros that start at a cache line, which NumPy does not guarantee."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    room = np.zeros(size + LINE_BYTES, np.uint8)
    start = -room.__array_interface__["data"][0] % LINE_BYTES  # three times as fast as room.ctypes
    zeros: Factors = room[start : start + size].view(dtype).reshape(shape)
    return zeros


def empty_factors(rows: int, unknowns: int, dtype: DTypeLike) -> Factors:
    """Allocate zeros in the layout of half-steps, with rows padded to whole vectors."""
    return aligned_zeros((rows, padded_width(unknowns)), dtype)
