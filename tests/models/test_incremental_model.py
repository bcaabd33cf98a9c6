"""Users are removed with what the model learned from them, and copies continue as saved models do."""

import copy
import threading

import numpy as np
import pytest

import halfstep as hs
from halfstep.models.origin import Learned, Origin

RATINGS = hs.Interactions.from_arrays(
    users=["ann", "ann", "bob", "bob", "cem", "cem", "dan"],
    items=["m", "n", "m", "o", "n", "o", "only"],
    values=[5.0, 3.0, 4.0, 1.0, 2.0, 5.0, 4.0],
)
MODELS = {
    "explicit": hs.ALS(hs.Explicit(), rank=2, regularization=0.1, iterations=3, random_state=0),
    "without biases": hs.ALS(hs.Explicit(biases=False), rank=2, regularization=0.1, iterations=3, random_state=0),
    "implicit": hs.ALS(hs.Implicit(missing_weight=0.3), rank=2, regularization=0.1, iterations=3, random_state=0),
    "popular": hs.ALS(
        hs.Implicit(missing_weight=hs.weights.missing_popularity(2.0, 0.5)), rank=2, iterations=3, random_state=0
    ),
}


@pytest.fixture(params=MODELS)
def model(request):
    return copy.deepcopy(MODELS[request.param]).fit(RATINGS)


def test_a_removed_user_is_unknown_and_others_are_unchanged(model):
    before = copy.deepcopy(model)
    assert model.remove_users("ann") is model
    assert model.users_.ids.tolist() == ["bob", "cem", "dan"]
    assert "ann" not in model.interactions_.user_ids.tolist()
    np.testing.assert_array_equal(model.user_factors_, before.user_factors_[1:])
    np.testing.assert_array_equal(model.user_biases_, before.user_biases_[1:])
    counts = dict(zip(model.items_.ids.tolist(), model.item_counts_.tolist(), strict=True))
    assert counts == {"m": 1, "n": 1, "o": 2, "only": 1}
    same = [model.items_.position("o"), model.items_.position("only")]
    np.testing.assert_array_equal(model.item_factors_[same], before.item_factors_[same])


@pytest.mark.parametrize("name", ["explicit", "without biases", "implicit"])
def test_items_of_removed_users_minimize_the_objective_of_the_remaining_interactions(name):
    model = copy.deepcopy(MODELS[name]).fit(RATINGS).remove_users(["ann", "bob"])
    data, i = model.interactions_, model.items_.position("o")
    users = data.user_positions[data.item_positions == i]
    values = data.values[data.item_positions == i]
    P, biases = model.user_factors_.astype(np.float64), model.objective.biases
    missing, targets = (0.3, np.ones(len(users))) if name == "implicit" else (0.0, values - model.mean_)
    if biases:
        P, targets = np.column_stack([P, np.ones(len(P))]), targets - model.user_biases_[users]
    A = missing * P.T @ P + (1 - missing) * P[users].T @ P[users]
    regularization = model._regularization.of_counts(
        model._regularization.items, np.array([len(users)]), np.array([missing * len(P)]) if missing else None
    )
    Λ = np.full(len(A), regularization[0])
    if biases:
        Λ[-1] *= model._regularization.bias_ratio
    expected = np.linalg.solve(A + np.diag(Λ), P[users].T @ targets)
    solved = [*model.item_factors_[i], model.item_biases_[i]][: len(A)]
    np.testing.assert_allclose(solved, expected, rtol=2e-5, atol=1e-6)


def test_an_item_without_remaining_interactions_has_zero_factors_and_is_not_recommended(model):
    model.remove_users(["dan"])
    i = model.items_.position("only")
    assert not model.item_factors_[i].any()
    assert model.item_biases_[i] == 0
    assert model.item_counts_[i] == 0
    assert all("only" not in [item for item, _ in listed] for _, listed in model.recommend())


def test_a_removal_is_unknown_to_earlier_copies(model):
    earlier = copy.copy(model)
    factors = model.item_factors_.copy()
    model.remove_users("ann")
    assert "ann" in earlier.users_
    np.testing.assert_array_equal(earlier.item_factors_, factors)


def test_unknown_users_are_ignored_and_ids_of_another_type_are_errors(model):
    before = copy.deepcopy(model)
    model.remove_users(["nobody"])
    assert model.users_ == before.users_
    with pytest.raises(hs.errors.DataError, match="user id"):
        model.remove_users([3])


def test_updates_after_a_removal_equal_those_of_the_saved_model(model, tmp_path):
    model.remove_users("ann").save(tmp_path / "model.halfstep")
    loaded = hs.load(tmp_path / "model.halfstep")
    for each in (model, loaded):
        each.partial_fit(hs.Interactions.from_arrays(["ann", "bob"], ["o", "new"], [4.0, 2.0]))
    assert loaded.users_.ids.tolist() == ["bob", "cem", "dan", "ann"]
    np.testing.assert_array_equal(model.user_factors_, loaded.user_factors_)
    np.testing.assert_array_equal(model.item_factors_, loaded.item_factors_)


def test_a_model_without_interactions_cannot_remove_users(model, tmp_path):
    model.save(tmp_path / "model.halfstep", interactions=False)
    with pytest.raises(hs.errors.DataError, match="saved without its interactions"):
        hs.load(tmp_path / "model.halfstep").remove_users("ann")


def test_as_saved_continues_with_the_bits_of_the_loaded_model(model, tmp_path):
    rng = np.random.default_rng(0)
    events = [(f"u{rng.integers(8)}", f"i{rng.integers(8)}", float(rng.integers(1, 6))) for _ in range(60)]

    def learn(model, events):
        for user, item, value in events:
            model.partial_fit(hs.Interactions.from_arrays([user], [item], [value]))

    learn(model, events[:30])
    model.save(tmp_path / "model.halfstep")
    loaded, copied = hs.load(tmp_path / "model.halfstep"), model.as_saved()
    before = model.user_factors_.copy()
    learn(copied, events[30:])
    np.testing.assert_array_equal(model.user_factors_, before)
    learn(loaded, events[30:])
    for name in ("user_factors_", "item_factors_", "user_biases_", "item_biases_"):
        np.testing.assert_array_equal(getattr(copied, name), getattr(loaded, name))


def test_as_saved_can_replace_the_origin(model, tmp_path):
    origin = Origin(learned=Learned("a log", 12, "base"))
    model.as_saved(origin).save(tmp_path / "model.halfstep")
    assert hs.load(tmp_path / "model.halfstep")._fitted.origin == origin
    assert Origin.from_texts({}) == Origin()


def test_updates_wait_for_readers_that_hold_the_lock_and_copy_nothing(model):
    event = hs.Interactions.from_arrays(["bob"], ["n"], [4.0])
    model.partial_fit(event)
    model._no_readers = lock = threading.Lock()
    arrays = dict(model._live)
    updating = threading.Thread(target=model.partial_fit, args=(event,))
    with lock:
        reader = model._snapshot()
        updating.start()
        updating.join(0.1)
        assert updating.is_alive()
        before = reader.item_factors_.copy()
        np.testing.assert_array_equal(reader.item_factors_, before)
        del reader
    updating.join()
    assert model._live["item_factors"] is arrays["item_factors"]
    assert copy.copy(model)._no_readers is not lock
