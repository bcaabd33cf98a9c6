"""MLlib's ALS on the same interactions, with a native BLAS.

    LD_LIBRARY_PATH=FOLDER python -m benchmarks.mllib interactions.parquet

FOLDER has ``libblas.so.3`` and ``liblapack.so.3``, links to ``libmkl_rt.so`` of the package mkl, which MLlib's
library loads. Seconds an iteration are intervals between the jobs of successive iterations in Spark's event log,
because the difference between two fits is mostly noise.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any


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
    return builder.getOrCreate()


def iteration_seconds(log: Path) -> list[float]:
    """Return the wall time of each iteration but the first, from the jobs that compute Gramians."""
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
    starts.sort()  # two of an iteration: before users, and before items
    return [later - earlier for earlier, later in zip(starts[:-2:2], starts[2::2], strict=False)]


def main() -> None:
    """Print the times of MLlib as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("interactions", type=Path, help="parquet with the columns user and item, strings")
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--recommend", action="store_true", help="also recommend 10 items to all users")
    given = parser.parse_args()
    os.environ.setdefault("MKL_NUM_THREADS", "1")
    from pyspark.ml.feature import StringIndexer
    from pyspark.ml.recommendation import ALS

    with tempfile.TemporaryDirectory() as temporary:
        log = Path(temporary) / "log"
        log.mkdir()
        spark = session(given.cores, log)
        spark.sparkContext.setLogLevel("ERROR")
        blas = spark.sparkContext._jvm.dev.ludovic.netlib.blas.NativeBLAS
        try:
            native = blas.getInstance().getClass().getName()
        except Exception as error:
            native = f"none ({error.__class__.__name__})"
        began = time.perf_counter()
        table = spark.read.parquet(str(given.interactions))
        indexer = StringIndexer(inputCols=["user", "item"], outputCols=["u", "i"]).fit(table)
        indexed = indexer.transform(table).selectExpr("int(u) AS u", "int(i) AS i", "1.0F AS rating")
        indexing = time.perf_counter() - began
        als = ALS(
            rank=given.rank, maxIter=given.iterations, regParam=0.01, implicitPrefs=True, alpha=1.0, userCol="u",
            itemCol="i", ratingCol="rating", seed=0,
        )  # fmt: skip
        model = als.fit(indexed)
        model.userFactors.count()
        fitting = time.perf_counter() - began
        result = {"native BLAS": native, "StringIndexer": indexing, "fit from parquet": fitting}
        if given.recommend:
            began = time.perf_counter()
            model.recommendForAllUsers(10).write.format("noop").mode("overwrite").save()
            result["recommendForAllUsers(10)"] = time.perf_counter() - began
        spark.stop()
        seconds = iteration_seconds(log)
        result["seconds an iteration"] = statistics.median(seconds) if seconds else float("nan")
        result["iterations timed"] = len(seconds)
        print(json.dumps(result))


if __name__ == "__main__":
    main()
