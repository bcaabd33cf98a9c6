"""Tables of vectors in PostgreSQL, with the extension pgvector."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from halfstep.errors import DataError
from halfstep.vectors._recall import recall_if_any
from halfstep.vectors._vectors import Float32Array, Vectors

OPERATORS = {"dot": ("<#>", "vector_ip_ops"), "cosine": ("<=>", "vector_cosine_ops")}


def write_pgvector(vectors: Vectors, url: str, n: int) -> float | None:
    """Replace the tables ``halfstep_users`` and ``halfstep_items``, and return the recall of their index at n."""
    try:
        import psycopg
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "this format requires Psycopg: run pip install 'psycopg[binary]'", name="psycopg"
        ) from error
    operator, operators = OPERATORS[vectors.metric]
    tables = (
        ("halfstep_users", vectors.user_ids, vectors.user_vectors),
        ("halfstep_items", vectors.item_ids, vectors.item_vectors),
    )
    kinds = {name: _kind_of(ids) for name, ids, _ in tables}
    try:
        with psycopg.connect(url) as connection:
            cursor = connection.cursor()
            cursor.execute("CREATE EXTENSION IF NOT EXISTS vector")
            # Tables of the same names in other schemas of the search path belong to other models.
            (schema,) = cursor.execute("SELECT quote_ident(current_schema())").fetchone() or (None,)
            for name, ids, rows in tables:
                cursor.execute(f"CREATE TABLE {schema}.{name}_new (id {kinds[name]}, vector vector({rows.shape[1]}))")
                with cursor.copy(f"COPY {schema}.{name}_new FROM STDIN") as copy:
                    for id_, row in zip(ids.tolist(), rows, strict=True):
                        copy.write_row((id_, _literal(row)))
                cursor.execute(f"ALTER TABLE {schema}.{name}_new ADD PRIMARY KEY (id)")
            cursor.execute(f"CREATE INDEX ON {schema}.halfstep_items_new USING hnsw (vector {operators})")
            for name, _, _ in tables:  # old tables can be read until here
                cursor.execute(f"DROP TABLE IF EXISTS {schema}.{name}")
                cursor.execute(f"ALTER TABLE {schema}.{name}_new RENAME TO {name}")
            connection.commit()
            cursor.execute("SET LOCAL enable_seqscan = off")  # else a small table is searched without its index

            def search(users: Float32Array, count: int) -> list[list[Any]]:
                query = f"SELECT id FROM {schema}.halfstep_items ORDER BY vector {operator} %s::vector LIMIT %s"
                return [[id_ for (id_,) in cursor.execute(query, (_literal(row), count))] for row in users]

            return recall_if_any(vectors, search, n)
    except psycopg.Error as error:
        cause = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"the vectors cannot be stored in PostgreSQL ({cause}): check the address, the permissions, and that the "
            "extension pgvector is installed"
        ) from None


def _kind_of(ids: NDArray[Any]) -> str:
    if ids.dtype.kind == "i":
        return "bigint"
    if all(isinstance(each, str) for each in ids.tolist()):
        return "text"
    raise DataError("ids other than integers and strings cannot be stored in PostgreSQL: convert them")


def _literal(row: Float32Array) -> str:
    return f"[{','.join(map(repr, row.tolist()))}]"
