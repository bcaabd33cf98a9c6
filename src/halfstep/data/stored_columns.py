"""The columns of interactions on disk in the order of compressed rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from halfstep._support.disk_arrays import Scratch, writable_folder

Pair = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class StoredColumns:
    """What interactions on disk have in addition to those in memory.

    Attributes
    ----------
    folder : Path
    identifier : str
        A digest of the content.
    values : pair of ndarray of shape (n_interactions,)
        The values in the order of `Interactions.by_user` and of `Interactions.by_item`.
    weights : pair of ndarray of shape (n_interactions,), or None
    """

    folder: Path
    identifier: str
    values: Pair
    weights: Pair | None

    def scratch(self) -> Scratch:
        """Return space for temporary arrays, on the same disk if it can be written."""
        return Scratch(writable_folder(self.folder))
