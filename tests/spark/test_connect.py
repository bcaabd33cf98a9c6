"""Fits, recommendations and files through Spark Connect, which has neither RDDs nor a context."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import halfstep as hs
from halfstep.spark import ALS, ALSModel, SparkModel, fit
from spark_session import spark_session

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:::pyspark")]


@pytest.fixture(scope="module")
def spark() -> Any:
    return spark_session("connect")


def test_fit_recommend_and_save(spark: Any, ratings_file: str, tmp_path: Path) -> None:
    from pyspark.ml.evaluation import RegressionEvaluator
    from pyspark.ml.tuning import ParamGridBuilder, TrainValidationSplit

    ratings = spark.read.parquet(ratings_file).where("userId <= 100")
    als = ALS(userCol="userId", itemCol="movieId", rank=2, maxIter=1, coldStartStrategy="drop")
    evaluator = RegressionEvaluator(labelCol="rating")
    grid = ParamGridBuilder().addGrid(als.regParam, [0.1, 100.0]).build()
    tuned = TrainValidationSplit(estimator=als, estimatorParamMaps=grid, evaluator=evaluator).fit(ratings)
    assert tuned.validationMetrics[0] < tuned.validationMetrics[1]
    model = tuned.bestModel
    model.write().overwrite().save(str(tmp_path / "model"))
    model.write().overwrite().save(str(tmp_path / "model"))
    loaded = ALSModel.load(str(tmp_path / "model"))
    assert loaded.transform(ratings).collect() == model.transform(ratings).collect()
    some = ratings.limit(3)
    assert loaded.recommendForAllUsers(3).count() == 100
    assert len(loaded.recommendForUserSubset(some, 3).first().recommendations) == 3
    assert loaded.recommendForItemSubset(some, 3).count() == 3


def test_any_objective(spark: Any, ratings_file: str, tmp_path: Path) -> None:
    ratings = spark.read.parquet(ratings_file).where("userId <= 100 AND rating >= 4")
    als = hs.ALS(hs.Implicit(), rank=3, iterations=2, random_state=0, progress=False)
    model = fit(als, ratings, folder=str(tmp_path / "fit"), user="userId", item="movieId")
    local = model.to_local()
    expected = local.recommend(n=3)
    found = {row.userId: [each.movieId for each in row.recommendations] for row in model.recommend(n=3).collect()}
    assert found == dict(zip(expected.user_ids.tolist(), expected.item_ids.tolist(), strict=True))
    new = ratings.where("userId < 5")
    np.testing.assert_allclose(
        np.stack(model.fold_in(new).orderBy("id").toArrow()["features"].to_numpy()),
        local.user_factors_[[local.users_.ids.tolist().index(user) for user in (1, 2, 3, 4)]],
        atol=1e-5,
    )
    back = SparkModel.from_local(local, spark, str(tmp_path / "back"), user="userId", item="movieId")
    assert back.recommend(n=3).count() == len(found)
