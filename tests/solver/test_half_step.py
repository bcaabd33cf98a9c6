"""The half-step against dense float64 NumPy, for every setting of the objective."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import halfstep as hs
import reference
from halfstep.errors import NumericalError
from halfstep.objective.problem import half_problems
from halfstep.objective.regularization import RowRegularization
from halfstep.solver import cpu, schedule
from halfstep.solver.kernels.small_systems import GATHERED
from halfstep.solver.schedule import LEAST_SEGMENT
from halfstep.solvers import Cholesky, ConjugateGradient, Subspace
from settings import SETTINGS, Setting, Table, arrays, constant, half_step, half_step_and_loss, value
from thorough import examples

every_setting = pytest.mark.parametrize("setting", SETTINGS, ids=str)
few = examples(10, 25)


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """Small matrices with empty rows, equal rows, and rows with few observations, or a single row."""
    n_rows, n_columns = draw(st.integers(1, 12)), draw(st.integers(1, 9))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    observed = rng.random((n_rows, n_columns)) < draw(st.sampled_from([0.1, 0.4, 0.9]))
    values = rng.choice([-1.0, 0.0, 1.0, 2.5, 5.0], (n_rows, n_columns))
    if draw(st.booleans()):  # two equal rows
        observed[-1], values[-1] = observed[0], values[0]
    observed[rng.integers(n_rows), rng.integers(n_columns)] = True  # empty data raise an error, tested elsewhere
    return Table(observed, values)


ranks = st.sampled_from([1, 2, 3, 4, 7, 8, 11, 12, 16, 19, 37])
regs = st.sampled_from([0.05, 1.0, 30.0])
rhos = st.sampled_from([0.1, 1.0, 5.0])
seeds = st.integers(0, 2**32 - 1)


def random_factors(n: int, unknowns: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, unknowns))


def assert_solves(problem: reference.Problem, Y: np.ndarray, X: np.ndarray, precision: float) -> None:
    """Equal to the dense solution within the forward error of a backward stable solver.

    ‖x − x̂‖ ≤ c·ε·‖A⁻¹‖·(|A|‖x‖ + |b|), where |A| and |b| are sums of the absolute values of all that is added up, for
    these sums may cancel.
    """
    expected = reference.half_step(problem, Y)
    k = problem.rank
    lengths = np.linalg.norm(Y[:, :k], axis=1)
    offsets = Y[:, k] if problem.biases else np.zeros(len(Y))
    for u in range(len(X)):
        seen = problem.observed[u]
        if not seen.any():
            assert not X[u].any()
            continue
        A, _ = reference.system(problem, Y, u)
        w, missing = np.where(seen, problem.w[u], 0.0), problem.s[u] * problem.m
        summed_A = np.sum((w + 2 * missing) * (lengths**2 + 1)) + problem.row_lambda[u] * (1 + problem.rho)
        summed_b = np.sum(w * (np.abs(problem.t[u]) + np.abs(offsets)) * (lengths + 1))
        scale = np.linalg.norm(np.linalg.inv(A)) * (summed_A * np.linalg.norm(expected[u]) + summed_b)
        tolerance = 2 * (len(Y) + len(A)) * precision * scale
        np.testing.assert_allclose(X[u], expected[u], rtol=0, atol=tolerance, err_msg=f"row {u}")


@every_setting
@few
@given(table=tables(), rank=ranks, reg=regs, rho=rhos, seed=seeds)
def test_half_step_equals_dense_solution(
    setting: Setting, table: Table, rank: int, reg: float, rho: float, seed: int
) -> None:
    problem = setting.problem(table, rank=rank, reg=reg, rho=rho)
    for dtype, precision in (("float64", 2.3e-16), ("float32", 1.2e-7)):
        user_problem, item_problem = setting.half_problems(table, rank=rank, reg=reg, rho=rho, dtype=dtype)
        for half_problem, dense in ((user_problem, problem), (item_problem, problem.transposed)):
            Y = random_factors(dense.t.shape[1], half_problem.unknowns, seed).astype(dtype)
            X = half_step(half_problem, Y, dtype=dtype)
            assert_solves(dense, Y.astype(float), X, precision)


@few
@given(table=tables(), rank=ranks, seed=seeds, exponents=st.lists(st.integers(-8, 8), min_size=8, max_size=8))
def test_half_step_with_extreme_weights_equals_dense_solution(
    table: Table, rank: int, seed: int, exponents: list[int]
) -> None:
    scale = 10.0 ** np.resize(exponents, table.values.shape)
    weight = lambda cells: scale[cells.users, cells.items]  # noqa: E731
    setting = Setting(
        "extreme",
        hs.Explicit(weight=weight, biases=True),
        lambda table: (table.values, scale, np.zeros(len(table.values)), np.zeros(table.values.shape[1])),
        exponent=0.0,
        biases=True,
    )
    problem = setting.problem(table, rank=rank, reg=1.0, rho=1.0)
    user_problem, _ = setting.half_problems(table, rank=rank, reg=1.0, rho=1.0, dtype="float64")
    Y = random_factors(table.values.shape[1], rank + 1, seed)
    assert_solves(problem, Y, half_step(user_problem, Y), 2.3e-16)


@pytest.mark.slow
@every_setting
@few
@given(table=tables(), rank=ranks, seed=seeds)
def test_half_step_never_increases_the_objective(setting: Setting, table: Table, rank: int, seed: int) -> None:
    problem = setting.problem(table, rank=rank, reg=0.5, rho=2.0)
    user_problem, _ = setting.half_problems(table, rank=rank, reg=0.5, rho=2.0, dtype="float64")
    X, Y = (random_factors(n, user_problem.unknowns, seed + n) for n in table.values.shape)
    X[~table.observed.any(axis=1)] = 0.0
    before = reference.objective(problem, X, Y)
    after = reference.objective(problem, half_step(user_problem, Y), Y)
    assert after <= before * (1 + 1e-12)


@pytest.mark.slow
@every_setting
@few
@given(table=tables(), rank=ranks, seed=seeds, size=st.sampled_from([1e-3, 0.1, 3.0]))
def test_perturbations_increase_the_objective(
    setting: Setting, table: Table, rank: int, seed: int, size: float
) -> None:
    problem = setting.problem(table, rank=rank, reg=0.5, rho=2.0)
    user_problem, _ = setting.half_problems(table, rank=rank, reg=0.5, rho=2.0, dtype="float64")
    Y = random_factors(table.values.shape[1], user_problem.unknowns, seed)
    X = half_step(user_problem, Y)
    best = reference.objective(problem, X, Y)
    step = size * random_factors(len(X), user_problem.unknowns, seed + 1)
    step[~table.observed.any(axis=1)] = 0.0
    for sign in (1.0, -1.0):
        assert reference.objective(problem, X + sign * step, Y) >= best * (1 - 1e-12)


@pytest.mark.parametrize(
    "setting",
    [s for s in SETTINGS if s.name in ("plain", "als-wr", "biased", "ials", "signed-biased-missing")],
    ids=str,
)
@few
@given(table=tables(), rank=ranks, seed=seeds)
def test_item_half_step_equals_user_half_step_of_transpose(
    setting: Setting, table: Table, rank: int, seed: int
) -> None:
    options = {"rank": rank, "reg": 0.5, "rho": 2.0, "dtype": "float64"}
    item_problem = setting.half_problems(table, **options)[1]
    user_problem = setting.half_problems(table.transposed, **options)[0]
    Y = random_factors(len(table.values), item_problem.unknowns, seed)
    np.testing.assert_array_equal(half_step(item_problem, Y), half_step(user_problem, Y))


@pytest.fixture(scope="module")
def with_long_row() -> hs.Interactions:
    """An item whose observations are divided into segments, and many others."""
    rng = np.random.default_rng(0)
    n_users = 2 * LEAST_SEGMENT + 1000
    users = np.concatenate([np.arange(n_users), rng.integers(0, n_users, 40_000)])
    items = np.concatenate([np.zeros(n_users, int), rng.integers(1, 900, 40_000)])
    values = rng.integers(1, 6, len(users)).astype(float)
    return hs.Interactions.from_arrays(users, items, values, duplicates="last")


@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "objective",
    [hs.Explicit(biases=True), hs.Implicit(missing_weight=0.1), hs.Explicit(missing_weight=1.0, biases=False)],
    ids=["biased", "implicit", "one-matrix"],
)
def test_fit_is_bitwise_independent_of_threads(
    with_long_row: hs.Interactions, objective: object, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("halfstep.models.als.EXACT_RANK", 0 if dtype == "float32" else 10)
    options = {"rank": 10, "iterations": 2, "random_state": 0, "solver": "cholesky"}
    models = [hs.ALS(objective, threads=threads, **options).fit(with_long_row) for threads in (1, 2, 3)]
    for other in models[1:]:
        np.testing.assert_array_equal(models[0].user_factors_, other.user_factors_)
        np.testing.assert_array_equal(models[0].item_factors_, other.item_factors_)
        np.testing.assert_array_equal(models[0].item_biases_, other.item_biases_)
        assert [line.objective for line in models[0].history_] == [line.objective for line in other.history_]


def test_long_row_equals_dense_solution(with_long_row: hs.Interactions) -> None:
    k = 5
    cost = hs.Explicit(biases=True).cost(with_long_row)
    item_problem = half_problems(
        with_long_row,
        cost,
        rank=k,
        regularization=RowRegularization(1.0, 1.0),
        dtype="float64",
    )[1]
    Y = random_factors(with_long_row.n_users, k + 1, 1)
    X = half_step(item_problem, Y, threads=2)
    cells = with_long_row.item_positions == 0
    assert cells.sum() > 2 * LEAST_SEGMENT  # three segments
    users = with_long_row.user_positions[cells]
    features = np.column_stack([Y[users, :k], np.ones(len(users))])
    t = with_long_row.values[cells] - cost.mean - Y[users, k]
    expected = np.linalg.solve(features.T @ features + np.eye(k + 1), features.T @ t)
    np.testing.assert_allclose(X[0], expected, rtol=1e-11)


@pytest.mark.parametrize(
    "objective", [hs.Explicit(biases=False), hs.Explicit(missing_weight=1.0, biases=False)], ids=["own", "shared"]
)
def test_singular_system_raises(objective: hs.Explicit) -> None:
    data = hs.Interactions.from_arrays(["ann", "bob"], ["tea", "milk"], [1.0, 2.0])
    model = hs.ALS(objective, rank=3, regularization=0.0)
    with pytest.raises(NumericalError, match="set regularization="):
        model.fit(data)


def test_error_names_the_first_singular_row() -> None:
    users = ["full"] * 4 + ["later"] * 2 + ["short"] * 1 + ["whole"] * 4
    items = ["a", "b", "c", "d", "a", "b", "a", "a", "b", "c", "d"]
    data = hs.Interactions.from_arrays(users, items)
    model = hs.ALS(rank=3, regularization=0.0, random_state=0)
    # The pivots of "short" fail before those of "later".
    with pytest.raises(NumericalError, match="the system of user 'later' is not positive definite"):
        model.fit(data)


@pytest.mark.parametrize("columns", [3, 200])
@pytest.mark.parametrize("reg", [0.0, np.nan])
def test_singular_common_matrix_always_raises(columns: int, reg: float) -> None:
    """With λ = 0, rounding leaves tiny pivots of either sign; infinities must raise too."""
    rng = np.random.default_rng(0)
    table = Table(rng.random((30, 5)) < 0.5, np.full((30, 5), 1.0 if reg == 0 else 1e200))
    for seed in range(20):
        model = hs.ALS(
            hs.Explicit(missing_weight=1.0, biases=False), rank=columns, regularization=0.0, random_state=seed
        )
        if columns == 3 and reg == 0:
            model.fit(table.interactions)  # the rank is below the number of items, so nothing is singular
        else:
            with pytest.raises(NumericalError):
                model.fit(table.interactions)


@pytest.mark.slow
@every_setting
def test_rows_longer_than_a_batch_equal_dense_solution(setting: Setting) -> None:
    """Float32 factors with float64 systems, as by default at low ranks."""
    rng = np.random.default_rng(1)
    observed = rng.random((8, 300)) < 0.6
    table = Table(observed, rng.integers(1, 6, observed.shape).astype(float))
    assert observed.sum(axis=1).min() > 2 * GATHERED
    for rank in (9, 20):
        problem = setting.problem(table, rank=rank, reg=0.5, rho=2.0)
        user_problem, _ = setting.half_problems(table, rank=rank, reg=0.5, rho=2.0, dtype="float64")
        Y = random_factors(300, user_problem.unknowns, rank).astype(np.float32)
        X = half_step(user_problem, Y, dtype="float32")
        expected = reference.half_step(problem, Y.astype(float))
        np.testing.assert_allclose(X, expected, rtol=2e-7, atol=1e-7 * np.abs(expected).max())


def test_long_row_with_missing_weights_equals_dense_solution() -> None:
    rng = np.random.default_rng(2)
    n, k = 2 * LEAST_SEGMENT + 10, 4
    data = hs.Interactions.from_arrays(np.r_[np.arange(n), 0], np.r_[np.zeros(n, int), 1], rng.normal(size=n + 1))
    cost = hs.Explicit(weight=2.0, missing_weight=0.3, biases=True).cost(data)
    options = {"regularization": RowRegularization(1.0, 1.0, bias_ratio=3.0), "dtype": "float64"}
    item_problem = half_problems(data, cost, rank=k, **options)[1]
    Y = random_factors(n, k + 1, 1)
    y = np.column_stack([Y[:, :k], np.ones(n)])
    A = 2.0 * y.T @ y + np.diag([1.0] * k + [3.0])
    expected = np.linalg.solve(A, 2.0 * y.T @ (data.values[:n] - cost.mean - Y[:, k]))
    np.testing.assert_allclose(half_step(item_problem, Y, threads=2)[0], expected, rtol=1e-10)


# The kernels for large systems, at any rank


@pytest.fixture
def large_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "LANE_UNKNOWNS", 0)
    monkeypatch.setattr(schedule, "ROWS_PER_UNKNOWN", 0.0)


@st.composite
def wide_tables(draw: st.DrawFn) -> Table:
    """Rows with no observations, and with up to more than a batch."""
    n_columns = draw(st.sampled_from([5, 40, 90, 150]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    share = np.array([0.0, 0.05, 0.3, 0.6, 1.0])[:, None]
    observed = rng.random((5, n_columns)) < share
    return Table(observed, rng.choice([-1.0, 0.0, 1.0, 2.5, 5.0], observed.shape))


@pytest.mark.slow
@every_setting
@settings(examples(6, 15), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=wide_tables(), rank=st.sampled_from([1, 3, 8, 15, 16, 33, 61]), reg=regs, rho=rhos, seed=seeds)
def test_large_systems_equal_dense_solution(
    large_systems: None, setting: Setting, table: Table, rank: int, reg: float, rho: float, seed: int
) -> None:
    problem = setting.problem(table, rank=rank, reg=reg, rho=rho)
    for dtype, precision in (("float64", 2.3e-16), ("float32", 1.2e-7)):
        user_problem, item_problem = setting.half_problems(table, rank=rank, reg=reg, rho=rho, dtype=dtype)
        for half_problem, dense in ((user_problem, problem), (item_problem, problem.transposed)):
            Y = random_factors(dense.t.shape[1], half_problem.unknowns, seed).astype(dtype)
            X, loss = half_step_and_loss(half_problem, Y, dtype=dtype)
            assert_solves(dense, Y.astype(float), X, 4 * precision)  # for the change of basis
            observed, missing, _ = reference.terms(dense, X.astype(float), Y.astype(float))
            scale = float(np.sum(np.where(dense.observed, dense.w * (dense.t**2 + 100 * rank), 0.0))) + missing
            assert loss[0] == pytest.approx(observed, rel=100 * precision, abs=100 * precision * scale)
            assert loss[1] == pytest.approx(missing, rel=100 * precision, abs=100 * precision * scale)


@pytest.mark.slow
@pytest.mark.usefixtures("large_systems")
@pytest.mark.parametrize("objective", [hs.Explicit(biases=True), hs.Implicit(missing_weight=0.1)], ids=str)
def test_large_systems_are_bitwise_independent_of_threads(with_long_row: hs.Interactions, objective: object) -> None:
    models = [
        hs.ALS(objective, rank=40, iterations=2, random_state=0, threads=threads).fit(with_long_row)
        for threads in (1, 2, 3)
    ]
    for other in models[1:]:
        np.testing.assert_array_equal(models[0].user_factors_, other.user_factors_)
        np.testing.assert_array_equal(models[0].item_factors_, other.item_factors_)
        assert [line.objective for line in models[0].history_] == [line.objective for line in other.history_]


@pytest.mark.usefixtures("large_systems")
def test_weights_below_those_of_missing_cells_equal_dense_solution() -> None:
    rng = np.random.default_rng(3)
    table = Table(rng.random((9, 30)) < 0.5, rng.normal(size=(9, 30)))
    scale = rng.choice([0.0, 0.1, 0.5, 3.0], table.values.shape)
    setting = Setting(
        "mixed",
        hs.Explicit(weight=lambda cells: scale[cells.users, cells.items], missing_weight=0.5, biases=False),
        arrays(value, lambda table: scale, 0.5),
        0.0,
    )
    problem = setting.problem(table, rank=7, reg=0.5, rho=1.0)
    user_problem, _ = setting.half_problems(table, rank=7, reg=0.5, rho=1.0, dtype="float64")
    Y = random_factors(30, 7, 0)
    X, loss = half_step_and_loss(user_problem, Y)
    np.testing.assert_allclose(X, reference.half_step(problem, Y), rtol=1e-8)
    np.testing.assert_allclose(loss, reference.terms(problem, X, Y)[:2], rtol=1e-10)


@pytest.mark.usefixtures("large_systems")
@pytest.mark.parametrize("solver", ["cholesky", "cg", "subspace"])
@pytest.mark.parametrize("weight", [1.0, 0.0, 1.0 + 1e-6])
def test_equal_weights_of_observed_and_missing_cells_need_no_fallback(
    monkeypatch: pytest.MonkeyPatch, solver: str, weight: float
) -> None:
    """No row is solved again in float64, and the loss is precise."""
    by_name = {"cholesky": Cholesky(), "cg": ConjugateGradient(steps=60), "subspace": Subspace()}
    monkeypatch.setattr(cpu.CPU, "_solve_in_float64", None)
    rng = np.random.default_rng(4)
    table = Table(rng.random((70, 90)) < np.linspace(0.01, 1, 70)[:, None], rng.normal(size=(70, 90)))
    missing = 1.0 if weight else 0.0
    setting = Setting(
        "equal",
        hs.Explicit(weight=weight, missing_weight=missing, biases=False),
        arrays(value, constant(weight), missing),
        0.5,
    )
    problem = setting.problem(table, rank=21, reg=0.5, rho=1.0)
    Y = random_factors(90, 21, 0)
    expected = reference.half_step(problem, Y)
    for dtype, precision in (("float64", 1e-9), ("float32", 2e-4)):
        user_problem, _ = setting.half_problems(table, rank=21, reg=0.5, rho=1.0, dtype=dtype)
        X, loss = half_step_and_loss(
            user_problem, Y.astype(dtype), dtype=dtype, start=0 * expected, solver=by_name[solver]
        )
        np.testing.assert_allclose(X, expected, rtol=precision, atol=precision)
        terms = reference.terms(problem, X.astype(float), Y)[:2]
        np.testing.assert_allclose(loss, terms, rtol=precision, atol=precision)


@pytest.mark.slow
@every_setting
@settings(examples(4, 8), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=wide_tables(), rank=st.sampled_from([1, 8, 15, 33]), seed=seeds)
def test_conjugate_gradients_decrease_the_objective_and_converge(
    large_systems: None, setting: Setting, table: Table, rank: int, seed: int
) -> None:
    problem = setting.problem(table, rank=rank, reg=0.5, rho=2.0)
    user_problem, _ = setting.half_problems(table, rank=rank, reg=0.5, rho=2.0, dtype="float64")
    Y, start = (random_factors(n, user_problem.unknowns, seed + n) for n in reversed(table.values.shape))
    start[~table.observed.any(axis=1)] = 0.0
    before = reference.objective(problem, start, Y)
    exact = reference.half_step(problem, Y)
    least = reference.objective(problem, exact, Y)
    for steps in (1, 3, 3 * user_problem.unknowns + 10):
        X, loss = half_step_and_loss(user_problem, Y, start=start, solver=ConjugateGradient(steps=steps))
        after = reference.objective(problem, X, Y)
        assert least * (1 - 1e-9) <= after <= before * (1 + 1e-12)
        before = after
        observed, missing, _ = reference.terms(problem, X, Y)
        np.testing.assert_allclose(loss, (observed, missing), rtol=1e-7, atol=1e-7 * after)
    assert after <= least * (1 + 1e-6)


@pytest.mark.slow
@every_setting
@settings(examples(4, 8), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=wide_tables(), rank=st.sampled_from([1, 8, 33, 65, 130]), seed=seeds)
def test_subspace_steps_decrease_the_objective_and_converge(
    monkeypatch: pytest.MonkeyPatch, setting: Setting, table: Table, rank: int, seed: int
) -> None:
    monkeypatch.setattr("halfstep.solver.precision.fewest_approximate", lambda *_: 0)
    problem = setting.problem(table, rank=rank, reg=0.5, rho=2.0)
    user_problem, _ = setting.half_problems(table, rank=rank, reg=0.5, rho=2.0, dtype="float64")
    Y, X = (random_factors(n, user_problem.unknowns, seed + n) for n in reversed(table.values.shape))
    X[~table.observed.any(axis=1)] = 0.0
    before = reference.objective(problem, X, Y)
    least = reference.objective(problem, reference.half_step(problem, Y), Y)
    for size in (64, 64, 16, 48):
        X, loss = half_step_and_loss(user_problem, Y, start=X, solver=Subspace(block_size=size))
        after = reference.objective(problem, X, Y)
        assert least * (1 - 1e-9) <= after <= before * (1 + 1e-12)
        assert after - least <= (before - least) * (0.999 if setting.biases or rank > 64 else 1e-6) + 1e-9 * least
        before = after
        observed, missing, _ = reference.terms(problem, X, Y)
        np.testing.assert_allclose(loss, (observed, missing), rtol=1e-7, atol=1e-7 * after)


@pytest.mark.usefixtures("large_systems")
@pytest.mark.parametrize("missing", [0.0, 1e-9])
def test_ill_conditioned_large_systems_are_solved_in_float64(missing: float) -> None:
    """λ is below rounding errors, with more unknowns than observations in a row."""
    rng = np.random.default_rng(4)
    table = Table(rng.random((8, 40)) < 0.7, rng.normal(size=(8, 40)))
    setting = Setting(
        "ill", hs.Explicit(missing_weight=missing, biases=False), arrays(value, constant(1), missing), 0.0
    )
    problem = setting.problem(table, rank=38, reg=1e-9, rho=1.0)
    user_problem, _ = setting.half_problems(table, rank=38, reg=1e-9, rho=1.0, dtype="float32")
    Y = random_factors(40, 38, 1).astype(np.float32)
    X, loss = half_step_and_loss(user_problem, Y, dtype="float32")
    expected = reference.half_step(problem, Y.astype(float))
    np.testing.assert_allclose(X, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    observed, others, _ = reference.terms(problem, X.astype(float), Y.astype(float))
    np.testing.assert_allclose(loss, (observed, others), rtol=1e-3, atol=1e-6 * np.sum(table.values**2))
