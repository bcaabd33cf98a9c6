"""A server in this process."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator

import uvicorn
from threadpoolctl import threadpool_limits

from halfstep.serve.app import create_app
from halfstep.serve.config import ServeConfig
from halfstep.serve.connection import Connection
from halfstep.serve.gate import Gate

DRAIN_SECONDS = 1.0  # during which responses ask clients to close their connections
SWITCH_SECONDS = 0.001  # after which a thread releases the GIL, such as learning to requests


class Server(uvicorn.Server):
    """A server that lets clients close their connections before it stops.

    If the server closed a connection, a request that is already on its way would fail.
    """

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None], *, drains: bool) -> None:
        super().__init__(config)
        self._on_ready, self._drains = on_ready, drains

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at signals; afterwards the process exits with code 0 instead of being killed by the signal."""
        numbers = [signal.SIGINT, signal.SIGTERM]
        if hasattr(signal, "SIGHUP"):  # not on Windows
            numbers.append(signal.SIGHUP)
        before = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then report that the server is ready."""
        await super().startup(sockets)
        if self.started:
            gc.collect()
            gc.freeze()  # later collections skip the objects of all modules, which takes 0.1 s otherwise
            self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting connections, wait until clients have closed them, then stop."""
        if self._drains and not self.force_exit:
            for server in self.servers:
                server.close()
            self.config.app.is_draining = True  # type: ignore[union-attr]
            ends = asyncio.get_running_loop().time() + DRAIN_SECONDS
            while self.server_state.connections and asyncio.get_running_loop().time() < ends:
                await asyncio.sleep(0.02)
        await super().shutdown(sockets)


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(2048)
    except OSError as error:
        listening.close()
        raise OSError(f"cannot listen on {host}:{port} ({error.strerror}): choose another --host or --port") from None
    return listening


def settings_of(app: Gate) -> uvicorn.Config:
    """Return the settings for uvicorn."""
    return uvicorn.Config(
        app,
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=False,
        lifespan="on",
        proxy_headers=False,
        timeout_graceful_shutdown=10,
        timeout_keep_alive=30,
        ws="none",
        http=Connection,
    )


def serve(
    config: ServeConfig,
    listening: socket.socket,
    *,
    is_writer: bool = True,
    drains: bool = False,
    on_ready: Callable[[], None] = lambda: None,
) -> None:
    """Serve on a socket until a signal stops the process."""
    sys.setswitchinterval(SWITCH_SECONDS)
    threadpool_limits(1, user_api="blas")  # requests are too small to share among BLAS threads
    server = Server(settings_of(create_app(config, is_writer=is_writer)), on_ready, drains=drains)
    server.run(sockets=[listening])
    if not server.started:
        raise SystemExit(1)


def log_to_standard_error() -> None:
    """Log to standard error, without ids, keys and addresses."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING, stream=sys.stderr)
    logging.getLogger("halfstep.serve").setLevel(logging.INFO)
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # its warnings are about single invalid requests
