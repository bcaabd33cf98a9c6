"""HTTP connections that limit the size and the duration of a request before it reaches the application."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from halfstep.serve.problem import MEDIA_TYPE, ProblemError

LARGEST_HEAD = 1 << 16  # bytes of the URL and the headers
REQUEST_SECONDS = 30.0  # within which a request must arrive
RESERVED_FILES = 100  # file descriptors for the log, the model and the snapshot
_INVALID = ProblemError(400, "this is not a valid HTTP request: use an HTTP client")
_TOO_LARGE = ProblemError(431, f"the URL and the headers exceed {LARGEST_HEAD:,} bytes: shorten them")
_TOO_SLOW = ProblemError(408, f"the request did not arrive within {REQUEST_SECONDS:g} seconds: send it again")
_TOO_MANY = ProblemError(503, "too many connections: connect again later", headers={"Retry-After": "1"})


def most_connections() -> int:
    """Return the maximum number of connections, given the file descriptors of this process."""
    if sys.platform == "win32":
        return 10_000
    import resource

    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 10_000 if files == resource.RLIM_INFINITY else max(RESERVED_FILES, files - RESERVED_FILES)


class Connection(HttpToolsProtocol):
    """A connection that is closed if a request is too large or arrives too slowly."""

    _most = most_connections()
    _deadline: asyncio.TimerHandle | None = None
    _problem = _INVALID
    _head_size = 0  # bytes received before the end of the headers
    _is_in_head = True
    _is_incomplete = False  # whether a request has begun, but not ended
    _has_completed = False  # whether the current data completed a request

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timeout of the first request."""
        super().connection_made(transport)
        self._deadline = self.loop.call_later(REQUEST_SECONDS, self._end_slow)
        if len(self.connections) > self._most:
            self._refuse(_TOO_MANY)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timeout."""
        super().connection_lost(exc)
        self._stop_waiting()

    def data_received(self, data: bytes) -> None:
        """Parse data, and start the timeout of a request that is incomplete."""
        self._head_size += len(data)
        self._has_completed = False
        super().data_received(data)
        if self._is_in_head and self._head_size > LARGEST_HEAD:
            self._refuse(_TOO_LARGE)
        elif self._deadline is None and (self._is_incomplete or not self._has_completed):
            self._deadline = self.loop.call_later(REQUEST_SECONDS, self._end_slow)

    def on_message_begin(self) -> None:
        """Record that a request has begun."""
        super().on_message_begin()
        self._is_in_head = self._is_incomplete = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a header; ignore trailers after the body."""
        if self._is_in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Pass the request to the application, unless the URL and the headers are too large."""
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > LARGEST_HEAD:
            self._problem = _TOO_LARGE
            raise ValueError  # stops the parser, which calls send_400_response
        self._is_in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Cancel the timeout, because the request is complete."""
        self._is_in_head, self._is_incomplete, self._head_size = True, False, 0
        self._has_completed = True
        self._stop_waiting()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Respond to a request that could not be parsed."""
        self._refuse(self._problem)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _end_slow(self) -> None:
        self._deadline = None
        if self._is_incomplete:
            self._refuse(_TOO_SLOW)
        elif self.cycle is None or self.cycle.response_complete:
            self.transport.close()

    def _refuse(self, problem: ProblemError) -> None:
        """Send an error, unless another response has begun, and close the connection."""
        cycle: Any = self.cycle
        is_next = cycle is None or not cycle.response_started or (self._is_in_head and cycle.response_complete)
        if is_next and not self.transport.is_closing():
            body = problem.body()
            headers = {"content-type": MEDIA_TYPE, "content-length": len(body), "connection": "close"}
            lines = [f"{name}: {value}" for name, value in {**headers, **problem.headers}.items()]
            self.transport.write("\r\n".join([f"HTTP/1.1 {problem.status} ", *lines, "", ""]).encode() + body)
        self.transport.close()
