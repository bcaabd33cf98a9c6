"""Bayesian matrix factorisation: the estimator. The same half-steps as in ALS, with noise, many times over."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Self, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from halfstep._support.checks import as_generator, check_flag, check_integer, check_random_state, check_threads
from halfstep._support.interrupts import allowed
from halfstep._support.memory import check_rank
from halfstep._support.progress import progress_bar, warn_of_interruption
from halfstep.data import Interactions, as_interactions
from halfstep.data.named_rows import naming_the_row
from halfstep.data.side_information import SideInformation, read_features
from halfstep.errors import DataError, NumericalError, ParameterError
from halfstep.models.bayesian.gibbs import Chain, fold_in
from halfstep.models.bayesian.hyperpriors import NormalWishart, RandomStreams
from halfstep.models.bayesian.ordinal import Ratings, category_quantiles, latent_cost, probabilities, refuse_weights
from halfstep.models.bayesian.samples import NO_CATEGORIES, Intervals, SampledFactorization, Samples, SideSamples
from halfstep.models.bayesian.sweeps import Sweep
from halfstep.models.factor_model import FactorModel
from halfstep.models.fitted_attribute import FittedAttribute
from halfstep.models.half_step_model import HalfStepModel
from halfstep.models.initial_factors import starting_factors
from halfstep.models.poor_fit import warn_of_equal_targets
from halfstep.objective.factorization import Factorization
from halfstep.objective.objective import Cost, Explicit, is_repeated
from halfstep.objective.problem import half_problems
from halfstep.objective.regularization import RowRegularization
from halfstep.solver.cpu import CPU
from halfstep.solver.cpu_session import CPUBackend
from halfstep.solver.layout import Factors
from halfstep.solver.subset import system
from halfstep.storage import NotStored

if TYPE_CHECKING:
    from halfstep.data.side_information import Sparse

DOUBLES_UP_TO = 11  # the rank up to which systems are summed in registers, where doubles cost next to nothing
NO_RIDGE = RowRegularization(0.0, 0.0)  # the prior takes its place
PREFIX = "features."  # of the users' features in files
WORTH_THREADS = 1_000_000  # numbers that are multiplied in scoring


@dataclass(eq=False, repr=False)
class BayesianALS(HalfStepModel):
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

    samples_ = FittedAttribute[Samples]()
    categories_ = FittedAttribute[NDArray[np.float64]]()
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
            backend.hold_blas()
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

    def _linked_users(self, data: Interactions, given: SideInformation) -> Sparse | None:
        """What these users are linked to: one row of features for each."""
        return given.with_implicit(data.by_user, data.n_items, implicit=bool(self.implicit_features))

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

    @overload
    def predict(
        self,
        users: ArrayLike | Interactions,
        items: ArrayLike | None = None,
        *,
        unknown: Literal["baseline", "raise"] = "baseline",
        interval: None = None,
    ) -> NDArray[np.float64]: ...

    @overload
    def predict(
        self,
        users: ArrayLike | Interactions,
        items: ArrayLike | None = None,
        *,
        unknown: Literal["baseline", "raise"] = "baseline",
        interval: float,
    ) -> Intervals: ...

    def predict(
        self,
        users: ArrayLike | Interactions,
        items: ArrayLike | None = None,
        *,
        unknown: Literal["baseline", "raise"] = "baseline",
        interval: float | None = None,
    ) -> NDArray[np.float64] | Intervals:
        """Score pairs of a user and an item by the mean over all samples, with intervals if asked for.

        Parameters
        ----------
        users, items : array-like of ids, both of length n
            A single id on one side is paired with every id of the other. Interactions alone, in the place of
            `users`, stand for their own pairs.
        unknown : {"baseline", "raise"}
            What to do with an id that the model was not fitted on: predict from what its side is drawn around, or
            raise `UnknownIdError`.
        interval : float, optional
            The probability with which an observation of weight 1 lies between the ends, such as 0.9.

        Returns
        -------
        ndarray of shape (n,), or Intervals with ``interval``
            Means, or a tuple (mean, lower, upper) of arrays. The ends are quantiles of the predictive distribution, a
            mixture over the samples s of N(score_s, 1/τ_s); what is not known of a user or item without observations
            adds its variance. With ``ordinal=True`` means and ends are of the distribution over the categories; the
            ends are categories themselves, and no more lies beyond either than of an interval elsewhere.

        Raises
        ------
        ParameterError
            If `interval` is not between 0 and 1.
        DataError
            If `users` and `items` differ in length.
        UnknownIdError
            If an id is unknown and ``unknown="raise"``.
        """
        if interval is None:
            return super().predict(users, items, unknown=unknown)
        if not (isinstance(interval, float | np.floating) and 0 < interval < 1):
            raise ParameterError(f"interval={interval!r}: give a probability between 0 and 1, such as 0.9")
        self = self._snapshot()
        u, i = self._pairs(users, items, unknown)
        if self.samples_.is_ordinal:
            shares, tail = self._probabilities(u, i), 0.5 * (1.0 - float(interval))
            ends = (category_quantiles(shares, self.categories_, share) for share in (tail, 1.0 - tail))
            return Intervals(shares @ self.categories_, *ends)
        with self._helpers(len(u)) as backend:
            mean = self.samples_.scores(u, i, backend.run) + self.mean_
            lower, upper = self.samples_.intervals(u, i, float(interval), backend.run).T + self.mean_
        return Intervals(mean, lower, upper)

    def predict_proba(
        self,
        users: ArrayLike | Interactions,
        items: ArrayLike | None = None,
        *,
        unknown: Literal["baseline", "raise"] = "baseline",
    ) -> NDArray[np.float64]:
        """Say how likely each category is for pairs of a user and an item, of a model with ``ordinal=True``.

        Parameters
        ----------
        users, items, unknown
            As in `predict`.

        Returns
        -------
        ndarray of shape (n, n_categories)
            Of the categories in `categories_`: Φ(c_r − score) − Φ(c_{r−1} − score) in the mean over all samples. What
            is not known of a user or item without observations adds to the variance, which is 1 elsewhere.

        Raises
        ------
        ParameterError
            If the model has no categories.
        DataError
            If `users` and `items` differ in length.
        UnknownIdError
            If an id is unknown and ``unknown="raise"``.
        """
        self = self._snapshot()
        if not self.samples_.is_ordinal:
            raise ParameterError("ordinal=False: a model has categories if it was fitted with ordinal=True")
        return self._probabilities(*self._pairs(users, items, unknown))

    def _probabilities(self, u: NDArray[np.int32], i: NDArray[np.int32]) -> NDArray[np.float64]:
        with self._helpers(len(u)) as backend:
            return probabilities(self.samples_, u, i, backend.run)

    def _score(self, u: NDArray[np.int32], i: NDArray[np.int32]) -> NDArray[np.float64]:
        if self.samples_.is_ordinal:
            means: NDArray[np.float64] = self._probabilities(u, i) @ self.categories_
            return means
        with self._helpers(len(u)) as backend:
            return self.samples_.scores(u, i, backend.run) + self.mean_

    def _helpers(self, pairs: int) -> CPU:
        """Threads to score so many pairs with."""
        return CPU(self.threads if pairs * len(self.samples_) * self.rank > WORTH_THREADS else 1)

    def fold_in(
        self,
        histories: Any,
        *,
        unknown_items: Literal["ignore", "raise"] = "ignore",
        user_features: Any = None,
    ) -> Self:
        """Give the model of other users: never seen, or with a longer history, from what they have done.

        In each sample they are drawn as in `fit`, given its items, its noise, and what its users are drawn around.
        With ``ordinal=True`` they and their latent targets are drawn in turn, a few times for each sample.
        Nothing is learned about the items. The same history gives the same result, whoever else is folded in.

        Parameters
        ----------
        histories : Interactions, sparse matrix, dataframe or mapping
            As `ALS.fold_in` takes it.
        unknown_items : {"ignore", "raise"}
            What to do with an item that the model was not fitted on: leave it out, or raise `UnknownIdError`.
        user_features : dataframe or scipy sparse matrix, optional
            Of these users, if the model was fitted with `user_features`: with the same columns, of which those that
            the fit did not have are passed over, or a matrix with a row for each. Categories that are new, and users
            without features, count as missing. (Implicit features are those of the histories.)

        Returns
        -------
        BayesianALS
            A model of these users alone, which shares the items with this one. This model is unchanged.

        Raises
        ------
        DataError
            If the histories or the features are unusable, a matrix has another number of columns than the model has
            items, or an item id is of a type that no item id of the model has; with ``ordinal=True`` also if a rating
            is none of `categories_`.
        UnknownIdError
            If an item is unknown and ``unknown_items="raise"``.
        """
        self._check_parameters()
        self = self._snapshot()
        data = self._histories(histories, unknown_items)
        of_users = self._features.encode_others(data.users, user_features)
        linked = self._linked_users(data, of_users)
        side, samples, codes = self._user_problem(data), self.samples_, None
        if samples.is_ordinal:
            refuse_weights(side.weights)
            codes = Ratings.of(data, samples.categories).codes[data.by_user.order]
        work = len(samples) * (len(side.indices) * self.rank**2 + len(data.user_counts) * self.rank**3)
        with CPU(self.threads if work > WORTH_THREADS else 1) as backend, naming_the_row("user", data.users):
            users = fold_in(backend, side, samples, data.user_counts == 0, linked, codes)
            folded_samples = replace(samples, users=users)
            factors = folded_samples.user_point_factors(self.item_factors_, backend.run)
        return self._of_users(
            data, factors, users.biases.mean(axis=1), samples=folded_samples, user_features=of_users
        )

    def _contributions(self, history: Interactions, u: int, i: int) -> tuple[NDArray[np.floating], float]:
        """The same in the mean over all samples.

        What the prior says of the pair is there without any interaction, except for what it says because of one, by
        implicit features: that is part of its contribution.
        """
        samples = self.samples_
        if samples.is_ordinal:
            raise ParameterError(
                "a model with ordinal=True cannot explain: what a rating adds is not a part of the expected rating, "
                "nor is it known of latent targets; fit one with ordinal=False, whose predictions are hardly others"
            )
        side = self._user_problem(history).take(np.array([u]))
        K, items = side.unknowns, side.indices
        share = max(len(history), 1) ** -0.5 if self.implicit_features else 0.0  # each item's feature in the bag
        given, n_bagged = self._features.matrix[[u]], len(self.items_) if self.implicit_features else 0
        contributions, baseline = np.zeros(len(history)), 0.0
        for s, noise in enumerate(samples.noise):
            hyper = samples.users.hyperparameters(s, K)
            Q, c = samples.items.factors[:, s], samples.items.biases[:, s]
            y = np.append(Q[i], [1.0] * side.biases).astype(np.float64)
            prior = hyper.precision / noise
            A, Y, pull = system(side, Q, c)
            weights = np.linalg.solve(A + prior, y)
            contributions += pull * (Y @ weights)
            of_prior, coefficients = prior @ weights, samples.user_coefficients[s, :, :K].astype(np.float64)
            if share:
                contributions += share * (coefficients[items] @ of_prior)
            mean = hyper.mean + (given @ coefficients[n_bagged:])[0]
            baseline += float(mean @ of_prior) + float(c[i])
        return contributions / len(samples), baseline / len(samples)

    @property
    def _regularization(self) -> RowRegularization:
        return NO_RIDGE

    @property
    def _features(self) -> SideInformation:
        """The features of the users; without columns if they have none."""
        features = self._fitted.user_features
        assert features is not None
        return features

    def _to_arrays(self) -> dict[str, NDArray[Any]]:
        return self.samples_.to_arrays() | {f"{PREFIX}{name}": a for name, a in self._features.to_arrays().items()}

    def _from_arrays(self, fitted: Factorization, arrays: Mapping[str, NDArray[Any]]) -> SampledFactorization:
        n_users, n_items = len(fitted.users), len(fitted.items)
        of_users = {name.removeprefix(PREFIX): a for name, a in arrays.items() if name.startswith(PREFIX)}
        features = SideInformation.from_arrays(of_users, "user", n_users)
        n_features = features.matrix.shape[1] + (n_items if self.implicit_features else 0)
        drawn = {name: a for name, a in arrays.items() if not name.startswith(PREFIX)}
        samples = Samples.from_arrays(drawn, n_users, n_items, fitted.rank, n_features)
        if samples.is_ordinal != bool(self.ordinal):
            raise ValueError(f"its samples are not those of ordinal={self.ordinal}")
        return SampledFactorization.of(fitted, samples=samples, user_features=features)


def _target_scale(cost: Cost) -> float:
    """σ: how far scores have to reach from μ. The weighted root mean square of the targets; 1 if all are 0."""
    w = None if is_repeated(cost.weights) else cost.weights
    with np.errstate(over="ignore", invalid="ignore"):
        square = float(np.average(cost.targets**2, weights=w))
    if not np.isfinite(square) or square > np.finfo(np.float32).max:
        raise NumericalError(f"the mean square of the targets is {square:g}: look for extreme values")
    return square**0.5 if square > 0 else 1.0
