"""Sessions on a cluster for problems that are in memory, unlike those of fits."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import numpy as np

from halfstep.cluster.block_files import Partition, write_side
from halfstep.cluster.engine import Engine
from halfstep.cluster.folder import Folder
from halfstep.cluster.session import ClusterSession
from halfstep.objective.problem import HalfProblem
from halfstep.solver.layout import Factors
from halfstep.solver.session import Side


@dataclass(frozen=True)
class ClusterBackend:
    """The machines of a cluster, for problems that are in memory.

    Parameters
    ----------
    folder : str
        A path or URL that all machines share; each session uses a new folder in it.
    """

    engine: Engine
    folder: str

    def open(self, users: HalfProblem, items: HalfProblem, start: tuple[Factors, Factors]) -> ClusterSession:
        folder = Folder(f"{self.folder.rstrip('/')}/{uuid.uuid4().hex}")
        problems = users, items
        partitions = tuple(Partition.of_counts(np.diff(each.indptr), self.engine.n_blocks) for each in problems)
        for side in Side:
            others = problems[1 - side].column_missing, partitions[side], partitions[1 - side].n_rows
            write_side(folder, side, problems[side], *others)
        both = partitions[0], partitions[1]
        steps = self.engine.steps(folder, both)
        session = ClusterSession(steps, folder, both, users.unknowns, start[0].dtype)
        return session.starting_from(start)
