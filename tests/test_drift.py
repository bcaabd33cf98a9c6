from __future__ import annotations

import copy
import dataclasses
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import halfstep as hs
import reference
from halfstep.backends.cpu import CPU
from halfstep.backends.protocol import empty_factors
from halfstep.drift import FittedDrift
from halfstep.drifting import DriftSteps
from halfstep.errors import DataError, FitInterruptedWarning, ModelFileError, ParameterError
from halfstep.gibbs import Chain
from halfstep.sides import Regularization, sides

pytestmark = pytest.mark.filterwarnings("ignore::halfstep.errors.PoorFitWarning")  # of arithmetic on small data

N_USERS, N_ITEMS, RANK = 12, 9, 3
DRIFT = hs.Drift(bins=4, regularization=(0.3, 0.8))
LAMBDA, RHO, EXPONENT = 0.7, 2.0, 0.5


def table(seed: int = 0, n_times: int = 1000) -> hs.Interactions:
    """Ratings of two thirds of a small matrix, some with drift in them; the last user has none, nor the last item."""
    rng = np.random.default_rng(seed)
    users, items = np.nonzero(rng.random((N_USERS, N_ITEMS)) < 0.65)
    times = rng.integers(0, n_times, len(users))
    values = rng.normal(size=N_USERS)[users] + rng.normal(size=N_ITEMS)[items] * np.sin(times / 150) + 3
    data = hs.Interactions.from_arrays(users, items, values, times, rng.uniform(0.5, 2.0, len(users)))
    return data.rebased(users=hs.Vocabulary(range(N_USERS + 1)), items=hs.Vocabulary(range(N_ITEMS + 1)))


def twin(data: hs.Interactions, drift: hs.Drift = DRIFT) -> reference.Drifting:
    """The same problem, dense."""
    shape = (data.n_users, data.n_items)
    observed, t, w, times = np.zeros(shape, bool), np.zeros(shape), np.zeros(shape), np.zeros(shape)
    cells = data.user_positions, data.item_positions
    observed[cells], t[cells], w[cells] = True, data.values, 1.0 if data.weights is None else data.weights
    times[cells] = data.timestamps
    edges = reference.drift_bins(data.timestamps.tolist(), drift.bins)
    bins = np.where(observed, np.searchsorted(edges, times, side="right"), 0)
    dev = np.zeros(shape)
    for u, i in np.argwhere(observed):
        dev[u, i] = reference.deviation(times[u, i], times[u, observed[u]].tolist())
    dev /= np.sqrt(np.mean(dev[observed] ** 2))
    counts = np.array(
        [[np.sum(bins[observed[:, i], i] == b) for b in range(len(edges) + 1)] for i in range(shape[1])]
    )
    of_trends, of_bins = drift.strengths

    def ridge(strength: float, counted: np.ndarray) -> np.ndarray:
        return strength * np.where(counted > 0, counted, 1.0) ** EXPONENT

    problem = reference.Problem(
        observed=observed, t=t - np.average(t[observed], weights=w[observed]), w=w, s=np.zeros(shape[0]),
        m=np.zeros(shape[1]), row_lambda=ridge(LAMBDA, observed.sum(axis=1)),
        column_lambda=ridge(LAMBDA, observed.sum(axis=0)), rho=RHO, rank=RANK, biases=True,
    )  # fmt: skip
    return reference.Drifting(
        problem, bins, dev if drift.user_trend else 0 * dev, ridge(of_bins, counts),
        ridge(of_trends, observed.sum(axis=1)),
    )  # fmt: skip


def fitted(data: hs.Interactions, drift: hs.Drift | None = DRIFT, **options: object) -> hs.ALS:
    defaults = {"dtype": "float64", "extrapolation": 0.0, "refresh_users": False, "iterations": 6, "random_state": 0}
    return hs.ALS(
        hs.Explicit(biases=True, drift=drift), rank=RANK, regularization=LAMBDA, regularization_exponent=EXPONENT,
        bias_regularization=RHO, **(defaults | options),
    ).fit(data)  # fmt: skip


def joined(model: hs.ALS) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    X = np.column_stack([model.user_factors_, model.user_biases_])
    Y = np.column_stack([model.item_factors_, model.item_biases_])
    return X, Y, model.drift_.item_biases, model.drift_.trends


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_each_step_is_the_dense_ridge(dtype: str) -> None:
    data, rng = table(), np.random.default_rng(1)
    problem = twin(data)
    regularization = Regularization(LAMBDA, LAMBDA, EXPONENT, RHO)
    cost = hs.Explicit(biases=True).cost(data)
    by_user, by_item = sides(data, cost, rank=RANK, regularization=regularization, dtype=dtype)
    P, Q = (empty_factors(n, RANK + 1, dtype) for n in (data.n_users, data.n_items))
    for F in (P, Q):
        F[:, : RANK + 1] = rng.normal(size=(len(F), RANK + 1))
    X, Y = P[:, : RANK + 1].astype(float), Q[:, : RANK + 1].astype(float)
    with CPU(2) as backend:
        steps = DriftSteps(backend, backend.load(by_user), backend.load(by_item), data, DRIFT, regularization)
        drift = steps.start
        for _ in range(2):  # the second from where the first ended
            improved = steps.improved(P, Q, drift)
            bins = problem.ridge(X, Y, drift.item_biases, drift.trends, "bins").reshape(drift.item_biases.shape)
            trends = problem.ridge(X, Y, bins, drift.trends, "trends")
            exactly = {"rtol": 1e-9, "atol": 1e-11} if dtype == "float64" else {"rtol": 1e-4, "atol": 1e-5}
            np.testing.assert_allclose(improved.item_biases, bins, **exactly)
            np.testing.assert_allclose(improved.trends, trends, **exactly)
            drift = improved
        assert steps.penalty(drift) == pytest.approx(problem.objective(X, Y, bins, trends)[1], rel=1e-4)


@pytest.mark.parametrize("solver", ["cholesky", "cg", "subspace"])
@pytest.mark.parametrize("drift", [DRIFT, hs.Drift(bins=1), hs.Drift(bins=3, user_trend=False)], ids=str)
def test_history_holds_the_objective_which_never_rises(drift: hs.Drift, solver: str) -> None:
    data = table()
    for extrapolation in (0.0, 0.8, 20.0):  # with the last, iterations are thrown away
        model = fitted(data, drift, solver=solver, extrapolation=extrapolation, iterations=25)
        objective, penalty = twin(data, drift).objective(*joined(model))
        assert model.history_[-1].objective == pytest.approx(objective, rel=1e-9)
        assert model.history_[-1].drift_regularization == pytest.approx(penalty, rel=1e-9)
        assert model.history_[0].drift_regularization == 0
        assert all(b.objective <= a.objective * (1 + 1e-12) for a, b in pairwise(model.history_))


def test_thrown_away_iterations_leave_no_drift() -> None:
    """An interrupt just after one: the model is that of the last kept iteration, its drift too."""
    data, calls = table(), []
    plain = fitted(data, extrapolation=50.0, iterations=40)

    def state(model: hs.ALS) -> None:
        calls.append((model.history_[-1].objective, *map(np.copy, joined(model))))

    problem = twin(data)
    fitted(data, extrapolation=50.0, iterations=40, callbacks=[state])
    assert len(calls) == len(plain.history_) == 40
    for objective, *parts in calls:
        assert problem.objective(*parts)[0] == pytest.approx(objective, rel=1e-9)


def test_what_is_counted_scales_the_ridges() -> None:
    """Of a row, and of a bin, positive values alone where that is asked for."""
    data = table()
    data = data.with_values(data.values - 3.0)
    model = fitted(data, DRIFT, regularization_counts="positive")
    positive = data.subset(data.values > 0)
    counts = np.zeros(model.drift_.item_biases.shape)
    np.add.at(counts, (positive.item_positions, model.drift_.bins(model.drift_.times(positive.timestamps))), 1.0)
    of_trends, of_bins = DRIFT.strengths
    expected = sum(
        strength * np.sum(np.where(counted > 0, counted, 1.0) ** EXPONENT * found**2)
        for strength, counted, found in (
            (of_trends, positive.user_counts, model.drift_.trends),
            (of_bins, counts, model.drift_.item_biases),
        )
    )
    assert model.history_[-1].drift_regularization == pytest.approx(expected, rel=1e-9)


def test_interrupted_targets_are_written_anew(data: hs.Interactions, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while a drift is taken off the targets: the model is that of the last finished iteration."""
    calls, plain = [], DriftSteps._take_off

    def interrupted(self: DriftSteps, cells: object, by_user: bool, drift: FittedDrift) -> None:
        plain(self, cells, by_user, drift)
        calls.append(by_user)
        if len(calls) == 11:
            cells.loaded.side.targets[...] = 7.0
            raise KeyboardInterrupt

    monkeypatch.setattr(DriftSteps, "_take_off", interrupted)
    with pytest.warns(FitInterruptedWarning):
        model = fitted(data, iterations=9, refresh_users=True)
    monkeypatch.undo()
    whole = fitted(data, iterations=len(model.history_), refresh_users=True)
    assert 1 < len(model.history_) < 9
    for ours, theirs in zip(joined(model), joined(whole), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
def test_ends_at_the_joint_least_squares() -> None:
    """At the end no block can be improved, nor users and their trends together."""
    data = table()
    model, problem = fitted(data, iterations=3000), twin(data)
    X, Y, bins, trends = joined(model)
    np.testing.assert_allclose(bins.ravel(), problem.ridge(X, Y, bins, trends, "bins"), atol=1e-7)
    np.testing.assert_allclose(trends, problem.ridge(X, Y, bins, trends, "trends"), atol=1e-7)
    users, joint_trends = problem.joint_users(Y, bins)
    np.testing.assert_allclose(X, users, atol=1e-6)
    np.testing.assert_allclose(trends, joint_trends, atol=1e-6)
    static = fitted(data, None, iterations=3000)
    assert model.history_[-1].objective < static.history_[-1].objective


@pytest.mark.parametrize("drift", [DRIFT, hs.Drift(bins=1), hs.Drift(bins=3, user_trend=False)], ids=str)
def test_users_are_solved_with_their_trends(drift: hs.Drift) -> None:
    """The refresh after the last iteration, and `fold_in`: one least squares over factors, biases and trends."""
    data = table()
    model = fitted(data, drift, refresh_users=True, iterations=3)
    X, Y, bins, trends = joined(model)
    users, expected = twin(data, drift).joint_users(Y, bins)
    np.testing.assert_allclose(X, users, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(trends, expected, rtol=1e-8, atol=1e-10)
    folded = model.fold_in(data)
    np.testing.assert_allclose(folded.user_factors_, model.user_factors_, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(folded.drift_.trends, trends, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(folded.predict(data), model.predict(data), rtol=1e-10)
    one = data.subset(data.user_positions == 2)
    np.testing.assert_allclose(model.fold_in(one).predict(one), model.predict(one), rtol=1e-9)
    assert model.drift_.trends is trends  # the model itself is unchanged


def test_missing_cells_and_popularity_weights() -> None:
    data = table()
    objective = hs.Explicit(
        biases=True, drift=DRIFT, missing_weight=0.1, weight=hs.weights.linear_popularity(w0=0.1, wk=1.0)
    )
    model = hs.ALS(objective, rank=RANK, iterations=40, dtype="float64", random_state=0, extrapolation=3.0).fit(data)
    assert all(b.objective <= a.objective * (1 + 1e-12) for a, b in pairwise(model.history_))
    np.testing.assert_allclose(model.fold_in(data).user_biases_, model.user_biases_, rtol=1e-8, atol=1e-10)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 9), st.sampled_from([1, 3, 50]))
def test_layout_is_the_twins(seed: int, bins: int, n_times: int) -> None:
    data, drift = table(seed, n_times), hs.Drift(bins=bins)
    start, problem = FittedDrift.begin(drift, data), None
    edges = reference.drift_bins(data.timestamps.tolist(), bins)
    np.testing.assert_array_equal(start.edges, edges)
    assert len(start.item_biases[0]) == len(edges) + 1 <= bins
    t = start.times(data.timestamps)
    assert set(start.bins(t)) == set(range(len(edges) + 1))  # no bin is empty
    if n_times > 1:
        problem = twin(data, drift)
        cells = data.user_positions, data.item_positions
        np.testing.assert_allclose(start.deviations(data.user_positions, t), problem.dev[cells], rtol=1e-9)


def test_the_unit_of_time_does_not_matter() -> None:
    seconds = table()
    days = seconds.timestamps.astype("datetime64[D]")
    for times in (seconds.timestamps * 1000, seconds.timestamps * 0.5 - 7, days):
        other = dataclasses.replace(seconds, timestamps=times.astype("M8[us]") if times is days else times)
        model, same = fitted(seconds), fitted(other)
        np.testing.assert_allclose(same.predict(other), model.predict(seconds), rtol=1e-9)
        np.testing.assert_allclose(same.predict(1, [2, 3]), model.predict(1, [2, 3]), rtol=1e-9)


@pytest.fixture(scope="module")
def data() -> hs.Interactions:
    return table()


@pytest.fixture(scope="module")
def model(data: hs.Interactions) -> hs.ALS:
    return fitted(data)


class TestPredict:
    def test_is_the_sum_of_its_terms_at_each_time(self, data: hs.Interactions, model: hs.ALS) -> None:
        X, Y, bins, trends = joined(model)
        problem, u, i = twin(data), data.user_positions, data.item_positions
        expected = reference.dense_scores(X, Y) + problem.drift(bins, trends) + model.mean_
        np.testing.assert_allclose(model.predict(data), expected[u, i], rtol=1e-10)
        np.testing.assert_allclose(
            model.predict(data.user_ids, data.item_ids, timestamps=data.timestamps), expected[u, i], rtol=1e-10
        )
        assert np.abs(model.predict(data) - model.predict(data.user_ids, data.item_ids)).max() > 0.01

    @pytest.mark.parametrize("kind", [pl.Int64, pl.Int128])
    def test_times_come_in_a_series(self, data: hs.Interactions, model: hs.ALS, kind: type[pl.DataType]) -> None:
        times = pl.Series(data.timestamps).cast(kind)
        found = model.predict(data.user_ids, data.item_ids, timestamps=times)
        np.testing.assert_array_equal(found, model.predict(data))

    def test_bins_are_carried_on_and_trends_fade(self, data: hs.Interactions, model: hs.ALS) -> None:
        users, items = np.repeat(np.arange(N_USERS), N_ITEMS), np.tile(np.arange(N_ITEMS), N_USERS)
        now, end = model.predict(users, items), data.timestamps.max()
        np.testing.assert_array_equal(model.predict(users, items, timestamps=end), now)
        dev = np.full(data.n_users, np.nan)
        for later in (end, end + 1, end + 300, end + 5000, 10**9, -5, -(10**9)):
            bins = model.drift_.item_biases[items, 0 if later < 0 else -1]
            for u in range(N_USERS):
                dev[u] = reference.deviation(later, data.timestamps[data.user_positions == u].tolist())
            static = model.mean_ + model.user_biases_[users] + model.item_biases_[items]
            static += np.einsum("nk,nk->n", model.user_factors_[users], model.item_factors_[items])
            trend = model.drift_.trends[users] * dev[users] / model.drift_.scale[0]
            np.testing.assert_allclose(
                model.predict(users, items, timestamps=later), static + bins + trend, rtol=1e-10
            )
            assert (np.abs(trend).max() < 1e-12) == (abs(later) == 10**9)

    def test_recommends_by_what_it_predicts_now(self, model: hs.ALS) -> None:
        listed = model.recommend(n=5)
        for user, items in listed:
            names, scores = [name for name, _ in items], [score for _, score in items]
            if names:
                np.testing.assert_allclose(model.predict([user] * len(names), names), scores, rtol=1e-9)
        everything = model.recommend([3], n=N_ITEMS, exclude_seen=False)
        assert everything.item_ids[0].tolist() == sorted(
            range(N_ITEMS), key=lambda item: -model.predict(3, [item])[0]
        )
        stranger = dict(model.recommend([9999], n=3)[9999])
        for item, score in stranger.items():
            assert model.predict([9999], [item])[0] == pytest.approx(score)

    def test_unknown_ids_drift_by_what_is_known(self, model: hs.ALS) -> None:
        drift = model.drift_
        assert model.predict(9999, [1], timestamps=5)[0] == pytest.approx(
            model.mean_ + model.item_biases_[1] + drift.item_biases[1, 0]
        )
        late = model.mean_ + model.user_biases_[1] + drift.users_now[1]
        assert model.predict([1], [9999], timestamps=drift.end[0])[0] == pytest.approx(late)

    def test_explanations_add_up(self, data: hs.Interactions) -> None:
        model = fitted(data, refresh_users=True)
        for user, item in ((0, 1), (5, 8), (N_USERS, 2)):
            why = model.explain(user, item)
            assert why.score == pytest.approx(model.predict(user, [item])[0])
            assert why.remainder == pytest.approx(0.0, abs=1e-9)

    def test_histories_without_times_are_of_now(self, model: hs.ALS) -> None:
        folded = model.fold_in({"new": {1: 5.0, 2: 1.0}})
        late = hs.Interactions.from_arrays(["new"] * 2, [1, 2], [5.0, 1.0], [2000, 2000])
        np.testing.assert_allclose(folded.user_factors_, model.fold_in(late).user_factors_)
        np.testing.assert_allclose(folded.predict("new", [1, 3]), model.fold_in(late).predict("new", [1, 3]))
        assert len(model.fold_in({"none": []}).recommend(n=2)) == 1

    def test_evaluates_held_out_ratings_at_their_times(self) -> None:
        train, test = hs.split_random(table(3), test_fraction=0.3, random_state=0)
        model = fitted(train, iterations=20)
        u, i, t = test.user_ids, test.item_ids, test.timestamps
        rmse = hs.metrics.rmse(test.values, model.predict(u, i, timestamps=t))
        assert hs.evaluate(model, test, "rmse")["ALS", "rmse"] == pytest.approx(rmse)
        assert rmse != pytest.approx(hs.metrics.rmse(test.values, model.predict(u, i)), rel=1e-3)

    def test_copies_and_refits_are_apart(self, data: hs.Interactions, model: hs.ALS) -> None:
        twin = copy.deepcopy(model)
        np.testing.assert_array_equal(twin.predict(data), model.predict(data))
        twin.objective = hs.Explicit(biases=True)
        twin.fit(data)
        assert twin.drift_ is None
        assert model.drift_ is not None
        np.testing.assert_array_equal(twin.predict(data), twin.predict(data.user_ids, data.item_ids))

    def test_does_not_depend_on_threads(self, data: hs.Interactions) -> None:
        one, three = (fitted(data, threads=n, refresh_users=True) for n in (1, 3))
        for a, b in zip(joined(one), joined(three), strict=True):
            np.testing.assert_array_equal(a, b)

    def test_errors_name_the_culprit(self, data: hs.Interactions, model: hs.ALS) -> None:
        with pytest.raises(DataError, match="the timestamps are instants, such as 2020-01-01"):
            model.predict([1], [2], timestamps=["2020-01-01"])
        with pytest.raises(DataError, match="timestamps has 3 times for 2 pairs"):
            model.predict([1, 2], [2, 3], timestamps=[1, 2, 3])
        with pytest.raises(ParameterError, match="do not support time-dependent biases"):
            model.partial_fit(data.subset([0]))


def test_models_without_drift_pass_over_times() -> None:
    data = table()
    model = fitted(data, None)
    assert model.drift_ is None
    np.testing.assert_array_equal(model.predict(data), model.predict(data.user_ids, data.item_ids, timestamps=5))
    assert {line.drift_regularization for line in model.history_} == {0.0}
    assert "drift" not in repr(model.objective)
    assert repr(hs.Explicit(biases=True, drift=DRIFT)) == f"Explicit(drift={DRIFT!r})"


def test_what_is_asked_for_makes_sense() -> None:
    for wrong, message in (
        ({"bins": 0}, "bins=0"),
        ({"user_trend": 1}, "user_trend=1"),
        ({"regularization": -1.0}, "regularization=-1.0"),
        ({"regularization": (1.0, 2.0, 3.0)}, "give a number, or a pair"),
        ({"bins": 1, "user_trend": False}, "nothing drifts then"),
    ):
        with pytest.raises(ParameterError, match=message):
            hs.Drift(**wrong)
    with pytest.raises(ParameterError, match="set biases=True"):
        hs.Explicit(drift=hs.Drift(), biases=False)
    with pytest.raises(ParameterError, match=r"drift=10: give halfstep\.Drift\(\)"):
        hs.Explicit(biases=True, drift=10)
    timeless = hs.Interactions.from_arrays(["a", "b"], ["x", "x"], [1.0, 2.0])
    with pytest.raises(DataError, match="drift needs timestamps"):
        hs.ALS(hs.Explicit(biases=True, drift=hs.Drift())).fit(timeless)


@pytest.mark.parametrize("values", [[3.0, 3.0, 3.0], [1.0, 2.0, 3.0]])
@pytest.mark.parametrize("times", [[1, 1, 1], [1, 2, 3], [0, 10**15, 10**18]])
def test_odd_data(values: list[float], times: list[int]) -> None:
    """All at one time, all values equal, a single observation for each user."""
    data = hs.Interactions.from_arrays(["a", "b", "c"], ["x", "x", "y"], values, times)
    model = fitted(data, hs.Drift(), refresh_users=True)
    assert np.isfinite(model.predict(data)).all()
    assert not model.drift_.trends.any()  # nobody has two times
    single = data.subset([0])
    assert fitted(single, hs.Drift()).predict(single) == pytest.approx(values[0])


def test_is_saved_and_read(tmp_path: Path) -> None:
    data = table()
    model = fitted(data)
    model.save(tmp_path / "model")
    loaded = hs.load(tmp_path / "model")
    assert loaded.objective == model.objective
    for name, array in model.drift_.to_arrays().items():
        np.testing.assert_array_equal(loaded.drift_.to_arrays()[name], array)
    np.testing.assert_array_equal(loaded.predict(data), model.predict(data))
    np.testing.assert_array_equal(loaded.recommend(n=3).scores, model.recommend(n=3).scores)
    np.testing.assert_array_equal(loaded.fold_in(data).predict(data), model.fold_in(data).predict(data))
    assert loaded.history_ == model.history_
    folded = model.fold_in(data.subset(data.user_positions == 2))
    folded.save(tmp_path / "folded")
    np.testing.assert_array_equal(hs.load(tmp_path / "folded").predict(data), folded.predict(data))
    broken = copy.copy(model)
    broken.__dict__["drift_"] = FittedDrift.begin(hs.Drift(bins=2), data.rebased(users=hs.Vocabulary([0, 1])))
    broken.save(tmp_path / "broken")
    with pytest.raises(ModelFileError, match="what drifts in it"):
        hs.load(tmp_path / "broken")


def made_up() -> tuple[hs.Interactions, hs.Interactions]:
    """Ratings whose items rise and fall and whose users trend, and some of them held out at random."""
    rng = np.random.default_rng(0)
    n_users, n_items = 60, 40
    users, items = np.nonzero(rng.random((n_users, n_items)) < 0.5)
    times = rng.random(len(users)) * 100
    level = 0.7 * np.sin(times / 15 + rng.uniform(0, 6, n_items)[items])
    trend = rng.normal(0, 0.2, n_users)[users] * np.sign(times - 50) * np.abs(times - 50) ** 0.4
    noise = rng.normal(0, 0.3, len(users))
    data = hs.Interactions.from_arrays(users, items, 3.0 + level + trend + noise, times)
    return hs.split_random(data, test_fraction=0.2, random_state=0)


def test_finds_the_drift_that_was_put_in() -> None:
    train, test = made_up()
    options = {"regularization": 2.0, "iterations": 30, "random_state": 0, "rank": 2}
    static, drifting = (
        hs.metrics.rmse(
            test.values, hs.ALS(hs.Explicit(biases=True, drift=drift), **options).fit(train).predict(test)
        )
        for drift in (None, hs.Drift(regularization=1.0))
    )
    assert drifting < 0.85 * static


@pytest.fixture(scope="module")
def drifting() -> hs.BayesianALS:
    train, _ = made_up()
    objective = hs.Explicit(biases=True, drift=hs.Drift())
    return hs.BayesianALS(objective, rank=2, iterations=120, random_state=0).fit(train)


class TestSampling:
    @pytest.mark.parametrize("drift", [hs.Drift(bins=1), hs.Drift(bins=3, user_trend=False)], ids=str)
    def test_draws_have_the_moments_of_the_conditional(self, drift: hs.Drift) -> None:
        """What was 0 is drawn with the precision 1/σ²; then the mean is the dense ridge for λ = 1/(σ²τ)."""
        data, rng, noise, unit, n_draws = table(), np.random.default_rng(1), 2.5, 1.7, 4000
        problem, regularization = twin(data, drift), Regularization(0.0, 0.0)
        by_user, by_item = sides(
            data, hs.Explicit(biases=True).cost(data), rank=RANK, regularization=regularization, dtype="float64"
        )
        P, Q = (empty_factors(n, RANK + 1, "float64") for n in (data.n_users, data.n_items))
        for F in (P, Q):
            F[:, : RANK + 1] = rng.normal(size=(len(F), RANK + 1))
        what = "bins" if drift.user_trend is False else "trends"
        with CPU(1) as backend:
            steps = DriftSteps(backend, backend.load(by_user), backend.load(by_item), data, drift, regularization)
            draws = [steps.drawn(P, Q, steps.start, noise, unit, rng) for _ in range(n_draws)]
            drawn = np.array([(each.item_biases if what == "bins" else each.trends).ravel() for each in draws])
            weak = [steps.drawn(P, Q, draws[0], 1e-12, unit, rng) for _ in range(n_draws)]
            spread = np.array([(each.item_biases if what == "bins" else each.trends).ravel() for each in weak])
        problem.bin_lambda[...] = problem.trend_lambda[...] = 1.0 / (unit**2 * noise)
        start = steps.start
        X, Y = P[:, : RANK + 1], Q[:, : RANK + 1]
        mean = problem.ridge(X, Y, start.item_biases, start.trends, what)
        heft = np.zeros(len(mean))
        for u, i in np.argwhere(problem.problem.observed):
            place = i * start.item_biases.shape[1] + problem.bins[u, i] if what == "bins" else u
            heft[place] += problem.problem.w[u, i] * (1.0 if what == "bins" else problem.dev[u, i] ** 2)
        deviation = 1.0 / np.sqrt(noise * heft + 1.0 / unit**2)
        there = heft > 0
        assert np.abs((drawn.mean(axis=0) - mean) / deviation)[there].max() < 4.5 / np.sqrt(n_draws)
        assert np.abs(drawn.std(axis=0) / deviation - 1)[there].max() < 4.5 / np.sqrt(2 * n_draws)
        assert not drawn[:, ~there].any()
        # Of observations that say nothing, the prior is left: E 1/γ for γ ~ Gamma(1 + n/2, σ² + Σ b²/2).
        n, square = np.count_nonzero(there), np.sum(drawn[0] ** 2)
        assert np.mean(spread[:, there] ** 2) == pytest.approx((unit**2 + square / 2) / (n / 2), rel=0.1)

    def test_finds_the_drift(self, drifting: hs.BayesianALS) -> None:
        train, test = made_up()
        static = hs.BayesianALS(rank=2, iterations=120, random_state=0).fit(train)
        errors = [hs.metrics.rmse(test.values, model.predict(test)) for model in (static, drifting)]
        assert errors[1] < 0.8 * errors[0]
        mean, lower, upper = drifting.predict(test, interval=0.9)
        np.testing.assert_allclose(mean, drifting.predict(test), rtol=1e-9)
        assert 0.75 < np.mean((lower <= test.values) & (test.values <= upper)) < 0.97
        assert np.mean([line.noise for line in drifting.history_[20:]]) > np.mean(
            [line.noise for line in static.history_[20:]]
        )

    def test_its_mean_is_that_of_its_samples(self, data: hs.Interactions, monkeypatch: pytest.MonkeyPatch) -> None:
        drawn, plain = [], Chain.keep_drift

        def keep(self: Chain, number: int) -> None:
            drawn.append(self.state.drift)
            plain(self, number)

        monkeypatch.setattr(Chain, "keep_drift", keep)
        objective = hs.Explicit(biases=True, drift=DRIFT)
        fits = [
            hs.BayesianALS(objective, rank=2, iterations=12, burn_in=4, random_state=0, threads=n).fit(data)
            for n in (1, 3)
        ]
        assert len(drawn) == 16
        for name in ("item_biases", "trends"):
            mean = np.mean([getattr(each, name) for each in drawn[:8]], axis=0)
            np.testing.assert_allclose(getattr(fits[0].drift_, name), mean, rtol=1e-9, atol=1e-12)
            np.testing.assert_array_equal(getattr(fits[0].drift_, name), getattr(fits[1].drift_, name))

    def test_does_what_models_do(self, drifting: hs.BayesianALS, tmp_path: Path) -> None:
        train, test = made_up()
        drifting.save(tmp_path / "model")
        loaded = hs.load(tmp_path / "model")
        np.testing.assert_array_equal(loaded.predict(test), drifting.predict(test))
        np.testing.assert_array_equal(loaded.recommend(n=3).scores, drifting.recommend(n=3).scores)
        why = drifting.explain(3, 5)
        assert why.score == pytest.approx(drifting.predict(3, [5])[0])
        assert abs(why.remainder) < 0.3
        one = train.subset(train.user_positions == 7)
        folded = drifting.fold_in(one)
        late = folded.predict(7, [1, 2], timestamps=99.0)
        np.testing.assert_array_equal(late, folded.predict(7, [1, 2]))  # a folded-in user has no trend
        assert np.abs(folded.predict(7, [1, 2], timestamps=1.0) - late).max() > 0.01
