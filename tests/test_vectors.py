"""Vectors for databases and indexes rank items as models do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import halfstep as hs
from halfstep.errors import DataError, ParameterError
from halfstep.vectors import Vectors


@pytest.fixture(scope="module")
def data() -> hs.Interactions:
    rng = np.random.default_rng(0)
    cells = np.unique(rng.integers(0, 50 * 40, 600))
    users, items = [f"u{k}" for k in cells // 40], [f"i{k}" for k in cells % 40]
    values = rng.integers(1, 6, len(cells)).astype(float)
    every = hs.Interactions.from_arrays([*users, "idle", "u0"], [*items, "i0", "unsold"], [*values, 1.0, 1.0])
    return every.subset(np.arange(len(users)))  # a user and an item without interactions


MODELS = {
    "with biases": hs.ALS(hs.Explicit(), rank=5, random_state=0),
    "without": hs.ALS(hs.Implicit(), rank=5, random_state=0),
    "biases alone": hs.ItemBias(),
}


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest, data: hs.Interactions) -> Any:
    return MODELS[request.param].__sklearn_clone__().fit(data)


def similarity(vectors: Vectors) -> np.ndarray:
    P, Q = vectors.user_vectors.astype(float), vectors.item_vectors.astype(float)
    return P @ Q.T


def test_inner_products_are_scores_without_what_all_items_share(model: Any) -> None:
    found = hs.vectors.of_model(model)
    S = np.array([model.predict(user, found.item_ids) for user in found.user_ids])
    shared = model.mean_ + model.user_biases_[:, None]
    np.testing.assert_allclose(similarity(found), S - shared, atol=1e-5)
    assert "unsold" not in found.item_ids
    assert found.user_vectors.shape[1] == model.item_factors_.shape[1] + bool(model.item_biases_.any())


def test_cosines_and_distances_rank_as_the_model_does(model: Any) -> None:
    found = hs.vectors.of_model(model, "cosine")
    np.testing.assert_allclose(np.linalg.norm(found.item_vectors, axis=1), 1.0, rtol=1e-6)
    lengths = np.linalg.norm(found.user_vectors, axis=1)
    S = np.array([model.predict(user, found.item_ids) for user in found.user_ids])
    S -= model.mean_ + model.user_biases_[:, None]
    known = lengths > 0
    np.testing.assert_allclose(lengths[known], 1.0, rtol=1e-6)
    assert known.sum() >= 50
    ratio = similarity(found)[known] / np.where(S[known] == 0, np.nan, S[known])
    np.testing.assert_allclose(ratio, np.nanmedian(ratio, axis=1, keepdims=True) * np.ones_like(ratio), rtol=2e-3)
    distances = np.linalg.norm(found.user_vectors[known][:, None] - found.item_vectors, axis=2)
    np.testing.assert_allclose(distances**2, 2 - 2 * similarity(found)[known], atol=1e-5)


def test_models_without_factors_have_no_vectors(data: hs.Interactions) -> None:
    with pytest.raises(DataError, match="this EASE has no factors: use a model with factors"):
        hs.vectors.of_model(hs.EASE().fit(data))
    with pytest.raises(ParameterError, match="metric='l2'"):
        hs.vectors.of_model(hs.ItemBias().fit(data), "l2")  # type: ignore[arg-type]


def test_files_contain_ids_and_vectors(model: Any, tmp_path: Path) -> None:
    found = hs.vectors.of_model(model)
    hs.vectors.save(found, tmp_path / "a" / "parquet")
    table = pq.read_table(tmp_path / "a" / "parquet" / "items.parquet")
    assert table["id"].to_pylist() == found.item_ids.tolist()
    np.testing.assert_array_equal(np.array(table["vector"].to_pylist(), np.float32), found.item_vectors)
    hs.vectors.save(found, str(tmp_path / "npy"), "npy")
    assert np.load(tmp_path / "npy" / "user-ids.npy").tolist() == found.user_ids.tolist()
    np.testing.assert_array_equal(np.load(tmp_path / "npy" / "users.npy"), found.user_vectors)


def test_ids_that_a_format_cannot_store_are_errors(tmp_path: Path) -> None:
    data = hs.Interactions.from_arrays([("a", 1), ("b", 2)], [1, 2])
    found = hs.vectors.of_model(hs.ALS(hs.Implicit(), rank=2).fit(data))
    with pytest.raises(DataError, match="save as parquet, or convert them"):
        hs.vectors.save(found, tmp_path, "npy")
    with pytest.raises(DataError, match="cannot be stored in parquet"):
        hs.vectors.save(found, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_recall_of_exact_and_of_poor_searches(model: Any) -> None:
    found = hs.vectors.of_model(model)

    def exact(users: np.ndarray, n: int) -> list[list[str]]:
        return [found.item_ids[np.argsort(-row)[:n]].tolist() for row in users @ found.item_vectors.T]

    assert hs.vectors.recall(found, exact, 7) == 1.0
    assert hs.vectors.recall(found, lambda users, n: [each[: n // 2] for each in exact(users, n)], 8) == 0.5
    assert hs.vectors.recall(found, lambda users, n: [["?"] * n] * len(users)) == 0.0
    with pytest.raises(DataError, match="returned 1 lists for"):
        hs.vectors.recall(found, lambda users, n: [[]])
    with pytest.raises(ParameterError, match="n=99"):
        hs.vectors.recall(found, exact, 99)
