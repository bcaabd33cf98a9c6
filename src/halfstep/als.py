"""Alternating least squares: the estimator, its parameters, and the only training loop."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Literal, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from halfstep.backends.cpu import CPU
from halfstep.backends.protocol import Solver, aligned_zeros, empty_factors
from halfstep.drift import Drift, FittedDrift
from halfstep.drifting import DriftSteps
from halfstep.errors import DataError, NumericalError, ParameterError
from halfstep.half_step_model import HalfStepModel, naming_the_row
from halfstep.interactions import Interactions, as_interactions
from halfstep.objective import Explicit, Objective
from halfstep.parameters import as_generator, as_pair, check_choice, check_integer, check_number
from halfstep.progress import FitInterruptedWarning, progress_bar
from halfstep.sides import Regularization, Side, sides
from halfstep.starting import given_factors

Factors = NDArray[np.floating]

EXACT_RANK = 32  # up to which doubles, and exact solutions, cost next to nothing


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
        Σ λ_u (‖p_u‖² + ρ b_u²) + Σ λ_i (‖q_i‖² + ρ b_i²).
    seconds : float
        Since the fit began.
    drift_regularization : float
        Σ λ_u a_u² + Σ λ_ib b_ib² of biases that drift.
    """

    iteration: int
    objective: float
    observed: float
    missing: float
    regularization: float
    seconds: float
    drift_regularization: float = 0.0


class Snapshot(NamedTuple):
    """All that an iteration leaves behind; P and Q in the layout of the backends."""

    P: Factors
    Q: Factors
    history: list[Iteration]
    drift: FittedDrift | None = None


@dataclass(eq=False)
class ALS(HalfStepModel):
    """Matrix factorisation by alternating least squares.

    Minimises the objective of `halfstep.objective` by solving all users' rows while the items' are held fixed, then
    the reverse. The objective never rises.

    Parameters
    ----------
    objective : Explicit or Implicit
        What is minimised: targets, weights, missing cells, biases.
    rank : int
        Factors per user and item.
    regularization : float, or a pair of them
        λ ≥ 0, or the users' and the items': the one parameter to tune. The best value depends on the data, the
        weights and ν, and a poor one costs more than a poor rank. The default is a fair start for ratings of 1 to 5.
    regularization_exponent : float
        ν in λ_u = λ · c_u^ν, where c_u is what row u weighs (its observed cells, plus the missing ones' weights): 0
        is plain ridge regression, 1 is ALS-WR (Zhou et al. 2008) and iALS (Rendle et al. 2022).
    regularization_counts : {"cells", "observed", "positive"}
        What c_u counts: all that a row weighs; its observed cells alone; or those of them with a positive value (as
        Spark does).
    bias_regularization : float
        ρ, how much more than factors biases are regularised.
    iterations : int
        At most so many; each solves users, then items.
    tol : float
        Stop when an iteration lowers the objective by less than this fraction of it; 0 never stops early.
    solver : {"auto", "cholesky", "cg", "subspace"}
        How rows are solved: exactly, by Cholesky's factorisation; or brought nearer to their solutions from where
        they were before, by three steps of conjugate gradients or by blocks of 64 unknowns (iALS++, [4]_). That costs
        a fraction at high ranks and loses next to nothing, as the next iteration goes on from there: all end at the
        same optimum. "auto" solves exactly at ranks up to 32, where that is as fast, and takes the steps above.
    extrapolation : float
        β, how far the items are carried on in the direction in which they moved last, before the users are solved for
        them. An iteration that raises the objective is thrown away and done again without, so that it never rises.
        0.8 saves a third to a half of the iterations; 0 is plain alternation.
    finalize : {"cholesky"}, optional
        One iteration more after the last one, exact: nothing is then left of what a solver made simpler. It is a line
        of `history_`, too, and callbacks see it.
    refresh_users : bool
        Solve the users once more after the last iteration, which ended with the items. Then each user's factors are
        the best for the items' as they are, so that `fold_in` of the same history gives the same factors, and
        `explain` adds up to what `predict` says. `history_` and callbacks show the iterations before.
    init : tuple of arrays, optional
        Users' and items' factors to start from, of shapes (n_users, rank) and (n_items, rank), by position in the
        vocabularies. Otherwise drawn from N(0, 0.1² / rank). Biases start at 0. Users are solved first, so what
        counts is the items' part.
    dtype : {"float32", "float64"}
        What factors are stored in.
    system_dtype : {"auto", "float32", "float64"}
        What each row's system is summed and solved in; at least as precise as `dtype`. By default doubles where
        factors are, and at ranks up to 32, where they cost next to nothing; above, singles, and doubles for the rows
        whose systems lose their digits.
    random_state : int or numpy.random.Generator, optional
        Where the initial factors come from. An int gives the same bits every time, for any number of threads.
    threads : int, optional
        All cores that the process may use by default. Does not change the result.
    callbacks : sequence of callable
        Each is called with the model after every iteration, fitted so far; if one returns True, fitting stops.
    progress : bool, optional
        Whether to show a progress bar; by default where a person would see it and the fit takes long.

    Attributes
    ----------
    user_factors_, item_factors_ : ndarray of shape (n_users, rank) and (n_items, rank)
        P and Q. Users and items without observations have zeros.
    user_biases_, item_biases_ : ndarray of shape (n_users,) and (n_items,)
        Zeros unless the objective has biases.
    mean_ : float
        μ; the weighted mean of the values if the objective has biases, else 0.
    drift_ : FittedDrift or None
        What is added to biases at a time, if the objective has a drift.
    history_ : list of Iteration
        The objective's terms after each iteration; ``pandas.DataFrame(model.history_)`` is a table of them.
    users_, items_ : Vocabulary
        Ids by position.

    Notes
    -----
    Ctrl-C during `fit` leaves the model of the last finished iteration and warns `FitInterruptedWarning`; before
    the first one has finished it raises `KeyboardInterrupt`.

    References
    ----------
    .. [1] Y. Zhou et al., "Large-scale parallel collaborative filtering for the Netflix prize", AAIM 2008.
    .. [2] Y. Hu, Y. Koren, C. Volinsky, "Collaborative filtering for implicit feedback datasets", ICDM 2008.
    .. [3] S. Rendle et al., "Revisiting the performance of iALS on item recommendation benchmarks", RecSys 2022.
    .. [4] S. Rendle et al., "iALS++: speeding up matrix factorization with subspace optimization", arXiv:2110.14044.

    Examples
    --------
    >>> import halfstep as hs
    >>> data = hs.Interactions.from_arrays(["ann", "ann", "bob"], ["tea", "milk", "tea"], [5.0, 1.0, 4.0])
    >>> model = hs.ALS(hs.Explicit(biases=True), rank=2, random_state=0).fit(data)
    >>> model.predict(["bob"], ["milk"]).shape
    (1,)
    """

    objective: Objective = field(default_factory=Explicit)
    _: KW_ONLY
    rank: int = 16
    regularization: float | tuple[float, float] = 1.0
    regularization_exponent: float = 0.5
    regularization_counts: Literal["cells", "observed", "positive"] = "cells"
    bias_regularization: float = 1.0
    iterations: int = 20
    tol: float = 0.0
    solver: Literal["auto", "cholesky", "cg", "subspace"] = "auto"
    extrapolation: float = 0.8
    finalize: Literal["cholesky"] | None = None
    refresh_users: bool = True
    init: tuple[ArrayLike, ArrayLike] | None = field(default=None, repr=False)
    dtype: Literal["float32", "float64"] = "float32"
    system_dtype: Literal["auto", "float32", "float64"] = "auto"
    random_state: int | np.random.Generator | None = None
    threads: int | None = None
    callbacks: Sequence[Callable[[ALS], object]] = field(default=(), repr=False)
    progress: bool | None = None

    def __post_init__(self) -> None:
        check_integer("rank", self.rank, minimum=1)
        check_integer("iterations", self.iterations, minimum=1)
        for name in ("regularization_exponent", "bias_regularization", "tol", "extrapolation"):
            check_number(name, getattr(self, name))
        for strength in self._strengths:
            check_number("regularization", strength)
        check_choice("regularization_counts", self.regularization_counts, ("cells", "observed", "positive"))
        if not isinstance(self.refresh_users, bool | np.bool_):
            raise ParameterError(f"refresh_users={self.refresh_users!r}: give True or False")
        if self.threads is not None:
            check_integer("threads", self.threads, minimum=1)
        if not isinstance(self.objective, Objective):
            raise ParameterError(f"objective={self.objective!r}: give one such as Explicit() or Implicit()")
        if self.init is not None and not (isinstance(self.init, tuple | list) and len(self.init) == 2):
            raise ParameterError("init: give a pair, the users' factors and the items'")
        if callable(self.callbacks) or not all(map(callable, self.callbacks)):
            raise ParameterError("callbacks: give a list of functions, each of which takes the model")
        as_generator(self.random_state)
        check_choice("solver", self.solver, ("auto", "cholesky", "cg", "subspace"))
        if self.finalize is not None:
            check_choice("finalize", self.finalize, ("cholesky",))
        check_choice("dtype", self.dtype, ("float32", "float64"))
        check_choice("system_dtype", self.system_dtype, ("auto", "float32", "float64"))
        if (self.dtype, self.system_dtype) == ("float64", "float32"):
            raise ParameterError(
                "system_dtype='float32' is less precise than dtype='float64': raise the one or lower the other"
            )

    @property
    def _strengths(self) -> tuple[float, float]:
        return as_pair("regularization", self.regularization)

    @property
    def _solver(self) -> Solver:
        """What "auto" stands for at this rank."""
        if self.solver != "auto":
            return self.solver
        return "cg" if self.rank > EXACT_RANK else "cholesky"

    @property
    def _precision(self) -> str:
        """What the systems of a fit are solved in."""
        if self.system_dtype != "auto":
            return self.system_dtype
        return "float64" if self.dtype == "float64" or self.rank <= EXACT_RANK else "float32"

    @property
    def _regularization(self) -> Regularization:
        users, items = self._strengths
        return Regularization(
            users, items, self.regularization_exponent, self.bias_regularization, self.regularization_counts
        )

    def fit(self, data: Interactions | object) -> Self:
        """Fit the model, from scratch whatever was fitted before.

        Parameters
        ----------
        data : Interactions, scipy sparse matrix or dataframe
            A sparse matrix has users as rows; a dataframe has the columns ``user``, ``item`` and, if any,
            ``value``, ``timestamp`` and ``weight``.

        Returns
        -------
        self

        Raises
        ------
        DataError
            If the data are unusable.
        NumericalError
            If a row's system is not positive definite; the message names the user or item.
        """
        data = as_interactions(data)
        if len(data) == 0:
            raise DataError("there is nothing to fit: the data have no entries")
        cost = self.objective.cost(data)
        by_user, by_item = sides(
            data, cost, rank=self.rank, regularization=self._regularization, dtype=self._precision
        )
        start = Snapshot(*self._initial_factors(data, by_user.unknowns), [])
        with CPU(self.threads) as backend, progress_bar(self.progress, self.iterations, "ALS") as bar:
            run = Alternation(
                backend, by_user, by_item, start, solver=self._solver, extrapolation=self.extrapolation, data=data,
                drift=self.objective.drift, regularization=self._regularization,
            )  # fmt: skip
            try:
                while len(run.finished.history) < self.iterations:
                    if run.iterate():
                        bar.set_postfix_str(f"objective {run.finished.history[-1].objective:.6g}", refresh=False)
                        bar.update()
                        if self._is_done(data, cost.mean, run.finished):
                            break
                if self.finalize is not None:
                    run.finalize()
                    self._is_done(data, cost.mean, run.finished)  # for the callbacks
                if self.refresh_users:
                    run.refresh_users()
            except KeyboardInterrupt:
                if not run.finished.history:
                    raise
                warnings.warn(
                    f"fit was interrupted: this is the model after {len(run.finished.history)} of {self.iterations} "
                    "iterations",
                    FitInterruptedWarning,
                    stacklevel=2,
                )
                if self.refresh_users:
                    run.refresh_users()
        self._keep(data, cost.mean, run.finished)
        return self

    def _initial_factors(self, data: Interactions, unknowns: int) -> tuple[Factors, Factors]:
        """P and Q in the layout of the backends: ``[factors | bias | 0 …]``."""
        shapes = {"users": (data.n_users, self.rank), "items": (data.n_items, self.rank)}
        if self.init is None:
            rng = as_generator(self.random_state)
            scale = 0.1 / np.sqrt(self.rank)
            drawn = [rng.normal(0.0, scale, shape) for shape in shapes.values()]
            for factors, counts in zip(drawn, (data.user_counts, data.item_counts), strict=True):
                factors[counts == 0] = 0.0
        else:
            drawn = list(given_factors(self.init, data, self.rank))
        P, Q = (empty_factors(len(given), unknowns, self.dtype) for given in drawn)
        P[:, : self.rank], Q[:, : self.rank] = drawn
        return P, Q

    def _keep(self, data: Interactions, mean: float, finished: Snapshot) -> None:
        """Set the fitted attributes to copies: the arrays of the training loop are about to be written again."""
        k = self.rank  # without biases the column after the factors is padding, and 0 as it should be
        biases = [F[:, k].copy() if F.shape[1] > k else np.zeros(len(F), F.dtype) for F in finished[:2]]
        self._remember(
            data,
            mean=mean,
            user_factors=finished.P[:, :k].copy(),
            item_factors=finished.Q[:, :k].copy(),
            user_biases=biases[0],
            item_biases=biases[1],
            drift=finished.drift,
        )
        self.history_ = finished.history

    def _is_done(self, data: Interactions, mean: float, finished: Snapshot) -> bool:
        if self.callbacks:
            self._keep(data, mean, finished)
            # All are called, whatever the first one says; a number, such as an error rate, does not mean stop.
            answers = [callback(self) for callback in self.callbacks]
            if any(isinstance(answer, bool | np.bool_) and answer for answer in answers):
                return True
        if self.tol == 0 or len(finished.history) < 2:
            return False
        before, now = finished.history[-2].objective, finished.history[-1].objective
        return before - now < self.tol * before


class Alternation:
    """The users' half-step and the items', in turn.

    Before each users' half-step the items are carried on a little in the direction in which they moved last:

        Q + β (Q − Q before)

    A half-step solves for one side as if the other were there to stay; this looks ahead. The users and items that
    come of it are as good as any, and better if they lower the objective: else they are thrown away, and the next
    iteration starts from where the items are. So the objective never rises.

    Biases that drift take their steps before the users, from where the last kept iteration ended.

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
        extrapolation: float,
        data: Interactions,
        drift: Drift | None = None,
        regularization: Regularization,
    ) -> None:
        self.finished = start
        self._backend, self._users, self._items = backend, backend.load(by_user), backend.load(by_item)
        self._solver, self._extrapolation, self._data = solver, extrapolation, data
        self._spare = aligned_zeros(start.P.shape, start.P.dtype), aligned_zeros(start.Q.shape, start.Q.dtype)
        # What the next users' half-step takes the items for: where they are, or where they would be if they went on.
        # The latter is in the spare, which nobody needs until the items are solved.
        self._fixed = start.Q
        self._drift: DriftSteps | None = None
        if drift is not None:
            self._drift = DriftSteps(backend, self._users, self._items, data, drift, regularization)
            self.finished = start._replace(drift=self._drift.start)
        self._drifted = self.finished.drift  # what it is in the next iteration: not from the factors' random start
        self._began = time.perf_counter()

    def iterate(self) -> bool:
        """Run one iteration; False if it was thrown away."""
        P, Q = self._spare
        is_ahead = self._fixed is Q
        drift, of_drift = self._next_drift(), 0.0
        if self._drift is not None and drift is not None:
            self._drift.aim(drift)
            of_drift = self._drift.penalty(drift)
        if self._solver != "cholesky":
            P[...] = self.finished.P
            if not is_ahead:
                Q[...] = self._fixed
        with naming_the_row("user", self._data):
            self._backend.half_step(self._users, self._fixed, P, solver=self._solver)
        with naming_the_row("item", self._data):
            loss = self._backend.half_step_and_loss(self._items, P, Q, solver=self._solver)
        penalties = self._backend.penalty(self._users, P) + self._backend.penalty(self._items, Q)
        before = self.finished
        seconds = time.perf_counter() - self._began
        line = history_line(len(before.history) + 1, loss, penalties, seconds, of_drift)
        if is_ahead and self._has_risen(line):
            self._fixed = before.Q
            return False
        self._spare, self.finished = (before.P, before.Q), Snapshot(P, Q, [*before.history, line], drift)
        self._drifted = None
        self._fixed = Q
        if self._extrapolation and before.history:  # what the items moved from first was drawn at random
            ahead = before.Q
            np.subtract(Q, before.Q, out=ahead)
            ahead *= self._extrapolation
            ahead += Q
            self._fixed = ahead
        return True

    def _next_drift(self) -> FittedDrift | None:
        """What drifts in the next iteration; the same again if that is thrown away, as nothing else has changed."""
        before = self.finished
        if self._drifted is None and self._drift is not None and before.drift is not None:
            self._drifted = self._drift.improved(before.P, before.Q, before.drift)
        return self._drifted

    def finalize(self) -> None:
        """Run one iteration more, exactly, from where the items are."""
        self._solver, self._fixed = "cholesky", self.finished.Q
        self.iterate()

    def refresh_users(self) -> None:
        """Solve the users once more, exactly, for the items as they are; together with their trends."""
        if self._drift is not None and self.finished.drift is not None:
            with naming_the_row("user", self._data):
                P, drift = self._drift.solve_users(self.finished.Q, self.finished.drift, self._backend.threads)
            self.finished = self.finished._replace(P=P, drift=drift)
            return
        P, _ = self._spare
        with naming_the_row("user", self._data):
            self._backend.half_step(self._users, self.finished.Q, P)
        self._spare, self.finished = (self.finished.P, self._spare[1]), self.finished._replace(P=P)

    def _has_risen(self, line: Iteration) -> bool:
        rounding = 10 * float(np.finfo(self.finished.Q.dtype).eps)
        return line.objective > self.finished.history[-1].objective * (1 + rounding)


def history_line(
    number: int, loss: tuple[float, float], penalties: float, seconds: float, of_drift: float
) -> Iteration:
    """Add the objective up."""
    total = sum(loss) + penalties + of_drift
    if not np.isfinite(total):
        raise NumericalError(f"the objective is {total} after iteration {number}: look for extreme values or weights")
    return Iteration(number, total, *loss, penalties, seconds, of_drift)
