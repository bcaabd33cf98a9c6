"""Learning is a deterministic function of the log, bit for bit."""

import numpy as np
import pytest

import halfstep as hs
from halfstep.errors import ParameterError
from halfstep.serve.conversion import Timestamps
from halfstep.serve.event import Event
from halfstep.serve.event_log import EventLog
from halfstep.serve.learner import Learner, LearningSettings, needs_values, position_in
from halfstep.serve.snapshot import ModelFile, learner_of
from served import plays, ratings


@pytest.fixture
def log(tmp_path):
    log = EventLog(tmp_path / "events.sqlite")
    yield log
    log.close()


def fill(log, name, n, seed=1):
    """Append transactions of one to five random events, with new users and items, and erasures."""
    rng = np.random.default_rng(seed)
    for k in range(n):
        size = int(rng.integers(1, 6))
        events = []
        for j in range(size):
            user, item = int(rng.integers(35)), int(rng.integers(24))
            if name == "ratings":
                user, item = f"u{user}", f"i{item}"
            events.append(Event(f"{seed}-{k}-{j}", user, item, float(rng.integers(1, 6)), time=1e9 + k))
        log.append([events])
        if k % 17 == 16:
            log.request_erasure(str(events[0].user))


def learner_from(path, log, **settings):
    file = ModelFile.read(path)
    chosen = LearningSettings.of_model(file.model, **settings)
    return Learner(file.model, log, chosen, chosen.base_of(file.digest), position_in(log, file.model))


def replay(learner, log, up_to=None):
    while groups := log.read(learner.offset, 20):
        for group in groups:
            if up_to is not None and group.last > up_to:
                return learner
            learner.apply(group)
    return learner


def saved(learner, folder):
    path = folder / f"saved-{id(learner)}.halfstep"
    learner.save(path)
    return path.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ratings", "plays"])
def test_a_learner_that_continues_from_a_snapshot_has_the_same_bytes(log, tmp_path, model_files, name):
    fill(log, name, 60)
    uninterrupted = replay(learner_from(model_files[name], log, checkpoint_every=25), log)
    expected = saved(uninterrupted, tmp_path)
    assert uninterrupted.refused == 0
    snapshot, offsets = tmp_path / "snapshot.halfstep", []
    first = learner_from(model_files[name], log, checkpoint_every=25)
    for group in log.read(0, 1000):
        if first.apply(group):
            first.save(snapshot)
            offsets.append(first.offset)
            settings = LearningSettings.of_model(first.model, checkpoint_every=25)
            other = learner_of(ModelFile.read(model_files[name]), log, settings, snapshot)
            assert other.offset == first.offset
            assert saved(replay(other, log), tmp_path) == expected
    assert len(offsets) > 6
    assert saved(first, tmp_path) == expected


def test_a_snapshot_of_another_model_log_or_setting_is_not_used(log, tmp_path, model_files):
    fill(log, "ratings", 20)
    snapshot = tmp_path / "snapshot.halfstep"
    replay(learner_from(model_files["ratings"], log), log).save(snapshot)
    file = ModelFile.read(model_files["ratings"])
    settings = LearningSettings.of_model(file.model)
    assert learner_of(file, log, settings, snapshot).offset == log.last
    other = LearningSettings.of_model(file.model, duplicates="sum")
    assert learner_of(file, log, other, snapshot).offset == 0
    new_log = EventLog(tmp_path / "other.sqlite")
    assert learner_of(file, new_log, settings, snapshot).offset == 0
    new_log.close()
    changed = tmp_path / "changed.halfstep"
    hs.load(file.path).partial_fit(hs.Interactions.from_arrays(["u0"], ["i0"], [1.0], [1])).save(changed)
    assert learner_of(ModelFile.read(changed), log, settings, snapshot).offset == 0
    snapshot.write_bytes(snapshot.read_bytes()[:-100])
    assert learner_of(file, log, settings, snapshot).offset == 0


@pytest.mark.parametrize("name", ["ratings", "plays"])
@pytest.mark.parametrize("regularization", [0.01, 1.0])
def test_the_largest_values_are_learned_and_later_updates_succeed(log, model_files, name, regularization):
    fitted = hs.load(model_files[name])
    model = fitted.set_params(rank=16, regularization=regularization).fit(fitted.interactions_)
    settings = LearningSettings.of_model(model)
    learner = Learner(model, log, settings, "base", 0)
    largest, users, items = learner.largest_value, model.users_.ids[:3].tolist(), model.items_.ids[:3].tolist()
    assert largest == (5000 if name == "ratings" else 1e9)
    for k in range(20):
        events = [Event(f"{k}-{j}", users[j], items[(j + k) % 3], largest * (-1) ** (j + k // 3)) for j in range(3)]
        log.append([events])
    log.append([[Event(f"{user}-{item}", user, item, 3.0) for user in users for item in items]])
    replay(learner, log)
    assert learner.refused == 0
    arrays = (model.user_factors_, model.item_factors_, model.user_biases_, model.item_biases_)
    assert all(np.isfinite(array).all() for array in arrays)


def test_a_learner_equals_partial_fit_of_each_transaction(log, model_files):
    fill(log, "plays", 10)
    learner = replay(learner_from(model_files["plays"], log), log)
    model = hs.load(model_files["plays"])
    for group in log.read(0, 1000):
        cells = {}
        for e in group.entries:
            cell = int(e.user), int(e.item)
            cells[cell] = cells.get(cell, 0.0) + e.value
        users, items = zip(*cells, strict=True)
        model.partial_fit(hs.Interactions.from_arrays(users, items, list(cells.values())), duplicates="sum")
    np.testing.assert_array_equal(learner.model.user_factors_, model.user_factors_)
    np.testing.assert_array_equal(learner.model.item_factors_, model.item_factors_)


def test_an_erased_user_is_removed_even_if_the_id_is_no_longer_in_the_log(log, tmp_path, model_files):
    path = model_files["ratings"]
    log.append([[Event("a", "u1", "i1", 5.0)]])
    offset = log.request_erasure("u1")
    before = replay(learner_from(path, log), log)
    assert "u1" not in before.model.users_
    assert "u1" not in before.model.interactions_.user_ids.tolist()
    log.erase(offset)
    after = replay(learner_from(path, log), log)
    assert "u1" not in after.model.users_
    log.append([[Event("b", "u1", "i1", 5.0)]])
    assert replay(after, log).model.users_.ids.tolist()[-1] == "u1"
    assert len(after.model.interactions_.subset(after.model.interactions_.user_ids == "u1")) == 1


def test_only_events_of_listed_types_are_learned(log, model_files):
    log.append([[Event("a", "new", "i1", 5.0, type="view"), Event("b", "newer", "i1", 5.0, type="rating")]])
    learner = replay(learner_from(model_files["ratings"], log, types=["rating"]), log)
    assert "newer" in learner.model.users_
    assert "new" not in learner.model.users_
    assert learner.offset == 2


def test_events_that_the_objective_refuses_are_skipped_and_counted(log, tmp_path):
    path = tmp_path / "model.halfstep"
    weight = hs.weights.log_confidence(1.0, 1.0)
    hs.ALS(hs.Implicit(observed_weight=weight), rank=2, random_state=0).fit(plays()).save(path)
    log.append([[Event("a", 1, 1, 3.0), Event("b", 2, 2, -50.0), Event("c", 77, 1, 2.0)]])
    learner = replay(learner_from(path, log), log)
    assert learner.refused == 1
    assert 77 in learner.model.users_


def test_a_rating_without_a_value_is_skipped_and_counted_also_among_others(log, model_files):
    log.append([[Event("a", "u1", "i1"), Event("b", "new", "i1", 5.0), Event("c", "newer", "i1")]])
    log.append([[Event("d", "newer", "i1")]])
    learner = replay(learner_from(model_files["ratings"], log), log)
    assert learner.refused == 3
    assert "new" in learner.model.users_
    assert "newer" not in learner.model.users_


def test_a_model_without_updates_only_follows_the_offsets_of_the_log(log, model_files):
    fill(log, "plays", 5)
    learner = replay(learner_from(model_files["popularity"], log), log)
    assert learner.offset == log.last
    assert learner.reason == "Popularity does not support incremental updates"


def test_counts_are_added_and_ratings_are_replaced_by_default(model_files):
    models = {name: hs.load(path) for name, path in model_files.items()}
    assert LearningSettings.of_model(models["plays"]).duplicates == "sum"
    assert LearningSettings.of_model(models["ratings"]).duplicates == "last"
    assert not needs_values(models["plays"], "sum")
    assert needs_values(models["ratings"], "last")
    assert not needs_values(models["popularity"], "last")
    assert not needs_values(hs.EASE().fit(ratings()), "last")
    for each in (hs.GlobalMean(), hs.ItemBias(), hs.UserItemBias(), hs.SGD(rank=2, iterations=1)):
        assert needs_values(each.fit(ratings()), "last"), each
    assert not needs_values(hs.ItemBias().fit(hs.Interactions.from_arrays(["u", "v"], ["i", "j"])), "last")


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (np.array([1_700_000_000]), 1_800_000_000),
        (np.array([1_700_000_000_000]), 1_800_000_000_000),
        (np.array([1.7e15]), 1.8e15),
        (np.array([], dtype=np.int64), 1_800_000_000),
        (np.array(["2024-01-01"], dtype="datetime64[us]"), np.datetime64("2027-01-15T08:00:00", "us")),
    ],
)
def test_times_are_converted_to_the_unit_of_the_model(times, expected):
    converted = Timestamps.like(times).of_seconds(np.array([1.8e9]))
    assert converted.dtype == times.dtype
    assert converted[0] == expected
    early = np.array([3600.0, 1.8e9])
    np.testing.assert_array_equal(Timestamps.like(times).seconds(Timestamps.like(times).of_seconds(early)), early)


def test_a_time_that_nanoseconds_cannot_represent_is_the_last_one():
    unit = Timestamps.like(np.array([1_700_000_000_000_000_000]))
    last = unit.seconds(unit.of_seconds(np.array([9e10])))  # in the year 4821
    assert last[0] == pytest.approx(2**63 / 1e9)


def test_ids_that_are_neither_integers_nor_strings_are_an_error(log, tmp_path):
    model = hs.ALS(rank=2, random_state=0).fit(hs.Interactions.from_arrays([(1, 2), (3, 4)], ["a", "b"], [1.0, 2.0]))
    with pytest.raises(ParameterError, match="user ids of this model are of type tuple"):
        Learner(model, log, LearningSettings("last"), "", 0)
