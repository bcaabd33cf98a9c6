"""Ordinal ratings: kernels and thresholds against references, the Markov chain by Geweke's test, the estimator."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, special, stats

import halfstep as hs
import halfstep.models.bayesian.ordinal
import reference
from halfstep.errors import DataError, ModelFileError, NotFittedError, ParameterError
from halfstep.models.bayesian.gibbs import Chain
from halfstep.models.bayesian.hyperpriors import NormalWishart, RandomStreams
from halfstep.models.bayesian.ordinal import (
    CELLS_PER_TASK,
    LatentTargets,
    Ratings,
    initial_thresholds,
    probabilities,
)
from halfstep.models.bayesian.samples import Samples, SideSamples
from halfstep.objective.problem import half_problems
from halfstep.objective.regularization import RowRegularization
from halfstep.solver.cpu import CPU
from halfstep.solver.cpu_session import CPUBackend
from halfstep.solver.kernels.ordered_probit import (
    LatentArrays,
    interval_likelihood,
    sample_latent_targets,
    sum_likelihoods,
    truncated_normal,
    uniform,
)
from halfstep.solver.layout import empty_factors
from lab.data import write_up_split
from thorough import examples, only_thorough

pytestmark = pytest.mark.slow

THRESHOLDS = np.array([-1.2, -0.9, 0.4, 1.5])  # of the generated ratings; not equidistant


def generate_ratings(seed: int = 0, n_users: int = 60, n_items: int = 45, density: float = 0.5) -> hs.Interactions:
    """Generate ratings 1 … 5 from biases and a factor, with a user and an item without ratings."""
    rng = np.random.default_rng(seed)
    observed = rng.random((n_users, n_items)) < density
    observed[-1], observed[:, -1] = False, False
    scores = 0.7 * rng.normal(size=(n_users, 1)) + 0.7 * rng.normal(size=n_items)
    scores += np.outer(rng.normal(size=n_users), rng.normal(size=n_items))
    latent = scores + rng.normal(size=scores.shape)
    users, items = np.nonzero(observed)
    values = 1.0 + np.searchsorted(THRESHOLDS, latent[users, items])
    data = hs.Interactions.from_arrays(users, items, values)
    return data.rebased(users=hs.Vocabulary(np.arange(n_users)), items=hs.Vocabulary(np.arange(n_items)))


@pytest.fixture(scope="module")
def data() -> hs.Interactions:
    return generate_ratings()


@pytest.fixture(scope="module")
def model(data: hs.Interactions) -> hs.BayesianALS:
    return hs.BayesianALS(ordinal=True, rank=2, iterations=80, burn_in=30, random_state=0).fit(data)


def run(tasks) -> None:
    for task in tasks:
        task()


# --- kernels

ends = st.one_of(st.floats(-12, 12), st.sampled_from([-1e3, -60.0, -5.0, 0.0, 5.0, 38.0, 1e4]))
intervals = st.one_of(
    st.tuples(ends, st.floats(1e-3, 30)).map(lambda pair: (pair[0], pair[0] + pair[1])),
    ends.map(lambda end: (-np.inf, end)),
    ends.map(lambda end: (end, np.inf)),
    st.just((-np.inf, np.inf)),
)


def log_interval(a: float, b: float) -> float:
    """Return log (Φ(b) − Φ(a)), computed in the lower tail to avoid cancellation."""
    if a > -b:
        a, b = -b, -a
    return special.log_ndtr(b) + np.log1p(-np.exp(special.log_ndtr(a) - special.log_ndtr(b)))


@given(ends=intervals)
def test_interval_likelihood_equals_scipy(ends: tuple[float, float]) -> None:
    a, b = ends
    log_p, at_a, at_b = interval_likelihood(a, b)
    expected = log_interval(a, b)
    assert log_p == pytest.approx(expected, rel=1e-8, abs=1e-9)
    for end, found in ((a, at_a), (b, at_b)):
        assert found == pytest.approx(np.exp(stats.norm.logpdf(end) - expected), rel=1e-6, abs=1e-12)


@given(ends=intervals, u=st.floats(1e-9, 1 - 1e-9))
def test_truncated_normal_is_quantile_function(ends: tuple[float, float], u: float) -> None:
    a, b = ends
    x = truncated_normal(a, b, u)
    assert a <= x <= b
    assert x == pytest.approx(stats.truncnorm.ppf(u, a, b), rel=1e-7, abs=1e-7)


@pytest.mark.parametrize("ends", [(-np.inf, -0.3), (-0.2, 0.9), (2.5, np.inf), (8.0, 8.2), (-np.inf, -12.0)])
def test_latent_targets_follow_truncated_normal(ends: tuple[float, float]) -> None:
    n, score = 40_000, 0.7
    targets, none = np.empty(n), np.empty(0, np.int64)
    bounds = np.concatenate([[-np.inf], np.array(ends)[np.isfinite(ends)] + score, [np.inf]])
    category = np.full(n, 0 if ends[0] == -np.inf else 1, np.uint8)
    latent = LatentArrays(targets, transposed_targets=targets[:0], transposed_positions=none, streams=none)
    sample_latent_targets(0, n, np.full(n, score), category, bounds, np.uint64(11), latent)
    expected = stats.truncnorm(*ends, loc=score)
    assert stats.kstest(targets, expected.cdf).pvalue > 1e-3
    assert targets.mean() == pytest.approx(expected.mean(), abs=4 * expected.std() / np.sqrt(n))
    assert targets.var() == pytest.approx(expected.var(), rel=0.05)


def splitmix64(key: int, n: int) -> int:
    mask = 2**64 - 1
    z = (key + (n + 1) * 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)


@given(key=st.integers(0, 2**64 - 1), n=st.integers(0, 2**31 - 1))
def test_uniform_equals_splitmix64(key: int, n: int) -> None:
    assert splitmix64(0, 0) == 0xE220A8397B1DCDAF  # as published
    u = uniform(np.uint64(key), n)
    assert u == ((splitmix64(key, n) >> 12) + 0.5) / 2**52
    assert 0.0 < u < 1.0


@given(seed=st.integers(0, 2**32 - 1), n_thresholds=st.integers(0, 6), scale=st.sampled_from([0.3, 3.0]))
@examples(30)
def test_likelihood_sums_equal_reference(seed: int, n_thresholds: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    n, step = 30, 1e-4
    bounds = np.concatenate(
        [[-np.inf], np.sort(rng.normal(size=n_thresholds)) + 0.3 * np.arange(n_thresholds), [np.inf]]
    )
    scores, categories = scale * rng.normal(size=n), rng.integers(0, n_thresholds + 1, n).astype(np.uint8)
    sums = np.empty((n_thresholds + 1, 5))
    sum_likelihoods(0, n, scores, categories, bounds, sums)
    for r in range(n_thresholds + 1):
        own = scores[categories == r]

        def log_p(lower: float, upper: float, own=own) -> float:
            return sum(log_interval(lower - s, upper - s) for s in own)

        ends = bounds[r : r + 2]
        assert sums[r, 0] == pytest.approx(log_p(*ends), rel=1e-9)
        for end in np.flatnonzero(np.isfinite(ends)):
            low, high = ends.copy(), ends.copy()
            low[end], high[end] = ends[end] - step, ends[end] + step
            below, here, above = log_p(*low), log_p(*ends), log_p(*high)
            assert sums[r, 1 + 2 * end] == pytest.approx((above - below) / (2 * step), rel=1e-4, abs=1e-5)
            assert sums[r, 2 + 2 * end] == pytest.approx((above - 2 * here + below) / step**2, rel=0.01, abs=1e-3)


def random_samples(seed: int, k: int, count: int, n_thresholds: int) -> Samples:
    rng = np.random.default_rng(seed)

    def side(n: int) -> SideSamples:
        samples = SideSamples.empty(n, count, k, rng.random(n) < 0.3)
        for array in (samples.factors, samples.biases, samples.means):
            array[...] = rng.normal(size=array.shape)
        samples.roots[...] = rng.normal(size=samples.roots.shape)
        return samples

    thresholds = np.sort(rng.normal(size=(count, n_thresholds)), axis=1)
    coefficients = np.zeros((count, 0, k + 1), np.float32)
    return Samples(side(4), side(3), np.ones(count), coefficients, thresholds, np.arange(n_thresholds + 1.0))


@given(seed=st.integers(0, 2**32 - 1), k=st.integers(1, 4), count=st.integers(1, 6), n_thresholds=st.integers(0, 5))
@examples(25)
def test_category_probabilities_equal_reference(seed: int, k: int, count: int, n_thresholds: int) -> None:
    samples = random_samples(seed, k, count, n_thresholds)
    u, i = (grid.ravel() - 1 for grid in np.meshgrid(np.arange(5), np.arange(4)))  # −1: unknown id
    found = probabilities(samples, u, i, run)
    for n in range(len(u)):
        expected = np.zeros(n_thresholds + 1)
        for s in range(count):
            x, y = (
                side.means[s].astype(float)
                if at < 0
                else np.append(side.factors[at, s], side.biases[at, s]).astype(float)
                for side, at in ((samples.users, u[n]), (samples.items, i[n]))
            )
            S, T = (side.roots[s] @ side.roots[s].T for side in (samples.users, samples.items))
            new_user, new_item = (
                at < 0 or side.is_new[at] for side, at in ((samples.users, u[n]), (samples.items, i[n]))
            )
            v, w = np.append(y[:k], 1.0), np.append(x[:k], 1.0)
            variance = 1.0 + new_user * v @ S @ v + new_item * w @ T @ w
            variance += (new_user and new_item) * np.trace(S[:k, :k] @ T[:k, :k])
            bounds = np.concatenate([[-np.inf], samples.thresholds[s], [np.inf]])
            score = x[:k] @ y[:k] + x[k] + y[k]
            expected += np.diff(stats.norm.cdf(bounds, score, np.sqrt(variance))) / count
        np.testing.assert_allclose(found[n], expected, atol=1e-12)


# --- thresholds


def latent_targets(scores: np.ndarray, codes: np.ndarray, backend: CPU) -> LatentTargets:
    """Create latent targets of one user with zero factors, where the scores are item biases."""
    data = hs.Interactions.from_arrays(np.zeros(len(scores), int), np.arange(len(scores)), scores)
    cost = replace(hs.Explicit(biases=True).cost(data), targets=np.zeros(len(scores)))
    side = half_problems(data, cost, rank=1, regularization=RowRegularization(0.0, 0.0), dtype="float64")[0]
    latent = LatentTargets(backend.run, side, codes.astype(np.uint8))
    X, Y = empty_factors(1, 2, "float64"), empty_factors(len(scores), 2, "float64")
    Y[:, 1] = scores
    latent.update_scores(X, Y)
    return latent


@pytest.mark.parametrize("codes", [[0, 0, 1, 2, 1, 0, 2, 2], [0, 0, 0], [1, 1, 1, 1, 1, 1], [0, 2, 2, 0, 2]], ids=str)
def test_threshold_samples_have_moments_of_posterior(codes: list[int]) -> None:
    """Compare two thresholds with numerical integrals; some of the three categories have no ratings."""
    scores = np.linspace(-1.5, 1.0, len(codes))

    grid = np.linspace(-6.0, 6.0, 401)
    low, high = np.meshgrid(grid, grid, indexing="ij")
    density = np.where(low < high, stats.norm.pdf(low) * stats.norm.pdf(high), 0.0)
    for score, code in zip(scores, codes, strict=True):
        below, above = stats.norm.cdf(low - score), stats.norm.cdf(high - score)
        density *= (below, above - below, 1.0 - above)[code]

    def integral(values: np.ndarray) -> float:
        return float(integrate.trapezoid(integrate.trapezoid(values * density, grid), grid))

    total = integral(np.ones_like(low))
    rng = np.random.default_rng(0)
    with CPU(1) as backend:
        latent = latent_targets(scores, np.array(codes), backend)
        thresholds, chain = initial_thresholds(latent.codes, 3), []
        for _ in range(4000):
            thresholds = latent.sample_thresholds(thresholds, rng)
            chain.append(thresholds)
    samples = np.array(chain)[100:]
    batches = np.array([part.mean(axis=0) for part in np.array_split(np.column_stack([samples, samples**2]), 40)])
    error = batches.std(axis=0, ddof=1) / np.sqrt(40)
    expected = [integral(each) / total for each in (low, high, low**2, high**2)]
    assert (np.abs(batches.mean(axis=0) - expected) < 4.0 * error + 0.005).all()


@given(
    seed=st.integers(0, 2**32 - 1),
    n_categories=st.sampled_from([1, 2, 3, 7, 100]),
    scale=st.sampled_from([0.0, 1.0, 30.0, 1e6]),
)
@examples(40)
def test_thresholds_stay_finite_and_ascending(seed: int, n_categories: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    scores, codes = scale * rng.normal(size=50), rng.integers(0, n_categories, 50)
    with CPU(1) as backend:
        latent = latent_targets(scores, codes, backend)
        thresholds = initial_thresholds(latent.codes, n_categories)
        for key in range(6):
            thresholds = latent.sample_thresholds(thresholds, rng)
            latent.sample(thresholds, np.uint64(key))
            bounds = np.concatenate([[-np.inf], thresholds, [np.inf]])
            assert np.isfinite(thresholds).all()
            assert (np.diff(bounds) > 0).all()
            targets = latent.targets[0]
            assert (bounds[codes] - 1e-6 * scale <= targets).all()
            assert (targets <= bounds[codes + 1] + 1e-6 * scale).all()


# --- Markov chain


def geweke_scores(starts: int, seed: int, sweeps: int = 10, *, overrelaxed: bool = False) -> np.ndarray:
    """Return z scores of Geweke's test, as in test_gibbs.py, with ordinal ratings as the data."""
    k, n_categories, shape = 1, 4, (6, 5)
    rng = np.random.default_rng(seed)
    users, items = np.nonzero(np.random.default_rng(0).random(shape) < 0.7)
    data = hs.Interactions.from_arrays(users, items, np.zeros(len(users)))
    assert (data.n_users, data.n_items) == shape
    cost = replace(hs.Explicit(biases=True).cost(data), targets=np.zeros(len(users)))
    problems = half_problems(data, cost, rank=k, regularization=RowRegularization(0.0, 0.0), dtype="float64")
    row_items = problems[0].indices
    row_users = np.repeat(np.arange(shape[0]), np.diff(problems[0].indptr))

    def from_prior():
        F = []
        for n in shape:
            normals = rng.normal(size=(k + 1, k + 1))
            precision = normals @ normals.T  # Wishart with K degrees of freedom
            mean = rng.multivariate_normal(np.zeros(k + 1), np.linalg.inv(2.0 * precision))
            F.append(mean + rng.multivariate_normal(np.zeros(k + 1), np.linalg.inv(precision), n))
        return *F, np.sort(rng.normal(size=n_categories - 1))

    def codes_given(P, Q, thresholds):
        S = reference.dense_scores(P, Q)
        return np.searchsorted(thresholds, S[row_users, row_items] + rng.normal(size=len(users)))

    def summary(P, Q, thresholds, ratings):
        S = reference.dense_scores(P, Q)
        spreads = [np.log(F.std(axis=0)) for F in (P, Q)]
        category_probabilities = np.bincount(ratings, minlength=n_categories) / len(ratings)
        numbers = [
            P[0],
            Q[0],
            S[0, :2],
            *spreads,
            thresholds,
            np.log(np.diff(thresholds)) + 1.0,
            category_probabilities,
            [S.mean() - thresholds[0]],
        ]
        return np.tanh(np.concatenate(numbers))

    differences = []
    P, Q = (empty_factors(n, k + 1, "float64") for n in shape)
    with CPUBackend(1).open(*problems, (P, Q)) as session:
        ratings = Ratings(np.arange(n_categories, dtype=float), np.zeros(len(users), np.uint8))
        chain = Chain(
            session,
            problems,
            data=data,
            hyperprior=NormalWishart.of(k, biases=True, target_scale=1.0),
            target_scale=1.0,
            random_streams=RandomStreams(seed),
            ratings=ratings,
        )
        for _ in range(starts):
            P, Q, thresholds = from_prior()
            chain.state.P[:, : k + 1], chain.state.Q[:, : k + 1] = P, Q
            chain.state = chain.state._replace(thresholds=thresholds)
            chain._latent_targets.codes[:] = codes = codes_given(P, Q, thresholds)
            before, after = summary(P, Q, thresholds, codes), []
            for _ in range(sweeps):
                state = chain.sweep(overrelaxed=overrelaxed)
                P, Q = state.P[:, : k + 1], state.Q[:, : k + 1]
                chain._latent_targets.codes[:] = codes = codes_given(P, Q, state.thresholds)
                after.append(summary(P, Q, state.thresholds, codes))
            differences.append(np.mean(after, axis=0) - before)
    d = np.array(differences)
    return d.mean(axis=0) / (d.std(axis=0, ddof=1) / np.sqrt(starts))


def test_sampler_passes_geweke_test() -> None:
    assert np.abs(geweke_scores(450, seed=5, overrelaxed=True)).max() < 4.0


@only_thorough
def test_geweke_test_detects_missing_threshold_prior(monkeypatch: pytest.MonkeyPatch) -> None:
    proposal = halfstep.models.bayesian.ordinal._proposal

    def without_prior(thresholds: np.ndarray, *sums: np.ndarray) -> tuple[np.ndarray, ...]:
        value, center, scale = proposal(thresholds, *sums)
        return value + 0.5 * thresholds**2, center, scale

    monkeypatch.setattr(halfstep.models.bayesian.ordinal, "_proposal", without_prior)
    assert np.abs(geweke_scores(400, seed=5)).max() > 5.0


# --- predictions


def test_recovers_generating_thresholds_and_calibrated_probabilities(data: hs.Interactions) -> None:
    train, test = hs.split_random(data, test_fraction=0.2, random_state=0)
    ordinal, plain = (
        hs.BayesianALS(ordinal=ordinal, rank=2, iterations=300, burn_in=50, random_state=0).fit(train)
        for ordinal in (True, False)
    )
    gaps = np.diff(ordinal.samples_.thresholds, axis=1)
    np.testing.assert_allclose(gaps.mean(axis=0), np.diff(THRESHOLDS), rtol=0.25)
    assert (np.abs(gaps.mean(axis=0) - np.diff(THRESHOLDS)) < 4 * gaps.std(axis=0)).all()
    known = hs.keep_known(test, train, min_train_ratings=1, drop_unseen_items=True)
    errors = [hs.metrics.rmse(known.values, each.predict(known)) for each in (ordinal, plain)]
    assert errors[0] < errors[1]
    category_probabilities = ordinal.predict_proba(known)
    likelihoods = category_probabilities[np.arange(len(known)), np.searchsorted(ordinal.categories_, known.values)]
    frequencies = np.bincount(train.values.astype(int) - 1) / len(train)
    assert np.log(likelihoods).mean() > np.log(frequencies[known.values.astype(int) - 1]).mean() + 0.1
    calibration = [category_probabilities[:, r].sum() / np.sum(known.values == r + 1) for r in (0, 2, 3, 4)]
    np.testing.assert_allclose(calibration, 1.0, atol=0.25)


def test_predictions_and_intervals_match_probabilities(data: hs.Interactions, model: hs.BayesianALS) -> None:
    category_probabilities = model.predict_proba(data)
    assert category_probabilities.shape == (len(data), 5)
    np.testing.assert_allclose(category_probabilities.sum(axis=1), 1.0, rtol=1e-12)
    mean, lower, upper = model.predict(data, interval=0.8)
    np.testing.assert_allclose(mean, category_probabilities @ [1, 2, 3, 4, 5], rtol=1e-12)
    np.testing.assert_array_equal(mean, model.predict(data))
    for n in range(200):
        assert (
            category_probabilities[n, : int(lower[n])].sum()
            >= 0.1
            > category_probabilities[n, : int(lower[n]) - 1].sum()
        )
        assert category_probabilities[n, : int(upper[n])].sum() >= 0.9 - 1e-12
        assert category_probabilities[n, : int(upper[n]) - 1].sum() < 0.9
    assert np.mean((lower <= data.values) & (data.values <= upper)) >= 0.8


def test_probabilities_depend_only_on_order_of_values(data: hs.Interactions, model: hs.BayesianALS) -> None:
    values = np.array([-50.0, 0.0, 1e-3, 2.0, 1e9])
    other = hs.BayesianALS(ordinal=True, rank=2, iterations=80, burn_in=30, random_state=0).fit(
        data.with_values(values[data.values.astype(int) - 1])
    )
    np.testing.assert_array_equal(other.predict_proba(data), model.predict_proba(data))
    np.testing.assert_array_equal(other.categories_, values)


def test_recommendation_scores_correlate_with_predictions(model: hs.BayesianALS) -> None:
    listed = model.recommend(n=8)
    predicted = [model.predict(user, model.items_.ids[listed.positions[n]]) for n, user in enumerate(listed.queries)]
    correlations = [stats.spearmanr(listed.scores[n], predicted[n])[0] for n in range(len(predicted) - 1)]
    assert np.mean(correlations) > 0.9


def test_result_does_not_depend_on_threads() -> None:
    rng = np.random.default_rng(0)
    n = 3 * CELLS_PER_TASK
    users, items = rng.integers(0, 3000, n), rng.integers(0, 400, n)
    ratings = hs.Interactions.from_arrays(users, items, rng.integers(1, 6, n).astype(float), duplicates="last")
    for rank in (4, 20):
        models = [
            hs.BayesianALS(ordinal=True, rank=rank, iterations=5, burn_in=1, random_state=0, threads=t).fit(ratings)
            for t in (1, 2, 4)
        ]
        some = ratings.subset(np.arange(9000))
        for other in models[1:]:
            for name, array in models[0].samples_.to_arrays().items():
                np.testing.assert_array_equal(array, other.samples_.to_arrays()[name])
            np.testing.assert_array_equal(models[0].predict_proba(some), other.predict_proba(some))
            folded, other_folded = models[0].fold_in(some), other.fold_in(some)
            np.testing.assert_array_equal(folded.samples_.users.factors, other_folded.samples_.users.factors)


def test_unknown_users_have_higher_entropy(model: hs.BayesianALS) -> None:
    category_probabilities = model.predict_proba([9999, 59, 0], [0, 0, 0])
    np.testing.assert_array_equal(category_probabilities[0], category_probabilities[1])  # user 59 has no ratings
    entropy = -np.sum(category_probabilities * np.log(category_probabilities), axis=1)
    assert entropy[0] > entropy[2]


@examples(30)
@given(
    n_users=st.integers(1, 6),
    n_items=st.integers(1, 6),
    density=st.sampled_from([0.0, 0.3, 1.0]),
    rank=st.sampled_from([1, 2, 8, 13, 16]),
    biases=st.booleans(),
    n_values=st.sampled_from([1, 2, 5, 36]),
    seed=st.integers(0, 2**32 - 1),
)
def test_degenerate_data_gives_finite_predictions(n_users, n_items, density, rank, biases, n_values, seed) -> None:
    """Cover single ratings, single categories, empty rows, and more factors than data."""
    rng = np.random.default_rng(seed)
    observed = rng.random((n_users, n_items)) < density
    observed[0, 0] = True
    users, items = np.nonzero(observed)
    rated = hs.Interactions.from_arrays(users, items, 1.5 * rng.integers(0, n_values, len(users)) - 3.0)
    rated = rated.rebased(users=hs.Vocabulary(np.arange(n_users)), items=hs.Vocabulary(np.arange(n_items)))
    model = hs.BayesianALS(
        hs.Explicit(biases=biases), ordinal=True, rank=rank, iterations=6, burn_in=2, random_state=0
    ).fit(rated)
    pairs = np.divmod(np.arange((n_users + 1) * (n_items + 1)), n_items + 1)  # one unknown user, one unknown item
    mean, lower, upper = model.predict(*pairs, interval=0.8)
    assert np.isfinite(mean).all()
    assert (rated.values.min() - 1e-9 <= mean).all()
    assert (mean <= rated.values.max() + 1e-9).all()
    assert np.isin([lower, upper], rated.values).all()
    assert (lower <= upper).all()
    assert np.isfinite(model.user_factors_).all()
    folded = model.fold_in({"new": {0: rated.values[0]}})
    assert np.isfinite(folded.predict("new", np.arange(n_items))).all()


def test_implicit_features_and_init_work_with_ordinal_ratings(data: hs.Interactions) -> None:
    start = hs.ALS(hs.Explicit(biases=True), rank=2, random_state=0).fit(data)
    options = {"ordinal": True, "rank": 2, "iterations": 40, "random_state": 0}
    model = hs.BayesianALS(implicit_features=True, init=start, **options).fit(data)
    assert hs.metrics.rmse(data.values, model.predict(data)) < 0.9 * data.values.std()
    assert model.fold_in(data).predict(data).shape == (len(data),)


# --- folding in


def test_fold_in_samples_user_posterior(data: hs.Interactions) -> None:
    """Compare many users sampled given one posterior sample with integrals over a factor and a bias."""
    model = hs.BayesianALS(ordinal=True, rank=1, iterations=21, burn_in=20, random_state=0).fit(data)
    one, count = model.samples_, 3000

    def repeated(side: SideSamples) -> SideSamples:
        return SideSamples(
            *(np.repeat(array, count, axis=1) for array in (side.factors, side.biases)),
            *(np.repeat(array, count, axis=0) for array in (side.means, side.roots)),
            side.is_new,
        )

    many = Samples(
        repeated(one.users),
        repeated(one.items),
        np.ones(count),
        np.zeros((count, 0, 2), np.float32),
        np.repeat(one.thresholds, count, axis=0),
        one.categories,
    )
    history = data.subset((data.user_positions == 4) & (data.item_positions < 12))
    model._set_result(replace(model._fitted, samples=many))
    folded = model.fold_in(history).samples_.users
    found = np.column_stack([folded.factors[4, :, 0], folded.biases[4]]).astype(float)
    mean, root = one.users.means[0].astype(float), one.users.roots[0]
    z = np.linspace(-6, 6, 201)
    Z = np.stack(np.meshgrid(z, z, indexing="ij"), axis=-1).reshape(-1, 2)
    X = mean + Z @ root.T
    log_density = -0.5 * np.sum(Z**2, axis=1)
    bounds = np.concatenate([[-np.inf], one.thresholds[0], [np.inf]])
    for item, value in zip(history.item_positions, history.values, strict=True):
        score = X[:, 0] * one.items.factors[item, 0, 0] + X[:, 1] + one.items.biases[item, 0]
        r = int(value) - 1
        log_density += np.log(stats.norm.cdf(bounds[r + 1] - score) - stats.norm.cdf(bounds[r] - score) + 1e-300)
    weights = np.exp(log_density - log_density.max())
    expected = weights @ X / weights.sum()
    deviation = np.sqrt(weights @ (X - expected) ** 2 / weights.sum())
    assert (np.abs(found.mean(axis=0) - expected) < 5 * deviation / np.sqrt(count / 3)).all()
    np.testing.assert_allclose(found.std(axis=0), deviation, rtol=0.1)


def test_fold_in_of_training_data_approximates_predictions(data: hs.Interactions, model: hs.BayesianALS) -> None:
    folded = model.fold_in(data)
    assert np.sqrt(np.mean((folded.predict(data) - model.predict(data)) ** 2)) < 0.1
    assert folded.samples_.items is model.samples_.items
    np.testing.assert_array_equal(folded.categories_, model.categories_)


def test_fold_in_does_not_depend_on_other_users(data: hs.Interactions, model: hs.BayesianALS) -> None:
    alone = model.fold_in(data.subset(data.user_positions == 7)).samples_.users.factors[7]
    backwards = hs.Interactions.from_arrays(data.user_ids[::-1], data.item_ids[::-1], data.values[::-1])
    others = model.fold_in(data), model.fold_in(backwards)
    for other in others:
        position = other.users_.positions([7])[0]
        np.testing.assert_allclose(other.samples_.users.factors[position], alone, atol=1e-4)


def test_fold_in_without_known_items(model: hs.BayesianALS) -> None:
    assert len(model.fold_in({}).users_) == 0
    empty = model.fold_in({10**5: {99: 1.0}})
    np.testing.assert_array_equal(empty.predict(10**5, [0, 1]), model.predict(10**6, [0, 1]))


# --- errors and files


def test_invalid_input_is_refused(data: hs.Interactions, model: hs.BayesianALS) -> None:
    with pytest.raises(NotFittedError, match="no 'categories_' yet"):
        _ = hs.BayesianALS(ordinal=True).categories_
    plain = hs.BayesianALS(rank=2, iterations=3, burn_in=1).fit(data)
    assert len(plain.categories_) == 0
    with pytest.raises(ParameterError, match="fitted with ordinal=False, so it has no categories"):
        plain.predict_proba(data)
    with pytest.raises(ParameterError, match="ordinal='yes'"):
        hs.BayesianALS(ordinal="yes")
    with pytest.raises(ParameterError, match="explain does not support ordinal=True"):
        model.explain(4, 2)
    with pytest.raises(ParameterError, match="interval=90"):
        model.predict(data, interval=90)
    with pytest.raises(DataError, match=r"user 'who' has rated item 1 with 2.5: give one of .*, 1, 2, 3, 4, 5"):
        model.fold_in({"who": {0: 4.0, 1: 2.5}})
    scores = data.with_values(np.arange(len(data)) / 7)
    with pytest.raises(DataError, match=rf"there are {len(data):,} distinct values, such as 0, 0\.142857"):
        hs.BayesianALS(ordinal=True).fit(scores)
    weighted = replace(data, weights=np.where(np.arange(len(data)) == 3, 2.0, 1.0))
    with pytest.raises(DataError, match="a rating has the weight 2: ordinal=True does not support weights"):
        hs.BayesianALS(ordinal=True).fit(weighted)
    with pytest.raises(DataError, match=r"a rating has the weight 0\.5"):
        hs.BayesianALS(hs.Explicit(biases=True, weight=0.5), ordinal=True).fit(data)
    with pytest.raises(DataError, match="a rating has the weight 2"):
        model.fold_in(weighted)


def test_model_file_keeps_all_samples(tmp_path: Path, data: hs.Interactions, model: hs.BayesianALS) -> None:
    model.save(tmp_path / "model")
    loaded = hs.load(tmp_path / "model")
    assert loaded.ordinal
    for name, array in model.samples_.to_arrays().items():
        np.testing.assert_array_equal(array, loaded.samples_.to_arrays()[name])
    np.testing.assert_array_equal(model.predict_proba(data), loaded.predict_proba(data))
    history = {"new": {1: 4.0, 2: 1.0}}
    folded = model.fold_in(history)
    np.testing.assert_array_equal(folded.user_factors_, loaded.fold_in(history).user_factors_)
    folded.save(tmp_path / "folded")
    np.testing.assert_array_equal(folded.predict("new", [3]), hs.load(tmp_path / "folded").predict("new", [3]))


def test_bytes_per_sample_include_thresholds(data: hs.Interactions, model: hs.BayesianALS) -> None:
    size = Samples.bytes_per_sample(data.n_users, data.n_items, 2, n_thresholds=4)
    arrays = model.samples_.to_arrays()
    held = sum(array.nbytes for name, array in arrays.items() if not name.endswith("is_new") and name != "categories")
    assert held == 50 * size


def test_invalid_samples_in_model_file_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: hs.BayesianALS
) -> None:
    arrays = model.samples_.to_arrays()
    plain = {name: array for name, array in arrays.items() if name not in ("cuts", "categories")}
    for broken, message in (
        (plain, "are not those of ordinal=True"),
        (plain | {"cuts": arrays["cuts"]}, "its samples"),
        (arrays | {"cuts": arrays["cuts"][:, 1:].copy()}, "its samples"),
        (arrays | {"cuts": arrays["cuts"][:, ::-1].copy()}, "its thresholds are not finite or not ascending"),
        (arrays | {"categories": np.full(5, np.nan)}, "categories has numbers that are not finite"),
    ):
        monkeypatch.setattr(Samples, "to_arrays", lambda self, broken=broken: broken)
        model.save(tmp_path / "model")
        with pytest.raises(ModelFileError, match=message):
            hs.load(tmp_path / "model")


# --- real data


def test_accuracy_and_coverage_on_movielens_100k() -> None:
    split = write_up_split(hs.datasets.movielens_100k())
    model = hs.BayesianALS(ordinal=True, iterations=150, random_state=0).fit(split.train)
    assert hs.metrics.rmse(split.known.values, model.predict(split.known)) < 0.934
    _, lower, upper = model.predict(split.known, interval=0.9)
    assert np.mean((lower <= split.known.values) & (split.known.values <= upper)) > 0.9
