"""Models, event logs and servers for tests."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi.testclient import TestClient

from halfstep.serve.app import create_app
from halfstep.serve.config import ServeConfig
from halfstep.serve.server import listen, settings_of
from postgresql import new_database, postgres, programs
from served import MODELS

Start = Callable[..., AbstractContextManager[TestClient]]


class Live:
    """A server on a port, in a thread of this process."""

    def __init__(self, config: ServeConfig) -> None:
        self.gate = create_app(config)
        self._socket = listen("127.0.0.1", 0)
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._server = uvicorn.Server(settings_of(self.gate))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]})

    def __enter__(self) -> Live:
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive()
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()

    def send(self, *parts: bytes, pause: float = 0.0, seconds: float = 10.0) -> bytes:
        """Send bytes on a new connection, and return what comes until the connection closes."""
        received = b""
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as connection:
            with suppress(ConnectionError):
                for part in parts:
                    connection.sendall(part)
                    time.sleep(pause)
            with suppress(ConnectionError):
                while data := connection.recv(1 << 16):
                    received += data
        return received


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


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
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


@pytest.fixture
def live(tmp_path: Path, model_files: dict[str, Path]) -> Callable[..., Live]:
    """A server on a port, with a copy of a model: ``with live("ratings") as server``."""

    def prepared(name: str = "ratings", **settings: Any) -> Live:
        path = tmp_path / f"{name}.halfstep"
        path.write_bytes(model_files[name].read_bytes())
        return Live(replace(ServeConfig.beside(path), **settings))

    return prepared
