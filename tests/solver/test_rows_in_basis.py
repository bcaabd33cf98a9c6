from __future__ import annotations

import numpy as np
import pytest

import halfstep as hs
import reference
from halfstep.objective.problem import HalfProblem, Prior, half_problems
from halfstep.objective.regularization import RowRegularization
from halfstep.solver import precision
from halfstep.solver.cpu import CPU
from halfstep.solver.layout import empty_factors
from halfstep.solvers import Cholesky, ConjugateGradient, Solver, Subspace
from settings import SETTINGS, Setting, Table, half_step_and_loss

USERS, ITEMS = 600, 700


def problem_of(counts: list[int], rank: int) -> HalfProblem:
    """Users with given numbers of items, in turn; as many rows as a basis needs."""
    rng = np.random.default_rng(0)
    items = [rng.choice(ITEMS, counts[user % len(counts)], replace=False) for user in range(USERS)]
    users = np.repeat(np.arange(USERS), [len(some) for some in items])
    data = hs.Interactions.from_arrays(users, np.concatenate(items))
    assert data.n_items == ITEMS
    regularization = RowRegularization(1.5, 1.5, exponent=0.5)
    return half_problems(data, hs.Implicit().cost(data), rank=rank, regularization=regularization, dtype="float32")[0]


@pytest.mark.parametrize(("rank", "most"), [(256, 3), (512, 10)])
def test_more_rows_are_solved_exactly_at_high_ranks(rank: int, most: int) -> None:
    problem = problem_of([1, most, most + 1, 30], rank)
    Y = np.random.default_rng(1).normal(size=(ITEMS, rank)) / np.sqrt(rank)
    exact, _ = half_step_and_loss(problem, Y, dtype="float32")
    found, _ = half_step_and_loss(problem, Y, dtype="float32", start=0.0 * exact, solver=ConjugateGradient(steps=1))
    is_exact = np.isclose(found, exact, rtol=0.0, atol=1e-4 * np.abs(exact).max()).all(axis=1)
    assert is_exact.reshape(-1, 4).all(axis=0).tolist() == [True, True, False, False]


def test_losses_of_exact_and_approximate_rows_equal_those_of_the_factors() -> None:
    rank = 512
    problem = problem_of([1, 20, 40, 300], rank)
    Y, X = (empty_factors(n, rank, np.float32) for n in (ITEMS, USERS))
    Y[:] = np.random.default_rng(1).normal(size=Y.shape) / np.sqrt(rank)
    with CPU() as cpu:
        plan = cpu.plan(problem)
        found = cpu.half_step_and_loss(plan, Y, X, solver=ConjugateGradient())
        np.testing.assert_allclose(found, cpu.loss(plan, Y, X), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
@pytest.mark.parametrize(
    ("solver", "times", "rtol"),
    [(Cholesky(), 1, 1e-9), (ConjugateGradient(steps=150), 2, 1e-7), (Subspace(), 60, 1e-5)],
)
def test_rows_with_means_of_a_prior_equal_dense_solutions(
    monkeypatch: pytest.MonkeyPatch, setting: Setting, solver: Solver, times: int, rtol: float
) -> None:
    monkeypatch.setattr(precision, "fewest_approximate", lambda *_: 0)
    rng = np.random.default_rng(0)
    observed = rng.random((60, 90)) < np.repeat([0.1, 0.3, 0.6], 20)[:, None]  # solved in the dual and in the primal
    observed[5] = False
    table, rank = Table(observed, rng.choice([-1.0, 0.0, 1.0, 2.5, 5.0], (60, 90))), 40
    dense = setting.problem(table, rank=rank, reg=2.0, rho=2.0)
    problem, _ = setting.half_problems(table, rank=rank, reg=2.0, rho=2.0, dtype="float64")
    K = problem.unknowns
    means, Y, X = rng.normal(size=(60, K)), empty_factors(90, K, float), empty_factors(60, K, float)
    Y[:, :K] = 0.3 * rng.normal(size=(90, K))
    with CPU() as cpu:
        plan = cpu.plan(problem)
        for _ in range(times):
            loss = cpu.half_step_and_loss(plan, Y, X, solver=solver, prior=Prior.around(means))
    assert plan.solves_single_rows
    expected = reference.RidgeLinked.half_step(dense, Y[:, :K], means)
    np.testing.assert_allclose(X[:, :K], expected, rtol=rtol, atol=rtol * np.abs(expected).max())
    np.testing.assert_allclose(loss, reference.terms(dense, X[:, :K], Y[:, :K])[:2], rtol=1e-9, atol=1e-9)
