"""The interface between the training loop and the backend (CPU, GPU) that runs half-steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntEnum
from types import TracebackType
from typing import NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from halfstep.objective.problem import HalfProblem, Prior
from halfstep.solver.layout import Factors
from halfstep.solvers import Solver


class Side(IntEnum):
    """Users or items; the value is the index in a pair."""

    USERS = 0
    ITEMS = 1


class Terms(NamedTuple):
    """The terms of the objective.

    Attributes
    ----------
    observed : float
        Σ_Ω w (t − μ − b_u − b_i − p·q)².
    missing : float
        Σ_missing s m (p·q)².
    regularization : float
        Σ λ_u (‖p_u‖² + ρ b_u²) + Σ λ_i (‖q_i‖² + ρ b_i²), or the same for the differences from the means that side
        information predicts.
    features : float
        λ_β ‖β‖²_D of the coefficients of side information.
    """

    observed: float
    missing: float
    regularization: float
    features: float = 0.0


class Session(Protocol):
    """Two half-problems and the factors of both sides, on any backend; a context manager.

    Half-steps read and write the *current* factors; the *accepted* ones are returned. If a half-step is interrupted
    or raises an error, the accepted factors are unchanged.
    """

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def extrapolate(self, side: Side, beta: float) -> None:
        """Set the current factors F of a side to F + β (F − F'), where F' were accepted before F.

        If there are no earlier factors F', nothing changes.
        """
        ...

    def half_step(self, side: Side, solver: Solver) -> None:
        """Solve all rows of one side while the current factors of the other are held fixed.

        Approximate solvers start from the current factors.

        Raises
        ------
        NumericalError
            If a system is not positive definite, with the position of the first such row.
        """
        ...

    def terms(self) -> Terms:
        """Return the terms of the objective at the current factors."""
        ...

    def accept(self) -> None:
        """Accept the current factors."""
        ...

    def undo(self) -> None:
        """Return to the accepted factors."""
        ...

    def factors(self) -> tuple[Factors, Factors]:
        """Return the accepted factors of users and items on this machine.

        They are in the layout of `empty_factors`, and may be overwritten by the next half-step.
        """
        ...


class Backend(Protocol):
    """The device (CPU, GPU) on which half-steps run."""

    def open(self, users: HalfProblem, items: HalfProblem, start: tuple[Factors, Factors]) -> Session:
        """Return a session with these factors, which may be overwritten."""
        ...


class PriorSession(Session, Protocol):
    """A session with normal priors of rows, for side information.

    Approximate solvers support only priors with Λ = 0 and without noise.
    """

    def set_prior(self, side: Side, prior: Prior | None) -> None:
        """Set the prior of the rows of a side for the following half-steps and terms."""
        ...

    def set_targets(self, side: Side, targets: NDArray[np.floating]) -> None:
        """Set the targets of a side for the following half-steps and terms."""
        ...

    def rows(self, side: Side) -> Factors:
        """Return the current factors of a side; rows without observations may be overwritten."""
        ...

    def set_rows(self, side: Side, X: Factors) -> None:
        """Replace the current factors of a side."""
        ...

    def run(self, tasks: Sequence[Callable[[], None]]) -> None:
        """Run tasks on the threads of the session; their results must not depend on the thread."""
        ...

    def limit_blas(self) -> None:
        """Limit BLAS to one thread until the session ends, for computations between half-steps."""
        ...
