"""The half-step with factors of at least 0 against dense float64 NumPy and SciPy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import halfstep as hs
import reference
from halfstep.errors import NumericalError
from halfstep.objective.problem import HalfProblem
from halfstep.solver.schedule import LEAST_SEGMENT
from settings import SETTINGS, Setting, Table, arrays, constant, half_step, half_step_and_loss, value
from thorough import examples

pytestmark = pytest.mark.slow

every_setting = pytest.mark.parametrize("setting", SETTINGS, ids=str)
few = examples(10, 25)
PLAIN = Setting("als-wr", hs.Explicit(biases=False), arrays(value, constant(1), 0), 1.0)
BIASED = Setting("biased", hs.Explicit(biases=True), arrays(value, constant(1), 0), 0.5, True)


seeds = st.integers(0, 2**32 - 1)


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """Small matrices of any signs, with empty rows."""
    rng = np.random.default_rng(draw(seeds))
    shape = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    observed = rng.random(shape) < draw(st.sampled_from([0.1, 0.4, 0.9]))
    observed[rng.integers(shape[0]), rng.integers(shape[1])] = True
    return Table(observed, rng.choice([-1.0, 0.0, 1.0, 2.5, 5.0], shape))


ranks = st.sampled_from([1, 2, 3, 7, 8, 16, 19, 37])


def random_factors(n: int, unknowns: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, unknowns))


def nonnegative(problems: tuple[HalfProblem, HalfProblem]) -> list[HalfProblem]:
    return [replace(problem, nonnegative=True) for problem in problems]


@every_setting
@few
@given(
    table=tables(),
    rank=ranks,
    reg=st.sampled_from([0.05, 1.0, 30.0]),
    rho=st.sampled_from([0.1, 1.0, 5.0]),
    seed=seeds,
    is_positive=st.booleans(),
    is_warm=st.booleans(),
)
def test_rows_are_those_of_scipy(
    setting: Setting,
    table: Table,
    rank: int,
    reg: float,
    rho: float,
    seed: int,
    is_positive: bool,
    is_warm: bool,
) -> None:
    problem = setting.problem(table, rank=rank, reg=reg, rho=rho)
    problems = nonnegative(setting.half_problems(table, rank=rank, reg=reg, rho=rho, dtype="float64"))
    for half_problem, dense in zip(problems, (problem, problem.transposed), strict=True):
        Y = random_factors(dense.t.shape[1], half_problem.unknowns, seed)
        if is_positive:
            Y[:, :rank] = np.maximum(Y[:, :rank], 0.0)
        start = random_factors(len(dense.t), half_problem.unknowns, seed + 1) if is_warm else None
        X, loss = half_step_and_loss(half_problem, Y, start=start)
        assert (X[:, :rank] >= 0).all()
        assert reference.violation(dense, Y, X) < 1e-9
        expected = reference.nonnegative_half_step(dense, Y)
        scale = max(np.abs(expected).max(), 1e-6) * max(1.0, 1 / reg)  # targets are of order 1
        np.testing.assert_allclose(X, expected, rtol=0, atol=1e-7 * scale)
        observed, missing, _ = reference.terms(dense, X, Y)
        size = sum(reference.terms(dense, np.zeros_like(X), Y))
        assert loss == pytest.approx((observed, missing), rel=1e-7, abs=1e-9 * size)
        in_float32, _ = half_step_and_loss(half_problem, Y.astype("float32"), start=start, dtype="float32")
        assert (in_float32[:, :rank] >= 0).all()
        Y = Y.astype("float32").astype(float)
        rounded = reference.nonnegative_half_step(dense, Y).astype("float32").astype(float)
        limit = max(1e-6, 2 * reference.violation(dense, Y, rounded))  # of nearly collinear factors, it may be more
        assert reference.violation(dense, Y, in_float32.astype(float)) < limit


@few
@given(
    seed=seeds, rank=st.sampled_from([3, 16, 40]), reg=st.sampled_from([1e-8, 1e-6, 1e-4]), is_biased=st.booleans()
)
def test_ill_conditioned_rows_are_solved(seed: int, rank: int, reg: float, is_biased: bool) -> None:
    rng = np.random.default_rng(seed)
    table = Table(rng.random((8, 30)) < 0.4, rng.normal(1.0, 1.0, (8, 30)))
    setting = BIASED if is_biased else PLAIN
    problem = setting.problem(table, rank=rank, reg=reg, rho=1.0)
    half_problem, _ = nonnegative(setting.half_problems(table, rank=rank, reg=reg, rho=1.0, dtype="float64"))
    Y = random_factors(30, half_problem.unknowns, seed)  # more unknowns than observed cells
    start = random_factors(8, half_problem.unknowns, seed + 1)
    for X in (half_step(half_problem, Y), half_step_and_loss(half_problem, Y, start=start)[0]):
        assert (X[:, :rank] >= 0).all()
        assert reference.violation(problem, Y, X) < 1e-6


@every_setting
@few
@given(table=tables(), rank=ranks, seed=seeds)
def test_the_objective_never_increases(setting: Setting, table: Table, rank: int, seed: int) -> None:
    problem = setting.problem(table, rank=rank, reg=0.5, rho=2.0)
    half_problem, _ = nonnegative(setting.half_problems(table, rank=rank, reg=0.5, rho=2.0, dtype="float64"))
    X, Y = (np.abs(random_factors(n, half_problem.unknowns, seed + n)) for n in table.values.shape)
    X[~table.observed.any(axis=1)] = 0.0
    before = reference.objective(problem, X, Y)
    after = reference.objective(problem, half_step_and_loss(half_problem, Y, start=X)[0], Y)
    assert after <= before * (1 + 1e-12)


@pytest.mark.parametrize("setting", [PLAIN, BIASED, SETTINGS[-1]], ids=str)
def test_long_rows_and_threads_change_no_bit(setting: Setting) -> None:
    rng = np.random.default_rng(0)
    observed = rng.random((6, 3 * LEAST_SEGMENT)) < 0.01
    observed[:2] = rng.random((2, 3 * LEAST_SEGMENT)) < 0.9
    table = Table(observed, rng.integers(1, 6, observed.shape).astype(float))
    half_problem, _ = nonnegative(setting.half_problems(table, rank=5, reg=1.0, rho=1.0, dtype="float64"))
    Y = np.abs(random_factors(observed.shape[1], half_problem.unknowns, 0))
    one, two = (half_step(half_problem, Y, threads=threads) for threads in (1, 2))
    np.testing.assert_array_equal(one, two)
    short = half_step(half_problem.of_range(2, 6), Y)
    np.testing.assert_allclose(one[2:], short, rtol=1e-12, atol=0)
    A, b = long_system(half_problem, Y)
    g = A @ one[0] - b
    held = np.append(one[0, :5] == 0, [False] * half_problem.biases)
    assert np.abs(np.where(held, np.minimum(g, 0), g)).max() < 1e-10 * np.abs(b).max()


def long_system(problem: HalfProblem, Y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A and b of the first row."""
    k, cells = problem.rank, slice(problem.indptr[0], problem.indptr[1])
    columns = problem.indices[cells]
    rows = np.hstack([Y[columns, :k], np.ones((len(columns), int(problem.biases)))])
    w = np.broadcast_to(problem.weights, problem.indices.shape)[cells]
    t = problem.targets[cells] - (Y[columns, k] if problem.biases else 0.0)
    A, b = (rows.T * w) @ rows, rows.T @ (w * t)
    A += problem.regularization[0] * np.diag([1.0] * k + [problem.bias_ratio] * problem.biases)
    if len(problem.row_missing):
        s, m = problem.row_missing[0], problem.column_missing
        A[:k, :k] += s * ((Y[:, :k].T * m) @ Y[:, :k] - (rows[:, :k].T * m[columns]) @ rows[:, :k])
    return A, b


def test_a_singular_system_is_an_error_that_names_the_row() -> None:
    table = Table(np.array([[True, True], [True, False]]), np.ones((2, 2)))
    half_problem, _ = nonnegative(PLAIN.half_problems(table, rank=3, reg=0.0, rho=1.0, dtype="float64"))
    with pytest.raises(NumericalError, match=r"not positive definite .* set regularization=") as caught:
        half_step(half_problem, np.ones((2, 3)))
    assert caught.value.row == 0


def test_factors_that_cannot_help_are_held_at_zero_without_regularization() -> None:
    table = Table(np.array([[True, True]]), np.ones((1, 2)))
    half_problem, _ = nonnegative(PLAIN.half_problems(table, rank=2, reg=0.0, rho=1.0, dtype="float64"))
    X = half_step(half_problem, np.array([[1.0, 0.0], [1.0, 0.0]]))
    np.testing.assert_allclose(X, [[1.0, 0.0]], rtol=1e-15)


def test_problems_with_one_matrix_are_solved_by_row() -> None:
    setting = SETTINGS[0]
    table = Table(np.ones((3, 4), bool), np.arange(12.0).reshape(3, 4) - 6)
    plain, _ = setting.half_problems(table, rank=2, reg=1.0, rho=1.0, dtype="float64")
    assert plain.has_one_matrix
    assert not replace(plain, nonnegative=True).has_one_matrix
