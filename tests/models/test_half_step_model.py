"""Fold-in, explanations and online updates: each is a half-step for some rows, and equals one."""

from __future__ import annotations

import copy
import gc
import pickle
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import halfstep as hs
import reference
from halfstep import weights
from halfstep.errors import DataError, NumericalError, ParameterError, UnknownIdError
from halfstep.objective.objective import Objective
from halfstep.solver.threads import OneBlasThread
from settings import SETTINGS, Setting, Table

pytestmark = pytest.mark.filterwarnings("ignore::halfstep.errors.PoorFitWarning")  # of arithmetic on small data

every_setting = pytest.mark.parametrize("setting", SETTINGS, ids=str)


@pytest.fixture(scope="module")
def table() -> Table:
    """With an empty row and an empty column."""
    rng = np.random.default_rng(7)
    observed = rng.random((40, 25)) < 0.3
    observed[3] = observed[:, 5] = False
    return Table(observed, rng.choice([-1.0, 0.0, 1.0, 2.5, 4.0, 5.0], observed.shape))


def fitted(setting: Setting, data: hs.Interactions, **options: object) -> hs.ALS:
    defaults = {"rank": 5, "iterations": 3, "random_state": 0, "dtype": "float64"}
    return hs.ALS(setting.objective, regularization=setting.regularization(0.7, rho=2.0), **(defaults | options)).fit(
        data
    )


def rows_of(model: hs.ALS, setting: Setting, what: str) -> np.ndarray:
    """[factors | bias] as the twin has them."""
    factors, biases = getattr(model, f"{what}_factors_"), getattr(model, f"{what}_biases_")
    return np.column_stack([factors, biases] if setting.biases else [factors]).astype(float)


def split(table: Table, share: float = 0.15) -> tuple[hs.Interactions, hs.Interactions]:
    """Cells to start from and cells to learn, with ids of rows and columns."""
    later = (np.random.default_rng(1).random(table.observed.shape) < share) & table.observed
    later[0, :] = table.observed[0, :]  # users and items that are new
    later[:, 1] = table.observed[:, 1]
    parts = []
    for cells in (table.observed & ~later, later):
        users, items = np.nonzero(cells)
        parts.append(hs.Interactions.from_arrays(users, items, table.values[users, items]))
    return parts[0], parts[1]


# Fold-in


@every_setting
@pytest.mark.parametrize(("dtype", "precision"), [("float64", 1e-9), ("float32", 1e-4)])
def test_folding_in_a_training_user_gives_its_trained_factors(
    setting: Setting, table: Table, dtype: str, precision: float
) -> None:
    data = table.interactions
    model = fitted(setting, data, dtype=dtype)
    for who in (np.arange(40), np.array([2]), np.array([8, 3, 30])):
        folded = model.fold_in(data.subset(np.isin(data.user_positions, who)))
        u = model.users_.positions(folded.users_.ids)
        there = np.isin(u, who)  # the others have no history here
        scale = np.abs(model.user_factors_).max()
        np.testing.assert_allclose(
            folded.user_factors_[there], model.user_factors_[u][there], rtol=precision, atol=precision * scale
        )
        np.testing.assert_allclose(
            folded.user_biases_[there], model.user_biases_[u][there], rtol=precision, atol=precision
        )
        assert not folded.user_factors_[~there].any()


@every_setting
def test_folding_in_is_the_twins_half_step(setting: Setting, table: Table) -> None:
    """Other users than those that were fitted on, weighted by the statistics of these."""
    rng = np.random.default_rng(11)
    data = table.interactions
    model = fitted(setting, data)
    others = Table(rng.random((6, 25)) < 0.4, rng.choice([-1.0, 0.0, 2.5, 5.0], (6, 25)))
    both = Table(np.vstack([table.observed, others.observed]), np.vstack([table.values, others.values]))
    _, w, _, m = setting.arrays(table)
    T, W, S, _ = setting.arrays(both)  # popularity is not to be taken from the new rows
    problem = setting.problem(both, rank=5, reg=0.7, rho=2.0)
    if "wals" in setting.name and "tensorflow" not in setting.name:
        W = np.vstack([w, np.tile(w[0], (6, 1))])
    if "tensorflow" in setting.name:  # rows' weights go by position: the new ones are rows 0 to 5
        W = np.vstack([w, w[:6]])
    problem.w, problem.m = W, m
    problem.t = T - model.mean_ if setting.biases else T
    counted = both.observed & (both.values > 0) if setting.counts == "positive" else both.observed
    missing = (S, m) if setting.counts == "cells" else (np.zeros_like(S), np.zeros_like(m))
    problem.row_lambda = reference.regularization(counted.sum(axis=1), *missing, reg=0.7, exponent=setting.exponent)
    expected = reference.half_step(problem, rows_of(model, setting, "item"))[40:]
    folded = model.fold_in(others.interactions)
    np.testing.assert_allclose(rows_of(folded, setting, "user"), expected, rtol=1e-7, atol=1e-9)


@pytest.fixture(scope="module")
def ratings() -> hs.Interactions:
    return hs.datasets.movielens_100k()


@pytest.fixture(scope="module")
def model(ratings: hs.Interactions) -> hs.ALS:
    return hs.ALS(hs.Implicit(), rank=8, iterations=3, random_state=0).fit(ratings)


@pytest.mark.usefixtures("titles")
def test_recommendations_straight_from_a_history(model: hs.ALS) -> None:
    before = model.user_factors_.copy()
    folded = model.fold_in({"eve": [50, 172, 181], "adam": {1: 5.0, 50: 2.0}, "new": [], "odd": [99_999]})
    assert list(folded.users_) == ["eve", "adam", "new", "odd"]
    lists = folded.recommend(n=20)
    assert not {50, 172, 181} & set(lists.item_ids[0].tolist())
    assert folded.interactions_.user_counts.tolist() == [3, 2, 0, 0]
    assert not folded.user_factors_[2:].any()
    popular = hs.Popularity().fit(model.interactions_).recommend(99_999, n=20)
    np.testing.assert_array_equal(lists.positions[2], popular.positions[0])
    assert folded.explain("eve", 174).item_ids.tolist() == [50, 172, 181]
    assert "Star Wars" in repr(folded.explain("eve", 174))
    np.testing.assert_array_equal(model.user_factors_, before)
    assert folded.item_factors_ is model.item_factors_


def test_histories_come_in_any_form(model: hs.ALS) -> None:
    frame = pd.DataFrame({"user": ["eve"] * 2, "item": [50, 172]})
    columns = model.items_.positions([50, 172])
    matrix = sparse.csr_array(([1.0, 1.0], ([0, 0], columns)), shape=(1, 1682))
    expected = model.fold_in({"eve": [172, 50, 50]}).user_factors_
    for history in (frame, matrix, hs.Interactions.from_frame(frame), {"eve": np.array([50, 172])}):
        np.testing.assert_allclose(model.fold_in(history).user_factors_, expected, rtol=1e-12)


def test_histories_that_are_none(model: hs.ALS) -> None:
    with pytest.raises(UnknownIdError, match="unknown item id 99999"):
        model.fold_in({"eve": [50, 99_999]}, unknown_items="raise")
    with pytest.raises(DataError, match="the history of user 'eve' is 50"):
        model.fold_in({"eve": 50})
    with pytest.raises(DataError, match="the history of user 'eve' is 'tea'"):
        model.fold_in({"eve": "tea"})
    with pytest.raises(ParameterError, match="unknown_items='drop'"):
        model.fold_in({"eve": [50]}, unknown_items="drop")
    assert len(model.fold_in({}).users_) == 0


def test_a_singular_system_names_the_user() -> None:
    data = hs.Interactions.from_arrays([0, 0, 0, 1, 1, 1], list("abcabc"), [1, 2, 3, 4, 5, 7.0])
    cells = [(u, i) for u in range(6) for i in "abc"]
    start = hs.Interactions.from_arrays(*zip(*cells, strict=True), np.random.default_rng(0).normal(size=18))
    model = hs.ALS(hs.Explicit(biases=False), rank=3, regularization=0.0, iterations=2, random_state=0).fit(start)
    assert len(model.fold_in(data).users_) == 2
    with pytest.raises(NumericalError, match="the system of user 'eve' is not positive definite"):
        model.fold_in({"adam": dict.fromkeys("abc", 1.0), "eve": {"a": 1.0}})


# Explanations


@every_setting
def test_contributions_add_up_to_the_score(setting: Setting, table: Table) -> None:
    data = table.interactions
    model = fitted(setting, data, dtype="float32")
    for user, item in ((0, 1), (8, 4), (39, 24)):
        explanation = model.explain(user, item)
        total = explanation.baseline + explanation.contributions.sum()
        assert explanation.score == pytest.approx(model.predict(user, [item])[0], rel=1e-12)
        assert total == pytest.approx(explanation.score, rel=1e-4, abs=1e-4)
        assert explanation.item_ids.tolist() == np.flatnonzero(table.observed[user]).tolist()


@every_setting
def test_contributions_are_what_a_changed_target_changes(setting: Setting, table: Table) -> None:
    """The score is linear in the targets, so a contribution is its derivative times the target's part."""
    problem = setting.problem(table, rank=5, reg=0.7, rho=2.0)
    model = fitted(setting, table.interactions)
    Y = rows_of(model, setting, "item")
    user, item = 8, 4
    A, _ = reference.system(problem, Y, user)
    y = np.append(Y[:, :5], np.ones((25, 1)), axis=1) if setting.biases else Y
    offsets = Y[:, 5] if setting.biases else np.zeros(25)
    expected = [
        problem.w[user, j] * (problem.t[user, j] - offsets[j]) * (y[j] @ np.linalg.solve(A, y[item]))
        for j in np.flatnonzero(table.observed[user])
    ]
    np.testing.assert_allclose(model.explain(user, item).contributions, expected, rtol=1e-7, atol=1e-10)


@pytest.mark.usefixtures("titles")
def test_an_explanation_reads_well(model: hs.ALS) -> None:
    explanation = model.explain(1, 300, n=3)
    lines = repr(explanation).splitlines()
    assert len(lines) == 1 + 3 + 1 + 1
    assert "Air Force One (1997)" in lines[0]
    assert "269 other items" in lines[4]
    frame = explanation.to_frame("polars")
    assert frame.columns == ["item", "value", "contribution", "title"]
    assert frame["contribution"].sum() == pytest.approx(explanation.score, abs=1e-6)
    assert [item for item, _ in explanation.largest] == frame["item"].to_list()[:3]


def test_only_what_is_known_can_be_explained(model: hs.ALS) -> None:
    with pytest.raises(UnknownIdError, match="unknown user id 5000"):
        model.explain(5000, 50)
    with pytest.raises(UnknownIdError, match="unknown item id 99999"):
        model.explain(1, 99_999)
    bare = copy.copy(model)
    bare._factorization = replace(bare._fitted, data=None)
    with pytest.raises(DataError, match="save it with its interactions"):
        bare.explain(1, 50)
    with pytest.raises(DataError, match="save it with its interactions"):
        bare.partial_fit(hs.Interactions.from_arrays([1], [2]))


def test_a_user_that_was_not_refreshed_has_a_remainder(ratings: hs.Interactions) -> None:
    stale = hs.ALS(
        hs.Implicit(), rank=8, iterations=2, random_state=0, solver=hs.solvers.Cholesky(refresh_users=False)
    ).fit(ratings)
    explanation = stale.explain(1, 300)
    assert abs(explanation.remainder) > 1e-4
    total = explanation.baseline + explanation.contributions.sum() + explanation.remainder
    assert total == pytest.approx(explanation.score)


# Incremental updates


def twin_of_an_update(
    setting: Setting, model: hs.ALS, whole: hs.Interactions, new: hs.Interactions
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """From scratch on the grown data: users given the items as they were, then items given these users."""
    n, m = whole.n_users, whole.n_items
    observed, values = np.zeros((n, m), bool), np.zeros((n, m))
    observed[whole.user_positions, whole.item_positions] = True
    values[whole.user_positions, whole.item_positions] = whole.values
    grown = Table(observed, values)
    problem = setting.problem(grown, rank=5, reg=0.7, rho=2.0)
    if setting.biases:
        problem.t = setting.arrays(grown)[0] - model.mean_
    X, Y = np.zeros((n, 5 + setting.biases)), np.zeros((m, 5 + setting.biases))
    X[: len(model.users_)], Y[: len(model.items_)] = (rows_of(model, setting, what) for what in ("user", "item"))
    users = np.unique(whole.users.positions(new.user_ids))
    items = np.unique(whole.items.positions(new.item_ids))
    X[users] = reference.half_step(problem, Y)[users]
    Y[items] = reference.half_step(problem.transposed, X)[items]
    return X, Y, users, items


@every_setting
@pytest.mark.parametrize("single", [False, True], ids=["batch", "single"])
def test_an_update_is_the_twins_half_steps_on_the_grown_data(setting: Setting, table: Table, single: bool) -> None:
    start, later = split(table)
    if setting.name == "signed-target":
        start, later = (part.subset(part.item_ids != 5) for part in (start, later))
    model = fitted(setting, start)
    if single:
        later = later.subset(later.user_ids == later.user_ids[-1])
        later = later.subset(np.arange(1))
    before = copy.copy(model)
    model.partial_fit(later)
    whole = model.interactions_
    assert len(whole) == len(start) + len(later)
    X, Y, users, items = twin_of_an_update(setting, before, whole, later)
    np.testing.assert_allclose(rows_of(model, setting, "user"), X, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(rows_of(model, setting, "item"), Y, rtol=1e-7, atol=1e-9)
    assert len(users) > 0
    assert len(items) > 0
    np.testing.assert_array_equal(model.item_counts_, whole.item_counts)


@pytest.mark.slow
@every_setting
def test_what_rows_share_stays_true_over_many_updates(setting: Setting, table: Table) -> None:
    """The sums that are kept by rank-one changes equal those that are made anew."""
    start, later = split(table)
    model = fitted(setting, start)
    for k in range(len(later)):
        model.partial_fit(later.subset([k]))
    online = model._update_state
    for side in (online.users, online.items):
        if side.missing is not None:
            F = side.factors
            np.testing.assert_allclose(side.gram, (F.T * side.missing.array) @ F, rtol=1e-9, atol=1e-12)
            assert side.total == pytest.approx(side.missing.array.sum())
    cost = setting.objective.cost(model.interactions_)
    if cost.item_missing is not None:
        kept = online.scale * np.outer(online.users.missing.array, online.items.missing.array)
        np.testing.assert_allclose(kept, np.outer(cost.user_missing, cost.item_missing), rtol=1e-9)


UNSHARED = [s for s in SETTINGS if s.name in ("als-wr", "biased", "biased-weighted", "signed")]
SHARED = [s for s in SETTINGS if s.name in ("plain", "hu", "ials", "lenskit-implicit")]


@every_setting
def test_updates_after_a_fit_sum_no_gramian(setting: Setting, table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    start, later = split(table)
    model = fitted(setting, start)
    anew = copy.deepcopy(model).partial_fit(later)
    for module in ("gramians", "updates"):
        monkeypatch.setattr(f"halfstep.models.{module}.gram", lambda *_: pytest.fail("a Gramian was summed"))
    model.fold_in(start)
    model.partial_fit(later)
    for name in ("user_factors_", "item_factors_", "user_biases_", "item_biases_"):
        np.testing.assert_allclose(getattr(model, name), getattr(anew, name), rtol=1e-7, atol=1e-10)


def test_updates_use_the_objective_and_the_factors_that_a_model_has() -> None:
    """Also where these have been replaced since the fit."""
    rng = np.random.default_rng(0)
    data = hs.Interactions.from_arrays(*np.nonzero(rng.random((30, 20)) < 0.3))
    event = hs.Interactions.from_arrays([1, 40], [3, 2])
    P, Q = (rng.normal(size=(n, 3)) for n in (data.n_users, data.n_items))
    by_popularity = hs.Implicit(missing_weight=weights.missing_popularity(c0=5.0, exponent=0.5))
    for name, value in (("objective", by_popularity), ("item_factors", Q), ("user_factors", P)):
        model = hs.ALS(hs.Implicit(missing_weight=0.3), rank=3, random_state=0, dtype="float64").fit(data)
        twin = copy.deepcopy(model)
        for each in (model, twin):
            if name == "objective":
                each.objective = value
            else:
                each._factorization = replace(each._fitted, **{name: value})
        np.testing.assert_allclose(
            model.fold_in({"x": [1, 2]}).user_factors_, twin.fold_in({"x": [1, 2]}).user_factors_, rtol=1e-9
        )
        model.partial_fit(event)
        twin.partial_fit(event)
        np.testing.assert_allclose(model.user_factors_, twin.user_factors_, rtol=1e-9)
        np.testing.assert_allclose(model.item_factors_, twin.item_factors_, rtol=1e-9)


@pytest.mark.parametrize("setting", UNSHARED + SHARED, ids=str)
def test_users_that_learn_one_by_one_end_where_a_batch_ends(setting: Setting, table: Table) -> None:
    """While the items stay, a user's factors depend on nothing but its own history, in whatever pieces it came.

    With λ or weights that depend on how many items or users there are (ν > 0 with missing cells, popularity) this
    holds for users who come last; here no item is new.
    """
    start, later = split(table)
    known = np.isin(later.item_ids, start.item_ids)
    later = later.subset(known)
    one_by_one, batch = fitted(setting, start), fitted(setting, start)
    for k in np.random.default_rng(0).permutation(len(later)):
        one_by_one.partial_fit(later.subset([k]), update_items=False)
    batch.partial_fit(later, update_items=False)
    folded = batch.fold_in(batch.interactions_)
    for user in np.unique(later.user_ids):
        ours, theirs, scratch = (
            np.append(m.user_factors_[m.users_.position(user)], m.user_biases_[m.users_.position(user)])
            for m in (one_by_one, batch, folded)
        )
        np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(ours, scratch, rtol=1e-8, atol=1e-10)
    np.testing.assert_array_equal(one_by_one.item_factors_, fitted(setting, start).item_factors_)


def test_an_update_serves_at_once(ratings: hs.Interactions, model: hs.ALS) -> None:
    live = copy.copy(model)
    first = ratings.timestamps[:1]
    live.partial_fit(hs.Interactions.from_arrays([5000], [50], [5.0], first))
    live.partial_fit(hs.Interactions.from_arrays([5000, 1], [172, 99_999], [5.0, 4.0], np.repeat(first, 2)))
    assert not {50, 172} & set(live.recommend(5000, n=50).item_ids[0].tolist())
    assert 99_999 in live.items_
    assert 99_999 not in live.recommend(1, n=2000).item_ids[0].tolist()
    assert live.predict(5000, [181])[0] > 0
    assert live.explain(5000, 181).item_ids.tolist() == [50, 172]
    assert (len(live.interactions_), len(model.interactions_)) == (100_003, 100_000)
    assert live.interactions_.user_ids[-1] == 1
    assert len(model.users_) == 943


def test_a_copy_lives_a_life_of_its_own(ratings: hs.Interactions) -> None:
    model = hs.ALS(hs.Implicit(), rank=4, iterations=1, random_state=0).fit(ratings)
    fitted_factors, kept = model.user_factors_, model.user_factors_.copy()
    event = hs.Interactions.from_arrays([1, 2], [1000, 1001], timestamps=ratings.timestamps[:2])
    model.partial_fit(event)
    np.testing.assert_array_equal(fitted_factors, kept)  # what was fitted is never written to
    twin = copy.copy(model)
    before = twin.user_factors_.copy()
    for _ in range(3):
        model.partial_fit(hs.Interactions.from_arrays([5000, 5], [1, 1200], timestamps=ratings.timestamps[:2]))
    np.testing.assert_array_equal(twin.user_factors_, before)
    assert 5000 not in twin.users_
    assert len(twin.interactions_) == 100_000 + 2
    twin.partial_fit(hs.Interactions.from_arrays([6000], [1], timestamps=ratings.timestamps[:1]))
    assert 6000 not in model.users_
    assert model.fit(ratings).partial_fit(event).users_ == ratings.users


@pytest.mark.parametrize(("how", "value"), [("last", 2.0), ("sum", 6.0)])
def test_a_pair_that_is_there_already(how: str, value: float) -> None:
    data = hs.Interactions.from_arrays(["ann", "ann", "bob"], ["tea", "rum", "tea"], [4.0, 1.0, 3.0])
    model = hs.ALS(hs.Explicit(biases=False), rank=2, random_state=0, dtype="float64").fit(data)
    again = hs.Interactions.from_arrays(["ann"], ["tea"], [2.0])
    with pytest.raises(DataError, match="user 'ann' has item 'tea' already"):
        model.partial_fit(again, duplicates="error")
    model.partial_fit(again, duplicates=how, update_items=False)
    assert model.interactions_.values[model.interactions_.user_ids == "ann"].tolist() == [1.0, value]
    folded = model.fold_in({"ann": {"tea": value, "rum": 1.0}})
    np.testing.assert_allclose(model.user_factors_[0], folded.user_factors_[0], rtol=1e-12)


def test_a_model_that_is_not_fitted_is_fitted() -> None:
    data = hs.Interactions.from_arrays(["ann", "bob"], ["tea", "tea"])
    model = hs.ALS(hs.Implicit(), rank=2, random_state=0)
    np.testing.assert_array_equal(
        model.partial_fit(data).user_factors_, hs.ALS(hs.Implicit(), rank=2, random_state=0).fit(data).user_factors_
    )
    with pytest.raises(ParameterError, match="duplicates='mean'"):
        model.partial_fit(data, duplicates="mean")


def test_a_refused_update_changes_nothing(ratings: hs.Interactions, model: hs.ALS) -> None:
    live = copy.copy(model)
    with pytest.raises(DataError, match="timestamps"):
        live.partial_fit(hs.Interactions.from_arrays([5000], [50]))
    assert 5000 not in live.users_
    assert len(live.interactions_) == len(ratings)
    np.testing.assert_array_equal(live.user_factors_, model.user_factors_)


def test_a_failing_row_leaves_a_model_that_works() -> None:
    cells = [(u, i) for u in range(6) for i in "abc"]
    data = hs.Interactions.from_arrays(*zip(*cells, strict=True), np.random.default_rng(0).normal(size=18))
    model = hs.ALS(hs.Explicit(biases=False), rank=3, regularization=0.0, iterations=2, random_state=0).fit(data)
    with pytest.raises(NumericalError, match="the system of user 9 is not positive definite"):
        model.partial_fit(hs.Interactions.from_arrays([9], ["a"], [1.0]))
    assert not model.user_factors_[6].any()
    assert model.recommend(9, n=3, exclude_seen=True).counts.tolist() == [2]
    model.partial_fit(hs.Interactions.from_arrays([9] * 2, ["b", "c"], [1.0, 2.0]))
    assert model.user_factors_[6].any()


def test_weights_of_missing_cells_of_ones_own_are_asked_for_each_time(table: Table) -> None:
    class Own(hs.Implicit):
        def missing(self, cells: weights.Cells) -> tuple[np.ndarray, np.ndarray]:
            return 1.0 + cells.user_counts / 10.0, 0.1 + cells.item_counts / 20.0

    start, later = split(table)
    objective: Objective = Own(missing_weight=lambda cells: None)
    model = hs.ALS(objective, rank=3, iterations=2, random_state=0, dtype="float64").fit(start)
    for k in range(10):
        model.partial_fit(later.subset([k]))
    missing = objective.cost(model.interactions_)
    np.testing.assert_allclose(model._update_state.users.missing.array, missing.user_missing)
    np.testing.assert_allclose(model._update_state.items.missing.array, missing.item_missing)
    last = later.user_ids[9]
    u = model.users_.position(last)
    before = model.user_factors_[u].copy()
    model.partial_fit(later.subset([9]), update_items=False)
    twin = model.fold_in(model.interactions_)
    # by then the items have moved once, so the user is solved anew
    assert not np.array_equal(before, model.user_factors_[u])
    np.testing.assert_allclose(twin.user_factors_[u], model.user_factors_[u], rtol=1e-7, atol=1e-9)


def test_copies_of_any_kind_part_from_the_model(ratings: hs.Interactions) -> None:
    """Also what is pickled or deeply copied between two updates."""
    first = ratings.timestamps[:1]
    model = hs.ALS(hs.Implicit(missing_weight=0.3), rank=4, iterations=1, random_state=0).fit(ratings)
    model.partial_fit(hs.Interactions.from_arrays([5000], [5], timestamps=first))
    twins = [copy.copy(model), copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    for event in (([1, 2, 3], [800, 900, 1000]), ([6000], [5])):
        data = hs.Interactions.from_arrays(*event, timestamps=np.repeat(first, len(event[0])))
        for each in (model, *twins):
            each.partial_fit(data)
    for twin in twins:
        np.testing.assert_allclose(twin.user_factors_, model.user_factors_, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(twin.item_factors_, model.item_factors_, rtol=1e-5, atol=1e-7)


def test_what_was_folded_in_stays_as_it_was(ratings: hs.Interactions, tmp_path: Path) -> None:
    model = hs.ALS(hs.Implicit(missing_weight=0.3), rank=4, iterations=1, random_state=0).fit(ratings)
    history = {"x": [1, 2, 3]}
    model.fold_in(history)  # keeps G
    event = hs.Interactions.from_arrays(np.arange(1, 40), np.arange(2, 41), timestamps=ratings.timestamps[:39])
    model.partial_fit(event, duplicates="sum")
    folded = model.fold_in(history)
    np.testing.assert_allclose(
        folded.user_factors_, copy.copy(model).fold_in(history).user_factors_, rtol=1e-4, atol=1e-6
    )
    assert abs(folded.explain("x", 7).remainder) < 1e-6
    before = folded.predict("x", [50, 100])
    model.partial_fit(event, duplicates="sum")
    np.testing.assert_array_equal(folded.predict("x", [50, 100]), before)
    folded.save(tmp_path / "m")
    for each in (folded, copy.copy(folded), hs.load(tmp_path / "m")):
        with pytest.raises(DataError, match="this model was returned by fold_in"):
            each.partial_fit(event)
    report = hs.evaluate(folded, hs.Interactions.from_arrays(["x"], [50]), "hit_rate", n=50)
    assert report["Popularity", "hit_rate"] == 1.0  # Star Wars, whatever the folded users have


def test_a_huge_value_that_is_taken_back_leaves_nothing_behind() -> None:
    rng = np.random.default_rng(0)
    table = Table(rng.random((20, 15)) < 0.4, rng.normal(size=(20, 15)))
    model = hs.ALS(hs.Explicit(missing_weight=0.1, biases=False), rank=3, random_state=0, dtype="float64").fit(
        table.interactions
    )
    for value in (1e12, 3.0, 1e200, 3.0):
        with suppress(NumericalError):
            model.partial_fit(hs.Interactions.from_arrays([0], [5], [value]))
    assert model.interactions_.values.max() < 10
    online = model._get_update_state()
    for side in (online.users, online.items):
        F = side.factors
        np.testing.assert_allclose(side.gram, (F.T * side.missing.array) @ F, rtol=1e-6, atol=1e-9)


def test_factors_that_are_not_finite_name_the_user(model: hs.ALS, ratings: hs.Interactions) -> None:
    explicit = hs.ALS(hs.Explicit(biases=False), rank=3, random_state=0).fit(ratings)
    with pytest.raises(NumericalError, match="the factors of user 'eve' are not finite"):
        explicit.fold_in({"adam": {1: 3.0}, "eve": {1: 1e300}})
    with pytest.raises(NumericalError, match="the factors of user 1 are not finite"):
        explicit.partial_fit(hs.Interactions.from_arrays([1], [2], [1e300], ratings.timestamps[:1]))
    assert np.isfinite(explicit.user_factors_).all()


def test_weights_by_position_follow_the_ids() -> None:
    rng = np.random.default_rng(0)
    table = Table(rng.random((12, 9)) < 0.6, rng.normal(size=(12, 9)))
    data = table.interactions
    model = hs.presets.wals(3, 0.1, 0.5, row_weights=np.linspace(1, 9, 12), random_state=0).fit(data)
    model.dtype = "float64"
    turned = {
        u: dict(
            zip(np.flatnonzero(table.observed[u]).tolist(), table.values[u][table.observed[u]].tolist(), strict=True)
        )
        for u in range(11, -1, -1)
    }
    folded = model.fold_in(turned)
    np.testing.assert_allclose(folded.user_factors_[::-1], model.user_factors_, rtol=1e-4, atol=1e-5)
    with pytest.raises(ParameterError, match="one for each of the 13 users"):
        model.fold_in({"new": {0: 1.0}})
    with pytest.raises(ParameterError, match="one for each of the 13 users"):
        model.partial_fit(hs.Interactions.from_arrays([12], [0], [1.0]))
    assert len(model.users_) == len(model.user_factors_) == 12
    model.partial_fit(hs.Interactions.from_arrays([3], [0], [1.0]))


def test_what_the_objective_refuses_is_not_entered() -> None:
    data = hs.Interactions.from_arrays([0, 0, 1], [0, 1, 1], [1.0, 2.0, 3.0])
    weight = hs.weights.log_confidence(alpha=1, epsilon=1)
    model = hs.ALS(hs.Implicit(observed_weight=weight), rank=2, random_state=0).fit(data)
    with np.errstate(invalid="ignore"), pytest.raises(DataError, match="weight nan for user 7, item 0"):
        model.partial_fit(hs.Interactions.from_arrays([7], [0], [-5.0]))
    assert len(model.interactions_) == 3
    assert 7 not in model.users_
    kept = model._update_state
    assert len(model.partial_fit(hs.Interactions.from_arrays([7], [0], [5.0])).interactions_) == 4
    assert model._update_state is kept  # a refusal costs nothing later
    assert kept.users.counts.array.tolist() == [2, 1, 1]


def test_no_interactions_are_nothing_to_learn(ratings: hs.Interactions, model: hs.ALS) -> None:
    live = copy.copy(model)
    live.partial_fit(ratings.subset([]))
    np.testing.assert_array_equal(live.user_factors_, model.user_factors_)


def test_plays_that_repeat_within_a_batch_are_added_up() -> None:
    frame = pd.DataFrame({"user": ["ann", "ann"], "item": ["tea", "tea"], "value": [1.0, 1.0]})
    data = hs.Interactions.from_arrays(["ann", "bob"], ["tea", "rum"], [1.0, 1.0])
    model = hs.ALS(hs.Implicit(), rank=2, random_state=0).fit(data)
    model.partial_fit(frame, duplicates="sum")
    assert model.interactions_.values.tolist() == [1.0, 3.0]


def test_many_users_are_folded_in_with_blas_held(ratings: hs.Interactions, monkeypatch: pytest.MonkeyPatch) -> None:
    model = hs.ALS(hs.Implicit(observed_weight=5.0), rank=40, iterations=1, random_state=0).fit(ratings)
    held, enter = [], OneBlasThread.enter
    monkeypatch.setattr(OneBlasThread, "enter", lambda: held.append(enter()))
    model.fold_in({"eve": [50]})  # by herself she needs none
    assert not held
    model.fold_in(ratings)
    assert held


def test_updates_leave_blas_alone(ratings: hs.Interactions, model: hs.ALS, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking every BLAS for its threads takes longer than an update."""
    live = copy.copy(model)
    live._get_update_state()
    monkeypatch.setattr(OneBlasThread, "enter", lambda: pytest.fail("BLAS was asked"))
    live.partial_fit(hs.Interactions.from_arrays([5000], [50], [5.0], ratings.timestamps[:1]))


STREAMS = {
    "same cells": lambda n: (n % 5, n % 5),
    "cells in turn": lambda n: (n % 35, n % 35),
    "new cells": lambda n: (n % 300, (n // 300 + n % 300 + 1) % 300),
}


@pytest.mark.slow
@pytest.mark.parametrize("duplicates", ["last", "sum"])
@pytest.mark.parametrize("cells", STREAMS.values(), ids=STREAMS)
def test_a_stream_that_nobody_reads_leaves_few_objects(
    cells: Callable[[int], tuple[int, int]], duplicates: Any
) -> None:
    """Python objects of each event would take more memory than its numbers by far."""

    def learn(model: hs.ALS, first: int, last: int) -> None:
        for n in range(first, last):
            user, item = cells(n)
            model.partial_fit(hs.Interactions.from_arrays([user], [item], [1.0]), duplicates=duplicates)
        gc.collect()

    diagonal = np.arange(300)
    model = hs.ALS(hs.Implicit(missing_weight=0.3), rank=2, iterations=1, random_state=0)
    model.fit(hs.Interactions.from_arrays(diagonal, diagonal))
    learn(copy.deepcopy(model), 0, 200)  # compiles, which leaves objects, too
    learn(model, 0, 50)
    counts = []
    for first in range(50, 500, 150):
        before = sys.getallocatedblocks()
        learn(model, first, first + 150)
        counts.append(sys.getallocatedblocks() - before)
    assert min(counts) < 150  # caches fill once; an object per event would add 150 every time
