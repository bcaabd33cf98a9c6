"""Solvers of the rows of a half-step, and their settings.

>>> import halfstep as hs
>>> hs.ALS(hs.Implicit(), rank=128, solver=hs.solvers.ConjugateGradient(steps=5))
ALS(Implicit(), rank=128, solver=ConjugateGradient(steps=5))

All converge to the same optimum, because each iteration continues from the previous one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, Literal

from halfstep._support.checks import check_choice, check_flag, check_integer, check_number
from halfstep._support.short_repr import short_repr
from halfstep.errors import ParameterError

BLOCK_SIZES = 16  # blocks are multiples of this, the float32 numbers in the widest vectors

__all__ = ["Cholesky", "ConjugateGradient", "Subspace"]


@dataclass(frozen=True, repr=False)
class Solver:
    """Base class of solvers, with their common settings.

    Parameters
    ----------
    extrapolation : float
        β, the coefficient of the extrapolation (momentum) of the items before users are solved. An iteration that
        increases the objective is repeated without extrapolation. 0.8 saves a third to a half of the iterations; 0
        disables it.
    refresh_users : bool
        Whether to solve users once more after the last iteration, which ends with the items. User factors are then
        optimal for the item factors, so that `fold_in` of the same history returns the same factors, and the
        contributions of `explain` add up to the score of `predict`. `history_` and callbacks do not include this
        step.
    """

    name: ClassVar[Literal["cholesky", "cg", "subspace"]]

    _: KW_ONLY
    extrapolation: float = 0.8
    refresh_users: bool = True

    def __post_init__(self) -> None:
        check_number("extrapolation", self.extrapolation)
        check_flag("refresh_users", self.refresh_users)

    def __repr__(self) -> str:
        return short_repr(self)


@dataclass(frozen=True, repr=False)
class Cholesky(Solver):
    """Exact solutions, by Cholesky factorization of each row's system.

    Parameters
    ----------
    extrapolation : float
        β, the coefficient of the extrapolation of the items.
    refresh_users : bool
        Whether to solve users once more after the last iteration.
    """

    name: ClassVar[Literal["cholesky", "cg", "subspace"]] = "cholesky"


@dataclass(frozen=True, repr=False)
class ConjugateGradient(Solver):
    """Approximate solutions, by steps of conjugate gradients from the previous ones.

    Rows with fewer than four times as many observed cells as steps (eleven times from rank 512) are solved exactly,
    which takes less time.

    Parameters
    ----------
    steps : int
        Steps of each half-step.
    extrapolation, refresh_users
        As in `Cholesky`.

    References
    ----------
    .. [1] G. Takács, I. Pilászy, D. Tikk, "Applications of the conjugate gradient method for implicit feedback
       collaborative filtering", RecSys 2011.
    """

    name: ClassVar[Literal["cholesky", "cg", "subspace"]] = "cg"

    steps: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("steps", self.steps, minimum=1)


@dataclass(frozen=True, repr=False)
class Subspace(Solver):
    """Approximate solutions, by blocks of unknowns while the others are held fixed (iALS++, [1]_).

    Rows with fewer observed cells than a block has unknowns are solved exactly, which takes less time.

    Parameters
    ----------
    block_size : int
        The number of unknowns that are solved together, a multiple of 16.
    extrapolation, refresh_users
        As in `Cholesky`.

    References
    ----------
    .. [1] S. Rendle et al., "iALS++: speeding up matrix factorization with subspace optimization", arXiv:2110.14044.
    """

    name: ClassVar[Literal["cholesky", "cg", "subspace"]] = "subspace"

    block_size: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("block_size", self.block_size, minimum=BLOCK_SIZES)
        if self.block_size % BLOCK_SIZES:
            raise ParameterError(f"block_size={self.block_size}: give a multiple of {BLOCK_SIZES}")


NAMES: Mapping[str, type[Solver]] = {kind.name: kind for kind in (Cholesky, ConjugateGradient, Subspace)}


def check_solver(given: Any) -> None:
    """Check that `solver` is a solver or the name of one."""
    if isinstance(given, type) and issubclass(given, Solver):
        raise ParameterError(f"solver={given.__name__}: give an instance, such as {given.__name__}()")
    if not isinstance(given, Solver):
        check_choice("solver", given, ("auto", *NAMES))
