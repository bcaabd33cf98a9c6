"""Calls and half-steps on Spark: in one process, on two executors, and through Spark Connect."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest

from cluster_backend import ClusterBackend
from halfstep.cluster.folder import Folder
from halfstep.errors import DataError
from halfstep.solver.session import Side
from halfstep.solvers import ConjugateGradient, Solver
from halfstep.spark.engine import SparkEngine
from session_contract import EXACT, SessionContract, problems_of, small_table, start_of, unpadded
from settings import SETTINGS, Setting
from spark_session import KINDS, spark_session
from thorough import THOROUGH

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:::pyspark")]


@pytest.fixture(scope="module", params=KINDS)
def engine(request: pytest.FixtureRequest) -> SparkEngine:
    return SparkEngine(spark_session(request.param))


class TestMap:
    def test_blocks_are_as_many_as_tasks_at_a_time(self, engine: SparkEngine) -> None:
        assert engine.n_blocks == 2

    def test_results_are_in_the_order_of_arguments(self, engine: SparkEngine) -> None:
        assert engine.map(str, range(11)) == [str(number) for number in range(11)]

    def test_nothing_to_call(self, engine: SparkEngine) -> None:
        assert engine.map(str, []) == []

    def test_errors_of_halfstep_keep_type_and_message(self, engine: SparkEngine, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="missing in the working folder"):
            engine.map(Folder(str(tmp_path)).read, ["missing"])

    def test_other_errors_are_those_of_spark(self, engine: SparkEngine) -> None:
        with pytest.raises(Exception, match="invalid literal for int"):
            engine.map(int, ["1", "x"])


@pytest.mark.parametrize("engine", KINDS if THOROUGH else ["executors"], indirect=True, scope="module")
class TestSessions(SessionContract):
    """Kinds of sessions differ in the calls only, which are tested above."""

    @pytest.fixture(params=[each for each in SETTINGS if each.name in ("ials", "biased-weighted")], ids=str)
    def setting(self, request: pytest.FixtureRequest) -> Setting:
        return request.param

    @pytest.fixture
    def approximate(self) -> Solver:
        return ConjugateGradient()

    @pytest.fixture
    def backend(self, engine: SparkEngine, tmp_path: Path) -> ClusterBackend:
        return ClusterBackend(engine, str(tmp_path))


@pytest.mark.parametrize("engine", ["executors"], indirect=True, scope="module")
def test_steps_are_the_same_after_an_executor_was_killed(engine: SparkEngine, tmp_path: Path) -> None:
    problems = problems_of(SETTINGS[0], small_table())
    found = []
    for kills in (False, True):
        with ClusterBackend(engine, str(tmp_path)).open(*problems, start_of(problems)) as session:
            for number in range(3):
                if kills and number == 1:
                    killer = threading.Timer(0.05, os.kill, [executor(engine), signal.SIGKILL])
                    killer.start()
                for side in Side:
                    session.half_step(side, EXACT)
                session.accept()
            found.append(unpadded(session, problems))
    killer.join()
    for before, after in zip(*found, strict=True):
        np.testing.assert_array_equal(before, after)


def executor(engine: SparkEngine) -> int:
    """Return the process of an executor, which is the parent of the parent of its workers."""
    parent = "ps -o ppid= -p"
    [number] = engine.map(subprocess.check_output, [["sh", "-c", f"{parent} $({parent} $PPID)"]])
    return int(number)
