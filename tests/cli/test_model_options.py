"""`--model-type` and `--regularization-counts` of the commands that fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest

import halfstep as hs
from halfstep.cli.combinations import USED_BY
from halfstep.cli.model_options import CLASSES
from halfstep.objective.regularization import Counted
from shell import Shell

OTHERS = [name for name in CLASSES if name != "als"]
OPTIONS = {
    "objective": ["--objective", "explicit"],
    "rank": ["--rank", 3],
    "regularization": ["--regularization", 2],
    "regularization_exponent": ["--regularization-exponent", 1],
    "regularization_counts": ["--regularization-counts", "observed"],
    "iterations": ["--iterations", 21],
    "alpha": ["--alpha", 1],
    "missing_weight": ["--missing-weight", 1],
    "biases": ["--no-biases"],
    "nonnegative": ["--nonnegative"],
    "backend": ["--backend", "cpu"],
    "neighbors": ["--neighbors", 3],
    "shrinkage": ["--shrinkage", 2.5],
}


@pytest.fixture
def ratings(tmp_path: Path) -> Path:
    rows = "".join(f"u{k % 20},i{k * 7 % 30},{1 + k * k % 5}\n" for k in range(200))
    (tmp_path / "ratings.csv").write_text("user,item,value\n" + rows)
    return tmp_path / "ratings.csv"


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_each_model_type_is_fitted(shell: Shell, ratings: Path, tmp_path: Path, name: str) -> None:
    seed = ["--seed", 7] if name in ("bayesian", "sgd") else []
    out, err = shell("fit", ratings, "--model-type", name, *seed, "-o", tmp_path / "m", "--json")
    model = hs.load(tmp_path / "m")
    kind = CLASSES[name]
    assert type(model) is kind
    assert f"model: {kind.__name__}(" in err
    by_hand = kind(random_state=7) if seed else kind()
    by_hand.fit(model.interactions_)
    assert by_hand.predict(model.interactions_).tolist() == model.predict(model.interactions_).tolist()
    assert len(json.loads(out)["history"]) == len(getattr(model, "history_", []) if seed else [])
    assert shell("fit", ratings, "--model-type", name, "-o", tmp_path / "m")[0].startswith("fitted in ")


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize(
    "command", ["fit", *(pytest.param(each, marks=pytest.mark.slow) for each in ("evaluate", "tune"))]
)
def test_unsupported_options_are_errors(
    shell: Shell, ratings: Path, tmp_path: Path, command: str, name: str, option: str
) -> None:
    if option in USED_BY[name]:
        return
    _, err = shell(command, ratings, "--model-type", name, *OPTIONS[option], fails=2)
    assert f"has no effect: --model-type {name} does not support it; leave it out" in err
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("name", ["bayesian", "sgd", "ease", "item-knn", "item-bias", "user-item-bias"])
def test_supported_options_are_used(shell: Shell, ratings: Path, tmp_path: Path, name: str) -> None:
    used = USED_BY[name]
    shell("fit", ratings, "--model-type", name, *(each for o in used for each in OPTIONS[o]), "-o", tmp_path / "m")
    params = hs.load(tmp_path / "m").get_params()
    found = {"rank": 3, "regularization": 2, "iterations": 21, "objective__biases": False}
    found |= {"neighbors": 3, "shrinkage": 2.5}
    found = {option: value for option, value in found.items() if option.removeprefix("objective__") in used}
    assert found
    assert {option: params[option] for option in found} == found


def test_a_model_type_is_evaluated(shell: Shell, ratings: Path) -> None:
    report = json.loads(shell("evaluate", ratings, "--model-type", "sgd", "--metrics", "rmse", "--json")[0])
    assert report["rows"][0]["model"] == "SGD"
    out, _ = shell("evaluate", ratings, "--model-type", "popularity")
    assert "rmse" not in out
    assert "ndcg@10" in out


def test_a_model_type_is_tuned(shell: Shell, ratings: Path, tmp_path: Path) -> None:
    line = ["tune", ratings, "--model-type", "item-bias", "--space", "regularization=1,10", "--folds", 1]
    _, err = shell(*line, "-o", tmp_path / "m")
    assert isinstance(hs.load(tmp_path / "m"), hs.ItemBias)
    assert "searched: regularization in [1, 10]" in err


@pytest.mark.parametrize("counts", get_args(Counted))
def test_regularization_counts_are_used(shell: Shell, ratings: Path, tmp_path: Path, counts: Counted) -> None:
    line = [ratings, "--regularization-counts", counts, "--iterations", 1, "-o", tmp_path / "m"]
    shell("fit", *line)
    assert hs.load(tmp_path / "m").regularization.counts == counts
    shell("tune", *line, "--space", "rank=1,2", "--folds", 1)
    assert hs.load(tmp_path / "m").regularization.counts == counts


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("fit {} --model-type popularity --seed 3", "--seed has no effect"),
        ("fit {} --model-type item-bias --keep-interrupted", "--keep-interrupted has no effect"),
        ("evaluate {} --model {} --model-type sgd", "--model-type has no effect: the model of --model"),
        (
            "tune {} --regularization-counts cells --space regularization.counts=cells,observed",
            "--regularization-counts has no effect: --space searches",
        ),
        ("tune {} --model-type popularity", "--model-type popularity has no parameters to tune"),
        ("tune {} --model-type global-mean --space rank=1", "--model-type global-mean has no parameters to tune"),
        ("fit {} --model-type knn", "'knn' is not one of"),
    ],
)
def test_options_without_effect_are_errors(shell: Shell, ratings: Path, line: str, message: str) -> None:
    _, err = shell(*line.format(*[ratings] * 2).split(), fails=2)
    assert message in err
