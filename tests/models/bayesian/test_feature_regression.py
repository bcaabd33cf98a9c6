"""Ridge regression on features, and samples of the coefficients."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array, random_array

from halfstep.models import ridge
from halfstep.models.bayesian.feature_regression import (
    EXPECTED_REGULARIZATION,
    SampledRegression,
    sample_regularization,
)
from halfstep.models.bayesian.hyperpriors import Hyperparameters
from halfstep.models.ridge import Ridge
from thorough import examples


def run(tasks) -> None:
    for task in tasks:
        task()


def features(seed: int, n_rows: int, n_features: int) -> csr_array:
    return csr_array(random_array((n_rows, n_features), density=0.3, random_state=np.random.default_rng(seed)))


@pytest.mark.parametrize("largest_basis", [ridge.LARGEST_BASIS, 0], ids=["eigenvectors", "conjugate gradients"])
@examples(25)
@given(
    seed=st.integers(0, 99),
    n_rows=st.integers(1, 40),
    n_features=st.integers(1, 40),
    n_targets=st.integers(1, 5),
    reg=st.sampled_from([1e-2, 1.0, 5.0, 1e4]),
)
def test_ridge_equals_dense_solution(
    largest_basis: int, seed: int, n_rows: int, n_features: int, n_targets: int, reg: float
) -> None:
    F = features(seed, n_rows, n_features)
    T = np.random.default_rng(seed).normal(size=(n_rows, n_targets))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ridge, "LARGEST_BASIS", largest_basis)
        patch.setattr(ridge, "TOLERANCE", 1e-12)
        solutions = [
            Ridge(F, run).solve(T, reg),
            Ridge(F, run, fixed_reg=reg).solve(T, reg),
            Ridge(F, run).solve(T, reg, start=np.ones((n_features, n_targets))),
        ]
    dense = F.toarray()
    expected = np.linalg.solve(dense.T @ dense + reg * np.eye(n_features), dense.T @ T)
    for B in solutions:
        np.testing.assert_allclose(B, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("n_rows", [10, 40])
@pytest.mark.parametrize("steps", [1, 3])
def test_conjugate_gradients_stopped_early_lower_the_objective(
    n_rows: int, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ridge, "LARGEST_BASIS", 0)
    monkeypatch.setattr(ridge, "STEPS", steps)
    F, rng = features(3, n_rows, 30), np.random.default_rng(3)
    T, start, reg = rng.normal(size=(n_rows, 4)), 0.2 * rng.normal(size=(30, 4)), 0.1

    def objective(B: np.ndarray) -> np.ndarray:
        return ((T - F @ B) ** 2).sum(axis=0) + reg * (B**2).sum(axis=0)

    solver = Ridge(F, run)
    first = solver.solve(T, reg, start=start)
    assert (objective(first) < objective(start)).all()
    assert (objective(solver.solve(T, reg, start=first)) < objective(first)).all()


def test_ill_conditioned_ridge_uses_eigenvectors() -> None:
    reg = 1e-3
    F, T = csr_array(1e6 * np.ones((20, 3))), np.random.default_rng(0).normal(size=(20, 2))
    B = Ridge(F, run, fixed_reg=reg).solve(T, reg)
    np.testing.assert_allclose(F @ B, np.tile(T.mean(axis=0), (20, 1)), rtol=1e-6)


@pytest.fixture(params=["features", "rows", "conjugate gradients"])
def n_features(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Number of features of ten rows, so that FᵀF, FFᵀ or neither is decomposed."""
    if request.param == "conjugate gradients":
        monkeypatch.setattr(ridge, "LARGEST_BASIS", 0)
        monkeypatch.setattr(ridge, "TOLERANCE", 1e-12)
    return 14 if request.param == "rows" else 6


def test_sample_without_noise_is_ridge_regression_on_observed_rows(n_features: int) -> None:
    F, rng = features(1, 15, n_features), np.random.default_rng(1)
    observed = np.arange(15) % 3 > 0
    hyper = Hyperparameters.from_root(np.array([0.5, -1.0]), np.array([[0.3, 0.0], [0.1, 0.4]]))
    X = rng.normal(size=(15, 5))  # padded, as in the solver
    regression = SampledRegression(F, observed, 2, run)
    reg = regression.regularization
    given = regression.given(X, tuple(np.zeros(shape) for shape in regression.noise_shapes))
    regression.sample(given, hyper, rng)
    dense, rows = F.toarray()[observed], X[observed, :2] - hyper.mean
    expected = np.linalg.solve(dense.T @ dense + reg * np.eye(n_features), dense.T @ rows)
    np.testing.assert_allclose(regression.coefficients, expected, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(regression.fitted, F.toarray() @ expected, rtol=1e-8, atol=1e-12)


@pytest.mark.slow
def test_coefficient_samples_have_moments_of_conditional(n_features: int) -> None:
    F, rng = features(2, 10, n_features), np.random.default_rng(2)
    hyper = Hyperparameters.from_root(np.zeros(2), np.array([[0.3, 0.0], [0.2, 0.4]]))
    X, dense = rng.normal(size=(10, 2)), F.toarray()
    samples = []
    for _ in range(4000):
        regression = SampledRegression(F, np.ones(10, bool), 2, run)
        noise = tuple(rng.normal(size=shape) for shape in regression.noise_shapes)
        regression.sample(regression.given(X, noise), hyper, rng)
        samples.append(regression.coefficients.ravel())
    A = dense.T @ dense + EXPECTED_REGULARIZATION * np.eye(n_features)
    covariance = np.kron(np.linalg.inv(A), hyper.covariance)
    deviation = np.sqrt(np.diag(covariance))
    mean = np.linalg.solve(A, dense.T @ X).ravel()
    assert np.abs((np.mean(samples, axis=0) - mean) / deviation).max() < 4.5 / np.sqrt(4000)
    np.testing.assert_allclose(
        np.cov(np.array(samples).T) / np.outer(deviation, deviation),
        covariance / np.outer(deviation, deviation),
        atol=0.12,
    )


def test_regularization_samples_have_moments_of_conditional() -> None:
    rng = np.random.default_rng(3)
    B, precision = rng.normal(size=(7, 2)), np.array([[2.0, 0.3], [0.3, 1.0]])
    rate = 1 / EXPECTED_REGULARIZATION + np.trace(B @ precision @ B.T) / 2
    samples = [sample_regularization(B, precision, rng) for _ in range(4000)]
    assert np.mean(samples) == pytest.approx(8.0 / rate, rel=0.02)
    assert np.var(samples) == pytest.approx(8.0 / rate**2, rel=0.1)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-8), (np.float32, 1e-4)])
def test_moments_integrate_out_coefficients(n_features: int, dtype: type, tolerance: float) -> None:
    F, rng = features(4, 11, n_features), np.random.default_rng(4)
    observed = np.arange(11) != 3
    X = rng.normal(size=(11, 4))
    regression = SampledRegression(F, observed, 2, run, dtype)
    dense, rows = F.toarray()[observed], X[observed, :2]
    M = np.eye(10) + dense @ dense.T / regression.regularization
    ones = np.ones(10)
    moments = regression.given(X, tuple(rng.normal(size=shape) for shape in regression.noise_shapes)).moments
    assert moments.count == 10
    assert moments.weight == pytest.approx(ones @ np.linalg.solve(M, ones), rel=tolerance)
    np.testing.assert_allclose(moments.total, rows.T @ np.linalg.solve(M, ones), rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(moments.squares, rows.T @ np.linalg.solve(M, rows), rtol=tolerance, atol=tolerance)
