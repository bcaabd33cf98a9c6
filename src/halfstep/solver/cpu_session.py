"""Sessions on the cores of one machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from halfstep.objective.problem import HalfProblem, Prior
from halfstep.solver.cpu import CPU
from halfstep.solver.layout import Factors, aligned_zeros
from halfstep.solver.session import Side, Terms
from halfstep.solvers import Cholesky, Solver


@dataclass(frozen=True)
class CPUBackend:
    """The cores of this machine.

    Parameters
    ----------
    threads : int, optional
        All available cores by default. Does not change the result.
    """

    threads: int | None = None

    def open(self, users: HalfProblem, items: HalfProblem, start: tuple[Factors, Factors]) -> CPUSession:
        return CPUSession(CPU(self.threads), users, items, start)


class CPUSession:
    """A session with factors in memory; see `halfstep.solver.session.PriorSession`.

    Each side has two arrays: the accepted factors, and a spare array for the next half-step, which until then holds
    the previously accepted factors.
    """

    def __init__(self, cpu: CPU, users: HalfProblem, items: HalfProblem, start: tuple[Factors, Factors]) -> None:
        self._cpu = cpu
        self._problems = users, items
        self._accepted = list(start)
        self._spare = [aligned_zeros(F.shape, F.dtype) for F in start]
        self._current = list(start)
        self._has_previous = False
        self._priors: list[Prior | None] = [None, None]
        self._data_terms: tuple[float, float] | None = None

    def __enter__(self) -> Self:
        self._cpu.__enter__()
        try:
            self._plans = [self._cpu.plan(problem) for problem in self._problems]
        except BaseException as error:
            self._cpu.__exit__(type(error), error, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cpu.__exit__(kind, error, trace)

    def set_prior(self, side: Side, prior: Prior | None) -> None:
        self._priors[side] = prior

    def set_targets(self, side: Side, targets: NDArray[np.floating]) -> None:
        self._plans[side] = self._plans[side].with_targets(targets)

    def rows(self, side: Side) -> Factors:
        return self._current[side]

    def set_rows(self, side: Side, X: Factors) -> None:
        self._current[side][...] = X
        self._data_terms = None

    def run(self, tasks: Sequence[Callable[[], None]]) -> None:
        self._cpu.run(tasks)

    def limit_blas(self) -> None:
        self._cpu.limit_blas()

    def extrapolate(self, side: Side, beta: float) -> None:
        if not self._has_previous:
            return
        F, ahead = self._accepted[side], self._spare[side]
        np.subtract(F, ahead, out=ahead)
        ahead *= beta
        ahead += F
        self._current[side], self._data_terms = ahead, None

    def half_step(self, side: Side, solver: Solver) -> None:
        X, Y = self._spare[side], self._current[1 - side]
        has_start = self._problems[side].nonnegative or not isinstance(solver, Cholesky)
        if has_start and self._current[side] is not X:
            X[...] = self._current[side]
        plan, prior = self._plans[side], self._priors[side]
        self._data_terms = None
        if side is Side.ITEMS:  # the loss is cheapest while the rows are in the cache
            self._data_terms = self._cpu.half_step_and_loss(plan, Y, X, solver=solver, prior=prior)
        else:
            self._cpu.half_step(plan, Y, X, solver=solver, prior=prior)
        self._current[side] = X

    def terms(self) -> Terms:
        P, Q = self._current
        if self._data_terms is None:
            self._data_terms = self._cpu.loss(self._plans[Side.ITEMS], P, Q)
        regularization = sum(
            self._cpu.regularization_term(plan, F, prior=prior)
            for plan, F, prior in zip(self._plans, self._current, self._priors, strict=True)
        )
        return Terms(*self._data_terms, regularization)

    def accept(self) -> None:
        for side in Side:
            if self._current[side] is not self._accepted[side]:
                self._spare[side], self._accepted[side] = self._accepted[side], self._current[side]
        self._has_previous = True

    def undo(self) -> None:
        self._current = list(self._accepted)
        self._has_previous = False
        self._data_terms = None

    def factors(self) -> tuple[Factors, Factors]:
        return self._accepted[0], self._accepted[1]
