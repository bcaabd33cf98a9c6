"""Engines of clusters against one machine, on the same interactions and cores in one run.

    python -m benchmarks.cluster ray
    python -m benchmarks.cluster spark

Implicit interactions with string ids are generated as a parquet file. Measured are the seconds of an iteration, in
fits of one machine and of the cluster by turns; a whole fit from the file; and the top-10 items of all users, written
to parquet. `benchmarks.mllib` measures MLlib on the same file, which ``--parquet`` keeps.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import halfstep as hs
from benchmarks.marks import table

N_USERS, N_ITEMS = 138_000, 27_000  # of 10 million interactions, as in MovieLens 20M
ROUNDS = 3
REGULARIZATION = 0.05  # given, since it would take several fits to find


def generate(path: Path, n: int) -> None:
    """Write interactions as `benchmarks.synthetic` samples them, with ids of strings."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from benchmarks import synthetic

    size = (n / 10_000_000) ** 0.5
    columns = synthetic.interactions(round(N_USERS * size), round(N_ITEMS * size), n)
    ids = {
        name: pa.array([f"{name}-{k:07d}" for k in range(int(column.max()) + 1)]).take(pa.array(column))
        for name, column in zip(("user", "item"), columns, strict=True)
    }
    pq.write_table(pa.table(ids), path, row_group_size=500_000)


@dataclass(frozen=True)
class Engine:
    """What is measured of an engine.

    Attributes
    ----------
    fit : callable
        Fits a model to a parquet file, given the parameters, the file and a new folder.
    fit_again : callable
        Returns the model of another fit to the same table, given the parameters and the first model.
    recommend : callable
        Writes the top-10 items of all users to a new folder.
    """

    fit: Callable[[hs.ALS, Path, Path], Any]
    fit_again: Callable[[hs.ALS, Any], Any]
    recommend: Callable[[Any, Path], object]


@contextmanager
def ray_engine(cores: int) -> Iterator[Engine]:
    """Ray on this machine."""
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - by default, all other processes run first
    import ray

    import halfstep.ray
    from halfstep.cluster.fit import fit
    from halfstep.cluster.ray_engine import RayEngine

    ray.init(num_cpus=cores, include_dashboard=False, log_to_driver=False, logging_level="error")
    try:
        yield Engine(
            lambda als, parquet, folder: halfstep.ray.fit(als, parquet, folder=folder, n_blocks=2 * cores),
            lambda als, model: fit(als, RayEngine(2 * cores), model.folder, model.table),
            halfstep.ray.recommend,
        )
    finally:
        ray.shutdown()


@contextmanager
def spark_engine(cores: int) -> Iterator[Engine]:
    """Spark on this machine."""
    import halfstep.spark
    from benchmarks.mllib import session
    from halfstep.cluster.build import Table
    from halfstep.cluster.fit import fit
    from halfstep.cluster.folder import Folder
    from halfstep.spark import SparkEngine

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    spark = session(cores)

    def fit_again(als: hs.ALS, model: Any) -> Any:
        folder = Folder(model.folder)
        return fit(als, SparkEngine(spark, cores), folder, Table.read(folder))

    try:
        yield Engine(
            lambda als, parquet, folder: halfstep.spark.fit(
                als, spark.read.parquet(str(parquet)), folder=str(folder), n_blocks=cores
            ),
            fit_again,
            lambda model, path: model.recommend(10).write.parquet(str(path)),
        )
    finally:
        spark.stop()


ENGINES = {"ray": ray_engine, "spark": spark_engine}


def seconds_of(function: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    """Return the seconds that a call takes, and its result."""
    began = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - began, result


def fit_alone(als: hs.ALS, parquet: Path) -> hs.ALS:
    """Fit on one machine."""
    return als.fit(hs.read_interactions(parquet, user="user", item="item"))


def recommend_alone(model: hs.ALS, path: Path) -> None:
    """Write the top-10 items of all users on one machine."""
    import pyarrow.parquet as pq

    pq.write_table(model.recommend(n=10).to_frame("pyarrow"), path)


def of_iterations(history: list[Any]) -> float:
    """Return the seconds of an iteration, without the first, which may load kernels."""
    return (history[-1].seconds - history[0].seconds) / (len(history) - 1)


def compare(engine: Engine, als: hs.ALS, parquet: Path, scratch: Path) -> list[tuple[str, float, float]]:
    """Return the seconds of one machine and of the engine, of all that is measured."""
    clone = als.__sklearn_clone__
    fit_alone(clone().set_params(iterations=1), parquet)  # compiles or loads the kernels
    alone, local = seconds_of(fit_alone, clone(), parquet)
    whole, model = seconds_of(engine.fit, clone(), parquet, scratch / "model")
    recommended = seconds_of(recommend_alone, local, scratch / "alone.parquet")[0]
    top = seconds_of(engine.recommend, model, scratch / "top")[0]
    pairs = []
    for _ in range(ROUNDS):
        one = clone().fit(local.interactions_).history_
        other = engine.fit_again(clone(), model).items.history_
        pairs.append((of_iterations(one), of_iterations(other)))
    ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    return [
        ("iteration", ours, theirs),
        (f"fit from parquet, {als.iterations} iterations", alone, whole),
        ("top-10 of all users", recommended, top),
    ]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", choices=ENGINES)
    parser.add_argument("--interactions", type=int, default=10_000_000)
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--parquet", type=Path, help="generated if it does not exist, and kept")
    given = parser.parse_args()
    als = hs.ALS(
        hs.Implicit(),
        rank=given.rank,
        iterations=given.iterations,
        regularization=REGULARIZATION,
        threads=given.cores,
        random_state=0,
        progress=False,
    )
    with tempfile.TemporaryDirectory(prefix="halfstep-") as temporary:
        parquet = given.parquet or Path(temporary) / "interactions.parquet"
        if not parquet.exists():
            generate(parquet, given.interactions)
        with ENGINES[given.engine](given.cores) as engine:
            measured = compare(engine, als, parquet, Path(temporary))
    rows = [[what, f"{one:.3f}", f"{other:.3f}", f"{other / one:.2f}"] for what, one, other in measured]
    print(table(["seconds", " one machine", f" {given.engine}", " ratio"], rows))


if __name__ == "__main__":
    main()
