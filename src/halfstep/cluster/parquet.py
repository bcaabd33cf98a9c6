"""Parquet files: tables of interactions that workers read in parts, and recommendations that they write."""

from __future__ import annotations

from collections.abc import Sequence
from glob import glob
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from halfstep.cluster.folder import Folder
from halfstep.cluster.scoring import BlockScorer, scorer_of
from halfstep.errors import DataError

MOST_ROWS = 4_000_000  # of a part; their strings take about a GB while they are numbered
USERS_AT_ONCE = 10_000  # whose recommendations are a row group

Fragments = list[Any]
"""Row groups of files, which are read by the worker that they are sent to."""


def row_groups(source: Any, columns: Sequence[str], n_parts: int) -> list[Fragments]:
    """Divide parquet files, by row groups, into parts of about equally many rows.

    Parameters
    ----------
    source : path, or list of paths
        Files, folders, patterns such as ``plays/*.parquet``, or a URL such as ``s3://bucket/plays``.
    columns : sequence of str
        The required columns.
    n_parts : int
        The minimum number of parts, if there are enough row groups.
    """
    groups: Fragments = []
    for path in source if isinstance(source, list | tuple) else [source]:
        try:
            dataset = ds.dataset(_expanded(str(path)), format="parquet", partitioning="hive")
            groups += [each for fragment in dataset.get_fragments() for each in fragment.split_by_row_group()]
        except (OSError, pa.ArrowInvalid) as error:
            raise DataError(f"{path} cannot be read as parquet ({error}): give the path of parquet files") from error
        check_columns(columns, dataset.schema.names, str(path))
    rows = np.cumsum([sum(each.num_rows for each in fragment.row_groups) for fragment in groups])
    if len(rows) == 0:
        return []
    size = max(1, min(MOST_ROWS, -(-int(rows[-1]) // n_parts)))
    parts: dict[int, Fragments] = {}
    for fragment, end in zip(groups, rows.tolist(), strict=True):
        parts.setdefault((end - 1) // size, []).append(fragment)
    return list(parts.values())


def check_columns(needed: Sequence[str], names: Sequence[str], source: str) -> None:
    """Raise DataError if a column is missing."""
    for name in needed:
        if name not in names:
            raise DataError(
                f"{source} has no column {name!r}: give one of its columns, {', '.join(map(repr, names))}"
            )


def read_fragments(fragments: Fragments, columns: Sequence[str]) -> pa.Table:
    """Read columns of row groups."""
    tables = [fragment.to_table(columns=list(columns)) for fragment in fragments]
    return pa.concat_tables(tables, promote_options="permissive")


def _expanded(path: str) -> str | list[str]:
    """Return the files of a pattern; anything else is left to pyarrow."""
    if "://" in path or not any(character in path for character in "*?[") or Path(path).exists():
        return path
    found = sorted(each for each in glob(path, recursive=True) if Path(each).is_file())  # noqa: PTH207
    if not found:
        raise DataError(f"no file matches {path!r}; relative paths start at {str(Path.cwd())!r}")
    return found


class Recommend(NamedTuple):
    """The recommendations that a worker computes.

    Attributes
    ----------
    url : str
        The working folder of a model.
    stamp : str
        See `scorer_of`.
    number : int
        The block of users.
    n : int
    exclude_seen : bool
    threads : int
    output : Folder
    """

    url: str
    stamp: str
    number: int
    n: int
    exclude_seen: bool
    threads: int
    output: Folder


def write_recommendations(task: Recommend) -> int:
    """Write the top-n items of the users of a block to a file; return the number of rows."""
    scorer = scorer_of(task.url, task.stamp)
    n_users = len(scorer.users(task.number).ids)
    starts = range(0, n_users, USERS_AT_ONCE)
    rows = 0

    def write(path: Path) -> None:
        nonlocal rows
        temporary = path.with_name(f".{path.name}")
        schema = _recommended(scorer, task, np.empty(0, np.intp)).schema
        with pq.ParquetWriter(temporary, schema) as writer:
            for start in starts:
                users = np.arange(start, min(start + USERS_AT_ONCE, n_users))
                table = _recommended(scorer, task, users)
                writer.write_table(table)
                rows += len(table)
        temporary.replace(path)

    task.output.write_file(f"part-{task.number:05d}.parquet", write)
    return rows


def _recommended(scorer: BlockScorer, task: Recommend, users: np.ndarray[Any, Any]) -> pa.Table:
    positions, scores = scorer.best_items(
        task.number, users, task.n, exclude_seen=task.exclude_seen, threads=task.threads
    )
    is_listed = positions >= 0
    row, place = np.nonzero(is_listed)
    return pa.table(
        {
            "user": scorer.users(task.number).ids.take(pa.array(users[row])),
            "item": scorer.item_ids.take(pa.array(positions[is_listed])),
            "rank": pa.array((place + 1).astype(np.int32)),
            "score": pa.array(scores[is_listed].astype(np.float32)),
        }
    )
