"""The estimator `BayesianALS`, and predictions from its samples against references."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import halfstep as hs
import halfstep.models.bayesian.bayesian_als
import reference
from halfstep.errors import (
    DataError,
    FitInterruptedWarning,
    ModelFileError,
    NumericalError,
    ParameterError,
    PoorFitWarning,
    UnknownIdError,
)
from halfstep.models.bayesian.gibbs import FOLD_IN, Chain
from halfstep.models.bayesian.hyperpriors import RandomStreams
from halfstep.models.bayesian.samples import Samples, SideSamples
from lab.data import write_up_split
from thorough import examples


def ratings(seed: int = 0, n_users: int = 40, n_items: int = 30, density: float = 0.3) -> hs.Interactions:
    """Generate values from biases and one factor, with a user and an item without ratings."""
    rng = np.random.default_rng(seed)
    observed = rng.random((n_users, n_items)) < density
    observed[-1], observed[:, -1] = False, False
    p, q = rng.normal(size=n_users), rng.normal(size=n_items)
    values = 3.0 + 0.5 * rng.normal(size=(n_users, 1)) + 0.5 * rng.normal(size=n_items) + np.outer(p, q)
    values += 0.3 * rng.normal(size=values.shape)
    users, items = np.nonzero(observed)
    data = hs.Interactions.from_arrays(users, items, values[users, items])
    return data.rebased(users=hs.Vocabulary(np.arange(n_users)), items=hs.Vocabulary(np.arange(n_items)))


@pytest.fixture(scope="module")
def data() -> hs.Interactions:
    return ratings()


@pytest.fixture(scope="module")
def model(data: hs.Interactions) -> hs.BayesianALS:
    return hs.BayesianALS(rank=3, iterations=60, burn_in=20, random_state=0).fit(data)


def run(tasks) -> None:
    for task in tasks:
        task()


# --- fitting


def test_recovers_held_out_ratings_and_noise(data: hs.Interactions) -> None:
    train, test = hs.split_random(data, test_fraction=0.2, random_state=0)
    model = hs.BayesianALS(rank=3, random_state=0).fit(train)
    known = hs.keep_known(test, train, min_train_ratings=1, drop_unseen_items=True)
    assert hs.metrics.rmse(known.values, model.predict(known)) < 0.5  # noise 0.3, standard deviation 1.3
    assert 0.2 < model.history_[-1].noise ** -0.5 < 0.45


@pytest.mark.slow
@pytest.mark.parametrize("rank", [4, 20])
def test_result_does_not_depend_on_threads(rank: int) -> None:
    rng = np.random.default_rng(0)
    n_users = 9500  # the item that all users rated is split into segments, and moments into two tasks
    users = np.concatenate([np.arange(n_users), rng.integers(0, n_users, 40_000)])
    items = np.concatenate([np.zeros(n_users, int), rng.integers(1, 900, 40_000)])
    values = rng.integers(1, 6, len(users)).astype(float)
    long_rowed = hs.Interactions.from_arrays(users, items, values, duplicates="last")
    models = [
        hs.BayesianALS(rank=rank, iterations=4, burn_in=1, random_state=0, threads=threads).fit(long_rowed)
        for threads in (1, 2, 4)
    ]
    some = long_rowed.subset(np.arange(10_000))
    for other in models[1:]:
        for name, array in models[0].samples_.to_arrays().items():
            np.testing.assert_array_equal(array, other.samples_.to_arrays()[name])
        np.testing.assert_array_equal(models[0].user_factors_, other.user_factors_)
        np.testing.assert_array_equal(models[0].item_factors_, other.item_factors_)
        for ours, theirs in zip(
            models[0].predict(some, interval=0.5), other.predict(some, interval=0.5), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)
        assert [line[:-1] for line in models[0].history_] == [line[:-1] for line in other.history_]


@pytest.mark.parametrize("biases", [True, False])
def test_predictions_scale_with_values(data: hs.Interactions, biases: bool) -> None:
    """A factor of 4 is exact in floating point, so that only the hyperpriors could cause differences."""
    options = {"rank": 2, "iterations": 30, "random_state": 0}
    once = hs.BayesianALS(hs.Explicit(biases=biases), **options).fit(data)
    fourfold = hs.BayesianALS(hs.Explicit(biases=biases), **options).fit(data.with_values(4 * data.values))
    np.testing.assert_allclose(fourfold.predict(data), 4 * once.predict(data), rtol=1e-6)
    np.testing.assert_allclose(fourfold.history_[-1].noise, once.history_[-1].noise / 16, rtol=1e-6)


def test_weights_are_precisions(data: hs.Interactions) -> None:
    weights = np.where(np.arange(len(data)) % 2, 9.0, 1.0)
    rng = np.random.default_rng(1)
    noisy = data.with_values(data.values + rng.normal(size=len(data)) * 3.0 / np.sqrt(weights))
    weighted = hs.BayesianALS(rank=1, iterations=120, random_state=0).fit(replace(noisy, weights=weights))
    plain = hs.BayesianALS(rank=1, iterations=120, random_state=0).fit(noisy)
    errors = [np.sqrt(np.mean((each.predict(data) - data.values) ** 2)) for each in (weighted, plain)]
    assert errors[0] < errors[1]
    assert 0.5 * 3 < np.mean([line.noise for line in weighted.history_[20:]]) ** -0.5 < 1.3 * 3


def test_history_matches_samples(model: hs.BayesianALS) -> None:
    assert [line.iteration for line in model.history_] == list(range(1, 61))
    last, samples = model.history_[-1], model.samples_
    assert last.noise == samples.noise[-1]
    assert last.user_bias == pytest.approx(samples.users.means[-1, 3], rel=1e-6)
    assert last.item_bias_spread == pytest.approx(np.linalg.norm(samples.items.roots[-1, 3]), rel=1e-6)
    variances = np.sum(samples.users.roots[-1] ** 2, axis=1)[:3]
    assert last.user_spread == pytest.approx(np.sqrt(variances.mean()), rel=1e-6)


def test_last_loss_is_that_of_last_sample(data: hs.Interactions, model: hs.BayesianALS) -> None:
    P, Q = model.samples_.users, model.samples_.items
    u, i = data.user_positions, data.item_positions
    score = np.sum(P.factors[u, -1].astype(float) * Q.factors[i, -1], axis=1) + P.biases[u, -1] + Q.biases[i, -1]
    assert model.history_[-1].loss == pytest.approx(np.sum((data.values - model.mean_ - score) ** 2), rel=1e-5)


def test_samples_are_thinned_to_sample_memory(data: hs.Interactions, model: hs.BayesianALS) -> None:
    size = Samples.bytes_per_sample(data.n_users, data.n_items, 3)
    held = sum(array.nbytes for name, array in model.samples_.to_arrays().items() if not name.endswith("is_new"))
    assert held == 40 * size
    options = {"rank": 3, "iterations": 60, "burn_in": 20, "random_state": 0}
    with pytest.warns(
        PoorFitWarning, match=r"only 7 of 40 samples fit into .*: set sample_memory=(\d+) or more"
    ) as warned:
        few = hs.BayesianALS(**options, sample_memory=7 * size + 1).fit(data)
    enough = int(re.findall(r"=(\d+) or more", str(warned[0].message))[0])
    assert len(hs.BayesianALS(**options, sample_memory=enough).fit(data).samples_) == 10
    kept = [20 + -(-40 * n // 7) for n in range(1, 8)]  # evenly spaced, up to the last one
    assert few.samples_.noise.tolist() == [model.history_[sweep - 1].noise for sweep in kept]
    with pytest.raises(ParameterError, match=rf"sample_memory={size - 1}: give at least {size:,} bytes"):
        hs.BayesianALS(rank=3, sample_memory=size - 1).fit(data)


def test_init_is_used(data: hs.Interactions) -> None:
    als = hs.ALS(hs.Explicit(biases=True), rank=3, random_state=0).fit(data)
    options = {"rank": 3, "iterations": 1, "burn_in": 0, "random_state": 0}
    by_model = hs.BayesianALS(**options, init=als).fit(data)
    by_arrays = hs.BayesianALS(**options, init=(als.user_factors_, als.item_factors_)).fit(data)
    cold = hs.BayesianALS(**options).fit(data)
    assert by_model.history_[0].loss < 0.7 * cold.history_[0].loss
    assert by_arrays.history_[0].loss < cold.history_[0].loss
    backwards = hs.Interactions.from_arrays(data.user_ids[::-1], data.item_ids[::-1], data.values[::-1])
    other = hs.BayesianALS(**options, init=als).fit(backwards)  # same ids in another order
    assert other.history_[0].loss < 0.7 * cold.history_[0].loss


def test_failure_in_float32_is_retried_in_float64(monkeypatch: pytest.MonkeyPatch, data: hs.Interactions) -> None:
    expected = hs.BayesianALS(rank=3, iterations=5, burn_in=2, random_state=0).fit(data)
    sweep = Chain.sweep

    def fail_in_float32(chain: Chain, **how: bool):
        if chain._noise[0].dtype == np.float32 and chain._sweeps == 3:
            raise NumericalError("the system of {row} is not positive definite", row=0)
        return sweep(chain, **how)

    monkeypatch.setattr(halfstep.models.bayesian.bayesian_als, "FLOAT64_RANK", 0)
    monkeypatch.setattr(Chain, "sweep", fail_in_float32)
    model = hs.BayesianALS(rank=3, iterations=5, burn_in=2, random_state=0).fit(data)
    np.testing.assert_array_equal(model.predict(data), expected.predict(data))


def test_ctrl_c_keeps_the_samples_so_far(monkeypatch: pytest.MonkeyPatch, data: hs.Interactions) -> None:
    sweep = Chain.sweep
    stop_at = 13

    def stop(chain: Chain, **how: bool):
        if chain._sweeps == stop_at:
            raise KeyboardInterrupt
        return sweep(chain, **how)

    monkeypatch.setattr(Chain, "sweep", stop)
    with pytest.warns(FitInterruptedWarning, match="model of 3 samples, after 13 of 60 iterations"):
        model = hs.BayesianALS(rank=3, iterations=60, burn_in=10, random_state=0).fit(data)
    assert len(model.samples_) == 3
    assert len(model.history_) == 13
    stop_at = 5
    with pytest.raises(KeyboardInterrupt):
        hs.BayesianALS(rank=3, iterations=60, burn_in=10).fit(data)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::halfstep.errors.PoorFitWarning")
@examples(40)
@given(
    n_users=st.integers(1, 6),
    n_items=st.integers(1, 6),
    density=st.sampled_from([0.0, 0.3, 1.0]),
    rank=st.sampled_from([1, 2, 9, 13]),
    biases=st.booleans(),
    scale=st.sampled_from([0.0, 1e-6, 1.0, 1e6]),
    weights=st.sampled_from([None, 0.0, 1e-8, 1e8]),
    seed=st.integers(0, 2**32 - 1),
)
def test_degenerate_data_gives_finite_predictions(
    n_users, n_items, density, rank, biases, scale, weights, seed
) -> None:
    """Cover empty rows, single users, equal values, zero weights, and more factors than data."""
    rng = np.random.default_rng(seed)
    observed = rng.random((n_users, n_items)) < density
    observed[0, 0] = True
    users, items = np.nonzero(observed)
    w = None if weights is None else np.where(np.arange(len(users)) == 0, 1.0, weights)
    rated = hs.Interactions.from_arrays(users, items, 2.0 + scale * rng.normal(size=len(users)), weights=w)
    rated = rated.rebased(users=hs.Vocabulary(np.arange(n_users)), items=hs.Vocabulary(np.arange(n_items)))
    model = hs.BayesianALS(hs.Explicit(biases=biases), rank=rank, iterations=6, burn_in=2, random_state=0).fit(rated)
    pairs = np.divmod(np.arange((n_users + 1) * (n_items + 1)), n_items + 1)  # one unknown user, one unknown item
    mean, lower, upper = model.predict(*pairs, interval=0.8)
    assert np.isfinite([mean, lower, upper]).all()
    assert (lower < upper).all()
    assert np.isfinite(model.user_factors_).all()
    assert model.fold_in({"new": {0: 1.0}}).samples_.users.factors.shape == (1, 4, rank)


# --- predictions from samples


def random_samples(seed: int, n_users: int, n_items: int, k: int, count: int) -> Samples:
    rng = np.random.default_rng(seed)

    def side(n: int) -> SideSamples:
        samples = SideSamples.empty(n, count, k, rng.random(n) < 0.3)
        for array in (samples.factors, samples.biases, samples.means):
            array[...] = rng.normal(size=array.shape)
        samples.roots[...] = rng.normal(size=samples.roots.shape)
        return samples

    return Samples(side(n_users), side(n_items), rng.gamma(2.0, size=count), np.zeros((count, 0, k + 1), np.float32))


@given(
    seed=st.integers(0, 2**32 - 1), k=st.integers(1, 5), count=st.integers(1, 9), probability=st.floats(0.01, 0.99)
)
@examples(25)
def test_scores_and_intervals_equal_reference(seed: int, k: int, count: int, probability: float) -> None:
    samples = random_samples(seed, 4, 3, k, count)
    u, i = (grid.ravel() - 1 for grid in np.meshgrid(np.arange(5), np.arange(4)))  # −1: unknown id
    means, ends = samples.scores(u, i, run), samples.intervals(u, i, probability, run)
    for n in range(len(u)):
        scores, variances = [], []
        for s in range(count):
            x, y = (
                side.means[s].astype(float)
                if at < 0
                else np.append(side.factors[at, s], side.biases[at, s]).astype(float)
                for side, at in ((samples.users, u[n]), (samples.items, i[n]))
            )
            S, T = (side.roots[s] @ side.roots[s].T for side in (samples.users, samples.items))
            scores.append(x[:k] @ y[:k] + x[k] + y[k])
            new_user, new_item = (
                at < 0 or side.is_new[at] for side, at in ((samples.users, u[n]), (samples.items, i[n]))
            )
            v, w = np.append(y[:k], 1.0), np.append(x[:k], 1.0)
            variances.append(
                1 / samples.noise[s]
                + new_user * v @ S @ v
                + new_item * w @ T @ w
                + (new_user and new_item) * np.trace(S[:k, :k] @ T[:k, :k])
            )
        assert means[n] == pytest.approx(np.mean(scores), rel=1e-9, abs=1e-12)
        for end, below in zip(ends[n], ((1 - probability) / 2, (1 + probability) / 2), strict=True):
            assert np.mean(stats.norm.cdf(end, scores, np.sqrt(variances))) == pytest.approx(below, abs=1e-8)


def test_variance_of_unknown_ids_matches_monte_carlo() -> None:
    samples = random_samples(0, 1, 1, 2, 1)
    samples.noise[:] = 1e9
    rng = np.random.default_rng(0)
    x, y = (
        side.means[0] + rng.normal(size=(400_000, 3)) @ side.roots[0].T for side in (samples.users, samples.items)
    )
    scores = np.sum(x[:, :2] * y[:, :2], axis=1) + x[:, 2] + y[:, 2]
    one = np.array([-1])
    lower, upper = samples.intervals(one, one, 0.6827, run)[0]
    assert samples.scores(one, one, run)[0] == pytest.approx(scores.mean(), abs=5 * scores.std() / 600)
    assert (upper - lower) / 2 == pytest.approx(scores.std(), rel=0.02)


@pytest.mark.parametrize(("n_users", "n_items", "k", "count"), [(30, 20, 3, 10), (5, 40, 2, 30), (2, 3, 4, 2)])
def test_point_factors_are_best_low_rank_approximation(n_users: int, n_items: int, k: int, count: int) -> None:
    rng = np.random.default_rng(0)
    samples = random_samples(1, n_users, n_items, k, count)
    P, Q = (0.3 * rng.normal(size=side.factors.shape) for side in (samples.users, samples.items))
    samples.users.factors[...] = P + rng.normal(size=(n_users, 1, k))  # with a common component
    samples.items.factors[...] = Q + rng.normal(size=(n_items, 1, k))
    mean = np.einsum("usk,isk->ui", samples.users.factors, samples.items.factors) / count
    left, values, right = np.linalg.svd(mean, full_matrices=False)
    best = (left[:, :k] * values[:k]) @ right[:k]
    A, B = samples.point_factors(run)
    error, least = np.linalg.norm(mean - A.astype(float) @ B.T), np.linalg.norm(mean - best)
    assert error <= 1.001 * least + 1e-5 * np.linalg.norm(mean)
    np.testing.assert_allclose(samples.user_point_factors(B, run), A, atol=0.02 * np.abs(A).max())


def test_recommendation_scores_are_close_to_predictions(data: hs.Interactions, model: hs.BayesianALS) -> None:
    listed = model.recommend(n=5)
    predicted = model.predict(np.repeat(listed.queries, 5), model.items_.ids[listed.positions.ravel()])
    assert np.corrcoef(listed.scores.ravel(), predicted)[0, 1] > 0.98
    assert np.abs(listed.scores.ravel() - predicted).mean() < 0.1


def test_ids_without_ratings_are_predicted_from_the_prior(model: hs.BayesianALS) -> None:
    mean, lower, upper = model.predict([9999, 39, 0], [0, 0, 0], interval=0.9, unknown="baseline")
    assert mean[0] == mean[1]  # user 39 has no ratings
    assert (upper - lower)[1] == pytest.approx((upper - lower)[0])
    assert (upper - lower)[1] > (upper - lower)[2]
    with pytest.raises(UnknownIdError, match="9999"):
        model.predict([9999], [0], unknown="raise", interval=0.9)


# --- folding in


def test_fold_in_samples_user_conditional(data: hs.Interactions, model: hs.BayesianALS) -> None:
    history = data.subset(data.user_positions == 4)
    folded = model.fold_in(history)
    samples, items = model.samples_, history.item_positions
    for s in range(len(samples)):
        y = np.column_stack([samples.items.factors[items, s], np.ones(len(items))]).astype(float)
        t = history.values - model.mean_ - samples.items.biases[items, s]
        precision = np.linalg.inv(samples.users.roots[s] @ samples.users.roots[s].T)
        A = precision + samples.noise[s] * y.T @ y
        b = precision @ samples.users.means[s] + samples.noise[s] * y.T @ t
        expected = reference.sample_row(A, b, RandomStreams(0).generator(s, FOLD_IN).standard_normal(4))
        np.testing.assert_allclose(folded.samples_.users.factors[4, s], expected[:3], rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(folded.samples_.users.biases[4, s], expected[3], rtol=1e-3, atol=1e-4)
    assert folded.user_biases_[4] == pytest.approx(folded.samples_.users.biases[4].mean(), rel=1e-6)


def test_fold_in_of_training_data_approximates_predictions(data: hs.Interactions, model: hs.BayesianALS) -> None:
    folded = model.fold_in(data)
    assert np.sqrt(np.mean((folded.predict(data) - model.predict(data)) ** 2)) < 0.15
    assert folded.samples_.items is model.samples_.items
    listed, trained = folded.recommend(n=3), model.recommend(folded.users_.ids, n=3)
    assert np.mean(listed.positions[:, 0] == trained.positions[:, 0]) > 0.8


def test_fold_in_does_not_depend_on_other_users(data: hs.Interactions, model: hs.BayesianALS) -> None:
    alone = model.fold_in(data.subset(data.user_positions == 7))
    np.testing.assert_allclose(
        alone.samples_.users.factors[7], model.fold_in(data).samples_.users.factors[7], atol=1e-5
    )


def test_fold_in_with_unknown_items(model: hs.BayesianALS) -> None:
    assert len(model.fold_in({"who": {0: 1.0, 99: 2.0}}).users_) == 1
    with pytest.raises(UnknownIdError, match="99"):
        model.fold_in({"who": {0: 1.0, 99: 2.0}}, unknown_items="raise")
    assert len(model.fold_in({}).users_) == 0
    empty = model.fold_in({"who": {99: 2.0}})
    np.testing.assert_array_equal(empty.predict("who", [0, 1]), model.predict(9999, [0, 1]))


def test_explanation_sums_to_conditional_expectation(data: hs.Interactions, model: hs.BayesianALS) -> None:
    explanation = model.explain(4, 2)
    history = data.subset(data.user_positions == 4)
    samples, items = model.samples_, history.item_positions
    conditional = []
    for s in range(len(samples)):
        y = np.column_stack([samples.items.factors[items, s], np.ones(len(items))]).astype(float)
        t = history.values - model.mean_ - samples.items.biases[items, s]
        precision = np.linalg.inv(samples.users.roots[s] @ samples.users.roots[s].T)
        x = np.linalg.solve(
            precision + samples.noise[s] * y.T @ y,
            precision @ samples.users.means[s] + samples.noise[s] * y.T @ t,
        )
        conditional.append(x @ np.append(samples.items.factors[2, s], 1.0) + samples.items.biases[2, s])
    assert explanation.baseline + explanation.contributions.sum() == pytest.approx(
        model.mean_ + np.mean(conditional), rel=1e-4
    )
    assert explanation.score == model.predict(4, [2])[0]
    assert abs(explanation.remainder) < 0.3
    assert set(explanation.item_ids) == set(history.item_ids)


# --- errors and files


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"rank": 0}, "rank=0"),
        ({"burn_in": 200}, "burn_in=200 is not less than iterations=200"),
        ({"objective": hs.Implicit()}, r"is not supported by BayesianALS: give Explicit\(\)"),
        ({"objective": hs.Explicit(missing_weight=0.5, biases=False)}, "set missing_weight=0, or use ALS"),
        ({"init": 3}, "init is of type int: give a fitted model, or a pair"),
        ({"sample_memory": 0}, "sample_memory=0"),
        ({"threads": 0}, "threads=0"),
        ({"random_state": "x"}, "random_state='x'"),
    ],
)
def test_invalid_parameters_are_refused(parameters: dict, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        hs.BayesianALS(**parameters)


def test_invalid_input_is_refused(data: hs.Interactions, model: hs.BayesianALS) -> None:
    assert not hasattr(model, "partial_fit")  # each sample depends on all data
    with pytest.raises(ParameterError, match="BayesianALS does not support incremental updates: set update=False"):
        hs.evaluate_stream(model, data)
    with pytest.raises(ParameterError, match="interval=90"):
        model.predict(data, interval=90)
    with pytest.raises(ParameterError, match="init has rank 2, but rank=3"):
        hs.BayesianALS(rank=3, init=hs.ALS(rank=2).fit(data)).fit(data)
    with pytest.raises(ParameterError, match="init: the user factors are of shape"):
        hs.BayesianALS(rank=3, init=(np.zeros((1, 3)), np.zeros((1, 3)))).fit(data)
    with pytest.raises(DataError, match="the data have no interactions"):
        hs.BayesianALS().fit(data.subset(np.arange(0)))
    with pytest.raises(NumericalError, match="extreme values"):
        hs.BayesianALS(rank=2).fit(data.with_values(data.values * 1e200))


def test_model_file_keeps_all_samples(tmp_path: Path, data: hs.Interactions, model: hs.BayesianALS) -> None:
    model.save(tmp_path / "model")
    loaded = hs.load(tmp_path / "model")
    for name, array in model.samples_.to_arrays().items():
        np.testing.assert_array_equal(array, loaded.samples_.to_arrays()[name])
    np.testing.assert_array_equal(model.predict(data, interval=0.9), loaded.predict(data, interval=0.9))
    history = {"new": {1: 4.0, 2: 1.0}}
    np.testing.assert_array_equal(model.fold_in(history).user_factors_, loaded.fold_in(history).user_factors_)
    folded = model.fold_in(history)
    folded.save(tmp_path / "folded")
    np.testing.assert_array_equal(folded.predict("new", [3]), hs.load(tmp_path / "folded").predict("new", [3]))


def test_model_file_does_not_keep_init(tmp_path: Path, data: hs.Interactions) -> None:
    start = hs.ALS(hs.Explicit(biases=True), rank=2).fit(data)
    hs.BayesianALS(rank=2, iterations=2, burn_in=0, init=start).fit(data).save(tmp_path / "model")
    loaded = hs.load(tmp_path / "model")
    assert loaded.predict(data).shape == (len(data),)
    with pytest.raises(ParameterError, match=r"init was an object of the class halfstep\.models\.als\.ALS"):
        loaded.fit(data)


def test_invalid_samples_in_model_file_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: hs.BayesianALS
) -> None:
    arrays = model.samples_.to_arrays()
    for broken in ({}, arrays | {"noise": arrays["noise"][:-1].copy()}, arrays | {"users.is_new": np.zeros(3, bool)}):
        monkeypatch.setattr(Samples, "to_arrays", lambda self, broken=broken: broken)
        model.save(tmp_path / "model")
        with pytest.raises(ModelFileError, match="its samples"):
            hs.load(tmp_path / "model")


# --- real data


@pytest.fixture(scope="module")
def movies() -> hs.Interactions:
    return hs.datasets.movielens_100k()


@pytest.mark.slow
def test_more_accurate_than_tuned_als_on_movielens_100k(movies: hs.Interactions) -> None:
    split = write_up_split(movies)
    model = hs.BayesianALS(random_state=0).fit(split.train)
    assert hs.metrics.rmse(split.known.values, model.predict(split.known)) < 0.934  # tuned ALS: 0.954
    biased = model.mean_ + model.user_biases_[model.users_.positions(split.known.user_ids)]
    biased = biased + model.item_biases_[model.items_.positions(split.known.item_ids)]
    u, i = model.users_.positions(split.known.user_ids), model.items_.positions(split.known.item_ids)
    point = biased + np.sum(model.user_factors_[u] * model.item_factors_[i], axis=1)
    assert hs.metrics.rmse(split.known.values, point) < 0.936


@pytest.mark.slow
def test_intervals_have_nominal_coverage(movies: hs.Interactions) -> None:
    train, test = hs.split_random(movies, test_fraction=0.2, random_state=0)
    model = hs.BayesianALS(rank=8, iterations=100, random_state=0).fit(train)
    for probability in (0.5, 0.9):
        _, lower, upper = model.predict(test, interval=probability)
        covered = np.mean((lower <= test.values) & (test.values <= upper))
        assert covered == pytest.approx(probability, abs=0.02 if probability == 0.9 else 0.05)
