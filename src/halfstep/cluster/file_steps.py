"""Workers that exchange factors through files in the working folder, for engines that only call functions."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from halfstep.cluster.block_files import read_block
from halfstep.cluster.engine import Partitions
from halfstep.cluster.folder import Folder, locked
from halfstep.cluster.step import BlockSolver, BlockTerms, FactorsAt, Step
from halfstep.solver.cpu import CPU
from halfstep.solver.layout import Factors
from halfstep.solver.session import Side

Map = Callable[[Callable[[Any], Any], Sequence[Any]], list[Any]]
BLOCKS_AT_HAND = 8  # of each process: preparing a block again takes about a tenth of a half-step


def version_of(side: Side, version: int, number: int) -> str:
    """Return the name of the file of a block's factors."""
    return f"factors/{version:04d}/{side.name.lower()}-{number:05d}"


class FileSteps:
    """Workers that are functions of an engine; see `halfstep.cluster.engine.Steps`.

    Parameters
    ----------
    map : callable
        `Engine.map`.
    threads : int
        The number of threads of a call.

    Attributes
    ----------
    fit : str
        Names the fit, in caches of workers.
    """

    is_durable = True

    def __init__(self, map: Map, folder: Folder, partitions: Partitions, threads: int) -> None:  # noqa: A002
        self._map, self._folder, self._threads = map, folder, threads
        self._partitions = partitions
        self.fit = uuid.uuid4().hex

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Let the workers that can be reached discard the fit."""
        tasks = [_Fit(self._folder, self.fit)] * max(len(each) for each in self._partitions)
        with suppress(Exception):
            self._map(forget, tasks)

    def put(self, side: Side, version: int, blocks: Iterable[Factors]) -> None:
        for number, block in enumerate(blocks):
            self._folder.write_array(version_of(side, version, number), block)

    def run(self, step: Step) -> list[BlockTerms]:
        counts = len(self._partitions[step.side]), len(self._partitions[1 - step.side])
        tasks = [Task(self._folder, self.fit, step, number, counts[1], self._threads) for number in range(counts[0])]
        return self._map(run_task, tasks)

    def blocks(self, side: Side, version: int) -> Iterator[Factors]:
        for number in range(len(self._partitions[side])):
            yield self._folder.read_array(version_of(side, version, number))

    def save(self, side: Side, version: int) -> None:
        """Wait until the files of a version are on disk."""
        names = [version_of(side, version, number) for number in range(len(self._partitions[side]))]
        self._map(self._folder.sync, names)

    def drop(self, side: Side, version: int) -> None:
        for number in range(len(self._partitions[side])):
            self._folder.remove(version_of(side, version, number))


class Task(NamedTuple):
    """A step for one block.

    Attributes
    ----------
    folder : Folder
    fit : str
        Names the fit.
    step : Step
    number : int
        The block.
    others : int
        The number of blocks of the other side.
    threads : int
    """

    folder: Folder
    fit: str
    step: Step
    number: int
    others: int
    threads: int


class _Fit(NamedTuple):
    folder: Folder
    fit: str


def forget(task: _Fit) -> None:
    """Discard what a worker keeps of a fit."""
    block_at.cache_clear()
    _fixed.cache_clear()
    scratch = task.folder.scratch()
    for path in scratch.glob(f"fixed-{task.fit}-*"):
        path.unlink(missing_ok=True)
    if task.folder.is_remote:
        shutil.rmtree(scratch, ignore_errors=True)
    with suppress(OSError):  # removed by another process
        scratch.rmdir()


def run_task(task: Task) -> BlockTerms:
    """Compute a step for a block on a worker, and write the new rows."""
    folder, step = task.folder, task.step
    solver = block_at(folder, task.fit, step.side, task.number)
    own = {version: factors_at(folder, step.side, version, task.number) for version in step.own_versions}
    fixed = None
    if step.fixed is not None:
        fixed = _fixed(_Fixed(folder, task.fit, Side(1 - step.side), step.fixed, task.others))
    with CPU(task.threads) as cpu:
        X, terms = solver.run(cpu, step, fixed, own)
    if step.out is not None and terms.failure is None:
        folder.write_array(version_of(step.side, step.out, task.number), X)
    return terms


@lru_cache(BLOCKS_AT_HAND)
def block_at(folder: Folder, fit: str, side: Side, number: int) -> BlockSolver:
    """Return a block, which this process keeps for a while."""
    return read_block(folder, side, number)


def factors_at(folder: Folder, side: Side, version: int, number: int) -> Factors:
    """Map a version of the factors of a block."""
    return folder.read_array(version_of(side, version, number))


@dataclass(frozen=True)
class _Fixed:
    """The factors of the other side."""

    folder: Folder
    fit: str
    side: Side
    at: FactorsAt
    n_blocks: int


@lru_cache(1)  # a process that solves several blocks needs the same factors
def _fixed(given: _Fixed) -> Factors:
    """Return all factors of a side, which all processes of this machine map from one file."""
    scratch = given.folder.scratch()
    stem = f"fixed-{given.fit}-{given.side.name.lower()}"
    path = scratch / f"{stem}-{'-'.join(map(str, given.at.versions))}-{given.at.beta}.npy"
    with locked(scratch / f"{stem}.lock"):
        if not path.exists():
            for old in scratch.glob(f"{stem}-*"):  # existing mappings keep its content
                old.unlink(missing_ok=True)
            _assemble(given, path)
        mapped: Factors = np.asarray(np.load(path, mmap_mode="c", allow_pickle=False))
    return mapped


def _assemble(given: _Fixed, path: Path) -> None:
    """Write all factors of a side to a file, without waiting for the disk, since it is not needed after a crash."""
    blocks = [
        {version: factors_at(given.folder, given.side, version, number) for version in given.at.versions}
        for number in range(given.n_blocks)
    ]
    first = next(iter(blocks[0].values()))
    rows = sum(len(block[given.at.versions[0]]) for block in blocks)
    header = {"descr": first.dtype.str, "fortran_order": False, "shape": (rows, first.shape[1])}
    temporary = path.with_suffix(".part")
    with temporary.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for block in blocks:
            file.write(np.ascontiguousarray(given.at.of(block)).data)
    temporary.replace(path)
