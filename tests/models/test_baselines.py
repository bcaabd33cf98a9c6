from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from halfstep.data import Interactions
from halfstep.errors import ParameterError
from halfstep.models.baselines import GlobalMean, ItemBias, Popularity, UserItemBias

MODELS = [GlobalMean, ItemBias, UserItemBias, Popularity]


def naive_item_bias(R, observed, regularization):
    """Compute `ItemBias` from a dense matrix and the mask of its observed cells."""
    mean = R[observed].mean()
    biases = np.zeros(R.shape[1])
    for i in range(R.shape[1]):
        raters = observed[:, i]
        if raters.any():
            biases[i] = (R[raters, i] - mean).sum() / (regularization + raters.sum())
    return mean, biases


def naive_user_item_bias(R, observed, user_regularization, item_regularization, iterations):
    """Compute `UserItemBias` one bias at a time."""
    mean = R[observed].mean()
    user_biases, item_biases = np.zeros(R.shape[0]), np.zeros(R.shape[1])
    for _ in range(iterations):
        for i in np.flatnonzero(observed.any(axis=0)):
            raters = observed[:, i]
            residuals = R[raters, i] - mean - user_biases[raters]
            item_biases[i] = residuals.sum() / (item_regularization + raters.sum())
        for u in np.flatnonzero(observed.any(axis=1)):
            rated = observed[u]
            residuals = R[u, rated] - mean - item_biases[rated]
            user_biases[u] = residuals.sum() / (user_regularization + rated.sum())
    return mean, user_biases, item_biases


@st.composite
def problems(draw):
    """Generate interactions in random order, with the same data as dense arrays."""
    users, items = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    cells = draw(st.sets(st.integers(0, users * items - 1), min_size=1))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows, columns = np.divmod(rng.permutation(sorted(cells)), items)
    values = rng.integers(-5, 6, len(rows)).astype(float)
    R, observed = np.zeros((users, items)), np.zeros((users, items), dtype=bool)
    R[rows, columns], observed[rows, columns] = values, True
    matrix = sparse.coo_array((values, (rows, columns)), shape=(users, items))
    return Interactions.from_sparse(matrix), R, observed


REGULARIZATIONS = st.sampled_from([0.0, 0.5, 10.0])


@given(problems())
def test_global_mean_predicts_mean_of_observed_values(problem):
    data, R, observed = problem
    model = GlobalMean().fit(data)
    assert model.predict(data.user_ids, data.item_ids) == pytest.approx(np.full(len(data), R[observed].mean()))


@given(problems(), REGULARIZATIONS)
def test_item_bias_equals_reference(problem, regularization):
    data, R, observed = problem
    mean, biases = naive_item_bias(R, observed, regularization)
    model = ItemBias(regularization=regularization).fit(data)
    assert model.mean_ == pytest.approx(mean)
    assert model.item_biases_ == pytest.approx(biases, abs=1e-12)
    assert not model.user_biases_.any()


@given(problems(), REGULARIZATIONS, REGULARIZATIONS, st.integers(1, 4))
def test_user_item_bias_equals_reference(problem, user_regularization, item_regularization, iterations):
    data, R, observed = problem
    mean, user_biases, item_biases = naive_user_item_bias(
        R, observed, user_regularization, item_regularization, iterations
    )
    model = UserItemBias(
        user_regularization=user_regularization,
        item_regularization=item_regularization,
        iterations=iterations,
    ).fit(data)
    assert model.mean_ == pytest.approx(mean)
    assert model.user_biases_ == pytest.approx(user_biases, abs=1e-12)
    assert model.item_biases_ == pytest.approx(item_biases, abs=1e-12)


@given(problems())
def test_user_item_bias_minimizes_its_objective(problem):
    data, R, observed = problem

    def objective(user_biases, item_biases):
        residuals = R - model.mean_ - user_biases[:, None] - item_biases
        return (residuals[observed] ** 2).sum() + 2 * (user_biases**2).sum() + 3 * (item_biases**2).sum()

    model = UserItemBias(user_regularization=2, item_regularization=3, iterations=200).fit(data)
    least = objective(model.user_biases_, model.item_biases_)
    rng = np.random.default_rng(0)
    for _ in range(10):
        du, di = rng.normal(0, 0.01, data.n_users), rng.normal(0, 0.01, data.n_items)
        for sign in (1, -1):
            assert objective(model.user_biases_ + sign * du, model.item_biases_ + sign * di) >= least - 1e-9


def test_popularity_ignores_values():
    data = Interactions.from_arrays(["a", "b", "c", "a"], ["x", "x", "x", "y"], [0.0, -3.0, 5.0, 2.0])
    model = Popularity().fit(data)
    assert model.predict("nobody", ["x", "y", "z"]).tolist() == [3, 1, 0]
    assert model.mean_ == 0


def test_unknown_ids_are_predicted_from_known_biases():
    data = Interactions.from_arrays(["a", "a", "b"], ["x", "y", "y"], [1.0, 3.0, 5.0])
    model = UserItemBias().fit(data)
    expected = [model.mean_, model.mean_ + model.item_biases_[1], model.mean_ + model.user_biases_[0]]
    assert model.predict(["new", "new", "a"], ["new", "y", "new"]) == pytest.approx(expected)


def test_rows_without_values_have_zero_bias():
    full = Interactions.from_arrays([1, 1, 2, 3], [7, 8, 8, 9], [1.0, 2.0, 5.0, 4.0])
    model = UserItemBias(user_regularization=0, item_regularization=0).fit(full.subset([0, 1, 2]))
    assert model.user_biases_[2] == model.item_biases_[2] == 0
    assert model.predict(3, 9) == pytest.approx([8 / 3])


@pytest.mark.parametrize("kind", MODELS)
class TestEveryBaseline:
    def test_has_rank_zero(self, kind):
        model = kind().fit(Interactions.from_arrays([1, 2], [3, 4]))
        assert model.user_factors_.shape == model.item_factors_.shape == (2, 0)

    def test_ignores_weights(self, kind):
        data = Interactions.from_arrays([1, 2, 2], [3, 4, 3], [1.0, 5.0, 2.0])
        weighted = kind().fit(data.with_weights([1.0, 7.0, 0.0]))
        assert weighted.predict([1, 2], 4).tolist() == kind().fit(data).predict([1, 2], 4).tolist()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ItemBias(regularization=-1), "regularization=-1: give a finite number of at least 0"),
        (lambda: ItemBias(regularization="1"), "regularization='1': give a finite number"),
        (lambda: UserItemBias(user_regularization=np.nan), "user_regularization=nan: give a finite number"),
        (lambda: UserItemBias(item_regularization=np.inf), "item_regularization=inf: give a finite number"),
        (lambda: UserItemBias(iterations=0), "iterations=0: give an integer of at least 1"),
        (lambda: UserItemBias(iterations=True), "iterations=True: give an integer of at least 1"),
    ],
)
def test_invalid_parameters_are_refused(make, message):
    with pytest.raises(ParameterError, match=message):
        make()
