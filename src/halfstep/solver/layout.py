"""The seam between the training loop and the machine that it runs on."""

from __future__ import annotations

import math
from types import TracebackType
from typing import Any, Literal, Protocol, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from halfstep.objective.problem import Prior, Side
from halfstep.solver.kernels._vector import padded_width

Factors = NDArray[np.floating]
"""Rows ``[factors | bias | 0 …]``: `Side.unknowns` numbers, padded with zeros as `empty_factors` makes them."""


Solver = Literal["cholesky", "cg", "subspace"]
"""How a backend solves rows: exactly, by steps of conjugate gradients, or by blocks of unknowns."""

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


class Backend(Protocol):
    """A machine that runs half-steps, used as a context manager: ``with backend: …``."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def load(self, side: Side) -> Any:
        """Bring one orientation of the objective to the machine; the result is for the calls below alone."""
        ...

    def half_step(
        self, loaded: Any, Y: Factors, X: Factors, *, solver: Solver = "cholesky", prior: Prior | None = None
    ) -> None:
        """Solve every row of X while Y is held fixed.

        With a prior, which the solver "cholesky" alone knows, rows without observations become their prior means; and
        rows are drawn rather than solved where it comes with noise.

        For solvers other than "cholesky", X holds where each row was before. They bring it nearer to its solution,
        and never farther from it; rows that are as easily solved exactly may be.

        Raises
        ------
        NumericalError
            Naming the first row whose system is not positive definite.
        """
        ...

    def half_step_and_loss(
        self, loaded: Any, Y: Factors, X: Factors, *, solver: Solver = "cholesky", prior: Prior | None = None
    ) -> tuple[float, float]:
        """Do the same, and return the objective's terms of observed and of missing cells afterwards.

        One call, because each row and its observations are at hand just after it was solved.
        """
        ...

    def penalty(self, loaded: Any, X: Factors, *, prior: Prior | None = None) -> float:
        """Return the objective's term of the rows' regularisation, Σ_u λ_u (‖x_u‖² + ρ b_u²).

        With a prior it is that of x_u − x̄_u; the prior's own precision is left out.
        """
        ...
