from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import sparse

from halfstep.errors import DataError
from halfstep.metrics import frobenius, mae, rmse, sign_accuracy, weighted_rmse

PAIR_METRICS = [rmse, mae, sign_accuracy]
RATINGS = st.integers(-(10**8), 10**8).map(lambda millionths: millionths / 1e6)  # squares must not underflow


@st.composite
def scored_pairs(draw):
    n = draw(st.integers(1, 20))
    return draw(arrays(np.float64, n, elements=RATINGS)), draw(arrays(np.float64, n, elements=RATINGS))


def test_values_by_hand():
    targets, predictions = [1, 2, 3, 4], [1, 4, 3, 3]
    assert rmse(targets, predictions) == pytest.approx(np.sqrt(5 / 4))
    assert mae(targets, predictions) == 3 / 4
    assert weighted_rmse(targets, predictions, [9, 1, 0, 2]) == pytest.approx(np.sqrt(6 / 12))


@pytest.mark.parametrize("metric", PAIR_METRICS)
@pytest.mark.parametrize("kind", [pl.Int8, pl.Int128, pl.UInt128, pl.Float32])
def test_series_of_numbers(metric, kind):
    targets, predictions = [1, 2, 3, 4], [1, 4, 3, 3]
    given = pl.Series(targets, dtype=kind), pl.Series(predictions, dtype=kind)
    assert metric(*given) == metric(targets, predictions)


@given(scored_pairs())
def test_rmse_and_mae_are_symmetric_and_ordered(pairs):
    targets, predictions = pairs
    assert rmse(targets, predictions) == rmse(predictions, targets)
    assert mae(targets, predictions) == mae(predictions, targets)
    largest = np.abs(targets - predictions).max()
    assert mae(targets, predictions) <= rmse(targets, predictions) * (1 + 1e-12) + 1e-150
    assert rmse(targets, predictions) <= largest * (1 + 1e-12)
    assert rmse(targets, targets) == mae(targets, targets) == 0


@given(scored_pairs(), st.sampled_from([1e-300, 1e-8, 1.0, 3.5, 1e300]))
def test_weighted_rmse_with_equal_weights_is_rmse(pairs, weight):
    targets, predictions = pairs
    weights = np.full(len(targets), weight)
    assert weighted_rmse(targets, predictions, weights) == pytest.approx(rmse(targets, predictions), abs=1e-150)


@given(scored_pairs())
def test_weight_zero_is_ignored(pairs):
    targets, predictions = pairs
    weights = np.r_[np.ones(len(targets)), 0.0]
    with_outlier = weighted_rmse(np.r_[targets, 1e6], np.r_[predictions, -1e6], weights)
    assert with_outlier == pytest.approx(rmse(targets, predictions), rel=1e-12, abs=1e-150)


def test_sign_of_zero_is_positive():
    assert sign_accuracy([0.0, -0.0, 1.0, -1.0], [1.0, 0.0, 0.0, 0.0]) == 3 / 4
    assert sign_accuracy([-1, -1, 1, 1], [-1e-300, 0.5, 1e-300, -0.5]) == 1 / 2


def test_columns_of_dataframes():
    frame = pd.DataFrame({"rating": [1, 2, 3], "predicted": np.array([1, 2, 5], dtype=np.float32)})
    assert mae(frame["rating"], frame["predicted"]) == pytest.approx(2 / 3)
    assert rmse(pd.array([1, 2], dtype="Int64"), [True, 2.0]) == 0


@pytest.mark.parametrize("metric", PAIR_METRICS)
@pytest.mark.parametrize(
    ("targets", "predictions", "message"),
    [
        ([], [], "there is no data to score"),
        ([1, 2, 3], [1, 2], "targets has 3 values, but predictions has 2"),
        ([[1], [2]], [1, 2], r"targets has shape \(2, 1\): give an array with 1 dimension$"),
        (3.0, [3.0], r"targets has shape \(\): give an array with 1 dimension$"),
        ([1, 2], [1, np.nan], r"predictions: the value at \[1\] is nan"),
        ([1, np.inf], [1, 2], r"targets: the value at \[1\] is inf"),
        (["a"], [1], "targets has the data type <U1: give real numbers"),
        ([1j], [1], "targets has the data type complex128"),
        ([1, None], [1, 2], r"targets: the value at \[1\] is nan"),
        ([1, pd.NA], [1, 2], "targets has a value that is not a real number"),
    ],
)
def test_error_for_invalid_data(metric, targets, predictions, message):
    with pytest.raises(DataError, match=message):
        metric(targets, predictions)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0], "targets has 2 values, but weights has 1"),
        ([1.0, -2.0], r"weights\[1\] is -2: give weights of at least 0"),
        ([0.0, 0.0], "all weights are 0"),
        ([1.0, np.inf], r"weights: the value at \[1\] is inf"),
    ],
)
def test_error_for_invalid_weights(weights, message):
    with pytest.raises(DataError, match=message):
        weighted_rmse([1, 2], [1, 2], weights)


@given(st.data())
def test_frobenius_of_a_sparse_matrix_equals_the_dense_norm(data):
    users, items = data.draw(st.integers(1, 8)), data.draw(st.integers(1, 8))
    rank = data.draw(st.integers(0, 4))
    small = st.integers(-3, 3).map(float)
    R = data.draw(arrays(np.float64, (users, items), elements=small))
    P = data.draw(arrays(np.float64, (users, rank), elements=small))
    Q = data.draw(arrays(np.float64, (items, rank), elements=small))
    expected = np.sqrt(((R - P @ Q.T) ** 2).sum())
    assert frobenius(R, P, Q) == pytest.approx(expected)
    for form in (sparse.csr_array, sparse.csc_matrix, sparse.coo_array):
        assert frobenius(form(R), P, Q) == pytest.approx(expected)


def test_frobenius_sums_duplicates_in_a_copy():
    matrix = sparse.csr_array((np.array([1.0, 2.0]), np.array([0, 0]), np.array([0, 2])), shape=(1, 2))
    assert frobenius(matrix, [[1.0]], [[0.0], [4.0]]) == 5.0
    assert matrix.nnz == 2


def test_frobenius_of_an_exact_fit_is_zero_not_nan():
    rng = np.random.default_rng(0)
    P, Q = rng.normal(size=(40, 3)), rng.normal(size=(30, 3))
    R = P @ Q.T
    exact = frobenius(sparse.csr_array(R), P, Q)
    assert 0 <= exact < 1e-7 * np.linalg.norm(R)  # √ε of the terms that cancel, in whatever order BLAS sums them
    assert frobenius(P @ Q.T, P, Q) == 0


def test_frobenius_of_large_sparse_matrix():
    users = items = 1_000_000  # 8 TB if dense
    matrix = sparse.coo_array(([3.0], ([7], [9])), shape=(users, items))
    P, Q = np.zeros((users, 1)), np.zeros((items, 1))
    P[7], Q[9] = 1.0, 2.0
    assert frobenius(matrix, P, Q) == pytest.approx(1.0)


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
def test_frobenius_error_for_shapes(form):
    matrix = form(np.ones((2, 3)))
    with pytest.raises(DataError, match=r"give the shapes \(users, items\), \(users, rank\) and \(items, rank\)"):
        frobenius(matrix, np.ones((3, 1)), np.ones((2, 1)))
    with pytest.raises(DataError, match=r"item_factors \(3, 2\)"):
        frobenius(matrix, np.ones((2, 1)), np.ones((3, 2)))
    with pytest.raises(DataError, match=r"user_factors: the value at \[1, 0\] is nan"):
        frobenius(matrix, [[1.0], [np.nan]], np.ones((3, 1)))
    with pytest.raises(DataError, match=r"the value at .* is inf"):
        frobenius(form(np.array([[1.0, np.inf, 2.0], [1.0, 1.0, 1.0]])), np.ones((2, 1)), np.ones((3, 1)))
    with pytest.raises(DataError, match=r"there is no data to score: matrix has shape \(0, 3\)"):
        frobenius(form(np.ones((0, 3))), np.ones((0, 1)), np.ones((3, 1)))
    with pytest.raises(DataError, match="user_factors has shape"):
        frobenius(matrix, [1.0, 1.0], np.ones((3, 1)))
