"""Functions on the workers of Spark, through the interface of DataFrames only, so that Spark Connect works."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from halfstep.cluster.engine import Partitions
from halfstep.cluster.file_steps import FileSteps
from halfstep.cluster.folder import Folder
from halfstep.spark.worker import call, on_batches, results

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


class SparkEngine:
    """The workers of a Spark session.

    Each call is a task, which Spark repeats on another worker if its worker fails.

    Parameters
    ----------
    spark : SparkSession
        A classic session, or one of Spark Connect.
    n_blocks : int, optional
        The number of blocks of each side. By default, the number of tasks that Spark runs at the same time.
    """

    def __init__(self, spark: SparkSession, n_blocks: int | None = None) -> None:
        self.spark = spark
        self.threads = int(spark.conf.get("spark.task.cpus", "1") or 1)
        self.n_blocks = tasks_at_a_time(spark) if n_blocks is None else n_blocks

    def map(self, function: Callable[[Any], Any], arguments: Sequence[Any]) -> list[Any]:
        if len(arguments) == 0:
            return []
        return list(self.run(numbers(self.spark, len(arguments)), call, function, list(arguments)).values())

    def run(self, df: DataFrame, function: Callable[..., Any], *arguments: Any) -> dict[int, Any]:
        """Call a function that yields the result of a worker for a dataframe; return all results."""
        from pyspark.sql.types import BinaryType, LongType, StructType

        schema = StructType().add("number", LongType()).add("result", BinaryType())
        return results(df.mapInArrow(on_batches(function, *arguments), schema).toArrow())

    def steps(self, folder: Folder, partitions: Partitions) -> FileSteps:
        return FileSteps(self.map, folder, partitions, self.threads)


def numbers(spark: SparkSession, n: int) -> DataFrame:
    """Return a dataframe of the numbers below n, each of which is a partition."""
    return spark.range(0, n, 1, n)


def tasks_at_a_time(spark: SparkSession) -> int:
    """Return the number of tasks that Spark runs at the same time, which is the default number of partitions."""
    from pyspark.sql import functions

    partitions = spark.range(1_000_000).select(functions.spark_partition_id().alias("number"))
    highest = partitions.agg(functions.max("number")).toArrow()
    return int(highest.column(0)[0].as_py()) + 1
