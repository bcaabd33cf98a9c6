"""Fits and recommendations on a Ray cluster, from parquet files or a `ray.data.Dataset`.

All machines exchange data through files in a folder that they share, and factors through Ray's object store. Connect
to the cluster by ``ray.init`` first; otherwise, Ray is started on this machine. On a Spark cluster, Ray is started by
``ray.util.spark.setup_ray_cluster``.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import ray

from halfstep._support.checks import check_flag, check_integer
from halfstep.cluster.build import Duplicates, Exchange, build, check_table_options
from halfstep.cluster.fit import check_is_supported, remove_problems
from halfstep.cluster.fit import fit as fit_table
from halfstep.cluster.folder import Folder
from halfstep.cluster.model import MODEL, ClusterModel
from halfstep.cluster.parquet import Recommend, check_columns, read_fragments, row_groups, write_recommendations
from halfstep.cluster.parts import write_part
from halfstep.cluster.ray_engine import N_BLOCKS, RayEngine
from halfstep.errors import DataError
from halfstep.models.als import ALS

if TYPE_CHECKING:
    from ray.data import Dataset

__all__ = ["ClusterModel", "fit", "recommend"]

PARTS_PER_CPU = 2


def fit(
    als: ALS,
    source: str | PathLike[str] | Sequence[str | PathLike[str]] | Dataset,
    *,
    folder: str | PathLike[str],
    user: str = "user",
    item: str = "item",
    value: str | None = None,
    weight: str | None = None,
    duplicates: Duplicates = "error",
    exchange: Exchange = "all",
    n_blocks: int = N_BLOCKS,
    workers: int | None = None,
) -> ClusterModel:
    """Fit a model to a table on the nodes of the Ray cluster.

    Parameters
    ----------
    als : ALS
        The parameters, which are those of a fit on one machine; it is not fitted. `init`, `callbacks` and side
        information are not supported.
    source : path, list of paths, or ray.data.Dataset
        Parquet files: paths, folders, patterns such as ``plays/*.parquet``, or a URL such as ``s3://bucket/plays``,
        which are valid on all nodes. The blocks of a `ray.data.Dataset` are kept in the object store until they are
        written to the folder.
    folder : path
        A new folder for the files of the fit and of the model: a path that is valid on all nodes, or a URL for
        fsspec, such as ``s3://bucket/folder``.
    user, item : str
        The columns of ids, which are integers or strings.
    value, weight : str, optional
        The columns of values and of weights; by default, all are 1.
    duplicates : {"error", "sum", "mean"}
        How to handle repeated interactions of a user with an item, as in `Interactions.from_arrays`.
    exchange : {"all", "items"}
        Whose factors are sent to all nodes. With "items", those of users stay in the folder, and items are solved by
        conjugate gradients, for tables of very many users.
    n_blocks : int, default=16
        The number of blocks of each side, at least that of nodes: twice the number of CPUs is enough. The bits of the
        factors depend on it, and not on the number of nodes.
    workers : int, optional
        The number of actors that share the half-steps. By default one for each node, with all of its CPUs.

    Returns
    -------
    ClusterModel

    Raises
    ------
    ParameterError
        If a parameter is invalid or not supported.
    DataError
        If a column is missing; if ids are neither integers nor strings, or missing; if values are not finite, weights
        are negative, or interactions are repeated; or if the folder already has a model.
    NumericalError
        If a system is not positive definite; the message names the user or item.
    ClusterError
        If workers cannot be started or fail repeatedly, or a node is lost with factors that no other node has.

    Examples
    --------
    >>> import halfstep as hs, halfstep.ray, ray
    >>> ray.init()  # doctest: +SKIP
    >>> als = hs.ALS(hs.Implicit(), rank=64)
    >>> model = halfstep.ray.fit(als, "plays/*.parquet", folder="/shared/model")  # doctest: +SKIP
    >>> halfstep.ray.recommend(model, "/shared/top-10")  # doctest: +SKIP
    """
    check_is_supported(als)
    check_table_options(duplicates, exchange)
    check_integer("n_blocks", n_blocks, minimum=1)
    if workers is not None:
        check_integer("workers", workers, minimum=1)
    where, engine = Folder(str(folder)), RayEngine(n_blocks, workers)
    if where.exists(MODEL):
        raise DataError(f"there is a model in {folder} already: give another folder, or remove it first")
    _connect()
    roles = {"user": user, "item": item, "value": value, "weight": weight}
    names = {role: name for role, name in roles.items() if name is not None}
    contents = _parts_of(source, list(names.values()))
    engine.map(write_part_of, [_Part(where, k, n_blocks, names, each) for k, each in enumerate(contents)])
    n_parts = len(contents)
    del contents  # of the object store
    table = build(engine, where, n_parts, duplicates=duplicates, exchange=exchange)
    model = fit_table(als, engine, where, table)
    remove_problems(where)
    return model


def recommend(model: ClusterModel, output: str | PathLike[str], n: int = 10, *, exclude_seen: bool = True) -> int:
    """Write the top-n items of all users to a folder of parquet files.

    Parameters
    ----------
    model : ClusterModel
        From `fit`, or from `ClusterModel.open`.
    output : path
        A folder that all nodes share, or a URL for fsspec. There is a file for each block of users, with the columns
        ``user``, ``item``, ``rank`` from 1, and ``score``.
    n : int, default=10
    exclude_seen : bool, default=True
        Whether to exclude the items of the user in the training data.

    Returns
    -------
    int
        The number of rows.
    """
    check_integer("n", n, minimum=1)
    check_flag("exclude_seen", exclude_seen)
    _connect()
    engine, stamp = RayEngine(model.n_blocks), uuid.uuid4().hex
    target = Folder(str(output))
    tasks = [
        Recommend(model.folder.url, stamp, number, n, exclude_seen, engine.threads, target)
        for number in range(model.n_blocks)
    ]
    return sum(engine.map(write_recommendations, tasks))


class _Part(NamedTuple):
    """A part of the table: row groups of files, or references to blocks of a dataset."""

    folder: Folder
    number: int
    n_blocks: int
    names: dict[str, str]
    content: list[Any]


def write_part_of(part: _Part) -> None:
    """Read a part of the table, and write its rows by block."""
    columns = list(part.names.values())
    if isinstance(part.content[0], ray.ObjectRef):
        blocks = [block for block in ray.get(part.content) if len(block)]  # empty ones may have no columns
        none = pa.table({name: pa.array([], pa.int64()) for name in columns})
        table = pa.concat_tables([block.select(columns) for block in blocks] or [none], promote_options="permissive")
    else:
        table = read_fragments(part.content, columns)
    by_role = pa.table({role: table[name] for role, name in part.names.items()})
    write_part(part.folder, part.number, part.n_blocks, by_role)


def _parts_of(source: Any, columns: list[str]) -> list[list[Any]]:
    """Return what each part consists of."""
    n_parts = PARTS_PER_CPU * int(ray.cluster_resources().get("CPU", 1))
    if not hasattr(source, "to_arrow_refs"):
        return row_groups(source, columns, n_parts)
    check_columns(columns, source.schema().names, "the dataset")
    blocks = source.select_columns(columns).to_arrow_refs()
    return [blocks[first::n_parts] for first in range(min(n_parts, len(blocks)))]


def _connect() -> None:
    if not ray.is_initialized():
        ray.init()
