"""The scorer of LensKit."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import halfstep as hs
from frameworks import need

need("lenskit")
import pandas as pd  # noqa: E402
from lenskit import batch, recommend, score  # noqa: E402
from lenskit.data import Dataset, ItemList, RecQuery, from_interactions_df  # noqa: E402
from lenskit.metrics import NDCG, RunAnalysis  # noqa: E402
from lenskit.pipeline import topn_pipeline  # noqa: E402
from lenskit.splitting import SampleFrac, crossfold_users  # noqa: E402
from lenskit.training import TrainingOptions  # noqa: E402

from halfstep.integrations.lenskit import HalfstepScorer, ScorerConfig  # noqa: E402

pytestmark = pytest.mark.filterwarnings("default")  # LensKit uses what its dependencies deprecate

EXPLICIT = hs.ALS(hs.Explicit(), rank=3, random_state=0)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    users, items = np.nonzero(rng.random((40, 30)) < 0.4)
    return pd.DataFrame({"user_id": users + 100, "item_id": items, "rating": rng.integers(1, 6, len(users)) * 1.0})


@pytest.fixture(scope="module")
def dataset(table: pd.DataFrame) -> Dataset:
    return from_interactions_df(table)


@pytest.fixture(scope="module")
def model(table: pd.DataFrame) -> hs.ALS:
    return EXPLICIT.__sklearn_clone__().fit(
        hs.Interactions.from_frame(table, user="user_id", item="item_id", value="rating")
    )


def test_a_pipeline_recommends_as_the_model(dataset: Dataset, model: hs.ALS) -> None:
    pipeline = topn_pipeline(HalfstepScorer(model=EXPLICIT))
    pipeline.train(dataset)
    for user in (100, 117, 139):
        found = recommend(pipeline, user, n=5)
        expected = model.recommend(user, 5)
        assert found.ids().tolist() == expected.item_ids[0].tolist()
        np.testing.assert_allclose(found.scores(), expected.scores[0], rtol=1e-6)


def test_scores_of_unknown_items_are_missing(dataset: Dataset, model: hs.ALS) -> None:
    pipeline = topn_pipeline(HalfstepScorer(model=EXPLICIT), predicts_ratings="raw")
    pipeline.train(dataset)
    found = score(pipeline, 100, [3, 999, 5])
    assert np.isnan(found.scores()).tolist() == [False, True, False]
    np.testing.assert_allclose(found.scores()[[0, 2]], model.predict(100, [3, 5]))


def test_unknown_users_are_folded_in(dataset: Dataset, model: hs.ALS) -> None:
    scorer = HalfstepScorer(model=EXPLICIT)
    scorer.train(dataset)
    history = ItemList(item_ids=[1, 2, 3], rating=[5.0, 1.0, 4.0])
    found = scorer(RecQuery(history_items=history), ItemList(item_ids=[7, 8]))
    expected = model.fold_in({"?": {1: 5.0, 2: 1.0, 3: 4.0}}).predict("?", [7, 8])
    np.testing.assert_allclose(found.scores(), expected)
    without = scorer(RecQuery(user_id=-1), ItemList(item_ids=[7, 8]))
    np.testing.assert_allclose(without.scores(), model.predict(-1, [7, 8]))
    nobody = scorer(RecQuery(), ItemList(item_ids=[7, 8]))
    np.testing.assert_allclose(nobody.scores(), without.scores())


def test_without_ratings_events_are_counted(table: pd.DataFrame) -> None:
    events = from_interactions_df(table[["user_id", "item_id"]])
    scorer = HalfstepScorer()
    scorer.train(events, TrainingOptions(rng=3))
    assert isinstance(scorer.model_.objective_, hs.Implicit)
    assert len(scorer.model_.interactions_) == len(table)
    first = scorer.model_
    scorer.train(events, TrainingOptions(retrain=False))
    assert scorer.model_ is first
    scorer.train(events, TrainingOptions(rng=3))
    np.testing.assert_array_equal(scorer.model_.item_factors_, first.item_factors_)
    found = scorer(RecQuery(history_items=ItemList(item_ids=[1, 2])), ItemList(item_ids=[7, 8]))
    np.testing.assert_allclose(found.scores(), first.fold_in({0: [1, 2]}).predict(0, [7, 8]))


def test_a_pipeline_is_evaluated(dataset: Dataset) -> None:
    pipeline = topn_pipeline(HalfstepScorer(model=EXPLICIT), n=10)
    (split,) = list(crossfold_users(dataset, 2, SampleFrac(0.3), rng=1))[:1]
    pipeline.train(split.train)
    lists = batch.recommend(pipeline, list(split.test.keys()), n_jobs=1)
    analysis = RunAnalysis()
    analysis.add_metric(NDCG())
    assert 0 < analysis.measure(lists, split.test).list_summary().loc["NDCG", "mean"] < 1


@pytest.mark.parametrize(
    "model",
    [
        hs.ALS(
            hs.Implicit(missing_weight=0.3, observed_weight=hs.weights.confidence(2.0)),
            rank=7,
            regularization=(1.0, 2.0),
        ),
        hs.ItemKNN(),
    ],
)
def test_the_configuration_survives_json(model: Any) -> None:
    config = ScorerConfig(model=model)
    read = ScorerConfig.model_validate_json(config.model_dump_json())
    assert repr(read.model) == repr(model)
    scorer = HalfstepScorer(config)
    assert HalfstepScorer(HalfstepScorer.validate_config(scorer.dump_config())).dump_config() == scorer.dump_config()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"class": "Nonsense"}, "there is no model 'Nonsense': the class is one of ALS"),
        ({"class": ["ALS"]}, r"there is no model \['ALS'\]"),
        ({"class": "ALS", "parameters": [1]}, r"the parameters of ALS are \[1\]: give a mapping from name to value"),
        ({"class": "ALS", "parameters": {"rnk": 1}}, r"the parameters of ALS are invalid \(.*'rnk'\): give those of"),
        ({"class": "ALS", "parameters": {"objective": {"a": 1}}}, r"of ALS are invalid \(.*objective cannot be read"),
        ({"class": "ALS", "parameters": {"rank": -1}}, "rank=-1: give an integer"),
    ],
)
def test_an_invalid_configuration_is_an_error(model: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ScorerConfig.model_validate({"model": model})


def test_a_trained_scorer_is_pickled(dataset: Dataset) -> None:
    scorer = HalfstepScorer(model=EXPLICIT)
    scorer.train(dataset)
    copy = pickle.loads(pickle.dumps(scorer))
    items = ItemList(item_ids=[1, 2])
    np.testing.assert_array_equal(copy(100, items).scores(), scorer(100, items).scores())
