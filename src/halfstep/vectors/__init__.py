"""Vectors of users and items for vector databases and indexes of nearest neighbors.

`FactorModel.export_vectors` writes them; `of_model` returns them as arrays.

>>> import halfstep as hs
>>> data = hs.Interactions.from_arrays(["ann", "ann", "bob"], ["tea", "milk", "tea"], [5.0, 1.0, 4.0])
>>> model = hs.ALS(hs.Explicit(), rank=2, random_state=0).fit(data)
>>> found = hs.vectors.of_model(model, "cosine")
>>> found.item_vectors.shape  # the factors, the bias, and a number that makes all lengths equal
(2, 4)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, get_args

from halfstep._support.checks import as_path, check_choice, check_integer
from halfstep._support.printable import without_password
from halfstep.errors import ParameterError
from halfstep.vectors._files import write_npy, write_parquet
from halfstep.vectors._indexes import write_faiss, write_qdrant, write_usearch
from halfstep.vectors._pgvector import write_pgvector
from halfstep.vectors._recall import recall
from halfstep.vectors._vectors import Metric as Metric
from halfstep.vectors._vectors import Vectors, check_vectors, of_model

__all__ = ["Vectors", "of_model", "recall", "save"]

Format = Literal["parquet", "npy", "faiss", "usearch", "qdrant", "pgvector"]

_FILES: Mapping[str, Callable[[Vectors, Path], None]] = {"parquet": write_parquet, "npy": write_npy}
_INDEXES: Mapping[str, Callable[..., float | None]] = {"faiss": write_faiss, "usearch": write_usearch}
_DATABASES: Mapping[str, Callable[..., float | None]] = {"qdrant": write_qdrant, "pgvector": write_pgvector}


def save(
    vectors: Vectors,
    target: str | os.PathLike[str],
    format: Format = "parquet",  # noqa: A002
    *,
    n: int = 10,
) -> float | None:
    """Write vectors of users and items, or an index of them, and return the recall of the index.

    Parameters
    ----------
    vectors : Vectors
        The result of `of_model`.
    target : path of a folder, or address of a database
        The folder is created if it does not exist; files, tables and collections of earlier vectors are replaced.
        An address is, for example, ``postgresql://user@host/name`` or, for a server of Qdrant,
        ``http://localhost:6333``.
    format : {"parquet", "npy", "faiss", "usearch", "qdrant", "pgvector"}
        - "parquet": ``users.parquet`` and ``items.parquet`` with the columns ``id`` and ``vector``.
        - "npy": ``users.npy`` and ``items.npy`` with vectors, ``user-ids.npy`` and ``item-ids.npy`` with their ids.
        - "faiss", "usearch": as "npy", with an HNSW index ``items.faiss`` or ``items.usearch`` in place of
          ``items.npy``, whose labels are positions in ``item-ids.npy``.
        - "qdrant": the collections ``halfstep_users`` and ``halfstep_items`` on a server, or in a folder; the
          payload of each point has ``id``.
        - "pgvector": the tables ``halfstep_users`` and ``halfstep_items`` with the columns ``id`` and ``vector``, and
          an HNSW index of the items.
    n : int
        The cutoff of the recall.

    Returns
    -------
    float or None
        The recall of the index, as defined by `recall`; None for "parquet" and "npy", which have no index, or without
        users.

    Raises
    ------
    ParameterError
        If a parameter is invalid.
    OSError
        If a file cannot be written, or the server of Qdrant does not respond.
    DataError
        If the ids are of a type that the format cannot store, or the database refuses the vectors.
    ModuleNotFoundError
        If the package for the format is not installed; the message states the command that installs it.
    """
    check_vectors(vectors)
    check_choice("format", format, get_args(Format))
    check_integer("n", n, minimum=1)
    n = min(int(n), len(vectors.item_ids))
    if isinstance(target, str) and "://" in target:
        return _saved_at(vectors, target, format, n)
    path = as_path("target", target)
    if format == "pgvector":
        raise ParameterError(f"target={str(path)!r}: give the address of a database, postgresql://user@host/name")
    if path.exists() and not path.is_dir():
        raise ParameterError(f"target={str(path)!r} is a file: give a folder")
    if format in _DATABASES:
        return _DATABASES[format](vectors, str(path), n)
    if format in _INDEXES:
        return _INDEXES[format](vectors, path, n)
    _FILES[format](vectors, path)
    return None


def _saved_at(vectors: Vectors, address: str, format: Format, n: int) -> float | None:  # noqa: A002
    if format not in _DATABASES:
        raise ParameterError(
            f"target={without_password(address)!r} is an address, but format={format!r} is that of files: give a "
            "folder, or set format='pgvector' or format='qdrant'"
        )
    return _DATABASES[format](vectors, address, n)
