"""Functions on the workers of Spark, by the interface of DataFrames only, so that Spark Connect works."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from halfstep.cluster.engine import Partitions
from halfstep.cluster.file_steps import FileSteps
from halfstep.cluster.folder import Folder
from halfstep.spark.worker import calls, results

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


class SparkEngine:
    """The workers of a Spark session; see `halfstep.cluster.engine.Engine`.

    Each call is a task, which Spark repeats on another worker if its worker fails.

    Parameters
    ----------
    spark : SparkSession
        A classic session, or one of Spark Connect.
    n_blocks : int, optional
        Of each side. By default, the number of tasks that Spark runs at the same time.
    """

    def __init__(self, spark: SparkSession, n_blocks: int | None = None) -> None:
        from pyspark.sql.types import BinaryType, LongType, StructType

        self._spark = spark
        self._results = StructType().add("number", LongType()).add("result", BinaryType())
        self._threads = int(spark.conf.get("spark.task.cpus", "1") or 1)
        self.n_blocks = slots(spark) if n_blocks is None else n_blocks

    def map(self, function: Callable[[Any], Any], arguments: Sequence[Any]) -> list[Any]:
        n = len(arguments)
        if n == 0:
            return []
        numbers = self._spark.range(0, n, 1, n)  # each is a partition
        table = numbers.mapInArrow(calls(function, arguments), self._results).toArrow()
        return results(table["number"].to_pylist(), table["result"].to_pylist())

    @contextmanager
    def steps(self, folder: Folder, partitions: Partitions) -> Iterator[FileSteps]:
        yield FileSteps(self.map, folder, partitions, self._threads)


def slots(spark: SparkSession) -> int:
    """Return the default number of partitions, which is the number of tasks that run at the same time."""
    from pyspark.sql import functions

    numbers = spark.range(1_000_000).select(functions.spark_partition_id().alias("number"))
    highest = numbers.agg(functions.max("number")).toArrow()
    return int(highest.column(0)[0].as_py()) + 1
