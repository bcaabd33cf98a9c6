"""Spark's sessions, of which one process has one at a time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import spark_session


@pytest.fixture(scope="session", autouse=True)
def spark_is_stopped() -> Iterator[None]:
    spark_session.require_spark()
    yield
    spark_session.stop()
