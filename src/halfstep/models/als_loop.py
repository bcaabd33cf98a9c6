"""The training loop of alternating least squares, on any session."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from halfstep._support.interrupts import allowed
from halfstep._support.progress import warn_of_interruption
from halfstep.data.named_rows import Ids, naming_the_row
from halfstep.errors import NumericalError
from halfstep.solver.session import Session, Side, Terms
from halfstep.solvers import Cholesky, Solver


class Iteration(NamedTuple):
    """One iteration in `ALS.history_`: the terms of the objective after it.

    Attributes
    ----------
    iteration : int
        From 1.
    objective : float
        The sum of the terms.
    observed : float
        Σ_Ω w (t − μ − b_u − b_i − p·q)².
    missing : float
        Σ_missing s m (p·q)².
    regularization : float
        Σ λ_u (‖p_u‖² + ρ b_u²) + Σ λ_i (‖q_i‖² + ρ b_i²), or the same for the differences from the means that side
        information predicts.
    seconds : float
        Since the fit began.
    feature_regularization : float
        λ_β ‖β‖²_D of the coefficients of side information.
    """

    iteration: int
    objective: float
    observed: float
    missing: float
    regularization: float
    seconds: float
    feature_regularization: float = 0.0


class TrainingLoop:
    """Alternating half-steps of users and items.

    Before each half-step of the users, the items are extrapolated (momentum):

        Q + β (Q − Q'),   Q' the items one iteration earlier.

    An iteration that increases the objective by more than rounding errors (10 times the precision of the factors) is
    undone, and repeated without extrapolation, so the objective never increases, apart from rounding errors.

    Parameters
    ----------
    session : Session
        An open session, inside its ``with`` block.
    ids : pair of Vocabulary, or of other sequences
        The ids of users and items, for errors.
    dtype : dtype
        The data type of the factors.
    history : sequence of Iteration
        Earlier iterations, if the session continues from their factors.

    Attributes
    ----------
    history : list of Iteration
        The accepted iterations. An interrupted iteration changes neither the history nor the accepted factors.
    """

    def __init__(
        self,
        session: Session,
        solver: Solver,
        ids: tuple[Ids, Ids],
        *,
        dtype: DTypeLike,
        history: Sequence[Iteration] = (),
    ) -> None:
        self.history = list(history)
        self._session, self._solver, self._ids = session, solver, ids
        self._rounding = 10 * float(np.finfo(dtype).eps)
        self._began = time.perf_counter() - (self.history[-1].seconds if self.history else 0.0)
        self._is_extrapolated = self._extrapolate()

    def run(
        self, iterations: int, *, tol: float, after: Callable[[], bool], finish: Callable[[], object] = lambda: None
    ) -> None:
        """Iterate, then solve the users once more if the solver requires it.

        If Ctrl-C interrupts after the first iteration, a `FitInterruptedWarning` is issued instead.

        Parameters
        ----------
        iterations : int
            Maximum number.
        tol : float
            As in `ALS`.
        after : callable
            Called after each accepted iteration; returns whether to stop.
        finish : callable
            Called at the end if there was no interruption.
        """
        refresh = self.refresh_users if self._solver.refresh_users else lambda: None
        try:
            while len(self.history) < iterations:
                if self.iterate() and (after() or self._has_converged(tol)):
                    break
            refresh()
            finish()
        except KeyboardInterrupt:
            if not self.history:
                raise
            warn_of_interruption(
                f"fit was interrupted: this is the model after {len(self.history)} of {iterations} iterations"
            )
            refresh()

    def iterate(self) -> bool:
        """Run one iteration; return whether it was accepted."""
        session = self._session
        self._half_step(Side.USERS, self._solver)
        self._half_step(Side.ITEMS, self._solver)
        seconds = time.perf_counter() - self._began
        iteration = as_iteration(len(self.history) + 1, session.terms(), seconds)
        if self._is_extrapolated and self._has_increased(iteration):
            session.undo()
            self._is_extrapolated = False
            return False
        session.accept()
        self.history = [*self.history, iteration]
        self._is_extrapolated = self._extrapolate()
        return True

    def _extrapolate(self) -> bool:
        """Extrapolate the items, if possible; return whether this was done."""
        # the first iteration starts from random factors, so its direction is meaningless
        if self._solver.extrapolation == 0 or len(self.history) < 2:
            return False
        self._session.extrapolate(Side.ITEMS, self._solver.extrapolation)
        return True

    def refresh_users(self) -> None:
        """Solve the users exactly for the accepted items."""
        self._session.undo()
        self._half_step(Side.USERS, Cholesky())
        self._session.accept()

    def _half_step(self, side: Side, solver: Solver) -> None:
        with naming_the_row("user" if side is Side.USERS else "item", self._ids[side]):
            self._session.half_step(side, solver)

    def _has_converged(self, tol: float) -> bool:
        """Whether the last iteration decreased the objective by less than this fraction; False if it is 0."""
        if tol == 0 or len(self.history) < 2:
            return False
        before, now = self.history[-2].objective, self.history[-1].objective
        return before - now < tol * before

    def _has_increased(self, iteration: Iteration) -> bool:
        return iteration.objective > self.history[-1].objective * (1 + self._rounding)


def as_iteration(number: int, terms: Terms, seconds: float) -> Iteration:
    """Return the iteration with these terms of the objective."""
    total = sum(terms[:2]) + terms.regularization + terms.features
    if not np.isfinite(total):
        raise NumericalError(
            f"the objective is {total} after iteration {number}: check the data for extreme values or weights"
        )
    name, least = min(terms._asdict().items(), key=lambda term: term[1])
    if least < 0:
        raise NumericalError(
            f"the objective's term {name!r} is {least:.3g} after iteration {number}, below 0, so factors lose "
            "precision: raise the regularization, or set dtype='float64' if it is 'float32'"
        )
    return Iteration(number, total, terms.observed, terms.missing, terms.regularization, seconds, terms.features)


def show_objective(bar: Any, history: list[Iteration]) -> None:
    """Advance a progress bar by an iteration."""
    with allowed():
        bar.set_postfix_str(f"objective {history[-1].objective:.6g}", refresh=False)
        bar.update()
