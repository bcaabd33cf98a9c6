"""The HTTP API: recommendations, events, lookups and errors."""

import dataclasses
import json
import os
import re
import time
import uuid
from urllib.parse import quote

import numpy as np
import pytest
from fastapi.testclient import TestClient

import halfstep as hs
from halfstep.serve.app import create_app
from halfstep.serve.config import ServeConfig
from served import ratings

JSON = {"content-type": "application/json"}


def event(user, item, value=None, **more):
    sent = {"event_id": uuid.uuid4().hex, "user": user, "item": item, **more}
    return sent if value is None else {**sent, "value": value}


def pairs(listed):
    return [(each["item"], each["score"]) for each in listed["items"]]


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory, model_files):
    """A server whose model and log no test changes."""
    path = tmp_path_factory.mktemp("served") / "ratings.halfstep"
    path.write_bytes(model_files["ratings"].read_bytes())
    app = create_app(ServeConfig.beside(path))
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def client(start):
    with start("ratings") as client:
        yield client


@pytest.fixture
def model(model_files):
    return hs.load(model_files["ratings"])


def test_recommendations_are_those_of_the_model(unchanged, model):
    got = unchanged.get("/v1/users/u3/recommendations", params={"n": 4}).json()
    assert pairs(got) == model.recommend("u3", 4)["u3"]
    assert (got["user"], got["known"]) == ("u3", True)
    assert got["list_id"] != unchanged.get("/v1/users/u3/recommendations").json()["list_id"]
    seen = unchanged.get("/v1/users/u3/recommendations", params={"n": 20, "exclude_seen": "false"}).json()
    assert pairs(seen) == model.recommend("u3", 20, exclude_seen=False)["u3"]
    chosen = unchanged.get(
        "/v1/users/u3/recommendations", params={"candidates": ["i1", "i2", "zz"], "exclude_seen": 0}
    )
    assert pairs(chosen.json()) == model.recommend("u3", candidates=["i1", "i2"], exclude_seen=False)["u3"]


@pytest.mark.slow
@pytest.mark.parametrize("user", ["u3", "nobody", "a/b", "a/recommendations", "ü"])
@pytest.mark.parametrize(
    "options", ["", "n=3", "exclude_seen=false", "n=4&exclude_seen=true", "n=5&exclude_seen=false"]
)
def test_the_direct_route_gives_the_answers_of_the_documented_one(client, user, options):
    path = f"/v1/users/{quote(user, safe='')}/recommendations"
    direct, described = (client.get(f"{path}?{query}") for query in (options, f"{options}&after=0"))
    first, second = direct.json(), described.json()
    assert len(first.pop("list_id")) == len(second.pop("list_id")) == 16
    assert first == second
    assert direct.headers["content-type"] == described.headers["content-type"]
    metrics = client.get("/metrics").text
    assert (
        'halfstep_request_seconds_count{method="GET",route="/v1/users/{user}/recommendations",status="200"} 2.0'
        in metrics
    )
    assert "halfstep_lists_total 2.0" in metrics


def test_an_unknown_user_gets_the_recommendations_for_unknown_users(unchanged, model):
    got = unchanged.get("/v1/users/nobody/recommendations").json()
    assert got["known"] is False
    assert pairs(got) == model.recommend("nobody", 10)["nobody"]


def test_recommendations_of_many_users_and_of_a_history(unchanged, model):
    got = unchanged.post("/v1/recommendations", json={"users": ["u1", "nobody", "u1"], "n": 3}).json()["lists"]
    expected = model.recommend(["u1", "nobody"], 3)
    assert [pairs(each) for each in got] == [expected["u1"], expected["nobody"], expected["u1"]]
    history = [{"item": "i1", "value": 5.0}, {"item": "i2", "value": 1.0}, {"item": "unknown", "value": 2.0}]
    (listed,) = unchanged.post("/v1/recommendations", json={"history": history, "n": 3}).json()["lists"]
    assert pairs(listed) == model.fold_in({0: {"i1": 5.0, "i2": 1.0}}).recommend(0, 3)[0]
    assert listed["user"] is None


def test_a_history_is_known_if_one_of_its_items_is(unchanged):
    for items, known in ((["i1", "unknown"], True), (["unknown"], False), ([], False)):
        history = [{"item": item, "value": 4.0} for item in items]
        (listed,) = unchanged.post("/v1/recommendations", json={"history": history}).json()["lists"]
        assert listed["known"] is known, items


@pytest.mark.parametrize(("name", "combined"), [("plays", 5.0), ("ratings", 2.0)])
def test_repeated_items_of_a_history_are_combined_like_events(start, name, combined):
    def listed(item, *values):
        history = [{"item": item, "value": value} for value in values]
        (found,) = client.post("/v1/recommendations", json={"history": history}).json()["lists"]
        return pairs(found)

    with start(name) as client:
        item = 1 if name == "plays" else "i1"
        assert listed(item, 3.0, 2.0) == listed(item, combined) != listed(item, 3.0)
        if name == "plays":
            twice = client.post("/v1/recommendations", json={"history": [{"item": item}, {"item": item}]}).json()
            assert pairs(twice["lists"][0]) == listed(item, 2.0)


def test_similar_items_and_explanations_are_those_of_the_model(unchanged, model):
    assert pairs(unchanged.get("/v1/items/i3/similar", params={"n": 5}).json()) == model.similar_items("i3", 5)["i3"]
    got, explained = unchanged.get("/v1/users/u3/explanations/i4?n=3").json(), model.explain("u3", "i4")
    assert got["score"] == pytest.approx(explained.score)
    order = np.argsort(-explained.contributions)[:3]
    assert [each["item"] for each in got["because"]] == explained.item_ids[order].tolist()
    np.testing.assert_allclose([r["contribution"] for r in got["because"]], explained.contributions[order])


def test_an_event_changes_the_list_and_the_history_at_once(client, model):
    first = client.get("/v1/users/u3/recommendations").json()
    best = first["items"][0]["item"]
    sent = event("u3", best, 5.0, list_id=first["list_id"], time="2026-01-02T03:04:05Z")
    stored = client.post("/v1/events", json=sent).json()
    assert stored["events"] == [{"event_id": sent["event_id"], "offset": 1, "status": "stored"}]
    after = client.get("/v1/users/u3/recommendations", params={"after": stored["offset"]}).json()
    assert best not in [item for item, _ in pairs(after)]
    model.partial_fit(hs.Interactions.from_arrays(["u3"], [best], [5.0], [1]))
    assert pairs(after) == model.recommend("u3", 10)["u3"]
    latest = client.get("/v1/users/u3/history").json()["items"][0]
    assert latest == {"item": best, "title": None, "value": 5.0, "time": 1767323045.0}


def test_events_that_are_sent_again_count_once(client):
    sent = [event("u1", "i1", 2.0), event("new user", "new item", 4.0)]
    first, second = (client.post("/v1/events", json=sent).json() for _ in range(2))
    assert [each["status"] for each in first["events"]] == ["stored"] * 2
    assert [each["status"] for each in second["events"]] == ["repeated"] * 2
    assert [each["offset"] for each in second["events"]] == [each["offset"] for each in first["events"]]
    changed = client.post("/v1/events", json=[sent[0], {**sent[1], "value": 1.0}])
    assert changed.status_code == 409
    assert changed.json()["errors"][0]["field"] == "events[1].event_id"


def test_a_new_user_and_a_new_item_are_learned(client):
    stored = client.post("/v1/events", json=[event("new/user?", "i1", 5.0), event("u1", "new item", 5.0)]).json()
    got = client.get(f"/v1/users/new%2Fuser%3F/recommendations?after={stored['offset']}").json()
    assert (got["user"], got["known"]) == ("new/user?", True)
    assert client.get("/v1/users/new%2Fuser%3F/history").json()["items"][0]["item"] == "i1"
    assert client.get("/v1/items?query=new").json()["items"] == [{"item": "new item", "title": None}]


@pytest.mark.parametrize("user", ["a/explanations/b", "a/history", "%2F", "a%0A", "q?#;=&+ é😀\u202e", "/", "..."])
def test_paths_distinguish_ids_with_slashes_and_other_delimiters(client, user):
    items = ["c/history", "c", "b/explanations/c"]
    stored = client.post("/v1/events", json=[event(user, item, 5.0) for item in items]).json()
    path = f"/v1/users/{quote(user, safe='')}"
    assert client.get(f"{path}/history?after={stored['offset']}").json()["user"] == user
    assert client.get(f"{path}/recommendations").json()["known"] is True
    for item in items:
        got = client.get(f"{path}/explanations/{quote(item, safe='')}").json()
        assert (got["user"], got["item"]) == (user, item)
        assert client.get(f"/v1/items/{quote(item, safe='')}/similar").json()["item"] == item
    erased = client.delete(path).json()
    assert client.get(f"{path}/history?after={erased['offset']}").status_code == 404


@pytest.mark.parametrize("path", ["/v1/users/%ff/history", "/v1/items?query=%c0%af", "/%ff"])
def test_a_url_that_is_not_utf_8_is_an_error(unchanged, path):
    answer = unchanged.get(path)
    assert answer.status_code == 400
    assert "the URL has bytes that are not UTF-8" in answer.json()["detail"]


def test_an_erased_user_is_gone_from_the_model_and_the_log(client, tmp_path):
    client.post("/v1/events", json=[event("u1", "i1", 2.0), event("visitor-77", "i1", 2.0)])
    offset = client.delete("/v1/users/visitor-77").json()["offset"]
    client.delete("/v1/users/u1")
    assert client.get(f"/v1/users/u1/history?after={offset + 1}").status_code == 404
    assert client.get("/v1/users/visitor-77/recommendations").json()["known"] is False
    stored, snapshot = b"", tmp_path / "ratings.snapshot.halfstep"
    for _ in range(200):
        stored = b"".join(path.read_bytes() for path in tmp_path.glob("*.sqlite*"))
        if snapshot.exists() and b"visitor-77" not in (stored := stored + snapshot.read_bytes()):
            break
        time.sleep(0.05)
    assert snapshot.exists()
    assert b"visitor-77" not in stored


def test_a_restarted_server_has_learned_the_same_events(start):
    with start("ratings") as client:
        stored = client.post("/v1/events", json=[event("u1", f"i{k}", 1.0 + k % 5) for k in range(20)]).json()
        expected = pairs(client.get(f"/v1/users/u1/recommendations?exclude_seen=0&after={stored['offset']}").json())
        exported = client.get("/v1/model/file").content
    with start("ratings") as client:
        assert client.get("/v1/model").json()["lag"] == 0
        assert pairs(client.get("/v1/users/u1/recommendations?exclude_seen=0").json()) == expected
        assert client.get("/v1/model/file").content == exported


def test_integer_ids(start):
    with start("plays") as client:
        stored = client.post("/v1/events", json=[event(3, 4), event(3, 4), event(500, 4, 3.0)]).json()
        got = client.get(f"/v1/users/500/history?after={stored['offset']}").json()
        assert got["user"] == 500
        assert [(each["item"], each["value"]) for each in got["items"]] == [(4, 3.0)]
        for wrong in ("x", "007", "1.0", "+1"):
            problem = client.get(f"/v1/users/{wrong}/recommendations")
            assert problem.status_code == 422
            assert "is not an integer, but the user ids of this model are integers" in problem.json()["detail"]
        problem = client.post("/v1/events", json=[event(3, 4), event("3", 4)]).json()
        assert problem["detail"].startswith("events[1].user: user '3' is not an integer, but the user ids of this")
        assert client.post("/v1/events", json=event(True, 4)).status_code == 422


def test_titles_are_returned(start, tmp_path):
    titled = dataclasses.replace(ratings(), item_titles={f"i{k}": f"Title {k}" for k in range(20)})
    hs.ALS(rank=2, random_state=0).fit(titled).save(tmp_path / "titled.halfstep")
    with start("titled") as client:
        listed = client.get("/v1/users/u1/recommendations").json()["items"]
        assert all(each["title"] == f"Title {each['item'][1:]}" for each in listed)
        assert client.get("/v1/items?query=title 19").json()["items"] == [{"item": "i19", "title": "Title 19"}]
        assert client.get("/v1/items/i3/similar").json()["title"] == "Title 3"


def test_a_model_without_updates_is_served_and_reports_it(start):
    with start("popularity") as client:
        description = client.get("/v1/model").json()
        assert (description["learns"], description["reason"]) == (
            False,
            "Popularity does not support incremental updates",
        )
        stored = client.post("/v1/events", json=event(3, 4)).json()
        assert client.get(f"/v1/users/3/recommendations?after={stored['offset']}").status_code == 200
        assert client.post("/v1/recommendations", json={"history": [{"item": 3}]}).status_code == 409
        assert client.get("/v1/users/3/explanations/4").status_code == 409


@pytest.mark.skipif(os.name != "posix", reason="the files are of Unix")
@pytest.mark.parametrize("path", [
    "ratings.events.sqlite", "plays.halfstep", "half.halfstep", "nothing.halfstep", ".", "..", "", "a\0b", "x" * 400,
    "/etc/passwd", "../secret", "outside.halfstep", "circle.halfstep", "pipe.halfstep", "\ud800",
])  # fmt: skip
def test_an_invalid_file_does_not_replace_the_served_one(start, tmp_path, model_files, path):
    content = model_files["ratings"].read_bytes()
    (tmp_path / "plays.halfstep").write_bytes(model_files["plays"].read_bytes())
    (tmp_path / "half.halfstep").write_bytes(content[: len(content) // 2])
    (tmp_path / "outside.halfstep").symlink_to(model_files["ratings"])
    (tmp_path / "circle.halfstep").symlink_to("circle.halfstep")
    os.mkfifo(tmp_path / "pipe.halfstep")
    with start("ratings") as client:
        answer = client.post("/v1/model", content=json.dumps({"path": path}), headers=JSON)
        assert answer.status_code in (400, 409, 422), answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert client.get("/v1/model").json()["last_error"] is None
        if path == "half.halfstep":  # and not its temporary copy
            assert f"{tmp_path / path} is truncated" in answer.json()["detail"]
    assert (tmp_path / "ratings.halfstep").read_bytes() == content
    assert not list(tmp_path.glob(".*"))


def test_a_successor_learns_in_its_own_way(start, tmp_path):
    path = tmp_path / "plays.halfstep"
    ids = [(k, k % 7, k % 5) for k in range(30)]
    rated = hs.Interactions.from_arrays([u for _, u, _ in ids], [i for *_, i in ids], [1.0 + k % 5 for k, *_ in ids])
    with start("plays") as client:
        client.post("/v1/events", json=event(3, 4, 2.0))
        sent = [event(3, 1), event(3, 2)]
        stored = client.post("/v1/events", json=sent).json()["events"]
        hs.ALS(hs.Explicit(), rank=2, random_state=0).fit(rated).save(path)
        assert client.post("/v1/model").json()["values"] == "needed"
        again = client.post("/v1/events", json=sent)  # as clients do that have not received the answer
        assert again.status_code == 200
        assert [each["offset"] for each in again.json()["events"]] == [each["offset"] for each in stored]
        assert client.post("/v1/events", json=[sent[0], event(3, 1)]).status_code == 422
        assert client.post("/v1/events", json=sent[0] | {"item": 2}).status_code == 409
        for value in (5.0, 4.0):  # ratings replace each other, although the plays of the first model are added
            offset = client.post("/v1/events", json=event(3, 4, value)).json()["offset"]
        (first, *_) = client.get(f"/v1/users/3/history?after={offset}").json()["items"]
        assert (first["item"], first["value"]) == (4, 4.0)


def test_another_file_of_the_folder_takes_over(start, tmp_path):
    with start("ratings") as client:
        (tmp_path / "ratings.halfstep").chmod(0o640)
        mode = (tmp_path / "ratings.halfstep").stat().st_mode
        hs.ALS(rank=2, random_state=0).fit(ratings()).save(tmp_path / "new.halfstep")
        assert client.post("/v1/model", json={"path": "new.halfstep"}).json()["rank"] == 2
    assert (tmp_path / "ratings.halfstep").read_bytes() == (tmp_path / "new.halfstep").read_bytes()
    assert (tmp_path / "ratings.halfstep").stat().st_mode == mode


BAD = {
    "not json": (b"{", 400, "valid JSON"),
    "nothing": (b"", 400, "valid JSON"),
    "a number": (b"3", 422, "body"),
    "no events": (b"[]", 422, "at least one event"),
    "without id": (json.dumps({"user": "a", "item": "b", "value": 1}).encode(), 422, "event_id: field required"),
    "empty id": (json.dumps({**event("a", "b", 1.0), "event_id": ""}).encode(), 422, "event_id: string should have"),
    "typo": (json.dumps({**event("a", "b", 1.0), "valeu": 1}).encode(), 422, "valeu: extra inputs are not permitted"),
    "null user": (json.dumps(event(None, "b", 1.0)).encode(), 422,
                  "user: input should be a valid integer or a valid string, not null"),
    "list": (json.dumps(event(["a"], "b", 1.0)).encode(), 422, "user"),
    "no value": (json.dumps(event("a", "b")).encode(), 422, "value: the model learns from values such as ratings"),
    "text value": (json.dumps(event("a", "b", "5")).encode(), 422, "value: input should be a valid number"),
    "nan": (b'{"event_id": "a", "user": "a", "item": "b", "value": NaN}', 422, "value: input should be a finite"),
    "infinity": (b'{"event_id": "a", "user": "a", "item": "b", "value": 1e999}', 422, "input should be a finite"),
    "nul": (json.dumps(event("a\0b", "b", 1.0)).encode(), 422, "control characters"),
    "surrogate": (b'{"event_id": "a", "user": "\\ud800", "item": "b", "value": 1}', 400, "JSON"),
    "long": (json.dumps(event("a" * 600, "b", 1.0)).encode(), 422, "600 characters"),
    "type": (json.dumps(event("a", "b", 1.0, type="$erasure")).encode(), 422, "type: string should match"),
    "time": (json.dumps(event("a", "b", 1.0, time="yesterday")).encode(), 422,
             "time: input should be a valid number or a valid datetime"),
    "milliseconds": (json.dumps(event("a", "b", 1.0, time=1.7e12)).encode(), 422, "time: input should be less than"),
    "year 1": (json.dumps(event("a", "b", 1.0, time="0001-01-01T00:00:00+23:59")).encode(), 422, "from 1970 to 5138"),
    "year 9999": (json.dumps(event("a", "b", 1.0, time="9999-12-31T23:59:59-23:59")).encode(), 422, "from 1970"),
    "large value": (json.dumps(event("a", "b", 1.1e9)).encode(), 422, "value: input should be less than or equal"),
    "other scale": (json.dumps([event("a", "b", 1.0), event("a", "b", 5e3 + 1)]).encode(), 422,
                    "events[1].value: the value is on a different scale from the values of the model: send"),
    "deep": (b"[" * 100_000, 400, "JSON"),
    "not utf-8": (b'{"event_id": "\xff"}', 400, "JSON"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_an_invalid_event_is_an_error_that_names_the_field(unchanged, name):
    body, status, message = BAD[name]
    answer = unchanged.post("/v1/events", content=body, headers=JSON)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert message in answer.json()["detail"].lower() or message in answer.json()["detail"]
    assert unchanged.get("/v1/model").json()["offset"] == 0


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/v1/users/u1/recommendations?n=0", "n: input should be greater than or equal to 1"),
        ("/v1/users/u1/recommendations?n=1001", "n: a list of 1,001 items is too long"),
        ("/v1/users/u1/recommendations?candidate=i1", "candidate: this parameter is unknown: choose from n, exclude"),
        ("/v1/model?n=3", "n: this parameter is unknown: this request has none"),
        ("/v1/users/u1/recommendations?candidates=", "candidates: item is empty: give an id"),
        ("/v1/users/u1/recommendations?n=ten", "n: input should be a valid integer"),
        ("/v1/users/u1/recommendations?exclude_seen=perhaps", "exclude_seen: input should be a valid boolean"),
        ("/v1/users/u1/recommendations?after=-1", "after: input should be greater than or equal to 0"),
        ("/v1/users/%00/recommendations", "user: user '\\x00' has control characters"),
        ("/v1/users/" + "u" * 600 + "/recommendations", "user: user has 600 characters"),
        ("/v1/statistics?minutes=100000", "minutes: input should be less than or equal to 1440"),
    ],
)
def test_an_invalid_parameter_is_an_error_that_names_it(unchanged, path, message):
    answer = unchanged.get(path)
    assert answer.status_code == 422
    assert message in answer.json()["detail"]


@pytest.mark.parametrize(
    ("message", "detail"),
    [
        ({}, "users: send either users or a history"),
        ({"users": ["a"], "history": []}, "users: send either users or a history"),
        ({"users": ["a"], "n": 0}, "n: input should be greater than or equal to 1"),
        ({"users": [1]}, "users[0]: user 1 is not a string"),
        ({"users": ["u"] * 1001}, "users: 1,001 are too many"),
        ({"history": [{"item": "i1"}]}, "history[0].value: the model learns from values"),
        ({"history": [{"item": "i1", "value": 1.0, "x": 1}]}, "history[0].x: extra inputs are not permitted"),
        ({"users": ["u1"], "candidates": ["i"] * 10_001}, "candidates: 10,001 are too many"),
    ],
)
def test_an_invalid_request_for_lists_is_an_error(unchanged, message, detail):
    answer = unchanged.post("/v1/recommendations", json=message)
    assert answer.status_code == 422
    assert detail in answer.json()["detail"]


def test_unknown_ids_and_paths_are_404(unchanged):
    for path in ("/v1/items/nothing/similar", "/v1/users/u1/explanations/nothing", "/v1/users/no/history", "/v2"):
        answer = unchanged.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json"), path
    assert unchanged.put("/v1/events").status_code == 405


def test_statistics_and_metrics_count_events_lists_and_hits(client):
    listed = client.get("/v1/users/u1/recommendations").json()
    client.post("/v1/events", json=[event("u1", "i1", 2.0, list_id=listed["list_id"]), event("u2", "i1", 2.0)])
    client.app._app.state.service.write_statistics()
    (minute,) = client.get("/v1/statistics").json()["minutes"]
    assert (minute["events"], minute["lists"], minute["hits"]) == (2, 1, 1)
    metrics = client.get("/metrics").text
    assert 'halfstep_events_total{result="stored"} 2.0' in metrics
    assert "halfstep_lists_total 1.0" in metrics
    assert 'route="/v1/users/{user}/recommendations"' in metrics
    assert "u1" not in metrics


@pytest.mark.parametrize("unit", [1_000, 1_000_000_000])
def test_times_of_a_history_are_in_seconds_whatever_their_unit_and_size(start, tmp_path, unit):
    data = ratings()
    times = np.asarray(data.timestamps) * unit
    rated = hs.Interactions.from_arrays(data.user_ids, data.item_ids, data.values, times)
    hs.ALS(hs.Explicit(), rank=2, random_state=0).fit(rated).save(tmp_path / "ratings.halfstep")
    with start("ratings") as client:
        offset = client.post("/v1/events", json=event("u1", "new", 5.0, time=3600)).json()["offset"]
        items = client.get(f"/v1/users/u1/history?after={offset}").json()["items"]
    assert [each["time"] for each in items if each["item"] == "new"] == [3600.0]
    assert all(1_700_000_000 <= each["time"] < 1_700_000_400 for each in items if each["item"] != "new")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("HEAD", "/v1/model", "GET"),
        ("GET", "/v1/events", "POST"),
        ("POST", "/v1/users/u1/history", "GET"),
        ("GET", "/v1/users/u1", "DELETE"),
        ("POST", "/index.html", "GET"),
    ],
)
def test_another_method_is_405_and_names_those_of_the_path(unchanged, method, path, allowed):
    answer = unchanged.request(method, path)
    assert answer.status_code == 405
    assert allowed in answer.headers["allow"]


@pytest.mark.parametrize("path", ["/v1/model/", "/v1/users/u1/recommendations/", "/v1/unknown", "/unknown", "/v2/a"])
def test_a_path_that_does_not_exist_is_404(unchanged, path):
    answer = unchanged.get(path, follow_redirects=False)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


def test_an_offset_beyond_the_log_is_an_error_at_once(client):
    client.post("/v1/events", json=event("u1", "i1", 2.0))
    began = time.monotonic()
    for after in (2, 10**18):
        answer = client.get(f"/v1/users/u1/history?after={after}")
        assert answer.status_code == 422
        assert answer.json()["detail"] == "after: the event log ends at offset 1: send at most this one"
    assert time.monotonic() - began < 4  # does not wait for the offset
    assert client.get("/v1/users/u1/history?after=1").status_code == 200


@pytest.mark.parametrize("header", ["bytes=zz", "bytes=999999999-", "items=0-1", "bytes=0-1,3-4"])
def test_ranges_are_ignored(unchanged, header):
    for path in ("/", "/v1/model/file"):
        assert unchanged.get(path, headers={"range": header}).status_code == 200


def test_searches_find_ids(unchanged):
    assert unchanged.get("/v1/users?query=U1&n=3").json()["users"] == ["u1", "u10", "u11"]
    assert {each["item"] for each in unchanged.get("/v1/items?query=i1").json()["items"]} == {
        "i1", *(f"i1{k}" for k in range(10))
    }  # fmt: skip


def test_health(unchanged):
    assert unchanged.get("/health/live").json()["status"] == "ok"
    assert unchanged.get("/health/ready").json() == {"status": "ok", "lag": 0}


def test_the_openapi_document_describes_every_route(unchanged):
    document = unchanged.get("/openapi.json").json()
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert ("POST", "/v1/events") in described
    assert ("GET", "/v1/users/{user}/recommendations") in described
    assert all(each["description"] for methods in document["paths"].values() for each in methods.values())
    references = set(re.findall('"#/([^"]*)"', json.dumps(document)))
    assert references
    for reference in references:
        place = document
        for part in reference.split("/"):
            place = place[part]
