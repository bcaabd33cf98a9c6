"""Thousands of malformed and odd requests: each is answered clearly, and the model learns from all stored events."""

import http.client
import itertools
import json
import logging
import re
import uuid
from collections import Counter
from urllib.parse import quote

import httpx2 as httpx
import numpy as np
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

from halfstep.serve import connection
from halfstep.serve.keys import add_key
from thorough import THOROUGH

pytestmark = pytest.mark.slow

JSON = {"content-type": "application/json"}
SECRET = "zq7secret"  # in ids, keys and values that must not be logged
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")

IDS = [
    "", ".", "..", "...", "/", "//", "a/b", "a/history", "../../etc/passwd", "%2F", "%", "%00", "%ff", ";", "?", "#",
    "&",
    "=", "+", " ", " a ", "\t", "\n", "\0", "a\0b", "\x7f", "\u0085", "\u2028", "\u202eabc", "\ufeff", "\ufffd",
    "\ud800",
    "é", "e\u0301", "ß", "İ", "שלום", "😀", "👨\u200d👩\u200d👧", "\U0010ffff", "a" * 512, "a" * 513, "é" * 512,
    "a" * 100_000,
    "null", "true", "NaN", "0", "-0", "00", "1e3", "1.0", "+1", " 1", "1_000", "٣", "0x10", "9" * 18, "9" * 19,
    "9" * 39,
    "9" * 40, "9" * 5000, "-" + "9" * 39, "-1", "u1", "i1", "$erased", "$erasure", "{user}", "__proto__",
    "' OR 1=1 --",
    "<script>alert(1)</script>", '"', "\\", "%s%n", "${jndi:ldap://x}", "con", "~", "*", SECRET,
]  # fmt: skip
VALUES = [
    "null", "true", "false", '""', '"5"', "[]", "{}", "0", "-0.0", "1", "-1", "0.1", "5e-324", "1e-400",
    "2.2250738585072011e-308",
    "1e9", "-1e9", "1000000001", "1e38", "1e39", "1e308", "1e309", "1e400", "-1e400", "1" + "0" * 400,
    "1" + "0" * 5000, "NaN",
    "Infinity", "-Infinity", "nan", "+1", "01", "1.", ".5", "1e", "0x1", "1_0", "9007199254740993", "5000.0",
    "5000.1",
]  # fmt: skip
TIMES = [
    "0", "-1", "-0.0", "1e10", "99999999999", "99999999999.99", "1e11", "1.7e12", "1e18", "1e308", "true", '""',
    '"now"', '"0"', '"-1"',
    '"1700000000"', '"1700000000000"', '"99999999999999999999"', '"2026-01-02"', '"2026-01-02T03:04:05"',
    '"2026-01-02T03:04:05Z"',
    '"2026-01-02T03:04:05+23:59"', '"2026-01-02T03:04:05-99:99"', '"0001-01-01T00:00:00Z"',
    '"0001-01-01T00:00:00+23:59"',
    '"9999-12-31T23:59:59Z"', '"9999-12-31T23:59:59-23:59"', '"1969-12-31T23:59:59Z"', '"1970-01-01T00:00:00+23:59"',
    '"10000-01-01T00:00:00Z"', '"2026-02-30T00:00:00Z"', '"2026-01-02T23:59:60Z"', '"2026-01-02T24:00:00Z"',
    '"infinity"', '"P1D"', "[]",
    '"2026-01-02T03:04:05.123456789123Z"', '"2026-01-02T03:04:05 Z"', '"٢٠٢٦-01-02"',
]  # fmt: skip
BODIES = [
    b"", b" ", b"{", b"}", b"[", b"[]", b"[[]]", b"[{}]", b"[null]", b"null", b"1", b'"x"', b"{}", b"{} {}", b"{}x",
    b"[1,]", b"{'a':1}",
    b'{"a":1,}', b"// x\n{}", b"\xef\xbb\xbf{}", "{}".encode("utf-16"), "{}".encode("utf-32"), b"\xff\xfe",
    b"\xc0\xaf", b"\0",
    b'{"\xff":1}', b'{"event_id":"\\ud800"}', b'{"event_id":"\\u0000"}', b'{"a":"\n"}', b"[" * 100_000,
    b'{"a":' * 100_000,
    b"[" * 200 + b"]" * 200, b'{"a":' * 200 + b"1" + b"}" * 200, b"a=1&b=2", b"<xml/>", b"--x\r\n\r\n--x--",
    b"1" * 100_000,
    b'{"event_id":"a","event_id":"b"}', b"[" + b"{}," * 999 + b"{}]", b"[" + b"1," * 100_000 + b"1]",
    b"x" * (1 << 20), b"x" * ((1 << 20) + 1),
    b'{"path":"/etc/passwd"}', b'{"path":"../../x"}', b'{"path":"\\u0000"}', b'{"path":""}', b'{"path":1}',
    b'{"path":"."}',
    b'{"path":"' + b"x" * 512 + b'"}', b'{"path":"C:\\\\x"}', b'{"path":"~"}', b'{"path":"file:///etc/passwd"}',
    b'{"users":[]}', b'{"users":[null]}', b'{"users":{}}', b'{"users":"u1"}', b'{"history":[]}', b'{"history":[{}]}',
    b'{"history":{"i1":5}}',
    b'{"users":["u1"],"n":1e1}', b'{"users":["u1"],"n":-1}', b'{"users":["u1"],"n":1001}',
    b'{"users":["u1"],"n":"5"}',
    b'{"users":["u1"],"n":true}', b'{"users":["u1"],"exclude_seen":2}', b'{"users":["u1"],"candidates":[]}',
    b'{"users":["u1"],"candidates":[null,[],{},1.5,true,"nobody"]}',
    b'{"users":["u1","u1"],"candidates":["nobody","i1","i1"]}',
    b'{"users":[1,2],"candidates":[3,3,99999999999999999999]}', b'{"users":[1.0]}', b'{"users":[true]}',
    b'{"history":[{"item":"i1","value":1e308}]}', b'{"history":[{"item":3,"value":1e9}]}',
    b'{"history":[{"item":"i1","value":-1e9}]}',
    b'{"history":[{"item":"i1","value":1},{"item":"i1","value":2}]}', b'{"history":[{"item":"nobody","value":1}]}',
    b'{"history":[{"item":3},{"item":3}]}', b'{"history":[{"item":99}]}',
]  # fmt: skip
QUERIES = [
    "n=0", "n=-1", "n=", "n", "n=1.5", "n=1e3", "n=+5", "n= 5", "n=5&n=6", "n=1001", "n=" + "9" * 5000, "n=٣",
    "n=0x5", "n=true", "N=5",
    "exclude_seen=", "exclude_seen=2", "exclude_seen=maybe", "exclude_seen=off", "n=5exclude_seen=true", "&&&", "=",
    "&n=5", "n=5&", "n=5;n=6",
    "after=-1", "after=", "after=1e9", "after=" + "9" * 30, "after=" + "9" * 5000, "after=nan", "candidates=",
    "candidates", "candidates=%00",
    "candidates=nobody", "candidates=1", "candidates=%ff", "candidates=%", "candidates=%zz",
    "&".join(["candidates=i1"] * 5000),
    "&".join(f"candidates={k}" for k in range(5000)), "query=" + "x" * 201, "query=%", "query=%00", "query=%ff",
    "query=(", "query=.*", "query=İ",
    "minutes=0", "minutes=1441", "minutes=" + "9" * 400, "unknown=1", "a" * 5000, "%", "%zz=%zz", "[]=1",
    "__proto__[x]=1",
]  # fmt: skip
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]
OTHER_METHODS = ["CONNECT", "PROPFIND", "PURGE", "get", "X", "G@T", ""]
PATHS = [
    "/v1/users/{}/recommendations", "/v1/users/{}/history", "/v1/items/{}/similar", "/v1/users/{}/explanations/i1",
    "/v1/users/u1/explanations/{}", "/v1/users/1/recommendations?candidates={}", "/v1/items?query={}", "/{}",
]  # fmt: skip
FIXED = [
    "/", "/v1", "/v1/", "/v1/users", "/v1/items", "/v1/events", "/v1/recommendations", "/v1/model", "/v1/model/file",
    "/v1/statistics",
    "/metrics", "/health/live", "/health/ready", "/openapi.json", "/nothing",
]  # fmt: skip
STATIC = [
    "/../../etc/passwd", "/..%2f..%2fetc%2fpasswd", "/%2e%2e/%2e%2e/etc/passwd", "/..%5c..%5cwindows",
    "/....//....//etc/passwd",
    "//etc/passwd", "/%2fetc%2fpasswd", "/.git/config", "/index.html%00", "/index.html/", "/index.html/..",
    "/%c0%ae%c0%ae/", "/.", "/~root",
    "/" + "a/" * 2000, "/" + "a" * 5000, "/index.html.", "/INDEX.HTML", "/index.html::$DATA", "/__init__.py",
    "/../app.py",
]  # fmt: skip


class Checker:
    """Sends requests, and checks every answer."""

    def __init__(self, server):
        self.server, self.count, self.statuses = server, 0, Counter()
        self.client = httpx.Client(base_url=server.url, timeout=30)

    def request(self, method, path, content=None, headers=None):
        """Send a request as it is: the path is neither checked nor normalized."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            if content is not None:
                connection.putheader("content-length", str(len(content)))
            for name, value in {"host": "localhost", **(headers or {})}.items():
                connection.putheader(name, value)
            connection.endheaders(content)
            answer = connection.getresponse()
            self.check(answer.status, answer.headers, answer.read(), (method, path[:80], (content or b"")[:80]))
        finally:
            connection.close()
        return answer.status

    def check(self, status, headers, body, shown):
        self.count += 1
        self.statuses[status] += 1
        assert status < 500, (shown, status, body[:300])
        assert b"Traceback" not in body, shown
        if status >= 400:
            assert headers["content-type"] == "application/problem+json", (shown, status, headers)
            if body:  # not of HEAD
                problem = json.loads(body)
                assert problem["status"] == status
                assert len(problem["detail"]) > 10, shown
                assert len(body) < 5_000, shown
        elif headers["content-type"] == "application/json" and body:
            json.loads(body, parse_constant=lambda name: pytest.fail(f"{name} in the answer to {shown}"))

    def raw(self, *parts):
        """Send bytes, which need not be HTTP."""
        answer = self.server.send(*parts)
        self.count += 1
        statuses = [int(each) for each in STATUS.findall(answer)]
        assert all(status < 500 for status in statuses), (parts, answer[:300])
        assert b"Traceback" not in answer
        return statuses


@pytest.fixture(params=["ratings", "plays"] if THOROUGH else ["ratings"])
def checker(request, live, caplog):
    """A server that is checked afterwards: it has learned from all stored events, and logged no ids or errors."""
    caplog.set_level(logging.DEBUG, "halfstep.serve")
    caplog.set_level(logging.INFO, "uvicorn.error")
    with live(request.param) as server:
        checker = Checker(server)
        yield checker
        last = server.gate._app.state.service.log.last
        known = checker.client.get("/v1/users/1/recommendations", params={"after": last})
        assert known.status_code == 200, known.text
        description = checker.client.get("/v1/model").json()
        checker.client.close()
        assert (description["offset"], description["refused_events"]) == (last, 0)
        assert description["last_error"] is None
        model = server.gate._app.state.service.served.model
        arrays = model.user_factors_, model.item_factors_, model.user_biases_, model.item_biases_
        assert all(np.isfinite(array).all() for array in arrays)
    logged = [record for record in caplog.records if record.name.startswith(("halfstep", "uvicorn"))]
    text = "".join(logging.Formatter().format(record) for record in logged)
    assert SECRET not in text
    assert "Traceback" not in text
    assert not [record for record in logged if record.levelno >= logging.ERROR], text


def events(is_integer):
    """Yield bodies with one odd event, alone and after another one."""
    ids = [json.dumps(each) for each in IDS]
    numbers = [each for each in IDS if re.fullmatch(r"-?(0|[1-9][0-9]*)", each)]
    ids += [*numbers, "1.0", "1e2", "-0", "true", "null", "[]", "{}", '["u1"]']
    ids += [str(2**63), str(-(2**63) - 1), str(10**38)]
    plain = {"user": "1", "item": "2"} if is_integer else {"user": '"u1"', "item": '"i1"'}
    for name, texts in {
        "event_id": ids, "user": ids, "item": ids, "type": ids, "list_id": ids, "value": VALUES, "time": TIMES,
        "unknown": ["1"], "": ["1"], "Value": ["3"],
    }.items():  # fmt: skip
        for text in texts:
            fields = {"event_id": f'"{uuid.uuid4().hex}"', **plain, "value": "3", name: text}
            body = "{" + ",".join(f"{json.dumps(key)}:{value}" for key, value in fields.items()) + "}"
            yield body.encode("utf-8", "surrogatepass")
            if name == "event_id":
                continue
            other = "{" + ",".join(f'"{key}":{value}' for key, value in {**plain, "value": "3"}.items())
            yield f'[{other},"event_id":"{uuid.uuid4().hex}"}},{body}]'.encode("utf-8", "surrogatepass")


def test_odd_ids_values_times_and_bodies(checker, request):
    for body in events(request.node.callspec.params["checker"] == "plays"):
        checker.request("POST", "/v1/events", body, JSON)
    for path, body in itertools.product(("/v1/events", "/v1/recommendations", "/v1/model"), BODIES):
        checker.request("POST", path, body, JSON)
    assert checker.count > 1000
    assert set(checker.statuses) >= {200, 400, 413, 422}
    assert checker.statuses[200] > 100


def test_odd_paths_queries_and_methods(checker):
    for path, name in itertools.product(PATHS, IDS):
        checker.request("GET", path.format(quote(name, safe="", errors="surrogatepass")))
    for name in IDS:
        checker.request("DELETE", f"/v1/users/{quote(name, safe='', errors='surrogatepass')}")
    for path, query in itertools.product(("/v1/users/u1/recommendations", "/v1/items", "/v1/statistics"), QUERIES):
        checker.request("GET", f"{path}?{quote(query, safe='%=&;+[].*')}")
    for path in STATIC:
        checker.request("GET", path)
    for path, method in itertools.product(FIXED, METHODS):
        checker.request(method, path, b"{}" if method in ("POST", "PUT", "PATCH") else None, JSON)
    assert checker.count > 1000


HEADERS = [
    {"content-type": ""}, {"content-type": "text/plain"}, {"content-type": "application/json; charset=utf-16"},
    {"content-type": "application/json;" * 1000}, {"content-type": "multipart/form-data"},
    {"content-encoding": "gzip", **JSON},
    {"accept": "text/html;q=nan", **JSON}, {"accept-encoding": "bogus", **JSON},
    {"authorization": "Bearer " + SECRET, **JSON},
    {"authorization": "Basic " + SECRET, **JSON}, {"cookie": f"a={SECRET}", **JSON}, {"origin": "null", **JSON},
    {"origin": "\xff", **JSON},
    {"if-modified-since": "Mon, 99 Foo 99999 99:99:99 GMT", **JSON}, {"if-none-match": "*", **JSON},
    {"range": "bytes=zz", **JSON},
    {"x-forwarded-for": SECRET, "x-forwarded-proto": "javascript", "x-forwarded-host": "evil", **JSON},
    {"forwarded": "for=x", **JSON},
    {"x-http-method-override": "DELETE", **JSON}, {"x-original-url": "/v1/model", **JSON},
    {"upgrade": "h2c", "connection": "upgrade", **JSON},
    {"upgrade": "websocket", "connection": "upgrade", "sec-websocket-key": "x", **JSON}, {"te": "trailers", **JSON},
    {"access-control-request-method": "\xff"}, {"connection": "close, content-type", **JSON}, {"host": "localhost"},
]  # fmt: skip


def test_odd_headers(checker):
    body = json.dumps({"users": ["u1"]}).encode()
    for headers, (method, path) in itertools.product(HEADERS, [
        ("POST", "/v1/recommendations"), ("GET", "/"), ("GET", "/v1/model"), ("OPTIONS", "/v1/events"),
        ("GET", "/v1/model/file"),
    ]):  # fmt: skip
        checker.request(method, path, body if method == "POST" else None, headers)


def test_no_spelling_of_a_request_passes_without_a_key(live, tmp_path):
    add_key(tmp_path / "keys.json", "key", ("admin",))
    secrets = ["/v1/users", "/v1/items", "/v1/model", "/v1/model/file", "/v1/statistics", "/metrics"]
    secrets += ["/v1/users/1/recommendations", "/v1/users/u1/history"]
    spellings = [
        "{}", "{}/", "/{}", "/.{}", "/x/..{}", "{}%0A", "{}%20", "{}%00", "{}?", "{};x", "{}#", "{}%3F", "{}%23",
        "{}/.", "{}//", "http://localhost{}", "http://x@localhost{}", "{}?key=x&authorization=Bearer%20x",
    ]  # fmt: skip
    with live("ratings", keys=str(tmp_path / "keys.json")) as server:
        checker = Checker(server)
        for path, spelling, method in itertools.product(secrets, spellings, ("GET", "HEAD", "POST", "DELETE")):
            for each in {path, path.upper(), path.replace("v1", "v%31"), path.replace("/", "%2F")}:
                assert checker.request(method, spelling.format(each)) >= 400, (method, spelling, each)
        checker.client.close()
        assert checker.count > 1000


BEGIN = b"GET /v1/model HTTP/1.1\r\n"
HOST = b"Host: localhost\r\n"
END = b"Connection: close\r\n\r\n"
POST = b"POST /v1/recommendations HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\nConnection: close\r\n"
BROKEN = [
    b"\0", b"\r\n\r\n", b"\n" * 100 + END, b"GET\r\n\r\n", b"GET /\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
    b"GET / HTTP/2.0\r\n\r\n", b"/ GET HTTP/1.1\r\n\r\n",
    b"GET  / HTTP/1.1\r\n" + HOST + END, b"GET / HTTP/1.1 \r\n" + HOST + END, b"get / HTTP/1.1\r\n" + HOST + END,
    b"GET / HTTP/1.0\r\n\r\n",
    b"GET / HTTP/0.9\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"SSH-2.0-x\r\n", b"{}\r\n\r\n",
    b"GET \xff HTTP/1.1\r\n" + HOST + END, b"GET /\xc3\xa9 HTTP/1.1\r\n" + HOST + END,
    b"GET /\0 HTTP/1.1\r\n" + HOST + END, b"GET / /x HTTP/1.1\r\n" + HOST + END,
    b"GET http://localhost/v1/model HTTP/1.1\r\n" + HOST + END, b"GET http:///v1/model HTTP/1.1\r\n" + HOST + END,
    b"GET http://localhost HTTP/1.1\r\n" + HOST + END,
    b"GET localhost:80 HTTP/1.1\r\n" + HOST + END, b"GET * HTTP/1.1\r\n" + HOST + END,
    b"OPTIONS * HTTP/1.1\r\n" + HOST + END,
    b"CONNECT localhost:80 HTTP/1.1\r\n" + HOST + END, b"GET ?x HTTP/1.1\r\n" + HOST + END,
    b"GET /v1/model#x HTTP/1.1\r\n" + HOST + END,
    b"GET //v1/model HTTP/1.1\r\n" + HOST + END, b"GET /v1/../v1/model HTTP/1.1\r\n" + HOST + END,
    b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\n" + HOST + END,
    BEGIN + END, BEGIN + HOST + HOST + END, BEGIN + b"Host: evil.example\r\n" + END, BEGIN + b"Host:\r\n" + END,
    BEGIN + b"Host: localhost@evil\r\n" + END,
    BEGIN + HOST + b"X\r\n" + END, BEGIN + HOST + b": x\r\n" + END, BEGIN + HOST + b"X : y\r\n" + END,
    BEGIN + HOST + b"X: a\0b\r\n" + END,
    BEGIN + HOST + b"X: \xff\r\n" + END, BEGIN + HOST + b"\xff: x\r\n" + END,
    BEGIN + HOST + b"X: a\r\n folded\r\n" + END, BEGIN + b" Host: localhost\r\n" + END,
    BEGIN + HOST + b"X: y\n" + END, BEGIN + HOST + b"X: y\rZ: z\r\n" + END,
    BEGIN + HOST + b"Content-Length: 5\r\n" + END + b"hello",
    POST + b"Content-Length: -1\r\n\r\n", POST + b"Content-Length: +2\r\n\r\n{}",
    POST + b"Content-Length: 2, 2\r\n\r\n{}", POST + b"Content-Length: 0x2\r\n\r\n{}",
    POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
    POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", POST + b"Content-Length: \r\n\r\n",
    POST + b"Content-Length: " + b"9" * 20 + b"\r\n\r\n", POST + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
    POST + b"Content-Length: 2 \r\n\r\n{}",
    POST + b"Content-Length: 1\r\n\r\n{}", POST + b"Content-Length: 00000000000000000000002\r\n\r\n{}",
    POST + b"\r\n{}", POST + b"Content-Length: 0\r\n\r\n",
    POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\nGET /x",
    POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", POST + b"Transfer-Encoding: gzip\r\n\r\n",
    POST + b"Transfer-Encoding: xchunked\r\n\r\n",
    POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", POST + b"Transfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n",
    POST + b"transfer-encoding: CHUNKED\r\n\r\n0\r\n\r\n",
    POST + b"Transfer-Encoding: chunked\r\n\r\nz\r\n", POST + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n",
    POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}x\r\n0\r\n\r\n",
    POST + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
    POST + b"Transfer-Encoding: chunked\r\n\r\n2;" + b"x" * 9000 + b"\r\n{}\r\n0\r\n\r\n",
    POST + b"Transfer-Encoding: chunked\r\n\r\n2\n{}\n0\n\n",
    POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nHost: evil\r\n\r\n",
    POST + b"Transfer-Encoding: chunked\r\n\r\n 2\r\n{}\r\n0\r\n\r\n",
    POST + b"Transfer-Encoding: identity\r\nContent-Length: 2\r\n\r\n{}",
    POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{}",
    POST + b"Expect: 200-ok\r\nContent-Length: 2\r\n\r\n{}", POST + b"Content-Length: 2\r\nUpgrade: h2c\r\n\r\n{}",
]  # fmt: skip


def test_requests_that_are_not_http(checker, monkeypatch):
    monkeypatch.setattr(connection, "REQUEST_SECONDS", 0.2)
    for sent in BROKEN:
        tail = b"" if sent.endswith(b"\r\n\r\n") or sent.startswith(b"POST") else b"\r\n\r\n"
        statuses = checker.raw(sent + tail)
        assert len([status for status in statuses if status >= 200]) <= 1, (sent, statuses)  # nothing was smuggled
    for method in METHODS + OTHER_METHODS:
        checker.raw(f"{method} /v1/model HTTP/1.1\r\n".encode() + HOST + END)
    assert checker.raw(BEGIN + HOST + END) == [200]


@pytest.mark.parametrize("checker", ["ratings"], indirect=True)
def test_requests_from_the_openapi_document(checker):
    schema = schemathesis.openapi.from_dict(checker.client.get("/openapi.json").json())
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) > 10
    modes, session = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE), requests.Session()
    for operation, mode in itertools.product(operations, modes):

        @settings(
            max_examples=30, derandomize=True, deadline=None, database=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(case=operation.as_strategy(generation_mode=mode))
        def send(case):
            answer = case.call(base_url=checker.server.url, session=session)
            shown = (case.method, case.path, case.path_parameters, case.query, case.body)
            headers = {name.lower(): values[0] for name, values in answer.headers.items()}
            checker.check(answer.status_code, headers, answer.content, shown)

        try:
            send()
        except Unsatisfiable:  # without parameters, nothing can be wrong
            assert mode is GenerationMode.NEGATIVE
    session.close()
    assert checker.count > 500
