"""`halfstep serve`, `halfstep refit` and `halfstep keys`."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

import halfstep as hs
from halfstep.cli.serve import exclusive, seconds_of
from halfstep.serve.event import Event
from halfstep.serve.event_log import EventLog
from served import MODELS
from shell import Shell


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.halfstep"
    MODELS["ratings"]().save(path)
    return path


def test_another_address_needs_keys(shell: Shell, model: Path) -> None:
    _, err = shell("serve", model, "--host", "0.0.0.0", fails=1)
    assert "--host 0.0.0.0 is reachable from other machines: give --keys" in err


def test_a_missing_model_or_folder_and_a_used_port_are_errors(shell: Shell, model: Path) -> None:
    _, err = shell("serve", model.with_name("none"), fails=1)
    assert "none" in err
    _, err = shell("serve", model, "--port", 0, "--log", "/no/folder/events.sqlite", fails=1)
    assert "there is no folder /no/folder" in err
    from halfstep.serve.server import listen

    with listen("127.0.0.1", 0) as listening:
        _, err = shell("serve", model, "--port", listening.getsockname()[1], fails=1)
        assert "choose another --host or --port" in err


def test_a_second_server_of_one_snapshot_is_an_error(shell: Shell, model: Path) -> None:
    lock = model.with_name("model.snapshot.halfstep.lock")
    with exclusive(lock):
        _, err = shell("serve", model, "--port", 0, fails=1)
        assert "another server is using the snapshot" in err
    with exclusive(lock):
        pass


@pytest.mark.parametrize("name", ["model.halfstep", "model.events.sqlite"])
def test_a_snapshot_does_not_replace_the_model_or_the_log(shell: Shell, model: Path, name: str) -> None:
    _, err = shell("serve", model, "--port", 0, "--snapshot", model.with_name(name), fails=1)
    assert "which it would replace: name another file" in err


def test_missing_libraries_are_named(shell: Shell, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr("halfstep.cli.serve.find_spec", lambda name: None if name == "fastapi" else found(name))
    for arguments in (["serve", model], ["refit", "log", "-o", "new"], ["keys", "list"]):
        _, err = shell(*arguments, fails=1)
        assert "the service requires fastapi: run pip install 'halfstep[serve]'" in err


@pytest.mark.parametrize(("text", "seconds"), [("24h", 86400.0), ("30m", 1800.0), ("1.5d", 129600.0), ("90 s", 90.0)])
def test_durations(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "0h", "-1h", "24", "h", "1w", "nan s"])
def test_invalid_durations(text: str) -> None:
    with pytest.raises(hs.errors.ParameterError, match="--refit-every"):
        seconds_of(text)


@pytest.mark.parametrize("names_model", [False, True])
def test_a_refit_uses_the_data_of_the_model_and_the_events(shell: Shell, model: Path, names_model: bool) -> None:
    path = model.with_name("events.sqlite")
    log = EventLog(path)
    log.append([[Event("a", "visitor", "i1", 5.0), Event("b", "visitor", "i2", 5.0)]])
    if not names_model:
        log.set_setting("model", str(model))
    log.close()
    options = ["--model", model] if names_model else []
    out, err = shell("refit", path, *options, "-o", model.with_name("new.halfstep"), "--json")
    assert "2 events: Interactions(402 interactions, 31 users, 20 items" in err
    assert {name: json.loads(out)[name] for name in ("events", "offset", "users")} == {
        "events": 2, "offset": 2, "users": 31
    }  # fmt: skip
    refitted = hs.load(model.with_name("new.halfstep"))
    assert "visitor" in refitted.users_
    assert refitted.get_params() == hs.load(model).get_params()


def test_a_refit_can_be_tuned(shell: Shell, model: Path) -> None:
    path = model.with_name("events.sqlite")
    EventLog(path).close()
    out, _ = shell("refit", path, "--model", model, "-o", model.with_name("new.halfstep"), "--tune", "--trials", 2)
    assert "saved to" in out
    assert hs.load(model.with_name("new.halfstep"))._fitted.origin.learned.offset == 0


def test_a_refit_without_a_log_is_an_error(shell: Shell, model: Path) -> None:
    _, err = shell("refit", model.with_name("none.sqlite"), "-o", model.with_name("new"), fails=1)
    assert "there is no event log" in err


def test_keys_are_added_listed_and_removed(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    key, err = shell("keys", "add", "web", "--scopes", "read,write", "--file", file)
    assert key.startswith("hs_")
    assert "Authorization: Bearer" in err
    out, _ = shell("keys", "list", "--file", file)
    assert "web" in out
    assert "read, write" in out
    assert key.strip() not in out
    shell("keys", "remove", "web", "--file", file)
    assert json.loads(file.read_text()) == []
    _, err = shell("keys", "add", "x", "--scopes", "fly", "--file", file, fails=1)
    assert "the scope 'fly' is unknown" in err
