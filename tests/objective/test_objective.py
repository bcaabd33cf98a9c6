from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import halfstep as hs
from halfstep import weights
from halfstep.errors import DataError, ParameterError
from halfstep.objective.objective import Objective, cells_of
from halfstep.weights import Cells


@pytest.fixture
def data() -> hs.Interactions:
    """Return three observations of tea, two of milk and one of rum; zero and negative values are observed."""
    users = ["a", "b", "c", "a", "b", "c"]
    items = ["tea", "tea", "tea", "milk", "milk", "rum"]
    return hs.Interactions.from_arrays(users, items, [5.0, 0.0, -1.0, 3.0, 4.0, 2.0], weights=[1, 2, 3, 4, 5, 6])


def weights_of(weight: object, data: hs.Interactions) -> np.ndarray:
    return hs.Explicit(weight=weight, biases=False).cost(data).weights


COUNTS = np.array([3, 3, 3, 2, 2, 1])
VALUES = np.array([5.0, 0.0, -1.0, 3.0, 4.0, 2.0])


@pytest.mark.parametrize(
    ("weight", "expected"),
    [
        (2.0, np.full(6, 2.0)),
        (weights.linear_popularity(w0=0.1, wk=2.0), 0.1 + 2.0 / COUNTS),
        (weights.power_popularity(w0=1.0, e=0.1), 1.0 + (1 / COUNTS) ** 0.1),
        (None, [1, 2, 3, 4, 5, 6]),  # the weights of the interactions
        (lambda cells: cells.weights * 2, [2, 4, 6, 8, 10, 12]),
        (lambda cells: cells.values**2, VALUES**2),
        (lambda cells: cells.user_counts[cells.users] / cells.item_counts[cells.items], 2 / COUNTS),
    ],
)
def test_observed_weights(data: hs.Interactions, weight: object, expected: object) -> None:
    np.testing.assert_allclose(weights_of(weight, data), expected)


def test_confidence_weights(data: hs.Interactions) -> None:
    counts = data.with_values(np.abs(data.values))
    np.testing.assert_allclose(weights_of(weights.confidence(alpha=40), counts), 1 + 40 * np.abs(VALUES))
    np.testing.assert_allclose(
        weights_of(weights.log_confidence(alpha=3, epsilon=0.5), counts), 1 + 3 * np.log(1 + np.abs(VALUES) / 0.5)
    )
    based = weights.log_confidence(alpha=3, epsilon=0.5, base=0)
    np.testing.assert_allclose(weights_of(based, counts), 3 * np.log(1 + np.abs(VALUES) / 0.5))


def test_confidence_of_negative_values_is_positive(data: hs.Interactions) -> None:
    np.testing.assert_allclose(weights_of(weights.confidence(alpha=2, base=0), data), 2 * np.abs(VALUES))
    liked = hs.Implicit(target=weights.preference()).cost(data)
    np.testing.assert_array_equal(liked.targets, VALUES > 0)
    signed = hs.Implicit(target=weights.preference(above=2.5, otherwise=-1)).cost(data)
    np.testing.assert_array_equal(signed.targets, np.where(VALUES > 2.5, 1, -1))
    with pytest.raises(ParameterError, match="above=nan"):
        weights.preference(above=float("nan"))


def test_default_weight_of_missing_cells() -> None:
    """The total is 8 times that of observed cells, and each weight is at most their mean."""
    rng = np.random.default_rng(0)
    u, i = np.divmod(rng.choice(100 * 50, 200, replace=False), 50)
    data = hs.Interactions.from_arrays(np.append(u, 0), np.append(i, 60), weights=rng.uniform(1, 3, 201))
    data = data.subset(np.arange(200))  # item 60 is in the vocabulary, but unseen
    n_cells = len(np.unique(u)) * len(np.unique(i))
    cost = hs.Implicit().cost(data)
    assert cost.user_missing[0] * cost.item_missing.sum() == pytest.approx(
        8 * cost.weights.sum() / n_cells * data.n_items
    )
    assert hs.Implicit().default_missing_weight(cost) == pytest.approx(8 * cost.weights.sum() / n_cells)
    dense = hs.Interactions.from_arrays(["a", "a", "b"], ["x", "y", "x"], weights=[1.0, 2.0, 6.0])
    assert hs.Implicit().default_missing_weight(hs.Implicit().cost(dense)) == pytest.approx(3.0)
    assert hs.Implicit(missing_weight=0.5).default_missing_weight(cost) is None
    for nothing in (hs.Implicit(observed_weight=0.0), hs.Explicit(weight=0.0), hs.Explicit(weight=0.0, biases=False)):
        with pytest.raises(DataError, match="all observed weights are 0"):
            hs.ALS(nothing).fit(dense)


def test_all_cells_adds_the_loss_of_missing_cells(data: hs.Interactions) -> None:
    """c (x − 1)² + α0 x² = w (x − t)² + a constant, for any x."""
    c, x = np.abs(VALUES), np.linspace(-1.0, 2.0, 6)
    weight = weights.confidence(alpha=1, base=0)
    popularity = weights.missing_popularity(c0=2.0, exponent=0.5)
    per_item = popularity(cells_of(data))[1]
    for missing, m in ((0.25, np.full(6, 0.25)), (popularity, per_item[data.item_positions])):
        cost = hs.Implicit(observed_weight=weight, missing_weight=missing, all_cells=True).cost(data)
        differences = c * (x - 1) ** 2 + m * x**2 - cost.weights * (x - cost.targets) ** 2
        np.testing.assert_allclose(differences, c - cost.weights * cost.targets**2)
    cost = hs.Implicit(observed_weight=1.5, missing_weight=0.5, all_cells=True).cost(data)
    assert (cost.weights.strides, cost.targets.strides) == ((0,), (0,))
    np.testing.assert_allclose((cost.weights, cost.targets), [np.full(6, 2.0), np.full(6, 0.75)])
    targets = hs.Implicit(observed_weight=0.0, missing_weight=0.0, all_cells=True).targets(cells_of(data))
    np.testing.assert_array_equal(targets, 1)  # cells of weight 0 have a target too
    with pytest.raises(ParameterError, match="all_cells='yes'"):
        hs.Implicit(all_cells="yes")


def test_row_column_weights(data: hs.Interactions) -> None:
    weight = weights.row_column(0.1, rows=[1.0, 2.0, 3.0], columns=[10.0, 20.0, 30.0])  # milk, rum, tea
    np.testing.assert_allclose(weights_of(weight, data), [30.1, 60.1, 90.1, 10.1, 20.1, 60.1])
    np.testing.assert_allclose(weights_of(weights.row_column(0.1, 2.0, 3.0), data), np.full(6, 6.1))
    with pytest.raises(ParameterError, match=r"columns has shape \(2,\): give one number, or one for each of the 3"):
        weights_of(weights.row_column(0.1, 1.0, [1.0, 2.0]), data)


def test_unseen_item_has_weight_zero() -> None:
    counts = np.array([4, 0])
    assert weights.linear_popularity(0.5, 1.0).of_items(counts).tolist() == [0.75, 0.0]
    assert weights.power_popularity(0.5, 1.0).of_items(counts).tolist() == [0.75, 0.0]


def test_missing_popularity_sums_to_c0(data: hs.Interactions) -> None:
    cost = hs.Implicit(missing_weight=weights.missing_popularity(c0=512, exponent=0.5)).cost(data)
    assert cost.user_missing.tolist() == [1, 1, 1]
    np.testing.assert_allclose(cost.item_missing, 512 * np.sqrt([2, 1, 3]) / np.sqrt([2, 1, 3]).sum())


def test_missing_popularity_of_unseen_items_is_zero(data: hs.Interactions) -> None:
    part = data.subset(np.arange(5))  # without rum, which stays in the vocabulary
    for exponent in (0.0, 0.5):
        cost = hs.Implicit(missing_weight=weights.missing_popularity(c0=10, exponent=exponent)).cost(part)
        assert cost.item_missing[1] == 0
        assert cost.item_missing.sum() == pytest.approx(10)


def test_explicit_targets_are_centered_only_with_biases(data: hs.Interactions) -> None:
    plain, biased = hs.Explicit(weight=1.0, biases=False).cost(data), hs.Explicit(weight=1.0, biases=True).cost(data)
    assert (plain.mean, biased.mean) == (0.0, pytest.approx(VALUES.mean()))
    np.testing.assert_allclose(biased.targets, VALUES - VALUES.mean())
    weighted = hs.Explicit(biases=True).cost(data)
    assert weighted.mean == pytest.approx(np.average(VALUES, weights=[1, 2, 3, 4, 5, 6]))


def test_implicit_targets_ignore_values(data: hs.Interactions) -> None:
    cost = hs.Implicit(target=0.7).cost(data)
    assert cost.targets.tolist() == [0.7] * 6
    assert cost.mean == 0.0
    assert not cost.biases


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_error_of_invalid_weight_names_its_cell(data: hs.Interactions, bad: float) -> None:
    def weight(cells: weights.Cells) -> np.ndarray:
        return np.where(cells.values == 3.0, bad, 1.0)

    with pytest.raises(DataError, match=rf"returned the weight {bad} for user 'a', item 'milk' \(value 3\.0\)"):
        weights_of(weight, data)


def test_weights_of_wrong_shape_raise(data: hs.Interactions) -> None:
    for given in (np.ones(2), 2.0, (np.ones(3), np.ones(3))):
        with pytest.raises(DataError, match=r"of shape .* as weights of 6 observed cells: .* one number for each"):
            weights_of(lambda cells, given=given: given, data)


def test_default_weights_are_those_of_interactions_or_one(data: hs.Interactions) -> None:
    bare = data.with_weights(None)
    assert hs.Explicit(biases=False).cost(bare).weights.tolist() == [1] * 6
    assert hs.Implicit().cost(bare).weights.tolist() == [1] * 6
    assert hs.Implicit().cost(data).weights.tolist() == [1, 2, 3, 4, 5, 6]


def test_weight_functions_cannot_modify_the_data(data: hs.Interactions) -> None:
    def overwriting_weight(cells: weights.Cells) -> np.ndarray:
        cells.values[:] = 7.0
        return cells.values

    with pytest.raises(ValueError, match="read-only"):
        weights_of(overwriting_weight, data)


def test_zero_weights_raise(data: hs.Interactions) -> None:
    with pytest.raises(DataError, match="all observed weights are 0"):
        hs.Explicit(weight=0.0, biases=True).cost(data)


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        (lambda cells: (np.ones(2), np.ones(3)), r"returned tuple of shapes \[\(2,\), \(3,\)\].* a pair of arrays"),
        (lambda cells: 2.0, r"returned float of shapes \[\(\)\]"),
        (weights.confidence(3.0), r"returned ndarray of shapes \[\(6,\)\]"),
        (lambda cells: (np.ones(3), np.array([1.0, -1.0, 1.0])), "negative or not finite"),
        (lambda cells: (np.array([1.0, np.inf, 1.0]), np.ones(3)), "negative or not finite"),
    ],
)
def test_invalid_missing_weights_raise(data: hs.Interactions, missing: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        hs.Implicit(missing_weight=missing).cost(data)


class CustomObjective(Objective):
    """A custom objective with the given missing weights."""

    def __init__(self, factors: Any) -> None:
        self.factors = factors

    def targets(self, cells: Cells) -> Any:
        return cells.values

    def weights(self, cells: Cells) -> Any:
        return np.ones(len(cells.values))

    def missing(self, cells: Cells) -> Any:
        return self.factors


@pytest.mark.parametrize("factors", [(np.ones(1), np.ones(1)), np.ones(3), (np.ones(3), np.full(3, np.nan))])
def test_missing_weights_of_custom_objectives_are_checked(data: hs.Interactions, factors: Any) -> None:
    with pytest.raises(DataError, match=r"returned (tuple|ndarray) of shapes|negative or not finite"):
        hs.ALS(CustomObjective(factors), rank=2).fit(data)


@pytest.mark.parametrize(
    "make",
    [
        lambda: hs.Explicit(weight=-1.0, biases=False),
        lambda: hs.Explicit(missing_weight=float("nan"), biases=False),
        lambda: hs.Implicit(observed_weight=-1.0),
        lambda: hs.Implicit(missing_weight=-0.5),
        lambda: hs.Implicit(target=float("nan")),
        lambda: weights.linear_popularity(w0=-0.1, wk=1.0),
        lambda: weights.power_popularity(w0=0.1, e=-1.0),
        lambda: weights.confidence(alpha=-1.0),
        lambda: weights.log_confidence(alpha=1.0, epsilon=0.0),
        lambda: weights.missing_popularity(c0=-1.0, exponent=0.5),
    ],
)
def test_invalid_constants_raise(make: object) -> None:
    with pytest.raises(ParameterError, match="give a finite number"):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: hs.Explicit(weight=weights.linear_popularity, biases=False), r"as in linear_popularity\(\.\.\.\)"),
        (lambda: hs.Explicit(biases="no"), "biases='no': give True or False"),
    ],
)
def test_invalid_arguments_raise(make: object, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        make()
