"""Similar items and users after anything that changes factors: never those of factors that were there before."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import halfstep as hs
from halfstep.models.similarity import UnitRows

RNG = np.random.default_rng(0)
CELLS = RNG.permutation(40 * 30)[:500]
DATA = hs.Interactions.from_arrays(CELLS // 30, CELLS % 30, RNG.integers(1, 6, 500))
MORE = hs.Interactions.from_arrays([3, 3, 41], [4, 31, 4], [5.0, 1.0, 2.0])


def fitted() -> hs.ALS:
    return hs.ALS(rank=3, regularization=0.5, iterations=2, random_state=0).fit(DATA)


def twin(F: np.ndarray) -> np.ndarray:
    """The order of all rows by cosine, for each row."""
    F = F.astype(np.float64)
    cosines = F @ F.T / np.linalg.norm(F, axis=1) / np.linalg.norm(F, axis=1)[:, None]
    np.fill_diagonal(cosines, -np.inf)
    return np.argsort(-cosines, axis=1)[:, :-1]


def check(model: hs.ALS) -> None:
    for _ in range(2):
        for found, F in (
            (model.similar_items(n=99), model.item_factors_),
            (model.similar_users(n=99), model.user_factors_),
        ):
            np.testing.assert_array_equal(found.positions[:, : len(F) - 1], twin(F))


def updated(model: hs.ALS) -> hs.ALS:
    return model.partial_fit(MORE)


def with_other_factors(model: hs.ALS) -> hs.ALS:
    model._set_result(replace(model._fitted, item_factors=model.item_factors_[:, ::-1] - 1.0))
    return model


def refitted(model: hs.ALS) -> hs.ALS:
    return model.fit(hs.Interactions.from_arrays(DATA.item_ids, DATA.user_ids, DATA.values))


def folded_in(model: hs.ALS) -> hs.ALS:
    return model.fold_in({"a": {1: 5.0, 2: 1.0}, "b": {3: 2.0}, "c": {1: 1.0, 7: 5.0}})


CHANGES = [updated, with_other_factors, refitted, folded_in, copy.copy, lambda model: updated(updated(model))]


@pytest.mark.parametrize("change", CHANGES)
def test_are_those_of_the_factors_as_they_are(change: Callable[[hs.ALS], hs.ALS], tmp_path: Path) -> None:
    fitted().save(tmp_path / "model")
    for model in (fitted(), hs.load(tmp_path / "model"), pickle.loads(pickle.dumps(fitted()))):
        check(model)
        changed = change(model)
        check(changed)
        check(model)
        if change is not folded_in:  # which has no updates
            check(updated(copy.copy(changed)))
        check(changed)


def test_arrays_that_can_be_written_to_are_not_remembered() -> None:
    model = hs.SGD(rank=3, iterations=2, random_state=0).fit(DATA)
    check(model)
    assert model.item_factors_.flags.writeable
    model.item_factors_[:] = model.item_factors_[::-1].copy()
    check(model)


def test_lengths_are_computed_once_for_each_side(monkeypatch: pytest.MonkeyPatch) -> None:
    model, calls, of = fitted(), [], UnitRows.of
    monkeypatch.setattr(UnitRows, "of", lambda F: calls.append(len(F)) or of(F))
    for item in range(5):
        model.similar_items(item)
        model.similar_users(item)
    assert sorted(calls) == [30, 40]


def test_what_is_remembered_keeps_no_update_from_writing_in_place() -> None:
    model = updated(fitted())
    before = model.item_factors_.ctypes.data
    model.similar_items()
    assert updated(model).item_factors_.ctypes.data == before
