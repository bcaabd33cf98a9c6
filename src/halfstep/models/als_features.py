"""The link between rows and their features in a point estimate: x_u is drawn to βᵀ f_u instead of to 0.

What the objective says of the rows, Σ_u λ_u ‖x_u‖²_D with D = diag(1, …, 1, ρ), becomes

    Σ_u λ_u ‖x_u − βᵀ f_u‖²_D + λ_β ‖β‖²_D

over the rows that have observations. Given β it is the rows' own ridge, about a mean of each. Given the rows, β is a
ridge regression in which row u weighs λ_u: the same one for each of its columns, as D is in both terms. Each is an
exact minimum, so the objective never rises. A row without observations is at its mean, where it costs nothing, and
says nothing about β; nor do its missing cells count, where others' do, for they would draw it to 0.

It is the mean of what the Gibbs sampler samples (Simm et al. 2017), with λ_u for the precision of the rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from halfstep.data import Interactions
from halfstep.data.side_information import SideInformation
from halfstep.errors import NumericalError, ParameterError
from halfstep.models.ridge import Ridge, chunked, times
from halfstep.objective.problem import HalfProblem, Prior
from halfstep.solver.layout import Factors
from halfstep.solver.session import PriorSession, Side, Terms
from halfstep.solver.threads import Run
from halfstep.solvers import Cholesky, Solver

if TYPE_CHECKING:
    from halfstep.data.side_information import Sparse

Floats = NDArray[np.float64]

PREFIX = "ridge_link."  # in files


class FeatureEffects(NamedTuple):
    """β of one side, and what it makes of the features.

    Attributes
    ----------
    coefficients : ndarray of shape (n_features, unknowns)
        β.
    means : ndarray of shape (n_rows, unknowns)
        F β.
    """

    coefficients: Floats
    means: Floats

    @property
    def prior(self) -> Prior:
        """What rows are drawn to, by their own ridge."""
        return Prior.around(self.means)


class FeatureRegression:
    """The coefficients of the features of one side in a fit.

    Parameters
    ----------
    F : sparse array of shape (n_rows, n_features)
    side : HalfProblem
        Its λ_u and ρ weigh the rows.
    reg : float
        λ_β.
    run : callable
        Runs tasks.

    Attributes
    ----------
    start : FeatureEffects
        All 0.
    """

    def __init__(self, F: Sparse, side: HalfProblem, reg: float, run: Run) -> None:
        from scipy.sparse import diags_array

        self._run, self._reg = run, reg
        self._has_none = np.flatnonzero(np.diff(side.indptr) == 0)
        self._observed = np.flatnonzero(np.diff(side.indptr))
        self._roots = np.sqrt(side.regularization[self._observed].astype(np.float64))
        self._ridge = Ridge((diags_array(self._roots) @ F[self._observed]).tocsr(), run, fixed_reg=reg)
        self._chunks = chunked(F)
        self._metric = np.ones(side.unknowns)
        if side.biases:
            self._metric[side.rank] = side.bias_ratio
        self.start = FeatureEffects(np.zeros((F.shape[1], side.unknowns)), np.zeros((F.shape[0], side.unknowns)))

    def solved(self, X: Factors, before: FeatureEffects) -> FeatureEffects:
        """Find β for the rows, and put those without observations at their means.

        With ρ = 0 nothing draws biases anywhere, and there is no β for them.

        Raises
        ------
        NumericalError
            If rows are not finite.
        """
        rows = X[self._observed, : len(self._metric)].astype(np.float64) * (self._metric > 0)
        if not np.isfinite(rows).all():
            raise NumericalError("factors are not finite: look for extreme values or weights")
        B = self._ridge.solve(rows * self._roots[:, None], self._reg, start=before.coefficients)
        means = times(self._chunks, B, len(X), self._run)
        X[self._has_none, : len(self._metric)] = means[self._has_none]
        return FeatureEffects(B, means)

    def penalty(self, linked: FeatureEffects) -> float:
        """λ_β ‖β‖²_D."""
        return self._reg * float((linked.coefficients**2).sum(axis=0) @ self._metric)


class FeatureSession:
    """A session with side information, on top of one whose rows can have priors.

    When the terms of the objective are computed after half-steps, β of each side with features is solved for its
    rows, and rows without observations are set to their means βᵀ f_u. These are the means of the prior of later
    half-steps.

    Parameters
    ----------
    session : PriorSession
        Entered.
    problems : pair of HalfProblem
    features : pair of sparse array, or None
        Of the users and of the items.
    regularization : pair of float
        λ_β of both.
    """

    def __init__(
        self,
        session: PriorSession,
        problems: tuple[HalfProblem, HalfProblem],
        features: tuple[Sparse | None, Sparse | None],
        regularization: tuple[float, float],
    ) -> None:
        session.hold_blas()  # for the ridge regressions between half-steps
        self._session = session
        self._links = [
            None if F is None else FeatureRegression(F, problem, reg, session.run)
            for F, problem, reg in zip(features, problems, regularization, strict=True)
        ]
        self._accepted = [None if link is None else link.start for link in self._links]
        self._current: list[FeatureEffects | None] = [None, None]
        self._is_solved = [False, False]  # since β was
        self._restore()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """The session below is left by its owner."""

    @property
    def coefficients(self) -> tuple[Floats | None, Floats | None]:
        """β of users and of items after the last accepted iteration."""
        users, items = (None if linked is None else linked.coefficients for linked in self._accepted)
        return users, items

    def extrapolate(self, side: Side, beta: float) -> None:
        self._session.extrapolate(side, beta)

    def half_step(self, side: Side, solver: Solver) -> None:
        self._session.half_step(side, solver)
        self._is_solved[side] = True

    def terms(self) -> Terms:
        for side, link, before in zip(Side, self._links, self._current, strict=True):
            if self._is_solved[side] and link is not None and before is not None:
                self._set(side, link.solved(self._session.rows(side), before))
        self._is_solved = [False, False]
        of_features = sum(
            link.penalty(linked)
            for link, linked in zip(self._links, self._current, strict=True)
            if link is not None and linked is not None
        )
        return self._session.terms()._replace(features=of_features)

    def accept(self) -> None:
        self._session.accept()
        self._accepted = list(self._current)

    def undo(self) -> None:
        self._session.undo()
        self._restore()

    def factors(self) -> tuple[Factors, Factors]:
        return self._session.factors()

    def _restore(self) -> None:
        self._is_solved = [False, False]
        for side in Side:
            self._set(side, self._accepted[side])

    def _set(self, side: Side, linked: FeatureEffects | None) -> None:
        self._current[side] = linked
        self._session.set_prior(side, None if linked is None else linked.prior)


@dataclass(frozen=True, eq=False)
class FittedFeatures:
    """What the users of a fitted model are linked to, and how others are.

    Attributes
    ----------
    given : SideInformation
        The features that were given of the model's users.
    coefficients : ndarray of shape (n_features, unknowns)
        β: of the items in a user's bag first, if there are bags; without rows where only items are linked.
    """

    given: SideInformation
    coefficients: Floats

    @property
    def of_bags(self) -> Floats:
        """Those rows of β that are of the items in a user's bag."""
        return self.coefficients[: len(self.coefficients) - self.given.matrix.shape[1]]

    @property
    def of_given(self) -> Floats:
        """The other rows of β."""
        return self.coefficients[len(self.of_bags) :]

    def of_others(self, data: Interactions, user_features: Any) -> FittedFeatures:
        """Link the users of other data in the same way.

        Raises
        ------
        DataError
            If their features are not like those of the fit.
        """
        return replace(self, given=self.given.encode_others(data.users, user_features))

    def prior(self, data: Interactions) -> Prior | None:
        """What these users are drawn to; None where users are not linked."""
        F = self.given.with_implicit(data.by_user, data.n_items, implicit=len(self.of_bags) > 0)
        return None if F is None else Prior.around(F @ self.coefficients)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """All of it as arrays, for a file."""
        arrays = self.given.to_arrays() | {"coefficients": self.coefficients}
        return {f"{PREFIX}{name}": array for name, array in arrays.items()}

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, NDArray[Any]], n_users: int, n_items: int, unknowns: tuple[int, ...]
    ) -> FittedFeatures | None:
        """Take arrays from a file, None if there are none; ValueError if they do not fit the rest of the model.

        `unknowns` are what a row may have.
        """
        ours = {name.removeprefix(PREFIX): array for name, array in arrays.items() if name.startswith(PREFIX)}
        if not ours:
            return None
        B = ours.pop("coefficients", np.empty(0))
        given = SideInformation.from_arrays(ours, "user", n_users)
        width = given.matrix.shape[1]
        if B.dtype != np.float64 or B.shape not in product((width, width + n_items), unknowns):
            raise ValueError(f"its link of shape {B.shape} does not fit {width} features and {n_items} items")
        if not np.isfinite(B).all():
            raise ValueError("its link is not all finite")
        return cls(given, B)


def exact_solver(given: Solver | str, resolved: Solver) -> Cholesky:
    """Return the exact solver for a fit with side information, which no other supports.

    Raises
    ------
    ParameterError
        If another one was set.
    """
    if isinstance(resolved, Cholesky):
        return resolved
    if given != "auto":
        raise ParameterError(
            f"solver={given!r} does not support side information: set solver='auto', or omit the side information"
        )
    return Cholesky()
