"""Models, event logs and servers for tests."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from halfstep.serve.app import create_app
from halfstep.serve.config import ServeConfig
from postgresql import new_database, postgres, programs
from served import MODELS

Start = Callable[..., AbstractContextManager[TestClient]]


@pytest.fixture(scope="session")
def model_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    files = {name: folder / f"{name}.halfstep" for name in MODELS}
    for name, path in files.items():
        MODELS[name]().save(path)
    return files


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    if programs() is None:
        if os.environ.get("HALFSTEP_TEST_SERVICES") == "required":
            pytest.fail("PostgreSQL is not installed")
        pytest.skip("PostgreSQL is not installed")
    with postgres() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def log_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new event log, in each database."""
    if request.param == "sqlite":
        return str(tmp_path / "events.sqlite")
    return new_database(request.getfixturevalue("postgres_url"))


@pytest.fixture
def start(tmp_path: Path, model_files: dict[str, Path]) -> Start:
    """Start a server in this process, with a copy of a model: ``with start("ratings") as client``."""

    @contextmanager
    def started(name: str = "ratings", **settings: Any) -> Iterator[TestClient]:
        path = tmp_path / f"{name}.halfstep"
        if not path.exists():
            path.write_bytes(model_files[name].read_bytes())
        config = replace(ServeConfig.beside(path), **settings)
        with TestClient(create_app(config), base_url="http://localhost", raise_server_exceptions=False) as client:
            yield client

    return started
