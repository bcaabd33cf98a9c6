"""Connections that send too much, too slowly, or something other than HTTP."""

import asyncio
import json
import logging
import socket
import tempfile
import threading
import time

import pytest

from halfstep.serve import connection as connection_module
from halfstep.serve.app import TemporaryFile
from halfstep.serve.connection import LARGEST_HEAD, Connection, most_connections

pytestmark = pytest.mark.slow

GET = b"GET /v1/model HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
CLOSE = b"Connection: close\r\n\r\n"
EVENT = json.dumps({"event_id": "e", "user": "u1", "item": "i1", "value": 3.0}).encode()


def status_of(answer):
    return int(answer.split(b" ", 2)[1]) if answer else None


def problem_of(answer):
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head, answer
    assert b"connection: close" in head
    return json.loads(body)


def test_a_request_in_pieces_is_answered(live):
    body = GET + b"X-Long: " + b"x" * 60_000 + b"\r\n" + CLOSE
    with live() as server:
        assert status_of(server.send(body)) == 200
        assert status_of(server.send(*(body[k : k + 20_000] for k in range(0, len(body), 20_000)), pause=0.01)) == 200
        sent = POST + b"Content-Length: %d\r\n" % len(EVENT) + CLOSE + EVENT
        assert status_of(server.send(*(sent[k : k + 9] for k in range(0, len(sent), 9)), pause=0.001)) == 200


@pytest.mark.parametrize(
    "parts",
    [
        (GET + b"X: " + b"x" * LARGEST_HEAD + b"\r\n" + CLOSE,),
        (GET, *[b"X-%d: x\r\n" % k for k in range(10_000)]),
        (GET + b"X: ", *[b"x" * 1000] * 1000),
        (b"GET /" + b"x" * LARGEST_HEAD + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",),
        (b"GET /", *[b"x" * 1000] * 1000),
        (b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n" + GET + b"X: ", *[b"x" * 1000] * 1000),
    ],
    ids=["header", "headers", "endless header", "url", "endless url", "second request"],
)
def test_a_head_that_is_too_large_is_refused(live, parts):
    with live() as server:
        answer = server.send(*parts)
        assert b"HTTP/1.1 431" in answer or not answer  # nothing if it is still being sent when the server closes
        assert status_of(server.send(GET + CLOSE)) == 200


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"", None),
        (b"\r\n", None),
        (GET, 408),
        (GET + b"Connection: keep-alive\r\nX", 408),
        (POST + b"Content-Length: 100\r\n\r\n{", 408),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", 408),
        (POST + b"Expect: 100-continue\r\nContent-Length: 100\r\n\r\n", 100),
    ],
    ids=["nothing", "line", "head", "header", "body", "chunk", "expect"],
)
def test_an_incomplete_request_times_out(live, monkeypatch, caplog, sent, status):
    monkeypatch.setattr(connection_module, "REQUEST_SECONDS", 0.3)
    with live() as server:
        answer = server.send(sent)
        assert status_of(answer) == status
        if status == 408:
            assert "did not arrive within 30 seconds: send it again" in problem_of(answer)["detail"]
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


def test_a_slow_client_that_keeps_sending_times_out(live, monkeypatch):
    monkeypatch.setattr(connection_module, "REQUEST_SECONDS", 0.3)
    with live() as server:
        began = time.monotonic()
        for endless in (b"X-A: b\r\n", b"\r\n"):
            first = GET if endless != b"\r\n" else b""
            server.send(first, *[endless] * 20, pause=0.05)
        assert time.monotonic() - began < 5
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as kept:
            for _ in range(4):  # pauses between requests are not counted
                kept.sendall(GET + b"\r\n")
                assert kept.recv(1 << 16).startswith(b"HTTP/1.1 200")
                time.sleep(0.2)


def test_a_client_that_disconnects_is_not_a_failure(live, caplog):
    with live() as server:
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", server.port)) as left:
                left.sendall(POST + b"Content-Length: 100\r\n\r\n{")
        time.sleep(0.2)
        metrics = server.send(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n" + CLOSE).decode()
        assert 'status="499"' in metrics
        assert 'status="500"' not in metrics
        assert status_of(server.send(POST + b"Content-Length: %d\r\n" % len(EVENT) + CLOSE + EVENT)) == 200
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


def test_a_download_leaves_no_file(live, monkeypatch, tmp_path):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    with live() as server:
        request = b"GET /v1/model/file HTTP/1.1\r\nHost: localhost\r\n" + CLOSE
        assert status_of(server.send(request)) == 200
        gone = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(10)]
        for each in gone:
            each.sendall(request)
            each.close()
        assert status_of(server.send(GET + CLOSE)) == 200
    assert list(temporary.iterdir()) == []


def test_a_download_that_a_stopping_server_cancels_leaves_no_file(tmp_path):
    folder = tmp_path / "temporary"
    folder.mkdir()
    (folder / "model.halfstep").write_bytes(b"x" * 1_000_000)

    async def never(*arguments):
        await asyncio.Event().wait()

    async def run():
        scope = {"type": "http", "method": "GET", "headers": [], "extensions": {}}
        download = asyncio.create_task(TemporaryFile(folder / "model.halfstep")(scope, never, never))
        await asyncio.sleep(0.05)
        assert folder.exists()
        download.cancel()
        with pytest.raises(asyncio.CancelledError):
            await download

    asyncio.run(run())
    assert not folder.exists()


def test_file_descriptors_are_left_when_there_are_too_many_connections(live, monkeypatch):
    assert 0 < most_connections() <= 1 << 30
    monkeypatch.setattr(Connection, "_most", 20)
    with live() as server:
        idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(20)]
        answer = server.send(b"")
        assert status_of(answer) == 503
        assert "too many connections" in problem_of(answer)["detail"]
        for each in idle:
            each.close()
        time.sleep(0.1)
        assert status_of(server.send(GET + CLOSE)) == 200


def test_trailers_are_not_headers(live):
    chunked = b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    body = b"%x\r\n%s\r\n0\r\nHost: evil.example\r\nX: y\r\n\r\n" % (len(EVENT), EVENT)
    with live() as server:
        assert status_of(server.send(POST + chunked + body)) == 200


def test_requests_at_the_same_time_as_slow_ones_are_answered(live):
    with live(max_requests=50) as server:
        slow = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(100)]
        for each in slow:
            each.sendall(GET + b"X-Never: ends")
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(server.send(GET + CLOSE))) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [status_of(each) for each in answers] == [200] * 10
        for each in slow:
            each.close()
