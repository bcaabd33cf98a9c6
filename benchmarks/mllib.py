"""MLlib's ALS, for `benchmarks.cluster`."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple


def session(cores: int, log: Path | None = None) -> Any:
    """Return a Spark session on this machine."""
    from pyspark.sql import SparkSession

    builder = (
        SparkSession.builder.master(f"local[{cores}]")
        .config("spark.driver.memory", "8g")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.sql.shuffle.partitions", str(2 * cores))
    )
    if log is not None:
        builder = builder.config("spark.eventLog.enabled", "true").config("spark.eventLog.dir", log.as_uri())
        builder = builder.config("spark.eventLog.compress", "false").config("spark.eventLog.rolling.enabled", "false")
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    spark.range(1).count()  # loads classes
    return spark


def iteration_starts(log: Path) -> list[float]:
    """Return when iterations began, from the jobs that compute Gramians."""
    starts: list[float] = []
    for file in log.rglob("*"):
        if not file.is_file():
            continue
        for line in file.read_text().splitlines():
            event = json.loads(line)
            if event["Event"] == "SparkListenerJobStart":
                last = max(event["Stage Infos"], key=lambda stage: stage["Stage ID"])
                if last["Stage Name"].startswith("aggregate at ALS"):
                    starts.append(event["Submission Time"] / 1000)
    return sorted(starts)[::2]  # two of an iteration: before users, and before items


class Measured(NamedTuple):
    """What is measured of MLlib.

    Attributes
    ----------
    read, fit, top : float
        Seconds until all ids are integers, of a fit from the file, and until all lists are computed.
    iterations : list of float
        When iterations began, in seconds since the epoch.
    """

    read: float
    fit: float
    top: float
    iterations: list[float]


def measure(parquet: Path, scratch: Path, cores: int, rank: int, iterations: int) -> Measured:
    """Measure MLlib on a parquet file with the columns user and item, of strings."""
    os.environ.setdefault("MKL_NUM_THREADS", "1")
    from pyspark.ml.feature import StringIndexer
    from pyspark.ml.recommendation import ALS

    log = scratch / "log"
    log.mkdir()
    spark = session(cores, log)
    print("BLAS:", native_blas(spark), file=sys.stderr)

    def indexed() -> Any:
        table = spark.read.parquet(str(parquet))
        indexer = StringIndexer(inputCols=["user", "item"], outputCols=["u", "i"]).fit(table)
        return indexer.transform(table).selectExpr("int(u) AS u", "int(i) AS i", "1.0F AS rating")

    began = time.perf_counter()
    indexed().write.format("noop").mode("overwrite").save()
    reading = time.perf_counter() - began
    began = time.perf_counter()
    als = ALS(
        rank=rank, maxIter=iterations, regParam=0.01, implicitPrefs=True, alpha=1.0, userCol="u", itemCol="i",
        ratingCol="rating", seed=0,
    )  # fmt: skip
    model = als.fit(indexed())
    model.userFactors.count()
    fitting = time.perf_counter() - began
    began = time.perf_counter()
    model.recommendForAllUsers(10).write.format("noop").mode("overwrite").save()
    top = time.perf_counter() - began
    spark.stop()
    return Measured(reading, fitting, top, iteration_starts(log))


def native_blas(spark: Any) -> str:
    """Return the class of the native BLAS that MLlib has loaded, or why there is none."""
    try:
        blas = spark.sparkContext._jvm.dev.ludovic.netlib.blas.NativeBLAS
        return str(blas.getInstance().getClass().getName())
    except Exception as error:
        return f"none ({error.__class__.__name__})"
