"""Scores and recommendations of models in blocks, compared with the model of one machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import halfstep as hs
from halfstep.cluster.folder import Folder
from halfstep.errors import DataError

pa = pytest.importorskip("pyarrow")
from halfstep.cluster import scoring  # noqa: E402 - needs pyarrow
from halfstep.cluster.distribution import distribute  # noqa: E402
from halfstep.cluster.scoring import BlockScorer  # noqa: E402

BLOCKS, N = 3, 4


def fitted(kind: type[Any]) -> hs.ALS:
    rng = np.random.default_rng(0)
    cells = rng.permutation(50 * 30)[:400]
    users, items = cells // 30, cells % 30
    values = rng.integers(1, 6, len(cells)).astype(float)
    if kind is str:
        users, items = ([f"{number}ü" for number in each] for each in (users, items))
    data = hs.Interactions.from_arrays(users, items, values)
    return hs.ALS(hs.Explicit(), rank=3, iterations=3, random_state=0, regularization=0.3, progress=False).fit(data)


@pytest.fixture(params=[int, str], ids=["integers", "strings"])
def model(request: pytest.FixtureRequest) -> hs.ALS:
    return fitted(request.param)


@pytest.fixture
def scorer(model: hs.ALS, tmp_path: Path) -> BlockScorer:
    distribute(model, Folder(str(tmp_path)), BLOCKS)
    return BlockScorer(str(tmp_path), "stamp")


def as_ids(ids: Any) -> pa.Array:
    array = pa.array(ids)
    return array.cast(pa.int64() if pa.types.is_integer(array.type) else pa.large_string())


@pytest.mark.parametrize("searches_per_index", [0, 10**6], ids=["by search", "by index"])
def test_scores(model: hs.ALS, scorer: BlockScorer, searches_per_index: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "SEARCHES_PER_INDEX", searches_per_index)
    known = model.users_.ids.tolist(), model.items_.ids.tolist()
    other = "other" if isinstance(known[0][0], str) else 10**6
    users = [*known[0][::3], other, known[0][0], None]
    items = [*known[1][: len(users) - 4], known[1][0], other, other, known[1][1]]
    found = scorer.scores(as_ids(users), as_ids(items), is_baseline=True)
    np.testing.assert_allclose(found[:-1], model.predict(users[:-1], items[:-1]), rtol=1e-6)
    found = scorer.scores(as_ids(users), as_ids(items), is_baseline=False)
    assert np.isnan(found).tolist() == [
        user not in known[0] or item not in known[1] for user, item in zip(users, items, strict=True)
    ]


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_best_items(model: hs.ALS, scorer: BlockScorer, exclude_seen: bool) -> None:
    seen: set[Any] = set()
    for number in range(BLOCKS):
        ids = scorer.users(number).ids.to_pylist()
        assert ids == sorted(ids)
        expected = model.recommend(ids, n=N, exclude_seen=exclude_seen)
        positions, scores = scorer.best_items(number, np.arange(len(ids)), N, exclude_seen=exclude_seen, threads=1)
        np.testing.assert_array_equal(positions, expected.item_positions)
        np.testing.assert_allclose(scores, expected.scores, rtol=1e-6)
        seen.update(ids)
    assert seen == set(model.users_.ids)


def test_best_users(model: hs.ALS, scorer: BlockScorer) -> None:
    items = np.array([7, 2])
    for number in range(BLOCKS):
        ids = scorer.users(number).ids.to_pylist()
        scores = np.array([model.predict(ids, model.items_.ids[item]) for item in items])
        rows, found = scorer.best_users(number, items, N, threads=1)
        np.testing.assert_array_equal(rows, np.argsort(-scores, axis=1, kind="stable")[:, :N])
        np.testing.assert_allclose(found, -np.sort(-scores, axis=1)[:, :N], rtol=1e-6)


def test_distributed_models_have_their_interactions(model: hs.ALS, tmp_path: Path) -> None:
    data = distribute(model, Folder(str(tmp_path)), BLOCKS).to_local().interactions_
    before = model.interactions_
    assert data is not None
    assert before is not None
    rows = [sorted(zip(each.user_ids, each.item_ids, each.values, strict=True)) for each in (data, before)]
    assert rows[0] == rows[1]


def test_models_without_interactions_are_refused(model: hs.ALS, tmp_path: Path) -> None:
    model.save(tmp_path / "model.halfstep", interactions=False)
    with pytest.raises(DataError, match="saved without its interactions"):
        distribute(hs.load(tmp_path / "model.halfstep"), Folder(str(tmp_path)), BLOCKS)


def test_other_ids_are_refused(tmp_path: Path) -> None:
    data = hs.Interactions.from_arrays([(1, 2), (3, 4)], [1, 2])
    model = hs.ALS(hs.Implicit(), rank=1, iterations=1, progress=False).fit(data)
    with pytest.raises(DataError, match="the user ids are of type"):
        distribute(model, Folder(str(tmp_path)), BLOCKS)
