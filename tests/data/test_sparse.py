"""Every function that accepts a sparse matrix reads it correctly, or raises an error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import halfstep as hs
from benchmarks.stress import sparse_matrices
from benchmarks.stress.forged import FORMATS, cells_of, forge, made, random_dense
from halfstep import metrics
from halfstep.data import IndexLists, Interactions
from halfstep.data.side_information import SideInformation
from halfstep.errors import DataError, ParameterError
from halfstep.solver.top_n import best_columns, best_of_given

DENSE = np.array([[1.0, 0, 2, 0], [0, 3, 0, 0], [4, 0, 5, 1], [0, 0, 0, 0]])
needs_sparse_rows = pytest.mark.skipif(
    len(sp.csr_array(DENSE[0]).shape) == 2, reason="this version of SciPy has no one-dimensional csr_array"
)


@pytest.fixture(scope="module")
def model() -> hs.ALS:
    return hs.ALS(rank=2, iterations=2, random_state=0, threads=1).fit(sp.csr_array(DENSE))


@pytest.fixture(scope="module")
def with_features() -> hs.ALS:
    model = hs.ALS(rank=2, iterations=2, random_state=0, threads=1)
    return model.fit(sp.csr_array(DENSE), user_features=sp.csr_array(np.eye(4)))


def with_invalid_indptr() -> Any:
    matrix = sp.csr_array(DENSE)
    matrix.indptr = np.array([0, 2, 1_000_000, 6, 6], np.int32)
    return matrix


def too_wide() -> Any:
    matrix = sp.csr_array(DENSE)
    matrix.indices = np.array([0, 2, 1, 0, 2, 900_000], np.int32)
    return matrix


def negative() -> Any:
    matrix = sp.csr_array(DENSE)
    matrix.indices = np.array([0, 2, -1, 0, 2, 3], np.int32)
    return matrix


def cut_short() -> Any:
    matrix = sp.csr_array(DENSE)
    matrix.data = matrix.data[:2]
    return matrix


FUNCTIONS: dict[str, Callable[[Any, Any, Any], object]] = {
    "from_sparse": lambda matrix, model, _: hs.Interactions.from_sparse(matrix),
    "fit": lambda matrix, model, _: hs.ALS(rank=2, iterations=1, threads=1).fit(matrix),
    "fold_in": lambda matrix, model, _: model.fold_in(matrix),
    "partial_fit": lambda matrix, model, _: hs.ALS(rank=2, iterations=1, threads=1).partial_fit(matrix),
    "evaluate": lambda matrix, model, _: hs.evaluate(model, matrix, n=2),
    "user_features": lambda matrix, model, _: hs.ALS(rank=2, threads=1).fit(
        sp.csr_array(DENSE), user_features=matrix
    ),
    "item_features": lambda matrix, model, _: hs.BayesianALS(rank=2, iterations=2, burn_in=1, threads=1).fit(
        sp.csr_array(DENSE), item_features=matrix
    ),
    "fold_in features": lambda matrix, model, with_features: with_features.fold_in(
        sp.csr_array(DENSE), user_features=matrix
    ),
    "imported": lambda matrix, model, _: hs.persistence.from_arrays(
        np.ones((4, 2)), np.ones((4, 2)), interactions=matrix
    ),
    "frobenius": lambda matrix, model, _: metrics.frobenius(matrix, np.ones((4, 2)), np.ones((4, 2))),
}


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    "forged", [with_invalid_indptr, too_wide, negative, cut_short], ids=lambda forged: forged.__name__
)
def test_error_of_every_function_for_forged_matrices(
    function: str, forged: Callable[[], Any], model: hs.ALS, with_features: hs.ALS
) -> None:
    with pytest.raises(DataError, match=r"is a csr_array of shape .* that is not valid"):
        FUNCTIONS[function](forged(), model, with_features)


@pytest.mark.parametrize("fmt", FORMATS)
def test_forged_matrices_are_read_by_definition_or_errors(fmt: str) -> None:
    rng = np.random.default_rng(FORMATS.index(fmt))
    accepted = 0
    for number in range(150):
        matrix = made(fmt, random_dense(rng), as_matrix=number % 2 == 0)
        forged = forge(matrix, rng) if number % 5 else matrix
        expected = cells_of(forged)
        try:
            data = Interactions.from_sparse(forged)
        except DataError:
            assert not expected
            continue
        found = zip(data.user_positions.tolist(), data.item_positions.tolist(), data.values.tolist(), strict=True)
        assert {(u, i): value for u, i, value in found} == expected
        accepted += 1
    assert accepted >= 30


def test_error_for_index_out_of_range() -> None:
    with pytest.raises(DataError, match=r"stored value 5 has the column index 900000, outside of 0 to 3"):
        hs.Interactions.from_sparse(too_wide())
    with pytest.raises(DataError, match=r"its indptr decreases after row 2, from 1000000"):
        hs.Interactions.from_sparse(with_invalid_indptr())


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_value_that_is_not_finite_names_user_and_item(
    function: str, value: float, model: hs.ALS, with_features: hs.ALS
) -> None:
    matrix = sp.csr_array(DENSE)
    matrix.data[4] = value
    place = {
        "frobenius": "row 2, column 2",
        "item_features": r"item 2 \(row 2\), column 2",
        "user_features": r"user 2 \(row 2\), column 2",
        "fold_in features": r"user 2 \(row 2\), column 2",
    }.get(function, r"user 2 \(row 2\), item 2 \(column 2\)")
    with pytest.raises(DataError, match=f"the value at {place} is {value}, not a finite number"):
        FUNCTIONS[function](matrix, model, with_features)


def test_error_for_complex_numbers_but_not_booleans() -> None:
    with pytest.raises(DataError, match=r"the value at user 0 \(row 0\), item 0 \(column 0\) is .*1\+0j"):
        Interactions.from_sparse(sp.csr_array(DENSE.astype(complex)))
    with pytest.raises(DataError, match="not a number"):
        hs.ALS(rank=2).fit(sp.csr_array(DENSE), user_features=sp.csr_array(DENSE * 1j))
    assert Interactions.from_sparse(sp.csr_array(DENSE.astype(bool))).values.tolist() == [1.0] * 6


PADDED = {
    "small blocks": sp.bsr_array(DENSE, blocksize=(2, 2)),
    "one block": sp.bsr_matrix(DENSE, blocksize=(4, 4)),
    "diagonals": sp.dia_array(DENSE),
}


@pytest.mark.parametrize("matrix", PADDED.values(), ids=PADDED)
def test_padding_of_blocks_and_diagonals_is_not_observed(matrix: Any, model: hs.ALS) -> None:
    data = Interactions.from_sparse(matrix)
    assert len(data) == 6
    np.testing.assert_array_equal(data.to_sparse().toarray(), DENSE)
    assert len(hs.Popularity().fit(matrix).interactions_) == 6
    assert len(model.fold_in(matrix).interactions_) == 6
    assert hs.evaluate(model, matrix, "recall", exclude_seen=False, resamples=2).n_scored == 3


def test_values_after_the_last_row_are_not_read() -> None:
    matrix = sp.csr_array(DENSE)
    matrix.indices, matrix.data = np.append(matrix.indices, [77, 99]), np.append(matrix.data, [np.nan, 8.0])
    assert len(Interactions.from_sparse(matrix)) == 6


def test_error_for_matrix_with_too_many_rows() -> None:
    matrix = sp.coo_array(([1.0], ([0], [2**40])), shape=(1, 2**41))
    with pytest.raises(DataError, match=r"the shape \(1, 2199023255552\): at most 2,147,483,647 rows and columns"):
        Interactions.from_sparse(matrix)


def test_error_for_int64_indices_that_overflow() -> None:
    matrix = sp.csr_array(DENSE)
    matrix.indices = matrix.indices.astype(np.int64) + 2**32
    with pytest.raises(DataError, match=r"column index 4294967296, outside of 0 to 3"):
        Interactions.from_sparse(matrix)


@needs_sparse_rows
@pytest.mark.parametrize("make", [sp.csr_array, sp.coo_array, sp.dok_array])
def test_a_sparse_row_is_the_history_of_one_user(make: Callable[..., Any], model: hs.ALS) -> None:
    expected = model.fold_in(sp.csr_array(DENSE[[2]]))
    folded = model.fold_in(make(DENSE[2]))
    assert folded.users_.ids.tolist() == [0]
    np.testing.assert_array_equal(folded.user_factors_, expected.user_factors_)
    assert folded.user_factors_[0].tolist() != [0.0, 0.0]


@needs_sparse_rows
def test_an_empty_sparse_row_folds_in_as_a_user_without_history(model: hs.ALS) -> None:
    for empty in (sp.csr_array(DENSE)[3], sp.csr_array(DENSE)[[3]], sp.csr_matrix(DENSE)[3]):
        assert model.fold_in(empty).user_factors_.tolist() == [[0.0, 0.0]]
    assert len(model.fold_in(sp.csr_array((0, 4))).users_) == 0
    with pytest.raises(DataError, match="3 columns, and the model has 4 items"):
        model.fold_in(sp.csr_array(DENSE)[2, :3])


@needs_sparse_rows
def test_fit_error_for_sparse_row() -> None:
    with pytest.raises(DataError, match=r"csr_array of shape \(4,\)|coo_array of shape \(4,\)"):
        hs.ALS(rank=2).fit(sp.csr_array(DENSE)[2])


def test_features_in_any_format_are_the_same() -> None:
    dense = np.array([[1.0, 0], [0, 2], [0, 0], [3, 4]])
    data = Interactions.from_sparse(sp.csr_array(DENSE))
    for fmt in FORMATS:
        _, given = SideInformation.read(data, made(fmt, dense), "user")
        np.testing.assert_array_equal(given.matrix.toarray(), dense)
        assert given.matrix.has_canonical_format


@pytest.mark.parametrize("indices", [[3, 1, 0, 2], [0, 4, 0, 2], [-1, 1, 0, 2]], ids=["falls", "high", "negative"])
def test_error_for_invalid_lists(indices: list[int]) -> None:
    lists = IndexLists(np.array([0, 2, 4]), np.array(indices, np.int32))
    P, Q, c = np.ones((2, 3)), np.ones((4, 3)), np.zeros(4)
    with pytest.raises(DataError, match="row 0 lists column"):
        best_columns(P, Q, c, 2, skip=lists)
    with pytest.raises(DataError, match="row 0 lists column"):
        best_of_given(P, Q, c, 2, given=lists)


def test_repeated_column_of_list_counts_once() -> None:
    rng = np.random.default_rng(0)
    P, Q, c = rng.normal(size=(3, 2)), rng.normal(size=(5, 2)), rng.normal(size=5)
    repeats = IndexLists(np.array([0, 3, 3, 5]), np.array([1, 1, 3, 0, 0], np.int32))
    once = IndexLists(np.array([0, 2, 2, 3]), np.array([1, 3, 0], np.int32))
    for rank in (
        lambda lists: best_columns(P, Q, c, 5, skip=lists)[0],
        lambda lists: best_of_given(P, Q, c, 5, given=lists)[0],
    ):
        np.testing.assert_array_equal(rank(repeats), rank(once))


def test_top_n_error_for_factors_of_other_ranks() -> None:
    with pytest.raises(DataError, match=r"shapes \(2, 3\) and \(4, 2\)"):
        best_columns(np.ones((2, 3)), np.ones((4, 2)), np.zeros(4), 2, skip=IndexLists.empty(2))
    with pytest.raises(DataError, match="1 list of columns for 2 rows: give one for each"):
        best_columns(np.ones((2, 3)), np.ones((4, 3)), np.zeros(4), 2, skip=IndexLists.empty(1))


@pytest.mark.parametrize(
    ("init", "what"),
    [
        (np.ones((4, 2)) * 1j, "of dtype complex128"),
        (np.full((4, 2), "1"), "of dtype <U1"),
        (np.ma.masked_array(np.ones((4, 2)), mask=np.eye(4)[:, :2]), "a masked array"),
        (sp.csr_array(np.ones((4, 2))), "of dtype object"),
        (np.full((4, 2), np.nan), "not finite"),
        (np.ones((4, 3)), r"of shape \(4, 3\)"),
    ],
)
def test_error_for_initial_factors_that_are_not_numbers(init: Any, what: str) -> None:
    for start in ((init, np.ones((4, 2))), (np.ones((4, 2)), init)):
        with pytest.raises(ParameterError, match=f"init: the (user|item) factors are {what}"):
            hs.ALS(rank=2, init=start).fit(sp.csr_array(DENSE))


def test_short_run_of_fuzzer() -> None:
    assert sparse_matrices.main(90) == 0
