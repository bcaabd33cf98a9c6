"""Servers in other processes, and clients that put them under load."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2 as httpx

COMMAND = "from halfstep.cli import main; main()"
START_SECONDS = 60.0


@dataclass
class ServerProcess:
    """A running ``halfstep serve``."""

    process: subprocess.Popen[str]
    url: str
    log: list[str] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(60)


def start_server(model: Path, *options: object, port: int = 0, env: Mapping[str, str] = {}) -> ServerProcess:
    """Start a server, and return it when it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, "serve", str(model), "--port", str(port), *map(str, options)],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env={**os.environ, **env},
    )  # fmt: skip
    started = ServerProcess(process, "")
    ready = threading.Event()

    def read() -> None:
        assert process.stderr is not None
        with process.stderr:
            for line in process.stderr:
                started.log.append(line)
                if found := re.search(r"serving .* at (http://\S+)", line):
                    started.url = found[1]
                    ready.set()
        ready.set()

    threading.Thread(target=read, daemon=True).start()
    if not ready.wait(START_SECONDS) or not started.url:
        process.kill()
        process.wait()
        raise AssertionError(f"the server did not start: {''.join(started.log)}")
    return started


@contextmanager
def server(model: Path, *options: object, **more: Any) -> Iterator[ServerProcess]:
    """Run a server."""
    started = start_server(model, *options, **more)
    try:
        yield started
    finally:
        if started.process.poll() is None:
            started.stop(signal.SIGTERM)


class EventLoad:
    """Threads that send events until they are stopped, and remember which were acknowledged.

    A request that fails is sent again with the same event_ids, as clients should.

    Parameters
    ----------
    url : callable
        Returns the address, which changes after a restart.
    make : callable
        Returns an event from a number, without its event_id.
    sizes : tuple of int
        The number of events of a request, for each thread.
    pause : float
        Seconds between the requests of a thread.
    """

    def __init__(
        self,
        url: Callable[[], str],
        make: Callable[[int], dict[str, Any]],
        sizes: tuple[int, ...],
        pause: float = 0.0,
    ) -> None:
        self._url, self._make, self._pause = url, make, pause
        self.acknowledged: dict[str, int] = {}  # offsets by event_id
        self.sent: set[str] = set()
        self.failures = 0
        self.unexpected: list[str] = []
        self._stop, self._lock, self._number = threading.Event(), threading.Lock(), 0
        self._threads = [threading.Thread(target=self._send, args=(size,), daemon=True) for size in sizes]

    def __enter__(self) -> EventLoad:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _send(self, size: int) -> None:
        client = httpx.Client(timeout=10)
        while not self._stop.wait(self._pause):
            with self._lock:
                numbers = range(self._number, self._number + size)
                self._number += size
            events = [{"event_id": uuid.uuid4().hex, **self._make(number)} for number in numbers]
            self.sent |= {each["event_id"] for each in events}
            while not self._stop.is_set():
                try:
                    answer = client.post(f"{self._url()}/v1/events", json=events if size > 1 else events[0])
                except httpx.TransportError:
                    self.failures += 1
                    client.close()
                    client = httpx.Client(timeout=10)
                    time.sleep(0.05)
                    continue
                if answer.status_code == 200:
                    stored = answer.json()["events"]
                    self.acknowledged |= {each["event_id"]: each["offset"] for each in stored}
                    break
                if answer.status_code not in (429, 503, 507):
                    self.unexpected.append(f"{answer.status_code}: {answer.text}")
                    break
                self.failures += 1
                time.sleep(0.05)
        client.close()


def wait_until_learned(url: str, seconds: float = 60.0) -> dict[str, Any]:
    """Wait until the model has learned from all events, and return its description."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        with contextlib.suppress(httpx.TransportError):
            description: dict[str, Any] = httpx.get(f"{url}/v1/model", timeout=10).json()
            if description["lag"] == 0:
                return description
        time.sleep(0.05)
    raise AssertionError("the model has not learned from all events in time")
