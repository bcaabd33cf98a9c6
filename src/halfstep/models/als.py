"""Alternating least squares: the estimator and its parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, cast, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from halfstep._support.checks import (
    as_pair,
    check_choice,
    check_flag,
    check_integer,
    check_number,
    check_random_state,
    check_threads,
)
from halfstep._support.memory import check_rank
from halfstep._support.progress import progress_bar
from halfstep.data import Interactions, as_interactions, interactions_to_fit
from halfstep.data.side_information import SideInformation, read_features
from halfstep.errors import DataError, ParameterError
from halfstep.models.als_arrays import from_arrays, to_arrays
from halfstep.models.als_features import FeatureSession
from halfstep.models.als_inputs import Fit, memory_of_fit
from halfstep.models.als_loop import Iteration, TrainingLoop, show_objective
from halfstep.models.default_regularization import default_regularization, unit_of_targets
from halfstep.models.factorization import Factorization
from halfstep.models.fitted_attribute import FittedAttribute
from halfstep.models.gramians import Gramians, gram
from halfstep.models.incremental_model import IncrementalModel
from halfstep.models.initial_factors import initial_factors, padded_factors
from halfstep.models.live_array import LiveArray
from halfstep.models.poor_fit import warn_of_equal_targets, warn_of_uneven_weights, warn_of_zero_factors
from halfstep.objective.cost import Cost
from halfstep.objective.objective import Explicit, Objective
from halfstep.objective.problem import half_problems
from halfstep.objective.regularization import Regularization, RowRegularization
from halfstep.solver.backends import BackendName, backend_of, check_backend
from halfstep.solver.layout import Factors
from halfstep.solver.session import Backend, PriorSession, Session, Side
from halfstep.solver.threads import paused
from halfstep.solvers import NAMES, Solver, check_solver

if TYPE_CHECKING:
    from halfstep.data.side_information import Sparse

Weighed = tuple[NDArray[np.float64], NDArray[np.float64]]  # weights of rows, and their Gramian
NO_GRAMIANS: Mapping[str, Weighed] = MappingProxyType({})

EXACT_RANK = 32  # up to which exact solutions in float64 take little more time
EXACT_RANKS: Mapping[BackendName, int] = MappingProxyType({"cpu": EXACT_RANK, "cuda": 256})  # of solver="auto"


@dataclass(eq=False, repr=False)
class ALS(IncrementalModel):
    """Matrix factorization by alternating least squares.

    Minimizes `objective` by solving the rows of all users while those of the items are held fixed, then the reverse.
    The objective never increases, apart from rounding errors, which are about 10⁻⁶ of its value with float32 factors.

    With side information, features f_u of users or of items, rows are shrunk towards a linear function of the
    features instead of towards 0 (Simm et al. [5]_). Their regularization becomes

        Σ_u λ_u ‖x_u − βᵀ f_u‖²_D + λ_β ‖β‖²_D,   x_u = [p_u | b_u],   D = diag(1, …, 1, ρ),

    over the rows that have observations, and β is solved for alternately with the rows. Features are passed to `fit`,
    or are derived from the interactions: the items that a user has interacted with, and the users of an item
    (``implicit_features=True``). Rows without observations are predicted from their features, and their missing cells
    are ignored.

    Parameters
    ----------
    objective : Explicit or Implicit
        The objective: targets, weights, missing cells, biases, and whether factors are nonnegative.
    rank : int, optional
        The number of factors; 0 fits biases alone. By default, the number of columns of `init` if it is given, else
        16 for `Explicit` and 64 for `Implicit`.
    regularization : float, pair of float or Regularization, optional
        λ ≥ 0, λ of users and λ of items, or a `Regularization`, which also sets how λ_u depends on the number of
        observed cells. λ is the most important parameter to tune. Let w be the mean weight of observed cells. The
        default for `Implicit` is 2.7 w, or less if the data are so sparse that all factors would be 0. The default
        for `Explicit` is 1.1 σ w, with σ the standard deviation of the values, or another multiple between 0.04 and 4
        if it gives a lower error when a small model is fitted to 90% of the observed cells and validated on the rest:
        higher values prevent factors from fitting noise if the values have little structure beyond biases, and lower
        ones suit values without noise. If ν or the counts are set, the default changes such that λ_u of a row with
        the mean number of observed cells stays the same. `regularization_` has the values used. With λ = 0, a row
        with fewer observed cells than factors has no unique solution, which raises a `NumericalError` that names the
        row and a sufficient λ.
    implicit_features : bool
        Use the items of each user, and the users of each item, in the training data as side information; each of n
        features has the value n^-½.
    iterations : int
        Maximum number of iterations; each solves users, then items.
    tol : float
        Stop if an iteration decreases the objective by less than this fraction; 0 disables early stopping.
    solver : {"auto", "cholesky", "cg", "subspace"} or solver
        How rows are solved: exactly, by Cholesky factorization, or approximately from their previous values, by three
        steps of conjugate gradients or by blocks of 64 unknowns (iALS++, [4]_); or an object of `halfstep.solvers`
        with other settings, such as the number of steps. The approximate solvers are much faster at high ranks and
        converge to the same optimum, because each iteration continues from the previous one. "auto" is "cholesky" at
        ranks up to 32 (256 on a GPU), where it is as fast, and "cg" above. With a nonnegative objective, "auto" is
        "cholesky" at any rank, and the approximate solvers are not supported.
    init : tuple of arrays, optional
        Initial factors of users and items, of shapes (n_users, rank) and (n_items, rank), by position in the
        vocabularies. By default sampled from N(0, 0.1² / rank), in units of the square root of the standard deviation
        of the values (absolute values, if nonnegative). Biases start at 0. Only the factors of the items matter,
        because users are solved first.
    dtype : {"float32", "float64"}
        The data type of factors. Systems are solved in float64 if this is float64, at ranks up to 32, if the
        objective is nonnegative, or if they are too ill-conditioned for float32.
    random_state : int or numpy.random.Generator, optional
        Seed of the initial factors. With an int, results are bitwise reproducible for any number of threads.
    threads : int, optional
        Number of threads; by default, all cores available to the process. Does not affect the result.
    backend : {"cpu", "cuda"}
        Whether to fit on the CPU, or on an NVIDIA GPU (``pip install 'halfstep[cuda12]'``), which also runs
        `recommend` and `fold_in` for many users. Side information, nonnegative objectives and ``solver="subspace"``
        are not supported on a GPU. Factors agree with those of the CPU to the precision of `dtype`.
    callbacks : sequence of callable
        Functions that are called with the model after each iteration; if one returns True, fitting stops.
    progress : bool, optional
        Whether to show a progress bar. By default, it is shown in terminals and notebooks after two seconds.

    Attributes
    ----------
    user_factors_, item_factors_ : ndarray of shape (n_users, rank) and (n_items, rank)
        P and Q, read-only. Rows of users and items without observations are 0, or predicted from their features.
    user_biases_, item_biases_ : ndarray of shape (n_users,) and (n_items,)
        Zeros unless the objective has biases.
    mean_ : float
        μ, the weighted mean of the values if the objective has biases, else 0.
    regularization_ : Regularization
        The regularization used in the fit, with all its values.
    objective_ : Explicit or Implicit
        The objective with the weight of missing cells used in the fit.
    history_ : list of Iteration
        The terms of the objective after each iteration; ``pandas.DataFrame(model.history_)`` is a table of them.
    users_, items_ : Vocabulary
        Ids by position.

    Notes
    -----
    If Ctrl-C interrupts `fit`, the model has the factors of the last finished iteration, and a
    `FitInterruptedWarning` is issued; before the end of the first iteration, `KeyboardInterrupt` is raised.

    References
    ----------
    .. [1] Y. Zhou et al., "Large-scale parallel collaborative filtering for the Netflix prize", AAIM 2008.
    .. [2] Y. Hu, Y. Koren, C. Volinsky, "Collaborative filtering for implicit feedback datasets", ICDM 2008.
    .. [3] S. Rendle et al., "Revisiting the performance of iALS on item recommendation benchmarks", RecSys 2022.
    .. [4] S. Rendle et al., "iALS++: speeding up matrix factorization with subspace optimization", arXiv:2110.14044.
    .. [5] J. Simm et al., "Macau: scalable Bayesian factorization with high-dimensional side information using MCMC",
       MLSP 2017.

    Examples
    --------
    >>> import halfstep as hs
    >>> data = hs.Interactions.from_arrays(["ann", "ann", "bob"], ["tea", "milk", "tea"], [5.0, 1.0, 4.0])
    >>> model = hs.ALS(hs.Explicit(), rank=2, random_state=0).fit(data)
    >>> model.predict(["bob"], ["milk"]).shape
    (1,)
    """

    regularization_ = FittedAttribute[Regularization]()
    history_ = FittedAttribute[list[Iteration]]()
    _NESTED: ClassVar = {"regularization": Regularization.of}

    objective: Objective = field(default_factory=Explicit)
    _: KW_ONLY
    rank: int | None = None
    regularization: float | tuple[float, float] | Regularization | None = None
    implicit_features: bool = False
    iterations: int = 20
    tol: float = 0.0
    solver: Literal["auto", "cholesky", "cg", "subspace"] | Solver = "auto"
    init: tuple[ArrayLike, ArrayLike] | None = field(default=None, repr=False)
    dtype: Literal["float32", "float64"] = "float32"
    random_state: int | np.random.Generator | None = None
    threads: int | None = None
    backend: BackendName = "cpu"
    callbacks: Sequence[Callable[[ALS], object]] = field(default=(), repr=False)
    progress: bool | None = None

    def _check_parameters(self) -> None:
        check_integer("iterations", self.iterations, minimum=1)
        check_number("tol", self.tol)
        Regularization.of(self.regularization)
        check_flag("implicit_features", self.implicit_features)
        check_flag("progress", self.progress, optional=True)
        check_threads(self.threads)
        check_choice("backend", self.backend, get_args(BackendName))
        if not isinstance(self.objective, Objective):
            raise ParameterError(f"objective={self.objective!r}: give an objective such as Explicit() or Implicit()")
        if self.rank is not None:
            check_integer("rank", self.rank, minimum=0 if self.objective.biases else 1)
        if self.init is not None and not (isinstance(self.init, tuple | list) and len(self.init) == 2):
            raise ParameterError(
                f"init is of type {type(self.init).__name__}: give a pair of arrays, the user factors and the item "
                "factors"
            )
        if not isinstance(self.callbacks, list | tuple) or not all(map(callable, self.callbacks)):
            raise ParameterError(
                f"callbacks={self.callbacks!r}: give a list of functions that take the model, or () for none"
            )
        check_random_state(self.random_state)
        check_solver(self.solver)
        check_choice("dtype", self.dtype, ("float32", "float64"))

    @property
    def _rank(self) -> int:
        if self.rank is not None:
            return self.rank
        try:
            shape = () if self.init is None else np.shape(self.init[0])
        except ValueError:  # ragged array; `fit` raises the error
            shape = ()
        return shape[1] if len(shape) == 2 else self.objective.defaults.rank

    def _unit(self, cost: Cost) -> float:
        return unit_of_targets(cost, is_centered=self.objective.defaults.is_centered)

    @property
    def _solver(self) -> Solver:
        """Return the solver, with "auto" resolved."""
        if isinstance(self.solver, Solver):
            return self.solver
        automatic = "cg" if self._rank > EXACT_RANKS[self.backend] and not self.objective.nonnegative else "cholesky"
        return NAMES[automatic if self.solver == "auto" else self.solver]()

    @property
    def _precision(self) -> str:
        """Return the data type of the systems."""
        is_exact = self.objective.nonnegative or self.dtype == "float64" or self._rank <= EXACT_RANK
        return "float64" if is_exact else "float32"

    @property
    def objective_(self) -> Objective:
        """The objective, with the weight of missing cells that `fit` has computed if none was set."""
        fitted = self._fitted_for("objective_")
        used = self.objective if fitted.objective is None else fitted.objective
        return used.with_missing_weight(fitted.missing_weight)

    @property
    def _objective(self) -> Objective:
        return self.objective_

    @property
    def _regularization(self) -> RowRegularization:
        return self.regularization_.for_rows

    def memory_of_fit(self, data: Interactions | object) -> int:
        """Return an upper bound of the memory that `fit` needs, in bytes.

        It does not include interactions in memory, Python and its libraries (about 0.3 GB), side information, or
        callbacks.

        Parameters
        ----------
        data : Interactions, scipy sparse matrix or dataframe
            As for `fit`.
        """
        self._check_parameters()
        data = as_interactions(data)
        numbers = int(self.objective.uses_values or data.has_values) + int(data.weights is not None)
        biases = bool(self.objective.biases)
        is_validated = bool(self.objective.defaults.ladder) and Regularization.of(self.regularization).pair is None
        return memory_of_fit(
            data, rank=self._rank, biases=biases, numbers=numbers, dtype=self.dtype, is_validated=is_validated
        )

    def _chosen_regularization(
        self, data: Interactions, cost: Cost, unit: float, backend: Backend
    ) -> RowRegularization:
        """Return the regularization as set, or its default for the data, for which small models may be fitted."""
        rows = self._given_regularization(unit)
        if Regularization.of(self.regularization).pair is not None:
            return rows
        return default_regularization(data, cost, self._rank, rows, self.objective.defaults, backend)

    def _given_regularization(self, unit: float) -> RowRegularization:
        """Return the regularization as set, with λ of 1 if it depends on the data."""
        given, defaults = Regularization.of(self.regularization), self.objective.defaults
        exponent, ratio = given.exponent, given.bias_ratio
        if exponent is None:
            exponent = defaults.regularization_exponent
        if ratio is None:  # biases are in the units of the targets, factors in the square roots of these
            ratio = 1 / unit if self.objective.biases else 1.0
        users, items = given.pair or (1.0, 1.0)
        return RowRegularization(users, items, exponent, ratio, given.counts)

    def fit(
        self, data: Interactions | object, y: None = None, *, user_features: Any = None, item_features: Any = None
    ) -> Self:
        """Fit the model. Calling `fit` again starts from scratch.

        Parameters
        ----------
        data : Interactions, scipy sparse matrix or dataframe
            A sparse matrix has users as rows; a dataframe has the columns ``user`` and ``item``, and optionally
            ``value``, ``timestamp`` and ``weight``.
        y : None
            Not used, present for compatibility with scikit-learn; values are a column of the data.
        user_features, item_features : dataframe or scipy sparse matrix, optional
            Side information on users or items, as in `BayesianALS.fit`. Ids with features but without interactions
            become part of the model and are predicted from their features.

        Returns
        -------
        self

        Raises
        ------
        DataError
            If the data or the features are invalid.
        ParameterError
            If a parameter is invalid, y is not None, or side information or a nonnegative objective is not supported.
        NumericalError
            If the system of a row is not positive definite; the message names the user or item.
        """
        self._check_before_fit(y)
        data = interactions_to_fit(data)
        of_users: SideInformation | None = None
        features: tuple[Sparse | None, Sparse | None] = (None, None)
        if self.implicit_features or user_features is not None or item_features is not None:
            data, of_users, features = read_features(
                data, user_features, item_features, implicit=bool(self.implicit_features)
            )
        rank = self._rank
        check_rank(rank, data.n_users, data.n_items, itemsize=np.dtype(self.dtype).itemsize, is_solved=True)
        cost = self.objective.cost(data)
        if not cost.weights.any():
            raise DataError("all observed weights are 0: give at least one positive weight")
        solver, precision = self._solver, self._precision
        if of_users is not None:
            cost = cost.without_missing_of(data.user_counts == 0, data.item_counts == 0)
        check_backend(
            self.backend, solver, has_features=of_users is not None, nonnegative=bool(self.objective.nonnegative)
        )
        unit, backend = self._unit(cost), backend_of(self.backend, self.threads)
        with progress_bar(self.progress, self.iterations, "ALS") as bar:
            used = self._chosen_regularization(data, cost, unit, backend)
            problems = half_problems(data, cost, rank=rank, regularization=used, dtype=precision)
            start = self._start(data, problems[0].unknowns, unit)
            fit = Fit(data, cost, used, of_users)
            with backend.open(*problems, start) as session:
                if of_users is None:
                    self._train(session, fit, solver, bar)
                else:
                    of_features = as_pair("features", Regularization.of(self.regularization).features)
                    with_priors = cast(PriorSession, session)  # `check_backend` refuses others
                    self._train(FeatureSession(with_priors, problems, features, of_features), fit, solver, bar)
        self._warn(cost, unit, has_features=of_users is not None)
        return self

    def _warn(self, cost: Cost, unit: float, *, has_features: bool) -> None:
        """Warn if the fitted model is probably of little use."""
        warn_of_uneven_weights(cost.weights)
        if cost.user_missing is None:
            warn_of_equal_targets(cost.targets)
        # with default regularization, zero factors were selected on held-out cells, so no warning is needed
        is_default = Regularization.of(self.regularization).pair is None and cost.biases
        if self._rank and not has_features and not is_default:
            warn_of_zero_factors(self._fitted, cost, unit, self._regularization.users)

    def _start(self, data: Interactions, unknowns: int, unit: float) -> tuple[Factors, Factors]:
        scale = unit if self.objective.defaults.is_centered else 1.0  # as published for implicit feedback
        factors = initial_factors(
            self.init, data, self._rank, scale, self.random_state, is_nonnegative=self.objective.nonnegative
        )
        return padded_factors(factors, unknowns, self.dtype)

    def _train(self, session: Session, fit: Fit, solver: Solver, bar: Any) -> None:
        """Run the training loop, and set the fitted attributes."""
        loop = TrainingLoop(session, solver, (fit.data.users, fit.data.items), dtype=self.dtype)
        grams: dict[str, Weighed] = {}

        def after() -> bool:
            show_objective(bar, loop.history)
            return self._is_stopped(session, fit, loop.history)

        loop.run(
            self.iterations,
            tol=self.tol,
            after=after,
            finish=lambda: grams.update(self._grams(fit.cost, session.factors())),
        )
        self._keep(session, fit, loop.history, grams)

    def _grams(self, cost: Cost, factors: tuple[Factors, Factors]) -> dict[str, Weighed]:
        """Return the Gramians that incremental updates start from; this is much faster than an iteration."""
        if cost.user_missing is None or cost.item_missing is None:
            return {}
        weights, k = (cost.user_missing, cost.item_missing), self._rank
        return {
            what: (m, gram(m, F[:, :k], self.threads))
            for what, m, F in zip(("user", "item"), weights, factors, strict=True)
        }

    def _keep(
        self, session: Session, fit: Fit, history: list[Iteration], grams: Mapping[str, Weighed] = NO_GRAMIANS
    ) -> None:
        """Set the fitted attributes to copies of the arrays of the training loop, which will overwrite them."""
        k = self._rank  # without biases, the next column is padding, and 0
        live, fitted, gramians = {}, {}, Gramians()
        for what, F in zip(("user", "item"), session.factors(), strict=True):
            biases = F[:, k] if F.shape[1] > k else np.zeros(len(F), F.dtype)
            for name, start in ((f"{what}_factors", F[:, :k]), (f"{what}_biases", biases)):
                live[name] = LiveArray(start).copied(len(start))
                fitted[name] = live[name].lent(len(start))
            if what in grams:
                m, G = grams[what]
                gramians.put(what, m, fitted[f"{what}_factors"], G)
        coefficients = None
        if isinstance(session, FeatureSession):
            coefficients = session.coefficients[Side.USERS]
            if coefficients is None:  # only items have features
                coefficients = np.zeros((0, k + bool(self.objective.biases)))
        result = Factorization.fitted_now(
            fit.data,
            mean=fit.cost.mean,
            history=history,
            objective=self.objective,
            regularization=Regularization.of(self.regularization).completed(fit.regularization),
            missing_weight=self.objective.default_missing_weight(fit.cost),
            user_features=fit.of_users,
            coefficients=coefficients,
            **fitted,
        )
        self._set_result(result, _live=live, _gramians=gramians)

    def _to_arrays(self) -> dict[str, NDArray[Any]]:
        return to_arrays(self._fitted, self._regularization, self._fitted_features)

    def _from_arrays(self, fitted: Factorization, arrays: Mapping[str, NDArray[Any]]) -> Factorization:
        return from_arrays(fitted, self.objective, Regularization.of(self.regularization), arrays)

    def _is_stopped(self, session: Session, fit: Fit, history: list[Iteration]) -> bool:
        """Whether a callback stops the fit."""
        if not self.callbacks:
            return False
        self._keep(session, fit, history)
        # All callbacks are called, even if the first returns True; only True stops, not other truthy values.
        with paused():
            answers = [callback(self) for callback in self.callbacks]
        return any(isinstance(answer, bool | np.bool_) and bool(answer) for answer in answers)
