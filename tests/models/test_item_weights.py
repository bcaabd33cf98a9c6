"""EASE and nearest neighbors of items against dense formulas."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array

import halfstep as hs
from halfstep.errors import DataError, ModelFileError, NumericalError, ParameterError, UnknownIdError
from halfstep.models import ease, item_knn, item_weight_model
from halfstep.models.item_weight_model import ItemWeightModel, best_of_scores


def observed(n_users: int = 30, n_items: int = 17, seed: int = 0) -> np.ndarray:
    X = np.random.default_rng(seed).random((n_users, n_items)) < np.linspace(0.05, 0.6, n_items)
    X[3], X[:, 5] = False, False  # a user and an item without observations
    return X


def as_data(X: np.ndarray) -> hs.Interactions:
    users, items = np.nonzero(X)
    ids = hs.Vocabulary(np.arange(X.shape[0])), hs.Vocabulary(np.arange(X.shape[1]))
    return hs.Interactions.from_arrays(users, items).rebased(users=ids[0], items=ids[1])


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ease, "COUNTS_AT_ONCE", 40)
    monkeypatch.setattr(item_knn, "CELLS_AT_ONCE", 40)
    monkeypatch.setattr(item_weight_model, "SCORES_AT_ONCE", 40)


def dense(model: ItemWeightModel) -> np.ndarray:
    W = model.item_weights_
    return W if isinstance(W, np.ndarray) else W.toarray()


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("reg", [0.5, 20.0])
def test_ease_is_the_minimum_over_weights_without_a_diagonal(reg: float) -> None:
    X = observed().astype(float)
    W = dense(hs.EASE(regularization=reg).fit(as_data(observed())))
    assert (np.diag(W) == 0).all()
    gradient = X.T @ (X @ W - X) + reg * W
    np.fill_diagonal(gradient, 0.0)  # the multipliers of the constraint
    np.testing.assert_allclose(gradient, 0.0, atol=1e-5)


@pytest.mark.parametrize("reg", [1e-9, 1e50, 1e300])
def test_ease_has_finite_weights_for_any_regularization(reg: float) -> None:
    assert np.isfinite(dense(hs.EASE(regularization=reg).fit(as_data(np.eye(3, 4, 1) + np.eye(3, 4) > 0)))).all()


def test_ease_names_a_sufficient_regularization() -> None:
    data = as_data(np.ones((1, 3), bool))
    with pytest.raises(NumericalError, match=r"with λ=1e-300: set regularization=1e-08 or more") as caught:
        hs.EASE(regularization=1e-300).fit(data)
    assert caught.value.regularization is not None
    assert np.isfinite(dense(hs.EASE(regularization=caught.value.regularization).fit(data))).all()


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(("neighbors", "shrinkage"), [(1, 0.0), (4, 2.0), (100, 10.0)])
def test_neighbors_are_those_of_the_largest_shrunk_cosines(neighbors: int, shrinkage: float) -> None:
    X = observed()
    n = X.shape[1]
    expected = np.zeros((n, n))
    for i in range(n):
        similar = {}
        for j in range(n):
            both = int((X[:, i] & X[:, j]).sum())
            if i != j and both:
                similar[j] = both / (np.sqrt(X[:, i].sum() * X[:, j].sum()) + shrinkage)
        for j in sorted(similar, key=lambda j: (-similar[j], j))[:neighbors]:
            expected[j, i] = similar[j]
    found = dense(hs.ItemKNN(neighbors=neighbors, shrinkage=shrinkage).fit(as_data(X)))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.fixture(params=[hs.EASE(regularization=2.0), hs.ItemKNN(neighbors=5)], ids=str)
def model(request: pytest.FixtureRequest) -> ItemWeightModel:
    fitted: ItemWeightModel = request.param.__sklearn_clone__().fit(as_data(observed()))
    return fitted


@pytest.mark.usefixtures("small_blocks")
class TestScores:
    def test_are_sums_of_weights(self, model: ItemWeightModel) -> None:
        scores = observed() @ dense(model).astype(float)
        users, items = np.divmod(np.random.default_rng(1).permutation(scores.size), scores.shape[1])
        np.testing.assert_allclose(model.predict(users, items), scores[users, items], atol=1e-6)
        np.testing.assert_array_equal(model.predict([0, "?", "?"][:1], [99]), [0.0])

    def test_rank_unseen_items(self, model: ItemWeightModel) -> None:
        X = observed()
        S = (X @ dense(model)).astype(float)
        S[X] = -np.inf
        S[:, 5] = -np.inf  # without users
        for user, row in enumerate(model.recommend(n=6).item_ids):
            if X[user].any():
                order = sorted(np.flatnonzero(S[user] > -np.inf), key=lambda i: (-S[user, i], i))
                np.testing.assert_allclose(S[user, list(row)], S[user, order[: len(row)]], atol=1e-6)

    def test_rank_candidates(self, model: ItemWeightModel) -> None:
        S = observed() @ dense(model)
        for lists in ([8, 2, 11], {0: [8, 2, 11]}):
            found = model.recommend([0], 2, candidates=lists, exclude_seen=False).item_ids[0]
            assert list(found) == sorted([2, 8, 11], key=lambda i: -S[0, i])[:2]
        found = model.recommend([0], 17, exclude=[8, 2]).item_ids[0]
        assert not {8, 2} & set(found)

    def test_users_without_items_get_popular_ones(self, model: ItemWeightModel) -> None:
        popular = np.argsort(-observed().sum(axis=0), kind="stable")[:3]
        for user in (3, 99):
            assert list(model.recommend([user], 3).item_ids[0]) == popular.tolist()


def test_folding_in_needs_no_fit(model: ItemWeightModel) -> None:
    X = observed()
    history = np.flatnonzero(X[0]).tolist()
    folded = model.fold_in({"same": history, "none": []})
    assert list(folded.recommend(["same"], 4).item_ids[0]) == list(model.recommend([0], 4).item_ids[0])
    np.testing.assert_array_equal(folded.predict("same", [1, 2]), model.predict(0, [1, 2]))
    assert folded.explain("same", 1).score == model.explain(0, 1).score
    assert model.fold_in({"new": [0, 99]}).interactions_.n_users == 1
    with pytest.raises(UnknownIdError, match="99"):
        model.fold_in({"new": [0, 99]}, unknown_items="raise")
    matrix = model.fold_in(csr_array(X.astype(float)))
    np.testing.assert_array_equal(matrix.predict(0, [1, 2]), model.predict(0, [1, 2]))
    with pytest.raises(DataError, match="the histories have 3 columns, and the model has 17 items"):
        model.fold_in(csr_array(np.ones((1, 3))))


def test_weights_are_read_only(model: ItemWeightModel) -> None:
    W = model.item_weights_
    with pytest.raises(ValueError, match="read-only"):
        (W if isinstance(W, np.ndarray) else W.data)[:1] = 1.0


def test_contributions_add_up_to_the_score(model: ItemWeightModel) -> None:
    explained = model.explain(0, 16)
    assert explained.item_ids.tolist() == np.flatnonzero(observed()[0]).tolist()
    assert explained.contributions.sum() == pytest.approx(model.predict(0, 16)[0], abs=1e-6)
    assert abs(explained.remainder) < 1e-12


def test_similar_items_have_the_largest_weights(model: ItemWeightModel) -> None:
    W = dense(model) if isinstance(model, hs.EASE) else dense(model).T  # neighbors of an item are in its column
    for item in (0, 16):
        found = model.similar_items([item], 3)
        assert (
            list(found.to_frame("pandas")["similar_item"])
            == sorted(np.flatnonzero(W[item]), key=lambda i: (-W[item, i], i))[:3]
        )
    with pytest.raises(ParameterError, match="metric='dot'"):
        model.similar_items([16], metric="dot")


def test_models_without_interactions_cannot_score(model: ItemWeightModel, tmp_path: Path) -> None:
    model.save(tmp_path / "model", interactions=False)
    loaded = hs.load(tmp_path / "model")
    with pytest.raises(DataError, match="saved with"):
        loaded.explain(0, 1)
    for call in (
        lambda: loaded.predict(0, 1),
        lambda: loaded.recommend([0]),
        lambda: loaded.recommend([0], exclude_seen=False),
    ):
        with pytest.raises(DataError, match=r"without its interactions, .* give the items of users to fold_in"):
            call()
    assert loaded.fold_in({"new": [0, 1]}).recommend(["new"], 3).item_ids[0].tolist()


@pytest.mark.parametrize(
    "damage",
    [
        lambda arrays: {},
        lambda arrays: {name: array[:-1] for name, array in arrays.items()},
        lambda arrays: {name: np.full_like(array, -7) for name, array in arrays.items()},
        lambda arrays: {name: array * np.float32(np.nan) for name, array in arrays.items()},
    ],
)
def test_damaged_weights_are_refused(damage: object, model: ItemWeightModel, tmp_path: Path) -> None:
    arrays = model._to_arrays()
    forged = damage(arrays)  # type: ignore[operator]
    if isinstance(model, hs.EASE) and forged and np.isfinite(next(iter(forged.values()))).all():
        forged = {name: array[:-1] for name, array in arrays.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(model), "_to_arrays", lambda _: forged)
        model.save(tmp_path / "model")
    with pytest.raises((ModelFileError, DataError)):
        hs.load(tmp_path / "model")


def test_ease_of_too_many_items_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("halfstep._support.memory.machine_memory", lambda: 1000)
    with pytest.raises(ParameterError, match=r"EASE for 17 items requires at least .* use ItemKNN or ALS"):
        hs.EASE().fit(as_data(observed()))


@pytest.mark.parametrize("n", [0, 1, 3, 6])
def test_best_of_scores_sorts_with_ties_by_the_lower_column(n: int) -> None:
    S = np.array([[1.0, 3.0, 3.0, -np.inf, 2.0, 3.0], [0.0] * 6, [-np.inf] * 6])
    best, scores = best_of_scores(S.copy(), n)
    assert best[0].tolist() == [1, 2, 5, 4, 0, -1][:n]
    assert best[1].tolist() == list(range(n))
    assert best[2].tolist() == [-1] * n
    np.testing.assert_array_equal(scores[0], [3.0, 3.0, 3.0, 2.0, 1.0, np.nan][:n])
