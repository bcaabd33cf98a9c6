"""Indexes and databases of vectors rank items as models do."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import psycopg
import pytest
from faiss import read_index
from qdrant_client import QdrantClient
from usearch.index import Index

import halfstep as hs
from halfstep.errors import DataError, ParameterError
from postgresql import PGVECTOR, new_database, postgres_with_pgvector, programs
from shell import Shell

pytestmark = pytest.mark.slow

PAGE = (Path(__file__).parent.parent / "docs" / "vector-search.md").read_text("utf-8")
Metrics = pytest.mark.parametrize("metric", ["dot", "cosine"])


@pytest.fixture(scope="module")
def model() -> hs.ALS:
    rng = np.random.default_rng(0)
    users, items = np.nonzero(rng.random((20, 30)) < 0.4)
    values = rng.integers(1, 6, len(users)).astype(float)
    data = hs.Interactions.from_arrays([f"u{k}" for k in users], items * 7, values)
    return hs.ALS(hs.Explicit(), rank=4, random_state=0).fit(data)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    if find_spec(PGVECTOR) is None or programs() is None:  # the programs come with the user that runs the server
        if os.environ.get("HALFSTEP_TEST_SERVICES") == "required" and sys.platform == "linux":
            pytest.fail("PostgreSQL or pgvector is not installed")
        pytest.skip("PostgreSQL or pgvector is not installed")
    with postgres_with_pgvector() as url:
        yield url


@pytest.fixture
def database(server: str) -> str:
    return new_database(server)


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(monkeypatch, capsys)


def best(model: hs.ALS, n: int = 10) -> list[list[int]]:
    return model.recommend(n=n, exclude_seen=False).item_ids.tolist()


def documented_query() -> str:
    """Return the query of the page, with a parameter for the user."""
    (query,) = re.findall(r"```sql\n(.*?)```", PAGE, flags=re.DOTALL)
    assert "'listener-001'" in query
    return query.replace("'listener-001'", "%s")


@Metrics
def test_faiss_finds_the_best_items(model: hs.ALS, tmp_path: Path, metric: hs.vectors.Metric) -> None:
    recall = model.export_vectors(tmp_path, "faiss", metric=metric)
    ids = np.load(tmp_path / "item-ids.npy")
    users = np.load(tmp_path / "users.npy")
    _, found = read_index(str(tmp_path / "items.faiss")).search(users, 10)
    assert recall == 1.0
    assert ids[found].tolist() == best(model)
    assert np.load(tmp_path / "user-ids.npy").tolist() == model.users_.ids.tolist()


@Metrics
def test_usearch_finds_the_best_items(model: hs.ALS, tmp_path: Path, metric: hs.vectors.Metric) -> None:
    recall = model.export_vectors(tmp_path, "usearch", metric=metric)
    index = Index.restore(tmp_path / "items.usearch")
    found = index.search(np.load(tmp_path / "users.npy"), 10).keys.astype(np.int64)
    assert recall == 1.0
    assert np.load(tmp_path / "item-ids.npy")[found].tolist() == best(model)


@Metrics
def test_qdrant_finds_the_best_items(model: hs.ALS, tmp_path: Path, metric: hs.vectors.Metric) -> None:
    assert model.export_vectors(tmp_path, "qdrant", metric=metric) == 1.0
    client = QdrantClient(path=str(tmp_path))
    user = client.scroll("halfstep_users", limit=1, with_vectors=True)[0][0]
    found = client.query_points("halfstep_items", query=user.vector, limit=10).points
    client.close()
    assert user.payload["id"] == "u0"
    assert [point.payload["id"] for point in found] == best(model)[0]


def test_qdrant_replaces_its_collections(model: hs.ALS, tmp_path: Path) -> None:
    found = hs.vectors.of_model(model)
    hs.vectors.save(found, tmp_path, "qdrant")
    fewer = found._replace(item_ids=found.item_ids[:5], item_vectors=found.item_vectors[:5])
    assert hs.vectors.save(fewer, tmp_path, "qdrant") == 1.0
    client = QdrantClient(path=str(tmp_path))
    assert client.count("halfstep_items").count == 5
    client.close()


def test_an_unreachable_qdrant_is_an_error(model: hs.ALS) -> None:
    with pytest.raises(OSError, match=r"Qdrant at http://127.0.0.1:9 does not respond"):
        model.export_vectors("http://127.0.0.1:9", "qdrant")


@Metrics
def test_pgvector_ranks_items_as_the_model_does(model: hs.ALS, database: str, metric: hs.vectors.Metric) -> None:
    assert model.export_vectors(database, "pgvector", metric=metric) == 1.0
    query = documented_query().replace("10", "30").replace("<#>", {"dot": "<#>", "cosine": "<=>"}[metric])
    with psycopg.connect(database) as connection:
        connection.execute("SET enable_indexscan = off")  # exact search
        lists = [[item for (item,) in connection.execute(query, [user])] for user in model.users_.ids.tolist()]
    assert lists == best(model, 30)


def test_pgvector_searches_its_index(model: hs.ALS, database: str) -> None:
    model.export_vectors(database, "pgvector")
    with psycopg.connect(database) as connection:
        connection.execute("SET enable_seqscan = off")
        plan = [line for (line,) in connection.execute(f"EXPLAIN {documented_query()}", ["u0"])]
        found = [item for (item,) in connection.execute(documented_query(), ["u0"])]
    assert any(re.search("Index Scan using halfstep_items\\w+vector_idx on halfstep_items", line) for line in plan), (
        plan
    )
    assert found == best(model)[0]


def test_pgvector_replaces_its_tables(model: hs.ALS, database: str) -> None:
    model.export_vectors(database, "pgvector", metric="cosine")
    other = hs.ALS(hs.Implicit(), rank=3, random_state=0).fit(model.interactions_)
    assert other.export_vectors(database, "pgvector", n=5) == 1.0
    with psycopg.connect(database) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE tablename LIKE 'halfstep%' ORDER BY 1")
        assert tables.fetchall() == [("halfstep_items",), ("halfstep_users",)]
        dimensions = connection.execute("SELECT DISTINCT vector_dims(vector) FROM halfstep_items").fetchall()
        assert dimensions == [(3,)]


def test_pgvector_leaves_other_schemas_as_they_are(model: hs.ALS, database: str) -> None:
    model.export_vectors(database, "pgvector")
    with psycopg.connect(database) as connection:
        connection.execute('CREATE SCHEMA "Books"')
    other = hs.ALS(hs.Implicit(), rank=3, random_state=0).fit(model.interactions_)
    other.export_vectors(f'{database}&options=-csearch_path%3D"Books",public', "pgvector")
    with psycopg.connect(database) as connection:
        for schema, dimensions in (("public", 5), ('"Books"', 3)):
            query = f"SELECT DISTINCT vector_dims(vector) FROM {schema}.halfstep_items"
            assert connection.execute(query).fetchall() == [(dimensions,)]


def test_errors_of_the_database_name_the_cause_without_the_password(model: hs.ALS) -> None:
    with pytest.raises(DataError, match=r"cannot be stored in PostgreSQL .*check the address") as caught:
        model.export_vectors("postgresql://someone:secret@127.0.0.1:9/nowhere", "pgvector")
    assert "secret" not in str(caught.value)
    with pytest.raises(ParameterError, match="target='folder': give the address of a database"):
        model.export_vectors("folder", "pgvector")


def test_ids_that_a_database_cannot_store_are_errors(tmp_path: Path) -> None:
    data = hs.Interactions.from_arrays([("a", 1), ("b", 2)], [1, 2])
    model = hs.ALS(hs.Implicit(), rank=2).fit(data)
    with pytest.raises(DataError, match="cannot be stored in Qdrant: convert them"):
        model.export_vectors(tmp_path / "q", "qdrant")
    with pytest.raises(DataError, match="cannot be stored in PostgreSQL: convert them"):
        model.export_vectors("postgresql://127.0.0.1:9/nowhere", "pgvector")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "module", "command"),
    [
        ("faiss", "faiss", "pip install faiss-cpu"),
        ("usearch", "usearch.index", "pip install usearch"),
        ("qdrant", "qdrant_client", "pip install qdrant-client"),
        ("pgvector", "psycopg", r"pip install 'psycopg\[binary\]'"),
    ],
)
def test_missing_packages_are_named(
    model: hs.ALS, monkeypatch: pytest.MonkeyPatch, name: hs.vectors.Format, module: str, command: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ModuleNotFoundError, match=command):
        model.export_vectors("postgresql://127.0.0.1:9/nowhere" if name == "pgvector" else "folder", name)


def test_recall_of_few_items(model: hs.ALS, tmp_path: Path) -> None:
    for n in (1000, np.int64(1000), np.int32(3)):
        assert model.export_vectors(tmp_path, "faiss", n=n) == 1.0
    with pytest.raises(ParameterError, match="format='annoy'"):
        model.export_vectors(tmp_path, "annoy")  # type: ignore[arg-type]


def test_the_documented_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(example, "vector-search.md", "exec"), names)
    assert re.match(r"recall@10 (1\.000|0\.9\d\d)\n\[", capsys.readouterr().out)
    assert set(names["item_ids"]) <= set(names["data"].item_ids)  # type: ignore[attr-defined, call-overload]


class TestCommand:
    @pytest.fixture
    def file(self, model: hs.ALS, tmp_path: Path) -> Path:
        model.save(tmp_path / "model.halfstep")
        return tmp_path / "model.halfstep"

    def test_prints_the_recall(self, shell: Shell, file: Path, tmp_path: Path) -> None:
        out, _ = shell("vectors", file, "-o", tmp_path / "v", "--format", "faiss", "--metric", "cosine", "-n", 5)
        assert out.splitlines() == [
            f"vectors of 20 users and 30 items, 6 dimensions, written to {tmp_path / 'v'}",
            "recall@5 of the index: 1.0000",
        ]
        assert (tmp_path / "v" / "items.faiss").exists()

    def test_prints_json(self, shell: Shell, file: Path, tmp_path: Path) -> None:
        out, _ = shell("vectors", file, "-o", tmp_path / "v", "--json")
        assert json.loads(out) == {
            "output": str(tmp_path / "v"), "users": 20, "items": 30, "dimensions": 5, "recall": None,
        }  # fmt: skip

    def test_errors_name_options(self, shell: Shell, file: Path, tmp_path: Path) -> None:
        _, problem = shell("vectors", file, "-o", "http://ann:secret@host", "--format", "npy", fails=1)
        assert problem == (
            "halfstep: --output 'http://ann:***@host' is an address, but --format npy is that of files: give a "
            "folder, or set --format pgvector or --format qdrant\n"
        )
        _, problem = shell("vectors", file, "-o", "", fails=1)
        assert problem == "halfstep: --output '': give a path\n"

    def test_hides_passwords(self, shell: Shell, file: Path, database: str) -> None:
        out, _ = shell("vectors", file, "-o", database.replace("tester@", "tester:secret@"), "--format", "pgvector")
        assert "written to postgresql://tester:***@/log_" in out
        assert "recall@10 of the index: 1.0000" in out


@pytest.mark.parametrize("kind", ["faiss", "usearch"])
def test_a_single_user_is_searched(model: hs.ALS, tmp_path: Path, kind: str) -> None:
    assert model.fold_in({"new": {7: 3.0, 14: 1.0}}).export_vectors(tmp_path / "one", kind) == 1.0


@pytest.mark.parametrize("kind", ["faiss", "usearch", "qdrant"])
def test_an_index_without_users_has_no_recall(model: hs.ALS, tmp_path: Path, kind: str) -> None:
    vectors = hs.vectors.of_model(model)
    without = vectors._replace(user_ids=vectors.user_ids[:0], user_vectors=vectors.user_vectors[:0])
    assert hs.vectors.save(without, tmp_path / "index", kind) is None


def test_items_of_another_format_are_removed(model: hs.ALS, tmp_path: Path) -> None:
    for kind, kept in (("npy", "items.npy"), ("faiss", "items.faiss"), ("usearch", "items.usearch")) * 2:
        model.export_vectors(tmp_path, kind)
        assert [path.name for path in sorted(tmp_path.glob("items.*"))] == [kept]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("ftp://ann:secret@host", r"Qdrant at ftp://ann:\*\*\*@host cannot be opened \(Unknown scheme: ftp\)"),
        ("http://ann:secret@127.0.0.1:9", r"Qdrant at http://ann:\*\*\*@127.0.0.1:9 does not respond"),
    ],
)
def test_errors_of_qdrant_do_not_show_passwords(model: hs.ALS, target: str, message: str) -> None:
    with pytest.raises(OSError, match=message):
        model.export_vectors(target, "qdrant")


@pytest.mark.parametrize(
    ("ids", "kind"), [([2**63, 2**63 + 1], "parquet"), (["a", "\ud800"], "parquet"), (["x", "x\0"], "npy")]
)
def test_ids_that_a_file_cannot_store_are_an_error(ids: list[object], kind: str, tmp_path: Path) -> None:
    popular = hs.ALS(hs.Explicit(), rank=2, random_state=0).fit(hs.Interactions.from_arrays(ids, ids, [1.0, 2.0]))
    with pytest.raises(DataError, match=r"stored .*convert them"):
        popular.export_vectors(tmp_path / "out", kind)
