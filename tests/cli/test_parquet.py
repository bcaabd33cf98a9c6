"""Lists in parquet files, in row groups of bounded size."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from pyarrow import parquet as pq

from halfstep.cli import parquet
from halfstep.cli.parquet import as_parquet

KINDS = {"user": "BIGINT", "item": "VARCHAR", "score": "DOUBLE"}


def test_row_groups() -> None:
    rows = [(k // 10, None if k % 7 == 0 else f"item {k}", k / 3) for k in range(2 * parquet.ROW_GROUP + 5)]
    blocks = [rows[start : start + 1000] for start in range(0, len(rows), 1000)]
    file = pq.ParquetFile(io.BytesIO(b"".join(as_parquet(blocks, KINDS))))
    assert file.metadata.num_row_groups == 3
    assert [tuple(row.values()) for row in file.read().to_pylist()] == rows


@pytest.mark.slow
def test_memory_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that take more than the memory of DuckDB are on disk."""
    monkeypatch.setattr(parquet, "MEMORY", "150MB")

    def blocks() -> Iterator[list[tuple[object, ...]]]:
        for block in range(30):
            yield [(k, f"{hash((block, k)):x}" * 40, 0.5) for k in range(10_000)]

    size = sum(map(len, as_parquet(blocks(), KINDS)))
    assert size > 10_000_000
