"""The factorization that a model holds, by itself."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

import halfstep as hs
from halfstep.data import GrowableInteractions
from halfstep.errors import DataError
from halfstep.models.factorization import Factorization, rows_or_zeros

DATA = hs.Interactions.from_arrays(["ann", "ann", "bob"], ["tea", "milk", "tea"], [5.0, 1.0, 4.0])
P, Q = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[0.5, -1.0], [2.0, 1.0]])
OTHERS = hs.Interactions.from_arrays(["eve"], ["milk"], [2.0])


def factorization() -> Factorization:
    return Factorization.fitted_now(
        DATA, mean=3.0, user_factors=P, item_factors=Q, user_biases=np.array([0.1, 0.2]), item_biases=np.ones(2)
    )


def test_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        factorization().mean = 1.0


def test_takes_ids_and_counts_from_the_data() -> None:
    fitted = factorization()
    assert (fitted.users, fitted.items, fitted.rank) == (DATA.users, DATA.items, 2)
    np.testing.assert_array_equal(fitted.item_counts, [1, 2])  # of milk and tea
    assert fitted.values_are == "given"
    assert fitted.origin.fitted is not None


def test_scores_an_unknown_id_by_what_is_known_of_the_other() -> None:
    scores = factorization().scores(np.array([0, 1, -1, -1], np.int32), np.array([1, -1, 0, -1], np.int32))
    np.testing.assert_allclose(scores, [3 + 0.1 + 1 + 4.0, 3 + 0.2, 3 + 1, 3])


def test_rows_of_unknown_positions_are_zero() -> None:
    np.testing.assert_array_equal(rows_or_zeros(P, np.array([1, -1, 0])), [[3, 4], [0, 0], [1, 2]])
    np.testing.assert_array_equal(rows_or_zeros(P, np.array([-1])), [[0, 0]])
    assert rows_or_zeros(P, np.arange(2)) is P  # all rows in order need no copy


def test_other_users_share_the_items_and_their_training_data() -> None:
    fitted = factorization()
    folded = fitted.of_users(OTHERS, P[:1], np.zeros(1))
    assert folded.item_factors is Q
    assert (folded.is_folded, folded.items_data, folded.interactions) == (True, DATA, OTHERS)
    again = folded.of_users(DATA, P, np.zeros(2))
    assert again.items_data is DATA
    assert not fitted.is_folded


def test_interactions_include_updates() -> None:
    grown = GrowableInteractions.of(DATA).added(OTHERS, "last").data
    fitted = replace(factorization(), data=grown)
    assert len(fitted.interactions) == 4
    plain = fitted.of_users(OTHERS, P[:1], np.zeros(1)).with_plain_interactions()
    assert isinstance(plain.data, hs.Interactions)
    assert len(plain.items_data) == 4


def test_seen_items_need_the_training_data() -> None:
    fitted = factorization()
    assert fitted.seen(np.array([1, -1], np.int32)).indptr.tolist() == [0, 1, 1]
    with pytest.raises(DataError, match="has no training interactions, so it cannot exclude"):
        replace(fitted, data=None).seen(np.array([0], np.int32))
