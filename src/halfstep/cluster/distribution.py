"""Models of one machine in blocks."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pyarrow as pa

from halfstep.cluster.block_files import name_of
from halfstep.cluster.build import TABLE, Table
from halfstep.cluster.file_steps import version_of
from halfstep.cluster.folder import Folder
from halfstep.cluster.ids import ascending, blocks_of, to_arrays
from halfstep.cluster.model import ClusterModel
from halfstep.data import Vocabulary
from halfstep.data.csr import Orientation
from halfstep.errors import DataError
from halfstep.models.als import ALS
from halfstep.models.histories import NO_INTERACTIONS
from halfstep.solver.session import Side

VERSION = 0  # of the factors


def distribute(als: ALS, folder: Folder, n_blocks: int) -> ClusterModel:
    """Write a fitted model with its training interactions in blocks of users."""
    fitted, data = als._fitted, als.interactions_
    if data is None:
        raise DataError(NO_INTERACTIONS)
    users = _as_ids(fitted.users, "user")
    _as_ids(fitted.items, "item")
    cells = Orientation.of_cells(data.user_positions, data.item_positions, len(users), len(fitted.items))
    numbers = {"value": data.values} if data.has_values else {}
    if data.weights is not None:
        numbers["weight"] = data.weights
    numbers = {name: column[cells.order] for name, column in numbers.items()}
    has_biases = bool(fitted.user_biases.any())
    rows = np.column_stack([fitted.user_factors, fitted.user_biases]) if has_biases else fitted.user_factors
    rank = ascending([users])[1]
    of_user = blocks_of(users, n_blocks)
    buckets, bounds = np.unique(of_user).tolist(), [0]
    for number, bucket in enumerate(buckets):
        chosen = np.flatnonzero(of_user == bucket)
        chosen = chosen[np.argsort(rank[chosen])]
        counts = np.diff(cells.indptr)[chosen]
        indptr = np.concatenate([[0], np.cumsum(counts)])
        at = np.repeat(cells.indptr[chosen] - indptr[:-1], counts) + np.arange(indptr[-1])
        folder.write(
            name_of("cells", Side.USERS, number),
            {"indptr": indptr, "indices": cells.indices[at]}
            | {name: column[at] for name, column in numbers.items()}
            | to_arrays(users.take(pa.array(chosen)), "ids"),
        )
        folder.write_array(version_of(Side.USERS, VERSION, number), rows[chosen], sync=True)
        bounds.append(bounds[-1] + len(chosen))
    table = Table(
        (bounds, [0, len(fitted.items)]),
        n_cells=len(data),
        has_values=data.has_values,
        has_weights=data.weights is not None,
        exchange="all",
        n_buckets=n_blocks,
        buckets=buckets,
    )
    folder.write(TABLE, {}, **asdict(table))
    items = als.__sklearn_clone__()
    none = Vocabulary.of_distinct(np.empty(0, np.int64))
    items._set_result(
        replace(
            fitted, users=none, user_factors=fitted.user_factors[:0], user_biases=fitted.user_biases[:0], data=None
        )
    )
    return ClusterModel.write(folder, table, VERSION, items, has_biases=has_biases)


def _as_ids(vocabulary: Vocabulary, name: str) -> pa.Array:
    try:
        ids = pa.array(vocabulary.ids)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataError(
            f"the {name} ids are neither all integers nor all strings ({error}): convert them to one of these"
        ) from error
    if pa.types.is_integer(ids.type):
        return ids.cast(pa.int64())
    if pa.types.is_string(ids.type):
        return ids.cast(pa.large_string())
    raise DataError(f"the {name} ids are of type {ids.type}: convert them to integers or strings")
