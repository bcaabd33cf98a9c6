"""Side information in ALS: rows are shrunk towards their predictions from features."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array, random_array

import halfstep as hs
import reference
from halfstep.data.side_information import bags
from halfstep.errors import DataError, FitInterruptedWarning, NumericalError, ParameterError
from halfstep.models import ridge
from halfstep.models.als import ALS
from halfstep.models.als_features import FeatureSession
from halfstep.models.als_loop import TrainingLoop
from halfstep.objective.objective import Objective
from halfstep.solver.cpu import CPU
from halfstep.solver.cpu_session import CPUBackend
from halfstep.solver.layout import empty_factors
from settings import SETTINGS, Arrays, Setting, Table

RANK, STRENGTH, OF_FEATURES = 4, 0.7, (1.5, 0.4)
PLAIN = hs.solvers.Cholesky(extrapolation=0.0)
UNREFRESHED = hs.solvers.Cholesky(extrapolation=0.0, refresh_users=False)

OBJECTIVES = [
    hs.Explicit(biases=False),
    hs.Explicit(biases=True),
    hs.Explicit(biases=True, missing_weight=0.1),
    hs.Implicit(missing_weight=0.5),
    hs.Implicit(missing_weight=hs.weights.missing_popularity(c0=20, exponent=0.4)),
]


@pytest.fixture(scope="module")
def table() -> Table:
    rng = np.random.default_rng(0)
    observed = rng.random((30, 20)) < 0.3
    observed[4], observed[:, 7] = False, False  # a user and an item without observations
    return Table(observed, rng.integers(1, 6, observed.shape).astype(float))


@pytest.fixture(scope="module")
def data(table: Table) -> hs.Interactions:
    return table.interactions


@pytest.fixture(scope="module")
def features() -> tuple[csr_array, csr_array]:
    rng = np.random.default_rng(1)
    return csr_array(random_array((30, 3), density=0.6, random_state=rng)), csr_array(rng.normal(size=(20, 2)))


def als_with_features(objective: Objective | None = None, **options: object) -> ALS:
    given = {
        "rank": RANK,
        "regularization": hs.Regularization(STRENGTH, bias_ratio=2.0, features=OF_FEATURES),
        "random_state": 0,
        "dtype": "float64",
    }
    return ALS(hs.Explicit(biases=True) if objective is None else objective, **(given | options))


def twin(
    setting: Setting, table: Table, features: tuple[csr_array, csr_array], *, rho: float, implicit: bool
) -> reference.RidgeLinked:
    data, (F, G) = table.interactions, (each.toarray() for each in features)
    if implicit:
        F = np.hstack([bags(data.by_user, data.n_items).toarray(), F])
        G = np.hstack([bags(data.by_item, data.n_users).toarray(), G])

    def counted(table: Table) -> Arrays:  # nothing of rows without observations, not even that cells are missing
        t, w, s, m = setting.arrays(table)
        return t, w, s * table.observed.any(axis=1), m * table.observed.any(axis=0)

    problem = replace(setting, arrays=counted).problem(table, rank=RANK, reg=STRENGTH, rho=rho)
    return reference.RidgeLinked(problem, F, G, OF_FEATURES)


def joined(model: ALS, biases: bool) -> tuple[np.ndarray, np.ndarray]:
    X = np.column_stack([model.user_factors_, model.user_biases_])
    Y = np.column_stack([model.item_factors_, model.item_biases_])
    return (X, Y) if biases else (X[:, :-1], Y[:, :-1])


@pytest.mark.parametrize(
    ("rho", "implicit"),
    [
        (2.0, True),
        *(pytest.param(*each, marks=pytest.mark.slow) for each in [(0.0, False), (0.0, True), (2.0, False)]),
    ],
)
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_a_fit_is_the_twin_iterated(
    setting: Setting, rho: float, implicit: bool, table: Table, data: hs.Interactions, features: tuple
) -> None:
    dense = twin(setting, table, features, rho=rho, implicit=implicit)
    rng = np.random.default_rng(3)
    U, V = rng.normal(size=(30, RANK)), rng.normal(size=(20, RANK))
    Y = np.column_stack([V, np.zeros(20)]) if setting.biases else V
    B, C = (np.zeros((F.shape[1], Y.shape[1])) for F in (dense.row_features, dense.column_features))
    for _ in range(3):
        X, B, Y, C = dense.iteration(Y, B, C)
    options = {
        "regularization": replace(setting.regularization(STRENGTH, rho), features=OF_FEATURES),
        "implicit_features": implicit,
        "iterations": 3,
        "init": (U, V),
    }
    of_users, of_items = features
    model = als_with_features(setting.objective, solver=UNREFRESHED, **options)
    model.fit(data, user_features=of_users, item_features=of_items)
    for ours, theirs in zip(joined(model, setting.biases), (X, Y), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-9)
    observed, missing, regularization_term, of_features = dense.terms(X, B, Y, C)
    last = model.history_[-1]
    assert last.observed == pytest.approx(observed, rel=1e-9)
    assert last.missing == pytest.approx(missing, rel=1e-9, abs=1e-12)
    assert last.regularization == pytest.approx(regularization_term, rel=1e-9)
    assert last.feature_regularization == pytest.approx(of_features, rel=1e-9)
    assert last.objective == pytest.approx(observed + missing + regularization_term + of_features, rel=1e-9)
    refreshed = als_with_features(setting.objective, solver=PLAIN, **options).fit(
        data, user_features=of_users, item_features=of_items
    )
    features = refreshed._fitted_features
    np.testing.assert_allclose(features.coefficients, B, rtol=1e-6, atol=1e-9)  # as before the last half-step
    X = dense.half_step(dense.problem, Y, dense.row_features @ B)
    for ours, theirs in zip(joined(refreshed, setting.biases), (X, Y), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-9)


def test_singles_keep_the_digits_of_the_loss(table: Table, data: hs.Interactions, features: tuple) -> None:
    setting = next(each for each in SETTINGS if each.name == "als-wr")  # whose targets are integers in singles, too
    problem = twin(setting, table, features, rho=2.0, implicit=False).problem
    model = als_with_features(
        setting.objective, regularization=hs.Regularization(0.3, exponent=1.0), dtype="float32", solver=UNREFRESHED
    ).fit(data, user_features=features[0], item_features=features[1])
    observed, _, _ = reference.terms(problem, *(F.astype(float) for F in joined(model, False)))
    assert model.history_[-1].observed == pytest.approx(observed, rel=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"rank": 8, "dtype": "float32"},
        {"rank": 40, "dtype": "float32"},
        {"rank": 8, "solver": PLAIN},
    ],
    ids=str,
)
def test_the_objective_never_rises_on_real_data(options: dict) -> None:
    ratings = hs.datasets.movielens_100k()
    model = ALS(hs.Explicit(biases=True), implicit_features=True, random_state=0, **options).fit(ratings)
    objectives = [line.objective for line in model.history_]
    assert all(after <= before * (1 + 2e-6) for before, after in pairwise(objectives))
    assert len(objectives) == ALS.iterations
    assert objectives[-1] < 0.9 * objectives[0]


@pytest.mark.parametrize("beta", [0.8, 3.0, 50.0])
def test_an_iteration_that_is_thrown_away_leaves_nothing(
    table: Table, data: hs.Interactions, features: tuple, beta: float
) -> None:
    """What is kept, β included, is what its line of the history was computed from."""
    setting = next(each for each in SETTINGS if each.name == "biased")
    dense = twin(setting, table, features, rho=2.0, implicit=False)
    problems = setting.half_problems(table, rank=RANK, reg=STRENGTH, rho=2.0, dtype="float64")
    rng, thrown_away = np.random.default_rng(0), 0
    P, Q = (empty_factors(n, RANK + 1, "float64") for n in table.observed.shape)
    P[:, :RANK], Q[:, :RANK] = rng.normal(size=(30, RANK)), rng.normal(size=(20, RANK))
    with CPUBackend(1).open(*problems, (P, Q)) as below:
        session = FeatureSession(below, problems, features, OF_FEATURES)
        loop = TrainingLoop(
            session, hs.solvers.Cholesky(extrapolation=beta), (data.users, data.items), dtype="float64"
        )
        for _ in range(30):
            before = [each.copy() for each in (*session.factors(), *session.coefficients)]
            if not loop.iterate():
                thrown_away += 1
                for each, old in zip((*session.factors(), *session.coefficients), before, strict=True):
                    np.testing.assert_array_equal(each, old)
            X, Y = (F[:, : RANK + 1] for F in session.factors())
            B, C = session.coefficients
            assert sum(dense.terms(X, B, Y, C)) == pytest.approx(loop.history[-1].objective, rel=1e-10)
            np.testing.assert_allclose(X[4], dense.row_features[4] @ B, atol=1e-12)
    objectives = [line.objective for line in loop.history]
    assert all(after <= before * (1 + 1e-12) for before, after in pairwise(objectives))
    assert thrown_away > 0 or beta < 3


def test_conjugate_gradients_never_raise_the_objective(
    data: hs.Interactions, features: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"implicit_features": True, "iterations": 60, "solver": PLAIN}
    exact = als_with_features(**options).fit(data, item_features=features[1])
    monkeypatch.setattr(ridge, "LARGEST_BASIS", 0)
    for tolerance in (1e-4, 1e-1):  # so loose that an iteration that began at 0 would undo what the last one did
        monkeypatch.setattr(ridge, "TOLERANCE", tolerance)
        model = als_with_features(**options).fit(data, item_features=features[1])
        objectives = [line.objective for line in model.history_]
        assert all(after <= before * (1 + 1e-12) for before, after in pairwise(objectives))
        assert objectives[-1] == pytest.approx(exact.history_[-1].objective, rel=2e-3)


def test_bits_do_not_depend_on_threads(data: hs.Interactions, features: tuple) -> None:
    models = [
        als_with_features(implicit_features=True, threads=threads).fit(data, user_features=features[0])
        for threads in (1, 2, 3)
    ]
    for other in models[1:]:
        np.testing.assert_array_equal(models[0].user_factors_, other.user_factors_)
        np.testing.assert_array_equal(models[0].item_factors_, other.item_factors_)


def test_items_without_ratings_are_predicted_from_their_features() -> None:
    rng = np.random.default_rng(0)
    genre, likes = rng.integers(3, size=40), rng.normal(size=(50, 3))
    users, items = np.nonzero(rng.random((50, 40)) < 0.5)
    data = hs.Interactions.from_arrays(
        users, items, 3 + likes[users, genre[items]] + 0.3 * rng.normal(size=len(users))
    )
    is_cold = data.item_positions >= 32
    train, test = data.subset(~is_cold), data.subset(is_cold)
    movies = pd.DataFrame({"item": np.arange(42), "genre": np.array(["a", "b|c", "c"])[[*genre, 0, 1]]})
    model = als_with_features(rank=3, regularization=hs.Regularization(STRENGTH, bias_ratio=2.0, features=5.0)).fit(
        train, item_features=movies
    )
    assert 41 in model.items_.ids  # nobody has it in either part
    errors = [hs.metrics.rmse(test.values, each.predict(test)) for each in (model, hs.UserItemBias().fit(train))]
    assert errors[0] < 0.5 * errors[1]
    listed = model.recommend(0, 1, candidates=[41])
    assert listed.scores[0, 0] == pytest.approx(model.predict(0, 41)[0])


@pytest.mark.slow
def test_bags_help_on_real_ratings() -> None:
    """Within the first 80,000 ratings, where the defaults were chosen: by 0.01 and more."""
    ratings = hs.datasets.movielens_100k()
    train, test = hs.split_random(ratings.subset(np.arange(len(ratings)) < 80_000), 0.2, random_state=0)
    errors = [
        hs.metrics.rmse(
            test.values,
            ALS(hs.Explicit(biases=True), implicit_features=implicit, random_state=0).fit(train).predict(test),
        )
        for implicit in (False, True)
    ]
    assert errors[1] < errors[0] - 0.01


@pytest.fixture(scope="module")
def user_table(data: hs.Interactions) -> pd.DataFrame:
    return pd.DataFrame({"user": data.users.ids, "warm": np.arange(30) % 2, "town": ["a|b", "b", "c"] * 10})


@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_folding_in_gives_what_the_fit_gave(
    objective: Objective, data: hs.Interactions, user_table: pd.DataFrame, features: tuple
) -> None:
    model = als_with_features(objective, implicit_features=True).fit(
        data, user_features=user_table, item_features=features[1]
    )
    folded = model.fold_in(data, user_features=user_table)
    assert folded.user_factors_[4].any()  # who has no ratings, and features
    np.testing.assert_allclose(folded.user_factors_, model.user_factors_, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(folded.user_biases_, model.user_biases_, rtol=1e-9, atol=1e-12)
    again = folded.fold_in(data, user_features=user_table)
    np.testing.assert_array_equal(again.user_factors_, folded.user_factors_)
    others = model.fold_in(data)
    assert np.abs(others.user_factors_ - model.user_factors_).max() > 1e-3


def test_users_are_folded_in_with_their_features(data: hs.Interactions, user_table: pd.DataFrame) -> None:
    model = als_with_features().fit(data, user_features=user_table)
    new_users = pd.DataFrame({"user": ["x", "y", "z"], "warm": [0, 1, 1], "town": ["a", "b", "new"]})
    history = {"x": {1: 5.0, 2: 1.0}, "y": {1: 5.0, 2: 1.0}, "z": {}}
    folded = model.fold_in(history, user_features=new_users)
    assert folded.predict("x", [3]) != folded.predict("y", [3])
    alone = model.fold_in({"x": history["x"]}, user_features=new_users)
    np.testing.assert_array_equal(folded.predict("x", [3]), alone.predict("x", [3]))
    with pytest.raises(DataError, match="no column 'warm'"):
        model.fold_in(history, user_features=pd.DataFrame({"user": ["x"], "cold": [1]}))
    for plain in (als_with_features().fit(data), als_with_features(implicit_features=True).fit(data)):
        with pytest.raises(DataError, match="was fitted without features"):
            plain.fold_in(history, user_features=new_users)


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_explanations_add_up(
    data: hs.Interactions, user_table: pd.DataFrame, features: tuple, implicit: bool, objective: Objective
) -> None:
    model = als_with_features(objective, implicit_features=implicit)
    model.fit(data, user_features=user_table, item_features=features[1])
    for user in (0, 4, 9):
        for item in (3, 7):
            why = model.explain(user, item)
            assert why.baseline + why.contributions.sum() == pytest.approx(why.score, rel=1e-9)
    history = data.subset(data.user_positions == 9)
    alone = hs.Interactions.from_arrays(history.user_ids, history.item_ids, history.values)
    folded = model.fold_in(alone, user_features=user_table).explain(9, 3)
    assert folded.baseline + folded.contributions.sum() == pytest.approx(folded.score, rel=1e-9)
    if isinstance(objective, hs.Implicit):  # whose targets are all alike
        return
    # A contribution is what the rating adds, with how many there are, and so the system, left as they are.
    values = history.values.copy()
    values[0] += 1.0
    changed = hs.Interactions.from_arrays(history.user_ids, history.item_ids, values)
    before, after = (
        model.fold_in(each, user_features=user_table.iloc[[9]]).explain(9, 3).contributions
        for each in (history, changed)
    )
    scores = [
        model.fold_in(each, user_features=user_table.iloc[[9]]).predict(9, [3])[0] for each in (history, changed)
    ]
    moved = np.abs(after - before) > 1e-9
    assert moved.sum() == 1
    assert (after - before)[moved][0] == pytest.approx(scores[1] - scores[0], rel=1e-6)


def test_file_contains_features(
    tmp_path: Path, data: hs.Interactions, user_table: pd.DataFrame, features: tuple
) -> None:
    model = als_with_features(implicit_features=True).fit(data, user_features=user_table, item_features=features[1])
    model.save(tmp_path / "m.halfstep")
    loaded = hs.load(tmp_path / "m.halfstep")
    assert loaded.history_ == model.history_
    one, other = (each.fold_in(data, user_features=user_table) for each in (model, loaded))
    np.testing.assert_array_equal(one.user_factors_, other.user_factors_)
    one.save(tmp_path / "folded.halfstep")
    np.testing.assert_array_equal(hs.load(tmp_path / "folded.halfstep").predict(0, [1]), one.predict(0, [1]))
    why = loaded.explain(0, 3)
    np.testing.assert_array_equal(why.contributions, model.explain(0, 3).contributions)
    with pytest.raises(ParameterError, match="do not support side information"):
        loaded.partial_fit(data)


@pytest.mark.parametrize("wrong", ["shape", "dtype", "nan"])
def test_error_for_a_file_with_invalid_coefficients(
    data: hs.Interactions, user_table: pd.DataFrame, wrong: str
) -> None:
    model = als_with_features(implicit_features=True).fit(data, user_features=user_table)
    arrays = dict(model._to_arrays())
    B = arrays["ridge_link.coefficients"]
    spoiled = {"shape": B[:-1], "dtype": B.astype(np.float32), "nan": np.full_like(B, np.nan)}
    with pytest.raises(ValueError, match="coefficients of"):
        model._from_arrays(model._fitted, arrays | {"ridge_link.coefficients": spoiled[wrong]})


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_approximate_solvers_converge_to_the_exact_solution(objective: Objective, dtype: str) -> None:
    """With more factors than most rows have observations, in large systems."""
    rng = np.random.default_rng(0)
    observed = rng.random((90, 80)) < 0.4
    observed[4], observed[:, 7] = False, False
    data = Table(observed, rng.integers(1, 6, observed.shape).astype(float)).interactions
    features = csr_array(random_array((90, 3), density=0.6, random_state=rng))
    options = {"rank": 40, "implicit_features": True, "iterations": 40, "dtype": dtype, "progress": False}
    found = [
        als_with_features(objective, **options, solver=solver).fit(data, user_features=features)
        for solver in ("cholesky", "cg", "subspace")
    ]
    for model in found[1:]:
        assert model.history_[-1].objective == pytest.approx(found[0].history_[-1].objective, rel=1e-3)
    auto = als_with_features(objective, **options).fit(data, user_features=features)
    assert auto.history_[-1].objective == found[1].history_[-1].objective


def test_refused_with_a_reason(data: hs.Interactions, user_table: pd.DataFrame) -> None:
    for strength in (0.0, (1.0, -1.0), "much"):
        with pytest.raises(ParameterError, match="features="):
            hs.Regularization(features=strength)
    with pytest.raises(ParameterError, match="implicit_features='yes'"):
        als_with_features(implicit_features="yes")
    model = als_with_features().fit(data, user_features=user_table)
    with pytest.raises(ParameterError, match="do not support side information"):
        model.partial_fit(data.subset([0]))
    huge = hs.Interactions.from_arrays([0, 0, 1], [0, 1, 1], [1e300, -1e300, 1e300])
    with pytest.raises(NumericalError):
        als_with_features(hs.Explicit(biases=False), implicit_features=True).fit(huge)


def test_interruption_within_an_iteration_keeps_the_previous_coefficients(
    data: hs.Interactions, user_table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, plain = [], CPU.half_step_and_loss

    def interrupted(self: CPU, planned: object, Y: np.ndarray, X: np.ndarray, **more: object) -> tuple[float, float]:
        loss = plain(self, planned, Y, X, **more)
        steps.append(1)
        if len(steps) == 3:  # after β of the third iteration's users
            X[...] = np.nan
            raise KeyboardInterrupt
        return loss

    monkeypatch.setattr(CPU, "half_step_and_loss", interrupted)
    with pytest.warns(FitInterruptedWarning, match="after 2 of 9 iterations"):
        model = als_with_features(iterations=9, implicit_features=True).fit(data, user_features=user_table)
    monkeypatch.undo()
    whole = als_with_features(iterations=2, implicit_features=True).fit(data, user_features=user_table)
    np.testing.assert_array_equal(model.user_factors_, whole.user_factors_)
    np.testing.assert_array_equal(model.item_factors_, whole.item_factors_)
    folded = model.fold_in(data, user_features=user_table)
    np.testing.assert_allclose(folded.user_factors_, whole.user_factors_, rtol=1e-9, atol=1e-12)


def test_refit_without_features_removes_the_coefficients(data: hs.Interactions, user_table: pd.DataFrame) -> None:
    model = als_with_features().fit(data, user_features=user_table)
    again = model.fit(data)
    fresh = als_with_features().fit(data)
    np.testing.assert_array_equal(again.user_factors_, fresh.user_factors_)
    assert not again.user_factors_[4].any()
    assert [line.feature_regularization for line in again.history_] == [0.0] * 20
    model.partial_fit(data.subset([0]))  # can learn on again


def test_features_without_weight_change_nothing(data: hs.Interactions, features: tuple) -> None:
    """Held so tightly that β is 0, features leave plain ALS; and so do features that are all 0."""
    plain = als_with_features().fit(data)
    held = als_with_features(regularization=hs.Regularization(STRENGTH, bias_ratio=2.0, features=1e12)).fit(
        data, user_features=features[0]
    )
    empty = als_with_features().fit(data, user_features=csr_array((30, 2)))
    for model in (held, empty):
        np.testing.assert_allclose(model.user_factors_, plain.user_factors_, rtol=1e-6, atol=1e-8)


def test_tuned_like_any_other_parameter(data: hs.Interactions) -> None:
    found = hs.tune(
        als_with_features(implicit_features=True, iterations=3),
        data,
        {"regularization.features": [0.5, 50.0]},
        metric="rmse",
        split=hs.k_folds(data, 2, random_state=0),
    )
    assert found.model.regularization.features in (0.5, 50.0)
    assert found.model.history_[-1].feature_regularization > 0
    for objective in (hs.Explicit(biases=False), hs.Implicit()):
        spaces = (hs.default_space(hs.ALS(objective, implicit_features=implicit), data) for implicit in (False, True))
        assert ["regularization.features" in space for space in spaces] == [False, True]
