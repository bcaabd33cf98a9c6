"""Programs in the shape of those in MLlib's documentation and in answers to questions, with another import."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark.ml import Pipeline
from pyspark.ml.evaluation import RegressionEvaluator
from pyspark.ml.feature import IndexToString, StringIndexer
from pyspark.ml.tuning import ParamGridBuilder, TrainValidationSplit
from pyspark.sql import Row, Window
from pyspark.sql.functions import col, explode, lit, row_number

import halfstep as hs
from halfstep.spark import ALS, ALSModel
from spark_session import spark_session

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:::pyspark")]


@pytest.fixture(scope="module")
def spark() -> Any:
    return spark_session("local")


@pytest.fixture(scope="module")
def lines(movielens: hs.Interactions, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Ratings as text, like the sample that comes with Spark."""
    path = tmp_path_factory.mktemp("data") / "sample_movielens_ratings.txt"
    rows = zip(movielens.user_ids, movielens.item_ids, movielens.values, strict=True)
    few = [(user, item, rating) for user, item, rating in rows if int(user) <= 50 and int(item) <= 300]
    path.write_text("\n".join(f"{user}::{item}::{int(rating)}::1424380312" for user, item, rating in few))
    return str(path)


@pytest.fixture(scope="module")
def ratings(spark: Any, lines: str) -> Any:
    parts = spark.read.text(lines).selectExpr("split(value, '::') p")
    return parts.selectExpr(
        "cast(p[0] AS int) userId", "cast(p[1] AS int) movieId", "cast(p[2] AS float) rating"
    ).cache()


@pytest.fixture(scope="module")
def model(ratings: Any) -> Any:
    return ALS(rank=2, maxIter=2, userCol="userId", itemCol="movieId", ratingCol="rating").fit(ratings)


def test_explicit_example_of_the_documentation(spark: Any, lines: str) -> None:
    parts = spark.read.text(lines).rdd.map(lambda row: row.value.split("::"))
    rows = parts.map(lambda p: Row(userId=int(p[0]), movieId=int(p[1]), rating=float(p[2]), timestamp=int(p[3])))
    ratings = spark.createDataFrame(rows)
    training, test = ratings.randomSplit([0.8, 0.2], seed=3)
    als = ALS(
        maxIter=5, regParam=0.05, userCol="userId", itemCol="movieId", ratingCol="rating", coldStartStrategy="drop"
    )
    model = als.fit(training)
    predictions = model.transform(test)
    evaluator = RegressionEvaluator(metricName="rmse", labelCol="rating", predictionCol="prediction")
    assert evaluator.evaluate(predictions) < 1.5
    assert model.recommendForAllUsers(10).count() == training.select(als.getUserCol()).distinct().count()
    assert model.recommendForAllItems(10).count() == training.select(als.getItemCol()).distinct().count()
    users = ratings.select(als.getUserCol()).distinct().limit(3)
    assert model.recommendForUserSubset(users, 10).count() == 3
    movies = ratings.select(als.getItemCol()).distinct().limit(3)
    assert (
        model.recommendForItemSubset(movies, 10).count()
        == movies.join(training, "movieId").select("movieId").distinct().count()
    )


def test_implicit_example_of_the_documentation(ratings: Any) -> None:
    als = ALS(maxIter=5, regParam=0.01, implicitPrefs=True, userCol="userId", itemCol="movieId", ratingCol="rating")
    assert 0.5 < als.fit(ratings).transform(ratings).agg({"prediction": "avg"}).first()[0] < 1.0


def test_reference_of_the_class(spark: Any, tmp_path: Path) -> None:
    df = spark.createDataFrame(
        [(0, 0, 4.0), (0, 1, 2.0), (1, 1, 3.0), (1, 2, 4.0), (2, 1, 1.0), (2, 2, 5.0)], ["user", "item", "rating"]
    )
    als = ALS(rank=10, seed=0)
    als.setMaxIter(5)
    assert als.getMaxIter() == 5
    als.setRegParam(0.1)
    als.clear(als.regParam)
    model = als.fit(df)
    assert model.getUserCol() == "user"
    assert model.rank == 10
    model.setPredictionCol("newPrediction")
    assert [row.id for row in model.userFactors.orderBy("id").collect()] == [0, 1, 2]
    test = spark.createDataFrame([(0, 2), (1, 0), (2, 0)], ["user", "item"])
    predictions = sorted(model.transform(test).collect(), key=lambda row: row[0])
    assert np.isfinite([row.newPrediction for row in predictions]).all()
    user_recs = model.recommendForAllUsers(3)
    first = user_recs.where(user_recs.user == 0).select("recommendations.item", "recommendations.rating").first()
    assert first.item[0] == 0
    als.save(str(tmp_path / "als"))
    assert ALS.load(str(tmp_path / "als")).getMaxIter() == 5
    model.save(str(tmp_path / "als_model"))
    loaded = ALSModel.load(str(tmp_path / "als_model"))
    assert sorted(loaded.userFactors.collect()) == sorted(model.userFactors.collect())


def test_search_over_a_grid(ratings: Any) -> None:
    als = ALS(userCol="userId", itemCol="movieId", ratingCol="rating", coldStartStrategy="drop", maxIter=2)
    grid = ParamGridBuilder().addGrid(als.rank, [1, 2]).addGrid(als.regParam, [0.1]).build()
    tvs = TrainValidationSplit(
        estimator=als, estimatorParamMaps=grid, evaluator=RegressionEvaluator(labelCol="rating"), seed=1
    )
    best = tvs.fit(ratings).bestModel
    assert best.rank in (1, 2)


def test_search_by_a_loop(ratings: Any) -> None:
    train, validation = ratings.randomSplit([0.75, 0.25], seed=42)
    evaluator, errors = RegressionEvaluator(metricName="rmse", labelCol="rating"), {}
    als = ALS().setMaxIter(2).setSeed(42).setUserCol("userId").setItemCol("movieId").setRatingCol("rating")
    als.setColdStartStrategy("drop")
    for rank in (1, 3):
        als.setRank(rank)
        errors[rank] = evaluator.evaluate(als.fit(train).transform(validation))
    assert min(errors.values()) < 1.2
    assert [model.rank for model in als.fit(train, [{als.rank: 1}, {als.rank: 3}])] == [1, 3]


def test_strings_by_indexers_in_a_pipeline(ratings: Any) -> None:
    named = ratings.selectExpr("concat('user-', userId) user", "concat('movie-', movieId) movie", "rating")
    indexers = [
        StringIndexer(inputCol=name, outputCol=f"{name}_index", handleInvalid="skip") for name in ("user", "movie")
    ]
    als = ALS(userCol="user_index", itemCol="movie_index", ratingCol="rating", rank=2, maxIter=2)
    model = Pipeline(stages=[*indexers, als]).fit(named)
    assert model.transform(named).where("isnan(prediction)").count() == 0
    recommended = model.stages[-1].recommendForAllUsers(2).withColumn("rec", explode("recommendations"))
    names = IndexToString(inputCol="movie_index", outputCol="movie", labels=model.stages[1].labels)
    found = names.transform(
        recommended.select("user_index", col("rec.movie_index").cast("double").alias("movie_index"))
    )
    assert found.where("movie LIKE 'movie-%'").count() == 2 * len(model.stages[0].labels)


def test_recommendations_as_rows(model: Any) -> None:
    recs = model.recommendForAllUsers(5)
    rows = recs.withColumn("rec", explode("recommendations")).select("userId", "rec.movieId", "rec.rating")
    assert rows.dtypes == [("userId", "int"), ("movieId", "int"), ("rating", "float")]
    assert rows.count() == 5 * recs.count()


def test_movies_that_a_user_has_not_rated(ratings: Any, model: Any) -> None:
    seen = ratings.where(col("userId") == 7).select("movieId")
    unseen = ratings.select("movieId").distinct().subtract(seen).withColumn("userId", lit(7))
    best = model.transform(unseen).dropna().orderBy(col("prediction").desc()).limit(5).collect()
    expected = [row.recommendations for row in model.model.recommend(n=5).where("userId = 7").collect()]
    assert [row.movieId for row in best] == [each.movieId for each in expected[0]]


def test_similar_items_by_factors(model: Any) -> None:
    rows = model.itemFactors.collect()
    features = np.array([row.features for row in rows])
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    nearest = np.argsort(-(features @ features[0]))
    assert nearest[0] == 0
    pandas = model.itemFactors.toPandas()
    assert pandas["features"].map(len).eq(model.rank).all()


def test_ranking_by_windows(ratings: Any, model: Any) -> None:
    scored = model.transform(ratings.select("userId", "movieId"))
    window = Window.partitionBy("userId").orderBy(col("prediction").desc())
    top = scored.withColumn("rank", row_number().over(window)).where(col("rank") <= 3)
    assert top.count() == 3 * ratings.select("userId").distinct().count()


def test_factors_joined_and_multiplied_in_sql(spark: Any, ratings: Any, model: Any) -> None:
    model.userFactors.createOrReplaceTempView("users")
    model.itemFactors.createOrReplaceTempView("items")
    query = """
        SELECT aggregate(zip_with(u.features, i.features, (a, b) -> a * b), 0D, (sum, x) -> sum + x) AS score
        FROM users u CROSS JOIN items i WHERE u.id = 3 AND i.id = 12
    """
    expected = model.transform(spark.createDataFrame([(3, 12)], ["userId", "movieId"])).first().prediction
    assert spark.sql(query).first().score == pytest.approx(expected, rel=1e-5)
