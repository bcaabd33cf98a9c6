"""Models that were fitted on a cluster: all items on this machine, and users in blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from halfstep.cluster.block_files import name_of
from halfstep.cluster.build import TABLE, Table
from halfstep.cluster.cells import ids_of_block, ids_of_items
from halfstep.cluster.file_steps import version_of
from halfstep.cluster.folder import Folder
from halfstep.cluster.ids import as_vocabulary
from halfstep.data import Interactions, Vocabulary
from halfstep.errors import DataError
from halfstep.models.als import ALS
from halfstep.models.factorization import Factorization
from halfstep.models.origin import Origin
from halfstep.persistence import load
from halfstep.solver.layout import Factors
from halfstep.solver.session import Side

ITEMS_MODEL, MODEL = "items.halfstep", "model"  # files


@dataclass(frozen=True, eq=False)
class ClusterModel:
    """A model in a working folder.

    Users are in blocks, each of which is an ordinary model of some users and all items.

    Attributes
    ----------
    folder : Folder
    table : Table
    version : int
        The version of the users' factors.
    items : ALS
        A model of all items, without users: `ALS.fold_in`, `ALS.similar_items` and the fitted attributes of items.
    has_biases : bool
        Whether users have biases; files cannot store every objective.
    """

    folder: Folder
    table: Table
    version: int
    items: ALS
    has_biases: bool

    @classmethod
    def create(
        cls,
        als: ALS,
        folder: Folder,
        table: Table,
        fitted: Mapping[str, Any],
        factors: Factors,
        version: int,
        history: Sequence[tuple[Any, ...]],
    ) -> ClusterModel:
        """Write the result of a fit, with the factors of items, and the version of those of users in files."""
        model = als.__sklearn_clone__()
        items = as_vocabulary(ids_of_items(folder))
        Q, biases = _split(factors, als._rank, has_biases=als.objective.biases)
        model._set_result(
            Factorization(
                users=Vocabulary.of_distinct(np.empty(0, np.int64)),
                items=items,
                user_factors=Q[:0],
                item_factors=Q,
                user_biases=biases[:0],
                item_biases=biases,
                item_counts=table.counts(folder)[Side.ITEMS],
                data=None,
                values_are="given" if table.has_values else "one",
                origin=Origin.fitted_now(),
                history=list(history),
                **fitted,
            )
        )
        return cls.write(folder, table, version, model, has_biases=bool(als.objective.biases))

    @classmethod
    def write(cls, folder: Folder, table: Table, version: int, items: ALS, *, has_biases: bool) -> ClusterModel:
        """Write the files that do not belong to a block; see the attributes."""
        folder.write_file(ITEMS_MODEL, items.save)
        folder.write(MODEL, {}, version=version, has_biases=has_biases)
        return cls(folder, table, version, items, has_biases)

    @classmethod
    def open(cls, url: str, *, stamp: str | None = None) -> ClusterModel:
        """Open the model in a working folder.

        Parameters
        ----------
        stamp : str, optional
            ``Folder.stamp``.
        """
        folder = Folder(url) if stamp is None else Folder(url, stamp)
        if not folder.exists(MODEL):
            raise DataError(f"there is no fitted model in {url}: give the working folder of a fit that has finished")
        items = load(folder.local_path(ITEMS_MODEL))
        assert isinstance(items, ALS)
        return cls(folder, Table.read(folder), items=items, **folder.read(MODEL)[1])

    @property
    def n_blocks(self) -> int:
        """The number of blocks of users."""
        return len(self.table.partitions[Side.USERS])

    def block(self, number: int) -> ALS:
        """Return the model of the users of a block, with their interactions."""
        data, factors = self._interactions_of(number), self._factors_of(number)
        return self.items._of_users(data, *self.split(factors))

    def split(self, rows: Factors) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """Return the factors and the biases of users, given rows in the layout of half-steps."""
        return _split(rows, self.items._fitted.rank, has_biases=self.has_biases)

    def files(self) -> list[str]:
        """Return the names of all files of the model."""
        of_blocks = [
            (name_of("cells", Side.USERS, number), version_of(Side.USERS, self.version, number))
            for number in range(self.n_blocks)
        ]
        return [TABLE, ITEMS_MODEL, MODEL, *(name for pair in of_blocks for name in pair)]

    def to_local(self) -> ALS:
        """Return an ordinary model of all users, in the memory of this machine."""
        parts = [self._interactions_of(number) for number in range(self.n_blocks)]
        factors = np.concatenate([self._factors_of(number) for number in range(self.n_blocks)])
        P, biases = self.split(factors)
        starts = self.table.partitions[Side.USERS].bounds
        data = Interactions(
            users=Vocabulary.of_distinct(np.concatenate([part.users.ids for part in parts])),
            items=parts[0].items,
            user_positions=np.concatenate(
                [part.user_positions + np.int32(start) for part, start in zip(parts, starts, strict=False)]
            ),
            item_positions=np.concatenate([part.item_positions for part in parts]),
            values=np.concatenate([part.values for part in parts]),
            weights=np.concatenate([part.weights for part in parts if part.weights is not None])
            if self.table.has_weights
            else None,
            has_values=self.table.has_values,
        )
        model = self.items.__sklearn_clone__()
        fitted = self.items._fitted
        model._set_result(
            replace(
                fitted, users=data.users, user_factors=P, user_biases=biases, data=data, values_are=data.values_are
            )
        )
        return model

    def _interactions_of(self, number: int) -> Interactions:
        arrays, _ = self.folder.read(name_of("cells", Side.USERS, number))
        counts = np.diff(arrays["indptr"])
        n = len(arrays["indices"])
        return Interactions(
            users=as_vocabulary(ids_of_block(self.folder, number)),
            items=self.items.items_,
            user_positions=np.repeat(np.arange(len(counts), dtype=np.int32), counts),
            item_positions=arrays["indices"],
            values=np.broadcast_to(arrays.get("value", np.ones(1)), n).copy(),
            weights=np.broadcast_to(arrays["weight"], n).copy() if "weight" in arrays else None,
            has_values=self.table.has_values,
        )

    def _factors_of(self, number: int) -> Factors:
        return self.folder.read_array(version_of(Side.USERS, self.version, number))


def _split(rows: Factors, k: int, *, has_biases: bool) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    biases = rows[:, k].copy() if has_biases else np.zeros(len(rows), rows.dtype)
    return np.ascontiguousarray(rows[:, :k]), biases
