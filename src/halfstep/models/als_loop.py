"""The training loop of `ALS`: users and items in turn, with what they are linked to in between."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from halfstep.data import Interactions
from halfstep.errors import NumericalError
from halfstep.models.als_features import Linked, RidgeLink
from halfstep.models.half_step_model import naming_the_row
from halfstep.objective.problem import Prior, Side
from halfstep.solver.cpu import CPU
from halfstep.solver.layout import Factors, aligned_zeros
from halfstep.solvers import Cholesky, Solver

if TYPE_CHECKING:
    from halfstep.data.side_information import Sparse

USERS, ITEMS = 0, 1  # places in pairs


class Iteration(NamedTuple):
    """One iteration's line of `ALS.history_`: the terms of the objective after it.

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
        Σ λ_u (‖p_u‖² + ρ b_u²) + Σ λ_i (‖q_i‖² + ρ b_i²), or the same of what features leave of rows that are linked
        to them.
    seconds : float
        Since the fit began.
    link_regularization : float
        λ_β ‖β‖²_D of both sides' links to features.
    """

    iteration: int
    objective: float
    observed: float
    missing: float
    regularization: float
    seconds: float
    link_regularization: float = 0.0


class Snapshot(NamedTuple):
    """All that an iteration leaves behind; P and Q in the layout of the backends.

    `links` are of the users and of the items: None where these have no features.
    """

    P: Factors
    Q: Factors
    history: list[Iteration]
    links: tuple[Linked | None, Linked | None] = (None, None)


class Alternation:
    """The users' half-step and the items', in turn.

    Before each users' half-step the items are carried on a little in the direction in which they moved last:

        Q + β (Q − Q before)

    A half-step solves for one side as if the other were there to stay; this looks ahead. The users and items that
    come of it are as good as any, and better if they lower the objective: else they are thrown away, and the next
    iteration starts from where the items are. So the objective never rises.

    Where a side is linked to features, its rows are solved around what these say, and β for the rows right after.

    Attributes
    ----------
    finished : Snapshot
        After the last iteration that was kept; an interrupted one has touched nothing of it.
    """

    def __init__(
        self,
        backend: CPU,
        by_user: Side,
        by_item: Side,
        start: Snapshot,
        *,
        solver: Solver,
        data: Interactions,
        features: tuple[Sparse | None, Sparse | None],
        feature_regularization: tuple[float, float],
    ) -> None:
        self._backend, self._users, self._items = backend, backend.load(by_user), backend.load(by_item)
        self._solver, self._data = solver, data
        self._spare = aligned_zeros(start.P.shape, start.P.dtype), aligned_zeros(start.Q.shape, start.Q.dtype)
        # What the next users' half-step takes the items for: where they are, or where they would be if they went on.
        # The latter is in the spare, which nobody needs until the items are solved.
        self._fixed = start.Q
        self._began = time.perf_counter()
        if any(F is not None for F in features):
            backend.hold_blas()  # for what is between half-steps, in which the threads here take part
        self._links = [
            None if F is None else RidgeLink(F, loaded, reg, backend)
            for F, loaded, reg in zip(features, (self._users, self._items), feature_regularization, strict=True)
        ]
        users, items = (None if link is None else link.start for link in self._links)
        self.finished = start._replace(links=(users, items))

    def iterate(self) -> bool:
        """Run one iteration; False if it was thrown away."""
        P, Q = self._spare
        is_ahead = self._fixed is Q
        if not isinstance(self._solver, Cholesky):
            P[...] = self.finished.P
            if not is_ahead:
                Q[...] = self._fixed
        before = self.finished
        users, items = before.links
        with naming_the_row("user", self._data):
            self._backend.half_step(self._users, self._fixed, P, solver=self._solver.name, prior=_prior(users))
        users = self._linked(USERS, P, users)
        with naming_the_row("item", self._data):
            loss = self._backend.half_step_and_loss(self._items, P, Q, solver=self._solver.name, prior=_prior(items))
        items = self._linked(ITEMS, Q, items)
        penalties = self._backend.penalty(self._users, P, prior=_prior(users)) + self._backend.penalty(
            self._items, Q, prior=_prior(items)
        )
        of_links = self._link_penalty(USERS, users) + self._link_penalty(ITEMS, items)
        seconds = time.perf_counter() - self._began
        line = history_line(len(before.history) + 1, loss, penalties, seconds, of_links)
        if is_ahead and self._has_risen(line):
            self._fixed = before.Q
            return False
        self._spare = before.P, before.Q
        self.finished = Snapshot(P, Q, [*before.history, line], (users, items))
        self._fixed = Q
        if self._solver.extrapolation and before.history:  # what the items moved from first was drawn at random
            ahead = before.Q
            np.subtract(Q, before.Q, out=ahead)
            ahead *= self._solver.extrapolation
            ahead += Q
            self._fixed = ahead
        return True

    def _linked(self, side: int, X: Factors, before: Linked | None) -> Linked | None:
        """β of a side for its rows as they are; those without observations are put where it says."""
        link = self._links[side]
        return None if link is None or before is None else link.solved(X, before)

    def _link_penalty(self, side: int, linked: Linked | None) -> float:
        link = self._links[side]
        return 0.0 if link is None or linked is None else link.penalty(linked)

    def refresh_users(self) -> None:
        """Solve the users once more, exactly, for the items as they are."""
        P, _ = self._spare
        with naming_the_row("user", self._data):
            self._backend.half_step(self._users, self.finished.Q, P, prior=_prior(self.finished.links[USERS]))
        self._spare, self.finished = (self.finished.P, self._spare[1]), self.finished._replace(P=P)

    def _has_risen(self, line: Iteration) -> bool:
        rounding = 10 * float(np.finfo(self.finished.Q.dtype).eps)
        return line.objective > self.finished.history[-1].objective * (1 + rounding)


def history_line(
    number: int, loss: tuple[float, float], penalties: float, seconds: float, of_links: float
) -> Iteration:
    """Add the objective up.

    Raises
    ------
    NumericalError
        If it is not finite, or one of its terms is below 0, as no sum of squares is.
    """
    total = sum(loss) + penalties + of_links
    if not np.isfinite(total):
        raise NumericalError(f"the objective is {total} after iteration {number}: look for extreme values or weights")
    line = Iteration(number, total, *loss, penalties, seconds, of_links)
    terms = {name: term for name, term in line._asdict().items() if name not in ("iteration", "seconds")}
    name = min(terms, key=terms.__getitem__)
    if terms[name] < 0:
        raise NumericalError(
            f"the objective's term {name!r} is {terms[name]:.3g} after iteration {number}, below 0, so factors lose "
            "precision: raise the regularization, or set dtype='float64'"
        )
    return line


def _prior(linked: Linked | None) -> Prior | None:
    return None if linked is None else linked.prior
