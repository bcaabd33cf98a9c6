"""Presets compared with the libraries: with the same factors of items, the half-steps for users are equal.

Of libraries that are not installed (the extra `bench` has those that can be), the formulas of `reference` stand in.
"""

from __future__ import annotations

import importlib
import inspect
import warnings
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from scipy import sparse

import halfstep as hs
import reference
from halfstep.errors import ParameterError
from settings import Table

RANK = 5
SEEDS = [0, 1, 2]
every_seed = pytest.mark.parametrize("seed", SEEDS)


def peer(name: str) -> ModuleType:
    """Import a library without its warnings, or skip the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip(name.partition(".")[0], reason=f"{name} is not installed: see the extra bench")
        return importlib.import_module(name)


def table(seed: int, *, signs: bool = False) -> Table:
    """Real-valued confidences, some users and one item without any; with `signs`, a third negative and some 0."""
    rng = np.random.default_rng(seed)
    observed = rng.random((30, 17)) < rng.uniform(0.05, 0.8, (30, 1))
    observed[[3, 29]], observed[:, 5] = False, False
    values = rng.lognormal(0.0, 1.0, observed.shape)
    if signs:
        values *= rng.choice([1.0, 1.0, -1.0], observed.shape)
        values[rng.random(observed.shape) < 0.05] = 0.0
    return Table(observed, values)


def matrix(data: Table) -> sparse.csr_matrix:
    """Return a sparse matrix, in which stored cells are observed."""
    rows, columns = np.nonzero(data.observed)
    return sparse.csr_matrix((data.values[rows, columns], (rows, columns)), shape=data.observed.shape)


UNREFRESHED = hs.solvers.Cholesky(extrapolation=0.0, refresh_users=False)


def factors(seed: int, count: int = 17) -> np.ndarray:
    return np.random.default_rng(seed + 100).normal(0.0, 0.7, (count, RANK))


def after_one_iteration(model: hs.ALS, data: Table, Q: np.ndarray) -> hs.ALS:
    """Fit with Q given: the users are its half-step, and the items the half-step of these users."""
    start = np.zeros((len(data.observed), RANK)), Q
    return replace(model, init=start, iterations=1, solver=UNREFRESHED, dtype="float64").fit(data.interactions)


def assert_rows_agree(ours: np.ndarray, theirs: np.ndarray, tolerance: float) -> None:
    """‖x − y‖ ≤ tolerance · ‖y‖, row by row."""
    assert ours.shape == theirs.shape
    assert np.abs(theirs).max() > 0.01
    error, size = np.linalg.norm(ours - theirs, axis=1), np.linalg.norm(theirs, axis=1)
    assert (error <= tolerance * size).all(), (error / np.where(size > 0, size, 1.0)).max()


def both_half_steps(model: hs.ALS, data: Table, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Q, the users' half-step from it, and the items' half-step from these users."""
    Q = factors(seed)
    fitted = after_one_iteration(model, data, Q)
    return Q, fitted.user_factors_, fitted.item_factors_


@every_seed
@pytest.mark.parametrize(("regularization", "alpha"), [(0.01, 1.0), (0.8, 40.0), (5.0, 0.3)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_implicit(seed: int, regularization: float, alpha: float, dtype: str) -> None:
    als = peer("implicit.cpu.als")
    data = table(seed, signs=True)
    Q, P, new_Q = both_half_steps(hs.presets.implicit(RANK, regularization, alpha), data, seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="OpenBLAS is configured", category=RuntimeWarning)
        theirs = als.AlternatingLeastSquares(
            factors=RANK, regularization=regularization, alpha=alpha, dtype=np.dtype(dtype), use_cg=False
        )
    theirs.item_factors, theirs.user_factors = Q.astype(dtype), P.astype(dtype)
    assert_rows_agree(P, theirs.recalculate_user(np.arange(30), matrix(data)), 1e-4)
    assert_rows_agree(new_Q, theirs.recalculate_item(np.arange(17), matrix(data).T.tocsr()), 1e-4)


@every_seed
@pytest.mark.parametrize(
    "options",
    [
        {"alpha0": 0.3, "reg": 0.05},
        {"alpha0": 1.0, "reg": 0.01, "nu": 0.0},
        {"alpha0": 0.1, "reg": 0.02, "nu": 0.5, "confidence_scaling": "log", "epsilon": 0.7},
        {"alpha0": 0.5, "reg": 0.05, "loss_type": "ORIGINAL"},
        {"alpha0": 0.2, "reg": 0.03, "nu": 0.7, "confidence_scaling": "log", "loss_type": "ORIGINAL"},
    ],
    ids=str,
)
def test_irspack(seed: int, options: dict[str, Any]) -> None:
    data = table(seed)
    Q, P, _ = both_half_steps(hs.presets.irspack(RANK, **options), data, seed)
    theirs = peer("irspack").IALSRecommender(
        matrix(data), n_components=RANK, solver_type="CHOLESKY", train_epochs=1, n_threads=1, **options
    )
    theirs.learn()
    theirs.trainer.core_trainer.item = Q.astype(np.float32)
    assert_rows_agree(P, theirs.compute_user_embedding(matrix(data)), 1e-4)


@every_seed
@pytest.mark.parametrize(("lambda_", "alpha"), [(1.0, 1.0), (0.05, 40.0), ([9, 9, 0.3, 0.7, 9, 9], 0.4)], ids=str)
def test_cmfrec(seed: int, lambda_: Any, alpha: float) -> None:
    data = table(seed)
    Q, P, new_Q = both_half_steps(hs.presets.cmfrec(RANK, lambda_, alpha), data, seed)
    kind = peer("cmfrec").CMF_implicit
    for A, B, X, ours, reg in ((P, Q, matrix(data), P, 2), (Q, P, matrix(data).T.tocsr(), new_Q, 3)):
        theirs = kind.from_model_matrices(A, B, lambda_=np.broadcast_to(lambda_, 6)[reg], alpha=alpha)
        assert_rows_agree(ours, theirs.factors_multiple(X), 1e-4)
        row = next(u for u in range(X.shape[0]) if X[[u]].nnz)
        single = theirs.factors_warm(X[[row]].indices, X[[row]].data)
        assert_rows_agree(ours[[row]], single[None, :], 1e-4)


LAMBDAS = [0.6, 1.0, 0.3, 0.5, 9.0, 9.0]  # biases of users and items, users, items


@every_seed
@pytest.mark.parametrize("scale_lam", [False, True])
def test_cmfrec_with_biases(seed: int, scale_lam: bool) -> None:
    data = table(seed, signs=True)
    Q = factors(seed)
    fitted = after_one_iteration(hs.presets.cmfrec_explicit(RANK, LAMBDAS, scale_lam=scale_lam), data, Q)
    theirs = peer("cmfrec").CMF.from_model_matrices(
        np.zeros((30, RANK)),
        Q,
        glob_mean=data.values[data.observed].mean(),
        user_bias=np.zeros(30),
        item_bias=np.zeros(17),
        lambda_=np.array(LAMBDAS),
        scale_lam=scale_lam,
    )
    users = np.flatnonzero(data.observed.any(axis=1))
    expected = []
    for u in users:
        seen = np.flatnonzero(data.observed[u])
        row, bias = theirs.factors_warm(X_col=seen, X_val=data.values[u, seen], return_bias=True)
        expected.append([*row, bias])
    ours = np.column_stack([fitted.user_factors_, fitted.user_biases_])
    assert_rows_agree(ours[users], np.array(expected), 1e-4)


@every_seed
@pytest.mark.parametrize("scale_lam", [False, True])
def test_cmfrec_without_biases(seed: int, scale_lam: bool) -> None:
    """Its fit ends with the users. (Its `factors_warm` scales λ for all factors but the last one in this case.)"""
    data = table(seed, signs=True)
    options = {"user_bias": False, "item_bias": False, "center": False, "scale_lam": scale_lam, "niter": 2}
    theirs = peer("cmfrec").CMF(
        RANK, np.array(LAMBDAS), use_cg=False, use_float=False, nthreads=1, random_state=seed, **options
    )
    theirs.fit(matrix(data).tocoo())
    model = hs.presets.cmfrec_explicit(RANK, LAMBDAS, **options)
    users = data.observed.any(axis=1)
    assert_rows_agree(after_one_iteration(model, data, theirs.B_).user_factors_[users], theirs.A_[users], 1e-4)


@every_seed
@pytest.mark.parametrize("is_implicit", [False, True])
def test_cmfrec_with_nonnegative_factors(seed: int, is_implicit: bool) -> None:
    """Its fit ends with the users. (Explicit items without observations keep their initial factors, of any sign.)"""
    data, lambdas = table(seed), np.array(LAMBDAS)
    options = {"nonneg": True, "niter": 2}
    settings = {"use_float": False, "nthreads": 1, "random_state": seed, "max_cd_steps": 0}
    if is_implicit:
        theirs = peer("cmfrec").CMF_implicit(RANK, lambdas, 2.0, **options, **settings)
        model = hs.presets.cmfrec(RANK, LAMBDAS, 2.0, **options)
    else:
        options |= {"user_bias": False, "item_bias": False, "center": False}
        theirs = peer("cmfrec").CMF(RANK, lambdas, **options, **settings)
        model = hs.presets.cmfrec_explicit(RANK, LAMBDAS, **options)
    theirs.fit(matrix(data).tocoo())
    users = data.observed.any(axis=1)
    Q = np.where(data.observed.any(axis=0)[:, None], theirs.B_, 0.0)
    ours = after_one_iteration(model, data, Q).user_factors_[users]
    assert (ours == 0).any()
    assert_rows_agree(ours, theirs.A_[users], 1e-3)


@pytest.mark.parametrize("is_implicit", [False, True])
def test_spark_with_nonnegative_factors(is_implicit: bool) -> None:
    plain, constrained = (
        hs.presets.spark(implicitPrefs=is_implicit, nonnegative=nonnegative) for nonnegative in (False, True)
    )
    assert constrained.objective == replace(plain.objective, nonnegative=True)
    assert constrained.regularization == plain.regularization


@every_seed
@pytest.mark.parametrize("implicit_prefs", [False, True])
@pytest.mark.parametrize(("reg_param", "alpha"), [(0.1, 1.0), (2.0, 40.0), (0.01, 0.2)])
def test_spark(seed: int, implicit_prefs: bool, reg_param: float, alpha: float) -> None:
    data = table(seed, signs=True)
    model = hs.presets.spark(RANK, regParam=reg_param, implicitPrefs=implicit_prefs, alpha=alpha)
    Q, P, new_Q = both_half_steps(model, data, seed)
    options = {"reg_param": reg_param, "implicit_prefs": implicit_prefs, "alpha": alpha}
    assert_rows_agree(P, reference.spark(data.values, data.observed, Q, **options), 1e-8)
    assert_rows_agree(new_Q, reference.spark(data.values.T, data.observed.T, P, **options), 1e-8)


@every_seed
@pytest.mark.parametrize("use_ratings", [False, True])
@pytest.mark.parametrize(("regularization", "weight"), [(0.1, 40.0), ((0.4, 3.0), 2.0), ((1.0, 0.01), 0.5)])
def test_lenskit(seed: int, use_ratings: bool, regularization: Any, weight: float) -> None:
    data = table(seed)
    model = hs.presets.lenskit(RANK, regularization=regularization, weight=weight, use_ratings=use_ratings)
    Q, P, new_Q = both_half_steps(model, data, seed)
    of_users, of_items = np.broadcast_to(regularization, 2)
    options = {"weight": weight, "use_ratings": use_ratings}
    assert_rows_agree(P, reference.lenskit(data.values, data.observed, Q, reg=of_users, **options), 1e-8)
    assert_rows_agree(new_Q, reference.lenskit(data.values.T, data.observed.T, P, reg=of_items, **options), 1e-8)


@every_seed
@pytest.mark.parametrize("unobserved_weight", [0.1, 1.5])
@pytest.mark.parametrize("weights", ["arrays", "numbers", "none"])
def test_tensorflow_wals(seed: int, unobserved_weight: float, weights: str) -> None:
    data = table(seed, signs=True)
    rng = np.random.default_rng(seed)
    rows, columns = {
        "arrays": (rng.uniform(0, 3, 30), rng.uniform(0, 3, 17)),
        "numbers": (2.0, 0.3),
        "none": (None, None),
    }[weights]
    model = hs.presets.wals(RANK, unobserved_weight, 0.3, rows, columns)
    Q, P, new_Q = both_half_steps(model, data, seed)
    R = np.broadcast_to(0.0 if rows is None else rows, 30)
    C = np.broadcast_to(0.0 if columns is None else columns, 17)
    options = {"unobserved_weight": unobserved_weight, "regularization": 0.3}
    expected = reference.tensorflow_wals(data.values, data.observed, Q, row_weights=R, col_weights=C, **options)
    assert_rows_agree(P, expected, 1e-8)
    expected = reference.tensorflow_wals(data.values.T, data.observed.T, P, row_weights=C, col_weights=R, **options)
    assert_rows_agree(new_Q, expected, 1e-8)


@every_seed
@pytest.mark.parametrize(("weight", "exponent"), [(0.3, 1.0), (1.0, 0.0), (0.05, 0.4)])
def test_google_ials(seed: int, weight: float, exponent: float) -> None:
    data = table(seed)
    Q, P, new_Q = both_half_steps(hs.presets.ials(RANK, 0.02, weight, exponent), data, seed)
    options = {"unobserved_weight": weight, "regularization": 0.02, "regularization_exp": exponent}
    assert_rows_agree(P, reference.google_ials(data.observed, Q, **options), 1e-8)
    assert_rows_agree(new_Q, reference.google_ials(data.observed.T, P, **options), 1e-8)


@every_seed
@pytest.mark.parametrize(("w0", "alpha"), [(10.0, 0.75), (3.0, 0.0), (0.5, 1.0)])
def test_eals_updates_change_nothing_at_the_minimum(seed: int, w0: float, alpha: float) -> None:
    """Its rule updates one number at a time, and changes none at the minimum of a row."""
    data = table(seed)
    Q, P, new_Q = both_half_steps(hs.presets.eals(RANK, reg=0.02, w0=w0, alpha=alpha), data, seed)
    shares = np.array([count**alpha if count else 0.0 for count in data.item_counts])
    C = np.tile(w0 * shares / shares.sum(), (30, 1))
    assert_rows_agree(P, reference.eals_coordinates(data.observed, P, Q, C, reg=0.02), 1e-8)
    assert_rows_agree(new_Q, reference.eals_coordinates(data.observed.T, new_Q, P, C.T, reg=0.02), 1e-8)


@every_seed
@pytest.mark.parametrize("alpha", [0.5, 1.0, 40.0])
def test_hu_is_ials_up_to_scale(seed: int, alpha: float) -> None:
    """Hu(α, λ) on values of 1 is iALS(α0 = 1/α, λ / (1 + α), ν = 0) with scores times (1 + α) / α.

    On every cell, Hu's loss is x² + α [observed] (x − (1 + α)/α)² and a constant; divide by α κ² with κ = (1 + α)/α
    and call x / κ the score.
    """
    ones = table(seed)
    ones = Table(ones.observed, np.ones_like(ones.values))
    kappa = (1 + alpha) / alpha
    Q = factors(seed)
    hu = after_one_iteration(hs.presets.cmfrec(RANK, 0.7, alpha), ones, np.sqrt(kappa) * Q)
    ials = after_one_iteration(hs.presets.ials(RANK, 0.7 / (1 + alpha), 1 / alpha, 0.0), ones, Q)
    assert_rows_agree(hu.user_factors_, np.sqrt(kappa) * ials.user_factors_, 1e-9)
    assert_rows_agree(hu.item_factors_, np.sqrt(kappa) * ials.item_factors_, 1e-9)

    start = np.zeros((30, RANK)), Q
    longer = {"iterations": 20, "dtype": "float64"}
    hu = replace(hs.presets.cmfrec(RANK, 0.7, alpha), init=(start[0], np.sqrt(kappa) * Q), **longer)
    ials = replace(hs.presets.ials(RANK, 0.7 / (1 + alpha), 1 / alpha, 0.0), init=start, **longer)
    hu.fit(ones.interactions)
    ials.fit(ones.interactions)
    every_pair = [axis.ravel() for axis in np.indices((30, 17))]
    np.testing.assert_allclose(hu.predict(*every_pair), kappa * ials.predict(*every_pair), rtol=1e-6, atol=1e-9)
    lists = [model.recommend(n=5).item_positions for model in (hu, ials)]
    np.testing.assert_array_equal(*lists)


PRESETS = [name for name, _ in inspect.getmembers(hs.presets, inspect.isfunction) if name in hs.presets.__all__]


def test_all_presets_are_tested() -> None:
    pinned = {"implicit", "spark", "ials", "eals", "wals", "cmfrec", "lenskit"}
    assert set(PRESETS) == pinned | {"irspack", "cmfrec_explicit"}


@pytest.mark.parametrize("name", PRESETS)
def test_parameters_of_als_are_passed_on(name: str) -> None:
    model = getattr(hs.presets, name)(*[3] * (name == "wals"), random_state=7)
    assert isinstance(model, hs.ALS)
    assert model.random_state == 7
    assert not model.__sklearn_is_fitted__()


@pytest.mark.filterwarnings("ignore::halfstep.errors.PoorFitWarning")
@pytest.mark.parametrize("name", PRESETS)
def test_presets_round_trip_through_files(name: str, tmp_path: Path) -> None:
    model = replace(getattr(hs.presets, name)(*[3] * (name == "wals"), random_state=7), rank=3, iterations=2)
    data = table(0).interactions
    model.fit(data).save(tmp_path / "model")
    loaded = hs.load(tmp_path / "model")
    assert repr(loaded.objective) == repr(model.objective)
    again = loaded.fit(data)
    np.testing.assert_array_equal(again.user_factors_, model.user_factors_)
    np.testing.assert_array_equal(again.item_factors_, model.item_factors_)


@pytest.mark.parametrize(
    ("preset", "room", "name"),
    [
        ("implicit", "implicit.cpu.als", "AlternatingLeastSquares"),
        ("irspack", "irspack", "IALSRecommender"),
        ("cmfrec", "cmfrec", "CMF_implicit"),
        ("cmfrec_explicit", "cmfrec", "CMF"),
    ],
)
def test_defaults_are_those_of_the_library(preset: str, room: str, name: str) -> None:
    theirs = inspect.signature(getattr(peer(room), name)).parameters
    ours = inspect.signature(getattr(hs.presets, preset)).parameters.values()
    translated = {each.name: each.default for each in ours if each.kind is each.POSITIONAL_OR_KEYWORD}
    assert translated == {each: theirs[each].default for each in translated}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: hs.presets.irspack(confidence_scaling="sqrt"),
            "confidence_scaling='sqrt': give one of",
        ),
        (lambda: hs.presets.irspack(loss_type="HU"), "loss_type='HU': give one of"),
        (lambda: hs.presets.wals(3, row_weights=None), "row_weights=None: give both"),
        (lambda: hs.presets.wals(3, col_weights=None), "col_weights=None: give both"),
        (lambda: hs.presets.cmfrec(lambda_=[1.0, 2.0]), r"lambda_=\[1.0, 2.0\]: give one number, or six"),
        (lambda: hs.presets.cmfrec_explicit(item_bias=False), "item_bias=False, center=True: give True for all"),
        (lambda: hs.presets.cmfrec_explicit(lambda_=[1, 2, 1, 1, 1, 1]), "give users and items the same ratio of λ"),
        (lambda: hs.presets.cmfrec_explicit(lambda_=[1, 1, 0, 1, 1, 1]), "give users and items the same ratio of λ"),
        (lambda: hs.presets.spark(rank=0), "rank=0: give an integer of at least 1"),
    ],
)
def test_untranslatable_parameters_are_errors(call: Any, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        call()
