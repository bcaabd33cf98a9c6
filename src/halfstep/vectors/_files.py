"""Files of vectors."""

from __future__ import annotations

import io
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from halfstep._support.files import write_atomically
from halfstep.errors import DataError
from halfstep.vectors._vectors import Float32Array, Vectors

OF_ITEMS = {"items.npy", "items.faiss", "items.usearch"}  # their rows are those of item-ids.npy


def write_parquet(vectors: Vectors, folder: Path) -> None:
    """Write ``users.parquet`` and ``items.parquet`` with the columns ``id`` and ``vector``."""
    _write(
        folder,
        {
            "users.parquet": _as_parquet(vectors.user_ids, vectors.user_vectors),
            "items.parquet": _as_parquet(vectors.item_ids, vectors.item_vectors),
        },
    )


def write_npy(vectors: Vectors, folder: Path, index: Mapping[str, bytes] | None = None) -> None:
    """Write ``users.npy`` and ``items.npy``, and ``user-ids.npy`` and ``item-ids.npy`` in the same order.

    If `index` maps the name of a file to the content of an index, that file is written in place of ``items.npy``.
    """
    vectors_of_items = {"items.npy": _as_npy(vectors.item_vectors)} if index is None else index
    _write(
        folder,
        {
            "user-ids.npy": _as_npy(_plain(vectors.user_ids)),
            "users.npy": _as_npy(vectors.user_vectors),
            "item-ids.npy": _as_npy(_plain(vectors.item_ids)),
            **vectors_of_items,
        },
        replaced=OF_ITEMS - vectors_of_items.keys(),
    )


def _write(folder: Path, files: Mapping[str, bytes], replaced: Set[str] = frozenset()) -> None:
    """Write files; those of another format that they replace are removed first, because their rows may differ."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in replaced:
        (folder / name).unlink(missing_ok=True)
    for name, content in files.items():
        write_atomically(folder / name, content)


def _as_npy(array: NDArray[Any]) -> bytes:
    content = io.BytesIO()
    np.save(content, array, allow_pickle=False)
    return content.getvalue()


def _plain(ids: NDArray[Any]) -> NDArray[Any]:
    """Return ids as an array that needs no pickle."""
    if ids.dtype != object:
        return ids
    if all(isinstance(each, str) and not each.endswith("\0") for each in ids.tolist()):  # NumPy drops final NULs
        return ids.astype(np.str_)
    raise DataError(
        "only integers below 2**63 or strings can be stored as ids in .npy files: save as parquet, or convert them"
    )


def _as_parquet(ids: NDArray[Any], vectors: Float32Array) -> bytes:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("parquet files require PyArrow: run pip install pyarrow", name="pyarrow") from error
    try:
        column = pa.array(ids.tolist())
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, UnicodeError) as error:
        raise DataError(
            f"the ids cannot be stored in parquet ({error}): convert them to integers or strings"
        ) from None
    flat = pa.array(np.ascontiguousarray(vectors).reshape(-1))
    table = pa.table({"id": column, "vector": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])})
    content = io.BytesIO()
    pq.write_table(table, content)
    return content.getvalue()
