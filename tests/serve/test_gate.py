"""Keys, hosts, origins, limits and headers of every request."""

import gzip
import json
import logging
import re
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor

import httpx2 as httpx
import pytest

from halfstep.errors import DataError, ParameterError
from halfstep.serve import keys as keys_module
from halfstep.serve import lookups
from halfstep.serve.event import LogUnavailableError
from halfstep.serve.keys import Key, KeyRing, add_key, parse_scopes, read_keys, remove_key

EVENT = {"event_id": "e", "user": "u1", "item": "i1", "value": 3.0}


@pytest.fixture
def keyed(start, tmp_path):
    """A server with a key of each scope, as a function of a key's name."""
    file = tmp_path / "keys.json"
    keys = {scope: add_key(file, scope, (scope,)) for scope in ("read", "write", "admin")}
    with start("ratings", keys=str(file)) as client:
        yield client, {name: {"authorization": f"Bearer {key}"} for name, key in keys.items()}, file


REQUESTS = {
    "read": [("GET", "/v1/users/u1/recommendations", None), ("GET", "/metrics", None), ("GET", "/v1/model", None),
             ("POST", "/v1/recommendations", {"users": ["u1"]})],
    "write": [("POST", "/v1/events", EVENT)],
    "admin": [("DELETE", "/v1/users/u9", None), ("POST", "/v1/model", {}), ("GET", "/v1/model/file", None)],
}  # fmt: skip


def test_each_route_needs_its_scope_and_admin_has_all(keyed):
    client, headers, _ = keyed
    for scope, requests in REQUESTS.items():
        for method, path, body in requests:
            for name, header in headers.items():
                answer = client.request(method, path, json=body, headers=header)
                assert (answer.status_code < 300) == (name in (scope, "admin")), (method, path, name, answer.text)
                assert name in (scope, "admin") or answer.status_code == 403


@pytest.mark.parametrize("path", ["/v1/model/file%0A", "/v1/model%2Ffile", "/v1//model/file", "/v1/model/file/"])
def test_another_spelling_of_a_path_needs_the_same_scope(keyed, path):
    client, headers, _ = keyed
    assert client.get(path, headers=headers["read"]).status_code in (403, 404)
    assert client.get(path, headers=headers["admin"]).status_code == 404


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Bearer wrong", "Basic YTpi", "Bearer hs_ü", "bearer\thello"]
)
def test_a_missing_or_wrong_key_is_401(keyed, header):
    client, _, _ = keyed
    headers = {} if header is None else {"authorization": header.encode()}
    for requests in REQUESTS.values():
        for method, path, body in requests:
            answer = client.request(method, path, json=body, headers=headers)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert client.get("/health/live").status_code == 200
    assert client.get("/").status_code == 200


def test_a_removed_key_is_refused_by_the_running_server(keyed, monkeypatch):
    client, headers, file = keyed
    monkeypatch.setattr(keys_module, "CHECK_SECONDS", 0.0)
    assert client.get("/v1/model", headers=headers["read"]).status_code == 200
    remove_key(file, "read")
    assert client.get("/v1/model", headers=headers["read"]).status_code == 401
    assert client.get("/v1/model", headers=headers["admin"]).status_code == 200
    moved = file.rename(file.with_name("moved.json"))
    assert client.get("/v1/model", headers=headers["admin"]).status_code == 401
    moved.rename(file)
    assert client.get("/v1/model", headers=headers["admin"]).status_code == 200
    file.write_text("broken")
    assert client.get("/v1/model", headers=headers["admin"]).status_code == 401


def test_the_file_of_keys_has_digests_only_and_is_private(tmp_path):
    file = tmp_path / "keys.json"
    key = add_key(file, "web", parse_scopes("write, read"))
    assert re.fullmatch(r"hs_[\w-]{43}", key)
    assert key not in file.read_text()
    assert file.stat().st_mode & 0o077 == 0
    assert [(k.name, k.scopes) for k in read_keys(file)] == [("web", ("read", "write"))]
    with pytest.raises(ParameterError, match="has a key named 'web'"):
        add_key(file, "web", ("read",))
    with pytest.raises(ParameterError, match="the name of the key is ' '"):
        add_key(file, " ", ("read",))
    with pytest.raises(ParameterError, match=r"no key named 'app': give one of 'web'"):
        remove_key(file, "app")
    with pytest.raises(ParameterError, match="'sing' is unknown"):
        parse_scopes("read,sing")


@pytest.mark.parametrize(
    "text", ["", "{}", "[1]", '[{"name": "a"}]', '[{"name":"a","sha256":"00","scopes":["read"]}]']
)
def test_an_invalid_file_of_keys_is_an_error(tmp_path, text):
    file = tmp_path / "keys.json"
    file.write_text(text)
    with pytest.raises(DataError, match="halfstep keys"):
        read_keys(file)


def test_all_keys_are_compared_in_constant_time(tmp_path, monkeypatch):
    file = tmp_path / "keys.json"
    keys = [add_key(file, str(number), ("read",)) for number in range(5)]
    ring, compared = KeyRing(file), []

    def compare(one, other):
        compared.append((len(one), len(other)))
        return one == other

    monkeypatch.setattr(keys_module.hmac, "compare_digest", compare)
    for key, name in ((keys[0], "0"), (keys[4], "4"), ("wrong", None), ("", None)):
        compared.clear()
        found = ring.find(key)
        assert (None if found is None else found.name) == name
        assert compared == [(64, 64)] * 5
    assert Key("a", "", ("admin",)).allows("write")


def test_other_hosts_are_refused_without_keys(start):
    with start("ratings", hosts=("recommender.internal",)) as client:
        for host, status in {
            "localhost:8000": 200, "127.0.0.1": 200, "[::1]:8000": 200, "recommender.internal:80": 200,
            "LocalHost.:8000": 200, "localhost@evil.example": 421, "evil.example:localhost": 421,
            "[::1": 421, "localhost:8000:evil": 421, "127.0.0.1.evil.example": 421, "0": 421, "2130706433": 421,
            "evil.example": 421, "": 421, "localhost.evil.example": 421,
        }.items():  # fmt: skip
            assert client.get("/v1/model", headers={"host": host}).status_code == status, host
        assert client.get("/", headers={"host": "evil.example"}).status_code == 421


def test_pages_of_other_origins_are_refused_unless_they_are_listed(start):
    preflight = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}
    with start("ratings") as client:
        answer = client.options("/v1/events", headers={"origin": "https://evil.example", **preflight})
        assert "access-control-allow-origin" not in answer.headers
        simple = client.post("/v1/events", content=json.dumps(EVENT), headers={"content-type": "text/plain"})
        assert simple.status_code == 415
        parts = iter([json.dumps(EVENT).encode()])
        assert client.post("/v1/events", content=parts, headers={"content-type": "text/plain"}).status_code == 415
    with start("ratings", origins=("https://shop.example",)) as client:
        listed = client.options("/v1/events", headers={"origin": "https://shop.example", **preflight})
        assert listed.status_code == 204
        assert listed.headers["access-control-allow-origin"] == "https://shop.example"
        other = client.options("/v1/events", headers={"origin": "https://evil.example", **preflight})
        assert "access-control-allow-origin" not in other.headers
        assert "access-control-allow-credentials" not in listed.headers


def test_every_response_has_the_security_headers(start):
    with start("ratings") as client:
        for path in ("/", "/v1/model", "/nothing", "/v1/users/u1/recommendations?n=0", "/health/live"):
            headers = client.get(path).headers
            assert "script-src 'self'" in headers["content-security-policy"]
            assert "unsafe-inline" not in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
            assert "set-cookie" not in headers
            assert headers["cache-control"] == ("no-cache" if path in ("/", "/nothing") else "no-store")
        page = client.get("/style.css")
        assert client.get("/style.css", headers={"if-none-match": page.headers["etag"]}).status_code == 304


def test_a_body_over_the_limit_is_413_with_and_without_its_length(start):
    with start("ratings", max_body=2000) as client:
        assert client.post("/v1/events", json=EVENT | {"type": "x" * 3000}).status_code == 413
        parts = (b" " * 500 for _ in range(10))
        answer = client.post("/v1/events", content=parts, headers={"content-type": "application/json"})
        assert answer.status_code == 413
        assert client.post("/v1/events", json=[EVENT | {"event_id": str(k)} for k in range(5)]).status_code == 200
    with start("ratings", max_batch=3) as client:
        many = client.post("/v1/events", json=[EVENT | {"event_id": str(k)} for k in range(5)])
        assert many.status_code == 422
        assert "send at most 3" in many.json()["detail"]


def test_a_compressed_body_is_415(start):
    with start("ratings") as client:
        headers = {"content-type": "application/json", "content-encoding": "gzip"}
        answer = client.post("/v1/events", content=gzip.compress(b"{}"), headers=headers)
    assert answer.status_code == 415
    assert "uncompressed" in answer.json()["detail"]


def test_a_full_queue_is_429_with_retry_after(start):
    with start("ratings", max_waiting=2) as client:
        answer = client.post("/v1/events", json=[EVENT | {"event_id": str(k)} for k in range(3)])
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
        assert client.post("/v1/events", json=EVENT).status_code == 200
    with start("ratings", max_requests=0) as client:
        assert client.get("/v1/model").headers["retry-after"] == "1"
        assert client.get("/health/live").status_code == 200


@pytest.mark.parametrize(("is_full", "status"), [(True, 507), (False, 503)])
def test_an_unavailable_log_is_a_clear_error_and_recommendations_continue(
    start, monkeypatch, is_full, status, caplog
):
    with start("ratings") as client:
        service = client.app._app.state.service

        def fail(requests):
            raise LogUnavailableError("the event log x is unavailable (reason)", is_full=is_full)

        with monkeypatch.context() as patch:
            patch.setattr(service.log, "append", fail)
            answer = client.post("/v1/events", json=EVENT)
            assert (answer.status_code, answer.headers["retry-after"]) == (status, "5")
            assert "same event_ids" in answer.json()["detail"]
            assert client.get("/v1/users/u1/recommendations").status_code == 200
        assert client.post("/v1/events", json=EVENT).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [("DELETE", "/v1/users/u1"), ("GET", "/v1/model"), ("GET", "/v1/statistics"), ("GET", "/health/ready")],
)
def test_every_request_to_an_unavailable_log_is_503(start, monkeypatch, method, path):
    with start("ratings") as client:
        log = client.app._app.state.service.log

        def fail(*arguments):
            raise LogUnavailableError("the event log x is unavailable (secret)")

        with monkeypatch.context() as patch:
            for name in ("request_erasure", "minutes"):
                patch.setattr(log, name, fail)
            patch.setattr(type(log), "last", property(fail))
            answer = client.request(method, path)
        assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
        assert "unavailable: send the request again later" in answer.json()["detail"]


@pytest.mark.slow
def test_reads_go_on_while_erasures_wait_for_the_log(live, tmp_path):
    with live("ratings") as server:
        other = sqlite3.connect(tmp_path / "ratings.events.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with ThreadPoolExecutor(50) as clients:
            erasures = [clients.submit(httpx.delete, f"{server.url}/v1/users/u{k}", timeout=30) for k in range(40)]
            time.sleep(0.2)
            for path in ("/health/ready", "/v1/users/u1/history", "/v1/users/u1/recommendations"):
                assert httpx.get(server.url + path, timeout=5).status_code == 200
            assert not any(erasure.done() for erasure in erasures)
            other.execute("ROLLBACK")
            other.close()
            offsets = sorted(erasure.result().json()["offset"] for erasure in erasures)
        assert offsets == list(range(1, 41))


def test_readiness_is_false_while_the_model_is_behind(start):
    with start("ratings", max_lag=0) as client:
        replica = client.app._app.state.service.replica
        with replica.turn:
            client.post("/v1/events", json=EVENT)
            answer = client.get("/health/ready")
            assert (answer.status_code, answer.json()) == (503, {"status": "behind", "lag": 1})
            assert client.get("/health/live").status_code == 200


def test_an_unexpected_error_is_500_without_its_text(start, monkeypatch, caplog):
    def fail(*arguments):
        raise RuntimeError("secret-user")

    with start("ratings") as client, caplog.at_level(logging.DEBUG):
        monkeypatch.setattr(lookups, "find_users", fail)
        answer = client.get("/v1/users?query=secret-user")
        assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
        assert "secret-user" not in answer.text
        assert "RuntimeError" in caplog.text
        assert "secret-user" not in "".join(r.getMessage() for r in caplog.records if r.name.startswith("halfstep"))


def test_a_draining_server_asks_clients_to_close(start):
    with start("ratings") as client:
        assert "connection" not in client.get("/health/live").headers
        client.app.is_draining = True
        assert client.get("/health/live").headers["connection"] == "close"
