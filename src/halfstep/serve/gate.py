"""Middleware for all requests: checks of size, host and key, response headers, metrics, and errors."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import unquote_to_bytes

from fastapi import Response

from halfstep.serve.config import LOOPBACK, ServeConfig
from halfstep.serve.direct import DirectLists
from halfstep.serve.keys import KeyRing, Scope
from halfstep.serve.metrics import Metrics
from halfstep.serve.problem import ProblemError

LOG = logging.getLogger("halfstep.serve")
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = [
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]
_NOT_STORED, _CHECKED = (b"cache-control", b"no-store"), (b"cache-control", b"no-cache")
_SCOPES: dict[tuple[str, str], Scope] = {
    ("POST", "/v1/events"): "write",
    ("POST", "/v1/recommendations"): "read",
    ("POST", "/v1/model"): "admin",
    ("GET", "/v1/model/file"): "admin",
}
LONGEST_NUMBER = 20  # digits
FAILED = ProblemError(500, "an internal error occurred; its type is in the log of the server: send the request again")


class Gate:
    """ASGI middleware around the application.

    Parameters
    ----------
    direct : DirectLists
        Answers the most frequent requests instead.
    keys : KeyRing or None
        None if no key is needed.

    Attributes
    ----------
    is_draining : bool
        Whether responses ask clients to close their connections, because this process is about to stop.
    """

    def __init__(
        self, app: App, direct: DirectLists, config: ServeConfig, keys: KeyRing | None, metrics: Metrics
    ) -> None:
        self._app, self._direct, self._config, self._keys, self._metrics = app, direct, config, keys, metrics
        self._hosts = {name.lower() for name in (*LOOPBACK, "[::1]", *config.hosts)}
        self._count = 0
        self.is_draining = False

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # Encoded slashes stay encoded, and routes and keys see the same path; some servers append the query.
        scope["path"] = scope["raw_path"].partition(b"?")[0].decode("ascii")
        began, status = time.perf_counter(), 500
        headers: dict[bytes, bytes] = dict(scope["headers"])
        if b"range" in headers:  # not supported; errors of Starlette are not problem details
            scope["headers"] = [header for header in scope["headers"] if header[0] != b"range"]
        is_answer = scope["path"].startswith(("/v1/", "/metrics", "/health/"))
        more = [*HEADERS, _NOT_STORED if is_answer else _CHECKED, *self._cors(headers)]
        if self.is_draining:
            more.append((b"connection", b"close"))
        has_started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal status, has_started
            if message["type"] == "http.response.start":
                has_started, status = True, message["status"]
                message["headers"] = [*message["headers"], *more]
            await send(message)

        self._count += 1
        try:
            if scope["method"] == "OPTIONS" and b"access-control-request-method" in headers:
                await Response(status_code=204)(scope, receive, send_with_headers)
                return
            self._check(scope, headers)
            query = self._direct.query_of(scope)
            if query is None:
                await self._app(scope, self._limited(receive), send_with_headers)
            else:
                scope["route"] = self._direct
                await self._direct.answer(query, send_with_headers)
        except ProblemError as problem:
            if not has_started:
                await problem.response()(scope, receive, send_with_headers)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # its message may contain ids
            LOG.error("%s %s failed: %s", scope["method"], _route(scope), type(error).__name__)
            if not has_started:
                await FAILED.response()(scope, receive, send_with_headers)
        finally:
            self._count -= 1
            self._metrics.observe(_route(scope), scope["method"], status, began)

    def _check(self, scope: MutableMapping[str, Any], headers: dict[bytes, bytes]) -> None:
        """Raise an error if the request is not allowed."""
        path, method = scope["path"], scope["method"]
        _check_encoding(path, scope["query_string"])
        if self._count > self._config.max_requests and not path.startswith("/health/"):
            raise ProblemError(
                429, "too many concurrent requests: send this one again later", headers={"Retry-After": "1"}
            )
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or len(length) > LONGEST_NUMBER or int(length) > self._config.max_body:
            raise _too_large(self._config.max_body)
        if path.startswith("/health/") or not path.startswith(("/v1/", "/metrics")):
            if self._keys is None:
                self._check_host(headers)
            return
        if self._keys is None:
            self._check_host(headers)
        else:
            self._check_key(self._keys, headers, self._scope_of(method, path))
        has_body = int(length) > 0 or b"transfer-encoding" in headers
        if method == "POST" and has_body and not _is_json(headers):
            raise ProblemError(415, "the body is not JSON: send it with the header Content-Type: application/json")
        if has_body and headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise ProblemError(415, "the body is compressed, which is not supported: send it uncompressed")

    def _check_host(self, headers: dict[bytes, bytes]) -> None:
        """Refuse unknown host names, by which web pages could reach a server without keys (DNS rebinding)."""
        host = headers.get(b"host", b"").decode("latin-1")
        name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
        if name.lower().removesuffix(".") not in self._hosts:
            raise ProblemError(
                421, "the host of this request is not allowed: use localhost, or start the server with --host-name"
            )

    @staticmethod
    def _scope_of(method: str, path: str) -> Scope:
        reads = method in ("GET", "HEAD", "OPTIONS")
        return _SCOPES.get(("GET" if method == "HEAD" else method, path), "read" if reads else "admin")

    @staticmethod
    def _check_key(keys: KeyRing, headers: dict[bytes, bytes], scope: Scope) -> None:
        given = headers.get(b"authorization", b"").decode("latin-1")
        scheme, _, key = given.partition(" ")
        found = keys.find(key.strip())
        if found is None or scheme.lower() != "bearer":
            raise ProblemError(
                401,
                "the API key is missing or unknown: send the header Authorization: Bearer KEY",
                headers={"WWW-Authenticate": "Bearer"},
            )
        if not found.allows(scope):
            raise ProblemError(403, f"the API key does not have the scope {scope!r}: use another key")

    def _cors(self, headers: dict[bytes, bytes]) -> list[tuple[bytes, bytes]]:
        """Return the headers for a web page of another origin, if this origin is listed."""
        origin = headers.get(b"origin")
        if not self._config.origins or origin is None:
            return []
        if origin.decode("latin-1") not in self._config.origins:
            return [(b"vary", b"Origin")]
        return [
            (b"vary", b"Origin"),
            (b"access-control-allow-origin", origin),
            (b"access-control-allow-methods", b"GET, POST, DELETE"),
            (b"access-control-allow-headers", b"Authorization, Content-Type"),
            (b"access-control-max-age", b"600"),
        ]

    def _limited(self, receive: Receive) -> Receive:
        """Return a function like `receive` that raises an error if the body exceeds the limit."""
        size = 0

        async def limited() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self._config.max_body:
                raise _too_large(self._config.max_body)
            return message

        return limited


def _check_encoding(path: str, query: bytes) -> None:
    """Refuse URLs that are not UTF-8, because different ids would be decoded to the same one."""
    if "%" not in path and b"%" not in query:
        return
    try:
        unquote_to_bytes(path).decode()
        unquote_to_bytes(query).decode()
    except UnicodeDecodeError:
        raise ProblemError(
            400, "the URL has bytes that are not UTF-8: encode ids as UTF-8, then percent-encode them"
        ) from None


def _too_large(limit: int) -> ProblemError:
    return ProblemError(413, f"the body is larger than {limit:,} bytes: send it in parts")


def _is_json(headers: dict[bytes, bytes]) -> bool:
    kind = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
    return kind == b"application/json"


def _route(scope: MutableMapping[str, Any]) -> str:
    """Return the pattern of the route, which contains no ids."""
    route = scope.get("route")
    return getattr(route, "path_format", None) or getattr(route, "path", None) or "other"
