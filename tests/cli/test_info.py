"""`halfstep info`."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from dataclasses import replace
from pathlib import Path

import pytest

import halfstep as hs
from halfstep.cli.info import NOT_RECORDED
from halfstep.models.origin import Origin
from shell import Shell

DATA = hs.Interactions.from_arrays(
    ["ann", "ann", "bob"], ["tea", "rum", "tea"], [5.0, 1.0, 4.0], ["2020-01-01", "2020-02-03", "2020-01-02"]
)
ORIGIN = Origin(dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    als = hs.ALS(hs.Explicit(weight=2.0), rank=3, iterations=2, random_state=7)
    als.fit(replace(DATA, source="drinks.csv"))
    als._factorization = replace(als._fitted, origin=ORIGIN)
    als.save(tmp_path / "model.halfstep")
    return tmp_path / "model.halfstep"


def described(shell: Shell, path: Path) -> dict[str, str]:
    out, err = shell("info", path)
    assert err == ""
    return {name: text.strip() for name, _, text in (line.partition(":") for line in out.splitlines()[1:])}


def test_a_model_is_described(shell: Shell, model: Path) -> None:
    shown = described(shell, model)
    assert shown["fitted"] == "2026-01-02 03:04:05 UTC"
    assert shown["updated"] == "not since the fit"
    assert shown["written by"] == f"halfstep {hs.__version__}, format 2; this is halfstep {hs.__version__}"
    assert shown["data"] == (
        "drinks.csv: Interactions(3 interactions, 2 users, 2 items, values 1 to 5, 2020-01-01 to 2020-02-03)"
    )
    assert shown["objective"].startswith("Explicit(weight=2.0")
    assert "rank=3" in shown["parameters"]
    assert "random_state=7" in shown["parameters"]
    assert "tol" not in shown["parameters"]
    assert shown["factors"] == "rank 3, float32"
    assert shown["history"].startswith("2 iterations in 0.")
    assert f"objective {hs.load(model).history_[-1].objective:.6g}" in shown["history"]
    assert shell("info", model)[0].startswith(f"{model}: ALS, ")


def test_a_model_is_described_as_json(shell: Shell, model: Path) -> None:
    parsed = json.loads(shell("info", model, "--json")[0])
    assert parsed["bytes"] == model.stat().st_size
    assert (parsed["class"], parsed["fitted"], parsed["updated"]) == ("ALS", "2026-01-02T03:04:05+00:00", None)
    assert (parsed["interactions"], parsed["users"], parsed["items"], parsed["rank"]) == (3, 2, 2, 3)
    assert (parsed["source"], parsed["values"], parsed["written_by"]) == ("drinks.csv", [1.0, 5.0], hs.__version__)
    assert parsed["timestamps"] == ["2020-01-01T00:00:00", "2020-02-03T00:00:00"]
    assert parsed["parameters"]["rank"] == 3
    assert parsed["parameters"]["objective"].startswith("Explicit(weight=2.0")
    assert (parsed["iterations"], parsed["last_iteration"]["iteration"]) == (2, 2)


def test_choices_of_the_fit_are_described(shell: Shell, tmp_path: Path) -> None:
    als = hs.ALS(hs.Explicit(), iterations=1, random_state=0).fit(DATA)
    als.save(tmp_path / "m")
    shown = described(shell, tmp_path / "m")["parameters"]
    used = als.regularization_
    assert shown.startswith(
        f"rank={als.item_factors_.shape[1]}, regularization=Regularization({used.users:.6g}, "
        f"exponent={used.exponent}, bias_ratio={used.bias_ratio:.6g}), "
    )
    parsed = json.loads(shell("info", tmp_path / "m", "--json")[0])["parameters"]
    assert parsed["regularization"] == dataclasses.asdict(used)
    apart = hs.ALS(hs.Implicit(), iterations=1, regularization=(1.0, 2.0)).fit(DATA)
    apart.save(tmp_path / "m")
    assert (
        "regularization=Regularization(1.0, items=2.0, exponent=0.3)"
        in described(shell, tmp_path / "m")["parameters"]
    )
    assert (
        described(shell, tmp_path / "m")["objective"] == f"Implicit(missing_weight={apart.objective_.missing_weight})"
    )


def test_an_update_is_described(shell: Shell, model: Path) -> None:
    als = hs.load(model).partial_fit(DATA)
    als.save(model)
    shown = described(shell, model)
    assert shown["fitted"] == "2026-01-02 03:04:05 UTC"
    assert shown["updated"].endswith(" UTC")
    assert shown["data"].startswith("drinks.csv: ")


def test_missing_interactions_are_described(shell: Shell, model: Path) -> None:
    hs.load(model).save(model, interactions=False)
    assert described(shell, model)["data"] == (
        "3 interactions, 2 users, 2 items; the interactions are not in this file"
    )
    parsed = json.loads(shell("info", model, "--json")[0])
    assert (parsed["interactions"], parsed["has_interactions"], parsed["values"]) == (3, False, None)


def test_imported_factors_are_described(shell: Shell, tmp_path: Path) -> None:
    factors = hs.persistence.from_arrays([[1.0, 2.0]], [[1.0, 0.0], [0.0, 1.0]], users=["ann"])
    factors.save(tmp_path / "m")
    shown = described(shell, tmp_path / "m")
    assert shown["fitted"] == NOT_RECORDED
    assert shown["data"] == "1 user, 2 items; the interactions are not in this file"
    assert "parameters" not in shown
    assert json.loads(shell("info", tmp_path / "m", "--json")[0])["interactions"] is None


def test_older_files_lack_some_information(shell: Shell) -> None:
    shown = described(shell, Path(__file__).parents[1] / "models" / "storage" / "model-v1.halfstep")
    assert shown["fitted"] == shown["updated"] == NOT_RECORDED
    assert shown["data"].startswith("source not recorded: Interactions(90 interactions")


@pytest.mark.parametrize(
    ("fitted", "parameters", "history"),
    [
        (hs.Popularity(), None, None),
        (hs.ItemBias(), "all by default", None),
        (hs.UserItemBias(iterations=3), "iterations=3, others by default", None),
        (hs.SGD(iterations=2, random_state=0), "iterations=2, random_state=0, others by default", "rmse"),
        (hs.BayesianALS(rank=2, iterations=3, burn_in=1), "rank=2, iterations=3, burn_in=1, others by", "loss"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_models_of_every_class(
    shell: Shell, tmp_path: Path, fitted: hs.FactorModel, parameters: str | None, history: str | None
) -> None:
    fitted.fit(DATA).save(tmp_path / "m")
    shown = described(shell, tmp_path / "m")
    assert shown.get("parameters", "").startswith(parameters or "")
    assert (parameters is None) == ("parameters" not in shown)
    assert shown["data"].startswith("source not recorded: ")
    assert (history is None) == ("history" not in shown)
    assert history is None or f"{history} " in shown["history"]
    assert json.loads(shell("info", tmp_path / "m", "--json")[0])["class"] == type(fitted).__name__


def test_names_are_escaped(shell: Shell, tmp_path: Path) -> None:
    hs.Popularity().fit(replace(DATA, source="a\x1b[31m.csv")).save(tmp_path / "m")
    out, _ = shell("info", tmp_path / "m")
    assert r"a\x1b[31m.csv" in out
    assert "\x1b" not in out


def test_a_file_that_is_not_a_model_is_an_error_of_one_line(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "m").write_text("user,item\n")
    _, err = shell("info", tmp_path / "m", fails=1)
    assert "is neither a model file" in err
    assert err.count("\n") == 1


def test_models_without_factors_show_none(shell: Shell, tmp_path: Path) -> None:
    hs.EASE().fit(hs.Interactions.from_arrays(["ann", "ann", "bob"], ["tea", "rum", "tea"])).save(tmp_path / "ease")
    assert "factors" not in described(shell, tmp_path / "ease")
