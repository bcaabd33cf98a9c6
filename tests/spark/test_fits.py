"""Fits of any objective to dataframes, and what their models return, compared with one machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import halfstep as hs
from halfstep.errors import DataError, ParameterError
from halfstep.models.als_loop import TrainingLoop
from halfstep.spark import ColumnNames, SparkModel, fit
from spark_session import spark_session

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:::pyspark")]
PARAMETERS = {"rank": 3, "iterations": 3, "random_state": 0, "progress": False}


@pytest.fixture(scope="module")
def spark() -> Any:
    return spark_session("local")


@pytest.fixture(scope="module")
def table() -> dict[str, list[Any]]:
    rng = np.random.default_rng(0)
    cells = rng.permutation(60 * 40)[:700]
    return {
        "person": [f"ü{cell // 40}" for cell in cells.tolist()],
        "thing": (cells % 40 + (1 << 40)).tolist(),
        "stars": rng.integers(1, 6, len(cells)).astype(float).tolist(),
        "trust": (1.0 + rng.integers(0, 3, len(cells))).tolist(),
    }


@pytest.fixture(scope="module")
def df(spark: Any, table: dict[str, list[Any]]) -> Any:
    return frame(spark, table)


def frame(spark: Any, table: dict[str, list[Any]]) -> Any:
    return spark.createDataFrame(list(zip(*table.values(), strict=True)), list(table)).repartition(3)


COLUMNS = {"user": "person", "item": "thing", "value": "stars", "weight": "trust"}


@pytest.fixture(scope="module")
def model(df: Any, tmp_path_factory: pytest.TempPathFactory) -> SparkModel:
    folder = str(tmp_path_factory.mktemp("fit"))
    return fit(hs.ALS(hs.Explicit(), regularization=0.5, **PARAMETERS), df, folder=folder, n_blocks=3, **COLUMNS)


@pytest.fixture(scope="module")
def local(model: SparkModel) -> hs.ALS:
    return model.to_local()


def test_the_fit_is_that_of_one_machine(model: SparkModel, local: hs.ALS) -> None:
    """From the same factors of items, a half-step of the users returns their factors."""
    again = local.fold_in(local.interactions_)
    np.testing.assert_allclose(again.user_factors_, local.user_factors_, atol=2e-6)
    np.testing.assert_allclose(again.user_biases_, local.user_biases_, atol=2e-6)
    assert len(model.history) == 3
    assert model.history[-1].objective < 0.9 * model.history[0].objective
    assert repr(model).startswith("SparkModel(60 users × 40 items, rank 3, ")


def test_interactions_are_those_of_the_table(table: dict[str, list[Any]], local: hs.ALS) -> None:
    data = local.interactions_
    assert data is not None
    found = zip(data.user_ids, data.item_ids, data.values, data.weights, strict=True)
    assert sorted(found) == sorted(zip(*table.values(), strict=True))


def test_factors(model: SparkModel, local: hs.ALS) -> None:
    for rows, ids, factors, biases, kind in (
        (model.user_factors("person"), local.users_.ids, local.user_factors_, local.user_biases_, "string"),
        (model.item_factors("person"), local.items_.ids, local.item_factors_, local.item_biases_, "bigint"),
    ):
        assert rows.dtypes == [("person", kind), ("features", "array<float>"), ("bias", "float")]
        found = rows.toArrow()
        assert found["person"].to_pylist() == ids.tolist()
        np.testing.assert_array_equal(np.stack(found["features"].to_numpy()), factors)
        np.testing.assert_array_equal(found["bias"].to_numpy(), biases)


@pytest.mark.parametrize("unknown", ["baseline", "nan"])
def test_predictions(spark: Any, model: SparkModel, local: hs.ALS, unknown: Any) -> None:
    pairs = [(f"ü{k % 61}" if k % 7 else None, (1 << 40) + k % 43, k) for k in range(300)]
    frame = spark.createDataFrame(pairs, "person string, item bigint, k int")
    scored = model.predict(frame, item="item", prediction="score", unknown=unknown)
    assert scored.dtypes == [*frame.dtypes, ("score", "float")]
    found = {row.k: row.score for row in scored.collect()}
    for user, item, k in pairs:
        is_known = user in local.users_ and item in local.items_
        if user is None or (unknown == "nan" and not is_known):
            assert np.isnan(found[k])
        else:
            assert found[k] == pytest.approx(local.predict([user], [item])[0], abs=1e-5)


def lists(frame: Any, key: str, listed: str) -> dict[Any, list[tuple[Any, float]]]:
    return {row[key]: [(each[listed], each.score) for each in row.recommendations] for row in frame.collect()}


def assert_lists_equal(found: dict[Any, list[tuple[Any, float]]], expected: Any) -> None:
    assert found.keys() == set(expected.user_ids)
    for user, items, scores in zip(expected.user_ids, expected.item_ids, expected.scores, strict=True):
        assert [item for item, _ in found[user]] == [item for item in items if item is not None]
        np.testing.assert_allclose([score for _, score in found[user]], scores[: len(found[user])], atol=1e-5)


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_recommendations_to_all_users(model: SparkModel, local: hs.ALS, exclude_seen: bool) -> None:
    recommended = model.recommend(n=4, exclude_seen=exclude_seen)
    assert recommended.dtypes == [
        ("person", "string"), ("recommendations", "array<struct<thing:bigint,score:float>>")
    ]  # fmt: skip
    assert_lists_equal(lists(recommended, "person", "thing"), local.recommend(n=4, exclude_seen=exclude_seen))


def test_recommendations_to_some_users(spark: Any, model: SparkModel, local: hs.ALS) -> None:
    users = ["ü3", "ü7", "ü59", "ü31"]
    some = spark.createDataFrame([(user, 0) for user in [*users, "ü3", "x", None]], "person string, other int")
    assert_lists_equal(lists(model.recommend(n=3, users=some), "person", "thing"), local.recommend(users, n=3))


def test_users_for_items(spark: Any, model: SparkModel, local: hs.ALS) -> None:
    scores = np.add.outer(local.item_biases_, local.user_biases_) + local.item_factors_ @ local.user_factors_.T
    best = np.argsort(-scores, axis=1)[:, :5]
    expected = {
        item: local.users_.ids[row].tolist() for item, row in zip(local.items_.ids.tolist(), best, strict=True)
    }
    found = lists(model.recommend_users(n=5), "thing", "person")
    assert {item: [user for user, _ in listed] for item, listed in found.items()} == expected
    item = int(local.items_.ids[3])
    assert found[item][0][1] == pytest.approx(scores[3, best[3, 0]] + local.mean_, abs=1e-5)
    some = spark.createDataFrame([(item,), (item,), (5,)], ["thing"])
    assert lists(model.recommend_users(n=5, items=some), "thing", "person") == {item: found[item]}


def test_new_users(spark: Any, model: SparkModel, local: hs.ALS) -> None:
    items = local.items_.ids
    rows = [(k % 9, int(items[(7 * k) % 40]), float(1 + k % 5)) for k in range(90)] + [(3, 5, 2.0)]
    new = spark.createDataFrame(rows, ["id", "thing", "stars"])
    columns = ColumnNames("id", "thing", "stars")
    users, things, stars = zip(*rows, strict=True)
    expected = local.fold_in(hs.Interactions.from_arrays(users, things, stars))
    found = model.fold_in(new, columns=columns, id="id").orderBy("id").toArrow()
    order = np.argsort(expected.users_.ids)
    assert found["id"].to_pylist() == expected.users_.ids[order].tolist()
    np.testing.assert_allclose(np.stack(found["features"].to_numpy()), expected.user_factors_[order], atol=1e-6)
    np.testing.assert_allclose(found["bias"].to_numpy(), expected.user_biases_[order], atol=1e-6)
    recommended = model.recommend_for(new, 4, columns=columns)
    assert_lists_equal(lists(recommended, "id", "thing"), expected.recommend(n=4))


def test_saved_models_return_the_same(spark: Any, model: SparkModel, tmp_path: Path) -> None:
    model.save(str(tmp_path / "saved"))
    saved = SparkModel.load(spark, str(tmp_path / "saved"))
    assert lists(saved.recommend(n=3), "person", "thing") == lists(model.recommend(n=3), "person", "thing")
    with pytest.raises(DataError, match="saved already: give another folder"):
        model.save(str(tmp_path / "saved"))


def test_local_models_on_spark_return_the_same(spark: Any, local: hs.ALS, tmp_path: Path) -> None:
    model = SparkModel.from_local(local, spark, str(tmp_path), user="person", item="thing")
    assert_lists_equal(lists(model.recommend(n=3), "person", "thing"), local.recommend(n=3))
    back = model.to_local()
    np.testing.assert_allclose(back.predict(local.interactions_), local.predict(local.interactions_), rtol=1e-6)


def test_interrupted_fits_resume(df: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    als = hs.ALS(hs.Implicit(), **PARAMETERS)
    options = {"n_blocks": 2, "user": "person", "item": "thing"}
    expected = fit(als, df, folder=str(tmp_path / "whole"), **options).to_local()
    with pytest.raises(DataError, match="there is no interrupted fit in"):
        fit(als, df, folder=str(tmp_path / "half"), resume=True, **options)
    with monkeypatch.context() as patch:
        patch.setattr(TrainingLoop, "run", interrupted(TrainingLoop.run))
        with pytest.raises(RuntimeError, match="stopped here"):
            fit(als, df, folder=str(tmp_path / "half"), **options)
    found = fit(als, df.limit(0), folder=str(tmp_path / "half"), resume=True, **options).to_local()
    np.testing.assert_array_equal(found.user_factors_, expected.user_factors_)
    np.testing.assert_array_equal(found.item_factors_, expected.item_factors_)


def interrupted(run: Any) -> Any:
    """Return a training loop that stops after two iterations, as if the driver had been killed."""

    def stop(self: Any, iterations: int, *, after: Any, **options: Any) -> Any:
        def count() -> bool:
            after()
            if len(self.history) == 2:
                raise RuntimeError("stopped here")
            return False

        return run(self, iterations, after=count, **options)

    return stop


def test_errors_name_the_remedy(spark: Any, df: Any, model: SparkModel, tmp_path: Path) -> None:
    als, folder = hs.ALS(**PARAMETERS), str(tmp_path)
    with pytest.raises(ParameterError, match="duplicates='last': give one of 'error', 'sum', 'mean'"):
        fit(als, df, folder=folder, user="person", item="thing", duplicates="last")  # type: ignore[arg-type]
    with pytest.raises(
        DataError, match="the user ids in the column 'flags' are of type boolean: convert them to integ"
    ):
        fit(als, spark.createDataFrame([(True, 1)], ["flags", "item"]), folder=folder, user="flags")
    with pytest.raises(DataError, match="the value of user 'a', item 2 is nan: give finite numbers"):
        fit(als, spark.createDataFrame([("a", 2, float("nan"))], ["user", "item", "r"]), folder=folder, value="r")
    with pytest.raises(DataError, match="user 'a' has item 2 more than once: set duplicates='sum' or 'mean'"):
        fit(als, spark.createDataFrame([("a", 2), ("a", 2)], ["user", "item"]), folder=folder)
    with pytest.raises(ParameterError, match="callbacks is not supported on clusters"):
        fit(hs.ALS(callbacks=[print]), df, folder=folder, user="person", item="thing")
    with pytest.raises(DataError, match="already: give another folder"):
        fit(als, df, folder=model.folder, user="person", item="thing")
    with pytest.raises(
        DataError, match="user ids in the column 'thing' are numbers, but those of the model are strings"
    ):
        model.predict(df, user="thing")
