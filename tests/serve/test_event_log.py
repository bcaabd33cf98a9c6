"""The event log, in SQLite and PostgreSQL."""

import os
import sqlite3
import threading

import pytest
import sqlalchemy as sa

from halfstep.errors import DataError, ParameterError
from halfstep.serve import event_log, schema
from halfstep.serve.event import Appended, ConflictError, Event, LogUnavailableError
from halfstep.serve.event_log import ERASED, EventLog


def event(event_id, user="u", item="i", **more):
    return Event(event_id, user, item, **more)


@pytest.fixture
def log(log_url):
    log = EventLog(log_url)
    yield log
    log.close()


def test_offsets_ascend_without_gaps_and_survive_reopening(log, log_url):
    assert log.last == 0
    assert log.append([[event("a"), event("b")], [event("c")]]) == [
        Appended([1, 2], [False, False]),
        Appended([3], [False]),
    ]
    again = EventLog(log_url)
    assert (again.id, again.last) == (log.id, 3)
    assert again.append([[event("d")]]) == [Appended([4], [False])]
    again.close()


def test_an_event_that_is_sent_again_gets_the_first_answer(log):
    log.append([[event("a", value=3.5, time=1.25, list_id="l")]])
    assert log.append([[event("b"), event("a", value=3.5, time=1.25, list_id="l")]]) == [
        Appended([2, 1], [False, True])
    ]
    assert log.append([[event("c"), event("c")], [event("c")]]) == [
        Appended([3, 3], [False, True]),
        Appended([3], [True]),
    ]
    assert log.last == 3


@pytest.mark.parametrize(
    ("field", "other"),
    [("user", "v"), ("item", "j"), ("value", 2.0), ("type", "view"), ("time", 2.0), ("list_id", "m")],
)
def test_another_event_with_a_known_id_is_a_conflict_and_its_request_is_not_stored(log, field, other):
    first = event("a", value=1.0, time=1.0, list_id="l")
    log.append([[first]])
    conflict, stored = log.append([[event("b"), first._replace(**{field: other})], [event("c")]])
    assert isinstance(conflict, ConflictError)
    assert (conflict.index, conflict.event_id, conflict.field) == (1, "a", field)
    assert stored == Appended([2], [False])
    assert [entry.event_id for group in log.read(0) for entry in group.entries] == ["a", "c"]


def test_a_transaction_is_read_as_a_whole_whatever_the_limit(log):
    for size in (1, 7, 3):
        log.append([[event(f"{size}-{k}") for k in range(size)]])
    for limit in (1, 2, 5, 8, 100):
        offset, sizes = 0, []
        while groups := log.read(offset, limit):
            sizes += [len(group.entries) for group in groups]
            offset = groups[-1].last
        assert sizes == [1, 7, 3]


@pytest.mark.slow
def test_concurrent_processes_have_distinct_offsets_in_the_order_of_visibility(log, log_url):
    logs = [EventLog(log_url) for _ in range(3)]
    seen: list[int] = []
    is_done = threading.Event()

    def append(number):
        for k in range(40):
            logs[number].append([[event(f"{number}-{k}")]])

    def follow():
        while not (is_done.is_set() and log.last == len(seen)):
            seen.extend(e.offset for group in log.read(len(seen)) for e in group.entries)

    threads = [threading.Thread(target=append, args=(number,)) for number in range(3)]
    follower = threading.Thread(target=follow)
    for thread in (*threads, follower):
        thread.start()
    for thread in threads:
        thread.join()
    is_done.set()
    follower.join()
    assert seen == list(range(1, 121))
    for each in logs:
        each.close()


def test_erased_events_keep_their_id_and_nothing_else(log):
    log.append([[event("a", "ann", list_id="l"), event("b", "bob")], [event("c", "ann")]])
    offset = log.request_erasure("ann")
    log.append([[event("d", "ann")]])
    assert log.erase(offset - 1) == 0
    assert log.erase(offset) == 2
    assert log.erase(offset) == 0
    entries = [entry for group in log.read(0) for entry in group.entries]
    assert [(e.type, e.user, e.item) for e in entries if e.offset in (1, 3)] == [(ERASED, None, None)] * 2
    assert [(e.user, e.type) for e in entries if e.offset in (2, 5)] == [
        ("bob", "interaction"),
        ("ann", "interaction"),
    ]
    (request,) = [e for e in entries if e.type == schema.ERASURE]
    assert (request.user, request.item) == (None, log.digest("ann"))
    assert log.append([[event("a", "ann", list_id="l")]]) == [Appended([1], [True])]


def test_a_second_erasure_leaves_the_first_request(log, monkeypatch):
    monkeypatch.setattr(event_log, "ERASED_AT_ONCE", 2)
    for k in range(3):
        log.append([[event(f"{k}", "ann"), event(f"{k}b", "ann")]])
        log.request_erasure("ann")
    assert log.erase(log.last) == 6
    types = [entry.type for group in log.read(0) for entry in group.entries]
    assert types == [ERASED, ERASED, schema.ERASURE] * 3


def test_erased_ids_are_not_left_in_the_file(tmp_path):
    log = EventLog(tmp_path / "events.sqlite")
    log.append([[event("a", "ann-the-erased", "secret-item")]])
    log.erase(log.request_erasure("ann-the-erased"))
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("events.sqlite*"))
    assert b"ann-the-erased" not in stored
    assert b"secret-item" not in stored
    log.close()


def test_statistics_count_events_and_lists_with_their_first_event(log):
    log.append([[event("a", list_id="l"), event("b", list_id="l"), event("c", list_id="m"), event("d")]])
    log.append([[event("e", list_id="l")], [event("a", list_id="l")]])
    (minute,) = log.minutes(0)
    log.count_lists({minute.minute: 5, minute.minute + 1: 2})
    assert [tuple(each)[1:] for each in log.minutes(0)] == [(5, 5, 2), (0, 2, 0)]
    assert log.minutes(minute.minute + 2) == []


def test_settings_keep_their_first_value_unless_they_are_replaced(log):
    assert log.get_setting("kind") is None
    assert [log.setting("kind", "integer"), log.setting("kind", "string")] == ["integer", "integer"]
    log.set_setting("kind", "string")
    assert log.get_setting("kind") == "string"


def test_a_log_of_version_1_is_migrated(log_url, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:1])
        old = EventLog(log_url)
        assert old.get_setting("version") == "1"
        old.close()
    log = EventLog(log_url)
    assert log.id == old.id
    log.append([[event("a")]])
    assert log.minutes(0)[0].events == 1
    assert log.get_setting("version") == "2"
    log.set_setting("version", "99")
    log.close()
    with pytest.raises(DataError, match="version 99"):
        EventLog(log_url)


def test_commits_of_sqlite_are_on_disk(tmp_path):
    log = EventLog(tmp_path / "events.sqlite")
    with log._writer.connect() as connection:
        assert connection.scalar(sa.text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(sa.text("PRAGMA synchronous")) == 2
    log.close()


def test_a_full_disk_is_reported_and_nothing_is_lost(tmp_path):
    log = EventLog(tmp_path / "events.sqlite")
    log.append([[event("a")]])
    with log._writer.connect() as connection:
        connection.exec_driver_sql(f"PRAGMA max_page_count={connection.scalar(sa.text('PRAGMA page_count'))}")
    with pytest.raises(LogUnavailableError, match="full") as caught:
        log.append([[event(f"{k}", "x" * 500) for k in range(500)]])
    assert caught.value.is_full
    assert "x" * 20 not in str(caught.value)
    with log._writer.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count=100000")
    assert log.append([[event("b"), event("a")]]) == [Appended([2, 1], [False, True])]
    log.close()


def test_a_locked_database_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(event_log, "LOCK_SECONDS", 0.05)
    log = EventLog(tmp_path / "events.sqlite")
    other = sqlite3.connect(tmp_path / "events.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LogUnavailableError, match="locked"):
        log.append([[event("a")]])
    other.execute("ROLLBACK")
    other.close()
    assert log.append([[event("a")]]) == [Appended([1], [False])]
    log.close()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://host/db", "SQLite or PostgreSQL"),
        ("://", "the URL of the event log is invalid"),
        ("sqlite://", "in memory"),
        ("/no/such/folder/events.sqlite", "no folder"),
    ],
)
def test_other_databases_and_missing_folders_are_errors(url, message):
    with pytest.raises((ParameterError, DataError), match=message):
        EventLog(url)


def test_a_file_that_is_not_a_database_is_an_error(tmp_path):
    path = tmp_path / "events.sqlite"
    path.write_text("time,user,item\n" * 100)
    with pytest.raises(LogUnavailableError, match=f"the event log {path} is unavailable .*not a database"):
        EventLog(path)
    with pytest.raises(FileNotFoundError, match=r"no event log"):
        EventLog(tmp_path / "missing.sqlite", must_exist=True)


@pytest.mark.skipif(os.name != "posix", reason="Windows does not delete open files")
@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_file_that_is_deleted_or_replaced_while_it_is_open_is_an_error(tmp_path, is_replaced):
    path, other = tmp_path / "events.sqlite", tmp_path / "other.sqlite"
    EventLog(other).close()
    log = EventLog(path)
    log.append([[event("a")]])
    if is_replaced:
        other.replace(path)
    else:
        path.unlink()
    for write in (lambda: log.append([[event("b")]]), lambda: log.request_erasure("u"), lambda: log.last):
        with pytest.raises(LogUnavailableError, match="deleted or replaced while it was open: restart the server"):
            write()
    log.close()


def test_an_unreachable_server_is_an_error_without_its_password():
    for scheme in ("postgresql", "postgres"):
        with pytest.raises(LogUnavailableError, match=r"postgresql://me:\*\*\*@127\.0\.0\.1:1/db") as caught:
            EventLog(f"{scheme}://me:hunter2@127.0.0.1:1/db")
        assert "hunter2" not in str(caught.value)
