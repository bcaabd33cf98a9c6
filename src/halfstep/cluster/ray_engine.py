"""Ray: actors hold the blocks, and exchange factors through the object store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate, islice, pairwise
from typing import Any, NamedTuple, NoReturn

import numpy as np
import ray
from ray.exceptions import GetTimeoutError, ObjectLostError, RayActorError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from halfstep.cluster.block_files import read_block
from halfstep.cluster.engine import Partitions
from halfstep.cluster.file_steps import version_of
from halfstep.cluster.folder import Folder
from halfstep.cluster.step import BlockSolver, BlockTerms, Step
from halfstep.errors import ClusterError
from halfstep.solver.cpu import CPU
from halfstep.solver.layout import Factors, aligned_zeros
from halfstep.solver.session import Side
from halfstep.solver.threads import OneBlasThread

N_BLOCKS = 16  # independent of the number of nodes, so that results are bitwise identical for any number
START_SECONDS = 120.0  # for an actor, including the import of this package from a slow disk
REPLACEMENTS = 3  # of actors of a worker, in case the work itself kills them


@dataclass
class RayEngine:
    """The nodes of a Ray cluster to which this process is connected.

    Each node has one worker, an actor that holds consecutive blocks of both sides. The factors of its rows are one
    object for each version, in the object store of its node; this process has references only.

    Parameters
    ----------
    n_blocks : int, default=16
        The number of blocks of a side, and the maximum number of workers. It affects the rounding of results.
    workers : int, optional
        One for each node by default. Workers of the same node share its CPUs.
    threads : int, default=1
        CPUs of a call of `map`.
    """

    n_blocks: int = N_BLOCKS
    workers: int | None = None
    threads: int = 1

    def map(self, function: Callable[[Any], Any], arguments: Sequence[Any]) -> list[Any]:
        task = ray.remote(_call).options(num_cpus=self.threads, scheduling_strategy="SPREAD")
        found: list[Any] = [None] * len(arguments)
        waiting = iter(enumerate(arguments))
        running: dict[Any, int] = {}
        try:
            while True:
                room = max(0, self._at_once() - len(running))
                running |= {task.remote(function, argument): number for number, argument in islice(waiting, room)}
                if not running:
                    return found
                for result in ray.wait(list(running))[0]:
                    found[running.pop(result)] = _get(result)
        finally:
            # Errors and Ctrl-C wait for tasks that have started: if a task ends while it is being canceled by
            # ray.cancel, Ray ends this process ("Tried to complete task that was not pending").
            if running:
                ray.wait(list(running), num_returns=len(running))

    def _at_once(self) -> int:
        """Return the maximum number of tasks to submit: twice those that can run, so that autoscaling adds nodes."""
        return max(1, 2 * int(ray.cluster_resources().get("CPU", 0)) // self.threads)

    @contextmanager
    def steps(self, folder: Folder, partitions: Partitions) -> Iterator[RaySteps]:
        steps = RaySteps(places(self.workers)[: self.n_blocks], folder, partitions)
        try:
            steps.start()
            yield steps
        finally:
            steps.close()


class Place(NamedTuple):
    """CPUs of a node.

    Attributes
    ----------
    node : str
        Its id.
    cpus : float
        Less than 1 if there are more workers than CPUs.
    """

    node: str
    cpus: float

    @property
    def threads(self) -> int:
        """The number of threads of a worker there."""
        return max(1, int(self.cpus))


def places(workers: int | None) -> list[Place]:
    """Divide the CPUs of all nodes between workers: one for each node, or a number of them."""
    cpus = {node["NodeID"]: int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]}
    nodes = sorted(node for node, number in cpus.items() if number > 0)
    if not nodes:
        raise ClusterError("no node of the Ray cluster has CPUs: add nodes, or pass num_cpus to ray.init()")
    chosen = sorted(nodes[number % len(nodes)] for number in range(workers or len(nodes)))
    return [Place(node, cpus[node] // chosen.count(node) or cpus[node] / chosen.count(node)) for node in chosen]


class RaySteps:
    """Actors that hold the blocks of a fit; see `halfstep.cluster.engine.Steps`.

    An actor that dies is replaced by one that reads the same files, and computes the same step again. If a node is
    lost, Ray finds copies of its objects on other nodes, which have all factors that a step has read. If a node is
    lost between two steps, there may be no copies of the latest factors, and the fit fails: copying all factors in
    advance would double the time to exchange them.

    Parameters
    ----------
    places : sequence of Place
        The CPUs of the workers.
    """

    is_durable = False

    def __init__(self, places: Sequence[Place], folder: Folder, partitions: Partitions) -> None:
        self._places, self._folder, self._partitions = list(places), folder, partitions
        shares = [0.0, *accumulate(place.cpus for place in places)]
        self._blocks = [
            [range(*bounds) for bounds in pairwise(round(share / shares[-1] * len(partition)) for share in shares)]
            for partition in partitions
        ]
        self._actors: list[Any] = []
        self._factors: dict[tuple[Side, int], list[Any]] = {}
        self._replacements = [REPLACEMENTS] * len(places)

    def start(self) -> None:
        """Start the actors.

        Raises
        ------
        ClusterError
            If one cannot start, since other tasks use its CPUs.
        """
        self._actors = [self._actor(worker, self._places[worker].cpus) for worker in range(len(self._places))]
        try:
            ray.get([actor.is_ready.remote() for actor in self._actors], timeout=START_SECONDS)
        except GetTimeoutError:
            cpus = ", ".join(f"{place.cpus:g}" for place in self._places)
            raise ClusterError(
                f"the nodes of the Ray cluster did not have enough free CPUs ({cpus}) within {START_SECONDS:.0f} s: "
                "wait until other tasks and actors have ended, and do not call this in a Ray task"
            ) from None

    def close(self) -> None:
        """Stop the actors, and free the factors."""
        self._factors.clear()
        for actor in self._actors:
            ray.kill(actor)
        self._actors.clear()

    def put(self, side: Side, version: int, blocks: Iterable[Factors]) -> None:
        every = iter(blocks)
        self._factors[side, version] = [
            ray.put(np.concatenate(list(islice(every, len(numbers))))) if len(numbers) else None
            for numbers in self._blocks[side]
        ]

    def run(self, step: Step) -> list[BlockTerms]:
        shared = ray.put(step)  # with a Gramian, which has megabytes at a high rank
        others = Side(1 - step.side)

        def submit(worker: int) -> tuple[Any, Any]:
            own = [self._factors[step.side, version][worker] for version in step.own_versions]
            versions = () if step.fixed is None else step.fixed.versions
            fixed = [rows for version in versions for rows in self._factors[others, version] if rows is not None]
            terms, rows = self._actors[worker].run.options(num_returns=2).remote(shared, *own, *fixed)
            return terms, rows

        results = self._called(step.side, submit)
        if step.out is not None:
            self._factors[step.side, step.out] = [None if result is None else result[1] for result in results]
        return [terms for result in results if result is not None for terms in _get(result[0])]

    def blocks(self, side: Side, version: int) -> Iterator[Factors]:
        partition = self._partitions[side]
        for numbers, reference in zip(self._blocks[side], self._factors[side, version], strict=True):
            if reference is not None:
                rows = _get(reference)
                before = partition.range(numbers[0])[0]
                for number in numbers:
                    first, last = partition.range(number)
                    yield rows[first - before : last - before]

    def save(self, side: Side, version: int) -> None:
        rows = self._factors[side, version]
        self._called(side, lambda worker: (self._actors[worker].save.remote(side, version, rows[worker]),))

    def drop(self, side: Side, version: int) -> None:
        self._factors.pop((side, version), None)

    def _called(self, side: Side, submit: Callable[[int], tuple[Any, ...]]) -> list[tuple[Any, ...] | None]:
        """Call all workers, and again if they die; return references to their results, and None without blocks."""
        results = [submit(worker) if len(numbers) else None for worker, numbers in enumerate(self._blocks[side])]
        for worker, result in enumerate(results):
            while result is not None:
                try:
                    _get(result[0])
                    break
                except RayActorError as error:
                    self._replace(worker, error)
                    results[worker] = result = submit(worker)
        return results

    def _actor(self, worker: int, cpus: float) -> Any:
        place = self._places[worker]
        numbers = self._blocks[0][worker], self._blocks[1][worker]
        near = NodeAffinitySchedulingStrategy(place.node, soft=cpus == 0)
        actor = ray.remote(Worker).options(num_cpus=cpus, scheduling_strategy=near)
        return actor.remote(self._folder, self._partitions, numbers, place.threads)

    def _replace(self, worker: int, error: RayActorError) -> None:
        """Start another actor; without CPUs of its own, since its node may be lost and others have none to spare."""
        self._replacements[worker] -= 1
        if self._replacements[worker] < 0:
            raise ClusterError(
                f"a worker failed {REPLACEMENTS + 1} times, perhaps because its node has too little memory "
                f"({error}): use nodes with more memory, or a lower rank"
            ) from error
        ray.kill(self._actors[worker])
        self._actors[worker] = self._actor(worker, cpus=0)


class Worker:
    """The state and the computations of an actor.

    Parameters
    ----------
    numbers : pair of range
        Its blocks of each side.
    """

    def __init__(self, folder: Folder, partitions: Partitions, numbers: tuple[range, range], threads: int) -> None:
        self._folder, self._partitions, self._numbers = folder, partitions, numbers
        self._threads = threads
        self._solvers: dict[Side, list[BlockSolver]] = {}
        OneBlasThread.enter()  # for the life of this process; looking for libraries takes milliseconds

    def is_ready(self) -> bool:
        """Return once the actor has started."""
        return True

    def run(self, step: Step, *arrays: Factors) -> tuple[list[BlockTerms], Factors | None]:
        """Compute a step for all blocks of a side.

        Parameters
        ----------
        *arrays : ndarray
            The rows of these blocks for each of `Step.own_versions`; then, for each version of the fixed factors,
            those of all workers in order.
        """
        side, partition = step.side, self._partitions[step.side]
        if side not in self._solvers:
            self._solvers[side] = [read_block(self._folder, side, number) for number in self._numbers[side]]
        own = dict(zip(step.own_versions, arrays, strict=False))
        before, _ = partition.range(self._numbers[side][0])
        start = arrays[0]
        X = aligned_zeros(start.shape, start.dtype)
        terms = []
        fixed = _assembled(step, arrays[len(own) :], self._partitions[1 - side].n_rows)
        with CPU(self._threads) as cpu, cpu.same_fixed_factors():
            for number, solver in zip(self._numbers[side], self._solvers[side], strict=True):
                first, last = (row - before for row in partition.range(number))
                of_block = {version: rows[first:last] for version, rows in own.items()}
                terms.append(solver.run(cpu, step, fixed, of_block, X[first:last])[1])
        return terms, None if step.out is None else X

    def save(self, side: Side, version: int, rows: Factors) -> None:
        """Write a version of the rows of a side to files."""
        partition, numbers = self._partitions[side], self._numbers[side]
        before, _ = partition.range(numbers[0])
        for number in numbers:
            first, last = partition.range(number)
            factors = rows[first - before : last - before]
            self._folder.write_array(version_of(side, version, number), factors, sync=True)


def _assembled(step: Step, arrays: Sequence[Factors], n_rows: int) -> Factors | None:
    """Return all fixed factors, given those of each worker for each version."""
    if step.fixed is None:
        return None
    versions = step.fixed.versions
    workers = len(arrays) // len(versions)
    fixed, row = aligned_zeros((n_rows, arrays[0].shape[1]), arrays[0].dtype), 0
    for worker in range(workers):
        rows = step.fixed.of(dict(zip(versions, arrays[worker::workers], strict=True)))
        fixed[row : row + len(rows)] = rows
        row += len(rows)
    return fixed


def _call(function: Callable[[Any], Any], argument: Any) -> Any:
    return function(argument)


def _get(references: Any) -> Any:
    """Return results; raise errors of functions as they were raised on the worker."""
    try:
        return ray.get(references)
    except RayTaskError as error:
        _raise(error.cause)
    except ObjectLostError as error:
        _raise(error)


def _raise(cause: BaseException) -> NoReturn:
    if isinstance(cause, ObjectLostError):
        raise ClusterError(
            "factors were lost with a node of the Ray cluster, and no other node has a copy: fit again"
        ) from cause
    raise cause
