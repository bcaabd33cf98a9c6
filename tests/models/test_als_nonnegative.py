"""`ALS` with factors of at least 0."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import halfstep as hs
from halfstep.errors import ParameterError
from halfstep.objective.problem import HalfProblem, half_problems
from halfstep.solver.gram import gramian

UNREFRESHED = hs.solvers.Cholesky(refresh_users=False)
OBJECTIVES = {
    "explicit": hs.Explicit(nonnegative=True),
    "without biases": hs.Explicit(biases=False, nonnegative=True),
    "implicit": hs.Implicit(nonnegative=True),
    "iALS": hs.Implicit(missing_weight=0.1, all_cells=True, nonnegative=True),
}


@pytest.fixture(scope="module")
def ratings() -> hs.Interactions:
    return hs.datasets.movielens_100k()


@pytest.fixture(scope="module")
def small() -> hs.Interactions:
    rng = np.random.default_rng(0)
    users, items = np.nonzero(rng.random((40, 30)) < 0.3)
    return hs.Interactions.from_arrays(users, items, rng.integers(1, 6, len(users)).astype(float))


def violation(problem: HalfProblem, X: np.ndarray, Y: np.ndarray, biases: tuple[np.ndarray, np.ndarray]) -> float:
    """As `reference.violation`, for data whose dense arrays are large."""
    worst, k, has_biases = 0.0, problem.rank, problem.biases
    m = problem.column_missing
    G = gramian(m, k, Y, lambda tasks: [task() for task in tasks]) if len(m) else np.zeros((k, k))
    for u, (begin, end) in enumerate(pairwise(problem.indptr)):
        cells = slice(begin, end)
        columns = problem.indices[cells]
        rows = np.hstack([Y[columns], np.ones((end - begin, int(has_biases)))])
        w, t = (np.broadcast_to(each, problem.indices.shape)[cells] for each in (problem.weights, problem.targets))
        A = (rows.T * w) @ rows
        if len(m):
            A[:k, :k] += problem.row_missing[u] * (G - (Y[columns].T * m[columns]) @ Y[columns])
        A += problem.regularization[u] * np.diag([1.0] * k + [problem.bias_ratio] * has_biases)
        b = rows.T @ (w * (t - biases[1][columns]))
        x = np.append(X[u], biases[0][u : u + has_biases])
        g, root = A @ x - b, np.sqrt(np.diag(A))
        held = np.append(X[u] == 0, [False] * has_biases)
        worst = max(worst, np.abs(np.where(held, np.minimum(g, 0), g) / root).max() / np.abs(b / root).max())
    return worst


@pytest.mark.slow
@pytest.mark.parametrize("rank", [8, 40])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_rows_of_real_data_are_minima(name: str, rank: int, ratings: hs.Interactions) -> None:
    for solver, side in ((hs.solvers.Cholesky(), 0), (UNREFRESHED, 1)):
        model = hs.ALS(OBJECTIVES[name], rank=rank, iterations=6, solver=solver, random_state=0).fit(ratings)
        factors = model.user_factors_, model.item_factors_
        assert all((F >= 0).all() and (F == 0).any() and F.any() for F in factors)
        objectives = [line.objective for line in model.history_]
        assert all(after <= before * (1 + 1e-6) for before, after in pairwise(objectives))
        cost, k = model.objective_.cost(ratings), rank
        problem = half_problems(ratings, cost, rank=k, regularization=model._regularization, dtype="float64")[side]
        X, Y = (F.astype(float) for F in (factors[side], factors[1 - side]))
        biases = (model.user_biases_.astype(float), model.item_biases_.astype(float))[:: 1 if side == 0 else -1]
        assert violation(problem, X, Y, (biases[0], biases[1])) < 1e-6


@pytest.mark.parametrize("name", OBJECTIVES)
def test_everything_that_solves_rows_keeps_the_constraint(name: str, small: hs.Interactions, tmp_path: Path) -> None:
    model = hs.ALS(OBJECTIVES[name], rank=5, regularization=0.5, random_state=0).fit(small)
    folded = model.fold_in(small)
    for ours, theirs in zip(folded.users_, folded.user_factors_, strict=True):
        np.testing.assert_allclose(model.user_factors_[model.users_.position(ours)], theirs, rtol=1e-5, atol=1e-6)
    assert (model.fold_in({"new": {0: 1.0, 1: 5.0, 2: 1.0}}).user_factors_ >= 0).all()

    one, two = (
        hs.ALS(OBJECTIVES[name], rank=5, regularization=0.5, random_state=0, threads=threads).fit(small)
        for threads in (1, 2)
    )
    np.testing.assert_array_equal(one.user_factors_, two.user_factors_)

    model.save(tmp_path / "model.halfstep")
    loaded = hs.load(tmp_path / "model.halfstep")
    assert loaded.objective == OBJECTIVES[name]
    more = hs.Interactions.from_arrays([0, 1, 99, 99], [29, 28, 3, 4], [5.0, 1.0, 2.0, 1.0])
    known = set(zip(small.user_ids, small.item_ids, strict=True))
    more = more.subset(np.array([pair not in known for pair in zip(more.user_ids, more.item_ids, strict=True)]))
    for each in (model, loaded):
        each.partial_fit(more)
        each.remove_users([2])
        assert (each.user_factors_ >= 0).all()
        assert (each.item_factors_ >= 0).all()
    np.testing.assert_array_equal(model.item_factors_, loaded.item_factors_)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_contributions_of_an_explanation_add_up_to_the_score(name: str, small: hs.Interactions) -> None:
    model = hs.ALS(OBJECTIVES[name], rank=5, regularization=0.5, dtype="float64", random_state=0).fit(small)
    assert (model.user_factors_ == 0).any()
    for user in range(10):
        explanation = model.explain(user, 7)
        total = explanation.baseline + explanation.contributions.sum()
        assert total == pytest.approx(explanation.score, abs=1e-8)


def test_initial_factors(small: hs.Interactions) -> None:
    shapes = (small.n_users, 3), (small.n_items, 3)
    init = np.ones(shapes[0]), np.random.default_rng(0).random(shapes[1])
    model = hs.ALS(hs.Implicit(nonnegative=True), init=init, iterations=2).fit(small)
    assert (model.item_factors_ >= 0).all()
    with pytest.raises(ParameterError, match="init: the lowest factor is -1, but the objective is nonnegative"):
        hs.ALS(hs.Implicit(nonnegative=True), init=(init[0], -np.ones(shapes[1]))).fit(small)


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (hs.ALS(hs.Implicit(nonnegative=True), solver="cg"), "solver='cg' does not support an objective with"),
        (hs.ALS(hs.Implicit(nonnegative=True), solver=hs.solvers.Subspace()), "solver='subspace' does not support"),
        (
            hs.ALS(hs.Explicit(nonnegative=True), backend="cuda"),
            "backend='cuda' does not support .* set backend='cpu'",
        ),
        (hs.ALS(hs.Explicit(nonnegative=True), implicit_features=True), "side information does not support"),
    ],
)
def test_what_does_not_support_it_says_so(estimator: Any, message: str, small: hs.Interactions) -> None:
    with pytest.raises(ParameterError, match=message):
        estimator.fit(small)


def test_samplers_do_not_support_it() -> None:
    with pytest.raises(ParameterError, match="is nonnegative, which BayesianALS does not support: omit nonnegative"):
        hs.BayesianALS(hs.Explicit(nonnegative=True))


@pytest.mark.parametrize("kind", [hs.Explicit, hs.Implicit])
def test_the_parameter_is_checked(kind: Any) -> None:
    with pytest.raises(ParameterError, match="nonnegative='yes': give True or False"):
        kind(nonnegative="yes")


def test_auto_is_exact_at_any_rank(small: hs.Interactions) -> None:
    model = hs.ALS(hs.Implicit(nonnegative=True), rank=40, iterations=3, random_state=0).fit(small)
    exact = hs.ALS(hs.Implicit(nonnegative=True), rank=40, iterations=3, random_state=0, solver="cholesky").fit(small)
    np.testing.assert_array_equal(model.user_factors_, exact.user_factors_)


def test_a_search_may_include_it(small: hs.Interactions) -> None:
    space = {"objective.nonnegative": [False, True], "regularization": [0.1, 1.0]}
    found = hs.tune(hs.ALS(hs.Explicit(), rank=2, iterations=3), small, space=space, progress=False)
    assert len(found.trials) == 4
