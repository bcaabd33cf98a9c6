"""Bayesian matrix factorisation: the estimator. The same half-steps as in ALS, with noise, many times over."""

from __future__ import annotations

import time
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike

from halfstep._support.checks import as_generator, check_flag, check_integer, check_random_state, check_threads
from halfstep._support.interrupts import allowed
from halfstep._support.memory import check_rank
from halfstep._support.progress import progress_bar, warn_of_interruption
from halfstep.data import Interactions, as_interactions
from halfstep.data.side_information import read_features
from halfstep.errors import DataError, NumericalError, ParameterError
from halfstep.models.bayesian.gibbs import Chain
from halfstep.models.bayesian.hyperpriors import NormalWishart, RandomStreams
from halfstep.models.bayesian.ordinal import Ratings, latent_cost
from halfstep.models.bayesian.sampled_model import NO_RIDGE, SampledModel
from halfstep.models.bayesian.samples import NO_CATEGORIES, SampledFactorization, Samples, SideSamples
from halfstep.models.bayesian.sweeps import Sweep
from halfstep.models.factor_model import FactorModel
from halfstep.models.fitted_attribute import FittedAttribute
from halfstep.models.initial_factors import starting_factors
from halfstep.models.poor_fit import warn_of_equal_targets
from halfstep.objective.objective import Cost, Explicit, is_repeated
from halfstep.objective.problem import half_problems
from halfstep.solver.cpu import CPU
from halfstep.solver.cpu_session import CPUBackend
from halfstep.solver.layout import Factors
from halfstep.storage import NotStored

if TYPE_CHECKING:
    from halfstep.data.side_information import Sparse

DOUBLES_UP_TO = 11  # the rank up to which systems are summed in registers, where doubles cost next to nothing


@dataclass(eq=False, repr=False)
class BayesianALS(SampledModel):
    """Bayesian matrix factorisation by Gibbs sampling (Salakhutdinov & Mnih 2008): ALS that needs no tuning.

    Users and items are drawn from normal distributions, whose means and covariances are drawn, too; so is the noise
    of the ratings. Nothing has to be regularised by hand, and predictions come with intervals. A sweep is an
    iteration of ALS in which rows are drawn around their solutions:

        t_ui ~ N(μ + b_u + b_i + p_u·q_i, 1 / (τ w_ui)),   [p_u | b_u] ~ N(x̄, Λ⁻¹),   [q_i | b_i] ~ N(ȳ, Γ⁻¹),

    with a Normal–Wishart hyperprior on either side's mean and precision and τ ~ Gamma(1, 1), stated for targets with
    a standard deviation of 1 (without biases, a root mean square of 1) and carried over to those at hand. A
    prediction is the mean of the scores over all samples.

    Where features f_u of users or of items are known, their rows are drawn around x̄ + βᵀ f_u, with β drawn, too
    (Simm et al. 2017). Features can be given to `fit`; and which items a user has rated at all, and who has rated an
    item, are features that any data have (``implicit_features=True``).

    Where ratings are categories in an order, of which nobody says how far apart they are (``ordinal=True``), t_ui is
    latent, with μ = 0 and τ w_ui = 1: a rating says between which two of some cuts it is, and these are drawn, too
    (an ordered probit: Albert & Chib 1993, with cuts drawn whatever t is, as Cowles 1996 does). A prediction is the
    mean of the ratings' values over their probabilities.

    Parameters
    ----------
    objective : Explicit
        Targets, weights (an observation has the precision τ w) and whether there are biases, which are on by default.
        Missing cells cannot be weighted.
    rank : int
        Factors per user and item. More than are needed cost time, and hardly accuracy.
    iterations : int
        Sweeps, those of the burn-in included.
    implicit_features : bool
        Link each user to the bag of items that it has in the data of the fit, and each item to its bag of users, with
        n^-½ for each of n. More accurate where what people rate says what they like; some sweeps take several times
        as long.
    ordinal : bool
        Take the distinct values of the data, 100 at most, as categories: their order counts, and not their numbers,
        other than in the means that `predict` gives. Sweeps take four to seven times as long, and where data are
        many it takes more of them, those of the burn-in included. Entries cannot be weighted, and `explain` is not
        possible.
    burn_in : int
        Sweeps at the beginning that are not kept, in which the chain finds its way.
    sample_memory : int
        Bytes that the kept samples may take; a sample takes 4 · (rank + 1) · (n_users + n_items) and a little more,
        where users' features are linked 4 · (rank + 1) for each feature, too.
        Where not all sweeps after the burn-in have room, as many as have are kept, evenly spread.
    init : model, or a pair of arrays, optional
        Where to start: a fitted model, such as an `ALS`, of the same rank, whose factors and biases are taken by id;
        or users' and items' factors by position, as in `ALS`. By default factors are drawn from N(0, 0.1² / rank),
        in units of the root of that deviation. What users have in common is drawn first, from their part; then the
        users, from the items'.
    random_state : int or numpy.random.Generator, optional
        An int gives the same bits every time, for any number of threads.
    threads : int, optional
        All cores that the process may use by default. Does not change the result.
    progress : bool, optional
        Whether to show a progress bar; by default in terminals and notebooks, where it takes more than two seconds.

    Attributes
    ----------
    samples_ : Samples
        The draws that were kept: of each the users' and items' factors and biases, what they were drawn around, τ.
    user_factors_, item_factors_ : ndarray of shape (n_users, rank) and (n_items, rank)
        Point factors: of all matrices P Qᵀ of this rank the one that is nearest to the mean of the samples' products.
        `recommend` and the lists of what is similar go by them, so scores there differ a little from what `predict`
        says; with ``ordinal=True`` they are of the latent targets. (Factors of different samples are turned against
        each other: their means mean nothing.)
    user_biases_, item_biases_ : ndarray of shape (n_users,) and (n_items,)
        Means over the samples.
    mean_ : float
        μ; the weighted mean of the values if the objective has biases, else 0. Of latent targets 0.
    categories_ : ndarray of shape (n_categories,)
        With ``ordinal=True``, the ratings that there are, ascending; else empty.
    history_ : list of Sweep
        One line per sweep; ``pandas.DataFrame(model.history_)`` is a table of them.
    users_, items_ : Vocabulary
        Ids by position.

    Notes
    -----
    A user or item without observations, unknown ids among them, has the mean of what its side is drawn around in each
    sample, and its intervals are as much wider as that leaves open.

    There is no `partial_fit`, because each sample depends on all data: fit again, or `fold_in` users with new
    interactions.

    `explain` is the mean over the samples; its remainder is what the draws of a user, as they happened to fall, leave
    of their expectation.

    Ctrl-C during `fit` leaves the model of the samples so far and warns `FitInterruptedWarning`; before the first one
    is kept it raises `KeyboardInterrupt`.

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
                f"burn_in={self.burn_in} leaves nothing of iterations={self.iterations}: lower the one or raise the "
                "other"
            )
        for name in ("implicit_features", "ordinal"):
            check_flag(name, getattr(self, name))
        check_flag("progress", self.progress, optional=True)
        check_threads(self.threads)
        check_random_state(self.random_state)
        if not isinstance(self.objective, Explicit | NotStored):
            raise ParameterError(
                f"objective={self.objective!r}: give hs.Explicit(...), for targets that are observed"
            )
        if isinstance(self.objective, Explicit) and self.objective.missing_weight != 0:
            raise ParameterError(
                f"objective={self.objective!r} weights missing cells, which are no observations: leave "
                "missing_weight at 0, or fit an ALS"
            )
        is_pair = isinstance(self.init, tuple | list) and len(self.init) == 2
        if not (self.init is None or is_pair or isinstance(self.init, FactorModel | NotStored)):
            raise ParameterError("init: give a fitted model, or a pair, the users' factors and the items'")

    def fit(
        self, data: Interactions | object, y: None = None, *, user_features: Any = None, item_features: Any = None
    ) -> Self:
        """Draw from the posterior, from scratch whatever was fitted before.

        Parameters
        ----------
        data : Interactions, scipy sparse matrix or dataframe
            As `ALS.fit` takes it.
        y : None
            Not used, present for compatibility with scikit-learn; values are a column of the data.
        user_features, item_features : dataframe or scipy sparse matrix, optional
            What is known of users, or of items, besides. A dataframe has a column ``user``, or ``item``, of ids, and
            features in all others: numbers are standardised, strings become an indicator of each category, or of
            several where an entry is such as "Comedy|Drama"; what is missing is 0. A sparse matrix has a row for each
            id, in the order of the vocabulary, and is taken as it is. Ids that have features and no entries become
            part of the model and are predicted from these.

        Returns
        -------
        self

        Raises
        ------
        DataError
            If the data or the features are unusable; with ``ordinal=True`` also if there are more than 100 distinct
            values, or weights.
        ParameterError
            If a parameter is invalid, y is not None, `init` does not match, or `sample_memory` is too small for one
            sample.
        NumericalError
            If a draw is not finite, for extreme values or weights.
        """
        self._check_before_fit(y)
        data = as_interactions(data)
        if len(data) == 0:
            raise DataError("there is nothing to fit: the data have no interactions")
        data, of_users, linked = read_features(
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
            samples, history = self._drawn(
                data, linked, cost, ratings, start, seed, in_singles=self.rank > DOUBLES_UP_TO
            )
        except NumericalError:
            if self.rank <= DOUBLES_UP_TO:
                raise
            samples, history = self._drawn(data, linked, cost, ratings, start, seed, in_singles=False)
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
        return self

    def _drawn(
        self,
        data: Interactions,
        linked: tuple[Sparse | None, Sparse | None],
        cost: Cost,
        ratings: Ratings | None,
        start: tuple[Factors, Factors],
        seed: int,
        *,
        in_singles: bool,
    ) -> tuple[Samples, list[Sweep]]:
        """Run a chain, whose systems are solved in single or in double precision."""
        n_features = 0 if linked[0] is None else linked[0].shape[1]
        categories = NO_CATEGORIES if ratings is None else ratings.categories
        n_thresholds = max(len(categories) - 1, 0)
        target_scale, n_samples = _target_scale(cost), self._n_samples(data, n_features, n_thresholds)
        dtype = "float32" if in_singles else "float64"
        samples = Samples(
            SideSamples.empty(data.n_users, n_samples, self.rank, data.user_counts == 0),
            SideSamples.empty(data.n_items, n_samples, self.rank, data.item_counts == 0),
            np.zeros(n_samples),
            np.zeros((n_samples, n_features, self.rank + 1), np.float32),
            np.zeros((n_samples, n_thresholds)),
            categories,
        )
        history: list[Sweep] = []
        problems = half_problems(data, cost, rank=self.rank, regularization=NO_RIDGE, dtype=dtype)
        with CPUBackend(self.threads).open(*problems, start) as session:
            chain = Chain(
                session,
                problems,
                data=data,
                hyperprior=NormalWishart.of(self.rank, biases=cost.biases, target_scale=target_scale),
                target_scale=target_scale,
                random_streams=RandomStreams(seed),
                features=linked,
                ratings=ratings,
            )
            kept = self._sample(chain, samples, history)
        return samples.first(kept), history

    def _sample(self, chain: Chain, samples: Samples, history: list[Sweep]) -> int:
        """Run the chain, and write down what is to be kept; return how many samples that is."""
        began, kept = time.perf_counter(), 0
        sweeps = self.iterations - self.burn_in
        try:
            with progress_bar(self.progress, self.iterations, "BayesianALS") as bar:
                for iteration in range(1, self.iterations + 1):
                    state = chain.sweep()
                    line = Sweep.of(iteration, chain, self.rank, time.perf_counter() - began)
                    if (iteration - self.burn_in) * len(samples) // sweeps > kept:  # evenly spread, and the last one
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
            raise ParameterError(f"sample_memory={self.sample_memory}: a sample of this rank takes {size:,} bytes")
        return min(self.iterations - self.burn_in, self.sample_memory // size)


def _target_scale(cost: Cost) -> float:
    """σ: how far scores have to reach from μ. The weighted root mean square of the targets; 1 if all are 0."""
    w = None if is_repeated(cost.weights) else cost.weights
    with np.errstate(over="ignore", invalid="ignore"):
        square = float(np.average(cost.targets**2, weights=w))
    if not np.isfinite(square) or square > np.finfo(np.float32).max:
        raise NumericalError(f"the mean square of the targets is {square:g}: look for extreme values")
    return square**0.5 if square > 0 else 1.0
