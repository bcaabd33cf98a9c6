"""Sessions and fits on a Ray cluster of two nodes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import halfstep as hs
from cluster_backend import ClusterBackend
from halfstep.cluster.block_files import Partition
from halfstep.cluster.engine import Engine
from halfstep.cluster.folder import Folder
from halfstep.errors import ClusterError, DataError
from halfstep.solver.session import Side
from serial_engine import SerialEngine
from session_contract import SessionContract, problems_of, small_table, start_of
from settings import SETTINGS, Setting, Table
from thorough import THOROUGH

ray = pytest.importorskip("ray", reason="Ray is not installed")
from halfstep.cluster import ray_engine  # noqa: E402
from halfstep.cluster.ray_engine import RayEngine  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]
BLOCKS = 3
FEW = [each for each in SETTINGS if each.name in ("ials", "biased-weighted")]  # others differ only within blocks


@pytest.fixture(scope="module")
def table() -> Table:
    return small_table()


class TestSessions(SessionContract):
    @pytest.fixture(params=FEW if THOROUGH else FEW[-1:], ids=str)
    def setting(self, request: pytest.FixtureRequest) -> Setting:
        return request.param

    @pytest.fixture
    def backend(self, cluster: Any, tmp_path: Path) -> ClusterBackend:
        return ClusterBackend(RayEngine(BLOCKS), str(tmp_path))


def half_steps(engine: Engine, folder: Path, table: Table, setting: Setting = FEW[0]) -> list[np.ndarray]:
    """Return the factors and terms after some iterations."""
    problems = problems_of(setting, table)
    found: list[Any] = []
    with ClusterBackend(engine, str(folder)).open(*problems, start_of(problems, "float32")) as session:
        for _ in range(4):
            for side in Side:
                session.half_step(side, hs.solvers.ConjugateGradient(extrapolation=0.5))
            found.append(np.array(session.terms()))
            session.accept()
            session.extrapolate(Side.ITEMS, 0.5)
        return found + [F.copy() for F in session.factors()]


def assert_same_bits(one: list[np.ndarray], other: list[np.ndarray]) -> None:
    for ours, theirs in zip(one, other, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("workers", [1, 3] if THOROUGH else [3])
def test_bits_do_not_depend_on_workers(workers: int, cluster: Any, table: Table, tmp_path: Path) -> None:
    expected = half_steps(SerialEngine(BLOCKS), tmp_path, table)
    assert_same_bits(half_steps(RayEngine(BLOCKS, workers), tmp_path, table), expected)


def killing_after(calls: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Kill an actor during a later call; return a list of all calls."""
    seen: list[int] = []
    plain = ray_engine.RaySteps._called

    def called(self: ray_engine.RaySteps, side: Side, submit: Callable[[int], Any]) -> Any:
        def dying(worker: int) -> Any:
            result = submit(worker)
            seen.append(worker)
            if len(seen) == calls:
                ray.kill(self._actors[worker])
            return result

        return plain(self, side, dying)

    monkeypatch.setattr(ray_engine.RaySteps, "_called", called)
    return seen


def test_an_actor_that_dies_is_replaced(
    cluster: Any, table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = half_steps(SerialEngine(BLOCKS), tmp_path, table)
    calls = killing_after(10, monkeypatch)
    assert_same_bits(half_steps(RayEngine(BLOCKS), tmp_path, table), expected)
    assert len(calls) % 2 == 1  # one of two was repeated


def test_a_worker_that_always_dies_is_an_error(
    cluster: Any, table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_engine, "REPLACEMENTS", 0)
    killing_after(4, monkeypatch)
    with pytest.raises(ClusterError, match="a worker failed 1 times"):
        half_steps(RayEngine(BLOCKS), tmp_path, table)


def test_actors_end_with_the_session(cluster: Any, table: Table, tmp_path: Path) -> None:
    problems = problems_of(FEW[0], table)
    session = ClusterBackend(RayEngine(BLOCKS), str(tmp_path)).open(*problems, start_of(problems))
    with pytest.raises(KeyboardInterrupt), session:  # noqa: PT012
        actors = session._steps._actors.copy()
        raise KeyboardInterrupt
    for actor in actors:
        with pytest.raises(ray.exceptions.RayActorError):
            ray.get(actor.is_ready.remote())


def test_map_keeps_the_order_and_raises_errors_of_functions(cluster: Any, tmp_path: Path) -> None:
    assert RayEngine().map(str, range(5)) == ["0", "1", "2", "3", "4"]
    with pytest.raises(DataError, match="missing in the working folder"):
        RayEngine().map(Folder(str(tmp_path)).read, ["missing"])


def test_errors_of_map_wait_for_tasks_that_have_started(cluster: Any, tmp_path: Path) -> None:
    def fail_or_write(path: Path | None) -> None:  # workers cannot import this module
        if path is None:
            raise DataError("no path")
        time.sleep(0.1)
        path.touch()

    for number in range(20):  # Ray ends this process now and then if tasks are canceled
        path = tmp_path / str(number)
        with pytest.raises(DataError, match="no path"):
            RayEngine().map(fail_or_write, [None, path, None])
        assert path.exists()


def test_nodes_without_free_cpus_are_an_error(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Partition(np.array([0, 1]))
    engine, folder, places = RayEngine(1), Folder(str(tmp_path)), ray_engine.places(1)
    monkeypatch.setattr(ray_engine, "places", lambda _: places)  # the same node, also if others come and go
    with engine.steps(folder, (one, one)):
        monkeypatch.setattr(ray_engine, "START_SECONDS", 1.0)
        with (
            pytest.raises(ClusterError, match=r"did not have enough free CPUs \(1\) within 1 s"),
            engine.steps(folder, (one, one)),
        ):
            pass


def test_copies_replace_factors_of_a_lost_node(cluster: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = Table(rng.random((3000, 500)) < 0.01, np.ones((3000, 500)))  # large factors of users are not in messages
    setting = Setting("implicit", hs.Implicit(missing_weight=0.1), FEW[0].arrays, 0.0)
    problems = setting.half_problems(table, rank=32, reg=0.1, rho=1.0, dtype="float32")
    found = []
    for engine in (SerialEngine(BLOCKS), RayEngine(BLOCKS)):
        node = cluster.add_node(num_cpus=1) if isinstance(engine, RayEngine) else None
        start = start_of(problems, "float32")
        with ClusterBackend(engine, str(tmp_path)).open(*problems, start) as session:
            for number in range(3):
                for side in Side:
                    session.half_step(side, hs.solvers.ConjugateGradient())
                session.accept()
                if node is not None and number == 1:
                    assert len(session._steps._actors) == 3
                    cluster.remove_node(node, allow_graceful=True)
            found.append([F.copy() for F in session.factors()])
    assert_same_bits(*found)


def test_lost_factors_are_an_error(cluster: Any) -> None:
    def raise_lost(number: int) -> None:
        raise ray.exceptions.ObjectLostError(f"{number:056}", None, "")

    with pytest.raises(ClusterError, match="factors were lost with a node"):
        RayEngine().map(raise_lost, [0])
