"""A backend that is nothing but the naive twins of `reference`, dense, in float64."""

from __future__ import annotations

from typing import Self

import numpy as np

import reference
from halfstep.errors import NumericalError
from halfstep.objective.problem import HalfProblem
from halfstep.solver.layout import empty_factors
from halfstep.solver.session import Side, Terms
from halfstep.solvers import Solver


def dense(users: HalfProblem, items: HalfProblem) -> reference.Problem:
    """The objective of both half-problems."""
    n_users, n_items = len(users.indptr) - 1, len(items.indptr) - 1
    rows = np.repeat(np.arange(n_users), np.diff(users.indptr))
    observed, t, w = (np.zeros((n_users, n_items), kind) for kind in (bool, float, float))
    observed[rows, users.indices] = True
    t[rows, users.indices], w[rows, users.indices] = users.targets, users.weights
    s, m = (side if len(side) else np.zeros(n) for side, n in
            ((users.row_missing, n_users), (users.column_missing, n_items)))  # fmt: skip
    return reference.Problem(
        observed, t, w, s, m, users.regularization, items.regularization, users.bias_ratio, users.rank, users.biases
    )


class ReferenceBackend:
    def open(self, users: HalfProblem, items: HalfProblem, start: tuple[np.ndarray, np.ndarray]) -> ReferenceSession:
        return ReferenceSession(users, items, start)


class ReferenceSession:
    def __init__(self, users: HalfProblem, items: HalfProblem, start: tuple[np.ndarray, np.ndarray]) -> None:
        self._problem, self._unknowns = dense(users, items), users.unknowns
        self._dtypes = [F.dtype for F in start]
        self._accepted = [F[:, : self._unknowns].astype(float) for F in start]
        self._current, self._before = list(self._accepted), [None, None]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def extrapolate(self, side: Side, beta: float) -> None:
        F, before = self._accepted[side], self._before[side]
        if before is not None:
            self._current[side] = F + beta * (F - before)

    def half_step(self, side: Side, solver: Solver) -> None:
        problem = self._problem if side is Side.USERS else self._problem.transposed
        fixed = self._current[1 - side]
        for u in np.flatnonzero(problem.observed.any(axis=1)):
            if np.linalg.eigvalsh(reference.system(problem, fixed, u)[0])[0] <= 1e-12:
                raise NumericalError("the system of {row} is not positive definite", row=int(u))
        self._current[side] = reference.half_step(problem, fixed)

    def terms(self) -> Terms:
        return Terms(*reference.terms(self._problem, *self._current))

    def accept(self) -> None:
        self._before, self._accepted = self._accepted, list(self._current)

    def undo(self) -> None:
        self._current, self._before = list(self._accepted), [None, None]

    def factors(self) -> tuple[np.ndarray, np.ndarray]:
        P, Q = (
            empty_factors(len(F), self._unknowns, kind) for F, kind in zip(self._accepted, self._dtypes, strict=True)
        )
        P[:, : self._unknowns], Q[:, : self._unknowns] = self._accepted
        return P, Q
