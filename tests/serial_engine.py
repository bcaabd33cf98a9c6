"""An engine that calls functions in this process, one after the other."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from typing import Any

from halfstep.cluster.engine import Partitions
from halfstep.cluster.file_steps import FileSteps
from halfstep.cluster.folder import Folder


class SerialEngine:
    def __init__(self, n_blocks: int) -> None:
        self.n_blocks, self.threads = n_blocks, 1

    def map(self, function: Callable[[Any], Any], arguments: Sequence[Any]) -> list[Any]:
        function, arguments = pickle.loads(pickle.dumps((function, arguments)))  # as sent to workers
        return pickle.loads(pickle.dumps([function(each) for each in arguments]))

    def steps(self, folder: Folder, partitions: Partitions) -> FileSteps:
        return FileSteps(self.map, folder, partitions, self.threads)
