from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

import halfstep.models.sgd
from halfstep.data import Interactions
from halfstep.errors import FitInterruptedWarning, NumericalError, ParameterError
from halfstep.models.sgd import SGD
from halfstep.solver.kernels.sgd_epoch import sgd_epoch
from thorough import examples


def naive_epoch(ratings, mean, user_biases, item_biases, P, Q, learning_rate, regularization):
    """Run an epoch over ratings (u, i, r), and return the error of each before its step."""
    errors = []
    for u, i, r in ratings:
        e = r - (mean + user_biases[u] + item_biases[i] + P[u] @ Q[i])
        user_biases[u] += learning_rate * (e - regularization * user_biases[u])
        item_biases[i] += learning_rate * (e - regularization * item_biases[i])
        p = P[u].copy()
        P[u] += learning_rate * (e * Q[i] - regularization * P[u])
        Q[i] += learning_rate * (e * p - regularization * Q[i])
        errors.append(e)
    return np.array(errors)


def naive_visits(data):
    """Group the ratings by user, in the order of first occurrence."""
    by_user = {}
    for u, i, r in zip(data.user_positions, data.item_positions, data.values, strict=True):
        by_user.setdefault(u, []).append((u, i, r))
    return [rating for ratings in by_user.values() for rating in ratings]


def random_problem(seed, users, items, density=0.6):
    rng = np.random.default_rng(seed)
    rows, columns = np.divmod(rng.permutation(users * items), items)
    kept = max(1, round(density * users * items))
    rows, columns = rows[:kept], columns[:kept]
    ratings = rng.integers(1, 6, kept).astype(float)
    return Interactions.from_sparse(sparse.coo_array((ratings, (rows, columns)), shape=(users, items)))


@pytest.mark.slow
@given(
    seed=st.integers(0, 2**32 - 1),
    users=st.integers(1, 8),
    items=st.integers(1, 8),
    rank=st.integers(1, 19),
    learning_rate=st.sampled_from([0.001, 0.05]),
    regularization=st.sampled_from([0.0, 0.02, 1.0]),
)
@examples(60)  # the first example compiles the kernel
def test_epoch_equals_reference(seed, users, items, rank, learning_rate, regularization):
    data = random_problem(seed, users, items)
    rng = np.random.default_rng(seed)
    start = [rng.normal(0, 0.5, shape) for shape in ((users,), (items,), (users, rank), (items, rank))]
    ours, theirs = [part.copy() for part in start], [part.copy() for part in start]
    ratings = list(zip(data.user_positions, data.item_positions, data.values, strict=True))
    errors = naive_epoch(ratings, 3.0, *theirs, learning_rate, regularization)
    squared = sgd_epoch(
        data.user_positions, data.item_positions, data.values - 3.0, *ours, learning_rate, regularization
    )
    assert squared == pytest.approx((errors**2).sum())
    for our, their in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(our, their, rtol=1e-10, atol=1e-12)


def test_fit_equals_reference_epochs():
    data = random_problem(seed=1, users=9, items=7)
    assert data.user_counts.all()
    assert data.item_counts.all()
    rng = np.random.default_rng(5)
    P, Q = rng.normal(0, 0.3, (9, 4)), rng.normal(0, 0.3, (7, 4))
    user_biases, item_biases, mean = np.zeros(9), np.zeros(7), data.values.mean()
    rmses = []
    for _ in range(3):
        errors = naive_epoch(naive_visits(data), mean, user_biases, item_biases, P, Q, 0.02, 0.1)
        rmses.append(np.sqrt((errors**2).mean()))

    model = SGD(rank=4, iterations=3, learning_rate=0.02, regularization=0.1, init_std=0.3, random_state=5).fit(data)
    np.testing.assert_allclose(model.user_factors_, P, rtol=1e-10)
    np.testing.assert_allclose(model.item_factors_, Q, rtol=1e-10)
    np.testing.assert_allclose(model.user_biases_, user_biases, rtol=1e-10)
    np.testing.assert_allclose(model.item_biases_, item_biases, rtol=1e-10)
    assert model.mean_ == pytest.approx(mean)
    assert [epoch.rmse for epoch in model.history_] == pytest.approx(rmses)
    assert [epoch.iteration for epoch in model.history_] == [1, 2, 3]
    assert model.history_[0].seconds < model.history_[2].seconds


def test_fits_exact_low_rank_ratings():
    rng = np.random.default_rng(0)
    exact = 3 + rng.normal(size=(60, 2)) @ rng.normal(size=(2, 40))
    data = Interactions.from_sparse(sparse.coo_array(exact))
    model = SGD(rank=4, iterations=200, learning_rate=0.02, regularization=0.0, random_state=0).fit(data)
    assert model.history_[0].rmse > 1
    assert model.history_[-1].rmse < 0.05


def test_rows_without_ratings_are_zero():
    full = Interactions.from_arrays([1, 1, 2, 3], [7, 8, 8, 9], [1.0, 2.0, 5.0, 4.0])
    model = SGD(rank=2, random_state=0).fit(full.subset([0, 1, 2]))
    assert not model.user_factors_[2].any()
    assert not model.item_factors_[2].any()
    assert model.user_biases_[2] == model.item_biases_[2] == 0
    assert model.predict(3, 9) == pytest.approx([8 / 3])


def test_weights_are_ignored():
    data = random_problem(seed=5, users=6, items=6)
    weighted = SGD(rank=2, random_state=0).fit(data.with_weights(np.arange(len(data), dtype=float)))
    assert np.array_equal(weighted.user_factors_, SGD(rank=2, random_state=0).fit(data).user_factors_)


def test_divergence_is_an_error():
    data = random_problem(seed=6, users=20, items=20)
    with pytest.raises(
        NumericalError,
        match=r"after epoch 1: check the data for extreme values, or lower learning_rate, which is 10$",
    ):
        SGD(rank=2, learning_rate=10.0, random_state=0).fit(data)


def interrupt_after(monkeypatch, epochs):
    calls = []

    def interrupted(*arguments):
        if len(calls) == epochs:
            raise KeyboardInterrupt
        calls.append(1)
        return sgd_epoch(*arguments)

    monkeypatch.setattr(halfstep.models.sgd, "sgd_epoch", interrupted)


def test_ctrl_c_keeps_the_last_finished_epoch(monkeypatch):
    data = random_problem(seed=7, users=10, items=10)
    expected = SGD(rank=3, iterations=2, random_state=0).fit(data)
    interrupt_after(monkeypatch, 2)
    with pytest.warns(FitInterruptedWarning, match="the model after 2 of 9 iterations"):
        model = SGD(rank=3, iterations=9, random_state=0).fit(data)
    assert np.array_equal(model.user_factors_, expected.user_factors_)
    assert len(model.history_) == 2


def test_ctrl_c_in_the_first_epoch_leaves_the_model_unchanged(monkeypatch):
    data = random_problem(seed=7, users=10, items=10)
    model = SGD(rank=3, random_state=0).fit(data)
    before = model.user_factors_
    interrupt_after(monkeypatch, 0)
    with pytest.raises(KeyboardInterrupt):
        model.fit(data)
    assert model.user_factors_ is before


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGD(rank=0), "rank=0: give an integer of at least 1"),
        (lambda: SGD(rank=2.0), "rank=2.0: give an integer of at least 1"),
        (lambda: SGD(iterations=-1), "iterations=-1: give an integer of at least 1"),
        (lambda: SGD(learning_rate=0), "learning_rate=0: give a finite number above 0"),
        (lambda: SGD(learning_rate=np.inf), "learning_rate=inf: give a finite number above 0"),
        (lambda: SGD(regularization=-0.1), "regularization=-0.1: give a finite number of at least 0"),
        (lambda: SGD(init_std=np.nan), "init_std=nan: give a finite number of at least 0"),
        (lambda: SGD(random_state=-1), "random_state=-1: give None, an integer of at least 0, or a"),
        (lambda: SGD(random_state=np.random.RandomState(0)), r"RandomState.*default_rng\(0\)"),
    ],
)
def test_invalid_parameters_are_refused(make, message):
    with pytest.raises(ParameterError, match=message):
        make()


def test_numpy_scalars_are_accepted_as_parameters():
    data = random_problem(seed=9, users=4, items=4)
    exact = SGD(rank=2, iterations=1, learning_rate=0.5, random_state=3).fit(data)
    numpy = SGD(
        rank=np.int32(2), iterations=np.int64(1), learning_rate=np.float32(0.5), random_state=np.uint8(3)
    ).fit(data)
    assert np.array_equal(exact.user_factors_, numpy.user_factors_)
