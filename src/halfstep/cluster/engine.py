"""The interface between fits and the engine of a cluster, such as Spark or Ray."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from halfstep.cluster.block_files import Partition
from halfstep.cluster.folder import Folder
from halfstep.cluster.step import BlockTerms, Step
from halfstep.solver.layout import Factors
from halfstep.solver.session import Side

Partitions = tuple[Partition, Partition]


class Steps(Protocol):
    """Workers that hold the blocks and the factors of a fit.

    Attributes
    ----------
    is_durable : bool
        Whether all versions are in files of the working folder, and thus outlive the workers.
    """

    is_durable: bool

    def put(self, side: Side, version: int, blocks: Iterable[Factors]) -> None:
        """Keep a version of the factors of a side, given for each block in order."""
        ...

    def run(self, step: Step) -> list[BlockTerms]:
        """Run a step for all blocks of a side; return their terms in the order of blocks.

        If a block fails, its terms contain the failure, and the version that the step should have kept is undefined.
        """
        ...

    def blocks(self, side: Side, version: int) -> Iterable[Factors]:
        """Return a version of the factors of a side on this machine, block by block in order."""
        ...

    def save(self, side: Side, version: int) -> None:
        """Write a version to the files of `halfstep.cluster.file_steps.version_of`, which outlive the workers."""
        ...

    def drop(self, side: Side, version: int) -> None:
        """Discard a version."""
        ...


class Engine(Protocol):
    """The interface for running functions on the machines of a cluster.

    Attributes
    ----------
    n_blocks : int
        The number of blocks of a side; a multiple of the number of workers.
    threads : int
        The number of threads that a call of a function may use.
    """

    n_blocks: int
    threads: int

    def map(self, function: Callable[[Any], Any], arguments: Sequence[Any]) -> list[Any]:
        """Call a function for each argument, on any worker; return the results in order.

        The function must be importable by workers, and may be called again with the same argument if a worker fails.
        """
        ...

    def steps(self, folder: Folder, partitions: Partitions) -> AbstractContextManager[Steps]:
        """Return the workers for a fit, whose files of blocks are in the folder."""
        ...
