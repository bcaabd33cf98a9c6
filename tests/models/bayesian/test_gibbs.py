"""Half-steps with a prior and noise, conditional distributions, and the Markov chain of the Gibbs sampler."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.sparse import csr_array

import halfstep as hs
import reference
from halfstep.models.bayesian.feature_regression import SampledRegression
from halfstep.models.bayesian.gibbs import Chain
from halfstep.models.bayesian.hyperpriors import (
    ROWS_PER_STREAM,
    Hyperparameters,
    Moments,
    NormalWishart,
    RandomStreams,
    sample_noise_precision,
)
from halfstep.objective.problem import Prior, half_problems
from halfstep.objective.regularization import RowRegularization
from halfstep.solver.cpu import CPU
from halfstep.solver.cpu_session import CPUBackend, CPUSession
from halfstep.solver.layout import empty_factors
from halfstep.solver.schedule import LEAST_SEGMENT
from settings import SETTINGS, Setting, Table
from thorough import THOROUGH, examples, only_thorough

pytestmark = pytest.mark.slow

PLAIN = next(setting for setting in SETTINGS if setting.name == "biased")
WEIGHTED = next(setting for setting in SETTINGS if setting.name == "biased-weighted")
UNBIASED = next(setting for setting in SETTINGS if setting.name == "als-wr")
MISSING = next(setting for setting in SETTINGS if setting.name == "signed-biased-missing")


def some_prior(rng: np.random.Generator, n_rows: int, K: int, *, one_mean: bool, noisy: bool) -> Prior:
    root = rng.normal(size=(K, K))
    means = rng.normal(size=(1 if one_mean else n_rows, K))
    return Prior(means, root @ root.T / K + 0.5 * np.eye(K), rng.normal(size=(n_rows, K)) if noisy else None)


def run(side, Y, prior, *, dtype: str, threads: int = 1):
    K = side.unknowns
    fixed, X = empty_factors(len(Y), K, dtype), empty_factors(len(side.indptr) - 1, K, dtype)
    fixed[:, :K] = Y
    with CPU(threads) as backend:
        loss = backend.half_step_and_loss(backend.plan(side), fixed, X, prior=prior)
    assert not X[:, K:].any(), "the padding must stay 0"
    return X[:, :K], loss


# --- half-steps


@pytest.mark.parametrize("setting", [PLAIN, WEIGHTED, UNBIASED, MISSING], ids=str)
@examples(25)
@given(
    rank=st.sampled_from([1, 3, 8, 11, 12, 16, 33, 40]),
    one_mean=st.booleans(),
    noisy=st.booleans(),
    ridge=st.sampled_from([0.0, 0.7]),
    seed=st.integers(0, 2**32 - 1),
)
def test_rows_with_prior_equal_reference(
    setting: Setting, rank: int, one_mean: bool, noisy: bool, ridge: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    table = Table(rng.random((11, 14)) < 0.4, rng.normal(size=(11, 14)))
    table.observed[0, 0], table.observed[1] = True, False
    problem = setting.problem(table, rank=rank, reg=ridge, rho=2.0)
    K = rank + setting.biases
    prior = some_prior(rng, 11, K, one_mean=one_mean, noisy=noisy)
    Y = rng.normal(size=(14, K))
    noise = np.zeros((11, K)) if prior.noise is None else prior.noise
    expected = np.empty((11, K))
    for u in range(11):
        mean = prior.means[0 if one_mean else u]
        if not table.observed[u].any():
            expected[u] = mean
            continue
        A, b = reference.system(problem, Y, u)
        ridges = problem.row_lambda[u] * np.diag([1.0] * rank + [problem.rho] * setting.biases)
        expected[u] = reference.sample_row(A + prior.precision, b + (prior.precision + ridges) @ mean, noise[u])
    for dtype, precision in (("float64", 1e-10), ("float32", 3e-3)):
        side, _ = setting.half_problems(table, rank=rank, reg=ridge, rho=2.0, dtype=dtype)
        X, loss = run(side, Y, prior, dtype=dtype)
        np.testing.assert_allclose(X, expected, atol=precision * np.abs(expected).max())
        observed, missing, _ = reference.terms(problem, X.astype(float), Y)
        np.testing.assert_allclose(loss, (observed, missing), rtol=precision, atol=precision)


def test_long_rows_use_prior_and_noise() -> None:
    rng = np.random.default_rng(1)
    n, k = 2 * LEAST_SEGMENT + 10, 4
    data = hs.Interactions.from_arrays(np.r_[np.arange(n), 0], np.r_[np.zeros(n, int), 1], rng.normal(size=n + 1))
    cost = hs.Explicit(biases=True).cost(data)
    by_item = half_problems(data, cost, rank=k, regularization=RowRegularization(0.0, 0.0), dtype="float64")[1]
    prior = some_prior(rng, 2, k + 1, one_mean=True, noisy=True)
    Y = rng.normal(size=(n, k + 1))
    y = np.column_stack([Y[:, :k], np.ones(n)])
    b = y.T @ (data.values[:n] - cost.mean - Y[:, k]) + prior.precision @ prior.means[0]
    expected = reference.sample_row(y.T @ y + prior.precision, b, prior.noise[0])
    X, _ = run(by_item, Y, prior, dtype="float64", threads=2)
    np.testing.assert_allclose(X[0], expected, rtol=1e-10)


def test_without_noise_and_with_fixed_hyperparameters_equals_als_exactly() -> None:
    rng = np.random.default_rng(0)
    table = Table(rng.random((60, 40)) < 0.3, rng.integers(1, 6, (60, 40)).astype(float))
    data, k, ridge = table.interactions, 9, 1.75
    start = tuple(rng.normal(0, 0.1, (n, k)).astype(np.float32) for n in (60, 40))
    objective = hs.Explicit(biases=True)
    als = hs.ALS(
        objective,
        rank=k,
        regularization=hs.Regularization(ridge, exponent=0.0, bias_ratio=1.0),
        solver=hs.solvers.Cholesky(extrapolation=0.0, refresh_users=False),
        iterations=3,
        init=start,
    ).fit(data)
    P, Q = (empty_factors(n, k + 1, "float32") for n in (60, 40))
    P[:, :k], Q[:, :k] = start
    problems = half_problems(
        data, objective.cost(data), rank=k, regularization=RowRegularization(0.0, 0.0), dtype="float64"
    )
    fixed = Hyperparameters(np.zeros(k + 1), ridge * np.eye(k + 1), np.eye(k + 1) / np.sqrt(ridge))
    with CPUBackend(2).open(*problems, (P, Q)) as session:
        chain = Chain(
            session,
            problems,
            data=data,
            hyperprior=NormalWishart.of(k, biases=True, target_scale=1.0),
            target_scale=1.0,
            random_streams=RandomStreams(0),
        )
        chain.state = chain.state._replace(users=fixed, items=fixed, noise=1.0)
        for _ in range(3):
            chain.solve()
    np.testing.assert_array_equal(chain.state.P[:, :k], als.user_factors_)
    np.testing.assert_array_equal(chain.state.P[:, k], als.user_biases_)
    np.testing.assert_array_equal(chain.state.Q[:, :k], als.item_factors_)
    np.testing.assert_array_equal(chain.state.Q[:, k], als.item_biases_)
    assert chain.state.loss == pytest.approx(als.history_[-1].observed, rel=1e-12)  # summed in another order


# --- conditional distributions


def test_hyperparameter_samples_have_moments_of_conditional() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(7, 3)) @ rng.normal(size=(3, 3)) + [1.0, -2.0, 0.5]
    hyperprior = NormalWishart(np.array([1.0, 1.0, 4.0]))
    rows = Moments(len(X), len(X), X.sum(axis=0), X.T @ X)
    samples = [hyperprior.sample(rows, rng) for _ in range(20_000)]
    inverse = np.diag(hyperprior.scale) + (len(X) - 1) * np.cov(X.T) + 14 / 9 * np.outer(X.mean(0), X.mean(0))
    W, n = np.linalg.inv(inverse), 10  # ν0 + 7
    precisions, means = np.array([each.precision for each in samples]), np.array([each.mean for each in samples])
    error = np.sqrt(n * (W**2 + np.outer(np.diag(W), np.diag(W))) / len(samples))
    assert (np.abs(precisions.mean(axis=0) - n * W) < 4.5 * error).all()
    covariance = inverse / (n - 3 - 1)  # mean of the inverse Wishart distribution
    assert (np.abs(means.mean(axis=0) - X.sum(axis=0) / 9) < 4.5 * np.sqrt(np.diag(covariance) / 9 / 20_000)).all()
    np.testing.assert_allclose(np.cov(means.T) * 9, covariance, rtol=0.1, atol=0.1 * np.abs(covariance).max())
    for each in samples[:5]:
        np.testing.assert_allclose(each.precision @ each.covariance, np.eye(3), atol=1e-9)


def test_noise_precision_follows_gamma_distribution() -> None:
    rng = np.random.default_rng(0)
    samples = [sample_noise_precision(7.0, 5, 2.0, rng) for _ in range(5000)]
    assert stats.kstest(samples, stats.gamma(1 + 5 / 2, scale=1 / (4.0 + 7.0 / 2)).cdf).pvalue > 0.01


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_random_streams_depend_on_seed_and_purpose_only(dtype: str) -> None:
    n = 2 * ROWS_PER_STREAM + 10
    samples = []
    for seed, purpose, backwards in ((1, (1, 0), False), (1, (1, 0), True), (2, (1, 0), False), (1, (1, 1), False)):
        out = np.empty((n, 3), dtype)
        tasks = list(RandomStreams(seed).normal_tasks(out, 0.5, *purpose))
        assert len(tasks) == 3
        for task in tasks[::-1] if backwards else tasks:
            task()
        samples.append(out)
    np.testing.assert_array_equal(samples[0], samples[1])
    assert np.unique(samples[0]).size > 0.99 * n * 3
    for other in samples[2:]:
        assert abs(np.corrcoef(samples[0].ravel(), other.ravel())[0, 1]) < 0.05
    assert samples[0].std() == pytest.approx(0.5, rel=0.05)


# --- Markov chain


class SmallProblem:
    """A few weighted cells, whose targets can be replaced while a chain runs."""

    def __init__(self, seed: int, n_users: int, n_items: int, k: int) -> None:
        rng = np.random.default_rng(seed)
        self.observed = rng.random((n_users, n_items)) < 0.7
        self.t = rng.normal(size=self.observed.shape)
        self.w = rng.choice([0.5, 1.0, 2.0], self.observed.shape)
        users, items = np.nonzero(self.observed)
        self.users, self.items, self.k = users, items, k
        data = hs.Interactions.from_arrays(users, items, self.t[users, items], weights=self.w[users, items])
        assert (data.n_users, data.n_items) == self.observed.shape
        cost = hs.Explicit(biases=True).cost(data)
        self.by_user, self.by_item = half_problems(
            data, cost, rank=k, regularization=RowRegularization(0.0, 0.0), dtype="float64"
        )
        self.data = data
        self.write(self.t)

    def write(self, t: np.ndarray) -> None:
        """Replace all targets, on both sides."""
        self.t = t
        users = np.repeat(np.arange(len(t)), np.diff(self.by_user.indptr))
        items = np.repeat(np.arange(t.shape[1]), np.diff(self.by_item.indptr))
        self.by_user.targets[:] = t[users, self.by_user.indices]
        self.by_item.targets[:] = t[self.by_item.indices, items]

    def features(self) -> tuple[csr_array, csr_array]:
        """Return more features than users, and fewer than items."""
        rng = np.random.default_rng(7)
        shapes = (len(self.t), len(self.t) + 2), (self.t.shape[1], 2)
        return tuple(csr_array(rng.normal(size=shape) * (rng.random(shape) < 0.6)) for shape in shapes)

    def session(self, P: np.ndarray, Q: np.ndarray) -> CPUSession:
        start = [empty_factors(len(F), self.k + 1, "float64") for F in (P, Q)]
        for F, given_rows in zip(start, (P, Q), strict=True):
            F[:, : self.k + 1] = given_rows
        return CPUBackend(1).open(self.by_user, self.by_item, tuple(start))

    def chain(self, session: CPUSession, seed: int, features=(None, None)) -> Chain:
        return Chain(
            session,
            (self.by_user, self.by_item),
            data=self.data,
            hyperprior=NormalWishart.of(self.k, biases=True, target_scale=1.0),
            target_scale=1.0,
            random_streams=RandomStreams(seed),
            features=features,
        )


def batch_error(samples: np.ndarray, batches: int = 40) -> np.ndarray:
    """Return the standard error of the mean of a chain, from batch means."""
    means = np.array([part.mean(axis=0) for part in np.array_split(samples, batches)])
    return means.std(axis=0, ddof=1) / np.sqrt(batches)


@pytest.mark.parametrize("with_features", [False, True] if THOROUGH else [False])
def test_posterior_moments_match_reference_sampler(with_features: bool) -> None:
    problem = SmallProblem(3, 5, 4, 1)
    rng = np.random.default_rng(1)
    P, Q = rng.normal(size=(5, 2)), rng.normal(size=(4, 2))
    ours, theirs = [], []
    features = problem.features() if with_features else (None, None)
    regressions = [
        None if F is None else reference.FeatureRegression(F.toarray(), np.zeros((F.shape[1], 2)), 5.0)
        for F in features
    ]

    def summary(S, noise, regs):
        return [*S.ravel(), *np.tanh(S).ravel() ** 2, np.log(noise), *np.log(regs)]

    with problem.session(P, Q) as session:
        chain = problem.chain(session, seed=4, features=features)
        for _ in range(4000):
            state = chain.sweep(overrelaxed=True)
            S = reference.dense_scores(state.P[:, :2], state.Q[:, :2])
            ours.append(summary(S, state.noise, [each.regularization for each in chain.regressions if each]))
    noise = 1.0
    for _ in range(2000):
        P, Q, noise = reference.gibbs_sweep(
            problem.t, problem.w, problem.observed, P, Q, noise, np.ones(2), rng, regressions
        )
        theirs.append(summary(reference.dense_scores(P, Q), noise, [each.reg for each in regressions if each]))
    a, b = np.array(ours)[200:], np.array(theirs)[200:]
    observed = np.tile(problem.observed.ravel(), 2)  # scores of missing cells have heavy tails
    z = (a.mean(axis=0) - b.mean(axis=0)) / np.hypot(batch_error(a), batch_error(b))
    assert np.abs(z[: len(observed)][observed]).max() < 4.0
    assert np.abs(z[len(observed) :]).max() < 4.0


def geweke_scores(starts: int, seed: int, sweeps: int = 10, *, with_features: bool = False) -> np.ndarray:
    """Return z scores of Geweke's joint distribution test (2004).

    Parameters are sampled from the prior, and data given the parameters. Alternating sweeps with new data must then
    leave the joint distribution unchanged. Many independent starts are used, because a single chain may mix slowly.
    The test quantities are bounded, because the priors have heavy tails.
    """
    k = 1
    problem = SmallProblem(0, 6, 5, k)
    rng = np.random.default_rng(seed)

    features = problem.features() if with_features else (None, None)

    def from_prior(regressions):
        F = []
        for n, regression, f in zip((6, 5), regressions, features, strict=True):
            normals = rng.normal(size=(k + 1, k + 1))
            precision = normals @ normals.T  # Wishart with K degrees of freedom
            mean, zero = rng.multivariate_normal(np.zeros(k + 1), np.linalg.inv(2.0 * precision)), np.zeros(k + 1)
            if regression is not None:
                regression.regularization = 5.0 * rng.gamma(1.0)
                covariance = np.linalg.inv(regression.regularization * precision)
                regression.coefficients = rng.multivariate_normal(zero, covariance, f.shape[1])
                regression.fitted = f @ regression.coefficients
                mean = mean + regression.fitted
            F.append(mean + rng.multivariate_normal(zero, np.linalg.inv(precision), n))
        return *F, rng.gamma(1.0)

    def data_given(P, Q, noise):
        return reference.dense_scores(P, Q) + rng.normal(size=problem.w.shape) / np.sqrt(noise * problem.w)

    def summary(P, Q, noise, t, regressions):
        S = reference.dense_scores(P, Q)
        sizes = [np.log(np.abs(F.mean(axis=0)) / F.std(axis=0)) for F in (P, Q)]
        spreads = [np.log(F.std(axis=0)) for F in (P, Q)]
        errors = np.log(np.mean(problem.w * (t - S) ** 2) * noise)
        numbers = [P[0], Q[0], S[0, :2], np.log(np.abs(S[1])), *sizes, *spreads, [np.log(noise), errors]]
        for regression in filter(None, regressions):
            B = regression.coefficients
            log_reg = np.log(regression.regularization)
            numbers += [B[0], [log_reg - 1.5, np.log(np.abs(B).mean())], regression.fitted[0]]
        return np.tanh(np.concatenate(numbers))

    differences = []
    with problem.session(np.zeros((6, k + 1)), np.zeros((5, k + 1))) as session:
        chain = problem.chain(session, seed, features)
        for _ in range(starts):
            P, Q, noise = from_prior(chain.regressions)
            chain.state.P[:, : k + 1], chain.state.Q[:, : k + 1] = P, Q
            chain.state = chain.state._replace(noise=noise)
            problem.write(data_given(P, Q, noise))
            before, after = summary(P, Q, noise, problem.t, chain.regressions), []
            for number in range(sweeps):
                state = chain.sweep(overrelaxed=number % 2 == 0)
                P, Q = state.P[:, : k + 1], state.Q[:, : k + 1]
                problem.write(data_given(P, Q, state.noise))
                after.append(summary(P, Q, state.noise, problem.t, chain.regressions))
            differences.append(np.mean(after, axis=0) - before)
    d = np.array(differences)
    return d.mean(axis=0) / (d.std(axis=0, ddof=1) / np.sqrt(starts))


@pytest.mark.parametrize("with_features", [False, True] if THOROUGH else [True])
def test_sampler_passes_geweke_test(with_features: bool) -> None:
    assert np.abs(geweke_scores(400, seed=5, with_features=with_features)).max() < 4.0


@only_thorough
def test_geweke_test_detects_coefficients_of_wrong_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    given = SampledRegression.given

    def scaled(regression, X, noise):
        return given(regression, X, (noise[0], 1.2 * noise[1]))

    monkeypatch.setattr(SampledRegression, "given", scaled)
    assert np.abs(geweke_scores(300, seed=5, with_features=True)).max() > 5.0


def test_geweke_test_detects_noise_of_wrong_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    normal_tasks = RandomStreams.normal_tasks

    def scaled(streams, out, scale, *purpose):
        return normal_tasks(streams, out, 1.2 * scale, *purpose)

    monkeypatch.setattr(RandomStreams, "normal_tasks", scaled)
    assert np.abs(geweke_scores(150, seed=5)).max() > 5.0
