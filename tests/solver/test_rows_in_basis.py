from __future__ import annotations

import numpy as np
import pytest

import halfstep as hs
from halfstep.objective.problem import HalfProblem, half_problems
from halfstep.objective.regularization import RowRegularization
from halfstep.solver.cpu import CPU
from halfstep.solver.layout import empty_factors
from halfstep.solvers import ConjugateGradient
from settings import half_step_and_loss

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
