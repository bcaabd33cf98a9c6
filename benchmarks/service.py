"""The HTTP service under load: speed, kills, takeovers, memory, and online learning.

    python -m benchmarks.service speed          # recommendations and events per second, and their latency
    python -m benchmarks.service kills 100      # SIGKILL at random moments; --log postgresql://… for PostgreSQL
    python -m benchmarks.service takeovers 10   # new models and a restart under load
    python -m benchmarks.service memory         # a million events
    python -m benchmarks.service stream         # the last tenth of MovieLens 100K through the API

Clients run in processes of their own, on the same machine as the server.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np

import halfstep as hs
from benchmarks.online import sample
from benchmarks.servers import EventLoad, ServerProcess, server, start_server, wait_until_learned
from halfstep.serve.event_log import EventLog
from halfstep.serve.learner import Learner, LearningSettings, position_in
from halfstep.serve.snapshot import ModelFile

USERS, ITEMS, RANK, CELLS = 100_000, 50_000, 64, 5_000_000


def make_model(path: Path, *, seed: int = 0, users: int = USERS, items: int = ITEMS, cells: int = CELLS) -> None:
    """Fit a model to random interactions whose items differ in popularity."""
    observed = np.unique(np.column_stack(sample(np.random.default_rng(seed), cells, users, items)), axis=0)
    data = hs.Interactions.from_arrays(observed[:, 0], observed[:, 1])
    model = hs.ALS(hs.Implicit(), rank=RANK, regularization=0.01, iterations=1, random_state=seed)
    model.fit(data).save(path)
    print(f"{path.name}: {data!r}, rank {RANK}")


@dataclass
class Load:
    """The measurements of clients.

    Attributes
    ----------
    seconds : list of float
        The latency of each request.
    errors : list of str
    elapsed : float
    """

    seconds: list[float]
    errors: list[str]
    elapsed: float

    @property
    def rate(self) -> float:
        """Requests per second."""
        return len(self.seconds) / self.elapsed

    def __str__(self) -> str:
        latencies = np.sort(self.seconds) * 1e3
        p50, p99 = latencies[len(latencies) // 2], latencies[int(len(latencies) * 0.99)]
        return f"{self.rate:8.0f} requests/s, median {p50:6.2f} ms, p99 {p99:6.2f} ms, errors {len(self.errors)}"


class Connection:
    """A persistent connection, with less overhead for the client than an HTTP library."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def request(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Send a request, and return status and body; reconnect later if the server asks to close the connection."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port)
        reader, writer = self._streams
        kind = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
        writer.write(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{kind}\r\n".encode() + body)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        answer = await reader.readexactly(length)
        if b"connection: close" in head:
            writer.close()
            self._streams = None
        return int(head.split(b" ", 2)[1]), answer


Request = tuple[str, str, bytes]


def lists(count: int = 20_000) -> list[Request]:
    """Return requests for the lists of random users."""
    rng = random.Random(0)
    return [("GET", f"/v1/users/{rng.randrange(USERS)}/recommendations?n=10", b"") for _ in range(count)]


class Events:
    """Requests with new events of random users.

    Parameters
    ----------
    size : int
        The number of events in a request.
    """

    def __init__(self, size: int) -> None:
        self._size, self._rng = size, random.Random(0)

    def __getitem__(self, number: int) -> Request:
        rng = self._rng
        events = [
            {"event_id": str(uuid.uuid4()), "user": rng.randrange(USERS), "item": int(ITEMS * rng.random() ** 2)}
            for _ in range(self._size)
        ]
        return "POST", "/v1/events", json.dumps(events).encode()


Requests = list[Request] | Events


async def _run(port: int, requests: Requests, clients: int, seconds: float, rate: float | None) -> Load:
    """Send requests from several clients, each as soon as its last is answered, or at a common rate."""
    taken: list[float] = []
    errors: list[str] = []
    connections = [Connection("127.0.0.1", port) for _ in range(clients)]
    await asyncio.gather(*(connection.request("GET", "/health/live") for connection in connections))
    began = time.perf_counter()
    number = 0

    async def client(connection: Connection) -> None:
        nonlocal number
        while (now := time.perf_counter()) - began < seconds:
            request = requests[number % len(requests) if isinstance(requests, list) else number]
            due, number = now if rate is None else began + number / rate, number + 1
            if due > now:
                await asyncio.sleep(due - now)
            try:
                status, answer = await connection.request(*request)
                if status != 200:
                    errors.append(f"{status} {answer[:200]!r}")
            except (OSError, EOFError) as error:
                errors.append(repr(error))
                connection = Connection("127.0.0.1", port)
            taken.append(time.perf_counter() - due)  # includes the time that a request was late

    await asyncio.gather(*map(client, connections))
    return Load(taken, errors, time.perf_counter() - began)


def _process(queue: Any, *arguments: Any) -> None:
    with contextlib.suppress(ImportError):
        import uvloop

        uvloop.install()
    queue.put(asyncio.run(_run(*arguments)))


@contextlib.contextmanager
def load(
    port: int, requests: Requests, *, clients: int, seconds: float, rate: float | None = None
) -> Iterator[Callable[[], Load]]:
    """Run clients in another process; yield a function that waits for their measurements and returns them."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_process, args=(queue, port, requests, clients, seconds, rate))
    process.start()
    yield queue.get
    process.join()


def measure(port: int, requests: Requests, **more: Any) -> Load:
    """Return the measurements of clients."""
    with load(port, requests, **more) as wait:
        return wait()


def speed(folder: Path, options: argparse.Namespace) -> None:
    """Measure throughput and latency of recommendations and of events."""
    model = folder / "model.halfstep"
    make_model(model)
    with server(model, *_log(options)) as running:
        measure(running.port, lists(), clients=4, seconds=1)
        for rate in (1_000.0, None):
            found = measure(running.port, lists(), clients=16, seconds=options.seconds, rate=rate)
            print(f"lists, {'as many as possible' if rate is None else f'{rate:,.0f} a second'}: {found}")
        for size, clients in ((100, 8), (1, 32)):
            found = measure(running.port, Events(size), clients=clients, seconds=options.seconds)
            print(f"events, {size} a request, {clients} clients: {size * found.rate:,.0f} events/s; {found}")
            wait_until_learned(running.url, 600)
        print(f"an event is in the list after {1e3 * statistics.median(_delays(running)):.1f} ms (median)")
        with load(running.port, lists(), clients=8, seconds=options.seconds, rate=300.0):
            print(f"... and under 300 lists a second {1e3 * statistics.median(_delays(running)):.1f} ms")


def _delays(running: ServerProcess, count: int = 100) -> list[float]:
    """Return the seconds from an event until its item is no longer recommended to the user."""
    delays = []
    with httpx.Client(base_url=running.url) as client:
        for number in range(count):
            path = f"/v1/users/{(7919 * number) % USERS}/recommendations"
            item = client.get(path).json()["items"][0]["item"]
            sent = {"event_id": uuid.uuid4().hex, "user": (7919 * number) % USERS, "item": item}
            began = time.perf_counter()
            client.post("/v1/events", json=sent)
            while item in [each["item"] for each in client.get(path).json()["items"]]:
                pass
            delays.append(time.perf_counter() - began)
    return delays


def takeovers(folder: Path, options: argparse.Namespace) -> None:
    """Replace the model several times, and restart all processes, while clients read and write."""
    model = folder / "model.halfstep"
    files = [folder / f"{number}.halfstep" for number in range(2)]
    for number, file in enumerate(files):
        make_model(file, seed=number, cells=CELLS // 5)
    shutil.copyfile(files[0], model)
    with server(model, "--workers", 2, *_log(options)) as running, contextlib.ExitStack() as stack:
        seconds = 6.0 * options.count + 20
        read = stack.enter_context(load(running.port, lists(), clients=8, seconds=seconds, rate=200.0))
        write = stack.enter_context(load(running.port, Events(1), clients=4, seconds=seconds, rate=50.0))
        for number in range(1, options.count + 1):
            time.sleep(3)
            began, digest = time.perf_counter(), httpx.get(f"{running.url}/v1/model").json()["digest"]
            shutil.copyfile(files[number % 2], folder / "next")
            (folder / "next").replace(model)
            while httpx.get(f"{running.url}/v1/model").json()["digest"] == digest:
                time.sleep(0.05)
            print(f"takeover {number} after {time.perf_counter() - began:.1f} s")
        running.process.send_signal(signal.SIGHUP)
        for name, wait in (("lists", read), ("events", write)):
            found = wait()
            print(f"{name}: {found}{''.join(f'; {error}' for error in found.errors[:3])}")


def kills(folder: Path, options: argparse.Namespace) -> None:
    """Kill the server at random moments under load, then compare log and model with what was acknowledged."""
    model, rng = folder / "model.halfstep", random.Random(options.seed)
    make_model(model, users=1_000, items=500, cells=20_000)
    settings = ["--snapshot-every", 2_000, *_log(options)]
    url = options.log or str(folder / "model.events.sqlite")
    before = EventLog(url).last
    assert before == 0, f"{url} is not empty"

    def make(number: int) -> dict[str, Any]:
        return {"user": number * 7919 % 1_200, "item": number * 104_729 % 600}

    running = start_server(model, *settings)
    with EventLoad(lambda: running.url, make, sizes=(1, 1, 1, 1, 20, 100)) as sent:
        for _ in range(options.count):
            time.sleep(rng.uniform(0.05, 1.0))
            running.process.kill()
            running.process.wait()
            running = start_server(model, *settings, port=running.port)
        time.sleep(1)
    wait_until_learned(running.url, 600)
    served = httpx.get(f"{running.url}/v1/model/file", timeout=60).content
    running.stop()
    log = EventLog(url)
    stored: dict[str, int] = {}
    count = offset = 0
    while groups := log.read(offset, 50_000):
        offset = groups[-1].last
        for group in groups:
            count += len(group.entries)
            stored |= {entry.event_id: entry.offset for entry in group.entries}
    lost = sum(stored.get(event_id) != at for event_id, at in sent.acknowledged.items())
    print(f"{options.count} kills, {sent.failures} failed requests, unexpected answers: {sent.unexpected[:3]}")
    print(
        f"acknowledged {len(sent.acknowledged):,}, stored {count:,}; lost {lost}, stored twice {count - len(stored)}"
    )
    path = folder / "replayed.halfstep"
    _replayed(model, log, checkpoint_every=2_000).save(path)
    print(f"the model equals that of an uninterrupted run: {path.read_bytes() == served}")
    log.close()


def _replayed(model: Path, log: EventLog, **settings: Any) -> Learner:
    """Return a learner that has learned from the whole log without interruption."""
    file = ModelFile.read(model)
    chosen = LearningSettings.of_model(file.model, **settings)
    learner = Learner(file.model, log, chosen, chosen.base_of(file.digest), position_in(log, file.model))
    while groups := log.read(learner.offset):
        for group in groups:
            learner.apply(group)
    return learner


def memory(folder: Path, options: argparse.Namespace) -> None:
    """Send a million events of known users and items, and print the memory and the time per event."""
    model = folder / "model.halfstep"
    make_model(model, users=20_000, items=5_000, cells=1_000_000)
    with server(model, *_log(options)) as running, httpx.Client(base_url=running.url, timeout=60) as client:
        rng, known = np.random.default_rng(0), hs.load(model).interactions_
        assert known is not None
        status = Path(f"/proc/{running.process.pid}/status")
        total, part = options.count or 1_000_000, 0
        while part < total:
            began, end = _processor_seconds(running.process.pid), part + total // 10
            while part < end:
                chosen = rng.integers(len(known), size=500)
                users, items = known.user_ids[chosen], known.item_ids[chosen]
                batch = [
                    {"event_id": f"{part + k}", "user": int(user), "item": int(item)}
                    for k, (user, item) in enumerate(zip(users, items, strict=True))
                ]
                while client.post("/v1/events", json=batch).status_code == 429:
                    time.sleep(0.05)
                part += 500
            wait_until_learned(running.url, 3_600)
            resident = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
            seconds = _processor_seconds(running.process.pid) - began
            print(
                f"{part:>9,} events: {1e6 * seconds / (total // 10):.0f} µs of CPU an event, {resident.split()[1]} kB"
            )


def _processor_seconds(pid: int) -> float:
    """Return the processor time that a process has used."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def stream(folder: Path, options: argparse.Namespace) -> None:
    """Replay the last tenth of MovieLens 100K through the API, and compare with `evaluate_stream`."""
    data = hs.datasets.movielens_100k()
    train, test = hs.split_by_time(data, test_fraction=0.1)
    model = hs.ALS(hs.Implicit(), rank=32, random_state=0).fit(train)
    expected = hs.evaluate_stream(model, test, metrics=["hit_rate@100"], progress=True)
    print(expected)
    path = folder / "model.halfstep"
    model.save(path)
    hits = scored = 0
    users, items, values = test.user_ids.tolist(), test.item_ids.tolist(), test.values.tolist()
    order = np.argsort(test.timestamps, kind="stable").tolist()
    known = set(zip(train.user_ids.tolist(), train.item_ids.tolist(), strict=True))
    with (
        server(path, "--duplicates", "last", *_log(options)) as running,
        httpx.Client(base_url=running.url) as client,
    ):
        offset = 0
        for number in order:
            user, item = users[number], items[number]
            if (user, item) in known:
                continue
            listed = client.get(f"/v1/users/{user}/recommendations", params={"n": 100, "after": offset}).json()
            hits += item in [each["item"] for each in listed["items"]]
            scored += 1
            sent = {"event_id": str(number), "user": user, "item": item, "value": values[number]}
            offset = client.post("/v1/events", json=sent).json()["offset"]
            known.add((user, item))
    print(f"through the API: HR@100 {hits / scored:.6f} of {scored:,} events")


def _log(options: argparse.Namespace) -> list[str]:
    return ["--log", options.log] if options.log else []


def main() -> None:
    """Run one of the measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["speed", "kills", "takeovers", "memory", "stream"])
    parser.add_argument("count", type=int, nargs="?", default=10, help="of kills, takeovers or events")
    parser.add_argument("--log", help="URL of the event log; default: SQLite")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement of speed")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="halfstep-service-") as folder:
        {"speed": speed, "kills": kills, "takeovers": takeovers, "memory": memory, "stream": stream}[options.what](
            Path(folder), options
        )


if __name__ == "__main__":
    main()
