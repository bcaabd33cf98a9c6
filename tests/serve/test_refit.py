"""Refits use the data of the model and the events of the log."""

import numpy as np
import pandas as pd
import pytest

import halfstep as hs
from halfstep.errors import DataError, ParameterError
from halfstep.models.origin import Learned, Origin
from halfstep.serve.event import Event
from halfstep.serve.event_log import EventLog
from halfstep.serve.learner import Learner, LearningSettings, position_in
from halfstep.serve.refit import data_of, model_of, new_estimator, save_refitted
from served import plays, ratings


@pytest.fixture
def log(tmp_path):
    log = EventLog(tmp_path / "events.sqlite")
    yield log
    log.close()


def cells(data):
    return {(u, i): v for u, i, v in zip(data.user_ids, data.item_ids, data.values, strict=True)}


def test_the_data_are_the_training_data_and_later_events(log):
    model = hs.ALS(hs.Explicit(), rank=2, random_state=0).fit(ratings())
    log.append([[Event("a", "u1", "i1", 1.0), Event("b", "new", "i2", 2.0)], [Event("c", "u1", "i1", 3.0)]])
    found = data_of(model, log, LearningSettings("last"))
    assert cells(found.data) == cells(ratings()) | {("u1", "i1"): 3.0, ("new", "i2"): 2.0}
    assert (found.events, found.offset, found.erased_users) == (3, 3, 0)
    assert found.data.timestamps is not None


def test_counts_are_added(log):
    model = hs.ALS(hs.Implicit(), rank=2, random_state=0).fit(plays())
    log.append([[Event("a", 1, 1), Event("b", 1, 1, 4.0)], [Event("c", 1, 1)]])
    found = data_of(model, log, LearningSettings("sum"))
    assert cells(found.data)[1, 1] == cells(plays()).get((1, 1), 0.0) + 6.0


@pytest.mark.parametrize("estimator", [hs.ALS(hs.Explicit(), rank=2, random_state=0), hs.ItemBias()])
def test_events_without_values_are_not_ratings(log, estimator):
    log.append([[Event("a", "u1", "i1", 2.0), Event("b", "u1", "i2"), Event("c", "new", "i2")]])
    found = data_of(estimator.fit(ratings()), log, LearningSettings("last"))
    assert cells(found.data) == cells(ratings()) | {("u1", "i1"): 2.0}
    assert (found.events, found.ignored, found.offset) == (1, 2, 3)


@pytest.mark.parametrize("is_erased", [False, True])
def test_erased_users_are_removed_also_from_the_training_data(log, is_erased):
    model = hs.ALS(hs.Explicit(), rank=2, random_state=0).fit(ratings())
    log.append([[Event("a", "u1", "i1", 1.0), Event("b", "visitor", "i2", 2.0)]])
    for user in ("u1", "visitor"):
        offset = log.request_erasure(user)
    log.append([[Event("c", "visitor", "i9", 4.0)]])
    if is_erased:
        log.erase(offset)
    found = data_of(model, log, LearningSettings("last"))
    assert "u1" not in found.data.users
    assert {i: v for (u, i), v in cells(found.data).items() if u == "visitor"} == {"i9": 4.0}
    assert found.erased_users == (1 if is_erased else 2)


def test_a_refitted_model_continues_after_its_events(log, tmp_path):
    model = hs.ALS(hs.Explicit(), rank=2, random_state=0).fit(ratings())
    log.append([[Event("a", "new", "i1", 1.0)]])
    settings = LearningSettings("last")
    found = data_of(model, log, settings)
    path = tmp_path / "new.halfstep"
    save_refitted(new_estimator(model).fit(found.data), log, found.offset, path)
    refitted = hs.load(path)
    assert refitted._fitted.origin.learned == Learned(log.id, 1)
    assert position_in(log, refitted) == 1
    expected = hs.ALS(hs.Explicit(), rank=2, random_state=0).fit(found.data)
    np.testing.assert_array_equal(refitted.user_factors_, expected.user_factors_)
    log.append([[Event("b", "new", "i2", 5.0)]])
    again = data_of(refitted, log, settings)
    assert (again.events, again.offset) == (1, 2)
    assert cells(again.data) == cells(found.data) | {("new", "i2"): 5.0}
    learner = Learner(refitted, log, settings, "", position_in(log, refitted))
    assert not learner.apply(log.read(learner.offset)[0])
    assert learner.offset == 2
    other = EventLog(tmp_path / "other.sqlite")
    assert position_in(other, refitted) == 0
    other.close()


def test_a_log_that_is_older_than_the_model_is_an_error(log):
    model = hs.ALS(hs.Explicit(), rank=2, random_state=0).fit(ratings())
    model = model.as_saved(Origin(learned=Learned(log.id, 7)))
    log.append([[Event("a", "new", "i1", 1.0)]])
    with pytest.raises(DataError, match="learned up to event 7 of this log, which has only 1"):
        data_of(model, log, LearningSettings("last"))


def test_a_model_with_side_information_is_an_error(log):
    features = pd.DataFrame({"item": ratings().items.ids, "length": 1.0 + np.arange(20)})
    model = hs.ALS(hs.Explicit(), rank=2, random_state=0).fit(ratings(), item_features=features)
    with pytest.raises(DataError, match="side information"):
        data_of(model, log, LearningSettings("last"))
    model = hs.ALS(hs.Explicit(), rank=2, implicit_features=True, random_state=0).fit(ratings())
    assert len(data_of(model, log, LearningSettings("last")).data) == 400


def test_a_log_with_ids_of_other_types_is_an_error(log):
    log.setting("user_ids", "integer")
    with pytest.raises(DataError, match=r"user ids in the event log are of type integer, but .* of type string"):
        data_of(hs.ItemBias().fit(ratings()), log, LearningSettings("last"))


def test_errors(log, tmp_path):
    with pytest.raises(ParameterError, match="give --model"):
        model_of(log)
    path = tmp_path / "bare.halfstep"
    hs.ALS(rank=2, random_state=0).fit(ratings()).save(path, interactions=False)
    with pytest.raises(DataError, match="without its interactions"):
        data_of(hs.load(path), log, LearningSettings("last"))
