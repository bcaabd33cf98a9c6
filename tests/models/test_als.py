from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import halfstep as hs
import reference
from blas import blas_threads
from halfstep.errors import (
    DataError,
    FitInterruptedWarning,
    NotFittedError,
    NumericalError,
    ParameterError,
    UnknownIdError,
)
from halfstep.models import als
from halfstep.models.als import ALS
from halfstep.solvers import NAMES
from settings import SETTINGS, Setting, Table, arrays, constant, value

pytestmark = pytest.mark.filterwarnings("ignore::halfstep.errors.PoorFitWarning")  # of arithmetic on small data

PLAIN = hs.solvers.Cholesky(extrapolation=0.0)
UNREFRESHED = hs.solvers.Cholesky(extrapolation=0.0, refresh_users=False)


@pytest.fixture(scope="module")
def table() -> Table:
    rng = np.random.default_rng(0)
    observed = rng.random((30, 20)) < 0.3
    observed[4], observed[:, 7] = False, False  # a user and an item without observations
    return Table(observed, rng.integers(1, 6, observed.shape).astype(float))


@pytest.fixture(scope="module")
def data(table: Table) -> hs.Interactions:
    return table.interactions


def fitted(setting: Setting, data: hs.Interactions, **options: object) -> ALS:
    return ALS(
        setting.objective,
        rank=4,
        regularization=setting.regularization(0.7, rho=2.0),
        random_state=0,
        **({"solver": PLAIN} | options),
    ).fit(data)


def joined(model: ALS, biases: bool) -> tuple[np.ndarray, np.ndarray]:
    """[factors | bias] as the twin has them."""
    X = np.column_stack([model.user_factors_, model.user_biases_]).astype(float)
    Y = np.column_stack([model.item_factors_, model.item_biases_]).astype(float)
    return (X, Y) if biases else (X[:, :-1], Y[:, :-1])


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_history_holds_the_terms_of_the_objective(setting: Setting, table: Table, data: hs.Interactions) -> None:
    problem = setting.problem(table, rank=4, reg=0.7, rho=2.0)
    model = fitted(setting, data, iterations=6, dtype="float64", solver=UNREFRESHED)
    X, Y = joined(model, setting.biases)
    observed, missing, regularization_term = reference.terms(problem, X, Y)
    last = model.history_[-1]
    assert last.observed == pytest.approx(observed, rel=1e-10)
    assert last.missing == pytest.approx(missing, rel=1e-10, abs=1e-12)
    assert last.regularization == pytest.approx(regularization_term, rel=1e-10)
    assert last.objective == pytest.approx(observed + missing + regularization_term, rel=1e-10)
    objectives = [line.objective for line in model.history_]
    assert all(after <= before * (1 + 1e-12) for before, after in pairwise(objectives))
    assert [line.iteration for line in model.history_] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("biases", [False, True])
@pytest.mark.parametrize("regularization", [1e-6, 1e-2, 1e4])
@pytest.mark.parametrize("precisions", [("float64", "float64"), ("float32", "float64"), ("float32", "float32")])
def test_the_loss_keeps_its_digits_however_good_the_fit(
    table: Table,
    data: hs.Interactions,
    biases: bool,
    regularization: float,
    precisions: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A rank that fits every value: what the factorisation leaves of the targets is then a difference of equals."""
    dtype, system_dtype = precisions
    if system_dtype == "float32":
        monkeypatch.setattr(als, "EXACT_RANK", 0)
        regularization = max(regularization, 1e-2)
    setting = Setting("exact", hs.Explicit(biases=biases), arrays(value, constant(1), 0), 0.0, biases)
    model = ALS(
        setting.objective,
        rank=20,
        regularization=setting.regularization(regularization, rho=1.0),
        iterations=3,
        random_state=0,
        dtype=dtype,
        solver=hs.solvers.Cholesky(refresh_users=False),
    ).fit(data)
    problem = setting.problem(table, rank=20, reg=regularization, rho=1.0)
    observed, _, regularization_term = reference.terms(problem, *joined(model, biases))
    last = model.history_[-1]
    # Factors are rounded once their systems are solved, which moves every prediction by some units of rounding.
    rounding = 40 * np.finfo(dtype).eps * np.sum(table.values[table.observed] ** 2)
    exactly = 1e-8 if system_dtype == "float64" else 1e-5
    assert last.observed == pytest.approx(observed, rel=exactly, abs=rounding**2 + rounding * np.sqrt(observed))
    assert last.objective == pytest.approx(observed + regularization_term, rel=exactly)


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_training_loop_is_the_twin_iterated(setting: Setting, table: Table, data: hs.Interactions) -> None:
    rng = np.random.default_rng(3)
    U, V = rng.normal(size=(30, 4)), rng.normal(size=(20, 4))
    options = {"iterations": 3, "dtype": "float64", "init": (U, V)}
    model = fitted(setting, data, solver=UNREFRESHED, **options)
    problem = setting.problem(table, rank=4, reg=0.7, rho=2.0)
    Y = np.column_stack([V, np.zeros(20)]) if setting.biases else V
    for _ in range(3):
        X = reference.half_step(problem, Y)
        Y = reference.half_step(problem.transposed, X)
    for ours, theirs in zip(joined(model, setting.biases), (X, Y), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-9)
    # By default the users are solved once more; the items stay, and so does the history.
    refreshed = fitted(setting, data, **options)
    X = reference.half_step(problem, Y)
    for ours, theirs in zip(joined(refreshed, setting.biases), (X, Y), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-9)
    assert [line[:5] for line in refreshed.history_] == [line[:5] for line in model.history_]


def test_single_precision_is_close_to_double(data: hs.Interactions, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"rank": 4, "regularization": 1.0, "iterations": 5, "random_state": 0, "solver": "cholesky"}
    double = ALS(hs.Explicit(biases=True), dtype="float64", **options).fit(data)
    monkeypatch.setattr(als, "EXACT_RANK", 0)
    single = ALS(hs.Explicit(biases=True), dtype="float32", **options).fit(data)
    assert (single.user_factors_.dtype, double.user_factors_.dtype) == (np.float32, np.float64)
    np.testing.assert_allclose(single.user_factors_, double.user_factors_, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("objective", "exponent"),
    [
        (hs.Explicit(biases=True), 0.5),
        (hs.Explicit(weight=hs.weights.linear_popularity(0.1, 1.0), biases=False), 0.0),
        (hs.Explicit(biases=False), 1.0),
        (hs.Implicit(), 0.0),
        (hs.Implicit(observed_weight=hs.weights.confidence(alpha=10)), 0.0),
        (hs.Implicit(missing_weight=hs.weights.missing_popularity(c0=512, exponent=0.4)), 0.0),
    ],
    ids=str,
)
@pytest.mark.parametrize("rank", [8, 40])
def test_extrapolation_never_hurts_on_real_data(objective: hs.Explicit, exponent: float, rank: int) -> None:
    """After the default number of iterations the objective is no higher, and it never rises on the way."""
    ratings = hs.datasets.movielens_100k()
    kind = hs.solvers.Cholesky if rank == 8 else hs.solvers.ConjugateGradient
    options = {"rank": rank, "regularization": hs.Regularization(exponent=exponent), "random_state": 0}
    plain, ahead = (
        [line.objective for line in ALS(objective, **options, solver=solver).fit(ratings).history_]
        for solver in (kind(extrapolation=0.0), kind())
    )
    assert len(ahead) == len(plain) == ALS.iterations
    assert ahead[-1] < plain[-1] * (1 + 1e-4)
    assert all(after <= before * (1 + 2e-6) for before, after in pairwise(ahead))


@pytest.mark.parametrize("beta", [0.8, 3.0, 50.0])
def test_iterations_that_raise_the_objective_are_thrown_away(data: hs.Interactions, beta: float) -> None:
    model, plain = (
        ALS(rank=4, iterations=n, random_state=0, dtype="float64", solver=hs.solvers.Cholesky(extrapolation=each))
        for n, each in ((30, beta), (300, 0))
    )
    objectives = [line.objective for line in model.fit(data).history_]
    assert len(objectives) == 30
    assert all(after <= before * (1 + 1e-12) for before, after in pairwise(objectives))
    assert objectives[-1] < plain.fit(data).history_[0].objective
    assert objectives[-1] > 0.9 * plain.history_[-1].objective


EVERY_KIND = [
    hs.Explicit(biases=True),
    hs.Implicit(missing_weight=0.1),
    hs.Explicit(biases=True, missing_weight=0.01),
]


@pytest.mark.slow
@pytest.mark.parametrize("objective", EVERY_KIND, ids=str)
def test_all_solvers_lead_to_the_same_place(objective: hs.Explicit) -> None:
    ratings = hs.datasets.movielens_100k()
    options = {"rank": 40, "iterations": 12, "random_state": 0}
    exact, steps, blocks = (
        ALS(objective, **options, solver=solver).fit(ratings) for solver in ("cholesky", "cg", "subspace")
    )
    for model in (steps, blocks):
        assert model.history_[-1].objective == pytest.approx(exact.history_[-1].objective, rel=2e-3)
        folded = model.fold_in(ratings)  # the last solution is exact
        np.testing.assert_allclose(folded.user_factors_, model.user_factors_, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(
        steps.item_factors_, ALS(objective, **options).fit(ratings).item_factors_
    )  # chosen at this rank


@pytest.mark.slow
@pytest.mark.parametrize("objective", EVERY_KIND, ids=str)
@pytest.mark.parametrize("solver", ["cg", "subspace"])
def test_solvers_do_as_they_are_told_at_low_ranks(data: hs.Interactions, objective: hs.Explicit, solver: str) -> None:
    options = {"rank": 9, "random_state": 0, "dtype": "float64"}
    solvers = [NAMES[name](extrapolation=0.0) for name in ("cholesky", solver)]
    exact, model = (ALS(objective, iterations=300, solver=each, **options).fit(data) for each in solvers)
    assert model.history_[-1].objective == pytest.approx(exact.history_[-1].objective, rel=1e-3)
    first = [ALS(objective, iterations=1, solver=each, **options).fit(data) for each in solvers]
    if solver == "cg":
        assert first[1].history_[0].observed != first[0].history_[0].observed


def test_precision_is_chosen_by_rank(data: hs.Interactions, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = {
        (rank, dtype): ALS(rank=rank, dtype=dtype)._precision
        for rank in (8, 32, 33)
        for dtype in ("float32", "float64")
    }
    assert {key for key, precision in chosen.items() if precision == "float32"} == {(33, "float32")}
    options = {"rank": 40, "iterations": 4, "random_state": 0, "solver": "cg"}
    objectives = hs.Explicit(biases=True), hs.Implicit(), hs.Implicit(missing_weight=0.1)
    singles = [ALS(objective, **options).fit(data) for objective in objectives]
    monkeypatch.setattr(als, "EXACT_RANK", 40)
    for objective, single in zip(objectives, singles, strict=True):
        double = ALS(objective, **options).fit(data)
        np.testing.assert_allclose(single.predict(data), double.predict(data), rtol=1e-3, atol=1e-3)
        assert single.history_[-1].objective == pytest.approx(double.history_[-1].objective, rel=1e-4)


def test_recovers_a_matrix_of_low_rank() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(60, 3)) @ rng.normal(size=(3, 40))
    seen = rng.random(truth.shape) < 0.5
    model = ALS(rank=3, regularization=1e-6, iterations=200, random_state=0, dtype="float64").fit(
        Table(seen, truth).interactions
    )
    rows, columns = np.nonzero(~seen)
    np.testing.assert_allclose(model.predict(rows, columns), truth[rows, columns], atol=1e-3)


def test_rows_without_observations_are_zero(data: hs.Interactions) -> None:
    model = ALS(hs.Explicit(biases=True), rank=4, random_state=0).fit(data)
    assert not model.user_factors_[4].any()
    assert not model.item_factors_[7].any()
    assert model.user_biases_[4] == model.item_biases_[7] == 0
    assert model.predict([4], [7]) == [model.mean_]


def test_bias_regularization_moves_the_biases_alone(data: hs.Interactions) -> None:
    free, held = (
        ALS(hs.Explicit(biases=True), rank=2, regularization=hs.Regularization(bias_ratio=rho), random_state=0).fit(
            data
        )
        for rho in (0.1, 1e6)
    )
    assert np.abs(free.user_biases_).max() > 0.1
    assert np.abs(held.user_biases_).max() < 1e-3


def test_tol_stops_early(data: hs.Interactions) -> None:
    model = ALS(rank=2, iterations=500, tol=1e-3, regularization=1.0, random_state=0).fit(data)
    history = model.history_
    assert 2 < len(history) < 500
    drops = [(a.objective - b.objective) / a.objective for a, b in pairwise(history)]
    assert drops[-1] < 1e-3 <= min(drops[:-1])


@pytest.mark.slow
def test_without_tol_no_iteration_is_left_out(data: hs.Interactions) -> None:
    model = ALS(rank=2, iterations=2000, regularization=1.0, random_state=0).fit(data)
    rises = [after.objective >= before.objective for before, after in pairwise(model.history_)]
    assert any(rises)  # converged to the last bit long ago: rounding alone moves it now
    assert len(model.history_) == 2000


def test_what_a_callback_keeps_stays(data: hs.Interactions) -> None:
    kept: list[np.ndarray] = []
    copies: list[np.ndarray] = []

    def keep(model: ALS) -> float:
        kept.append(model.user_factors_)
        copies.append(model.user_factors_.copy())
        return 1.0  # a number does not mean stop

    model = ALS(rank=2, iterations=5, random_state=0, callbacks=[keep]).fit(data)
    assert len(kept) == 5
    for factors, as_they_were in zip(kept, copies, strict=True):
        np.testing.assert_array_equal(factors, as_they_were)
    for array in (model.user_factors_, model.item_factors_, model.user_biases_, model.item_biases_):
        assert array.flags.c_contiguous


def test_attributes_that_are_not_there() -> None:
    with pytest.raises(AttributeError, match="'ALS' object has no attribute 'user_factor_'"):
        _ = ALS().user_factor_


def test_callbacks_see_the_model_and_may_stop_it(data: hs.Interactions) -> None:
    seen = []

    def watch(model: ALS) -> bool:
        seen.append((len(model.history_), model.predict([0], [1])[0]))
        return len(seen) == 3

    model = ALS(
        rank=2, iterations=50, random_state=0, callbacks=[watch], solver=hs.solvers.Cholesky(refresh_users=False)
    ).fit(data)
    assert [n for n, _ in seen] == [1, 2, 3]
    assert len({score for _, score in seen}) == 3
    assert model.predict([0], [1])[0] == seen[-1][1]


def test_interrupt_leaves_the_last_finished_iteration(data: hs.Interactions) -> None:
    def interrupt(model: ALS) -> None:
        if len(model.history_) == 3:
            raise KeyboardInterrupt

    with pytest.warns(FitInterruptedWarning, match="after 3 of 9 iterations"):
        model = ALS(rank=2, iterations=9, random_state=0, callbacks=[interrupt]).fit(data)
    whole = ALS(rank=2, iterations=3, random_state=0).fit(data)
    np.testing.assert_array_equal(model.item_factors_, whole.item_factors_)
    assert [line.objective for line in model.history_] == [line.objective for line in whole.history_]


def test_interrupt_in_mid_iteration_changes_nothing(data: hs.Interactions, monkeypatch: pytest.MonkeyPatch) -> None:
    from halfstep.solver.cpu import CPU

    steps = []
    plain = CPU.half_step_and_loss

    def interrupted(self: CPU, planned: object, Y: np.ndarray, X: np.ndarray, **more: object) -> tuple[float, float]:
        loss = plain(self, planned, Y, X, **more)
        steps.append(1)
        if len(steps) == 3:  # the items' half of the third iteration
            X[...] = np.nan
            raise KeyboardInterrupt
        return loss

    monkeypatch.setattr(CPU, "half_step_and_loss", interrupted)
    with pytest.warns(FitInterruptedWarning, match="after 2 of 9 iterations"):
        model = ALS(rank=2, iterations=9, random_state=0).fit(data)
    monkeypatch.undo()
    whole = ALS(rank=2, iterations=2, random_state=0).fit(data)
    np.testing.assert_array_equal(model.user_factors_, whole.user_factors_)
    np.testing.assert_array_equal(model.item_factors_, whole.item_factors_)


def test_interrupt_before_the_first_iteration_is_raised(
    data: hs.Interactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    from halfstep.solver.cpu import CPU

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(CPU, "half_step", interrupted)
    model = ALS(rank=2)
    with pytest.raises(KeyboardInterrupt):
        model.fit(data)
    with pytest.raises(NotFittedError, match=r"call ALS\.fit\(data\) first"):
        _ = model.user_factors_


def test_blas_threads_are_set_back_and_no_thread_is_left(data: hs.Interactions) -> None:
    threads = threading.active_count()
    during: list[set[int]] = []
    whole = hs.Explicit(missing_weight=1.0, biases=False)
    with threadpool_limits(3, user_api="blas"):
        ALS(whole, rank=2, iterations=1, threads=3, callbacks=[lambda _: during.append(blas_threads())]).fit(data)
        assert during[0] == {1}
        assert blas_threads() == {3}
        assert threading.active_count() == threads
        with pytest.raises(NumericalError):
            ALS(whole, rank=30, regularization=0.0, threads=3).fit(data)
        assert blas_threads() == {3}
    assert threading.active_count() == threads


def test_any_python_thread_gives_the_same_bits(data: hs.Interactions) -> None:
    """Also after another has set BLAS's threads, which threadpoolctl then leaves to that one."""
    during: list[set[int]] = []

    def watched(_: ALS) -> None:
        during.append(blas_threads())

    def fit() -> ALS:
        return ALS(hs.Implicit(), rank=40, iterations=2, random_state=0, callbacks=[watched]).fit(data)

    with threadpool_limits(3, user_api="blas"):
        here = fit()
        with ThreadPoolExecutor(2) as pool:
            there = [pool.submit(fit) for _ in range(2)]
        assert blas_threads() == {3}
    assert during == [{1}] * 6
    for model in there:
        np.testing.assert_array_equal(here.item_factors_, model.result().item_factors_)


def test_two_fits_in_two_threads(data: hs.Interactions) -> None:
    alone = ALS(rank=3, iterations=30, random_state=0).fit(data)
    models = [ALS(rank=3, iterations=30, random_state=0, threads=2) for _ in range(2)]
    threads = [threading.Thread(target=model.fit, args=(data,)) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for model in models:
        np.testing.assert_array_equal(model.user_factors_, alone.user_factors_)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"rank": -1}, "rank=-1"),
        ({"rank": 0, "objective": hs.Implicit()}, "rank=0"),
        ({"rank": 2.5}, r"rank=2\.5"),
        ({"iterations": 0}, "iterations=0"),
        ({"regularization": -1.0}, r"regularization=-1\.0"),
        ({"regularization": float("nan")}, "regularization=nan"),
        ({"tol": -1e-3}, r"tol=-0\.001"),
        ({"regularization": (1.0, -1.0)}, "regularization=-1.0"),
        ({"regularization": (1.0, 1.0, 1.0)}, "a pair for users and items"),
        ({"solver": hs.solvers.Cholesky}, r"solver=Cholesky: give an instance, such as Cholesky\(\)"),
        ({"dtype": "float16"}, "dtype='float16': give one of 'float32', 'float64'"),
        ({"threads": 0}, "threads=0"),
        ({"objective": 16}, r"objective=16: give an objective such as Explicit\(\)"),
        ({"objective": hs.Explicit}, r"give an objective such as Explicit\(\)"),
        ({"init": (np.zeros((3, 2)),)}, "init is of type tuple: give a pair"),
        ({"init": 3}, "init is of type int: give a pair"),
        ({"callbacks": print}, "callbacks=<built-in function print>: give a list of functions"),
        ({"callbacks": [3]}, r"callbacks=\[3\]: give a list of functions"),
        ({"random_state": "seed"}, "random_state='seed'"),
    ],
)
def test_bad_parameters_are_named(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        ALS(**parameters)


@pytest.mark.parametrize(
    ("init", "message"),
    [
        ((np.zeros((30, 3)), np.zeros((20, 2))), r"user factors are of shape \(30, 3\): give .* shape \(30, 2\)"),
        ((np.zeros((30, 2)), np.zeros((19, 2))), r"item factors are of shape \(19, 2\): give .* shape \(20, 2\)"),
        ((np.zeros((30, 2)), np.full((20, 2), np.nan)), "init: the item factors are not finite"),
        ((np.ones((30, 2)), np.zeros((20, 2))), "init: the item factors are all 0, so all factors would become 0"),
    ],
)
def test_bad_init_is_named(data: hs.Interactions, init: tuple[np.ndarray, np.ndarray], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        ALS(rank=2, init=init).fit(data)


def test_legacy_random_state_is_refused() -> None:
    with pytest.raises(ParameterError, match="default_rng"):
        ALS(rank=2, random_state=np.random.RandomState(0))


def test_predict_unknown_ids_get_the_baseline() -> None:
    data = hs.Interactions.from_arrays(["a", "a", "b"], ["x", "y", "x"], [5.0, 3.0, 4.0])
    model = ALS(hs.Explicit(biases=True), rank=1, random_state=0).fit(data)
    known_item, known_user, neither = model.predict(["?", "a", "?"], ["x", "?", "?"])
    assert known_item == pytest.approx(model.mean_ + model.item_biases_[0])
    assert known_user == pytest.approx(model.mean_ + model.user_biases_[0])
    assert neither == model.mean_ == pytest.approx(4.0)
    with pytest.raises(UnknownIdError, match=r"'\?'"):
        model.predict(["?"], ["x"], unknown="raise")


def test_predict_pairs_or_one_against_many(data: hs.Interactions) -> None:
    model = ALS(rank=2, random_state=0).fit(data)
    np.testing.assert_array_equal(model.predict(3, [0, 1, 2]), model.predict([3, 3, 3], [0, 1, 2]))
    with pytest.raises(DataError, match="users has 2 ids and items has 3"):
        model.predict([0, 1], [0, 1, 2])
    with pytest.raises(DataError, match="items is missing"):
        model.predict([0, 1])
    with pytest.raises(DataError, match="items is given in addition to Interactions"):
        model.predict(data, [1])
    with pytest.raises(ParameterError, match="unknown='error': give one of 'baseline', 'raise'"):
        model.predict([0], [1], unknown="error")
    np.testing.assert_array_equal(model.predict(data), model.predict(data.user_ids, data.item_ids))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: hs.Regularization(-1.0), r"users=-1\.0: give a finite number of at least 0"),
        (lambda: hs.Regularization(1.0, float("inf")), "items=inf"),
        (lambda: hs.Regularization(items=1.0), r"items=1\.0 without users"),
        (lambda: hs.Regularization(exponent=-0.5), r"exponent=-0\.5"),
        (lambda: hs.Regularization(bias_ratio=-1.0), r"bias_ratio=-1\.0"),
        (lambda: hs.Regularization(counts="all"), "counts='all': give one of 'observed', 'cells', 'positive'"),
        (lambda: hs.Regularization(features=0.0), r"features=0\.0: give a finite number above 0"),
        (lambda: hs.solvers.Cholesky(refresh_users=1), "refresh_users=1: give True or False"),
        (lambda: hs.solvers.Cholesky(extrapolation=-1), "extrapolation=-1: give"),
        (lambda: hs.solvers.ConjugateGradient(steps=0), "steps=0: give an integer of at least 1"),
        (lambda: hs.solvers.Subspace(block_size=0), "block_size=0: give an integer of at least 1"),
    ],
)
def test_parts_of_parameters_are_checked(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        make()
