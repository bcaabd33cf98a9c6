"""Very small λ: fits are as good as those in float64, or name a sufficient λ."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import halfstep as hs
import reference
from benchmarks.stress import small_regularization
from halfstep.errors import NumericalError
from halfstep.models.als_loop import as_iteration
from halfstep.objective.objective import Objective
from halfstep.solver.session import Terms
from settings import SETTINGS, Table, half_step_and_loss

pytestmark = pytest.mark.filterwarnings("ignore::halfstep.errors.PoorFitWarning")  # precision on small data is tested


def few_items(seed: int = 0, users: int = 80, items: int = 12) -> hs.Interactions:
    """Return data with more users than factors, and fewer items."""
    rng = np.random.default_rng(seed)
    found = np.nonzero(rng.random((users, items)) < 0.4)
    return hs.Interactions.from_arrays(*found, rng.integers(1, 6, len(found[0])).astype(float))


@pytest.mark.parametrize("seed", [*range(30), 906, 1827, 1974])
def test_fits_are_precise_or_name_a_sufficient_regularization(seed: int) -> None:
    found = small_regularization.outcome(small_regularization.case(seed))
    assert found in ("fitted", "refused, and fitted with the λ that was named")


@pytest.mark.parametrize("solver", ["auto", "cholesky", "subspace"])
@pytest.mark.parametrize("reg", [1e-4, *(pytest.param(each, marks=pytest.mark.slow) for each in (1e-6, 1e-8)), 1e-10])
def test_implicit_fits_with_fewer_items_than_factors_are_precise(reg: float, solver: Any) -> None:
    model = hs.ALS(hs.Implicit(), rank=64, regularization=reg, solver=solver, random_state=0)
    model.fit(few_items())
    assert all(min(line.observed, line.missing, line.regularization) >= 0 for line in model.history_)
    scores = model.user_factors_ @ model.item_factors_.T
    observed = few_items().to_sparse().toarray() > 0
    # as many factors as items fit both targets, 1 and 0
    np.testing.assert_allclose(scores, observed, atol=0.02)


@pytest.mark.parametrize("biases", [False, True])
@pytest.mark.parametrize("rank", [1, 4])
def test_rows_without_weight_name_a_sufficient_regularization(rank: int, biases: bool) -> None:
    users, items = np.indices((40, 12)).reshape(2, -1)
    values = np.random.default_rng(0).integers(1, 6, len(users)).astype(float)
    weights = np.where(users == 3, 0.0, 2.0)
    data = hs.Interactions.from_arrays(users, items, values, weights=weights)
    options: dict[str, Any] = {"rank": rank, "random_state": 0}
    with pytest.raises(NumericalError, match=r"user 3 is not .* set regularization=1e-0\d or more$") as caught:
        hs.ALS(hs.Explicit(biases=biases), regularization=0.0, **options).fit(data)
    assert caught.value.regularization is not None
    model = hs.ALS(hs.Explicit(biases=biases), regularization=caught.value.regularization, **options).fit(data)
    assert not model.user_factors_[3].any()
    assert model.user_factors_[:3].all()


def test_targets_of_0_name_a_sufficient_regularization() -> None:
    data = few_items().with_values(np.zeros(len(few_items())))
    with pytest.raises(NumericalError, match=r"item 0 is not .* set regularization=1e-\d\d or more$") as caught:
        hs.ALS(hs.Explicit(biases=False), rank=1, regularization=0.0, random_state=0).fit(data)
    hs.ALS(hs.Explicit(biases=False), rank=1, regularization=caught.value.regularization, random_state=0).fit(data)


@pytest.mark.parametrize("n_items", [3, 6, 12])
def test_float32_factors_equal_float64_factors(n_items: int) -> None:
    data = few_items(items=n_items)
    in_float32, in_float64 = (
        hs.ALS(
            hs.Implicit(missing_weight=0.1),
            rank=40,
            regularization=1e-6,
            solver="cholesky",
            dtype=dtype,
            iterations=2,
            random_state=0,
        ).fit(data)
        for dtype in ("float32", "float64")
    )
    scores, expected = (model.user_factors_ @ model.item_factors_.T for model in (in_float32, in_float64))
    np.testing.assert_allclose(scores, expected, atol=2e-3)


@pytest.mark.parametrize("missing", [0.0, 1.0])
def test_rows_that_lose_precision_in_float32_are_solved_in_float64(missing: float) -> None:
    """Several rows are solved, even if the first one loses precision."""
    for seed in range(30):
        rng = np.random.default_rng(seed)
        table = Table(rng.random((20, 6)) < 0.5, rng.normal(size=(20, 6)))
        setting = next(each for each in SETTINGS if each.name == ("plain" if missing else "signed"))
        problem = setting.problem(table, rank=8, reg=1e-7, rho=1.0)
        user_problem, _ = setting.half_problems(table, rank=8, reg=1e-7, rho=1.0, dtype="float32")
        Y = rng.normal(size=(6, 8)).astype(np.float32)
        expected = reference.half_step(problem, Y.astype(float))
        X, loss = half_step_and_loss(user_problem, Y, dtype="float32")
        np.testing.assert_allclose(X @ Y.T, expected @ Y.T, atol=2e-4)
        assert loss is not None
        assert min(loss) >= 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("solver", ["cholesky", "cg"])
def test_biases_are_precise_if_observed_and_missing_weights_are_equal(dtype: str, solver: Any) -> None:
    """If w − s m is 0, biases of rows with few observations do not suffer from cancellation."""
    rng = np.random.default_rng(0)
    table = Table(rng.random((200, 60)) < 0.3, rng.integers(1, 6, (200, 60)).astype(float))
    setting = next(each for each in SETTINGS if each.name == "signed-biased-missing")
    equal = hs.Explicit(weight=1.0, missing_weight=1.0, biases=True)
    data = table.interactions
    model = hs.ALS(
        equal,
        rank=40,
        regularization=hs.Regularization(0.1, bias_ratio=1.0, counts="cells"),
        dtype=dtype,
        solver=solver,
        iterations=10,
        random_state=0,  # type: ignore[arg-type]
    ).fit(data)
    problem = setting.problem(table, rank=40, reg=0.1, rho=1.0)
    problem.w = np.ones_like(problem.w)
    problem.t = table.values - model.mean_
    items = np.column_stack([model.item_factors_, model.item_biases_]).astype(float)
    expected = reference.half_step(problem, items)
    users = np.column_stack([model.user_factors_, model.user_biases_])
    np.testing.assert_allclose(users, expected, atol=2e-4 if dtype == "float32" else 1e-9)


def test_loss_of_an_exact_fit_is_not_negative() -> None:
    """All cells are observed, so the loss of missing cells, a difference of sums over all cells, is 0."""
    values = np.add.outer(np.arange(1.0, 31), np.arange(1.0, 9)) % 5 + 1
    for rank in (4, 40):
        for objective in (hs.Implicit(observed_weight=2.0), hs.Explicit(missing_weight=0.3, biases=False)):
            model = hs.ALS(objective, rank=rank, regularization=1e-3, random_state=0).fit(sp.csr_array(values))
            assert all(line.missing == pytest.approx(0, abs=1e-9) and line.missing >= 0 for line in model.history_)
            assert all(line.observed >= 0 for line in model.history_)


@pytest.mark.parametrize("rank", [6, 40])
@pytest.mark.parametrize("objective", [hs.Explicit(biases=False), hs.Explicit(biases=True), hs.Implicit()], ids=repr)
def test_error_without_regularization_names_the_row_and_a_regularization(objective: Objective, rank: int) -> None:
    data = few_items(items=5)
    with pytest.raises(NumericalError, match=r"not positive definite.* set regularization=1e-\d\d or more") as caught:
        hs.ALS(objective, rank=rank, regularization=0.0, random_state=0).fit(data)
    assert caught.value.regularization is not None
    model = hs.ALS(objective, rank=rank, regularization=caught.value.regularization, random_state=0).fit(data)
    assert np.isfinite(model.predict(data)).all()


def test_errors_of_fold_in_and_updates_name_the_row_and_a_regularization() -> None:
    dense = np.random.default_rng(0).integers(1, 6, (30, 20)).astype(float)
    model = hs.ALS(hs.Explicit(biases=False), rank=4, regularization=0.0, random_state=0).fit(sp.csr_array(dense))
    with pytest.raises(
        NumericalError, match=r"the system of user 'ann' is not .*set regularization=1e-\d\d"
    ) as caught:
        model.fold_in({"ann": {3: 5.0, 4: 1.0}})
    assert caught.value.regularization is not None
    new = hs.Interactions.from_arrays([99, 99], [3, 4], [5.0, 1.0])
    with pytest.raises(NumericalError, match=r"the system of user 99 is not .*set regularization=1e-\d\d"):
        model.partial_fit(new)
    with pytest.raises(NumericalError, match=r"the system of user 99 is not .*set regularization=1e-\d\d"):
        model.explain(99, 3)


def test_features_with_small_regularization() -> None:
    data = few_items()
    features = sp.csr_array(np.random.default_rng(1).normal(size=(len(data.users), 3)))
    model = hs.ALS(hs.Implicit(), rank=20, regularization=1e-7, random_state=0)
    model.fit(data, user_features=features)
    assert all(min(line.observed, line.missing, line.regularization) >= 0 for line in model.history_)
    scores = model.user_factors_ @ model.item_factors_.T
    np.testing.assert_allclose(scores, data.to_sparse().toarray() > 0, atol=0.02)


def test_ill_conditioned_fits_are_bitwise_independent_of_threads() -> None:
    data = few_items(users=400)
    fits = [
        hs.ALS(hs.Implicit(), rank=64, regularization=1e-7, iterations=4, random_state=0, threads=threads).fit(data)
        for threads in (1, 2, 5)
    ]
    for other in fits[1:]:
        assert other.user_factors_.tobytes() == fits[0].user_factors_.tobytes()
        assert other.history_[-1].objective == fits[0].history_[-1].objective


@pytest.mark.parametrize("scale", [1e-310, 1e-30, 1e30, 1e150, 1e300])
@pytest.mark.parametrize("rank", [4, 40])
def test_extreme_values_are_fitted_or_raise(scale: float, rank: int) -> None:
    data = few_items()
    extreme = data.with_values(data.values * scale / 5)
    model = hs.ALS(hs.Explicit(biases=True), rank=rank, iterations=3, random_state=0)
    if scale > 1e30 or (scale > 1 and rank > 12):
        with pytest.raises(NumericalError, match="check the data for extreme values"):
            model.fit(extreme)
    else:
        assert np.isfinite(model.fit(extreme).predict(extreme)).all()
        assert model.history_[-1].objective >= 0


def test_regularization_beyond_float32_raises() -> None:
    for objective in (hs.Explicit(biases=False), hs.Implicit()):
        with pytest.raises(NumericalError, match="check the data for extreme values"):
            hs.ALS(objective, rank=40, regularization=1e200, iterations=2).fit(few_items())


@pytest.mark.parametrize("term", ["observed", "missing", "regularization"])
def test_objective_below_zero_raises(term: str) -> None:
    terms = {"observed": 5.0, "missing": 3.0, "regularization": 1.0, term: -2.0}
    with pytest.raises(NumericalError, match=rf"the objective's term '{term}' is -2 after iteration 3, below 0"):
        as_iteration(3, Terms(**terms), 0.1)
    assert as_iteration(3, Terms(5.0, 0.0, 1.0), 0.1).objective == 6.0


def test_ill_conditioned_rows_are_not_solved_by_conjugate_gradients() -> None:
    """Rows whose λ is below the rounding error of the sum over observations are solved exactly."""
    rng = np.random.default_rng(3)
    table = Table(rng.random((50, 30)) < 0.8, rng.normal(size=(50, 30)) * 100)
    setting = next(each for each in SETTINGS if each.name == "signed")
    problem = setting.problem(table, rank=48, reg=1e-6, rho=1.0)
    user_problem, _ = setting.half_problems(table, rank=48, reg=1e-6, rho=1.0, dtype="float32")
    Y = rng.normal(size=(30, 48)).astype(np.float32)
    expected = reference.half_step(problem, Y.astype(float))
    X, _ = half_step_and_loss(user_problem, Y, dtype="float32", start=0 * expected, solver="cg")
    np.testing.assert_allclose(X, expected, atol=1e-3 * np.abs(expected).max())
