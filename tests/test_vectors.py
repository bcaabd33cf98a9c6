"""Vectors for databases and indexes rank items as models do."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import halfstep as hs
from halfstep.errors import DataError, NotFittedError, ParameterError
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


@pytest.mark.parametrize(
    ("ids", "same"),
    [
        (["a", "b", "c"], [b"a", "b", np.str_("c")]),
        ([1, 2, 3], [1.0, np.int32(2), 3]),
        ([("a", 1), ("b", 2), ("c", 3)], [("a", 1), ("b", 2), ("c", 3)]),
    ],
)
def test_ids_of_a_search_follow_the_rule_of_ids(ids: list[Any], same: list[Any]) -> None:
    vectors = hs.vectors.of_model(
        hs.ALS(hs.Implicit(), rank=1, random_state=0).fit(hs.Interactions.from_arrays([1, 1, 2], ids))
    )
    places = [vectors.item_ids.tolist().index(each) for each in ids]

    def search(users: np.ndarray, n: int) -> list[list[Any]]:
        scores = (users @ vectors.item_vectors.T)[:, places]
        return [[same[k] for k in np.argsort(-row)[:n]] for row in scores]

    assert hs.vectors.recall(vectors, search, 2) == 1.0
    with pytest.raises(
        DataError, match=r"item id 2\.5 in the result of the search is a float, but the known item ids are"
    ):
        hs.vectors.recall(vectors, lambda users, n: [[2.5]] * len(users), 2)


def test_wrong_arguments_are_errors_with_a_remedy(data: hs.Interactions, tmp_path: Path) -> None:
    model = hs.ALS(hs.Implicit(), rank=2, random_state=0)
    for wrong in ("x", None, hs.ALS, data):
        with pytest.raises(ParameterError, match=r"model=.*: give a fitted model, such as"):
            hs.vectors.of_model(wrong)  # type: ignore[arg-type]
    with pytest.raises(NotFittedError):
        hs.vectors.of_model(model)
    for call in (hs.vectors.save, hs.vectors.recall):
        with pytest.raises(ParameterError, match=r"vectors is of type ALS: give the result of .*of_model\(model\)"):
            call(model.fit(data), tmp_path)  # type: ignore[arg-type]
    found = hs.vectors.of_model(model)
    with pytest.raises(ParameterError, match="search=3: give a function"):
        hs.vectors.recall(found, 3)  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="random_state='x': give None, an integer"):
        hs.vectors.recall(found, lambda users, n: [], random_state="x")  # type: ignore[arg-type]
    n_users = len(found.user_ids)
    for lists, what in (
        (None, "an object of type NoneType"),
        ([1] * n_users, "single values"),
        (["ab"] * n_users, "single values"),
    ):
        with pytest.raises(DataError, match=f"the search returned {what}.*: return a list of ids for each"):
            hs.vectors.recall(found, lambda users, n, lists=lists: lists)


@pytest.mark.parametrize("format", ["parquet", "npy", "faiss", "usearch"])
def test_an_address_is_no_folder(
    data: hs.Interactions,
    format: hs.vectors.Format,  # noqa: A002
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    model = hs.ALS(hs.Implicit(), rank=2).fit(data)
    with pytest.raises(
        ParameterError, match=r"target='postgresql://ann:\*\*\*@host/name' is an address, .*give a fold"
    ):
        model.export_vectors("postgresql://ann:secret@host/name", format)
    with pytest.raises(ParameterError, match=r"target='http:/\S+' is an address: give the path of a file or folder"):
        model.export_vectors(Path("http://host"), format)
    with pytest.raises(ParameterError, match="target='': give a path"):
        model.export_vectors("", format)
    Path("taken").touch()
    with pytest.raises(ParameterError, match="target='taken' is a file: give a folder"):
        model.export_vectors("taken", format)
    assert os.listdir() == ["taken"]  # noqa: PTH208
