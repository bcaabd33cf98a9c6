"""The client in the folder of examples sends the same event again after errors."""

import importlib.util
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

PATH = Path(__file__).parents[2] / "examples" / "serve" / "client.py"


@pytest.fixture
def client_module(monkeypatch):
    spec = importlib.util.spec_from_file_location("client", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    return module


@pytest.fixture
def scripted():
    """A server that answers with these statuses, one after the other; 0 closes the connection."""
    statuses, received = [], []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            status = statuses.pop(0)
            if status:
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps({"offset": 7, "detail": f"status {status}"}).encode())

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", statuses, received
        server.shutdown()
        thread.join()


def test_an_event_is_sent_again_with_the_same_id(client_module, scripted):
    url, statuses, received = scripted
    statuses += [0, 429, 503, 507, 200]
    assert client_module.Client(url).send("u", "i", value=2.0) == 7
    assert len(received) == 5
    assert all(each == received[0] for each in received)
    statuses.append(200)
    client_module.Client(url).send("u", "i", value=2.0)
    assert received[-1]["event_id"] != received[0]["event_id"]


def test_an_invalid_event_is_sent_once(client_module, scripted):
    url, statuses, received = scripted
    statuses.append(422)
    with pytest.raises(RuntimeError, match="status 422"):
        client_module.Client(url).send("u", "i")
    assert len(received) == 1


def test_attempts_end(client_module, scripted):
    url, statuses, received = scripted
    statuses += [503] * client_module.ATTEMPTS
    with pytest.raises(ConnectionError, match="after 8 attempts"):
        client_module.Client(url).send("u", "i")
    assert len(received) == client_module.ATTEMPTS
