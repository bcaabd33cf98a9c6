"""Indexes of nearest neighbors: FAISS and USearch in files, and Qdrant."""

from __future__ import annotations

from json import JSONDecodeError
from pathlib import Path
from typing import Any

import numpy as np

from halfstep._support.printable import without_password
from halfstep.errors import DataError
from halfstep.vectors._files import write_npy
from halfstep.vectors._recall import recall_if_any
from halfstep.vectors._vectors import Float32Array, Vectors

LINKS, EXPANSION = 32, 128  # of HNSW: the links of an item in the graph, and the candidates of a search


def write_faiss(vectors: Vectors, folder: Path, n: int) -> float | None:
    """Write an HNSW index of FAISS to ``items.faiss``, and return its recall at n."""
    try:
        import faiss
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("this format requires FAISS: run pip install faiss-cpu", name="faiss") from error
    # The vectors of "cosine" have length 1, so that inner products are cosines.
    index = faiss.IndexHNSWFlat(vectors.item_vectors.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efSearch = EXPANSION
    index.add(vectors.item_vectors)
    write_npy(vectors, folder, {"items.faiss": faiss.serialize_index(index).tobytes()})
    return recall_if_any(vectors, lambda users, count: _ids_of(vectors, index.search(users, count)[1]), n)


def write_usearch(vectors: Vectors, folder: Path, n: int) -> float | None:
    """Write an index of USearch to ``items.usearch``, and return its recall at n."""
    try:
        from usearch.index import Index
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("this format requires USearch: run pip install usearch", name="usearch") from error
    metric = "ip" if vectors.metric == "dot" else "cos"
    index = Index(
        ndim=vectors.item_vectors.shape[1], metric=metric, dtype="f32", connectivity=LINKS, expansion_search=EXPANSION
    )
    index.add(np.arange(len(vectors.item_ids)), vectors.item_vectors)
    write_npy(vectors, folder, {"items.usearch": bytes(index.save())})

    def search(users: Float32Array, count: int) -> list[Any]:
        keys = np.asarray(index.search(users, count).keys).astype(np.int64)
        return _ids_of(vectors, keys.reshape(len(users), -1))  # of one dimension for a single user

    return recall_if_any(vectors, search, n)


def write_qdrant(vectors: Vectors, target: str, n: int) -> float | None:
    """Replace the collections ``halfstep_users`` and ``halfstep_items``, and return the recall at n."""
    try:
        from qdrant_client import QdrantClient, models
        from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "this format requires Qdrant's client: run pip install qdrant-client", name="qdrant_client"
        ) from error
    for ids in (vectors.user_ids, vectors.item_ids):
        if not all(isinstance(each, int | str) for each in ids.tolist()):
            raise DataError("ids other than integers and strings cannot be stored in Qdrant: convert them")
    kind = models.Distance.DOT if vectors.metric == "dot" else models.Distance.COSINE
    is_server = "://" in target
    try:
        client = QdrantClient(url=target, check_compatibility=False) if is_server else QdrantClient(path=target)
    except (ValueError, RuntimeError) as error:  # an invalid address or folder, or a folder in use
        raise OSError(f"Qdrant at {without_password(target)} cannot be opened ({error})") from None
    try:
        for name, ids, rows in (
            ("halfstep_users", vectors.user_ids, vectors.user_vectors),
            ("halfstep_items", vectors.item_ids, vectors.item_vectors),
        ):
            client.delete_collection(name)
            client.create_collection(name, models.VectorParams(size=rows.shape[1], distance=kind))
            payload = [{"id": each} for each in ids.tolist()]
            client.upload_collection(name, rows, payload=payload, ids=range(len(rows)), wait=True)

        def search(users: Float32Array, count: int) -> list[list[Any]]:
            asked = [models.QueryRequest(query=row, limit=count, with_payload=True) for row in users.tolist()]
            found = client.query_batch_points("halfstep_items", asked)
            return [[point.payload["id"] for point in each.points] for each in found]

        return recall_if_any(vectors, search, n)
    except ResponseHandlingException as error:
        raise OSError(f"Qdrant at {without_password(target)} does not respond ({error}): check the address") from None
    except (UnexpectedResponse, JSONDecodeError) as error:
        raise OSError(
            f"the server at {without_password(target)} does not answer as Qdrant does: check the address"
        ) from error
    finally:
        client.close()


def _ids_of(vectors: Vectors, rows: Any) -> list[Any]:
    """Return the ids of positions; −1 stands for an item that was not found."""
    return [vectors.item_ids[row[row >= 0]] for row in rows]
