"""The inputs of a fit of `ALS`, and the memory that it needs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from halfstep._support.blocks import BLOCK
from halfstep.data import Interactions
from halfstep.data.side_information import SideInformation
from halfstep.objective.cost import Cost
from halfstep.objective.regularization import RowRegularization
from halfstep.solver.kernels._vector import padded_width

PER_ROW = 160  # bytes: counts, λ, weights of missing cells, losses, and work arrays
PER_BLOCK = 96  # bytes of a cell in intermediate results, which are computed in blocks
HELD_OUT = 240_000_000  # bytes to choose λ by held-out cells
PER_CELL, PER_NUMBER = 40, 32  # bytes of a cell in memory, and of its target or weight: both orders, and sorting


class Fit(NamedTuple):
    """The inputs of a fit.

    Attributes
    ----------
    data : Interactions
    cost : Cost
        The data terms of the objective.
    regularization : RowRegularization
    of_users : SideInformation or None
        The features of the users; None without side information.
    """

    data: Interactions
    cost: Cost
    regularization: RowRegularization
    of_users: SideInformation | None


def memory_of_fit(
    data: Interactions, *, rank: int, biases: bool, numbers: int, dtype: DTypeLike, is_validated: bool
) -> int:
    """Return an upper bound of the memory of a fit in bytes, besides the interactions and the program.

    Parameters
    ----------
    numbers : int
        How many of the two arrays, targets and weights, are not constant.
    dtype : dtype
        The data type of the factors.
    is_validated : bool
        Whether λ is validated by models that are fitted to a part of the interactions.
    """
    n, longest, width = data.n_users + data.n_items, max(data.n_users, data.n_items), padded_width(rank + biases)
    itemsize = np.dtype(dtype).itemsize
    # two copies of the factors while they are fitted, and one that becomes the model; the side that is held fixed is
    # also needed in float64, and in another basis
    factors = n * (2 * width + rank + 1) * itemsize + longest * width * (8 + itemsize)
    initial = n * (width * itemsize + 8 * rank)
    fixed = n * PER_ROW + min(len(data), BLOCK) * PER_BLOCK
    cells = 0 if data.stored is not None else len(data) * (PER_CELL + PER_NUMBER * numbers)
    held_out = min(HELD_OUT, len(data) * 240) if is_validated else 0
    return max(factors, initial) + fixed + held_out + cells
