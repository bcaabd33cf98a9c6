"""Bayesian matrix factorization by Gibbs sampling: the estimator and its parameters."""

from __future__ import annotations

import time
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike

from halfstep._support.blocks import is_repeated
from halfstep._support.checks import as_generator, check_flag, check_integer, check_random_state, check_threads
from halfstep._support.interrupts import allowed
from halfstep._support.memory import check_rank
from halfstep._support.progress import progress_bar, warn_of_interruption
from halfstep.data import Interactions, interactions_to_fit
from halfstep.data.side_information import read_features
from halfstep.errors import NumericalError, ParameterError
from halfstep.models.bayesian.gibbs import Chain
from halfstep.models.bayesian.hyperpriors import NormalWishart, RandomStreams
from halfstep.models.bayesian.ordinal import Ratings, latent_cost
from halfstep.models.bayesian.sampled_model import NO_REGULARIZATION, SampledModel
from halfstep.models.bayesian.samples import NO_CATEGORIES, SampledFactorization, Samples, SideSamples
from halfstep.models.bayesian.sweeps import Sweep
from halfstep.models.factor_model import FactorModel
from halfstep.models.fitted_attribute import FittedAttribute
from halfstep.models.initial_factors import starting_factors
from halfstep.models.poor_fit import warn_of_equal_targets, warn_of_few_samples
from halfstep.models.storage import NotStored
from halfstep.objective.cost import Cost
from halfstep.objective.objective import Explicit
from halfstep.objective.problem import half_problems
from halfstep.solver.cpu import CPU
from halfstep.solver.cpu_session import CPUBackend
from halfstep.solver.layout import Factors

if TYPE_CHECKING:
    from halfstep.data.side_information import Sparse

FLOAT64_RANK = 11  # up to which systems are accumulated in registers, and float64 takes hardly more time


@dataclass(eq=False, repr=False)
class BayesianALS(SampledModel):
    """Bayesian matrix factorization by Gibbs sampling (Salakhutdinov & Mnih 2008).

    The means and precisions of the factors of users and of items, and the precision τ of the noise, are sampled along
    with the factors: no regularization has to be tuned, and predictions have intervals. A sweep is an iteration of
    ALS in which rows are sampled around their solutions:

        t_ui ~ N(μ + b_u + b_i + p_u·q_i, 1 / (τ w_ui)),   [p_u | b_u] ~ N(x̄, Λ⁻¹),   [q_i | b_i] ~ N(ȳ, Γ⁻¹),

    with a Normal–Wishart hyperprior on the mean and precision of each side, and τ ~ Gamma(1, 1). Both are defined for
    targets with a standard deviation of 1 (without biases, a root mean square of 1), and are rescaled to the data. A
    prediction is the mean of the scores over all samples.

    With side information, features f_u of users or of items, rows are sampled around x̄ + βᵀ f_u, and β is sampled,
    too (Simm et al. 2017). Features are passed to `fit`, or are derived from the interactions: the items that a user
    has interacted with, and the users of an item (``implicit_features=True``).

    With ``ordinal=True``, values are ordered categories with unknown distances (ordered probit, Albert & Chib 1993).
    The targets t_ui are latent, with μ = 0 and τ w_ui = 1, and each lies between the two thresholds of its category.
    The thresholds are sampled, too, with the targets integrated out (Cowles 1996). A prediction is the mean of the
    categories, weighted by their probabilities.

    Parameters
    ----------
    objective : Explicit
        Targets, weights (an observation has the precision τ w) and biases, which are on by default. Weights of
        missing cells are not supported.
    rank : int
        The number of factors. A higher rank than necessary takes longer, but hardly reduces accuracy.
    iterations : int
        Number of sweeps, including the burn-in.
    implicit_features : bool
        Use the items of each user, and the users of each item, in the training data as side information; each of n
        features has the value n^-½. This improves accuracy if the choice of rated items is informative. Some sweeps
        take several times as long.
    ordinal : bool
        Whether the distinct values of the data, at most 100, are ordered categories, whose numerical values affect
        only the means that `predict` returns. Sweeps take four to seven times as long, and large data sets require
        more sweeps, including the burn-in. Weights and `explain` are not supported.
    burn_in : int
        Number of sweeps at the beginning whose samples are discarded.
    sample_memory : int
        Maximum size of all samples in bytes. A sample takes slightly more than 4 · (rank + 1) · (n_users + n_items),
        plus 4 · (rank + 1) for each feature of users. If the samples after the burn-in exceed it, only as many as fit
        are kept, evenly spaced; fewer than 10 cause a `PoorFitWarning`.
    init : model, or a pair of arrays, optional
        The initial state: a fitted model of the same rank, such as an `ALS`, whose factors and biases are matched by
        id; or factors of users and items by position, as in `ALS`. By default, factors are sampled from
        N(0, 0.1² / rank), in units of the square root of the standard deviation of the targets. The hyperparameters
        of users are sampled first, given their factors; then the users, given the items.
    random_state : int or numpy.random.Generator, optional
        Seed. With an int, results are bitwise reproducible for any number of threads.
    threads : int, optional
        Number of threads; by default, all cores available to the process. Does not affect the result.
    progress : bool, optional
        Whether to show a progress bar. By default, it is shown in terminals and notebooks after two seconds.

    Attributes
    ----------
    samples_ : Samples
        The posterior samples: factors and biases of users and items, their hyperparameters, and τ.
    user_factors_, item_factors_ : ndarray of shape (n_users, rank) and (n_items, rank)
        Point factors: P Qᵀ is the best approximation of this rank to the mean of the products of the samples.
        `recommend`, `similar_items` and `similar_users` use them, so their scores differ slightly from those of
        `predict`; with ``ordinal=True``, they approximate the latent targets. (Means of the factors themselves are
        not used, because samples may differ by a rotation.)
    user_biases_, item_biases_ : ndarray of shape (n_users,) and (n_items,)
        Means over the samples.
    mean_ : float
        μ, the weighted mean of the values if the objective has biases, else 0; 0 with ``ordinal=True``.
    categories_ : ndarray of shape (n_categories,)
        With ``ordinal=True``, the distinct values, ascending; else empty.
    history_ : list of Sweep
        Statistics of each sweep; ``pandas.DataFrame(model.history_)`` is a table of them.
    users_, items_ : Vocabulary
        Ids by position.

    Notes
    -----
    Users and items without observations, including unknown ids, are predicted by the prior mean of each sample; the
    prior variance widens their intervals.

    `partial_fit` is not supported, because each sample depends on all data: fit again, or `fold_in` users with new
    interactions.

    `explain` returns means over the samples; its remainder is the difference between the sampled factors of the user
    and their conditional means.

    If Ctrl-C interrupts `fit`, the model has the samples so far, and a `FitInterruptedWarning` is issued; before the
    first sample is kept, `KeyboardInterrupt` is raised.

    References
    ----------
    .. [1] R. Salakhutdinov, A. Mnih, "Bayesian probabilistic matrix factorization using Markov chain Monte Carlo",
       ICML 2008.
    .. [2] J. Simm et al., "Macau: scalable Bayesian factorization with high-dimensional side information using MCMC",
       MLSP 2017.
    .. [3] J. H. Albert, S. Chib, "Bayesian analysis of binary and polychotomous response data", JASA 1993.
    .. [4] M. K. Cowles, "Accelerating Monte Carlo Markov chain convergence for cumulative-link generalized linear
       models", Statistics and Computing 1996.

    Examples
    --------
    >>> import halfstep as hs
    >>> data = hs.Interactions.from_arrays(["ann", "ann", "bob"], ["tea", "milk", "tea"], [5.0, 1.0, 4.0])
    >>> model = hs.BayesianALS(rank=2, random_state=0).fit(data)
    >>> mean, lower, upper = model.predict(["bob"], ["milk"], interval=0.9)
    >>> bool(lower[0] < mean[0] < upper[0])
    True
    """

    objective: Explicit = field(default_factory=Explicit)
    _: KW_ONLY
    rank: int = 16
    iterations: int = 200
    implicit_features: bool = False
    ordinal: bool = False
    burn_in: int = 20
    sample_memory: int = 1 << 30
    init: FactorModel | tuple[ArrayLike, ArrayLike] | None = field(default=None, repr=False)
    random_state: int | np.random.Generator | None = None
    threads: int | None = None
    progress: bool | None = None

    history_ = FittedAttribute[list[Sweep]]()

    def _check_parameters(self) -> None:
        check_integer("rank", self.rank, minimum=1)
        check_integer("iterations", self.iterations, minimum=1)
        check_integer("burn_in", self.burn_in, minimum=0)
        check_integer("sample_memory", self.sample_memory, minimum=1)
        if self.burn_in >= self.iterations:
            raise ParameterError(
                f"burn_in={self.burn_in} is not less than iterations={self.iterations}: decrease burn_in, or "
                "increase iterations"
            )
        for name in ("implicit_features", "ordinal"):
            check_flag(name, getattr(self, name))
        check_flag("progress", self.progress, optional=True)
        check_threads(self.threads)
        check_random_state(self.random_state)
        if not isinstance(self.objective, Explicit | NotStored):
            raise ParameterError(
                f"objective={self.objective!r} is not supported by BayesianALS: give Explicit(), or use ALS"
            )
        if isinstance(self.objective, Explicit) and self.objective.missing_weight != 0:
            raise ParameterError(
                f"objective={self.objective!r} has weights of missing cells, which BayesianALS does not support: set "
                "missing_weight=0, or use ALS"
            )
        if isinstance(self.objective, Explicit) and self.objective.nonnegative:
            raise ParameterError(
                f"objective={self.objective!r} is nonnegative, which BayesianALS does not support: omit nonnegative, "
                "or use ALS"
            )
        is_pair = isinstance(self.init, tuple | list) and len(self.init) == 2
        if not (self.init is None or is_pair or isinstance(self.init, FactorModel | NotStored)):
            raise ParameterError(
                f"init is of type {type(self.init).__name__}: give a fitted model, or a pair of arrays, the user "
                "factors and the item factors"
            )

    def fit(
        self, data: Interactions | object, y: None = None, *, user_features: Any = None, item_features: Any = None
    ) -> Self:
        """Sample from the posterior. Calling `fit` again starts from scratch.

        Parameters
        ----------
        data : Interactions, scipy sparse matrix or dataframe
            Data as for `ALS.fit`.
        y : None
            Not used, present for compatibility with scikit-learn; values are a column of the data.
        user_features, item_features : dataframe or scipy sparse matrix, optional
            Side information on users or items. A dataframe has a column ``user`` or ``item`` of ids; all other
            columns are features: numbers are standardized, strings are converted to an indicator of each category, or
            of several for strings such as "Comedy|Drama", and missing values are 0. A sparse matrix has a row for
            each id, in the order of the vocabulary, and is used unchanged. Ids with features but without interactions
            become part of the model and are predicted from their features.

        Returns
        -------
        self

        Raises
        ------
        DataError
            If the data or the features are invalid; with ``ordinal=True``, also if there are more than 100 distinct
            values, or weights.
        ParameterError
            If a parameter is invalid, y is not None, `init` does not match, or `sample_memory` is too small for one
            sample.
        NumericalError
            If a sample is not finite, because of extreme values or weights.
        """
        self._check_before_fit(y)
        data = interactions_to_fit(data)
        data, of_users, features = read_features(
            data, user_features, item_features, implicit=bool(self.implicit_features)
        )
        check_rank(self.rank, data.n_users, data.n_items, itemsize=4, is_solved=True)
        cost, ratings = self.objective.cost(data), None
        if self.ordinal:
            cost, ratings = latent_cost(cost), Ratings.of(data)
        rng = as_generator(self.random_state)
        start = starting_factors(
            data, self.init, self.rank, biases=cost.biases, target_scale=_target_scale(cost), rng=rng
        )
        seed = int(rng.integers(2**63))
        try:
            dtype = "float32" if self.rank > FLOAT64_RANK else "float64"
            samples, history = self._run_chain(data, features, cost, ratings, start, seed, dtype)
        except NumericalError:
            if self.rank <= FLOAT64_RANK:
                raise
            samples, history = self._run_chain(data, features, cost, ratings, start, seed, "float64")
        with CPU(self.threads) as backend:
            backend.limit_blas()
            user_factors, item_factors = samples.point_factors(backend.run)
        self._set_result(
            SampledFactorization.fitted_now(
                data,
                mean=cost.mean,
                user_factors=user_factors,
                item_factors=item_factors,
                user_biases=samples.users.biases.mean(axis=1),
                item_biases=samples.items.biases.mean(axis=1),
                history=history,
                user_features=of_users,
                samples=samples,
            )
        )
        if ratings is None:
            warn_of_equal_targets(cost.targets)
        n_samples = self._n_samples(data, samples.user_coefficients.shape[1], samples.thresholds.shape[1])
        warn_of_few_samples(n_samples, self.iterations - self.burn_in, self.sample_memory)
        return self

    def _run_chain(
        self,
        data: Interactions,
        features: tuple[Sparse | None, Sparse | None],
        cost: Cost,
        ratings: Ratings | None,
        start: tuple[Factors, Factors],
        seed: int,
        dtype: str,
    ) -> tuple[Samples, list[Sweep]]:
        """Run a chain whose systems have the given data type."""
        n_features = 0 if features[0] is None else features[0].shape[1]
        categories = NO_CATEGORIES if ratings is None else ratings.categories
        n_thresholds = max(len(categories) - 1, 0)
        target_scale, n_samples = _target_scale(cost), self._n_samples(data, n_features, n_thresholds)
        samples = Samples(
            SideSamples.empty(data.n_users, n_samples, self.rank, data.user_counts == 0),
            SideSamples.empty(data.n_items, n_samples, self.rank, data.item_counts == 0),
            np.zeros(n_samples),
            np.zeros((n_samples, n_features, self.rank + 1), np.float32),
            np.zeros((n_samples, n_thresholds)),
            categories,
        )
        history: list[Sweep] = []
        problems = half_problems(data, cost, rank=self.rank, regularization=NO_REGULARIZATION, dtype=dtype)
        with CPUBackend(self.threads).open(*problems, start) as session:
            chain = Chain(
                session,
                problems,
                data=data,
                hyperprior=NormalWishart.of(self.rank, biases=cost.biases, target_scale=target_scale),
                target_scale=target_scale,
                random_streams=RandomStreams(seed),
                features=features,
                ratings=ratings,
            )
            kept = self._sample(chain, samples, history)
        return samples.first(kept), history

    def _sample(self, chain: Chain, samples: Samples, history: list[Sweep]) -> int:
        """Run the chain, and store samples; return their number."""
        began, kept = time.perf_counter(), 0
        sweeps = self.iterations - self.burn_in
        try:
            with progress_bar(self.progress, self.iterations, "BayesianALS") as bar:
                for iteration in range(1, self.iterations + 1):
                    state = chain.sweep(overrelaxed=iteration > self.burn_in)
                    line = Sweep.of(iteration, chain, self.rank, time.perf_counter() - began)
                    if (iteration - self.burn_in) * len(samples) // sweeps > kept:  # evenly spaced, with the last one
                        regression = chain.regressions[0]
                        samples.write(
                            kept,
                            state.P,
                            state.Q,
                            state.users,
                            state.items,
                            state.noise,
                            None if regression is None else regression.coefficients,
                            state.thresholds,
                        )
                        kept += 1
                    history.append(line)
                    with allowed():
                        bar.set_postfix_str(f"noise {line.noise**-0.5:.4g}", refresh=False)
                        bar.update()
        except KeyboardInterrupt:
            if kept == 0:
                raise
            warn_of_interruption(
                f"fit was interrupted: this is the model of {kept} samples, after {len(history)} of "
                f"{self.iterations} iterations"
            )
        return kept

    def _n_samples(self, data: Interactions, n_features: int, n_thresholds: int) -> int:
        size = Samples.bytes_per_sample(data.n_users, data.n_items, self.rank, n_features, n_thresholds)
        if size > self.sample_memory:
            raise ParameterError(
                f"sample_memory={self.sample_memory}: give at least {size:,} bytes, the size of a sample"
            )
        return min(self.iterations - self.burn_in, self.sample_memory // size)


def _target_scale(cost: Cost) -> float:
    """Return σ, the weighted root mean square of the targets; 1 if all are 0."""
    w = None if is_repeated(cost.weights) else cost.weights
    with np.errstate(over="ignore", invalid="ignore"):
        square = float(np.average(cost.targets**2, weights=w))
    if not np.isfinite(square) or square > np.finfo(np.float32).max:
        raise NumericalError(f"the mean square of the targets is {square:g}: check the data for extreme values")
    return square**0.5 if square > 0 else 1.0
