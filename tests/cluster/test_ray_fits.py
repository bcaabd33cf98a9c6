"""Fits to parquet files and to Ray's datasets on a cluster of two nodes, compared with one machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import halfstep as hs
from halfstep.cluster.session import ClusterSession
from halfstep.errors import DataError, ParameterError

ray = pytest.importorskip("ray", reason="Ray is not installed")
pa = pytest.importorskip("pyarrow")
import pyarrow.parquet as pq  # noqa: E402

import halfstep.ray  # noqa: E402
from halfstep.ray import ClusterModel  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("cluster"),
    pytest.mark.filterwarnings(
        "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning", "ignore:::ray"
    ),
]
COLUMNS = {"user": "person", "item": "film", "value": "stars"}
BLOCKS = {"n_blocks": 4}
ALS = hs.ALS(hs.Explicit(), rank=8, iterations=10, random_state=0, progress=False)


@pytest.fixture(scope="module")
def data() -> hs.Interactions:
    return hs.datasets.movielens_100k()


@pytest.fixture(scope="module")
def files(data: hs.Interactions, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ratings")
    users = [f"u{user}" for user in data.user_ids.tolist()]
    table = pa.table({"person": users, "film": data.item_ids, "stars": data.values, "unused": users})
    pq.write_table(table[:60_000], folder / "a.parquet", row_group_size=9_000)
    pq.write_table(table[60_000:], folder / "b.parquet", row_group_size=50_000)
    return folder


START: list[Any] = []
"""The factors of items from which the fit of `model` has started."""


@pytest.fixture(scope="module")
def model(cluster: Any, files: Path, tmp_path_factory: pytest.TempPathFactory) -> ClusterModel:
    plain = ClusterSession.starting_from

    def starting_from(self: ClusterSession, start: Any) -> ClusterSession:
        START.append(start[1].copy())
        return plain(self, start)

    folder = tmp_path_factory.mktemp("model")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ClusterSession, "starting_from", starting_from)
        return halfstep.ray.fit(ALS, f"{files}/*.parquet", folder=folder, **COLUMNS, **BLOCKS)


@pytest.fixture(scope="module")
def local(model: ClusterModel) -> hs.ALS:
    return model.to_local()


def test_the_fit_equals_that_of_one_machine(data: hs.Interactions, local: hs.ALS) -> None:
    found = local.interactions_
    assert found is not None
    pairs = zip([f"u{user}" for user in data.user_ids.tolist()], data.item_ids.tolist(), data.values, strict=True)
    assert sorted(zip(found.user_ids, found.item_ids, found.values, strict=True)) == sorted(pairs)
    start = np.zeros((data.n_users, 8)), START[0][:, :8]
    alone = ALS.__sklearn_clone__().set_params(init=start).fit(found)
    assert local.regularization_.users == pytest.approx(alone.regularization_.users)
    assert local.history_[-1].objective == pytest.approx(alone.history_[-1].objective, rel=1e-5)
    assert len(local.history_) == 10


def test_a_half_step_equals_that_of_one_machine(local: hs.ALS) -> None:
    again = local.fold_in(local.interactions_)
    np.testing.assert_allclose(again.user_factors_, local.user_factors_, atol=2e-6)
    np.testing.assert_allclose(again.user_biases_, local.user_biases_, atol=2e-6)


def test_files_datasets_and_workers_give_the_same_bits(files: Path, tmp_path: Path) -> None:
    als = hs.ALS(hs.Implicit(), rank=4, iterations=2, regularization=0.1, random_state=0, progress=False)
    names = {"user": "person", "item": "film"}
    one, other = (
        halfstep.ray.fit(als, source, folder=tmp_path / name, workers=workers, **names, **BLOCKS).to_local()
        for name, source, workers in (
            ("files", [files / "b.parquet", files / "a.parquet"], None),
            ("dataset", ray.data.read_parquet(str(files)), 1),
        )
    )
    np.testing.assert_array_equal(one.users_.ids, other.users_.ids)
    np.testing.assert_array_equal(one.user_factors_, other.user_factors_)
    np.testing.assert_array_equal(one.item_factors_, other.item_factors_)


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_recommendations_are_those_of_one_machine(
    exclude_seen: bool, model: ClusterModel, local: hs.ALS, tmp_path: Path
) -> None:
    opened = ClusterModel.open(model.folder.url)
    rows = halfstep.ray.recommend(opened, tmp_path, 5, exclude_seen=exclude_seen)
    found, expected = pq.read_table(tmp_path), local.recommend(n=5, exclude_seen=exclude_seen).to_frame("pyarrow")
    assert rows == len(found) == len(expected)
    assert found.column_names == ["user", "item", "rank", "score"]
    for name in ("user", "item", "rank"):
        assert found[name].to_pylist() == expected[name].to_pylist()
    np.testing.assert_allclose(found["score"], expected["score"], rtol=1e-5)


def test_errors_name_the_cause(files: Path, tmp_path: Path) -> None:
    als = hs.ALS(hs.Implicit(), rank=4)
    with pytest.raises(ParameterError, match="duplicates='last': give one of 'error', 'sum', 'mean'"):
        halfstep.ray.fit(als, files, folder=tmp_path, duplicates="last")  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="exchange='users': give one of 'all', 'items'"):
        halfstep.ray.fit(als, files, folder=tmp_path, exchange="users")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="has no column 'user': give one of its columns, 'person', 'film', 'stars', "):
        halfstep.ray.fit(als, files, folder=tmp_path)
    with pytest.raises(DataError, match="the dataset has no column 'user'"):
        halfstep.ray.fit(als, ray.data.from_items([{"id": 1}]), folder=tmp_path)
    with pytest.raises(DataError, match="no file matches"):
        halfstep.ray.fit(als, f"{files}/*.csv", folder=tmp_path)
    with pytest.raises(DataError, match="cannot be read as parquet"):
        halfstep.ray.fit(als, tmp_path / "missing.parquet", folder=tmp_path)
    with pytest.raises(DataError, match="more than once: set duplicates="):
        halfstep.ray.fit(als, [files, files], folder=tmp_path, user="person", item="film")
    with pytest.raises(ParameterError, match="implicit_features is not supported"):
        halfstep.ray.fit(hs.ALS(hs.Implicit(), implicit_features=True), files, folder=tmp_path)
