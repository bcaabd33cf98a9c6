"""Tasks of the workers of Spark, which take batches of rows and yield batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from halfstep.cluster.folder import Folder
from halfstep.cluster.parts import write_part
from halfstep.cluster.scoring import BlockScorer, scorer_of
from halfstep.data import Interactions
from halfstep.spark.worker import Batches, result

ROWS_AT_ONCE = 10_000  # of results


def write_parts(folder: Folder, n_blocks: int, schema: pa.Schema, batches: Batches) -> Iterator[pa.RecordBatch]:
    """Write a partition of a table as a part; the result is the types of users and items, see `type_of`."""
    from pyspark import TaskContext

    context = TaskContext.get()
    assert context is not None
    number = context.partitionId()
    table = pa.Table.from_batches([batch.cast(schema) for batch in batches], schema)
    yield result(number, lambda: _write(folder, number, n_blocks, table))


def _write(folder: Folder, number: int, n_blocks: int, table: pa.Table) -> tuple[str, str]:
    write_part(folder, number, n_blocks, table)
    return type_of(table["user"]), type_of(table["item"])


def type_of(ids: pa.Array | pa.ChunkedArray) -> str:
    """Return the type of ids in dataframes: "int" if they fit, else "bigint" or "string"."""
    if pa.types.is_floating(ids.type):
        ids = ids.cast(pa.int64())
    if not pa.types.is_integer(ids.type):
        return "string"
    if len(ids) == 0:
        return "int"
    extremes = pc.min_max(ids).as_py()
    limits = np.iinfo(np.int32)
    return "int" if limits.min <= extremes["min"] and extremes["max"] <= limits.max else "bigint"


class Opened(NamedTuple):
    """A model on a worker.

    Attributes
    ----------
    url, stamp : str
        See `scorer_of`.
    schema : pyarrow.Schema
        The schema of the rows to yield.
    threads : int
    """

    url: str
    stamp: str
    schema: pa.Schema
    threads: int

    @property
    def scorer(self) -> BlockScorer:
        """The model."""
        return scorer_of(self.url, self.stamp)

    def rows(self, *columns: pa.Array) -> pa.RecordBatch:
        """Return a batch, whose ids are of the types of the schema."""
        cast = [column.cast(field.type) for column, field in zip(columns, self.schema, strict=True)]
        return pa.RecordBatch.from_arrays(cast, schema=self.schema)


def user_factors(opened: Opened, batches: Batches) -> Iterator[pa.RecordBatch]:
    """Yield the ids, the factors, and the biases if the schema has them, of the users of blocks."""
    for number in _numbers(batches):
        block = opened.scorer.users(number)
        yield from _factors(opened, block.ids, block.factors, block.biases)


def item_factors(opened: Opened, n_parts: int, batches: Batches) -> Iterator[pa.RecordBatch]:
    """Yield the same for the items of some of `n_parts` parts."""
    scorer = opened.scorer
    bounds = np.linspace(0, len(scorer.item_ids), n_parts + 1).astype(int)
    for number in _numbers(batches):
        part = slice(*bounds[number : number + 2])
        yield from _factors(opened, scorer.item_ids[part], scorer.Q[part], scorer.items.item_biases_[part])


def _factors(
    opened: Opened, ids: pa.Array, F: NDArray[np.floating], biases: NDArray[np.floating]
) -> Iterator[pa.RecordBatch]:
    for start in range(0, len(ids), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        features = _lists(np.full(len(F[part]), F.shape[1]), pa.array(F[part].ravel()))
        columns = [ids[part], features, pa.array(biases[part])]
        yield opened.rows(*columns[: len(opened.schema)])


def recommend_to_blocks(opened: Opened, n: int, exclude_seen: bool, batches: Batches) -> Iterator[pa.RecordBatch]:
    """Yield the top-n items of all users of blocks."""
    for number in _numbers(batches):
        rows = np.arange(len(opened.scorer.users(number).ids))
        yield from _recommended(opened, number, rows, n, exclude_seen)


def recommend_to_users(opened: Opened, n: int, exclude_seen: bool, batches: Batches) -> Iterator[pa.RecordBatch]:
    """Yield the top-n items of those users that the model knows."""
    ids = _column(batches)
    for number, _, rows in opened.scorer.located(ids):
        yield from _recommended(opened, number, rows, n, exclude_seen)


def _recommended(
    opened: Opened, number: int, rows: NDArray[np.intp], n: int, exclude_seen: bool
) -> Iterator[pa.RecordBatch]:
    scorer = opened.scorer
    ids = scorer.users(number).ids
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = rows[start : start + ROWS_AT_ONCE]
        best = scorer.best_items(number, part, n, exclude_seen=exclude_seen, threads=opened.threads)
        yield opened.rows(ids.take(pa.array(part)), _ranked(*best, scorer.item_ids, opened.schema.field(1).type))


def recommend_items(
    opened: Opened, n: int, items: NDArray[np.integer] | None, batches: Batches
) -> Iterator[pa.RecordBatch]:
    """Yield the top-n users of blocks for each item at these positions, or for all."""
    scorer = opened.scorer
    items = np.arange(len(scorer.item_ids)) if items is None else items
    for number in _numbers(batches):
        ids = scorer.users(number).ids
        for start in range(0, len(items), ROWS_AT_ONCE):
            part = items[start : start + ROWS_AT_ONCE]
            best = scorer.best_users(number, part, n, threads=opened.threads)
            yield opened.rows(scorer.item_ids.take(pa.array(part)), _ranked(*best, ids, opened.schema.field(1).type))


def fold_in(opened: Opened, batches: Batches) -> Iterator[pa.RecordBatch]:
    """Yield the factors of new users from their interactions, all of which are in these batches."""
    model = _folded_in(opened, batches)
    if model is not None:
        yield from _factors(opened, pa.array(model.users_.ids), model.user_factors_, model.user_biases_)


def recommend_to_new_users(opened: Opened, n: int, exclude_seen: bool, batches: Batches) -> Iterator[pa.RecordBatch]:
    """Yield the top-n items of new users from their interactions, all of which are in these batches."""
    model = _folded_in(opened, batches)
    if model is not None:
        best = model.recommend(n=n, exclude_seen=exclude_seen, threads=opened.threads)
        lists = _ranked(best.item_positions, best.scores, opened.scorer.item_ids, opened.schema.field(1).type)
        yield opened.rows(pa.array(best.user_ids), lists)


def _folded_in(opened: Opened, batches: Batches) -> Any:
    """Return a model of the users in batches; None if there are no rows."""
    given = [batch for batch in batches if batch.num_rows]
    if not given:
        return None
    table = pa.Table.from_batches(given)
    columns = {name: table[name].to_numpy() for name in table.column_names}
    data = Interactions.from_arrays(
        columns["user"], columns["item"], columns.get("value"), weights=columns.get("weight")
    )
    return opened.scorer.items.fold_in(data)


def _numbers(batches: Batches) -> Iterator[int]:
    for batch in batches:
        yield from batch.column(0).to_pylist()


def _column(batches: Batches) -> pa.Array:
    """Return the first column of all batches; ids are int64 or large strings."""
    found = [batch.column(0) for batch in batches]
    return as_ids(pa.concat_arrays(found) if found else pa.array([], pa.int64()))


def as_ids(ids: pa.Array) -> pa.Array:
    """Return ids as int64 or large strings, like those in files; missing ones stay missing."""
    return ids.cast(
        pa.int64() if pa.types.is_integer(ids.type) or pa.types.is_floating(ids.type) else pa.large_string()
    )


def _ranked(
    positions: NDArray[np.integer], scores: NDArray[np.floating], ids: pa.Array, kind: pa.DataType
) -> pa.Array:
    """Return lists of structs of ids and scores, whose names and types are those of `kind`."""
    kept = positions >= 0
    fields = {"id": ids.take(pa.array(positions[kept])), "score": pa.array(scores[kept])}
    struct = kind.value_type
    names = [struct.field(k).name for k in range(2)]
    order = ["score", "id"] if pa.types.is_floating(struct.field(0).type) else ["id", "score"]
    columns = [fields[each].cast(struct.field(k).type) for k, each in enumerate(order)]
    return _lists(kept.sum(axis=1), pa.StructArray.from_arrays(columns, names))


def _lists(lengths: NDArray[np.integer], values: pa.Array) -> pa.Array:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values)
