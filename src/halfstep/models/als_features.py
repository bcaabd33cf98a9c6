"""Side information in a point estimate: x_u is shrunk towards βᵀ f_u instead of 0.

The regularization term Σ_u λ_u ‖x_u‖²_D with D = diag(1, …, 1, ρ) becomes

    Σ_u λ_u ‖x_u − βᵀ f_u‖²_D + λ_β ‖β‖²_D

over rows with observations. Given β, it is a prior with a mean for each row. Given the rows, β is a ridge regression
with sample weights λ_u. D cancels because it scales both terms, so the weights are the same for every target column.
Neither step increases the objective, apart from rounding errors. A row without observations is set to its mean, and
has no influence on β: its missing cells would shrink β towards 0.

This is the mean of the Gibbs sampler's conditional distribution (Simm et al. 2017), with λ_u as precision of the
rows.
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
from halfstep.errors import NumericalError
from halfstep.models.ridge import Ridge, chunked, times
from halfstep.objective.problem import HalfProblem, Prior
from halfstep.solver.layout import Factors
from halfstep.solver.session import PriorSession, Side, Terms
from halfstep.solver.threads import Run
from halfstep.solvers import Solver

if TYPE_CHECKING:
    from halfstep.data.side_information import Sparse

Floats = NDArray[np.float64]

PREFIX = "ridge_link."  # in files


class FeatureEffects(NamedTuple):
    """β of one side, and the means of its rows.

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
        """The prior with these means."""
        return Prior.around(self.means)


class FeatureRegression:
    """The regression of one side's rows on their features during a fit.

    Parameters
    ----------
    F : sparse array of shape (n_rows, n_features)
    problem : HalfProblem
        The rows are weighted by its λ_u, and biases by its ρ.
    reg : float
        λ_β.
    run : callable
        Runs tasks.

    Attributes
    ----------
    start : FeatureEffects
        All 0.
    """

    def __init__(self, F: Sparse, problem: HalfProblem, reg: float, run: Run) -> None:
        from scipy.sparse import diags_array

        self._run, self._reg = run, reg
        self._unobserved = np.flatnonzero(np.diff(problem.indptr) == 0)
        self._observed = np.flatnonzero(np.diff(problem.indptr))
        self._roots = np.sqrt(problem.regularization[self._observed].astype(np.float64))
        self._ridge = Ridge((diags_array(self._roots) @ F[self._observed]).tocsr(), run, fixed_reg=reg)
        self._chunks = chunked(F)
        self._metric = np.ones(problem.unknowns)
        if problem.biases:
            self._metric[problem.rank] = problem.bias_ratio
        self.start = FeatureEffects(
            np.zeros((F.shape[1], problem.unknowns)), np.zeros((F.shape[0], problem.unknowns))
        )

    def solved(self, X: Factors, before: FeatureEffects) -> FeatureEffects:
        """Solve β for the rows, and set rows without observations to their means.

        With ρ = 0, β of biases is 0, because biases are not regularized.
        """
        rows = X[self._observed, : len(self._metric)].astype(np.float64) * (self._metric > 0)
        if not np.isfinite(rows).all():
            raise NumericalError("the factors are not finite: check the data for extreme values or weights")
        B = self._ridge.solve(rows * self._roots[:, None], self._reg, start=before.coefficients)
        means = times(self._chunks, B, len(X), self._run)
        X[self._unobserved, : len(self._metric)] = means[self._unobserved]
        return FeatureEffects(B, means)

    def regularization_term(self, effects: FeatureEffects) -> float:
        """Return λ_β ‖β‖²_D."""
        return self._reg * float((effects.coefficients**2).sum(axis=0) @ self._metric)


class FeatureSession:
    """A session with side information, which wraps a session that supports priors.

    When the terms of the objective are computed after half-steps, β of each side with features is solved for its
    rows, and rows without observations are set to their means βᵀ f_u. These are the means of the prior of later
    half-steps.

    Parameters
    ----------
    session : PriorSession
        An open session, inside its ``with`` block.
    features : pair of sparse array, or None
        The features of the users and of the items.
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
        session.limit_blas()  # for the ridge regressions between half-steps
        self._session = session
        self._regressions = [
            None if F is None else FeatureRegression(F, problem, reg, session.run)
            for F, problem, reg in zip(features, problems, regularization, strict=True)
        ]
        self._accepted = [None if each is None else each.start for each in self._regressions]
        self._current: list[FeatureEffects | None] = [None, None]
        self._is_solved = [False, False]  # since β was solved
        self._restore()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """The wrapped session is closed by its owner."""

    @property
    def coefficients(self) -> tuple[Floats | None, Floats | None]:
        """β of users and of items after the last accepted iteration."""
        users, items = (None if each is None else each.coefficients for each in self._accepted)
        return users, items

    def extrapolate(self, side: Side, beta: float) -> None:
        self._session.extrapolate(side, beta)

    def half_step(self, side: Side, solver: Solver) -> None:
        self._session.half_step(side, solver)
        self._is_solved[side] = True

    def terms(self) -> Terms:
        for side, regression, before in zip(Side, self._regressions, self._current, strict=True):
            if self._is_solved[side] and regression is not None and before is not None:
                self._set(side, regression.solved(self._session.rows(side), before))
        self._is_solved = [False, False]
        of_features = sum(
            regression.regularization_term(effects)
            for regression, effects in zip(self._regressions, self._current, strict=True)
            if regression is not None and effects is not None
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

    def _set(self, side: Side, effects: FeatureEffects | None) -> None:
        self._current[side] = effects
        self._session.set_prior(side, None if effects is None else effects.prior)


@dataclass(frozen=True, eq=False)
class FittedFeatures:
    """The features of the users of a fitted model, and their coefficients.

    Attributes
    ----------
    given : SideInformation
        The given features of the users.
    coefficients : ndarray of shape (n_features, unknowns)
        β: first of implicit features (the items of a user), if there are any; empty if only items have features.
    """

    given: SideInformation
    coefficients: Floats

    @property
    def of_implicit(self) -> Floats:
        """The rows of β of implicit features."""
        return self.coefficients[: len(self.coefficients) - self.given.matrix.shape[1]]

    @property
    def of_given(self) -> Floats:
        """The rows of β of given features."""
        return self.coefficients[len(self.of_implicit) :]

    def of_others(self, data: Interactions, user_features: Any) -> FittedFeatures:
        """Return the same coefficients with the features of the users of other data.

        Raises
        ------
        DataError
            If their features do not match those of the fit.
        """
        return replace(self, given=self.given.encode_others(data.users, user_features))

    def prior(self, data: Interactions) -> Prior | None:
        """Return the prior of these users; None if users have no features."""
        F = self.given.with_implicit(data.by_user, data.n_items, implicit=len(self.of_implicit) > 0)
        return None if F is None else Prior.around(F @ self.coefficients)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return arrays for a model file."""
        arrays = self.given.to_arrays() | {"coefficients": self.coefficients}
        return {f"{PREFIX}{name}": array for name, array in arrays.items()}

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, NDArray[Any]], n_users: int, n_items: int, unknowns: tuple[int, ...]
    ) -> FittedFeatures | None:
        """Return features from the arrays of a model file, or None; ValueError if they do not match the model.

        `unknowns` are the possible numbers of unknowns of a row.
        """
        ours = {name.removeprefix(PREFIX): array for name, array in arrays.items() if name.startswith(PREFIX)}
        if not ours:
            return None
        B = ours.pop("coefficients", np.empty(0))
        given = SideInformation.from_arrays(ours, "user", n_users)
        width = given.matrix.shape[1]
        if B.dtype != np.float64 or B.shape not in product((width, width + n_items), unknowns):
            raise ValueError(f"coefficients of shape {B.shape} do not match {width} features and {n_items} items")
        if not np.isfinite(B).all():
            raise ValueError("coefficients of features must be finite")
        return cls(given, B)
