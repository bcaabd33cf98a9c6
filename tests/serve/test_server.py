"""Servers in processes of their own: signals, kills, restarts and several processes."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx2 as httpx
import pytest
import sqlalchemy as sa

import halfstep as hs
from benchmarks.servers import EventLoad, server, start_server, wait_until_learned
from halfstep.serve.event_log import EventLog
from halfstep.serve.learner import Learner, LearningSettings, position_in
from halfstep.serve.snapshot import ModelFile
from thorough import THOROUGH

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")]


@pytest.fixture
def model(tmp_path, model_files):
    path = tmp_path / "model.halfstep"
    path.write_bytes(model_files["ratings"].read_bytes())
    return path


def rating(number):
    return {"user": f"u{number * 7 % 40}", "item": f"i{number * 11 % 25}", "value": 1.0 + number % 5, "time": 1e9}


def replayed(model, url, folder, **settings):
    """Return the bytes of a model that learns from the whole log, without interruption."""
    file, log = ModelFile.read(model), EventLog(url)
    chosen = LearningSettings.of_model(file.model, **settings)
    learner = Learner(file.model, log, chosen, chosen.base_of(file.digest), position_in(log, file.model))
    while groups := log.read(learner.offset):
        for group in groups:
            learner.apply(group)
    learner.save(folder / "replayed.halfstep")
    log.close()
    return (folder / "replayed.halfstep").read_bytes()


def children(server):
    found = subprocess.run(["pgrep", "-P", str(server.process.pid)], capture_output=True, check=True)
    return {int(number) for number in found.stdout.split()}


def test_kills_lose_nothing_and_apply_nothing_twice(model, log_url, tmp_path):
    options = ["--log", log_url, "--snapshot-every", 100]
    running = start_server(model, *options)
    with EventLoad(lambda: running.url, rating, sizes=(1, 1, 20)) as load:
        for _ in range(3 if THOROUGH else 1):
            time.sleep(0.7)
            running.process.kill()
            running.process.wait()
            running = start_server(model, *options, port=running.port)
        time.sleep(0.5)
    wait_until_learned(running.url)
    served = httpx.get(f"{running.url}/v1/model/file", timeout=60).content
    assert running.stop() == 0
    assert load.unexpected == []
    log = EventLog(log_url)
    stored = {entry.event_id: entry.offset for group in log.read(0, 10**6) for entry in group.entries}
    log.close()
    assert len(load.acknowledged) > 100
    assert load.acknowledged.items() <= stored.items()
    assert stored.keys() <= load.sent
    assert served == replayed(model, log_url, tmp_path, checkpoint_every=100)


@pytest.mark.parametrize("log_url", ["sqlite", "postgresql"] if THOROUGH else ["sqlite"], indirect=True)
def test_several_processes_agree_and_are_replaced_without_an_error(model, log_url):
    with server(model, "--log", log_url, "--workers", 2, "--snapshot-every", 50) as running:
        statuses, is_done = [], threading.Event()

        def read():
            with httpx.Client(timeout=10) as client:
                while not is_done.wait(0.02):  # the processes that start need the processor, too
                    statuses.append(client.get(f"{running.url}/v1/users/u1/recommendations").status_code)

        readers = [threading.Thread(target=read) for _ in range(2)]
        for reader in readers:
            reader.start()
        with EventLoad(lambda: running.url, rating, sizes=(5,), pause=0.02) as load:
            time.sleep(0.5)
            before = children(running)
            running.process.send_signal(signal.SIGHUP)
            ends = time.monotonic() + 60
            while len(after := children(running)) != 2 or after & before:
                assert time.monotonic() < ends, running.log
                time.sleep(0.1)
            time.sleep(0.5)
        is_done.set()
        for reader in readers:
            reader.join()
        assert (load.failures, load.unexpected) == (0, [])
        assert set(statuses) == {200}
        assert not any("exit code" in line for line in running.log)
        last = max(load.acknowledged.values())
        lists = {
            tuple(each["item"] for each in httpx.get(
                f"{running.url}/v1/users/u1/recommendations?exclude_seen=0&after={last}"
            ).json()["items"])
            for _ in range(20)
        }  # fmt: skip
        assert len(lists) == 1
        metrics = httpx.get(f"{running.url}/metrics").text
        assert "halfstep_lists_total" in metrics
        assert "halfstep_model_loaded_timestamp_seconds 0" not in metrics


def test_a_process_that_cannot_start_says_why_in_one_line(model):
    command = [sys.executable, "-c", "from halfstep.cli import main; main()", "serve", model, "--port", "0"]
    done = subprocess.run(
        [*command, "--workers", "2", "--keys", model.with_name("none.json")], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "none.json: No such file or directory" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_process_that_dies_is_replaced(model):
    with server(model, "--workers", 2) as running:
        pid = min(children(running))
        assert b"events.sqlite" not in Path(f"/proc/{pid}/cmdline").read_bytes()
        os.kill(pid, signal.SIGKILL)
        ends = time.monotonic() + 30
        while not any("exit code -9" in line for line in running.log):
            assert time.monotonic() < ends
            time.sleep(0.05)
        for _ in range(10):
            assert httpx.get(f"{running.url}/health/live").status_code == 200
        assert running.stop() == 0


@pytest.mark.parametrize(
    ("number", "workers"),  # SIGHUP replaces several processes
    [
        (signal.SIGINT, 1),
        (signal.SIGTERM, 1),
        (signal.SIGHUP, 1),
        (signal.SIGINT, 2),
        *([(signal.SIGTERM, 2)] if THOROUGH else []),
    ],
)
def test_signals_stop_the_server_after_what_it_has_acknowledged(model, tmp_path, workers, number):
    log = tmp_path / "events.sqlite"
    running = start_server(model, "--log", log, "--workers", workers)
    stored = httpx.post(f"{running.url}/v1/events", json={"event_id": "a", **rating(1)}).json()
    assert running.stop(number) == 0
    opened = EventLog(log)
    assert opened.last == stored["offset"]
    opened.close()


def test_a_file_that_is_overwritten_in_place_takes_over(model):
    with server(model) as running:
        before = httpx.get(f"{running.url}/v1/model").json()
        new = hs.ALS(hs.Explicit(), rank=3, iterations=1, random_state=2).fit(hs.load(model, copy=True).interactions_)
        new.save(model.with_name("new"))
        with model.open("r+b") as file:
            file.truncate(0)
            time.sleep(0.7)
            assert httpx.get(f"{running.url}/v1/users/u1/recommendations").status_code == 200
            file.write(model.with_name("new").read_bytes())
        ends = time.monotonic() + 20
        while httpx.get(f"{running.url}/v1/model").json()["digest"] == before["digest"]:
            assert time.monotonic() < ends
            time.sleep(0.05)
        assert httpx.get(f"{running.url}/v1/model").json()["rank"] == 3


def test_refits_take_over_by_themselves(model):
    with server(model, "--refit-every", "2s") as running:
        before = httpx.get(f"{running.url}/v1/model").json()
        httpx.post(f"{running.url}/v1/events", json={"event_id": "a", **rating(1), "user": "visitor"})
        ends = time.monotonic() + 60
        while httpx.get(f"{running.url}/v1/model").json()["digest"] == before["digest"]:
            assert time.monotonic() < ends, running.log
            time.sleep(0.1)
        assert httpx.get(f"{running.url}/v1/users/visitor/recommendations").json()["known"] is True
    assert hs.load(model)._fitted.origin.learned.offset == 1


def test_a_database_that_restarts_is_used_again(model, request):
    url = request.getfixturevalue("postgres_url")
    with server(model, "--log", url) as running:
        assert httpx.post(f"{running.url}/v1/events", json={"event_id": "a", **rating(1)}).status_code == 200
        engine = sa.create_engine(url.replace("postgresql", "postgresql+psycopg"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            )
        engine.dispose()
        ends = time.monotonic() + 20
        while (
            answer := httpx.post(f"{running.url}/v1/events", json={"event_id": "b", **rating(2)})
        ).status_code != 200:
            assert answer.status_code == 503
            assert time.monotonic() < ends
        wait_until_learned(running.url)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 3 MB, and a function that enlarges it."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("no permission to mount a file system")
    yield folder, lambda: subprocess.run(["mount", "-o", "remount,size=50m", folder], check=True)
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_loses_nothing_and_needs_no_repair(model, small_disk):
    folder, enlarge = small_disk
    path = folder / "model.halfstep"
    path.write_bytes(model.read_bytes())
    acknowledged = {}
    running = start_server(path, "--snapshot-every", 500)
    with httpx.Client(base_url=running.url, timeout=30) as client:

        def send(number):
            events = [{"event_id": f"{number}-{k}", **rating(k)} for k in range(100)]
            answer = client.post("/v1/events", json=events)
            if answer.status_code == 200:
                acknowledged.update({each["event_id"]: each["offset"] for each in answer.json()["events"]})
            return answer.status_code

        number = 0
        while (status := send(number)) == 200:
            number += 1
        assert status == 507
        assert {send(number + k) for k in range(10)} <= {200, 507}
        assert client.get("/v1/users/u1/recommendations").status_code == 200
        enlarge()
        assert send(number) == 200
    wait_until_learned(running.url)
    running.process.kill()
    running.process.wait()
    log = EventLog(folder / "model.events.sqlite")
    stored = {entry.event_id: entry.offset for group in log.read(0, 10**6) for entry in group.entries}
    assert acknowledged == stored
    log.close()
    again = start_server(path, "--snapshot-every", 500)
    assert wait_until_learned(again.url)["offset"] == len(acknowledged)
    assert again.stop() == 0
    assert sum("not written" in line for line in running.log) < 5
