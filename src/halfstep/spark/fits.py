"""Fits of `halfstep.ALS` to Spark dataframes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from halfstep.cluster.build import STATE, Duplicates, Exchange, Table, build, check_table_options
from halfstep.cluster.fit import check_is_supported, remove_problems
from halfstep.cluster.fit import fit as fit_table
from halfstep.cluster.folder import Folder
from halfstep.errors import DataError
from halfstep.models.als import ALS
from halfstep.spark.columns import ColumnNames, interactions
from halfstep.spark.engine import SparkEngine
from halfstep.spark.model import SparkModel, check_is_new
from halfstep.spark.tasks import write_parts

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

TYPES = ("int", "bigint", "string")


def fit(
    als: ALS,
    df: DataFrame,
    *,
    folder: str,
    user: str = "user",
    item: str = "item",
    value: str | None = None,
    weight: str | None = None,
    duplicates: Duplicates = "error",
    exchange: Exchange = "all",
    resume: bool = False,
    n_blocks: int | None = None,
) -> SparkModel:
    """Fit a model to a dataframe on the workers of its session.

    Parameters
    ----------
    als : ALS
        The parameters, which are those of a fit on one machine; it is not fitted. `init`, `callbacks` and side
        information are not supported.
    df : DataFrame
        A dataframe of a classic session or of Spark Connect.
    folder : str
        A new folder for the files of the fit and of the model: a path that is valid on all machines, or a URL for
        fsspec, such as ``s3://bucket/folder``.
    user, item : str
        The columns of ids, which are integers or strings.
    value, weight : str, optional
        The columns of values and of weights; by default, all are 1.
    duplicates : {"error", "sum", "mean"}
        How to handle repeated interactions of a user with an item, as in `Interactions.from_arrays`.
    exchange : {"all", "items"}
        Whose factors are sent to all workers. With "items", those of users stay on their workers, and items are
        solved by conjugate gradients, for tables of very many users.
    resume : bool
        Whether to continue the interrupted fit in this folder, whose table is not read again.
    n_blocks : int, optional
        The number of blocks of each side. By default, the number of tasks that Spark runs at the same time.

    Returns
    -------
    SparkModel

    Raises
    ------
    ParameterError
        If a parameter is invalid or not supported.
    DataError
        If ids are neither integers nor strings, or missing; if values are not finite, weights are negative, or
        interactions are repeated; or if the folder already has a model.
    NumericalError
        If a system is not positive definite; the message names the user or item.
    """
    check_is_supported(als)
    check_table_options(duplicates, exchange)
    where = Folder(folder)
    check_is_new(where)
    engine = SparkEngine(df.sparkSession, n_blocks)
    columns = ColumnNames(user, item, value, weight)
    if resume:
        if not where.exists(STATE):
            raise DataError(f"there is no interrupted fit in {folder}: set resume=False")
        table, types = Table.read(where), tuple(where.read(TYPES_OF_IDS)[1]["types"])
    else:
        selected, schema = interactions(df, columns)
        found = engine.run(selected, write_parts, where, engine.n_blocks, schema)
        types = _widest(each[0] for each in found.values()), _widest(each[1] for each in found.values())
        table = build(engine, where, len(found), duplicates=duplicates, exchange=exchange)
        where.write(TYPES_OF_IDS, {}, types=types)
    model = fit_table(als, engine, where, table)
    remove_problems(where)
    return SparkModel.create(engine, model, (types[0], types[1]), columns)


TYPES_OF_IDS = "types"  # a file


def _widest(types: Iterable[str]) -> str:
    """Return the type of all ids, given those of the ids of each part."""
    return max(types, key=TYPES.index, default=TYPES[0])
