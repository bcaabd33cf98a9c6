"""Spark's sessions, of which one process has one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import halfstep as hs
import spark_session


@pytest.fixture(scope="session", autouse=True)
def spark_is_stopped() -> Iterator[None]:
    spark_session.require_spark()
    yield
    spark_session.stop()


@pytest.fixture(scope="session")
def movielens() -> hs.Interactions:
    return hs.datasets.movielens_100k()


@pytest.fixture(scope="session")
def ratings_file(movielens: hs.Interactions, tmp_path_factory: pytest.TempPathFactory) -> str:
    """MovieLens 100K in two parquet files, with ids as integers of 32 bits."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = tmp_path_factory.mktemp("ratings")
    table = pa.table(
        {
            "userId": pa.array(movielens.user_ids.astype("int32")),
            "movieId": pa.array(movielens.item_ids.astype("int32")),
            "rating": pa.array(movielens.values.astype("float32")),
        }
    )
    for number, part in enumerate((table[:60_000], table[60_000:])):
        pq.write_table(part, folder / f"{number}.parquet")
    return str(folder)


@pytest.fixture
def ratings(ratings_file: str) -> Any:
    """The same as a dataframe of the current session."""
    return spark_session.spark_session("local").read.parquet(ratings_file)
