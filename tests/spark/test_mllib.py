"""The interface of MLlib, compared with MLlib itself."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from pyspark.ml import Pipeline, PipelineModel, recommendation
from pyspark.ml.evaluation import RegressionEvaluator
from pyspark.ml.feature import SQLTransformer
from pyspark.ml.tuning import CrossValidator, ParamGridBuilder

import halfstep as hs
from halfstep import spark as halfstep_spark
from halfstep.errors import ParameterError
from halfstep.spark import ALS, ALSModel
from spark_session import spark_session
from thorough import only_thorough

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:::pyspark")]
COLUMNS = {"userCol": "userId", "itemCol": "movieId", "numUserBlocks": 2, "numItemBlocks": 2}
OBJECTIVES: dict[str, dict[str, Any]] = {  # of rank 1, with which all fits converge to the same factors
    "explicit": {"rank": 1, "maxIter": 15, "regParam": 0.2, "implicitPrefs": False, "seed": 0},
    "implicit": {"rank": 1, "maxIter": 20, "regParam": 0.1, "implicitPrefs": True, "alpha": 0.5, "seed": 0},
}
Factors = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def spark() -> Any:
    return spark_session("local")


@pytest.fixture(scope="module")
def sample(spark: Any, ratings_file: str) -> Any:
    """20,000 ratings; a few are 0, as those of implicit feedback may be."""
    rows = spark.read.parquet(ratings_file).where("userId <= 180").orderBy("userId", "movieId")
    return rows.selectExpr("userId", "movieId", "cast(if(movieId % 50 = 7, 0, rating) as float) rating").cache()


@pytest.fixture(scope="module")
def cells(sample: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    table = sample.toArrow()
    return tuple(table[name].to_numpy() for name in ("userId", "movieId", "rating"))


@pytest.fixture(scope="module")
def fitted(sample: Any) -> Any:
    """A function that fits a model of halfstep or of MLlib once."""
    models: dict[Any, Any] = {}

    def fit(library: ModuleType, objective: str, **others: Any) -> Any:
        key = library, objective, *others.items()
        if key not in models:
            models[key] = library.ALS(**COLUMNS, **OBJECTIVES[objective] | others).fit(sample)
        return models[key]

    return fit


def factors(model: Any) -> Factors:
    """Return the factors, in ascending order of ids."""
    P, Q = (frame.orderBy("id").toArrow() for frame in (model.userFactors, model.itemFactors))
    return np.stack(P["features"].to_numpy()).astype(float), np.stack(Q["features"].to_numpy()).astype(float)


def positions(cells: tuple[np.ndarray, ...]) -> tuple[np.ndarray, np.ndarray]:
    return tuple(np.unique(ids, return_inverse=True)[1] for ids in cells[:2])


def objective_and_error(model: Any, cells: tuple[np.ndarray, ...], options: dict[str, Any]) -> tuple[float, float]:
    """Return MLlib's objective, and the root mean squared error, by their definitions."""
    (P, Q), (u, i), r = factors(model), positions(cells), cells[2].astype(float)
    scores = P @ Q.T
    x, counted = scores[u, i], (r > 0) | (not options["implicitPrefs"])
    n_u, n_i = (np.bincount(each[counted], minlength=len(F)) for each, F in ((u, P), (i, Q)))
    penalty = options["regParam"] * ((n_u @ P**2).sum() + (n_i @ Q**2).sum())
    if not options["implicitPrefs"]:
        return ((r - x) ** 2).sum() + penalty, np.sqrt(np.mean((r - x) ** 2))
    c = 1 + options["alpha"] * r
    loss = (c * ((r > 0) - x) ** 2).sum() - (x**2).sum() + (scores**2).sum()
    return loss + penalty, np.sqrt(np.mean(((r > 0) - x) ** 2))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_fits_converge_to_the_same_objective(fitted: Any, cells: Any, objective: str) -> None:
    ours, theirs = (
        objective_and_error(fitted(library, objective), cells, OBJECTIVES[objective])
        for library in (halfstep_spark, recommendation)
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-3)


@pytest.mark.parametrize("library", [halfstep_spark, recommendation], ids=["halfstep", "mllib"])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_user_factors_minimize_the_objective(fitted: Any, cells: Any, objective: str, library: ModuleType) -> None:
    """The half-step of the users, which comes last in both, solves the same systems."""
    options, (P, Q) = OBJECTIVES[objective], factors(fitted(library, objective, rank=3, maxIter=2))
    (u, i), r = positions(cells), cells[2].astype(float)
    for user in range(0, len(P), 10):
        y, values = Q[i[u == user]], r[u == user]
        if options["implicitPrefs"]:
            c = options["alpha"] * values
            A, b, n = Q.T @ Q + (y.T * c) @ y, y.T @ ((1 + c) * (values > 0)), (values > 0).sum()
        else:
            A, b, n = y.T @ y, y.T @ values, len(values)
        np.testing.assert_allclose(
            P[user], np.linalg.solve(A + options["regParam"] * n * np.eye(len(A)), b), rtol=2e-4, atol=1e-5
        )


OUTPUTS = {
    "userFactors": lambda model, _: model.userFactors,
    "itemFactors": lambda model, _: model.itemFactors,
    "transform": lambda model, sample: model.transform(sample),
    "recommendForAllUsers": lambda model, _: model.recommendForAllUsers(3),
    "recommendForAllItems": lambda model, _: model.recommendForAllItems(3),
    "recommendForUserSubset": lambda model, sample: model.recommendForUserSubset(sample.limit(40), 3),
    "recommendForItemSubset": lambda model, sample: model.recommendForItemSubset(sample.limit(40), 3),
}


@pytest.mark.parametrize("output", OUTPUTS)
def test_outputs_have_the_columns_of_mllib(fitted: Any, sample: Any, output: str) -> None:
    ours, theirs = (
        OUTPUTS[output](fitted(library, "explicit"), sample) for library in (halfstep_spark, recommendation)
    )
    assert ours.dtypes == theirs.dtypes
    if "Item" not in output:  # those columns are never null here
        assert ours.schema == theirs.schema
    if "Factors" in output:
        assert sorted(row.id for row in ours.collect()) == sorted(row.id for row in theirs.collect())


def test_recommendations_have_the_highest_predictions(fitted: Any, spark: Any) -> None:
    model = fitted(halfstep_spark, "explicit")
    P, Q = factors(model)
    (user,) = model.recommendForUserSubset(spark.createDataFrame([(9,), (9,), (10**6,)], ["userId"]), 4).collect()
    expected = np.sort(P[8] @ Q.T)[::-1][:4]  # ids of users are 1, 2, 3, …
    np.testing.assert_allclose([each.rating for each in user.recommendations], expected, rtol=1e-5)
    pairs = spark.createDataFrame([(9, each.movieId) for each in user.recommendations], ["userId", "movieId"])
    predictions = sorted((row.prediction for row in model.transform(pairs).collect()), reverse=True)
    np.testing.assert_allclose(predictions, expected, rtol=1e-5)


@pytest.mark.parametrize("library", [halfstep_spark, recommendation], ids=["halfstep", "mllib"])
def test_cold_start(fitted: Any, spark: Any, library: ModuleType) -> None:
    model = fitted(library, "explicit").copy()
    pairs = spark.createDataFrame([(1, 1), (1, 10**6), (10**6, 1)], ["userId", "movieId"])
    assert model.transform(pairs).where("isnan(prediction)").count() == 2
    model.setColdStartStrategy("drop")
    assert [(row.userId, row.movieId) for row in model.transform(pairs).collect()] == [(1, 1)]


def test_names_and_defaults_are_those_of_mllib() -> None:
    ours, theirs = ALS(), recommendation.ALS()
    differ = {"seed", "folder"}  # MLlib's in Python changes with each process
    defaults = [
        {param.name: each.getOrDefault(param) for param in each.params if param.name not in differ}
        for each in (ours, theirs)
    ]
    assert defaults[0] == defaults[1]
    assert set(public(recommendation.ALS)) <= set(public(ALS))
    assert set(public(recommendation.ALSModel)) <= set(public(ALSModel))
    values = {"rank": 3, "regParam": 0.5, "userCol": "u", "implicitPrefs": True, "coldStartStrategy": "drop"}
    for name, value in values.items():
        method = name[0].upper() + name[1:]
        assert getattr(getattr(ALS(), f"set{method}")(value), f"get{method}")() == value
        assert getattr(ALS(**{name: value}), f"get{method}")() == value
        assert getattr(ALS().setParams(**{name: value}), f"get{method}")() == value


def public(kind: type[Any]) -> list[str]:
    return [name for name in dir(kind) if not name.startswith("_")]


def test_saved_models_predict_the_same(fitted: Any, sample: Any, tmp_path: Path) -> None:
    model, path = fitted(halfstep_spark, "explicit"), f"file://{tmp_path}/model"
    model.setPredictionCol("stars").save(path)
    model.write().overwrite().save(path)
    with pytest.raises(Exception, match="already exists"):
        model.save(path)
    loaded = ALSModel.load(path)
    assert (loaded.uid, loaded.rank, loaded.getPredictionCol()) == (model.uid, 1, "stars")
    assert loaded.transform(sample).collect() == model.transform(sample).collect()
    model.setPredictionCol("prediction")


def test_pipelines_are_fitted_and_saved(sample: Any, tmp_path: Path) -> None:
    doubled = SQLTransformer(statement="SELECT userId, movieId, rating * 2 AS stars FROM __THIS__")
    pipeline = Pipeline(stages=[doubled, ALS(**COLUMNS, ratingCol="stars", rank=2, maxIter=2)])
    pipeline.write().overwrite().save(f"{tmp_path}/pipeline")
    assert Pipeline.load(f"{tmp_path}/pipeline").getStages()[1].getRatingCol() == "stars"
    model = pipeline.fit(sample)
    model.write().overwrite().save(f"{tmp_path}/fitted")
    predictions = PipelineModel.load(f"{tmp_path}/fitted").transform(sample)
    assert predictions.collect() == model.transform(sample).collect()
    assert RegressionEvaluator(labelCol="stars").evaluate(predictions) < 2.0


@only_thorough
def test_cross_validation_chooses_parameters(sample: Any) -> None:
    als = ALS(**COLUMNS, rank=2, maxIter=5, coldStartStrategy="drop")  # Spark's folds depend on its partitions
    grid = ParamGridBuilder().addGrid(als.regParam, [0.1, 1e4]).build()
    evaluator = RegressionEvaluator(labelCol="rating")
    tuned = CrossValidator(estimator=als, estimatorParamMaps=grid, evaluator=evaluator, numFolds=2, seed=0).fit(
        sample
    )
    assert tuned.avgMetrics[0] < 1.2 < tuned.avgMetrics[1]
    assert tuned.bestModel.rank == 2


def test_what_mllib_lacks(spark: Any, sample: Any, tmp_path: Path) -> None:
    named = sample.selectExpr(
        "concat('u', userId) AS userId", "cast(movieId + 5000000000 AS bigint) movieId", "rating"
    )
    model = ALS(**COLUMNS, rank=2, maxIter=2, implicitPrefs=True, folder=str(tmp_path)).fit(named)
    assert model.userFactors.dtypes == [("id", "string"), ("features", "array<float>")]
    assert model.itemFactors.dtypes == [("id", "bigint"), ("features", "array<float>")]
    assert [path.name for path in tmp_path.iterdir()] == [Path(model.model.folder).name]
    local = model.model.to_local()
    assert isinstance(local, hs.ALS)
    unseen = {
        row.userId: [each.movieId for each in row.recommendations] for row in model.model.recommend(3).collect()
    }
    expected = local.recommend(n=3)
    assert unseen == dict(zip(expected.user_ids, expected.item_ids.tolist(), strict=True))


@pytest.mark.parametrize("is_implicit", [False, True])
def test_nonnegative_factors(sample: Any, is_implicit: bool) -> None:
    model = ALS(**COLUMNS, rank=3, maxIter=2, nonnegative=True, implicitPrefs=is_implicit).fit(sample)
    assert all((F >= 0).all() and (F == 0).any() for F in factors(model))


def test_repeated_pairs_are_merged(spark: Any) -> None:
    repeated = spark.createDataFrame([(1, 2, 3.0), (1, 2, 5.0), (2, 2, 4.0)], ["user", "item", "rating"])
    for is_implicit, expected in ((False, 4.0), (True, 8.0)):
        data = ALS(rank=1, maxIter=1, implicitPrefs=is_implicit).fit(repeated).model.to_local().interactions_
        assert dict(zip(data.user_ids, data.values, strict=True)) == {1: expected, 2: 4.0}


def test_errors_name_the_remedy(sample: Any) -> None:
    with pytest.raises(ParameterError, match="rank"):
        ALS(**COLUMNS, rank=0).fit(sample)
    with pytest.raises(ParameterError, match="coldStartStrategy"):
        ALS(**COLUMNS, coldStartStrategy="zero").fit(sample)
