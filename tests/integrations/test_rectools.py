"""The model of RecTools."""

from __future__ import annotations

import numpy as np
import pytest

import halfstep as hs
from frameworks import need
from halfstep.errors import DataError, ParameterError

need("rectools")
import pandas as pd  # noqa: E402
from rectools import Columns  # noqa: E402
from rectools.dataset import Dataset  # noqa: E402

from halfstep.integrations.rectools import HalfstepModel  # noqa: E402

pytestmark = pytest.mark.filterwarnings("default")  # RecTools uses what its dependencies deprecate

MODELS = {
    "explicit": hs.ALS(hs.Explicit(), rank=4, random_state=0),
    "implicit": hs.ALS(hs.Implicit(), rank=4, regularization=0.1, random_state=0),
}


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    users, items = np.nonzero(rng.random((40, 30)) < 0.4)
    order = rng.permutation(len(users))
    frame = {Columns.User: [f"u{k}" for k in users], Columns.Item: items * 10}
    frame |= {Columns.Weight: rng.integers(1, 6, len(users)) * 1.0, Columns.Datetime: "2026-01-01"}
    return pd.DataFrame(frame).iloc[order]


@pytest.fixture(scope="module")
def dataset(table: pd.DataFrame) -> Dataset:
    return Dataset.construct(table)


@pytest.fixture(params=MODELS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("filter_viewed", [True, False])
def test_recommends_as_the_model(name: str, dataset: Dataset, filter_viewed: bool) -> None:
    model = HalfstepModel(MODELS[name]).fit(dataset)
    users = ["u3", "u0", "u39"]
    found = model.recommend(users, dataset, k=5, filter_viewed=filter_viewed)
    internal = dataset.user_id_map.convert_to_internal(users)
    lists = model.model_.recommend(internal, 5, exclude_seen=filter_viewed)
    for user, items, scores in zip(users, lists.item_ids, lists.scores, strict=True):
        rows = found[found[Columns.User] == user]
        assert rows[Columns.Item].tolist() == dataset.item_id_map.convert_to_external(items).tolist()
        np.testing.assert_allclose(rows[Columns.Score], scores, rtol=1e-5, atol=1e-6)


def test_the_fit_is_that_of_the_weights(name: str, table: pd.DataFrame, dataset: Dataset) -> None:
    model = HalfstepModel(MODELS[name]).fit(dataset)
    users = dataset.user_id_map.convert_to_internal(table[Columns.User])
    items = dataset.item_id_map.convert_to_internal(table[Columns.Item])
    data = hs.Interactions.from_arrays(users, items, table[Columns.Weight])
    expected = MODELS[name].__sklearn_clone__().fit(data)
    np.testing.assert_allclose(
        model.model_.predict(users, items), expected.predict(users, items), rtol=2e-3, atol=2e-3
    )


def test_similar_items_are_those_of_the_model(name: str, dataset: Dataset) -> None:
    model = HalfstepModel(MODELS[name]).fit(dataset)
    found = model.recommend_to_items([30, 200], dataset, k=4)
    internal = dataset.item_id_map.convert_to_internal([30, 200])
    lists = model.model_.similar_items(internal, 4)
    for item, (_, entries) in zip((30, 200), lists, strict=True):
        rows = found[found[Columns.TargetItem] == item]
        items = dataset.item_id_map.convert_to_external([other for other, _ in entries])
        assert rows[Columns.Item].tolist() == items.tolist()


def test_items_to_recommend_are_respected(dataset: Dataset) -> None:
    model = HalfstepModel().fit(dataset)
    found = model.recommend(["u1"], dataset, k=3, filter_viewed=False, items_to_recommend=[0, 10, 20, 30])
    assert set(found[Columns.Item]) <= {0, 10, 20, 30}
    assert len(found) == 3


def test_the_configuration_survives_json(name: str) -> None:
    model = HalfstepModel(MODELS[name], recommend_n_threads=1)
    config = model.get_config(simple_types=True)
    again = HalfstepModel.from_config(config)
    assert again.get_config(simple_types=True) == config
    assert repr(again.model) == repr(MODELS[name])
    assert HalfstepModel.from_params(model.get_params()).recommend_n_threads == 1


def test_a_saved_model_recommends(dataset: Dataset) -> None:
    model = HalfstepModel(MODELS["implicit"]).fit(dataset)
    again = HalfstepModel.loads(model.dumps())
    given = {"users": ["u1", "u2"], "dataset": dataset, "k": 3, "filter_viewed": True}
    pd.testing.assert_frame_equal(again.recommend(**given), model.recommend(**given))


def test_models_without_factors_are_errors(dataset: Dataset) -> None:
    with pytest.raises(DataError, match="this EASE has no factors"):
        HalfstepModel(hs.EASE()).fit(dataset)
    with pytest.raises(ParameterError, match=r"^model='x': give a model of halfstep, such as ALS\(\)"):
        HalfstepModel("x").fit(dataset)  # type: ignore[arg-type]
