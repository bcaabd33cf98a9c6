"""Engines of clusters against one machine and Spark's MLlib, on the same interactions and cores in one run.

    python -m benchmarks.cluster alone ray spark
    LD_LIBRARY_PATH=FOLDER python -m benchmarks.cluster alone ray spark mllib

Implicit interactions with string ids are generated as a parquet file, which ``--parquet`` keeps. In each round, every
engine runs in a process of its own, in turn. Measured are, in seconds:

- reading the table: to blocks of both sides with positions as ids; for MLlib, to integer ids only (StringIndexer);
- an iteration, without the first, which may load kernels; and the processor time of all processes in an iteration;
- a whole fit from the file;
- the top-10 items of all users, written to parquet by one machine and Ray, and to nowhere on Spark.

For MLlib, FOLDER has ``libblas.so.3`` and ``liblapack.so.3``, links to ``libmkl_rt.so`` of the package mkl. Its
iterations are intervals between jobs in Spark's event log, because the difference of two fits is mostly noise. The
processor time is that of the whole machine, on which no other program should run.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from bisect import bisect_left
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import halfstep as hs
from benchmarks import mllib
from benchmarks.marks import table
from halfstep.cluster.build import TABLE, Table
from halfstep.cluster.fit import fit
from halfstep.cluster.folder import Folder

N_USERS, N_ITEMS = 138_000, 27_000  # of 10 million interactions, as in MovieLens 20M
REGULARIZATION = 0.05  # given, since it would take several fits to find
SAMPLING_SECONDS = 0.05
MEASURED = {
    "read": "reading the table",
    "iteration": "an iteration",
    "processor": "processor time of an iteration",
    "fit": "a fit from parquet",
    "top": "the top-10 items of all users",
}
Seconds = dict[str, float]


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


class ProcessorTime:
    """The processor time of this machine, sampled in a thread."""

    def __init__(self) -> None:
        self._times: list[float] = []
        self._used: list[float] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        while True:
            user, nice, system, _, _, irq, soft = map(int, Path("/proc/stat").read_text().split()[1:8])
            self._times.append(time.time())
            self._used.append((user + nice + system + irq + soft) / os.sysconf("SC_CLK_TCK"))
            if self._done.wait(SAMPLING_SECONDS):
                return

    def between(self, begin: float, end: float) -> float:
        """Return the seconds of all cores between two values of `time.time`."""
        first, last = (min(bisect_left(self._times, each), len(self._times) - 1) for each in (begin, end))
        return self._used[last] - self._used[first]


def seconds_of(function: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    """Return the seconds that a call takes, and its result."""
    began = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - began, result


def of_fit(fit: Callable[[], list[Any]]) -> Seconds:
    """Return the seconds of an iteration, given a fit that returns its history, and its processor time."""
    clock, began = ProcessorTime(), time.time()
    history = fit()
    used = clock.between(began, time.time()) / len(history)  # including what comes before and after the iterations
    return {"iteration": (history[-1].seconds - history[0].seconds) / (len(history) - 1), "processor": used}


def alone(als: hs.ALS, parquet: Path, scratch: Path) -> Seconds:
    """Measure one machine."""
    import pyarrow.parquet as pq

    clone = als.__sklearn_clone__
    reading, data = seconds_of(lambda: hs.read_interactions(parquet, user="user", item="item"))
    clone().set_params(iterations=1).fit(data)  # loads the kernels
    fitting, model = seconds_of(lambda: clone().fit(hs.read_interactions(parquet, user="user", item="item")))
    top = seconds_of(lambda: pq.write_table(model.recommend(n=10).to_frame("pyarrow"), scratch / "top.parquet"))[0]
    return {"read": reading, "fit": fitting, "top": top} | of_fit(lambda: clone().fit(data).history_)


def of_engine(
    als: hs.ALS,
    folder: Path,
    fit: Callable[[hs.ALS], Any],
    fit_again: Callable[[hs.ALS, Any], Any],
    recommend: Callable[[Any], object],
) -> Seconds:
    """Measure an engine of this package, given what fits a model in a folder, fits it again and writes lists."""
    clone, began = als.__sklearn_clone__, time.time()
    fitting, model = seconds_of(fit, clone())
    reading = next(folder.glob(f"{TABLE}*")).stat().st_mtime - began  # written after all blocks
    top = seconds_of(recommend, model)[0]
    return {"read": reading, "fit": fitting, "top": top} | of_fit(lambda: fit_again(clone(), model).items.history_)


def on_ray(als: hs.ALS, parquet: Path, scratch: Path) -> Seconds:
    """Measure Ray on this machine."""
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - by default, all other processes run first
    import ray

    import halfstep.ray
    from halfstep.cluster.ray_engine import RayEngine

    folder, blocks = scratch / "model", 2 * (als.threads or 1)
    ray.init(num_cpus=als.threads, include_dashboard=False, log_to_driver=False, logging_level="error")
    try:
        return of_engine(
            als,
            folder,
            lambda als: halfstep.ray.fit(als, parquet, folder=folder, n_blocks=blocks),
            lambda als, model: fit(als, RayEngine(blocks), model.folder, Table.read(model.folder)),
            lambda model: halfstep.ray.recommend(model, scratch / "top"),
        )
    finally:
        ray.shutdown()


def on_spark(als: hs.ALS, parquet: Path, scratch: Path) -> Seconds:
    """Measure Spark on this machine."""
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    import halfstep.spark
    from halfstep.spark import SparkEngine

    folder, cores = scratch / "model", als.threads or 1
    spark = mllib.session(cores)
    try:
        return of_engine(
            als,
            folder,
            lambda als: halfstep.spark.fit(als, spark.read.parquet(str(parquet)), folder=str(folder), n_blocks=cores),
            lambda als, _: fit(als, SparkEngine(spark, cores), Folder(str(folder)), Table.read(Folder(str(folder)))),
            lambda model: model.recommend(10).write.format("noop").mode("overwrite").save(),
        )
    finally:
        spark.stop()


def on_mllib(als: hs.ALS, parquet: Path, scratch: Path) -> Seconds:
    """Measure MLlib on this machine."""
    clock = ProcessorTime()
    found = mllib.measure(parquet, scratch, als.threads or 1, als._rank, als.iterations)
    starts = found.iterations
    used = clock.between(starts[0], starts[-1]) / (len(starts) - 1)
    iteration = statistics.median(later - earlier for earlier, later in pairwise(starts))
    return {"read": found.read, "fit": found.fit, "top": found.top, "iteration": iteration, "processor": used}


ENGINES = {"alone": alone, "ray": on_ray, "spark": on_spark, "mllib": on_mllib}


def measured(name: str, given: argparse.Namespace, parquet: Path) -> Seconds:
    """Measure an engine in another process."""
    command = [sys.executable, "-m", "benchmarks.cluster", name, "--measure", "--parquet", str(parquet)]
    command += [f"--{option}={getattr(given, option)}" for option in ("rank", "iterations", "cores")]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return dict(json.loads(output.splitlines()[-1]))


def report(rounds: list[dict[str, Seconds]]) -> str:
    """Return a table of the medians over all rounds, and of MLlib's in units of the others."""
    names = list(rounds[0])
    medians = {
        name: {what: statistics.median(each[name][what] for each in rounds) for what in MEASURED} for name in names
    }
    rows = [[words, *(f"{medians[name][what]:.3g}" for name in names)] for what, words in MEASURED.items()]
    if "mllib" in names:
        for what, words in MEASURED.items():
            ratios = [f"{medians['mllib'][what] / medians[name][what]:.3g}" for name in names]
            rows.append([f"MLlib's to this: {words}", *ratios])
    return table(["seconds", *(f" {name}" for name in names)], rows)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engines", nargs="+", choices=ENGINES)
    parser.add_argument("--interactions", type=int, default=10_000_000)
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--parquet", type=Path, help="generated if it does not exist, and kept")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="halfstep-") as temporary:
        if given.measure:
            als = hs.ALS(
                hs.Implicit(),
                rank=given.rank,
                iterations=given.iterations,
                regularization=REGULARIZATION,
                threads=given.cores,
                random_state=0,
                progress=False,
            )
            print(json.dumps(ENGINES[given.engines[0]](als, given.parquet, Path(temporary))))
            return
        parquet = given.parquet or Path(temporary) / "interactions.parquet"
        if not parquet.exists():
            generate(parquet, given.interactions)
        rounds = []
        for number in range(given.rounds):
            rounds.append({name: measured(name, given, parquet) for name in given.engines})
            print(f"round {number + 1} of {given.rounds}", file=sys.stderr)
    print(report(rounds))


if __name__ == "__main__":
    main()
