"""The layout of factors and systems on a device, and the constants of the kernels that depend on it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from halfstep.objective.problem import HalfProblem
from halfstep.solver.cuda.device import Device

LARGEST_IN_REGISTERS = 264  # unknowns of a row whose tiles fit the registers of a block
SMALL_TILES = 72  # unknowns up to which tiles of 4 × 4 give enough threads; larger ones read shared memory less
REGISTERS = 1 << 16  # of a multiprocessor
REGISTERS_OF_A_THREAD = {4: 72, 8: 128}  # for tiles of float32 numbers without spills
WARP = 32
MOST_BLOCKS = 16  # of a multiprocessor, on the cards that hold the fewest


class Layout(NamedTuple):
    """The layout of the systems of a half-problem.

    Rows of factors are ``[factors | bias | 0 …]``, padded to whole tiles.
    """

    rank: int
    biases: bool
    is_missing: bool

    @classmethod
    def of(cls, problem: HalfProblem) -> Layout:
        return cls(problem.rank, problem.biases, len(problem.row_missing) > 0)

    @property
    def unknowns(self) -> int:
        return self.rank + self.biases

    @property
    def tile(self) -> int:
        """The number of rows and columns of a tile."""
        return 4 if self.unknowns <= SMALL_TILES else 8

    @property
    def width(self) -> int:
        """The length of a row of factors."""
        return -(-self.unknowns // self.tile) * self.tile

    @property
    def is_large(self) -> bool:
        """Whether systems do not fit the registers of a block."""
        return self.unknowns > LARGEST_IN_REGISTERS

    @property
    def tiles(self) -> int:
        """The number of tiles in a lower triangle."""
        side = self.width // self.tile
        return side * (side + 1) // 2

    @property
    def threads(self) -> int:
        """The number of threads that solve a row."""
        return -(-self.tiles // 32) * 32

    @property
    def part_size(self) -> int:
        """The length of the sums of a part of a row."""
        return self.tiles * self.tile**2 + self.width

    def constants(self, dtype: DTypeLike) -> dict[str, int | str]:
        """Return the constants that describe rows of factors in this precision."""
        return {
            "REAL": "double" if np.dtype(dtype) == np.float64 else "float",
            "EPSILON": f"((REAL){float(np.finfo(dtype).eps)!r})",
            "RANK": self.rank,
            "BIASES": int(self.biases),
            "MISSING": int(self.is_missing),
            "WIDTH": self.width,
        }

    def tile_constants(self, dtype: DTypeLike) -> dict[str, int | str]:
        """Return the constants of ``exact.cu``."""
        is_double = np.dtype(dtype) == np.float64
        blocks = 1 if is_double else REGISTERS // (self.threads * REGISTERS_OF_A_THREAD[self.tile])
        return self.constants(dtype) | {
            "TILE": self.tile,
            "SIDE": self.width // self.tile,
            "SOLUTIONS": 1,
            "THREADS": self.threads,
            "BATCH": 8 if is_double else 128 // self.tile,
            "MIN_BLOCKS": min(max(blocks, 1), MOST_BLOCKS),
        }

    def large_constants(self, dtype: DTypeLike) -> dict[str, int | str]:
        """Return the constants of ``large.cu``."""
        is_double = np.dtype(dtype) == np.float64
        return self.constants(dtype) | {
            "TILE": LARGE.tile,
            "SIDE": LARGE.side,
            "THREADS": LARGE_THREADS,
            "SOLUTIONS": 1,
            "BATCH": 8 if is_double else 16,
            "MIN_BLOCKS": 1 if is_double else BLOCKS_OF_LARGE_ROWS,
        }

    @property
    def large_pitch(self) -> int:
        """The rows and columns of L in global memory, in whole squares."""
        return -(-self.width // LARGE.size) * LARGE.size

    def upload(self, device: Device, F: NDArray[np.floating], dtype: DTypeLike) -> Any:
        """Copy factors in the layout of the host to the device."""
        rows = np.zeros((len(F), self.width), dtype)
        rows[:, : self.unknowns] = F[:, : self.unknowns]
        return device.asarray(rows)


class Shape(NamedTuple):
    """The division of the systems of some rows into tiles.

    Attributes
    ----------
    tile : int
        The number of rows and columns of a tile.
    side : int
        The number of tiles in a column.
    """

    tile: int
    side: int

    @property
    def size(self) -> int:
        """The largest number of observed cells."""
        return self.tile * self.side

    @property
    def threads(self) -> int:
        """The number of threads that solve a row."""
        return -(-self.side * (self.side + 1) // 2 // WARP) * WARP

    def constants(self, layout: Layout, dtype: DTypeLike, *, diagonal: bool) -> dict[str, int | str]:
        """Return the constants of ``dual.cu``."""
        is_double = np.dtype(dtype) == np.float64
        rows = (2 if is_double else 4) if self.threads == WARP else 1
        return layout.constants(dtype) | {
            "TILE": self.tile,
            "SIDE": self.side,
            "THREADS": self.threads,
            "SOLUTIONS": 1 + layout.biases,
            "DIAGONAL": int(diagonal),
            "COLUMNS": 8 if is_double else 32,
            "ROWS": rows,
            "MIN_BLOCKS": 1 if is_double or self.threads > 4 * WARP else 6 if self.tile == 4 else 3,
        }


SHAPES = (Shape(4, 7), Shape(8, 7), Shape(8, 15), Shape(8, 29))  # a warp, a warp, and blocks of 4 and of 14 warps
LARGE = Shape(8, 16)  # the squares of large.cu
LARGE_THREADS = LARGE.side**2
BLOCKS_OF_LARGE_ROWS = 2  # of a multiprocessor
