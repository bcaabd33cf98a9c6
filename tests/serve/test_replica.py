"""New model files take over, and several processes agree."""

import threading
import time
from dataclasses import replace

import pytest

import halfstep as hs
from halfstep.errors import DataError, HalfstepError, ModelFileError
from halfstep.models.origin import Learned, Origin
from halfstep.serve import replica as replica_module
from halfstep.serve.event import Event, LogUnavailableError
from halfstep.serve.event_log import EventLog
from halfstep.serve.learner import LearningSettings
from halfstep.serve.replica import Replica
from served import MODELS, plays, ratings


def wait_until(condition, seconds=10.0):
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "timeout"
        time.sleep(0.005)


@pytest.fixture
def log(tmp_path):
    log = EventLog(tmp_path / "events.sqlite")
    yield log
    log.close()


@pytest.fixture
def replicas(tmp_path, log, model_files):
    """Start replicas of one model, the first of which writes."""
    path, started = tmp_path / "model.halfstep", []
    path.write_bytes(model_files["ratings"].read_bytes())

    def start(**settings):
        chosen = LearningSettings("last", **settings)
        one = Replica(path, log, lambda _: chosen, tmp_path / "snapshot.halfstep", is_writer=not started)
        one.start()
        started.append(one)
        return one

    yield start
    for each in started:
        each.close()


def fill(log, n=30, prefix=""):
    for k in range(n):
        log.append([[Event(f"{prefix}{k}", f"u{k % 31}", f"i{k % 23}", 1.0 + k % 5)]])


def exported(replica, path):
    replica.export(path)
    return path.read_bytes()


def test_processes_that_start_at_different_times_hold_the_same_model(replicas, log, tmp_path):
    first = replicas(checkpoint_every=8)
    fill(log, 20)
    second = replicas(checkpoint_every=8)
    fill(log, 20, "more")
    wait_until(lambda: first.offset == second.offset == 40)
    assert exported(first, tmp_path / "1") == exported(second, tmp_path / "2")
    wait_until((tmp_path / "snapshot.halfstep").exists)


def test_a_new_file_takes_over_with_the_events_since(replicas, log, tmp_path):
    replica = replicas()
    fill(log, 10)
    wait_until(lambda: replica.offset == 10)
    old = replica.served
    new = hs.ALS(hs.Explicit(), rank=6, iterations=2, random_state=1).fit(ratings())
    new.save(replica.path)
    wait_until(lambda: replica.served.digest != old.digest)
    assert replica.served.model.item_factors_.shape[1] == 6
    assert replica.offset == 10
    for group in log.read(0):
        (e,) = group.entries
        new.partial_fit(hs.Interactions.from_arrays([e.user], [e.item], [e.value], [int(e.received)]))
    assert replica.served.model.recommend("u3")["u3"] == new.recommend("u3")["u3"]
    fill(log, 5, "later")
    wait_until(lambda: replica.offset == 15)


def test_a_swap_waits_until_the_new_model_answers(replicas, log):
    replica = replicas()
    assert replica.swap() == replica.served.digest
    hs.ALS(hs.Explicit(), rank=6, iterations=2, random_state=1).fit(ratings()).save(replica.path)
    digest = replica.swap()
    assert replica.served.digest == digest
    assert replica.served.model.item_factors_.shape[1] == 6


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"no model", b""])
def test_an_invalid_file_is_reported_and_the_old_model_continues(replicas, log, content):
    replica = replicas()
    old = replica.served
    replica.path.write_bytes(content)
    wait_until(lambda: replica.last_error is not None)
    assert replica.served is old
    with pytest.raises(HalfstepError, match=r"model\.halfstep"):
        replica.swap()
    replica._signature = None
    with pytest.raises(ModelFileError, match=r"model\.halfstep"):
        replica.swap()
    fill(log, 3)
    wait_until(lambda: replica.offset == 3)
    MODELS["ratings"]().save(replica.path)
    wait_until(lambda: replica.last_error is None)


def test_a_missing_file_is_reported_once_and_the_old_model_continues(replicas, monkeypatch, caplog):
    monkeypatch.setattr(replica_module, "WATCH_SECONDS", 0.01)
    replica = replicas()
    old, moved = replica.served, replica.path.with_name("moved")
    replica.path.rename(moved)
    wait_until(lambda: replica.last_error is not None)
    time.sleep(0.1)
    assert replica.last_error.endswith("model.halfstep: No such file or directory")
    assert [record.getMessage() for record in caplog.records] == [
        f"the new model file is not served: {replica.last_error}"
    ]
    assert replica.served is old
    moved.rename(replica.path)
    wait_until(lambda: replica.last_error is None)


def test_a_takeover_is_tried_again_after_the_log_was_unavailable(replicas, monkeypatch):
    def fail(log):
        raise LogUnavailableError("the event log is unavailable")

    replica = replicas()
    with monkeypatch.context() as patch:
        patch.setattr(EventLog, "last", property(fail))
        hs.ALS(rank=6, random_state=0).fit(ratings()).save(replica.path)
        with pytest.raises(LogUnavailableError):
            replica.swap()
    wait_until(lambda: replica.served.model.item_factors_.shape[1] == 6)
    assert replica.last_error is None


def test_a_model_with_other_ids_is_refused(replicas):
    replica = replicas()
    model = hs.ALS(rank=2, random_state=0).fit(plays())
    model.save(replica.path)
    replica._signature = None
    with pytest.raises(HalfstepError, match="ids of a different type"):
        replica.swap()
    assert replica.served.model.users_[0] == "u0"


def test_a_new_model_is_saved_at_its_last_checkpoint(replicas, log, tmp_path):
    replica = replicas(checkpoint_every=8)
    fill(log, 20)
    wait_until(lambda: replica.offset == 20)
    hs.ALS(hs.Explicit(), rank=6, iterations=2, random_state=1).fit(ratings()).save(replica.path)
    digest = replica.swap()
    base = replica.settings.base_of(digest)

    def saved():
        return hs.load(tmp_path / "snapshot.halfstep", copy=True)._fitted.origin.learned

    wait_until(lambda: saved().base == base)
    assert saved().offset == 16


def test_a_model_that_is_ahead_of_the_log_does_not_replace_the_file(replicas, log, tmp_path):
    replica, new = replicas(), tmp_path / "new.halfstep"
    model = hs.ALS(hs.Explicit(), rank=6, iterations=2, random_state=1).fit(ratings())
    model.as_saved(Origin(learned=Learned(log.id, 7))).save(new)
    before = replica.path.read_bytes()
    with pytest.raises(DataError, match="learned up to event 7"):
        replica.replace(new)
    assert replica.path.read_bytes() == before


@pytest.mark.slow
def test_learning_goes_on_while_models_take_over(replicas, log):
    replica = replicas(checkpoint_every=10)
    models = [hs.ALS(hs.Explicit(), rank=r, iterations=1, random_state=1).fit(ratings()) for r in (2, 3, 5)]
    appending = threading.Thread(target=fill, args=(log, 150))
    appending.start()
    for model in models:
        model.save(replica.path)
        replica.swap()
    appending.join()
    wait_until(lambda: replica.offset == 150)
    assert replica.served.model.item_factors_.shape[1] == 5


def test_a_process_behind_an_erasure_continues_from_the_snapshot(replicas, log, tmp_path):
    writer = replicas()
    reader = replicas()
    reader.close()
    log.append([[Event("a", "visitor", "i1", 5.0)], [Event("b", "u1", "i1", 5.0)]])
    offset = log.request_erasure("visitor")
    wait_until(lambda: writer.offset == offset)
    wait_until(lambda: any(e.type == "$erased" for g in log.read(0) for e in g.entries))
    for group in log.read(0):
        reader._apply(group)
    assert reader.offset == offset
    assert exported(writer, tmp_path / "1") == exported(reader, tmp_path / "2")


def test_an_unavailable_log_is_tried_again(replicas, log, monkeypatch):
    replica = replicas()
    monkeypatch.setattr(replica_module, "RETRY_SECONDS", 0.01)
    read, failures = log.read, []

    def fail(*arguments):
        failures.append(arguments)
        raise HalfstepError("down")

    monkeypatch.setattr(log, "read", fail)
    wait_until(lambda: len(failures) > 2)
    monkeypatch.setattr(log, "read", read)
    fill(log, 3)
    wait_until(lambda: replica.offset == 3)


def test_titles_survive_checkpoints(tmp_path, log):
    path = tmp_path / "titled.halfstep"
    titled = replace(ratings(), item_titles={f"i{k}": f"Title {k}" for k in range(20)})
    hs.ALS(rank=2, random_state=0).fit(titled).save(path)
    settings = LearningSettings("last", checkpoint_every=2)
    replica = Replica(path, log, lambda _: settings, tmp_path / "s", is_writer=True)
    replica.start()
    fill(log, 6)
    wait_until(lambda: replica.offset == 6)
    assert replica.served.model.recommend("u1").titles["i3"] == "Title 3"
    replica.close()
